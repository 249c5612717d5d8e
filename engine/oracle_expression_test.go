package engine_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// This file writes random typed expressions over the people's attributes, from the
// language of package syntax.

// expression is a text with its logical structure: its truth follows from that of its
// tests by Kleene's tables.
type expression struct {
	op    string // "&&", "||", "!", "segment", or "" for a test
	of    []*expression
	text  string
	facts []*fact // of a test: what it reads; may hold a fact twice
}

// writer writes expressions over people.
type writer struct {
	*people
	segments []string // names that may be used
	inner    map[string]*expression
	reads    []*fact // of the test being written
}

func (w *writer) logic(depth int) *expression {
	switch k := w.IntN(10); {
	case depth <= 0 || k < 2:
		return w.test()
	case k < 6:
		return w.join("&&", depth)
	case k < 9:
		return w.join("||", depth)
	}
	x := w.logic(depth - 1)
	return &expression{op: "!", of: []*expression{x}, text: "!(" + x.text + ")"}
}

func (w *writer) join(op string, depth int) *expression {
	e := &expression{op: op}
	var texts []string
	for range 2 + w.IntN(2)*w.IntN(3) {
		x := w.logic(depth - 1)
		if w.chance(0.15) {
			x = &expression{op: "!", of: []*expression{x}, text: "!(" + x.text + ")"}
		}
		e.of = append(e.of, x)
		texts = append(texts, "("+x.text+")")
	}
	e.text = strings.Join(texts, " "+op+" ")
	return e
}

// test writes one test.
func (w *writer) test() *expression {
	w.reads = nil
	if len(w.segments) > 0 && w.chance(0.04) {
		name := w.of(w.segments...)
		return &expression{op: "segment", of: []*expression{w.inner[name]}, text: fmt.Sprintf("in_segment(%q)", name)}
	}
	text := w.condition()
	return &expression{text: text, facts: w.reads}
}

func (w *writer) condition() string {
	switch w.IntN(20) {
	case 0, 1:
		return w.has()
	case 2, 3, 4, 5:
		return w.comparison()
	case 6, 7:
		return w.membership()
	case 8:
		return w.bools()
	case 9, 10, 11:
		return w.textTest()
	case 12, 13:
		return w.setTest()
	case 14:
		l := w.lists[w.IntN(len(w.lists))]
		w.reads = append(w.reads, l)
		return fmt.Sprintf("in_list(%q)", l.Name)
	case 15, 16, 17:
		return w.arithmetic()
	case 18:
		return w.timeTest()
	}
	if w.chance(0.75) {
		return w.comparison()
	}
	return w.rest()
}

// column picks an attribute of one of some kinds (none: any) and returns how it is named.
func (w *writer) column(kinds ...schema.Kind) (*fact, string) {
	for {
		f := w.facts[w.IntN(len(w.facts))]
		if len(kinds) > 0 && f.Kind != kinds[w.IntN(len(kinds))] {
			continue
		}
		w.reads = append(w.reads, f)
		if f.ref == f.Name && w.chance(0.2) {
			return f, "p." + f.Name
		}
		return f, f.ref
	}
}

func (w *writer) comparator() string { return w.of(" == ", " != ", " < ", " <= ", " > ", " >= ") }

// bothWays writes a comparison, one way round or the other.
func (w *writer) bothWays(a, b string) string {
	if w.chance(0.3) {
		a, b = b, a
	}
	return a + w.comparator() + b
}

func (w *writer) has() string {
	f, name := w.column()
	if f.ref == f.Name && w.chance(0.3) {
		name = fmt.Sprintf("p[%q]", f.Name)
	} else if f.ref == f.Name {
		name = w.of("p.", "") + f.Name
	}
	return "has(" + name + ")"
}

func (w *writer) comparison() string {
	f, name := w.column(schema.Int, schema.Float, schema.Decimal, schema.String, schema.Date, schema.Timestamp)
	return w.bothWays(name, w.constant(f))
}

func (w *writer) membership() string {
	f, name := w.column(schema.Bool, schema.Int, schema.Float, schema.Decimal, schema.String, schema.Date, schema.Timestamp)
	var of []string
	n := w.IntN(5)
	if w.chance(0.1) {
		n = 100 + w.IntN(100)
	}
	for range n {
		of = append(of, w.constant(f))
	}
	return name + " in [" + strings.Join(of, ", ") + "]"
}

