package replica

import (
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// documented returns the indented lines of the package comment behind a line that says what
// comes, up to the next paragraph.
func documented(t *testing.T, after string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), after)
	if !found {
		t.Fatalf("the package comment has no %q", after)
	}
	for line := range strings.Lines(rest) {
		indented, is := strings.CutPrefix(line, "//\t")
		switch {
		case is:
			lines = append(lines, strings.TrimSuffix(indented, "\n"))
		case len(lines) > 0:
			return lines
		}
	}
	return lines
}

func exampleIdentity() *Identity {
	return &Identity{Cluster: "shop", Store: "000102030405060708090a0b0c0d0e0f", ID: "n1", Incarnation: "0123456789abcdef", Raft: "10.0.0.1:7701", Client: "10.0.0.1:7700"}
}

// TestGoldenNode writes and reads the example of the package comment.
func TestGoldenNode(t *testing.T) {
	want := strings.Join(documented(t, "in 8 hexadecimal digits:"), "\n") + "\n"
	if got := exampleIdentity().text(); got != want {
		t.Errorf("the file is\n%s\nand the package comment has\n%s", got, want)
	}
	files := vfs.NewMem()
	if err := exampleIdentity().write(files, ""); err != nil {
		t.Fatal(err)
	}
	got, err := ReadIdentity(files, "")
	if err != nil || !reflect.DeepEqual(got, exampleIdentity()) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.server() != "n1.0123456789abcdef" {
		t.Errorf("raft calls it %s", got.server())
	}
}

// exampleVerdict is that of the package comment.
func exampleVerdict() *verdict {
	c := holding{mark: 258, position: query.Position{Epoch: 1, Applied: 3}}
	for i := range 16 {
		c.chain[i], c.replica[i] = byte(i), byte(16+i)
	}
	return &verdict{mark: 258, voters: 3, votes: []vote{{"n1.0123456789abcdef", c}, {"n2.0123456789abcdef", c}}}
}

// TestGoldenPurged writes and reads the example of the package comment. What is anything else says nothing.
func TestGoldenPurged(t *testing.T) {
	want := strings.Join(documented(t, "and the member purges again:"), "\n") + "\n"
	upTo := query.Position{Epoch: 1, Applied: 3}
	if got := purgedText(upTo); got != want || parsePurged(got) != upTo {
		t.Errorf("the file is\n%s\nand the package comment has\n%s", got, want)
	}
	for i := range want {
		for _, damaged := range []string{want[:i], want[:i] + "x" + want[i+1:], want[:i] + "\n" + want[i:]} {
			if p := parsePurged(damaged); p != (query.Position{}) {
				t.Errorf("%q is read as %s", damaged, p)
			}
		}
	}
}

