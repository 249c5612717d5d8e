package syntax

import (
	"slices"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/kantadb/kanta/query"
)

// source is an expression's text with what is needed to say where a node stands:
// CEL keeps for a call only the place of its operator or opening bracket, counted
// in characters.
type source struct {
	text     string
	bytes    []int     // byte offset of each character and of the end; nil if all is ASCII
	brackets []bracket // in order of offset
	words    []query.Span
}

// bracket is one bracket of the text; mate is the offset of the one that closes or
// opens it, -1 if none does.
type bracket struct {
	at, mate int
	open     bool
}

// newSource scans a text once. It understands strings, comments and brackets, no more.
func newSource(text string) *source {
	s := &source{text: text}
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			s.bytes = make([]int, 0, len(text)+1)
			for j := range text {
				s.bytes = append(s.bytes, j)
			}
			s.bytes = append(s.bytes, len(text))
			break
		}
	}
	var open []int
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"' || c == '\'' || c == '`':
			i = skipString(text, i, false)
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			i = skipLine(text, i)
		case isWordByte(c):
			start := i
			for i < len(text) && isWordByte(text[i]) {
				i++
			}
			if i < len(text) && (text[i] == '"' || text[i] == '\'') && isStringPrefix(text[start:i]) {
				i = skipString(text, i, hasRawPrefix(text[start:i]))
				break
			}
			s.words = append(s.words, query.Span{Start: start, End: i})
		default:
			switch c {
			case '(', '[', '{':
				open = append(open, len(s.brackets))
				s.brackets = append(s.brackets, bracket{at: i, mate: -1, open: true})
			case ')', ']', '}':
				b := bracket{at: i, mate: -1}
				if n := len(open); n > 0 {
					o := &s.brackets[open[n-1]]
					o.mate, b.mate = i, o.at
					open = open[:n-1]
				}
				s.brackets = append(s.brackets, b)
			}
			i++
		}
	}
	return s
}

func isWordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isStringPrefix(w string) bool {
	for _, c := range []byte(w) {
		if c != 'r' && c != 'R' && c != 'b' && c != 'B' {
			return false
		}
	}
	return len(w) <= 2
}

func hasRawPrefix(w string) bool {
	for _, c := range []byte(w) {
		if c == 'r' || c == 'R' {
			return true
		}
	}
	return false
}

// skipString returns the offset behind the string that starts at i, a quote.
func skipString(text string, i int, raw bool) int {
	q, n := text[i], 1
	if q != '`' && i+2 < len(text) && text[i+1] == q && text[i+2] == q {
		n = 3
	}
	for j := i + n; j < len(text); j++ {
		switch {
		case text[j] == '\\' && !raw && q != '`':
			j++
		case text[j] == q && (n == 1 || j+2 < len(text) && text[j+1] == q && text[j+2] == q):
			return j + n
		}
	}
	return len(text)
}

func skipLine(text string, i int) int {
	for i < len(text) && text[i] != '\n' {
		i++
	}
	return i
}

// skipBlank returns the offset of the first byte from i on that is neither white
// space nor part of a comment.
func (s *source) skipBlank(i int) int {
	for i < len(s.text) {
		switch c := s.text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
		case c == '/' && i+1 < len(s.text) && s.text[i+1] == '/':
			i = skipLine(s.text, i)
		default:
			return i
		}
	}
	return i
}

// byteAt turns CEL's character offset into a byte offset.
func (s *source) byteAt(char int32) int {
	if s.bytes == nil {
		return min(max(int(char), 0), len(s.text))
	}
	return s.bytes[min(max(int(char), 0), len(s.bytes)-1)]
}

// charAt is the inverse of byteAt, for the first byte of a character.
func (s *source) charAt(at int) int32 {
	if s.bytes == nil {
		return int32(at)
	}
	i, _ := slices.BinarySearch(s.bytes, at)
	return int32(i)
}

// token returns the place that CEL keeps for a node.
func (s *source) token(info *ast.SourceInfo, id int64) (query.Span, bool) {
	r, ok := info.GetOffsetRange(id)
	if !ok {
		return query.Span{}, false
	}
	return query.Span{Start: s.byteAt(r.Start), End: s.byteAt(r.Stop)}, true
}

// span returns the whole extent of a node: from the first byte of its first
// descendant to the closing bracket.
func (s *source) span(info *ast.SourceInfo, e ast.Expr) query.Span {
	out := query.Span{Start: len(s.text) + 1, End: -1}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(n ast.Expr) {
		t, ok := s.token(info, n.ID())
		if !ok {
			return
		}
		t = s.widen(t, n)
		out.Start, out.End = min(out.Start, t.Start), max(out.End, t.End)
	}))
	if out.End < 0 {
		return query.Span{Start: 0, End: len(s.text)}
	}
	return s.balance(out)
}

// widen extends a node's token to what belongs to the node itself: the name before
// a call's bracket, the field behind a dot, the number behind a minus.
func (s *source) widen(t query.Span, n ast.Expr) query.Span {
	if t.Start >= len(s.text) {
		return t
	}
	switch s.text[t.Start] {
	case '(':
		t.End = max(t.End, t.Start+1) // a macro's nodes have an empty place there
		if n.Kind() == ast.CallKind && n.AsCall().IsMemberFunction() {
			break
		}
		i := t.Start
		for i > 0 && (s.text[i-1] == ' ' || s.text[i-1] == '\t' || s.text[i-1] == '\n') {
			i--
		}
		for i > 0 && isWordByte(s.text[i-1]) {
			i--
			t.Start = i
		}
	case '.':
		i := s.skipBlank(t.End)
		if i < len(s.text) && s.text[i] == '`' {
			t.End = skipString(s.text, i, false)
			break
		}
		for i < len(s.text) && isWordByte(s.text[i]) {
			i++
			t.End = i
		}
	case '-':
		if n.Kind() == ast.LiteralKind {
			t.End = numberEnd(s.text, s.skipBlank(t.End))
		}
	}
	return t
}

// balance extends a span until no bracket in it has its mate outside.
func (s *source) balance(p query.Span) query.Span {
	for again := true; again; {
		again = false
		first, _ := slices.BinarySearchFunc(s.brackets, p.Start, func(b bracket, at int) int { return b.at - at })
		for _, b := range s.brackets[first:] {
			if b.at >= p.End {
				break
			}
			if b.mate < 0 {
				continue
			}
			if b.open && b.mate >= p.End {
				p.End, again = b.mate+1, true
			}
			if !b.open && b.mate < p.Start {
				p.Start, again = b.mate, true
			}
		}
	}
	return p
}

// number returns the text of a number literal as it was written, with its sign.
func (s *source) number(info *ast.SourceInfo, id int64) string {
	t, ok := s.token(info, id)
	if !ok || t.Start >= len(s.text) {
		return ""
	}
	if s.text[t.Start] != '-' {
		return s.text[t.Start:t.End]
	}
	from := s.skipBlank(t.End)
	return "-" + s.text[from:numberEnd(s.text, from)]
}

// numberEnd returns the offset behind the number that starts at i.
func numberEnd(text string, i int) int {
	for j := i; j < len(text); j++ {
		c := text[j]
		sign := (c == '-' || c == '+') && j > i && (text[j-1] == 'e' || text[j-1] == 'E')
		if !isWordByte(c) && c != '.' && !sign {
			return j
		}
	}
	return len(text)
}

// isOperator tells the calls that are written as operators.
func isOperator(fn string) bool {
	_, ok := operators.FindReverse(fn)
	return ok
}
