package bench

import (
	"fmt"
	"slices"
	"time"
)

// The bounds. Growth is that of the second half of a run, in quiet moments: the median of the
// slopes between any two of them (Theil and Sen), times the half. So it does not depend on
// the few moments in which a backup or a purge is under way.
const (
	// What the store keeps outside of its caches grows with what it holds: lists of parts and
	// days, the ledger. In a half of the full run half a million events come.
	boundLiveShare = 0.04     // of the memory budget
	boundLive      = 12 << 20 // and as many bytes: in a run of seconds, one memtable more or less

	// Each backup and each erasure happens five times in a half, so one goroutine that each
	// leaves behind is above this.
	boundGoroutines = 3

	// Tables of the store are open once each, and come and go with its compactions; so what
	// grows is looked for in all other descriptors. As many as a backup each would leave behind.
	boundStray = 3

	// What systems give a process that does not ask for more.
	boundDescriptors = 1024

	// Caches, head and memtables are in the budget; what runs beside it (parsing, decoding,
	// the runtime's reserve) has been measured to need less.
	boundBesideBudget = 300 << 20

	// Measured on a folded store: 50 bytes for a profile of 20 attributes, 9.5 for an event
	// with presence and facts, 23.4 for its id. What is being replaced is there twice, and
	// generations that a snapshot reads stay.
	diskPerProfile, diskPerEvent, diskPerID = 60, 10, 24
	boundDisk                               = 3
	freeDisk                                = 64 << 20 // what any store may take: two memtables' worth of tables

	// Bytes written per byte of batch, and each purge may write the whole store anew.
	boundWritten = 60
)

// SoakVerdict is a value beside the most it may be.
type SoakVerdict struct {
	Name         string
	Value, Bound float64
	Bytes        bool
	OK           bool
}

// soakFigures are what verdicts are made of.
type soakFigures struct {
	duration           time.Duration
	samples            []sample
	budget             int64
	people, events     uint64 // ever
	ids                uint64
	purges             uint64
	problems           int
	goroutines, opened [2]int
}

// verdicts judges.
func (f *soakFigures) verdicts() (out []SoakVerdict) {
	add := func(name string, value, bound float64, bytes bool) {
		out = append(out, SoakVerdict{name, value, bound, bytes, value <= bound})
	}
	add("growth of live memory in the second half", f.growth(SoakLive), boundLive+boundLiveShare*float64(f.budget), true)
	add("growth of goroutines in the second half", f.growth(SoakGoroutines), boundGoroutines, false)
	if f.opened[0] > 0 {
		add("growth of descriptors but of files of the store", f.growth(SoakStray), boundStray, false)
	}
	var last sample
	largest := [NumMeasures]int64{}
	for i := range f.samples {
		last = f.samples[i]
		for m, v := range last.values {
			largest[m] = max(largest[m], v)
		}
	}
	if f.opened[0] > 0 {
		add("largest number of descriptors", float64(largest[SoakDescriptors]), boundDescriptors, false)
	}
	if largest[SoakAnonymous] > 0 {
		add("largest anonymous memory", float64(largest[SoakAnonymous]), float64(f.budget+boundBesideBudget), true)
	}
	held := diskPerProfile*f.people + diskPerEvent*f.events + diskPerID*f.ids
	add("largest disk without the log", float64(largest[SoakDisk]), boundDisk*float64(held)+freeDisk, true)
	batches := float64(max(1, last.values[SoakBatches]))
	add("bytes written per byte of batch", float64(last.values[SoakWritten])/batches, boundWritten+float64(f.purges)*float64(largest[SoakDisk])/batches, false)
	add("problems that the check has found", float64(f.problems), 0, false)
	add("goroutines after closing, beyond those before", float64(f.goroutines[1]-f.goroutines[0]), 0, false)
	if f.opened[0] > 0 {
		add("descriptors after closing, beyond those before", float64(f.opened[1]-f.opened[0]), 0, false)
	}
	return out
}

// growth returns by how much a measure grows in the second half, by the quiet samples.
func (f *soakFigures) growth(m Measure) float64 {
	var x, y []float64
	for i := range f.samples {
		if s := &f.samples[i]; s.quiet && s.at >= f.duration/2 {
			x, y = append(x, s.at.Seconds()), append(y, float64(s.values[m]))
		}
	}
	return theilSen(x, y) * (f.duration / 2).Seconds()
}

// theilSen returns the median of the slopes between any two points, of an even number of
// them the mean of the middle two; 0 if there are fewer than two places on x.
func theilSen(x, y []float64) float64 {
	var slopes []float64
	for i := range x {
		for j := range i {
			if x[i] != x[j] {
				slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	n := len(slopes)
	return (slopes[(n-1)/2] + slopes[n/2]) / 2
}

// leastSlope is how many quiet samples the second half must have: fewer say nothing.
const leastSlope = 8

// void says why a run says nothing: a duty was not done at least half as often as it fell
// due, or nothing came of it.
func (r *SoakReport) void(samples []sample, duration time.Duration) (out []string) {
	for _, d := range r.Deeds {
		if least := max(1, d.Due/2); d.Done < least {
			out = append(out, fmt.Sprintf("%s: %d were done of %d that were due; at least %d must be", d.Deed, d.Done, d.Due, least))
		}
	}
	for _, x := range []struct {
		what string
		n    uint64
	}{
		{"rows accepted", r.Rows.Accepted}, {"profiles created", r.Rows.Created}, {"duplicates", r.Rows.Duplicates}, {"rows quarantined", r.Rows.Quarantined},
		{"rows refused", r.Rows.Refused}, {"profiles deleted", r.Rows.Deleted}, {"people erased", r.Rows.Erased}, {"people purged", r.Purges.People},
		{"questions that ended because the caller had gone", r.GivenUp}, {"bytes of backups sent", uint64(r.Backups.Sent)},
	} {
		if x.n == 0 {
			out = append(out, "no "+x.what)
		}
	}
	quiet := 0
	for i := range samples {
		if samples[i].quiet && samples[i].at >= duration/2 {
			quiet++
		}
	}
	if quiet < leastSlope {
		out = append(out, fmt.Sprintf("%d quiet moments in the second half; at least %d must be", quiet, leastSlope))
	}
	return out
}

// judge completes the report, and returns ErrSoak if a bound is broken or the run is void.
func (s *soak) judge() error {
	r := s.report
	r.Measures, r.Latencies = byTenths(s.samples, s.Duration), s.latencies()
	f := soakFigures{duration: s.Duration, samples: s.samples, budget: r.Stats.MemoryBudget, people: r.Stats.Ordinals, events: r.Stats.Events,
		ids: s.done[SoakEvents].Load() * eventsOfBatch / 2, purges: s.done[SoakErasures].Load(), problems: len(r.Check.Problems), goroutines: r.Goroutines, opened: r.Files}
	r.Verdicts, r.Void = f.verdicts(), r.void(s.samples, s.Duration)
	if len(r.Void) > 0 || slices.ContainsFunc(r.Verdicts, func(v SoakVerdict) bool { return !v.OK }) {
		return ErrSoak
	}
	return nil
}
