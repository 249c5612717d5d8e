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
	for _, file := range files {
		w := testWorld()
		if filepath.Base(file) == "computed.txt" {
			w.schema = withComputed(w.schema, computedExamples()...)
			w.segments["vips"], w.segments["round"] = "is_vip", "roundabout"
		}
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

// computedExamples are the computed attributes of testdata/computed.txt.
func computedExamples() []string {
	return []string{
		"spent", "purchase.sum(e, e.amount)",
		"is_vip", `spent > 1000.0 && country == "IT"`,
		"Average basket", "purchase.avg(e, e.amount)",
		"rate", "0.1 + 0.2",
		"a third", "1.0 / 3.0",
		"home", "country",
		"hobbies", "interests",
		"birthday", "born",
		"idle", "now - purchase.last().ts",
		"limit", "days(30)",
		"rest", "visits - 1",
		"staff", `in_list("staff")`,
		"grown", `in_segment("adults")`,
		"first_item", "purchase.first().category",
		"view_item", "1",
		"chicken", "egg + 1", "egg", "chicken",
		"roundabout", `in_segment("round")`,
		"all_buys", "purchase", "values", "[1, 2]", "typo", "contry", "odd", `country + 1`,
		"big", "age in [" + strings.Repeat("1, ", 1500) + "1]",
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
