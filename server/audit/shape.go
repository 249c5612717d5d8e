package audit

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// Shape returns what may be stored of an expression: its words, with every literal replaced by "#"
// and its keyed hash, and so with every name that known does not know, since what is
// mistyped may be anything. true, false and null stay. What in_segment, in_list and rfm name is kept if
// named says so: of an expression that was answered it is certain that there are such. names are
// those that were kept, each once, in order. The text need not be a correct expression. One that is too long for a
// record ends with the hash of all of it.
func (k *keyed) Shape(text string, known func(name string) bool, named bool) (shape string, names []string) {
	s := &shaper{keyed: k, known: known, named: named, rest: text}
	for s.rest != "" {
		s.next()
		if s.out.Len() > MaxWhatBytes {
			whole := ellipsis + " #" + k.Hash(text).String()
			return clipWord(s.out.String(), MaxWhatBytes-len(whole)) + whole, s.names
		}
	}
	return s.out.String(), s.names
}

// clipWord cuts a text behind its last whole word.
func clipWord(text string, most int) string {
	cut := text[:min(len(text), most)]
	return cut[:max(strings.LastIndexByte(cut, ' '), 0)]
}

// shaper walks through the text of an expression.
type shaper struct {
	*keyed
	known func(string) bool
	named bool
	rest  string
	out   strings.Builder
	names []string

	// The last two tokens: "a" for a name or ")" or "]", else as they are.
	before, last string
	word         string // the last name, as it is
}

// next takes one token.
func (s *shaper) next() {
	t := s.rest
	c := t[0]
	switch {
	case strings.IndexByte(" \t\r\n\f", c) >= 0:
		s.rest = strings.TrimLeft(t, " \t\r\n\f")
		s.space()
	case strings.HasPrefix(t, "//"):
		_, s.rest, _ = strings.Cut(t, "\n") // what is said there is no part of the question
		s.space()
	case stringStart(t) >= 0:
		s.text()
	case digit(c), c == '.' && len(t) > 1 && digit(t[1]):
		n := numberLength(t)
		s.literal(t[:n], n)
	case letter(c):
		n := 1
		for n < len(t) && (letter(t[n]) || digit(t[n])) {
			n++
		}
		s.name(t[:n], n)
	case c == '`':
		inner, _, found := strings.Cut(t[1:], "`")
		n := 1 + len(inner)
		if found {
			n++
		}
		s.name(inner, n)
	case c > ' ' && c < 0x7f:
		s.out.WriteByte(c)
		s.took(string(c), 1)
	default: // no expression has it: whatever it is, up to what could be one again
		n := 1
		for n < len(t) && (t[n] <= ' ' && strings.IndexByte(" \t\r\n\f", t[n]) < 0 || t[n] >= 0x7f || letter(t[n]) || digit(t[n])) {
			n++
		}
		s.literal(t[:n], n)
	}
}

// space parts what was written from what comes.
func (s *shaper) space() {
	if written := s.out.String(); s.rest != "" && written != "" && written[len(written)-1] != ' ' {
		s.out.WriteByte(' ')
	}
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// took ends a token of n bytes.
func (s *shaper) took(token string, n int) {
	s.before, s.last, s.rest = s.last, token, s.rest[n:]
	if token == ")" || token == "]" {
		s.last = "a"
	}
}

// literal hides a token.
func (s *shaper) literal(value string, n int) {
	s.out.WriteString("#" + s.Hash(value).String())
	s.took("#", n)
}

// name keeps a name that is known or a word of the language, and single letters, which
// stand for events in them; others are hidden.
func (s *shaper) name(name string, n int) {
	word := plain(name)
	if !(word && !schema.Usable(name)) && !s.keep(name) && !(word && len(name) == 1) {
		s.literal(name, n)
		s.last, s.word = "a", ""
		return
	}
	if s.word = name; !word {
		name = "`" + name + "`"
	}
	s.out.WriteString(name)
	s.took("a", n)
	if s.word == "in" {
		s.last = "in" // what follows in brackets is a list of values
	}
}

// plain reports whether a name is an identifier.
func plain(name string) bool {
	for i := range len(name) {
		if !letter(name[i]) && (i == 0 || !digit(name[i])) {
			return false
		}
	}
	return name != ""
}

// keep reports whether a name is known, and takes it down.
func (s *shaper) keep(name string) bool {
	if s.known == nil || !s.known(name) {
		return false
	}
	s.note(name)
	return true
}

// note takes a name down.
func (s *shaper) note(name string) {
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
}

// text takes a literal of a text. As an index (p["Order total"]) and as what a function of names
// is called with (in_list("staff")) it is a name.
func (s *shaper) text() {
	value, n := readText(s.rest)
	index := s.last == "[" && s.before == "a"
	called := s.named && s.last == "(" && s.before == "a" && (s.word == "in_segment" || s.word == "in_list" || s.word == "rfm")
	if called {
		s.note(value)
	}
	if called || index && s.keep(value) {
		s.out.WriteString(strconv.Quote(value))
		s.took("#", n)
		return
	}
	s.literal(value, n)
}

// stringStart returns how many bytes stand before the quote of a literal of a text, -1 if none
// begins here.
func stringStart(t string) int {
	for i := range min(len(t), 3) {
		if t[i] == '"' || t[i] == '\'' {
			return i
		}
		if strings.IndexByte("rRbB", t[i]) < 0 {
			break
		}
	}
	return -1
}

// readText returns the value of a literal of a text, and its length. One that does not end goes
// to the end.
func readText(t string) (value string, n int) {
	start := stringStart(t)
	raw := strings.ContainsAny(t[:start], "rR")
	quote := t[start : start+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(t[start:], triple) {
		quote = triple
	}
	from := start + len(quote)
	for i := from; i < len(t); i++ {
		switch {
		case t[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(t[i:], quote):
			return unescape(t[from:i], raw), i + len(quote)
		}
	}
	return unescape(t[from:], raw), len(t)
}

// unescape returns what a literal stands for, as far as it is one.
func unescape(text string, raw bool) string {
	if raw || !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for text != "" {
		if len(text) > 1 && text[0] == '\\' && strings.IndexByte("?`\"'", text[1]) >= 0 {
			out.WriteByte(text[1])
			text = text[2:]
			continue
		}
		r, multibyte, rest, err := strconv.UnquoteChar(text, 0)
		switch {
		case err != nil:
			out.WriteByte(text[0])
			rest = text[1:]
		case r < 0x80 || multibyte:
			out.WriteRune(r)
		default:
			out.WriteByte(byte(r))
		}
		text = rest
	}
	return out.String()
}

// numberLength returns how many bytes a number has, with all that clings to it.
func numberLength(t string) int {
	n := 0
	for n < len(t) && (digit(t[n]) || letter(t[n]) || t[n] == '.' ||
		(t[n] == '-' || t[n] == '+') && n+1 < len(t) && digit(t[n+1]) && (t[n-1]|0x20) == 'e' && !strings.HasPrefix(t, "0x")) {
		n++
	}
	return n
}
