package retention

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// asked is a random question, in the words of the parameters.
type asked struct {
	now     time.Time
	n       int
	per, by string
	kind    string
	sundays bool
	zone    *time.Location
	since   bool
	lengths []time.Duration // of brackets
}

// slowly is the definition of doc.go, by the calendar of the time package: the cohort of who
// begins at a time, by how many periods it is before the last (-1: none), and in which periods
// one with these returning events is counted.
func slowly(a *asked, begun time.Time, events []time.Time) (ago int, counted []bool) {
	if begun.After(a.now) {
		return -1, nil
	}
	ago = a.between(begun, a.now)
	if a.by == "rolling" {
		ago = int(a.now.Sub(begun) / a.length())
	}
	if ago >= a.n {
		return -1, nil
	}
	in := make([]bool, ago+1)
	if a.lengths != nil {
		in = make([]bool, len(a.lengths))
	}
	for _, t := range events {
		if t.After(a.now) || t.Before(begun) || !a.since && t.Equal(begun) {
			continue
		}
		if a.lengths != nil {
			k, left := 0, t.Sub(begun)
			for k < len(in) && left >= a.lengths[k] {
				left -= a.lengths[k]
				k++
			}
			if k < len(in) {
				in[k] = true
			}
		} else if a.by == "rolling" {
			in[t.Sub(begun)/a.length()] = true
		} else {
			in[a.between(begun, t)] = true
		}
	}
	for k := range in {
		counted = append(counted, in[k] || a.kind == "on-or-after" && slices.Contains(in[k:], true) || a.kind == "on-or-before" && slices.Contains(in[:k], true))
	}
	return ago, counted
}

func (a *asked) length() time.Duration {
	if a.per == "week" {
		return 7 * 24 * time.Hour
	}
	return 24 * time.Hour
}

// between returns how many periods of the calendar after that of a time another one lies.
func (a *asked) between(from, to time.Time) int {
	from, to = from.In(a.zone), to.In(a.zone)
	if a.per == "month" {
		return (to.Year()-from.Year())*12 + int(to.Month()) - int(from.Month())
	}
	day := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	first, last := day(from), day(to)
	if a.per == "day" {
		return int(last.Sub(first).Hours()) / 24
	}
	start := time.Monday
	if a.sundays {
		start = time.Sunday
	}
	n := 0
	for d := first; d.Before(last); {
		if d = d.AddDate(0, 0, 1); d.Weekday() == start {
			n++
		}
	}
	return n
}

// anyAsked returns a random question about the days around a new year.
func anyAsked(r *rand.Rand, zones []*time.Location) *asked {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	a := &asked{n: 1 + r.IntN(9), per: pick("day", "week", "month"), by: pick("calendar", "rolling"), kind: pick("on", "on-or-after", "on-or-before"),
		sundays: r.IntN(2) == 0, zone: zones[r.IntN(len(zones))], since: r.IntN(2) == 0}
	if a.by == "rolling" && a.per == "month" {
		a.per = "week"
	}
	if r.IntN(20) == 0 {
		a.n = MaxCohorts
	}
	for range max(0, r.IntN(8)-4) {
		a.lengths = append(a.lengths, time.Duration(1+r.IntN(200))*time.Hour)
	}
	a.now = time.Date(2011, 12, r.IntN(60), r.IntN(24), r.IntN(60), 0, r.IntN(2)*999_000_000, a.zone)
	return a
}

// TestPeriodsOf compares the two for random people and nows, in zones whose clocks change: at
// midnight too, and where a whole day was left out.
func TestPeriodsOf(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var zones []*time.Location
	for _, name := range []string{"UTC", "Europe/Rome", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Asia/Kathmandu"} {
		z, err := syntax.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, z)
	}
	cohorts, periods, none := 0, 0, 0
	l := new(lanes)
	for round := range 6000 {
		a := anyAsked(r, zones)
		unit := map[string]time.Duration{"day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour}[a.per]
		at := func() time.Time { // in the periods, before them or after now; or where one begins
			t := a.now.Add(-time.Duration(r.Int64N(int64(a.n+2)*int64(unit))) + unit/4).Truncate(time.Millisecond)
			if l := t.In(a.zone); r.IntN(3) == 0 {
				t = time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, -r.IntN(2)*1_000_000, a.zone)
			} else if r.IntN(4) == 0 {
				t = a.now.Add(-time.Duration(r.IntN(a.n+2)) * unit).Add(time.Duration(r.IntN(3)-1) * time.Millisecond)
			}
			return t
		}
		begun := at()
		events := []time.Time{begun}
		for range r.IntN(6) {
			events = append(events, at(), begun.Add(time.Duration(r.IntN(a.n))*unit-time.Duration(r.IntN(2))*time.Millisecond))
		}
		if !a.since { // the first event is the first of all
			slices.SortFunc(events, func(a, b time.Time) int { return cmp.Compare(a.UnixMilli(), b.UnixMilli()) })
			begun = events[0]
		}
		cohort, counted := ours(l, a, begun, events)
		ago, want := slowly(a, begun, events)
		if ago >= 0 {
			ago = a.n - 1 - ago
		}
		if a.lengths != nil && cohort >= 0 && ago == cohort { // the others have begun for nobody
			if a.kind == "on" && slices.Contains(want[len(counted):], true) {
				t.Fatalf("round %d: %+v: only %d periods have begun", round, a, len(counted))
			}
			want = want[:len(counted)]
		}
		if cohort != ago || !slices.Equal(counted, want) {
			t.Fatalf("round %d: %+v in %s, begun %v, events %v:\ncohort %d %v, want %d %v", round, a, a.zone, begun, events, cohort, counted, ago, want)
		}
		if cohort < 0 {
			none++
			continue
		}
		cohorts++
		for _, is := range counted {
			if is {
				periods++
			}
		}
	}
	if cohorts < 2000 || none < 500 || periods < 3000 {
		t.Errorf("only %d people of cohorts, %d of none, %d periods", cohorts, none, periods)
	}
}