// TestGoldenControl encodes and decodes the examples of the package comment.
func TestGoldenControl(t *testing.T) {
	v := exampleVerdict()
	lines := documented(t, "digest 10..1f:")
	all := []control{{kind: controlMark}, {kind: controlVerdict, verdict: v}}
	if len(lines) != len(all) {
		t.Fatalf("the package comment has %q", lines)
	}
	for i, c := range all {
		if got, want := hex.EncodeToString(c.encode()), strings.ReplaceAll(lines[i], " ", ""); got != want {
			t.Errorf("%s, and the package comment has %s", got, want)
		}
		if got, err := decodeControl(c.encode()); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestGoldenWords encodes and decodes the examples of the package comment.
func TestGoldenWords(t *testing.T) {
	lines := documented(t, "whose disk is nearly full:")
	if len(lines) != 5 {
		t.Fatalf("the package comment has %q", lines)
	}
	same := func(line string, b []byte) {
		if got, want := hex.EncodeToString(b), strings.ReplaceAll(line, " ", ""); got != want {
			t.Errorf("%s, and the package comment has %s", got, want)
		}
	}
	w := word{echo: stamp{1, 2}, commit: 3, age: 4}
	same(lines[0], w.encode())
	if got, ok := decodeWord(w.encode()); !ok || got != w {
		t.Errorf("%+v, %t", got, ok)
	}
	now, purged := stamp{1, 2}, query.Position{Epoch: 1, Applied: 3}
	all := answer{now, &exampleVerdict().votes[0].holding, purged, true}
	if got, ok := decodeAnswer(all.encode()); !ok || !reflect.DeepEqual(got, all) {
		t.Errorf("%+v, %t", got, ok)
	}
	for i, a := range []answer{{now: now}, {now: now, found: all.found}, {now: now, purged: purged}, {now: now, full: true}} {
		same(lines[1+i], a.encode())
		if got, ok := decodeAnswer(a.encode()); !ok || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v, %t", got, ok)
		}
	}
	for _, address := range []string{"", "127.0.0.1:7701", strings.Repeat("a", wordSize), strings.Repeat("a", answerSize), strings.Repeat("a", foundSize),
		string((&answer{}).encode()) + "\x02", string((&answer{full: true}).encode()) + "\x01"} {
		_, isWord := decodeWord([]byte(address))
		_, isAnswer := decodeAnswer([]byte(address))
		if isWord || isAnswer {
			t.Errorf("%q is taken for a word: %t, an answer: %t", address, isWord, isAnswer)
		}
	}
	if a, ok := decodeAnswer(append((&answer{now: now}).encode(), make([]byte, purgedSize)...)); ok {
		t.Errorf("who has purged up to nothing is taken for an answer: %+v", a)
	}
}

// FuzzWords reads anything as a word or an answer: what is read is what is written again.
func FuzzWords(f *testing.F) {
	f.Add((&word{echo: stamp{1, 2}, commit: 3, age: 4}).encode())
	f.Add((&answer{now: stamp{1, 2}}).encode())
	f.Add((&answer{now: stamp{1, 2}, found: &holding{mark: 1}}).encode())
	f.Add((&answer{now: stamp{1, 2}, full: true}).encode())
	f.Add((&answer{now: stamp{1, 2}, purged: query.Position{Epoch: 1}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, ok := decodeWord(b); ok && string(w.encode()) != string(b) {
			t.Errorf("%x is read as %+v", b, w)
		}
		if a, ok := decodeAnswer(b); ok && string(a.encode()) != string(b) {
			t.Errorf("%x is read as %+v", b, a)
		}
	})
}

// TestNodeRefused gives what is no NODE file, or says no member.
func TestNodeRefused(t *testing.T) {
	good := exampleIdentity().text()
	for what, c := range map[string]struct {
		text string
		code query.Code
	}{
		"something else":  {"hello\n", query.CodeNotAStore},
		"a newer version": {strings.Replace(good, "node 1", "node 2", 1), query.CodeNewerFormat},
		"a changed digit": {strings.Replace(good, "10.0.0.1:7701", "10.0.0.2:7701", 1), query.CodeCorrupt},
		"cut short":       {good[:len(good)-5], query.CodeCorrupt},
		"a line more":     {good + "more\n", query.CodeCorrupt},
		"a name too long": {strings.Replace(good, "id n1", "id "+strings.Repeat("n", maxName+1), 1), query.CodeCorrupt},
	} {
		if _, err := parseIdentity("NODE", c.text); !errors.Is(err, &query.Error{Code: c.code}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, ok := range map[string]bool{"a": true, strings.Repeat("a", maxName): true, strings.Repeat("a", maxName+1): false,
		"": false, "-a": false, "a-": false, "A": false, "a.b": false, "a/b": false, "a b": false} {
		if err := CheckName("the member", name); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for address, ok := range map[string]bool{"a:1": true, "[::1]:7701": true, "a": false, ":1": false, "a:": false, "a:0": false, "a:1\n": false,
		strings.Repeat("a", maxAddress-2) + ":1": true, strings.Repeat("a", maxAddress-1) + ":1": false,
		"a:65535": true, "a:65536": false, "a:-1": false, "a:http": false, "[::1]:7700": true, "::1:7700": false, "0.0.0.0:7700": false, "[::]:7700": false, "224.0.0.1:7700": false,
		"a..b-c.example.com:1": true, "a/b:1": false, "a\x00:1": false, "kanta://a:1": false, "-a:1": false, "..:1": false, "a@b:1": false} {
		if err := CheckAddress("the address", address); (err == nil) != ok {
			t.Errorf("address %q: %v", address, err)
		}
	}
}

// FuzzNode reads anything as a NODE file: what is read is what is written again.
func FuzzNode(f *testing.F) {
	f.Add(exampleIdentity().text())
	f.Add("kanta node 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parseIdentity("NODE", text)
		if q := (*query.Error)(nil); err != nil && !errors.As(err, &q) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && id.text() != text {
			t.Errorf("%q is read as %+v", text, id)
		}
	})
}

// FuzzControl reads anything as a control entry.
func FuzzControl(f *testing.F) {
	f.Add(control{kind: controlMark}.encode())
	f.Add(control{kind: controlTerm}.encode())
	f.Add(control{kind: controlVerdict, verdict: exampleVerdict()}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeControl(b)
		if q := (*query.Error)(nil); err != nil && !errors.As(err, &q) {
			t.Errorf("%x: %v", b, err)
		}
		if err == nil && string(c.encode()) != string(b) {
			t.Errorf("%x is read as %+v", b, c)
		}
	})
}
