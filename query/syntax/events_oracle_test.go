package syntax

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file holds random trees over random events against CEL's interpreter.

// zoneNames are zones whose clocks change, and the ends of the world.
var zoneNames = [...]string{"Europe/Rome", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"}

// instants are moments at which something changes: summer time begins and ends, a day
// begins in UTC, UTC+14 or UTC-11.
var instants = [...]string{"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
	"2026-06-15T00:00:00Z", "2026-06-15T10:00:00Z", "2026-06-15T11:00:00Z", "1969-12-31T23:59:59.999Z"}

// eventWriter writes random expressions over the events of one schema.
type eventWriter struct {
	writer
	schema *schema.Schema
	now    time.Time
}

// randomEvents makes 2 to 4 event types with random properties.
func randomEvents(r *rand.Rand) []schema.Event {
	kinds := []schema.Kind{schema.Bool, schema.Int, schema.Float, schema.Decimal, schema.Decimal, schema.String, schema.String, schema.Date, schema.Timestamp, schema.Set}
	out := make([]schema.Event, 2+r.IntN(3))
	for i := range out {
		out[i].Name = []string{"buy", "view", "open", "Order Completed"}[i]
		for j, k := range kinds {
			if r.IntN(4) == 0 {
				continue
			}
			a := schema.Attribute{Name: fmt.Sprintf("%c%d", k.String()[0], j), Kind: k}
			switch k {
			case schema.Int:
				a.Name = "age" // as an attribute is called
			case schema.Decimal:
				a.Scale = uint8(2 * (j % 3))
			}
			out[i].Properties = append(out[i].Properties, a)
		}
	}
	return out
}

// source writes an event type and returns it.
func (w eventWriter) source() (string, *schema.Event) {
	v := &w.schema.Events[w.IntN(len(w.schema.Events))]
	if strings.Contains(v.Name, " ") || w.IntN(8) == 0 {
		return fmt.Sprintf("ev[%q]", v.Name), v
	}
	return v.Name, v
}

func (w eventWriter) zone() string {
	if w.IntN(12) == 0 {
		return "zone" // the profile's own
	}
	return fmt.Sprintf("%q", zoneNames[w.IntN(len(zoneNames))])
}

func (w eventWriter) duration() string {
	return w.of("days(1)", "days(1)", "hours(1)", "hours(36)", "minutes(1)", `duration("1ms")`, `duration("1500us")`, `duration("100us")`, "days(100000)", "days(age)")
}

func (w eventWriter) moment() string {
	return w.of("now", "now - days(1)", "now - hours(1)", "now + days(1)", `timestamp("1969-12-31T23:59:59.9995Z")`, "now - hours(36)", "signup", `timestamp("0001-01-01T00:00:00Z")`)
}

// list writes an event list.
func (w eventWriter) list(depth int) (string, *schema.Event) {
	text, v := w.source()
	for range w.IntN(3) + w.IntN(2) {
		switch w.IntN(9) {
		case 0, 1:
			text += ".in_last(" + w.duration() + ")"
		case 2:
			text += ".between(" + w.moment() + ", " + w.moment() + ")"
		case 3:
			text += fmt.Sprintf(".at_hours(%d, %d, %s)", w.IntN(24), w.IntN(25), w.zone())
		case 4:
			text += ".on_weekdays([" + w.of(`"sun"`, `"Sunday", "mon"`, `"sat", "SAT"`, `"mon", "tue", "wed", "thu", "fri"`) + "], " + w.zone() + ")"
		case 5:
			if depth > 0 {
				b, u := w.list(depth - 1)
				text, v = text+".then("+b+", "+w.duration()+")", u
			}
		default:
			text += ".filter(e, " + w.condition(v, 2) + ")"
		}
	}
	return text, v
}

// property writes a property of e of one of the kinds, "" if there is none.
func (w eventWriter) property(v *schema.Event, kinds ...schema.Kind) string {
	var names []string
	for _, a := range v.Properties {
		if slices.Contains(kinds, a.Kind) {
			names = append(names, a.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if n := names[w.IntN(len(names))]; w.IntN(5) > 0 {
		return "." + n
	} else {
		return fmt.Sprintf("[%q]", n)
	}
}

// of writes a property of one kind behind a prefix, or what stands for it.
func (w eventWriter) part(prefix string, v *schema.Event, instead string, kinds ...schema.Kind) string {
	if p := w.property(v, kinds...); p != "" {
		return prefix + p
	}
	return instead
}

func (w eventWriter) compare() string { return w.of(" == ", " != ", " < ", " <= ", " > ", " >= ") }

// number writes a calculation over the properties of e.
func (w eventWriter) number(v *schema.Event, depth int) string {
	if depth <= 0 || w.IntN(3) == 0 {
		if w.IntN(12) == 0 {
			return "age"
		}
		return w.part("e", v, "1", schema.Int, schema.Float, schema.Decimal)
	}
	switch w.IntN(8) {
	case 0:
		return "double(" + w.number(v, depth-1) + ")"
	case 1:
		return "-(" + w.number(v, depth-1) + ")"
	case 2:
		return "(" + w.number(v, depth-1) + w.of(" / ", " % ", " * ") + w.of("2", "0", "9223372036854775807", "2.0", "0.0") + ")"
	}
	return "(" + w.number(v, depth-1) + w.of(" + ", " - ", " * ") + w.number(v, depth-1) + ")"
}

// condition writes what is said of e.
func (w eventWriter) condition(v *schema.Event, depth int) string {
	if depth > 0 {
		switch w.IntN(8) {
		case 0, 1:
			return "(" + w.condition(v, depth-1) + " && " + w.condition(v, depth-1) + ")"
		case 2, 3:
			return "(" + w.condition(v, depth-1) + " || " + w.condition(v, depth-1) + ")"
		case 4:
			return "!(" + w.condition(v, depth-1) + ")"
		}
	}
	text := w.part("e", v, `"a"`, schema.String)
	switch w.IntN(13) {
	case 12:
		return w.of("p.age > 1", "has(p.age)", `in_segment("adults")`)
	case 0:
		return text + w.compare() + `"` + w.of("", "a", "b") + `"`
	case 1:
		return text + w.of(` in ["a"]`, ` in ["a", "b"]`, ` in []`, `.startsWith("a")`, `.contains("")`, `.matches("^[ab]$")`)
	case 2:
		return w.part("e", v, "true", schema.Bool)
	case 3:
		if p := w.property(v, schema.Int, schema.String, schema.Set, schema.Float); p != "" {
			return "has(e" + p + ")"
		}
	case 4:
		if p := w.property(v, schema.Set); p != "" {
			return w.of(`"a" in e`+p, "e"+p+`.hasAny(["a", "c"])`, "e"+p+`.hasAll(["a", "b"])`, "size(e"+p+") > 1")
		}
	case 5, 6:
		return w.of("e.ts", "e.ts", "now - days(1)") + w.compare() + w.moment()
	case 7:
		return "now - e.ts" + w.compare() + w.duration()
	case 8:
		return w.part("e", v, "born", schema.Date) + w.compare() + w.of(`date("2026-06-15")`, "today("+w.zone()+")", "date(e.ts, "+w.zone()+")")
	case 9:
		return w.of(text+` + "x" == "ax"`, text+" == country", "e.ts"+w.compare()+w.part("e", v, "signup", schema.Timestamp), "date(e.ts, "+w.zone()+`) == date("2026-06-15")`)
	}
	return w.number(v, 1) + w.compare() + w.of(w.number(v, 1), "1", "0.5", "-1", "100", "2.5")
}

// amount writes a number made of a list.
func (w eventWriter) amount(depth int) string {
	l, v := w.list(1)
	switch w.IntN(9) {
	case 0:
		return l + ".count()"
	case 1:
		return l + ".distinct(e, " + w.part("e", v, "e.ts", schema.Int, schema.Float, schema.Decimal, schema.String, schema.Bool, schema.Date) + ")"
	case 2:
		return l + ".distinct_days(" + w.zone() + ")"
	case 3:
		return l + "." + w.of("first()", "last()") + w.part("", v, ".ts", schema.Int, schema.Float, schema.Decimal)
	case 4:
		if depth > 0 {
			return "(" + w.amount(depth-1) + w.of(" + ", " - ", " * ", " / ", " % ") + w.of(w.amount(depth-1), "2", "age", "ltv", "score") + ")"
		}
	}
	return l + "." + w.of("sum", "sum", "min", "max", "avg", "avg") + "(e, " + w.number(v, 1) + ")"
}

// about writes a test of events.
func (w eventWriter) about() string {
	l, v := w.list(1)
	switch w.IntN(14) {
	case 0:
		return l + ".any()"
	case 1:
		return l + "." + w.of("exists", "all") + "(e, " + w.condition(v, 1) + ")"
	case 2:
		return l + ".count()" + w.compare() + w.of("0", "1", "2", "0.5")
	case 3, 4:
		return l + "." + w.of("first()", "last()") + w.of(".ts"+w.compare()+w.moment(), w.part("", v, ".ts", schema.Timestamp, schema.Date)+w.compare()+w.of("now", `date("2026-06-15")`, "signup"))
	case 5, 6:
		return w.one(l+"."+w.of("first()", "last()"), v)
	case 7, 8:
		steps := make([]string, 2+w.IntN(2))
		for i := range steps {
			steps[i], _ = w.list(0)
		}
		return "sequence(" + w.duration() + ", [" + strings.Join(steps, ", ") + "]).any()"
	case 9:
		return w.of("now - "+l+".last().ts", "now - "+l+".max(e, e.ts)", l+".min(e, e.ts) - "+w.moment()) + w.compare() + w.duration()
	case 10:
		return "(" + w.of("vip", l+".any()", "has(p.ltv)") + " ? " + w.of(w.amount(0), "1") + " : " + w.of(w.amount(0), "0") + ")" + w.compare() + w.of("1", "0.5", "age")
	case 11:
		return l + ".avg(e, " + w.number(v, 1) + ")" + w.compare() + w.of("1", "0.5", "2.25", "score", "1e30", "50")
	}
	return w.amount(1) + w.compare() + w.of("1", "0", "0.5", "100", "age", "ltv", "score", w.amount(0))
}

// one writes a test of one event.
func (w eventWriter) one(e string, v *schema.Event) string {
	switch w.IntN(6) {
	case 0:
		return w.part(e, v, "true", schema.Bool)
	case 1:
		if p := w.property(v, schema.Int, schema.String, schema.Set); p != "" {
			return "has(" + e + p + ")"
		}
	case 2:
		if p := w.property(v, schema.Set); p != "" {
			return w.of(`"a" in `+e+p, e+p+`.hasAny(["a", "c"])`)
		}
	case 3:
		return w.part(e, v, "age", schema.Int) + " in [1, 2]"
	case 4:
		return "date(" + e + ".ts, " + w.zone() + ")" + w.compare() + `date("2026-06-15")`
	}
	return w.part(e, v, `"a"`, schema.String) + w.of(` == "a"`, ` != "a"`, ` in ["a", "b"]`, ` < "b"`, `.startsWith("a")`, " == country", ` + "x" == "ax"`)
}

func (w eventWriter) truth(depth int) string {
	if depth <= 0 {
		return w.about()
	}
	switch w.IntN(7) {
	case 0:
		return "(" + w.truth(depth-1) + " && " + w.truth(depth-1) + ")"
	case 1:
		return "(" + w.truth(depth-1) + " || " + w.of(w.truth(depth-1), w.test()) + ")"
	case 2:
		return "!(" + w.truth(depth-1) + ")"
	case 3:
		return "((" + w.truth(0) + ")" + w.of(" == ", " != ") + "(" + w.of(w.truth(0), "vip") + "))"
	}
	return w.about()
}

// acts makes random acts on and beside the borders that the writer writes of.
func (w eventWriter) acts(v *schema.Event) []query.Act {
	now := w.now.UnixMilli()
	const hour = int64(3600000)
	ago := []int64{0, 0, hour, 24 * hour, 24 * hour, 36 * hour, -24 * hour, 60000, 7 * 24 * hour, 400 * 24 * hour}
	out := make([]query.Act, max(0, w.IntN(8)-2))
	for i := range out {
		t := now - ago[w.IntN(len(ago))] + int64(w.IntN(5)-2)
		if w.IntN(3) == 0 {
			t += int64(w.IntN(49)-24) * hour / 2
		}
		if w.IntN(30) == 0 {
			t = []int64{schema.MinTimestamp, -1, 0, schema.MaxTimestamp}[w.IntN(4)]
		}
		out[i].Time = t
		out[i].Values = make([]schema.Value, len(v.Properties))
		for j, a := range v.Properties {
			if w.IntN(5) > 0 {
				out[i].Values[j] = w.value(a)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b query.Act) int { return int(max(-1, min(1, a.Time-b.Time))) })
	return out
}

func (w eventWriter) value(a schema.Attribute) schema.Value {
	n := []int64{0, 1, 2, -1, 1, 2, 100, 50, 25, math.MaxInt64, math.MinInt64, 9007199254740993}[w.IntN(12)]
	switch a.Kind {
	case schema.Bool:
		return schema.BoolValue(n > 0)
	case schema.Int:
		return schema.IntValue(n)
	case schema.Float:
		return schema.FloatValue([]float64{0, 1, 2, -1, 0.5, 0.1, 0.2, 1e16, -1e16, math.MaxFloat64, math.Inf(1), math.Inf(-1), 5e-324}[w.IntN(13)])
	case schema.Decimal:
		return schema.DecimalValue(n, a.Scale)
	case schema.String:
		return schema.StringValue(w.writer.of("", "a", "b", "IT"))
	case schema.Date:
		return schema.DateValue([]int64{20619, 20618, 20620, schema.MinDate, schema.MaxDate}[w.IntN(5)])
	case schema.Timestamp:
		return schema.TimestampValue(w.now.UnixMilli() - []int64{0, 86400000, 3600000, 1}[w.IntN(4)])
	}
	return schema.SetValue([][]string{{"a"}, {"a", "b"}, {"c"}, {}}[w.IntN(4)]...)
}

// TestEventsEqualInterpreter is TestPlanEqualsInterpreter for events.
func TestEventsEqualInterpreter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	kinds, compiled, pairs := map[string]int{}, 0, 0
	for range 12 {
		cat := testWorld()
		cat.schema = withEvents(cat.schema, randomEvents(r))
		now, err := time.Parse(time.RFC3339, instants[r.IntN(len(instants))])
		if err != nil {
			t.Fatal(err)
		}
		w := eventWriter{writer{r}, cat.schema, now.Add(time.Duration(r.IntN(3)-1) * time.Hour)}
		people := make([]person, 40)
		for i := range people {
			people[i] = w.person(cat.schema)
			people[i].schema, people[i].env, people[i].absent = cat.schema, query.Env{Now: w.now}, new(int)
			people[i].acts = map[schema.EventID][]query.Act{}
			for j := range cat.schema.Events {
				people[i].acts[cat.schema.Events[j].ID] = w.acts(&cat.schema.Events[j])
			}
		}
		c := NewCompiler()
		for range 300 {
			text := w.truth(r.IntN(3))
			e, err := compileAt(r, c, text, cat, query.Env{Now: w.now})
			if err != nil {
				checkError(t, text, err)
				continue
			}
			compiled++
			countKinds(e.Root, kinds)
			for _, p := range people[:10+r.IntN(30)] {
				pairs++
				agree(t, seed, e, p)
			}
		}
	}
	t.Logf("%d expressions, %d pairs, nodes %v", compiled, pairs, kinds)
	if pairs < 20000 {
		t.Errorf("only %d pairs of expression and profile, want 20,000", pairs)
	}
	for _, k := range []string{"Any", "Sequence", "OneIs", "AverageIs", "Residual", "From", "When twice", "Weekdays", "Hours", "Hours over midnight",
		"Filter", "Then", "count", "sum", "min", "max", "average", "distinct", "distinct days", "first", "last",
		"fold int", "fold float", "fold decimal", "fold timestamp"} {
		if kinds[k] < 10 {
			t.Errorf("%s occurred %d times, want 10", k, kinds[k])
		}
	}
}

// agree fails unless plan and interpreter say the same of a profile.
func agree(t *testing.T, seed uint64, e *Expr, p person) {
	t.Helper()
	*p.absent = 0
	got, failed := evaluate(e.Root, p)
	want, wantFailed := e.Interpret(p.value, p.act, p.inList, p.env)
	// Where both an absent value and a failure make an unknown, CEL says which it met first.
	if got == want && (failed == wantFailed || *p.absent > 0) {
		return
	}
	acts := ""
	for _, v := range p.schema.Events {
		for _, a := range p.acts[v.ID] {
			acts += fmt.Sprintf("\n%s %s %v", v.Name, moment(a.Time), a.Values)
		}
	}
	t.Fatalf("seed %d, now %s: %s\n%splan %v %v, interpreter %v %v for %v%s", seed, p.env.Now.Format(time.RFC3339Nano), e.Text, Print(e.Root, p.schema),
		got, failed, want, wantFailed, named(p.schema, p), acts)
}

// withEvents returns a schema with other events, whose ids follow those of the attributes.
func withEvents(s *schema.Schema, events []schema.Event) *schema.Schema {
	next := s.Attributes[len(s.Attributes)-1].ID + 1
	for i := range events {
		events[i].ID = schema.EventID(next)
		next++
		for j := range events[i].Properties {
			events[i].Properties[j].ID = next
			next++
		}
	}
	return schema.New(s.Version+1, next, s.Attributes, events...)
}

// compileAt compiles a text, half of the time by way of another instant, which must not matter.
func compileAt(r *rand.Rand, c *Compiler, text string, cat Catalog, env query.Env) (*Expr, error) {
	e, err := c.Compile(text, cat, env)
	if err != nil || r.IntN(2) == 0 {
		return e, err
	}
	other, err := c.Compile(text, cat, query.Env{Now: env.Now.Add(time.Duration(r.IntN(4000)-2000) * time.Hour)})
	if err != nil { // a window may end before it begins then
		return e, nil
	}
	return c.At(other, cat, env)
}
