package access

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
)

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// examples are the lines of the package comment that begin with a tab, of a section.
func examples(t testing.TB, heading string) (out []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n// # "+heading+"\n")
	if !ok {
		t.Fatalf("doc.go has no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n// # ")
	for line := range strings.Lines(section) {
		if line, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t"); ok {
			out = append(out, line)
		}
	}
	return out
}

// exampleKey is the key of the package comment, and its document.
func exampleKey(t testing.TB) (text string, document []byte) {
	var json []string
	for _, line := range examples(t, "Keys") {
		switch {
		case strings.HasPrefix(line, keyPrefix) && !strings.Contains(line, " "):
			text = line
		case strings.HasPrefix(line, `{"`), strings.HasPrefix(line, `"`):
			json = append(json, line)
		}
	}
	return text, []byte(strings.Join(json, ""))
}

// TestGoldenKey reads and writes the example of the package comment.
func TestGoldenKey(t *testing.T) {
	text, document := exampleKey(t)
	id, secret, ok := parseKey(text)
	if !ok || id != "MFRGGZDFMZTWQ2LK" || len(text) != 75 {
		t.Fatalf("%q is %q, %q, %v", text, id, secret, ok)
	}
	want := Key{ID: id, Name: "nightly load", Role: "writer", Created: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 5, 30, 12, 0, 0, 0, time.UTC), By: "the office (key GAYTEMZUGU3DOOBZ)", hash: hashOf(secret)}
	k, err := readKey(id, document)
	if err != nil || *k != want {
		t.Errorf("%+v, %v", k, err)
	}
	if again, err := want.document(); err != nil || !bytes.Equal(again, document) {
		t.Errorf("it is written\n%s, not\n%s (%v)", again, document, err)
	}
	if k.Ended(want.Expires.Add(-1)) || !k.Ended(want.Expires) {
		t.Error("it does not end when it expires")
	}
	if k.Revoked = want.Created; !k.Ended(want.Created) {
		t.Error("it does not end when it is revoked")
	}
}

func TestSecrets(t *testing.T) {
	ids, texts := map[string]bool{}, map[string]bool{}
	for range 100 {
		id, text := newSecret()
		if got, _, ok := parseKey(text); !ok || got != id {
			t.Fatalf("%q is no key", text)
		}
		ids[id], texts[text] = true, true
	}
	if len(ids) != 100 || len(texts) != 100 {
		t.Errorf("of 100 keys there are %d ids and %d texts", len(ids), len(texts))
	}
	text, _ := exampleKey(t)
	for _, bad := range []string{"", "kanta_", text[:74], text + "A", strings.ToLower(text), "Kanta" + text[5:], text[:22] + "A" + text[23:],
		strings.Replace(text, "U", "0", 1), strings.Replace(text, "M", "_", 1), " " + text[:74], strings.Replace(text, "MF", "é", 1)} {
		if id, _, ok := parseKey(bad); ok {
			t.Errorf("%q is the key %s", bad, id)
		}
	}
}

func TestKeyDocuments(t *testing.T) {
	_, document := exampleKey(t)
	with := func(from, to string) []byte {
		out := bytes.Replace(document, []byte(from), []byte(to), 1)
		if bytes.Equal(out, document) {
			t.Fatalf("%s is not there", from)
		}
		return out
	}
	for name, test := range map[string]struct {
		document []byte
		code     query.Code
	}{
		"newer":           {with(`"format":1,`, `"format":2,"more":[],`), query.CodeNewerFormat},
		"no format":       {with(`"format":1,`, ``), query.CodeCorrupt},
		"an unknown key":  {with(`"format":1,`, `"format":1,"more":1,`), query.CodeCorrupt},
		"a short hash":    {with(`d1aa`, ``), query.CodeCorrupt},
		"a hash of words": {with(`d1aa`, `dxaa`), query.CodeCorrupt},
		"two":             {append(bytes.Clone(document), document...), query.CodeCorrupt},
		"cut":             {document[:len(document)-1], query.CodeCorrupt},
		"nothing":         {nil, query.CodeCorrupt},
		"bad time":        {with(`2026-03-01T`, `2026-03-41T`), query.CodeCorrupt},
	} {
		if _, err := readKey("X", test.document); !isCode(err, test.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzKey gives texts of keys and their documents.
func FuzzKey(f *testing.F) {
	text, document := exampleKey(f)
	f.Add(text, document)
	f.Add(keyPrefix, []byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text string, document []byte) {
		if id, secret, ok := parseKey(text); ok && text != keyPrefix+id+"_"+secret {
			t.Errorf("%q is of %q and %q", text, id, secret)
		}
		k, err := readKey("X", document)
		if err != nil {
			if !isCode(err, query.CodeCorrupt) && !isCode(err, query.CodeNewerFormat) {
				t.Errorf("%q: %v", document, err)
			}
			return
		}
		again, err := k.document()
		if err != nil {
			return // a time that JSON has no form for
		}
		other, err := readKey("X", again)
		if err != nil || other.hash != k.hash || other.Name != k.Name || !other.Expires.Equal(k.Expires) || !other.Revoked.Equal(k.Revoked) {
			t.Errorf("%q is written %q, and read %+v, %v", document, again, other, err)
		}
	})
}
