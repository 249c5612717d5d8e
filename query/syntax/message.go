package syntax

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kantadb/kanta/query"
)

// signature says how a function is called.
type signature struct {
	member bool
	args   [2]int // fewest and most
	use    string
}

// signatureOf is the closed table of functions that a text may call. What CEL's
// library has beside them stays out until it has a meaning here.
func signatureOf(name string) (signature, bool) {
	switch name {
	case "in_segment", "in_list":
		return signature{args: [2]int{1, 1}, use: name + `("name")`}, true
	case "date":
		return signature{args: [2]int{1, 2}, use: `date("2024-12-31") or date(timestamp, "Europe/Rome")`}, true
	case "today":
		return signature{args: [2]int{1, 1}, use: `today("Europe/Rome")`}, true
	case "timestamp":
		return signature{args: [2]int{1, 1}, use: `timestamp("2024-12-31T23:59:59Z")`}, true
	case "duration":
		return signature{args: [2]int{1, 1}, use: `duration("36h")`}, true
	case "days", "hours", "minutes":
		return signature{args: [2]int{1, 1}, use: name + "(30)"}, true
	case "double", "int", "size":
		return signature{args: [2]int{1, 1}, use: name + "(x)"}, true
	case "startsWith", "endsWith", "contains", "matches":
		return signature{member: true, args: [2]int{1, 1}, use: "text." + name + `("...")`}, true
	case "any", "count":
		return signature{member: true, use: "events." + name + "()"}, true
	case "first", "last":
		return signature{member: true, use: "events." + name + "().ts"}, true
	case "in_last":
		return signature{member: true, args: [2]int{1, 1}, use: "events.in_last(days(30))"}, true
	case "between":
		return signature{member: true, args: [2]int{2, 2}, use: "events.between(now - days(14), now - days(7))"}, true
	case "at_hours":
		return signature{member: true, args: [2]int{3, 3}, use: `events.at_hours(8, 20, "Europe/Rome")`}, true
	case "on_weekdays":
		return signature{member: true, args: [2]int{2, 2}, use: `events.on_weekdays(["sat", "sun"], "Europe/Rome")`}, true
	case "filter":
		return signature{member: true, args: [2]int{2, 2}, use: "events.filter(e, e.amount > 10.0)"}, true
	case "sum", "min", "max", "avg":
		return signature{member: true, args: [2]int{2, 2}, use: "events." + name + "(e, e.amount)"}, true
	case "distinct":
		return signature{member: true, args: [2]int{2, 2}, use: "events.distinct(e, e.category)"}, true
	case "distinct_days":
		return signature{member: true, args: [2]int{1, 1}, use: `events.distinct_days("Europe/Rome")`}, true
	case "then":
		return signature{member: true, args: [2]int{2, 2}, use: "events.then(later, hours(1))"}, true
	case "sequence":
		return signature{args: [2]int{2, 2}, use: "sequence(hours(24), [view, cart, order]).any()"}, true
	case "hasAny", "hasAll":
		return signature{member: true, args: [2]int{1, 1}, use: "set." + name + `(["...", "..."])`}, true
	case "has":
		return signature{args: [2]int{1, 1}, use: "has(p.email)"}, true
	case "exists", "all":
		return signature{member: true, args: [2]int{2, 2}, use: "set." + name + `(x, x.startsWith("..."))`}, true
	}
	return signature{}, false
}

// functionNames lists the functions, for suggestions.
func functionNames() []string {
	return []string{"in_segment", "in_list", "date", "today", "timestamp", "duration", "days", "hours", "minutes",
		"double", "int", "size", "startsWith", "endsWith", "contains", "matches", "hasAny", "hasAll", "has", "exists", "all",
		"any", "count", "first", "last", "in_last", "between", "at_hours", "on_weekdays", "filter", "sum", "min", "max", "avg",
		"distinct", "distinct_days", "then", "sequence"}
}

// known refuses calls of what is no function of the language.
func (l *elaborator) known(e ast.Expr, c ast.CallExpr) bool {
	name := strings.TrimPrefix(c.FunctionName(), ".")
	if name == operators.Index {
		l.fail(e, query.CodeType, `only p["any name"] has brackets; elements of a set: "x" in s`, "%s has no parts", l.show(c.Args()[0]))
		return false
	}
	if isOperator(name) || strings.HasPrefix(name, "@") {
		return true
	}
	f, ok := signatureOf(name)
	if !ok {
		if c.IsMemberFunction() {
			if l.operand(c.Target()); l.err != nil { // the first thing that is wrong
				return false
			}
		}
		hint := query.DidYouMean(name, functionNames())
		if h := spelling(name); h != "" {
			hint = h
		}
		l.fail(e, query.CodeUnknownName, hint, "there is no function %s", name)
		return false
	}
	if f.member != c.IsMemberFunction() || len(c.Args()) < f.args[0] || len(c.Args()) > f.args[1] || name != c.FunctionName() {
		l.fail(e, query.CodeSyntax, "", "%s is written %s", name, f.use)
		return false
	}
	return true
}