func (w *writer) bools() string {
	_, a := w.column(schema.Bool)
	switch w.IntN(6) {
	case 0:
		return a
	case 1:
		return "!" + a
	case 2:
		_, b := w.column(schema.Bool)
		return a + w.of(" == ", " != ") + b
	case 3:
		return a + " in [" + w.of("true", "false", "true, false", "") + "]"
	}
	return w.of(a+w.of(" == ", " != ")+w.of("true", "false"), w.of("true", "false")+" == "+a)
}

func (w *writer) textTest() string {
	f, name := w.column(schema.String)
	switch w.IntN(5) {
	case 0:
		return w.bothWays(name, w.constant(f))
	case 1:
		return name + ".matches(" + strconv.Quote(w.of("^I", "o.", "", "[0-9]+$", "^.?$", "Zoë|FI", "^user1.*IT$", "(?i)it")) + ")"
	}
	s := []rune(w.someone(f).Str())
	if len(s) > 1 && w.chance(0.7) {
		s = s[:1+w.IntN(len(s)-1)]
	} else if len(s) > 1 && w.chance(0.5) {
		s = s[len(s)-1-w.IntN(len(s)-1):]
	}
	return name + "." + w.of("startsWith", "endsWith", "contains") + "(" + strconv.Quote(string(s)) + ")"
}

func (w *writer) setTest() string {
	f, name := w.column(schema.Set)
	var some []string
	for range w.IntN(4) {
		some = append(some, w.element(f))
	}
	switch w.IntN(10) {
	case 0:
		if w.chance(0.5) {
			return name + "." + w.of("exists", "all") + "(e, " + w.of(`e.startsWith("I")`, `e != "a"`, `e == `+w.element(f)) + ")"
		}
		return "size(" + name + ")" + w.comparator() + w.of("0", "1", "2")
	case 1, 2, 3:
		return w.element(f) + " in " + name
	}
	return name + "." + w.of("hasAny", "hasAll") + "([" + strings.Join(some, ", ") + "])"
}

// someone returns a value that somebody has, or any of the table.
func (w *writer) someone(f *fact) schema.Value {
	if w.chance(0.6) {
		return f.value(w.IntN(w.n))
	}
	return f.values[w.IntN(len(f.values))]
}

func (w *writer) element(f *fact) string {
	if e := w.someone(f).Elements(); len(e) > 0 {
		return strconv.Quote(e[w.IntN(len(e))])
	}
	return strconv.Quote(w.of(w.texts...))
}

// constant writes a constant near a value of an attribute.
func (w *writer) constant(f *fact) string {
	v := w.someone(f)
	if v.IsAbsent() {
		v = f.values[1]
	}
	switch f.Kind {
	case schema.Bool:
		return v.String()
	case schema.Int:
		return w.number(v.Ordered(), 0)
	case schema.Float:
		if w.chance(0.2) {
			return w.of("0", "1", "-1", "30", "1e3")
		}
		return floatText(v.Float())
	case schema.Decimal:
		return w.number(v.Ordered(), f.Scale)
	case schema.Date:
		return w.dateText(v.Ordered())
	case schema.Timestamp:
		return w.timeText(v.Ordered())
	}
	if w.chance(0.15) {
		return strconv.Quote(v.Str() + w.of("", "a", "\u0000", "~"))
	}
	return strconv.Quote(v.Str())
}

