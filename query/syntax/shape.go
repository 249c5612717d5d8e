package syntax

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kantadb/kanta/index/schema"
)

// Literal is a value that stands in a text.
type Literal struct {
	Text  string // as it is written, with its quotes
	Value string // of characters and bytes what they mean; of a number as it is written
}

// Shape returns what may be told of a text whose values may be told to nobody: each literal is
// what literal makes of it (nil: a question mark), comments are left out, white space is one
// blank. Of names stand there those that known knows (nil: none), the language's own words
// and those of one letter, which tell nothing; of any other a question mark, for somebody may
// have forgotten the quotes around a value. A string in brackets behind a name is a name,
// too: p["Order total"].
//
// It takes any text, also one that is no expression: from a quote without an end on, all is
// one literal. It never fails, takes time linear in the text, and is safe for concurrent use
// if its functions are.
func Shape(text string, known func(name string) bool, literal func(l Literal) string) string {
	s := shaper{known: known, literal: literal}
	s.out.Grow(len(text))
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case isBlank(c):
			s.blank = true
			i++
		case strings.HasPrefix(text[i:], "//"):
			s.blank = true
			i = skipLine(text, i)
		case c == '"' || c == '\'':
			i = s.characters(text, i, i)
		case c == '`':
			i = s.quotedName(text, i)
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(text) && isDigit(text[i+1]):
			end := numberLiteralEnd(text, i)
			s.value(Literal{text[i:end], text[i:end]})
			i = end
		case isWordByte(c):
			i = s.word(text, i)
		case strings.IndexByte(shapeSymbols, c) >= 0:
			s.put(string(c), c)
			i++
		default:
			i = s.foreign(text, i)
		}
	}
	return s.out.String()
}

// shapeSymbols are the characters of operators and brackets.
const shapeSymbols = "=!<>&|[]{}().,-?:+*/%"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isForeign tells the bytes that stand nowhere outside of strings.
func isForeign(c byte) bool {
	return !isBlank(c) && !isWordByte(c) && c != '"' && c != '\'' && c != '`' && strings.IndexByte(shapeSymbols, c) < 0
}

// shaper collects a shape.
type shaper struct {
	known   func(name string) bool
	literal func(l Literal) string
	out     strings.Builder
	blank   bool // stood before what comes next
	last    byte // the kind of the last piece: a symbol, 'n' of a name, 'v' of a value, 0 of a word of the language
	index   bool // the last piece is the bracket behind what has members
}

func (s *shaper) put(text string, kind byte) {
	if s.blank && s.out.Len() > 0 {
		s.out.WriteByte(' ')
	}
	s.index = kind == '[' && (s.last == 'n' || s.last == ')' || s.last == ']')
	s.blank, s.last = false, kind
	s.out.WriteString(text)
}

func (s *shaper) value(l Literal) {
	shown := "?"
	if s.literal != nil {
		shown = s.literal(l)
	}
	s.put(shown, 'v')
}

// name puts a name as it is written, if it may be told.
func (s *shaper) name(written, name string) {
	if bare := written == name; (!bare || len(name) > 1) && (s.known == nil || !s.known(name)) {
		written = "?"
	}
	s.put(written, 'n')
}

// word takes an identifier, or a string whose prefix it is.
func (s *shaper) word(text string, i int) int {
	end := i
	for end < len(text) && isWordByte(text[end]) {
		end++
	}
	word := text[i:end]
	if end < len(text) && (text[end] == '"' || text[end] == '\'') {
		switch strings.ToLower(word) {
		case "r", "b", "br":
			return s.characters(text, i, end)
		}
	}
	switch {
	case end < len(text) && isForeign(text[end]):
		return s.foreign(text, i)
	case schema.Usable(word):
		s.name(word, word)
	case word == "p" || word == "ev":
		s.put(word, 'n')
	default:
		s.put(word, 0)
	}
	return end
}

// foreign takes what is no part of any expression, with the words it is written together with.
func (s *shaper) foreign(text string, i int) int {
	for i < len(text) && (isForeign(text[i]) || isWordByte(text[i])) {
		i++
	}
	s.put("?", 'v')
	return i
}