// ours asks the visitor the same.
func ours(l *lanes, a *asked, begun time.Time, events []time.Time) (cohort int, counted []bool) {
	r, now := &retention{kind: a.kind, lag: 1}, a.now.UnixMilli()
	if a.since {
		r.lag = 0
	}
	if r.periods = rolling(now, a.n, a.per); a.by == "calendar" {
		c := query.Calendar{Per: a.per, Zone: a.zone, WeekStart: time.Monday}
		if a.sundays {
			c.WeekStart = time.Sunday
		}
		r.periods = calendar(now, a.n, c)
	}
	end := int64(0)
	for _, length := range a.lengths {
		end += length.Milliseconds()
		r.length, r.brackets = 0, append(r.brackets, end)
	}
	within := func(t time.Time) bool { return t.UnixMilli() >= r.begin[0] && t.UnixMilli() <= r.now }
	if !within(begun) {
		return -1, nil
	}
	v := &visitor{retention: r, tally: newTally(r), lanes: l}
	l.who.Clear()
	v.begins(7, begun.UnixMilli())
	for _, t := range events {
		if within(t) {
			v.comes(7, t.UnixMilli())
		}
	}
	cohort, periods := v.periodsOf(7)
	if a.by == "calendar" && !a.since && a.lengths == nil { // the same, read once and in another order
		l.who.Clear()
		for _, t := range slices.Backward(events) {
			if l.who.Has(7) && within(t) {
				v.again(7, t.UnixMilli())
			} else if within(t) {
				v.begins(7, t.UnixMilli())
			}
		}
		if c, p := v.periodsOf(7); c != cohort || p != periods {
			return -3, nil
		}
	}
	v.add1(cohort, periods, r.width())
	for k := range r.last(cohort) + 1 {
		counted = append(counted, v.returned[cohort*r.width()+k] == 1)
		periods &^= 1 << k
	}
	if periods != 0 {
		return -2, nil
	}
	return cohort, counted
}

// TestDayAgain: where the clocks went back over midnight a minute after it, the day goes on.
func TestDayAgain(t *testing.T) {
	zone, err := syntax.Zone("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2010, 11, 7, 2, 30, 0, 0, time.UTC)
	now := midnight.Add(15 * time.Minute) // clocks there show 23:15 of the 6th, again
	p := calendar(now.UnixMilli(), 2, query.Calendar{Per: "day", Zone: zone})
	want := []int64{midnight.Add(-24 * time.Hour).UnixMilli(), midnight.UnixMilli(), midnight.Add(25 * time.Hour).UnixMilli()}
	if !slices.Equal(p.begin, want) || !slices.Equal(p.labels, []string{"2010-11-06", "2010-11-07"}) {
		t.Errorf("%v %v, want %v", p.labels, p.begin, want)
	}
	if a, b := p.of(want[1]-1), p.of(now.UnixMilli()); a != 0 || b != 1 {
		t.Errorf("periods %d and %d", a, b)
	}
}

// TestDates: the days on which people may begin are those that begin within the periods.
func TestDates(t *testing.T) {
	for _, name := range []string{"UTC", "America/Sao_Paulo", "Pacific/Apia"} {
		zone, err := syntax.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2012, 1, 3, 5, 0, 0, 0, time.UTC)
		for n := range 30 {
			from := now.Add(-time.Duration(n) * 5 * time.Hour)
			d := newDates(zone, from.UnixMilli(), now.UnixMilli())
			var want []string
			for h := from.Add(-time.Hour); !h.After(now); h = h.Add(time.Hour) { // all zones of the test change on the hour
				for day := h.Add(-time.Hour).In(zone); h.After(from.Add(-1)) && day.Format(time.DateOnly) < h.In(zone).Format(time.DateOnly); {
					y, m, dd := day.Date()
					day = time.Date(y, m, dd+1, 12, 0, 0, 0, time.UTC)
					want = append(want, day.Format(time.DateOnly)+" from "+h.UTC().String())
				}
			}
			var got []string
			for i, begin := range d.begin {
				got = append(got, time.UnixMilli((d.first+int64(i))*msPerDay).UTC().Format(time.DateOnly)+" from "+time.UnixMilli(begin).UTC().String())
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s, from %v: %q, want %q", name, from, got, want)
			}
		}
	}
}
