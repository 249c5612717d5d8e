package bench

import (
	"context"
	"math/bits"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"time"
)

// tenths are the parts of a run that are reported one by one.
const tenths = 10

// How often is looked: at everything, and in a moment in which nothing else is begun, so that
// what is there then is what stays.
const (
	looks      = 600
	quietLooks = 60
	leastLook  = 20 * time.Millisecond  // a look takes milliseconds
	leastQuiet = 150 * time.Millisecond // so that a short run is not all quiet moments
)

// Measure is what is measured again and again.
type Measure uint8

// The measures. All are of the whole process, the load and its books included, where they
// are not of the store.
const (
	SoakLive        Measure = iota // bytes that were reachable in the last garbage collection
	SoakAnonymous                  // bytes that the system has given for other than files; 0: it does not tell
	SoakResident                   // bytes in memory, of files too; likewise
	SoakUsed                       // bytes that the store says it uses of its budget
	SoakGoroutines                 //
	SoakDescriptors                // files open; 0: the system does not tell
	SoakStray                      // of these, without one for each file of the store
	SoakDisk                       // bytes of the store's files, without those of the log
	SoakLog                        // of the log, which are used again
	SoakHead                       // values that are not folded yet
	SoakWritten                    // bytes written to disk since the beginning
	SoakBatches                    // bytes of batches since then
	SoakPosition                   // records applied
	NumMeasures     int     = iota
)

// String returns the measure's name in reports.
func (m Measure) String() string {
	return [...]string{
		SoakLive: "live memory", SoakAnonymous: "anonymous memory", SoakResident: "resident memory", SoakUsed: "memory of the store's budget",
		SoakGoroutines: "goroutines", SoakDescriptors: "descriptors", SoakStray: "of them not of files of the store", SoakDisk: "disk without the log", SoakLog: "files of the log",
		SoakHead: "values not folded", SoakWritten: "written to disk", SoakBatches: "of batches", SoakPosition: "position",
	}[m]
}

// Bytes reports whether the measure is of bytes.
func (m Measure) Bytes() bool {
	return m != SoakGoroutines && m != SoakDescriptors && m != SoakStray && m != SoakHead && m != SoakPosition
}

// sample is one look.
type sample struct {
	at     time.Duration // since the start
	quiet  bool          // after a garbage collection, while nothing was done but what takes long
	values [NumMeasures]int64
}

// watch looks until the time is over.
func (s *soak) watch(ctx context.Context) error {
	every := max(s.Duration/looks, leastLook)
	tick := time.NewTicker(every)
	defer tick.Stop()
	first, err := s.look(ctx, true)
	if err != nil {
		return err
	}
	quiet := max(s.Duration/quietLooks, leastQuiet)
	for n := int64(1); ; {
		select {
		case <-ctx.Done():
			return nil // whoever ended it says why
		case <-tick.C:
		}
		at := time.Since(s.start)
		if at >= s.Duration {
			break
		}
		due := at >= time.Duration(n)*quiet
		if due {
			n = int64(at/quiet) + 1
		}
		now, err := s.look(ctx, due)
		if err != nil {
			return err
		}
		now.values[SoakWritten] -= first.values[SoakWritten]
		now.values[SoakBatches] -= first.values[SoakBatches]
		s.samples = append(s.samples, now)
	}
	return nil
}

// look takes a sample.
func (s *soak) look(ctx context.Context, quiet bool) (sample, error) {
	if quiet {
		s.gate.Lock()
		defer s.gate.Unlock()
		if s.leak != nil {
			s.leak()
		}
		runtime.GC()
	}
	now := sample{at: time.Since(s.start), quiet: quiet}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	v := &now.values
	v[SoakLive] = int64(live[0].Value.Uint64())
	v[SoakAnonymous], v[SoakResident] = processMemory("RssAnon"), processMemory("VmRSS")
	all, stray := descriptors(s.Dir)
	v[SoakGoroutines], v[SoakDescriptors], v[SoakStray] = int64(runtime.NumGoroutine()), int64(all), int64(stray)
	stats, err := s.store.Stats(ctx)
	if err != nil {
		return now, err
	}
	v[SoakUsed], v[SoakDisk], v[SoakLog], v[SoakHead] = stats.MemoryUsed, stats.DiskBytes-stats.LogBytes, stats.LogBytes, int64(stats.HeadRows)
	v[SoakWritten], v[SoakBatches], v[SoakPosition] = written(&stats), stats.Written["batches"], int64(stats.Position.Applied)
	return now, nil
}