// quotedName takes a name in backquotes.
func (s *shaper) quotedName(text string, i int) int {
	for end := i + 1; end < len(text); end++ {
		switch c := text[end]; {
		case c == '`':
			s.name(text[i:end+1], text[i+1:end])
			return end + 1
		case !isWordByte(c) && c != '.' && c != '-' && c != '/' && c != ' ':
			end = len(text)
		}
	}
	s.value(Literal{text[i:], text[i:]})
	return len(text)
}

// characters takes the string, of characters or bytes, that begins at i with a prefix and at
// quote with a quote.
func (s *shaper) characters(text string, i, quote int) int {
	prefix := strings.ToLower(text[i:quote])
	raw := strings.HasSuffix(prefix, "r")
	from, end, ok := stringEnd(text, quote, raw)
	if !ok {
		s.value(Literal{text[i:], text[i:]})
		return len(text)
	}
	n := from - quote // of quotes on each side
	l := Literal{Text: text[i:end], Value: text[from : end-n]}
	if !raw && (s.index || s.literal != nil) { // else nobody asks what it means
		l.Value = unescape(l.Value, strings.HasPrefix(prefix, "b"))
	}
	if s.index && strings.HasPrefix(strings.TrimLeft(text[end:], " \t\r\n\f"), "]") {
		s.name(l.Text, l.Value)
		return end
	}
	s.value(l)
	return end
}

// stringEnd returns where the inside of the string begins that has a quote at i, and the
// offset behind it.
func stringEnd(text string, i int, raw bool) (from, end int, ok bool) {
	quote := text[i : i+1]
	if len(text) > i+2 && text[i+1] == text[i] && text[i+2] == text[i] {
		quote = text[i : i+3]
	}
	from = i + len(quote)
	for j := from; j < len(text); j++ {
		switch c := text[j]; {
		case strings.HasPrefix(text[j:], quote):
			return from, j + len(quote), true
		case c == '\\' && !raw:
			j++
		case (c == '\n' || c == '\r') && len(quote) == 1:
			return from, 0, false
		}
	}
	return from, 0, false
}

// numberLiteralEnd returns the offset behind the number that begins at i.
func numberLiteralEnd(text string, i int) int {
	digits := func(j int) int {
		for j < len(text) && isDigit(text[j]) {
			j++
		}
		return j
	}
	if strings.HasPrefix(text[i:], "0x") {
		j := i + 2
		for j < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[j]) >= 0 {
			j++
		}
		if j > i+2 {
			return unsignedEnd(text, j)
		}
	}
	j := digits(i)
	whole := true
	if j+1 < len(text) && text[j] == '.' && isDigit(text[j+1]) {
		j, whole = digits(j+1), false
	}
	if j < len(text) && text[j]|0x20 == 'e' {
		k := j + 1
		if k < len(text) && (text[k] == '+' || text[k] == '-') {
			k++
		}
		if k < len(text) && isDigit(text[k]) {
			return digits(k)
		}
	}
	if whole {
		return unsignedEnd(text, j)
	}
	return j
}

// unsignedEnd is behind the mark of an unsigned number, if it is one.
func unsignedEnd(text string, i int) int {
	if i < len(text) && text[i]|0x20 == 'u' {
		return i + 1
	}
	return i
}

// unescape returns what the inside of a string means. Where it means nothing it stays as it is.
func unescape(s string, bytes bool) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			i++
			continue
		}
		c, i2 := s[i+1], i+2
		if k := strings.IndexByte("abfnrtv\\'\"`?", c); k >= 0 {
			out = append(out, "\a\b\f\n\r\t\v\\'\"`?"[k])
			i = i2
			continue
		}
		digits, base := 0, 16
		switch c {
		case 'x', 'X':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case '0', '1', '2', '3':
			digits, base, i2 = 3, 8, i+1
		}
		n, err := strconv.ParseUint(s[i2:min(i2+digits, len(s))], base, 32)
		switch {
		case err != nil || digits == 0:
			out, i2 = append(out, '\\'), i+1
		case bytes:
			out = append(out, byte(n))
		default:
			out = utf8.AppendRune(out, rune(n))
		}
		i = max(i2, i+1)
		if err == nil && digits > 0 {
			i = i2 + digits
		}
	}
	return string(out)
}
