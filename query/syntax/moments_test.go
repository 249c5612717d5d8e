package syntax

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// momentWriter writes random expressions about time, whose instants all lie on a grid or
// beside it.
type momentWriter struct {
	*rand.Rand
	now  int64
	unit time.Duration // of the grid
}

func (w momentWriter) of(texts ...string) string { return texts[w.IntN(len(texts))] }
func (w momentWriter) compare() string {
	return w.of(" == ", " != ", " < ", " <= ", " > ", " >= ")
}
func (w momentWriter) zone() string {
	return w.of(`"UTC"`, `"Europe/Rome"`, `"America/Havana"`, `"Pacific/Kiritimati"`, "zone")
}

func (w momentWriter) length() string {
	d := time.Duration(1+w.IntN(12)) * w.unit
	if w.unit == time.Millisecond && w.IntN(6) == 0 {
		d += 300 * time.Microsecond
	}
	return fmt.Sprintf("duration(%q)", d)
}

func (w momentWriter) duration() string {
	switch w.IntN(7) {
	case 0:
		return "(" + w.time("", 0) + " - " + w.time("", 0) + ")"
	case 1:
		return w.of("hours(age)", "days(age)", "("+w.of("opt_in", `in_list("staff")`)+" ? "+w.length()+" : "+w.length()+")", "hours(purchase.count())")
	}
	return w.length()
}

// time writes a time; item is the name of the event around, "" if there is none.
func (w momentWriter) time(item string, depth int) string {
	if depth > 0 && w.IntN(2) == 0 {
		return "(" + w.time(item, depth-1) + w.of(" + ", " - ") + w.length() + ")"
	}
	fixed := fmt.Sprintf("timestamp(%q)", time.UnixMilli(w.now).Add(time.Duration(w.IntN(24)-8)*w.unit).UTC().Format(time.RFC3339Nano))
	of := []string{"now", "now", fixed, "signup", "last_seen"}
	switch {
	case item != "":
		of = append(of, item+".ts", item+".ts", item+".paid")
	case depth > 0:
		l := w.list(0)
		of = append(of, l+".first().ts", l+".last().ts", l+".last().paid", l+".max(e, e.ts)", l+".min(e, "+w.time("e", 1)+")",
			"("+w.test(0)+" ? "+w.time("", 0)+" : "+w.time("", 0)+")")
	}
	return w.of(of...)
}

func (w momentWriter) date(item string) string {
	d := w.of("today("+w.zone()+")", "date("+w.time(item, 1)+", "+w.zone()+")", "born", "expires", "born")
	if item != "" && w.IntN(3) == 0 {
		d = item + ".due"
	}
	if w.IntN(3) == 0 {
		d = "(" + d + w.of(" + ", " - ") + w.of("days(1)", "days(2)") + ")"
	}
	return d
}

// comparison compares times, durations or dates.
func (w momentWriter) comparison(item string) string {
	switch w.IntN(8) {
	case 0, 1:
		return w.date(item) + w.compare() + w.date(item)
	case 2:
		return w.date(item) + " - " + w.date(item) + w.compare() + w.of("days(1)", "days(0)", "hours(30)")
	case 3:
		return w.time(item, 1) + " - " + w.time(item, 1) + w.compare() + w.length()
	case 4:
		return w.time(item, 1) + " in [" + w.time(item, 0) + ", " + w.time(item, 1) + "]"
	}
	return w.time(item, 1) + w.compare() + w.time(item, 1)
}

func (w momentWriter) list(depth int) string {
	l := w.of("purchase", "purchase", "ev.purchase")
	for range w.IntN(3) {
		switch w.IntN(7) {
		case 0, 1, 2:
			l += ".in_last(" + w.duration() + ")"
		case 3:
			l += ".between(" + w.time("", depth) + ", " + w.time("", depth) + ")"
		case 4:
			if depth > 0 {
				l += ".then(" + w.list(0) + ", " + w.duration() + ")"
			}
		case 5:
			l += w.of(`.at_hours(8, 20, "Europe/Rome")`, `.on_weekdays(["sun", "mon"], "UTC")`)
		default:
			l += ".filter(e, " + w.comparison("e") + w.of("", ` && e.category == "a"`, ` || in_segment("buyers")`) + ")"
		}
	}
	return l
}