// floatText writes a float so that CEL reads it back, with a point or an exponent.
func floatText(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// number writes a literal at a scale, with more or fewer places, or nearby.
func (w *writer) number(n int64, scale uint8) string {
	if d := w.Int64N(3) - 1; n < 1<<62 && n > -1<<62 {
		n += d
	}
	s := schema.DecimalValue(n, scale).String()
	switch k := w.IntN(10); {
	case k == 0 && strings.Contains(s, "."):
		s += w.of("0", "5", "000", "1")
	case k == 1 && strings.Contains(s, "."):
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	case k == 2 && !strings.Contains(s, ".") && n < 1e15 && n > -1e15:
		s += w.of(".0", ".5", ".25")
	case k == 3 && n < 1<<60 && n > -1<<60 && scale > 0:
		return w.of("0.1 + "+s, s+" * 2", "2 * "+s+" - 1", "-("+s+")")
	}
	return s
}

func (w *writer) dateText(day int64) string {
	if w.chance(0.2) {
		return w.of(`today("UTC")`, `today("Europe/Rome")`, `today("Pacific/Auckland") - days(30)`, `date(now, "America/New_York")`)
	}
	day = min(max(day+w.Int64N(3)-1, schema.MinDate), schema.MaxDate)
	return "date(\"" + schema.DateValue(day).String() + "\")"
}

func (w *writer) timeText(ms int64) string {
	if w.chance(0.2) {
		return w.of("now", "now - days(14)", "now + hours(1)", `timestamp("2026-06-15T12:00:00.0005Z")`, "now - duration(\"1h30m\")", `timestamp("2024-03-31T02:00:00+01:00")`)
	}
	ms = min(max(ms+w.Int64N(3)-1, schema.MinTimestamp), schema.MaxTimestamp)
	return "timestamp(\"" + schema.TimestampValue(ms).String() + "\")"
}

// arithmetic compares two calculations, or one with a constant.
func (w *writer) arithmetic() string {
	var side func(depth int) string
	switch w.IntN(3) {
	case 0:
		side = w.ints
	case 1:
		side = w.floats
	default:
		side = w.decimals
	}
	if w.chance(0.5) {
		return w.bothWays(side(2), side(0))
	}
	return side(1) + w.comparator() + side(1)
}

func (w *writer) ints(depth int) string {
	if depth == 0 || w.chance(0.2) {
		if w.chance(0.4) {
			return w.of("0", "1", "-1", "2", "100", "9223372036854775807", "-9223372036854775808", "7")
		}
		_, name := w.column(schema.Int)
		return name
	}
	if w.chance(0.1) {
		return "-(" + w.ints(depth-1) + ")"
	}
	return "(" + w.ints(depth-1) + w.of(" + ", " - ", " * ", " / ", " % ") + w.ints(depth-1) + ")"
}

func (w *writer) floats(depth int) string {
	if depth == 0 || w.chance(0.2) {
		switch w.IntN(6) {
		case 0, 1:
			return w.of("0.0", "0.5", "-1.5", "1e300", "100.0")
		case 2:
			_, name := w.column(schema.Int, schema.Decimal)
			return "double(" + name + ")"
		}
		_, name := w.column(schema.Float)
		return name
	}
	if w.chance(0.1) {
		return "-(" + w.floats(depth-1) + ")"
	}
	if w.chance(0.1) {
		return "(" + w.floats(depth-1) + w.of(" + ", " * ") + w.ints(0) + ")"
	}
	return "(" + w.floats(depth-1) + w.of(" + ", " - ", " * ", " / ") + w.floats(depth-1) + ")"
}

func (w *writer) decimals(depth int) string {
	if depth == 0 || w.chance(0.2) {
		switch w.IntN(6) {
		case 0, 1:
			return w.of("0.1", "1.005", "-0.5", "100.00", "2", "92233720368547758.07", "1e3", "-9223372036854775808.0")
		case 2:
			_, name := w.column(schema.Int)
			return name
		}
		_, name := w.column(schema.Decimal)
		return name
	}
	if w.chance(0.1) {
		return "-(" + w.decimals(depth-1) + ")"
	}
	return "(" + w.decimals(depth-1) + w.of(" + ", " - ", " * ") + w.decimals(depth-1) + ")"
}

func (w *writer) timeTest() string {
	_, t := w.column(schema.Timestamp)
	zone := w.of("UTC", "Europe/Rome", "America/Havana", "Pacific/Apia", "Asia/Kathmandu")
	length := w.of("days(0)", "days(14)", "hours(-36)", "minutes(90)", "days(4000)", "duration(\"36h\")")
	switch w.IntN(9) {
	case 0:
		return w.bothWays("now - "+t, length)
	case 1:
		return w.bothWays(t+w.of(" - ", " + ")+length, w.timeText(oracleNow))
	case 2, 3:
		return w.bothWays("date("+t+", \""+zone+"\")", w.dateText(oracleDay))
	case 4:
		_, u := w.column(schema.Timestamp)
		return w.of(t+w.comparator()+u, t+" - "+u+w.comparator()+length, t+" + "+length+w.comparator()+u)
	case 5:
		_, d := w.column(schema.Date)
		return "date(" + t + ", \"" + zone + "\")" + w.comparator() + d
	case 6:
		_, d := w.column(schema.Date)
		_, e := w.column(schema.Date)
		return w.of(d+w.comparator()+e, d+" - "+e+w.comparator()+"days(30)", d+" + days(30)"+w.comparator()+e)
	}
	_, d := w.column(schema.Date)
	return w.of(w.bothWays("today(\""+zone+"\") - "+d, "days(30)"), w.bothWays(d+w.of(" + ", " - ")+"days(365)", w.dateText(oracleDay)))
}

// rest writes what has no plan, or a roundabout one.
func (w *writer) rest() string {
	f, a := w.column(schema.String)
	_, b := w.column(schema.String)
	switch w.IntN(6) {
	case 0:
		return a + w.comparator() + b
	case 1:
		return "size(" + a + ")" + w.comparator() + w.of("0", "2", "5")
	case 2:
		return a + ".contains(" + b + ")"
	case 3:
		return "(" + w.condition() + " ? " + w.condition() + " : " + w.condition() + ")"
	case 4:
		g, x := w.column(schema.Int, schema.Decimal, schema.Float)
		return "(has(" + x + ") ? " + x + " : " + w.constant(g) + ")" + w.comparator() + w.constant(g)
	}
	return a + " + " + b + " == " + strconv.Quote(w.someone(f).Str()+"IT")
}

// directed writes the plainest tests of every attribute: with a value that a whole chunk
// may share, one that few have and one that nobody has. They meet what chance rarely does.
func (w *writer) directed() []*expression {
	var out []*expression
	add := func(f *fact, format string, args ...any) {
		out = append(out, &expression{text: fmt.Sprintf(format, args...), facts: []*fact{f}})
	}
	calm, _ := w.span(w.calm)
	for _, f := range w.facts {
		add(f, "has(%s)", f.ref)
		for _, v := range []schema.Value{f.value(calm), f.values[len(f.values)-1], f.values[1]} {
			switch {
			case v.IsAbsent():
			case f.Kind == schema.Set:
				for _, e := range append(v.Elements(), "nobody's") {
					add(f, "%q in %s", e, f.ref)
				}
				add(f, "size(%s) >= %d", f.ref, len(v.Elements()))
			case f.Kind == schema.String:
				add(f, "%s == %q", f.ref, v.Str())
				add(f, "%s == %q", f.ref, v.Str()+"?")
				add(f, "%s >= %q", f.ref, v.Str())
				add(f, "%s.startsWith(%q)", f.ref, v.Str())
				add(f, "%s.endsWith(%q)", f.ref, v.Str()+"?")
				add(f, "size(%s) <= %d", f.ref, len(v.Str()))
			case f.Kind == schema.Bool:
				add(f, "%s == %s", f.ref, v)
				add(f, "!(%s == %s)", f.ref, v)
				add(f, "%s in []", f.ref)
			default:
				c := exactLiteral(v)
				add(f, "%s == %s", f.ref, c)
				add(f, "%s in []", f.ref)
				add(f, "%s >= %s", f.ref, c)
				add(f, "%s > %s && %s < %s", f.ref, c, f.ref, c)
				add(f, "%s <= %s", f.ref, f.ref)
				add(f, "%s < %s", f.ref, f.ref)
				add(f, "!(%s == %s)", f.ref, c)
				add(f, "has(%s) && %s >= %s", f.ref, f.ref, c)
				add(f, "!has(%s) || %s == %s", f.ref, f.ref, c)
			}
		}
	}
	for _, l := range w.lists {
		add(l, "in_list(%q)", l.Name)
	}
	return out
}

// exactLiteral writes exactly a value of an ordered kind.
func exactLiteral(v schema.Value) string {
	switch v.Kind() {
	case schema.Float:
		return floatText(v.Float())
	case schema.Date:
		return "date(\"" + v.String() + "\")"
	case schema.Timestamp:
		return "timestamp(\"" + v.String() + "\")"
	}
	return v.String()
}
