package syntax

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the answers of testdata/*.txt anew")

// TestGolden runs the cases of testdata.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	w := testWorld()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, block := range strings.Split(strings.TrimRight(string(raw), "\n"), "\n\n") {
			out = append(out, runBlock(t, w, file, block))
		}
		if *rewrite {
			if err := os.WriteFile(file, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// runBlock runs the case of one paragraph and returns it with the answer of today.
func runBlock(t *testing.T, w *world, file, block string) string {
	var head []string
	text, found := "", false
	for _, line := range strings.Split(block, "\n") {
		if found {
			break
		}
		head = append(head, line)
		if line == ">" || strings.HasPrefix(line, "> ") {
			text, found = strings.TrimPrefix(strings.TrimPrefix(line, ">"), " "), true
		}
	}
	if !found {
		return block
	}
	got := strings.Join(head, "\n") + "\n" + strings.TrimRight(show(w, text), "\n")
	if got != block && !*rewrite {
		t.Errorf("%s: %s\nwant\n%s\ngot\n%s", file, text, block, got)
	}
	return got
}
