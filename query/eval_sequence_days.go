package query

import (
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Who has an event on which day, the store knows without reading events. A sequence within
// a few days can be only of those who, some day, have an event of one list, and on that day
// or those few near it one of each other. Of the workload's Q12 that leaves one in twelve
// of those who have events of all lists.

const (
	// narrowFrom is from how many candidates of a chunk on it pays to ask for days first.
	narrowFrom = 1000

	// nearDays is up to how many days a sequence may take, and narrowDays how many of them
	// its windows may hold, for that: with more, hardly anybody is ruled out.
	nearDays   = 7
	narrowDays = 400

	// daysAtOnce is how many days are looked at at once: two lists take a megabyte.
	daysAtOnce = 32
)

// nearby says who may have events of some lists one after the other: of each step, of any of its lists.
type nearby struct {
	steps  [][]*eventList
	order  []int // of the steps, by their days the first is the anchor: the rarest
	within int64
}

// narrow returns the candidates who may match the sequence by the days of their events.
func (s *sequenceOp) narrow(w *worker, within *bitmap.Set) (*bitmap.Set, error) {
	if s.whole {
		return within, nil
	}
	return s.near.narrow(w, within)
}

func (s *nearby) narrow(w *worker, within *bitmap.Set) (*bitmap.Set, error) {
	cur, ok := w.cur.(EventCursor)
	from, to := s.window()
	if !ok || s.within > nearDays*msPerDay || w.undecided(within).Count() < w.eventWork().many ||
		from < schema.MinTimestamp || to > schema.MaxTimestamp || to-from > narrowDays*msPerDay {
		return within, nil
	}
	first, last, found := floorDay(from), floorDay(to-1), w.cleared()
	for ; first <= last; first += daysAtOnce {
		if err := s.onDays(w, cur, first, int(min(daysAtOnce, last-first+1)), found); err != nil {
			return within, err
		}
	}
	return w.hold(bitmap.And(w.undecided(within), bitmap.FromWords(found), w.grab())), nil
}

// window is when the events of the anchor are.
func (s *nearby) window() (from, to int64) {
	from, to = math.MaxInt64, math.MinInt64
	for _, l := range s.steps[s.order[0]] {
		from, to = min(from, l.scan.From), max(to, l.scan.To)
	}
	return from, to
}

// onDays adds to found who has an event of the anchor on one of n days from first on, and of
// each other step near to it.
func (s *nearby) onDays(w *worker, cur EventCursor, first int64, n int, found *bitmap.Words) error {
	near := int((s.within + msPerDay - 1) / msPerDay)
	anchor := s.order[0]
	here := w.days(0, n)
	if err := s.eventDays(w, cur, anchor, first, here); err != nil {
		return err
	}
	for _, i := range s.order[1:] {
		from := first
		if i < anchor {
			from -= int64(near)
		}
		other := w.days(1, n+near)
		if err := s.eventDays(w, cur, i, from, other); err != nil {
			return err
		}
		for d := range here {
			for k := range near {
				other[d].Or(bitmap.FromWords(&other[d+1+k]))
			}
			here[d].And(bitmap.FromWords(&other[d]))
		}
	}
	for d := range here {
		found.Or(bitmap.FromWords(&here[d]))
	}
	return nil
}

// eventDays adds who has an event of a step on which day.
func (s *nearby) eventDays(w *worker, cur EventCursor, step int, first int64, days []bitmap.Words) error {
	for _, l := range s.steps[step] {
		if err := cur.EventDays(l.scan.Event, first, w.chunk, days); err != nil {
			return err
		}
	}
	return nil
}

// days returns n empty sets, of which a worker has two rows.
func (w *worker) days(row, n int) []bitmap.Words {
	e := w.eventWork()
	e.days[row] = grow(e.days[row], n)
	clear(e.days[row])
	return e.days[row]
}
