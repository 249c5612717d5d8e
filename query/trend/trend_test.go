package trend

import (
	"context"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// slowPeriods cuts the time around some days as doc.go says, minute by minute. It knows no
// change of a clock but by looking at it.
func slowPeriods(c *calendar, from, to time.Time) (out []period) {
	begun := "" // the latest date that has begun: it does not begin again
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		local := t.In(c.Zone)
		date, begins := local.Format(time.DateOnly), false
		if date > begun {
			monday := (int(local.Weekday()) + 7 - int(c.WeekStart)) % 7
			day, _ := time.Parse(time.DateOnly, date)
			label := date
			switch c.Per {
			case "day", "hour":
				begins = true
			case "week":
				label = day.AddDate(0, 0, -monday).Format(time.DateOnly)
				begins = len(out) == 0 || out[len(out)-1].label != label
			case "month":
				label = date[:8] + "01"
				begins = len(out) == 0 || out[len(out)-1].label != label
			}
			if begun = date; begins {
				out = append(out, period{from: t.UnixMilli(), label: label})
			}
		}
		if c.Per == "hour" && begun != "" {
			if !begins && local.Minute() == 0 {
				out = append(out, period{from: t.UnixMilli()})
			}
			out[len(out)-1].label = time.UnixMilli(out[len(out)-1].from).In(c.Zone).Format("2006-01-02T15:04Z07:00")
		}
	}
	for i := range out[1:] {
		out[i].to = out[i+1].from
	}
	return out[1 : len(out)-1] // the first may have begun before, the last ends later
}

// TestPeriods compares the calendar with the slow one, around changes of clocks.
func TestPeriods(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	around := map[string][]string{
		"UTC":                 {"2024-02-29", "2025-12-31"},
		"Europe/Rome":         {"2026-03-29", "2026-10-25"},
		"America/New_York":    {"2026-03-08", "2026-11-01"},
		"America/Sao_Paulo":   {"2018-11-04", "2018-02-18"}, // at midnight
		"America/Havana":      {"2020-11-01", "2020-03-08"},
		"Asia/Kolkata":        {"2026-01-01"},
		"Australia/Lord_Howe": {"2026-04-05", "2026-10-04"}, // by half an hour
		"Pacific/Apia":        {"2011-12-30"},               // left out
		"Atlantic/Azores":     {"2026-10-25"},               // at midnight
		"America/St_Johns":    {"2006-10-29", "2007-03-11"}, // at a minute past midnight
	}
	for name, days := range around {
		zone, err := syntax.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range days {
			for _, per := range []string{"hour", "day", "week", "month"} {
				c := &calendar{query.Calendar{Per: per, Zone: zone, WeekStart: time.Weekday(r.IntN(2))}}
				day, _ := time.Parse(time.DateOnly, text)
				spare := map[string]int{"hour": 4, "day": 6, "week": 25, "month": 80}[per]
				want := slowPeriods(c, day.AddDate(0, 0, -spare), day.AddDate(0, 0, spare))
				want = slices.DeleteFunc(want, func(p period) bool { return p.from == p.to })
				first, last := want[0], want[len(want)-1]
				if got := c.before(first.to+r.Int64N(last.to-first.to), 1+r.IntN(3)); len(got) > 0 {
					checkPeriods(t, name, got, want)
				}
				if got := c.before(last.to, len(want)); !slices.Equal(got, want) {
					t.Fatalf("%s %s %s: before:\n%v\nwant\n%v", name, text, per, got, want)
				}
				if per == "hour" {
					continue // between has whole days
				}
				for _, p := range want {
					for x := p.from; per == "day" && x < p.to; x += hourMS / 2 {
						if day := query.DateOf(c.dayOf(x)).Format(time.DateOnly); day != p.label {
							t.Fatalf("%s: %d is of %s, want %s", name, x, day, p.label)
						}
					}
				}
				got, err := c.between(c.dayOf(first.from+r.Int64N(first.to-first.from)), c.dayOf(last.from+r.Int64N(last.to-last.from)), 1000)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("%s %s %s: between:\n%v %v\nwant\n%v", name, text, per, got, err, want)
				}
				for range 50 {
					f, at := newFinder(want), r.IntN(len(want))
					for _, x := range []int64{want[at].from, want[at].to - 1, want[at].from + r.Int64N(want[at].to-want[at].from)} {
						if i := f.of(x); i != at {
							t.Fatalf("%s %s: %d is in period %d, want %d of %v", name, per, x, i, at, want)
						}
					}
				}
			}
		}
	}
}

// checkPeriods makes sure that periods follow each other as those of want do; the
// first ones may be before them.
func checkPeriods(t *testing.T, name string, got, want []period) {
	t.Helper()
	for i, p := range got {
		if i > 0 && got[i-1].to != p.from || p.from >= want[0].from && !slices.Contains(want, p) {
			t.Fatalf("%s: %v is not of\n%v", name, got, want)
		}
	}
}