func (w momentWriter) test(depth int) string {
	if depth > 0 {
		switch w.IntN(6) {
		case 0:
			return "(" + w.test(depth-1) + w.of(" && ", " || ", " == ") + w.test(depth-1) + ")"
		case 1:
			return "!(" + w.test(depth-1) + ")"
		}
	}
	l := w.list(depth)
	switch w.IntN(10) {
	case 0, 1:
		return l + ".any()"
	case 2:
		return l + ".count()" + w.compare() + w.of("1", "2", "3")
	case 3:
		return l + "." + w.of("exists", "all") + "(e, " + w.comparison("e") + ")"
	case 4:
		return l + ".sum(e, " + w.of("e.items", "("+w.comparison("e")+" ? 1 : 0)") + ")" + w.compare() + w.of("1", "4")
	case 5:
		return "sequence(" + w.duration() + ", [" + l + ", " + w.list(0) + "]).any()"
	case 6:
		return w.of(`in_segment("recent")`, `in_segment("buyers")`, `in_segment("early")`, "opt_in", `in_list("staff")`)
	case 7:
		return l + `.last().category == "a"`
	}
	return w.comparison("")
}

// someone makes a profile with times on the grid.
func (w momentWriter) someone(s *schema.Schema) person {
	at := func(from, n int) int64 {
		return w.now + int64(from+w.IntN(n))*max(1, w.unit.Milliseconds())
	}
	p := person{values: map[schema.AttrID]schema.Value{}, lists: map[string]bool{"staff": w.IntN(2) == 0}, acts: map[schema.EventID][]query.Act{}, schema: s}
	put := func(name string, v schema.Value) {
		if w.IntN(5) > 0 {
			p.values[s.Lookup(name).ID] = v
		}
	}
	today := w.now / dayMillis
	put("signup", schema.TimestampValue(at(-10, 16)))
	put("last_seen", schema.TimestampValue(at(-10, 16)))
	put("born", schema.DateValue(today+int64(w.IntN(5)-2)))
	put("expires", schema.DateValue(today+int64(w.IntN(5)-2)))
	put("age", schema.IntValue(int64(w.IntN(4))))
	put("opt_in", schema.BoolValue(w.IntN(2) == 0))
	put("zone", schema.StringValue([]string{"Europe/Rome", "Pacific/Pago_Pago", "nowhere"}[w.IntN(3)]))
	buy := s.LookupEvent("purchase")
	for range w.IntN(6) {
		a := query.Act{Time: at(-16, 22), Values: make([]schema.Value, len(buy.Properties))}
		for i, prop := range buy.Properties {
			switch {
			case w.IntN(6) == 0:
			case prop.Name == "paid":
				a.Values[i] = schema.TimestampValue(at(-10, 16))
			case prop.Name == "due":
				a.Values[i] = schema.DateValue(today + int64(w.IntN(5)-2))
			case prop.Name == "items":
				a.Values[i] = schema.IntValue(int64(w.IntN(4)))
			case prop.Name == "category":
				a.Values[i] = schema.StringValue(w.of("a", "b"))
			}
		}
		p.acts[buy.ID] = append(p.acts[buy.ID], a)
	}
	slices.SortStableFunc(p.acts[buy.ID], func(a, b query.Act) int { return int(a.Time - b.Time) })
	return p
}

