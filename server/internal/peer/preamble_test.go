package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

// examples returns the bytes of the example in the package comment.
func examples(t testing.TB) (all [][]byte) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "// Example:")
	for line := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(line, "//\tcb 4b"); ok {
			b, err := hex.DecodeString("cb4b" + strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
	}
	return all
}

// TestGolden reads and writes the example of the specification.
func TestGolden(t *testing.T) {
	all := examples(t)
	if len(all) != 3 {
		t.Fatalf("%d examples", len(all))
	}
	want := greeting{oldest: 1, newest: 1, purpose: forRaft, cluster: "shop"}
	for i := range want.id {
		want.id[i] = byte(i)
	}
	r := bytes.NewReader(all[0])
	if g, err := readGreeting(r); err != nil || g != want || r.Len() != 0 {
		t.Errorf("%+v, %v, %d bytes left", g, err, r.Len())
	}
	if b := want.append(nil); !bytes.Equal(b, all[0]) {
		t.Errorf("% x", b)
	}
	for i, want := range []answer{{version: 1}, {version: 1, code: codeCluster, why: "another cluster"}} {
		r := bytes.NewReader(all[i+1])
		if a, err := readAnswer(r); err != nil || a != want || r.Len() != 0 {
			t.Errorf("%+v, %v, %d bytes left", a, err, r.Len())
		}
		if b := want.append(nil); !bytes.Equal(b, all[i+1]) {
			t.Errorf("% x", b)
		}
	}
}

// TestPreambleLimits reads texts and names at their limits and beyond.
func TestPreambleLimits(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, 64: true, 65: false} {
		g := greeting{oldest: 1, newest: 1, purpose: forRaft, cluster: strings.Repeat("c", n)}
		if got, err := readGreeting(bytes.NewReader(g.append(nil))); (err == nil) != ok || ok && got != g {
			t.Errorf("a name of %d bytes: %+v, %v", n, got, err)
		}
	}
	long := answer{version: 1, code: codeNode, why: strings.Repeat("w", maxWhy+1)}
	b := long.append(nil)
	if a, err := readAnswer(bytes.NewReader(b)); err != nil || a.why != long.why[:maxWhy] {
		t.Errorf("%d bytes, %v", len(a.why), err)
	}
	b[6]++
	if _, err := readAnswer(bytes.NewReader(append(b, 'w'))); !errors.Is(err, errForeign) {
		t.Errorf("a text of %d bytes: %v", maxWhy+1, err)
	}
	for what, a := range map[string]answer{"a version that is not spoken": {version: newest + 1}, "version 0": {}, "an unknown code": {version: 1, code: 99}} {
		err := a.err("h:1")
		if e, ok := errors.AsType[*query.Error](err); !ok || e.Code != query.CodeDenied || !strings.Contains(e.Message, "h:1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Of versions that are not known, no more is read than says so.
	if g, err := readGreeting(strings.NewReader(magic + "\x02\x07")); err != nil || g.version() != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	for _, s := range []string{"GET / HTTP/1.1\r\n", magic + "\x00\x01", magic + "\x02\x01"} {
		if _, err := readGreeting(strings.NewReader(s)); !errors.Is(err, errForeign) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// FuzzPreamble reads anything: what is read is what is written, and every text can be printed.
func FuzzPreamble(f *testing.F) {
	for _, b := range examples(f) {
		f.Add(b)
	}
	f.Add([]byte(magic + "\x01\x09\x02\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := readGreeting(bytes.NewReader(b)); err == nil && g.version() != 0 {
			if again := g.append(nil); !bytes.HasPrefix(b, again) {
				t.Fatalf("% x is written as % x", b, again)
			}
		}
		a, err := readAnswer(bytes.NewReader(b))
		if err != nil {
			return
		}
		if strings.ContainsFunc(a.why, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q", a.why)
		}
		if again, err := readAnswer(bytes.NewReader(a.append(nil))); err != nil || again != a {
			t.Fatalf("%+v is read as %+v, %v", a, again, err)
		}
		_ = a.err("h:1")
	})
}
