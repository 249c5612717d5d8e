package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTheilSen(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []float64
		want float64
	}{
		{"nothing", nil, nil, 0},
		{"one point", []float64{1}, []float64{5}, 0},
		{"one place", []float64{2, 2, 2}, []float64{1, 5, 9}, 0},
		{"two points", []float64{1, 3}, []float64{5, 4}, -0.5},
		{"a line", []float64{0, 1, 2, 3}, []float64{1, 3, 5, 7}, 2},
		{"a line with one wild point", []float64{0, 1, 2, 3, 4, 5, 6}, []float64{1, 3, 5, 1e9, 9, 11, 13}, 2},
		{"slopes 1, 2, 4 and their middle", []float64{0, 1, 3}, []float64{0, 1, 9}, 3}, // 1, 4, 3
		{"an even number of slopes", []float64{0, 0, 1, 1}, []float64{0, 2, 1, 7}, 3},  // 1, 7, -1, 5
	} {
		if got := theilSen(c.x, c.y); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

// soakSeries are figures of a run of ten minutes that has nothing to be blamed for: noise
// around what is there, and a backup now and then that takes much. grow is added to each
// sample, by seconds since the start.
func soakSeries(grow func(at float64, v *[NumMeasures]int64)) *soakFigures {
	r := rand.New(rand.NewPCG(1, 2))
	f := &soakFigures{duration: DefaultSoak, budget: 128 << 20, people: 500_000, events: 6_500_000, ids: 700_000, purges: 10, goroutines: [2]int{9, 9}, opened: [2]int{12, 12}}
	for second := range 600 {
		s := sample{at: time.Duration(second) * time.Second, quiet: second%10 == 0}
		v := &s.values
		v[SoakLive] = 150<<20 + r.Int64N(6<<20)
		v[SoakAnonymous] = 300 << 20
		v[SoakGoroutines] = 25 + r.Int64N(2)
		v[SoakDescriptors] = 400 + r.Int64N(10)
		v[SoakStray] = 8 + r.Int64N(2)
		v[SoakDisk] = 100<<20 + r.Int64N(50<<20)
		v[SoakBatches] = int64(second) * 100_000
		v[SoakWritten] = v[SoakBatches] * 20
		if second%60 < 9 { // a backup
			v[SoakLive] += 60 << 20
			v[SoakGoroutines] += 8
			v[SoakDescriptors] += 100
			v[SoakStray] += 100
		}
		if !s.quiet { // what is being done
			v[SoakGoroutines] += r.Int64N(8)
			v[SoakLive] += r.Int64N(100 << 20)
		}
		if grow != nil {
			grow(float64(second), v)
		}
		f.samples = append(f.samples, s)
	}
	return f
}

// TestSoakVerdicts plants in a series what each verdict is there for: that one is broken, and
// no other. A leak of the first half that has ended is none.
func TestSoakVerdicts(t *testing.T) {
	plant := func(f func(at float64, v *[NumMeasures]int64)) *soakFigures { return soakSeries(f) }
	changed := func(f func(f *soakFigures)) *soakFigures {
		s := soakSeries(nil)
		f(s)
		return s
	}
	for _, c := range []struct {
		name    string
		figures *soakFigures
		broken  []string
	}{
		{"nothing", soakSeries(nil), nil},
		{"memory that is found in the first half", plant(func(at float64, v *[NumMeasures]int64) { v[SoakLive] += int64(min(at, 290)) << 18 }), nil},
		{"80 KiB a second", plant(func(at float64, v *[NumMeasures]int64) { v[SoakLive] += int64(at) * 80 << 10 }), []string{"growth of live memory in the second half"}},
		{"a goroutine each minute", plant(func(at float64, v *[NumMeasures]int64) { v[SoakGoroutines] += int64(at) / 60 }), []string{"growth of goroutines in the second half"}},
		{"tables that come", plant(func(at float64, v *[NumMeasures]int64) { v[SoakDescriptors] += int64(at) / 10 }), nil},
		{"tables that come without end", plant(func(at float64, v *[NumMeasures]int64) { v[SoakDescriptors] += int64(at) }), []string{"largest number of descriptors"}},
		{"a descriptor each minute", plant(func(at float64, v *[NumMeasures]int64) { v[SoakStray] += int64(at) / 60 }), []string{"growth of descriptors but of files of the store"}},
		{"memory beside the budget", plant(func(at float64, v *[NumMeasures]int64) {
			if at == 333 {
				v[SoakAnonymous] += 200 << 20
			}
		}), []string{"largest anonymous memory"}},
		{"tables that stay", plant(func(at float64, v *[NumMeasures]int64) { v[SoakDisk] += int64(at) << 20 }), []string{"largest disk without the log"}},
		{"everything written ten times as often", plant(func(at float64, v *[NumMeasures]int64) { v[SoakWritten] *= 10 }), []string{"bytes written per byte of batch"}},
		{"damage", changed(func(f *soakFigures) { f.problems = 1 }), []string{"problems that the check has found"}},
		{"a goroutine that stays", changed(func(f *soakFigures) { f.goroutines[1]++ }), []string{"goroutines after closing, beyond those before"}},
		{"a file that stays open", changed(func(f *soakFigures) { f.opened[1]++ }), []string{"descriptors after closing, beyond those before"}},
	} {
		if got := broken(c.figures.verdicts()); !slices.Equal(got, c.broken) {
			t.Errorf("%s: broken are %q, want %q", c.name, got, c.broken)
		}
	}
	if n := len(soakSeries(nil).verdicts()); n != 10 {
		t.Errorf("%d verdicts", n)
	}
	elsewhere := soakSeries(func(_ float64, v *[NumMeasures]int64) { v[SoakDescriptors], v[SoakStray], v[SoakAnonymous] = 0, 0, 0 })
	elsewhere.opened = [2]int{}
	if n := len(elsewhere.verdicts()); n != 6 {
		t.Errorf("%d verdicts where the system tells nothing", n)
	}
}

// TestSoakVoid takes from a report that says something one thing after the other.
func TestSoakVoid(t *testing.T) {
	whole := func() *SoakReport {
		r := &SoakReport{Rows: SoakRows{10, 6, 1, 2, 1, 1, 1, 1}, GivenUp: 1, Purges: SoakPurgeSum{People: 3}, Backups: SoakBackupSum{Sent: 1}}
		for d := range NumDeeds {
			r.Deeds = append(r.Deeds, SoakDeed{Deed(d), 50, 100})
		}
		return r
	}
	samples := soakSeries(nil).samples
	if out := whole().void(samples, DefaultSoak); out != nil {
		t.Errorf("%q", out)
	}
	cases := []func(r *SoakReport){
		func(r *SoakReport) { r.Rows.Accepted = 0 }, func(r *SoakReport) { r.Rows.Created = 0 }, func(r *SoakReport) { r.Rows.Duplicates = 0 },
		func(r *SoakReport) { r.Rows.Quarantined = 0 }, func(r *SoakReport) { r.Rows.Refused = 0 }, func(r *SoakReport) { r.Rows.Deleted = 0 },
		func(r *SoakReport) { r.Rows.Erased = 0 }, func(r *SoakReport) { r.Purges.People = 0 }, func(r *SoakReport) { r.GivenUp = 0 },
		func(r *SoakReport) { r.Backups.Sent = 0 },
	}
	for d := range NumDeeds {
		cases = append(cases, func(r *SoakReport) { r.Deeds[d].Done = 49 })
	}
	for i, take := range cases {
		r := whole()
		take(r)
		if out := r.void(samples, DefaultSoak); len(out) != 1 {
			t.Errorf("case %d: %q", i, out)
		}
	}
	if out := whole().void(samples[:360], DefaultSoak); len(out) != 1 { // 6 quiet moments
		t.Errorf("%q", out)
	}
	if out := (&SoakReport{}).void(nil, DefaultSoak); len(out) != len(cases)-NumDeeds+1 {
		t.Errorf("of nothing: %q", out)
	}
}

// TestSoakTenths sums samples up by hand.
func TestSoakTenths(t *testing.T) {
	var samples []sample
	for i, v := range []int64{5, 3, 9, 7, 1} {
		s := sample{at: time.Duration(i) * 4 * time.Second} // 0, 4, 8; 12, 16 of 100
		s.values[SoakPosition] = v
		samples = append(samples, s)
	}
	got := byTenths(samples, 100*time.Second)[SoakPosition]
	want := SoakMeasure{Measure: SoakPosition, Least: [tenths]int64{3, 1}, Median: [tenths]int64{5, 7}, Largest: [tenths]int64{9, 7}}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestSoakLatencies compares percentiles with those of the durations themselves.
func TestSoakLatencies(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var l latencies
	if l.percentile(500) != 0 {
		t.Error("a percentile of nothing")
	}
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(math.Exp(r.Float64()*15)) * time.Microsecond
		all = append(all, d)
		l[stepOf(d)].Add(1)
	}
	slices.Sort(all)
	for _, p := range []uint64{1, 100, 500, 990, 999, 1000} {
		want := all[(uint64(len(all))*p+999)/1000-1]
		if got := l.percentile(p); got < want || float64(got) > 1.125*float64(want)+1000 {
			t.Errorf("%d of a thousand: %v, want %v", p, got, want)
		}
	}
	for d := time.Microsecond; d < 100*time.Hour; d += d/7 + 1000 {
		step := stepOf(d)
		if d.Truncate(time.Microsecond) > stepEnd(step) || step > 0 && d < stepEnd(step-1).Truncate(time.Microsecond)/2 {
			t.Fatalf("%v is in step %d, up to %v", d, step, stepEnd(step))
		}
	}
}