// TestTally compares what workers have measured, put together in any order, with all
// numbers in exact arithmetic.
func TestTally(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 2000 {
		of := &trend{measure: sum + measure(r.IntN(int(distinct-sum)+1)), kind: []schema.Kind{schema.Int, schema.Decimal, schema.Float}[r.IntN(3)], periods: make([]period, 1)}
		if of.kind == schema.Decimal {
			of.scale = 2
		}
		workers := []*tally{newTally(of), newTally(of), newTally(of)}
		var ints []int64
		var values []float64
		for range r.IntN(25) {
			n := r.Int64N(20) - 10
			if r.IntN(4) == 0 {
				n = r.Int64() >> r.IntN(60) // their sum may not fit
			}
			x := float64(n) * []float64{0.1, 1e200, 1e-200}[r.IntN(3)]
			w := workers[r.IntN(len(workers))]
			if of.measure == distinct {
				w.value(0, n)
			} else {
				w.number(0, n, x)
			}
			ints, values = append(ints, n), append(values, x)
		}
		r.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
		total := newTally(of)
		for _, w := range workers {
			total.add(w)
		}
		got, err := total.result(0)
		want, ok := slowResult(of, ints, values)
		if (err == nil) != ok || ok && !got.Equal(want) {
			t.Fatalf("round %d: measure %d of %v: %v %v: %v %v, want %v", round, of.measure, of.kind, ints, values, got, err, want)
		}
	}
}

// slowResult is what doc.go says; ok is false if it does not fit.
func slowResult(of *trend, ints []int64, floats []float64) (v schema.Value, ok bool) {
	n := len(ints)
	if of.measure == distinct {
		slices.Sort(ints)
		return schema.IntValue(int64(len(slices.Compact(ints)))), true
	}
	total, unit := new(big.Rat), big.NewRat(1, 1)
	if of.kind == schema.Decimal {
		unit.SetFrac64(1, 100)
	}
	for i := range ints {
		x := new(big.Rat).SetInt64(ints[i])
		if of.kind == schema.Float {
			x.SetFloat64(floats[i])
		}
		total.Add(total, x.Mul(x, unit))
	}
	nearest, _ := total.Float64()
	switch {
	case of.measure == sum && of.kind == schema.Float:
		return schema.FloatValue(nearest), true
	case of.measure == sum:
		cents := new(big.Rat).Quo(total, unit).Num()
		return schema.FromOrdered(of.kind, of.scale, cents.Int64()), cents.IsInt64()
	case n == 0:
		return v, true
	case of.measure == avg:
		return schema.FloatValue(nearest / float64(n)), true
	}
	if of.kind == schema.Float {
		for i, x := range floats {
			ints[i] = schema.OrderedFloat(x)
		}
	}
	slices.Sort(ints)
	for i, x := range ints {
		share, wanted := i+1, 1
		switch of.measure {
		case least:
		case most:
			wanted = n
		case median:
			share, wanted = 2*share, n
		default:
			percent := map[measure]int{p10: 10, p25: 25, p75: 75, p90: 90, p95: 95, p99: 99}[of.measure]
			share, wanted = 100*share, percent*n
		}
		if share >= wanted {
			return schema.FromOrdered(of.kind, of.scale, x), true
		}
	}
	return v, false
}

// TestCancelledRows: of many rows of several days each, the chunk at hand is not counted to the
// end once nobody wants it.
func TestCancelledRows(t *testing.T) {
	of := &trend{measure: people28, periods: make([]period, 2000), back: 27}
	v := &visitor{grouper: &grouper{trend: of}, tally: newTally(of), who: make([]*bitmap.Words, 2000), is: make([]bool, 2000)}
	for slot := range int32(2000) {
		v.whoOf(slot).SetBit(uint16(slot))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.finish(ctx); !errors.Is(err, context.Canceled) || v.n[1999] > 0 {
		t.Errorf("%d people of the last row, %v", v.n[1999], err)
	}
	if err := v.finish(t.Context()); err != nil || v.n[1999] != 28 {
		t.Errorf("%d people of the last row, %v", v.n[1999], err)
	}
}

// TestTop compares the values that are shown with a sorted list of all.
func TestTop(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		s := &split{kind: schema.Attribute{Kind: schema.Int}}
		text := r.IntN(2) == 0
		if text {
			s.kind = schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}
		}
		var counts byValue
		total, top := map[value]uint64{}, 1+r.IntN(6)
		for range r.IntN(60) {
			v := value{n: []int64{r.Int64N(4), -r.Int64N(3), smallValues - 2 + r.Int64N(4)}[r.IntN(3)]}
			if text {
				v = value{text: strconv.FormatInt(v.n, 10)}
			}
			counts.add(v, 1)
			total[v]++
		}
		for v, n := range total {
			if counts.at(v) != n {
				t.Fatalf("%v has %d, want %d", v, counts.at(v), n)
			}
		}
		s.choose(nil, counts.all(), top)
		for v, n := range total {
			before := 0
			for w, m := range total {
				if m > n || m == n && (w.n < v.n || w.text < v.text) {
					before++
				}
			}
			want := before
			if before >= top {
				want = s.other()
			}
			if s.of(v) != want || want < top && s.labels[want] != s.text(nil, v) {
				t.Fatalf("%v of %v: group %d, want %d (%q)", v, total, s.of(v), want, s.labels)
			}
		}
		if s.of(value{n: 99, text: "z"}) != s.other() {
			t.Fatal("a value that nothing has is at the top")
		}
	}
}