// unknownName reports a name that the schema has not.
func (l *elaborator) unknownName(e ast.Expr, name string) {
	what := "attribute"
	bare := e.Kind() == ast.IdentKind
	if bare && len(l.sch.Events) > 0 {
		what = "attribute or event"
	}
	if h := spelling(name); h != "" {
		l.fail(e, query.CodeSyntax, h, "there is no %s %q", what, name)
		return
	}
	for _, v := range l.vars {
		if bare && v.event != nil && v.event.Lookup(name) != nil {
			l.fail(e, query.CodeUnknownName, fmt.Sprintf("a property is written %s.%s", v.name, name), "there is no %s %q", what, name)
			return
		}
	}
	names := l.sch.Names()
	if bare {
		names = append(names, eventNames(l.sch)...)
	}
	hint := query.DidYouMean(name, names)
	if f, ok := signatureOf(name); ok && hint == "" {
		hint = "the function is written " + f.use
	}
	if hint == "" && bare {
		hint = fmt.Sprintf("text is written in quotes: %q", name)
	}
	l.fail(e, query.CodeUnknownName, hint, "there is no %s %q", what, name)
}

// spelling answers words of other languages with CEL's.
func spelling(word string) string {
	if word == "IN" || word == "In" {
		return "it is written in small letters: in"
	}
	switch strings.ToLower(word) {
	case "and":
		return "and is written &&"
	case "or":
		return "or is written ||"
	case "not":
		return "not is written !"
	case "is":
		return `equality is written ==; whether there is a value: has(p.name)`
	case "null", "nil", "none":
		return "whether there is a value: has(p.name)"
	case "like", "ilike":
		return `text tests: name.startsWith("x"), name.contains("x"), name.matches("re")`
	case "between":
		return "write x >= 1 && x <= 5"
	}
	return ""
}

// syntaxError turns the parser's first error into ours.
func syntaxError(src *source, errs *common.Errors) *query.Error {
	first := errs.GetErrors()[0]
	out := &query.Error{Code: query.CodeSyntax, Source: src.text, Span: src.place(first.Location)}
	out.Message = strings.TrimPrefix(first.Message, "Syntax error: ")
	switch {
	case strings.Contains(out.Message, "exceeds limit"), strings.Contains(out.Message, "limit exceeded"):
		out.Code, out.Span = query.CodeLimit, query.Span{Start: 0, End: len(src.text)}
		if strings.Contains(out.Message, "recursion") {
			out.Message = fmt.Sprintf("the expression is nested more than %d deep", MaxDepth)
		}
		return out
	case strings.Contains(out.Message, "<EOF>"):
		out.Message = "the expression ends too early"
		out.Span = query.Span{Start: len(src.text), End: len(src.text)}
	case out.Message == "invalid int literal":
		out.Hint = "an int has at most 19 digits; with a point it is an exact decimal: 1.0"
	case strings.HasPrefix(out.Message, "expected identifier"):
		out.Hint = `other names are written p["any name"]`
	case out.Message == "expected ')'" && out.Span.Start < len(src.text) && src.text[out.Span.Start] == ',':
		out.Hint = `lists are written ["a", "b"]`
	}
	if s, hint := src.foreign(); hint != "" {
		out.Message, out.Hint, out.Span = fmt.Sprintf("%q is not understood", src.text[s.Start:s.End]), hint, s
	}
	return out
}

// place returns the span of the word or character at CEL's line and column.
func (s *source) place(l common.Location) query.Span {
	if l == nil || l.Line() < 1 {
		return query.Span{Start: 0, End: len(s.text)}
	}
	start := 0
	for line := 1; line < l.Line(); line++ {
		i := strings.IndexByte(s.text[start:], '\n')
		if i < 0 {
			break
		}
		start += i + 1
	}
	for n := 0; n < l.Column() && start < len(s.text); n++ {
		_, size := utf8.DecodeRuneInString(s.text[start:])
		start += size
	}
	for _, w := range s.words {
		if w.Start == start {
			return w
		}
	}
	return query.Span{Start: start, End: min(start+1, len(s.text))}
}