// TestMoments: whenever the interpreter changes its mind, on a grid and beside it, that is
// one of the moments.
func TestMoments(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	cat, c := testWorld(), NewCompiler()
	changes, never, not := 0, 0, 0
	for k := range 1500 {
		w := momentWriter{Rand: r, unit: time.Millisecond, now: 1_774_742_400_000} // 2026-03-29, where clocks change in Rome and Havana's have
		if k%2 == 0 {
			w.unit = time.Hour
			w.now += []int64{0, -21 * dayMillis, 3600_000, 217 * dayMillis, 210 * dayMillis}[r.IntN(5)]
		}
		text := w.test(2)
		env := query.Env{Now: time.UnixMilli(w.now).UTC()}
		e, err := compileAt(r, c, text, cat, env)
		if err != nil {
			checkError(t, text, err)
			continue
		}
		for range 3 {
			p := w.someone(cat.schema)
			moments, err := c.Moments(t.Context(), e, Facts{Value: p.value, Acts: func(id schema.EventID) ([]query.Act, error) { return p.acts[id], nil }}, env)
			var cannot *NotDerivable
			if errors.As(err, &cannot) {
				if !strings.Contains(text, cannot.Cause) && !strings.Contains(cannot.Cause, "too many") {
					t.Fatalf("%s: the cause %q is no part of it", text, cannot.Cause)
				}
				not++
				continue
			}
			if err != nil || !slices.IsSorted(moments) || len(moments) > 0 && moments[0] <= w.now {
				t.Fatalf("%s: %v, %v", text, moments, err)
			}
			if n := w.held(t, seed, e, p, moments); n == 0 {
				never++
			} else {
				changes += n
			}
		}
	}
	t.Logf("%d changes, %d never, %d not derivable", changes, never, not)
	if changes < 500 || never < 300 || not > never {
		t.Errorf("too few changes or too many refusals")
	}
}

// TestMomentsOfMany: with a hundred thousand events the bounds that they are of windows do not
// each meet all of them.
func TestMomentsOfMany(t *testing.T) {
	cat, c := testWorld(), NewCompiler()
	buy := cat.schema.LookupEvent("purchase")
	acts := make([]query.Act, 100_000)
	for i := range acts {
		values := make([]schema.Value, len(buy.Properties))
		for k := range values {
			if buy.Properties[k].Name == "paid" {
				values[k] = schema.TimestampValue(int64(i))
			}
		}
		acts[i] = query.Act{Time: int64(i), Values: values}
	}
	facts := Facts{Value: func(schema.AttrID) schema.Value { return schema.Value{} }, Acts: func(schema.EventID) ([]query.Act, error) { return acts, nil }}
	for text, want := range map[string]string{
		"purchase.between(purchase.first().ts, now).any()":                                               "",
		"purchase.between(purchase.first().paid, purchase.first().ts).any()":                             "",
		`purchase.in_last(purchase.first().ts - timestamp("1970-01-01T00:00:00Z")).any()`:                "purchase.in_last(",
		`purchase.between(now - (purchase.first().paid - timestamp("1970-01-01T00:00:00Z")), now).any()`: "purchase.between(",
	} {
		e, err := c.Compile(text, cat, testNow)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // of a hundred times as much work
		moments, err := c.Moments(ctx, e, facts, testNow)
		cancel()
		if cannot := new(NotDerivable); (err == nil) != (want == "") || err != nil && (!errors.As(err, &cannot) || !strings.HasPrefix(cannot.Cause, want)) || len(moments) > 0 {
			t.Errorf("%s: %v, %d moments", text, err, len(moments))
		}
	}
}

// held compares moments with the interpreter's changes, which it counts.
func (w momentWriter) held(t *testing.T, seed uint64, e *Expr, p person, moments []int64) (changes int) {
	t.Helper()
	at := func(ms int64) query.Truth {
		truth, _ := e.Interpret(p.value, p.act, p.inList, query.Env{Now: time.UnixMilli(ms).UTC()})
		return truth
	}
	unit := w.unit.Milliseconds()
	var instants []int64
	for i := range int64(60) {
		for d := int64(-1); d <= 1; d++ {
			if ms := w.now + i*unit + d; ms > w.now && !slices.Contains(instants, ms) {
				instants = append(instants, ms)
			}
		}
	}
	last, lastAt := at(w.now), w.now
	for _, ms := range instants {
		is := at(ms)
		if is == last {
			lastAt = ms
			continue
		}
		changes++
		i, _ := slices.BinarySearch(moments, lastAt+1)
		if i == len(moments) || moments[i] > ms {
			t.Fatalf("seed %d, now %d: %s\nfrom %v to %v at %+d, which is no moment: %v\nof %v %v", seed, w.now, e.Text, last, is, ms-w.now, moments, p.values, p.acts)
		}
		last, lastAt = is, ms
	}
	return changes
}