// left waits for what the store leaves behind to end, and notes what does not.
func (s *soak) left(ctx context.Context) {
	const patience = 10 * time.Second
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; {
		r := s.report
		r.Goroutines[1] = runtime.NumGoroutine()
		r.Files[1], _ = descriptors(s.Dir)
		if r.Goroutines[1] <= r.Goroutines[0] && r.Files[1] <= r.Files[0] || time.Now().After(end) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// SoakMeasure is a measure over the tenths of a run.
type SoakMeasure struct {
	Measure                Measure
	Least, Median, Largest [tenths]int64
}

// byTenths sums up samples. A tenth without any has zeros.
func byTenths(samples []sample, duration time.Duration) []SoakMeasure {
	out := make([]SoakMeasure, NumMeasures)
	for m := range out {
		out[m].Measure = Measure(m)
		var values [tenths][]int64
		for i := range samples {
			t := tenthOf(samples[i].at, duration)
			values[t] = append(values[t], samples[i].values[m])
		}
		for t, of := range values {
			if len(of) > 0 {
				slices.Sort(of)
				out[m].Least[t], out[m].Median[t], out[m].Largest[t] = of[0], of[len(of)/2], of[len(of)-1]
			}
		}
	}
	return out
}

func tenthOf(at, duration time.Duration) int { return max(0, min(int(tenths*at/duration), tenths-1)) }

// soakClock is something whose time is taken.
type soakClock uint8

const (
	soakQuestion soakClock = iota
	soakView
	soakBatch
	numClocks int = iota
)

// String returns the name in reports.
func (c soakClock) String() string {
	return [...]string{soakQuestion: "questions", soakView: "profiles looked at", soakBatch: "batches"}[c]
}

// latencies counts durations in steps of an eighth of a power of two of microseconds, so that
// what they take does not grow with their number.
type latencies [8 * 40]atomic.Uint32

// stepOf returns the step of a duration.
func stepOf(d time.Duration) int {
	us := uint64(max(1, d.Microseconds()))
	e := bits.Len64(us) - 1
	return min(8*e+int(us<<3>>e&7), 8*40-1)
}

// stepEnd returns the duration that ends a step.
func stepEnd(step int) time.Duration {
	return time.Duration((uint64(8+step%8+1)<<(step/8))>>3) * time.Microsecond
}

// percentile returns a duration that so many of a thousand are not above, and less than an
// eighth more than the least such; 0 if there are none.
func (l *latencies) percentile(thousandths uint64) time.Duration {
	var n uint64
	for i := range l {
		n += uint64(l[i].Load())
	}
	rank := (n*thousandths + 999) / 1000
	for i := range l {
		c := uint64(l[i].Load())
		if c >= rank && rank > 0 {
			return stepEnd(i)
		}
		rank -= min(c, rank)
	}
	return 0
}

// took notes what something took that began at start.
func (s *soak) took(c soakClock, start time.Time) {
	if s.start.IsZero() {
		return // the day has not begun
	}
	s.clocks[c][tenthOf(time.Since(s.start), s.Duration)][stepOf(time.Since(start))].Add(1)
}

// SoakLatency is how long something took in the tenths of a run, a little more at most than it
// did: see latencies.
type SoakLatency struct {
	What     string
	PerSec   [tenths]float64
	P50, P99 [tenths]time.Duration
}

func (s *soak) latencies() (out []SoakLatency) {
	for c := range numClocks {
		l := SoakLatency{What: soakClock(c).String()}
		for t := range tenths {
			of := &s.clocks[c][t]
			var n uint64
			for i := range of {
				n += uint64(of[i].Load())
			}
			l.PerSec[t] = float64(n) * tenths / s.Duration.Seconds()
			l.P50[t], l.P99[t] = of.percentile(500), of.percentile(990)
		}
		out = append(out, l)
	}
	return out
}