// foreign finds the first word or sign of another language and how CEL writes it.
func (s *source) foreign() (query.Span, string) {
	at, hint := query.Span{Start: len(s.text) + 1}, ""
	for _, w := range s.words {
		if w.Start > 0 && s.text[w.Start-1] == '.' {
			continue // a verb, such as .between(...)
		}
		if h := spelling(s.text[w.Start:w.End]); h != "" && s.text[w.Start:w.End] != "null" {
			at, hint = w, h
			break
		}
	}
	signs := []struct{ sign, hint string }{{"<>", "not equal is written !="}, {"===", "equality is written =="}, {"=", "equality is written =="}, {"&", "and is written &&"}, {"|", "or is written ||"}}
	plain := s.plain()
	for i := 0; i < len(plain) && i < at.Start; i++ {
		for _, f := range signs {
			if strings.HasPrefix(plain[i:], f.sign) && !partOf(plain, i, len(f.sign)) {
				return query.Span{Start: i, End: i + len(f.sign)}, f.hint
			}
		}
	}
	return at, hint
}

// partOf reports whether the sign at i belongs to an operator of CEL.
func partOf(text string, i, n int) bool {
	if n > 1 {
		return false
	}
	from := i
	for from > 0 && strings.IndexByte("=!<>&|", text[from-1]) >= 0 {
		from--
	}
	to := i
	for to < len(text) && strings.IndexByte("=!<>&|", text[to]) >= 0 {
		to++
	}
	switch strings.TrimRight(text[from:to], "!") {
	case "==", "!=", "<=", ">=", "&&", "||":
		return true
	}
	return false
}

// plain is the text with strings and comments blanked out.
func (s *source) plain() string {
	out := []byte(s.text)
	blank := func(from, to int) {
		for ; from < to; from++ {
			out[from] = ' '
		}
	}
	for i := 0; i < len(s.text); {
		switch c := s.text[i]; {
		case c == '"' || c == '\'' || c == '`':
			end := skipString(s.text, i, i > 0 && hasRawPrefix(s.text[i-1:i]))
			blank(i, end)
			i = end
		case c == '/' && i+1 < len(s.text) && s.text[i+1] == '/':
			end := skipLine(s.text, i)
			blank(i, end)
			i = end
		default:
			i++
		}
	}
	return string(out)
}

// operatorText is how an operator is written.
func operatorText(fn string) string {
	if t, ok := operators.FindReverse(fn); ok && t != "" {
		return t
	}
	switch fn {
	case operators.Negate:
		return "-"
	case operators.Conditional:
		return "? :"
	}
	return fn
}

// typeError turns the checker's first error into ours.
func typeError(src *source, checked *ast.AST, errs *common.Errors) *query.Error {
	first := errs.GetErrors()[0]
	out := &query.Error{Code: query.CodeType, Message: first.Message, Source: src.text, Span: src.place(first.Location)}
	var at ast.Expr
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if at == nil && e.ID() == first.ExprID {
			at = e
		}
	}))
	if at == nil {
		return out
	}
	out.Span = src.span(checked.SourceInfo(), at)
	if at.Kind() != ast.CallKind {
		return out
	}
	c := at.AsCall()
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	names := make([]string, len(args))
	for i, a := range args {
		names[i] = typeName(checked.GetType(a.ID()))
	}
	what := strings.Join(names, " and ")
	if f, ok := signatureOf(c.FunctionName()); ok {
		out.Message = fmt.Sprintf("%s does not fit %s", c.FunctionName(), what)
		out.Hint = "it is written " + f.use
		return out
	}
	out.Message = fmt.Sprintf("%s does not fit %s", operatorText(c.FunctionName()), what)
	switch c.FunctionName() {
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		out.Hint = textHint(names)
	}
	return out
}

// textHint says how what was compared with a text is written.
func textHint(names []string) string {
	if !slices.Contains(names, "string") {
		return ""
	}
	for _, other := range names {
		switch other {
		case "timestamp":
			return `a time is written timestamp("2024-12-31T00:00:00Z")`
		case "date":
			return `a day is written date("2024-12-31")`
		case "int", "float", "decimal":
			return "text stands in quotes, a number does not"
		}
	}
	return ""
}

// typeName is the name of a type in our words.
func typeName(t *types.Type) string {
	if t == nil {
		return "something wrong"
	}
	switch t.Kind() {
	case types.DoubleKind:
		return "float"
	case types.TimestampKind:
		return "timestamp"
	case types.DurationKind:
		return "duration"
	case types.ListKind:
		if len(t.Parameters()) == 1 && t.Parameters()[0].Kind() == types.StringKind {
			return "set<string>"
		}
		return "list"
	}
	return t.TypeName()
}
