package query

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestPretty: the place is under its text, also in a line too long to be shown.
func TestPretty(t *testing.T) {
	long := strings.Repeat("ä", 10_000)
	for _, c := range []struct{ before, at, after string }{
		{"", "age", " > 3"}, {"\x1b[31m a \r\u202e\u0085", "age", "\x00"}, {"a &&\n\tb && ", "äge", " > 3\n|| c"}, {"x", "", ""}, {"", "age", long}, {long, "age", long}, {long, "age", ""}, {long, long, long}, {"", long, ""}, {long, "", ""},
	} {
		e := &Error{Message: "wrong", Source: c.before + c.at + c.after, Span: Span{len(c.before), len(c.before) + len(c.at)}}
		lines := strings.Split(e.Pretty(), "\n")
		if strings.ContainsFunc(strings.Join(lines, ""), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
			t.Errorf("control characters in %q", lines)
		}
		if len(lines) != 3 || utf8.RuneCountInString(lines[1]) > 2+prettyRunes {
			t.Fatalf("%d lines of %.200q", len(lines), lines)
		}
		shown, carets := []rune(lines[1]+" "), utf8.RuneCountInString(lines[2])
		from := strings.Index(lines[2], "^")
		under := strings.TrimSuffix(string(shown[from:carets]), " ")
		if !strings.HasPrefix(c.at, under) || under != c.at && utf8.RuneCountInString(under) < prettyRunes/3 {
			t.Errorf("%.20q at %d: %.300q", c.at, len(c.before), lines)
		}
	}
}
