package funnel

import (
	"cmp"
	"slices"

	"github.com/kantadb/kanta/query"
)

// path is the memory of looking for the furthest step of one person.
type path struct {
	took  []int64 // by step, up to the furthest: from the first step, in ms
	state []int64 // by step: the latest t1 of an entry that has come to it; none: NoValue
	next  []int64
	held  []query.Step
}

// furthestOf returns the furthest step that an entry of a person comes to, from 0, -1 if there
// is no entry, and sets v.path.took. steps are in order of time.
func (v *visitor) furthestOf(steps []query.Step) int {
	if v.values == nil {
		furthest, _ := v.furthestHeld(steps)
		return furthest
	}
	// The events with one value of the held property by themselves.
	p := &v.path
	p.held = append(p.held[:0], steps...)
	slices.SortStableFunc(p.held, func(a, b query.Step) int { return cmp.Compare(a.Value, b.Value) })
	best, began := -1, int64(0)
	var took []int64
	for from := 0; from < len(p.held); {
		to := from + 1
		for to < len(p.held) && p.held[to].Value == p.held[from].Value {
			to++
		}
		if p.held[from].Value != query.NoValue {
			furthest, t1 := v.furthestHeld(p.held[from:to])
			if furthest > best || furthest == best && furthest >= 0 && (t1 < began || t1 == began && sooner(p.took, took)) {
				best, began, took = furthest, t1, append(took[:0], p.took...)
			}
		}
		from = to
	}
	p.took = append(p.took[:0], took...)
	return best
}

// sooner reports whether an entry came to its furthest step before another one, which came as
// far and began at the same time; or to the step before, and so on.
func sooner(a, b []int64) bool {
	for k := len(a) - 1; k >= 0; k-- {
		if a[k] != b[k] {
			return a[k] < b[k]
		}
	}
	return false
}

// furthestHeld is furthestOf of events that may all be of one entry; it returns when the
// first entry begins that comes so far.
func (v *visitor) furthestHeld(steps []query.Step) (furthest int, began int64) {
	if v.any {
		return v.furthestAny(steps)
	}
	p, n := &v.path, len(v.texts)
	p.state, p.next = fill(p.state, n), fill(p.next, n)
	furthest = -1
	for from := 0; from < len(steps); {
		to := sameTime(steps, from)
		furthest = max(furthest, v.advance(steps[from:to], p.state, p.next))
		from = to
	}
	if furthest < 0 {
		return furthest, 0
	}
	// The first entry that comes so far.
	for i, s := range steps {
		if v.step[s.List] != 0 || v.ends[s.List] || i > 0 && steps[i-1].Time == s.Time && v.step[steps[i-1].List] == 0 && !v.ends[steps[i-1].List] {
			continue
		}
		if v.entry(steps[i:], furthest) {
			return furthest, s.Time
		}
	}
	return furthest, 0
}

// fill returns n times NoValue.
func fill(s []int64, n int) []int64 {
	s = append(s[:0], make([]int64, n)...)
	for i := range s {
		s[i] = query.NoValue
	}
	return s
}

// sameTime returns where the events of the time of the one at from end.
func sameTime(steps []query.Step, from int) int {
	to := from + 1
	for to < len(steps) && steps[to].Time == steps[from].Time {
		to++
	}
	return to
}

// advance goes on with the events of one time, and returns the furthest step that they lead
// to, -1 if none. state has for each step the latest t1 of an entry that has come to it
// before; next is scratch, all NoValue.
//
// The latest t1 is enough: whatever ends what has come to a step ends all of it, and of
// those that go on it is the one that may go on longest.
func (v *visitor) advance(events []query.Step, state, next []int64) (furthest int) {
	furthest = -1
	t := events[0].Time
	for _, e := range events {
		k := v.step[e.List]
		switch {
		case v.ends[e.List]:
			continue
		case k == 0:
			next[0] = t
		case state[k-1] != query.NoValue && t-state[k-1] <= v.within:
			next[k] = state[k-1]
		default:
			continue
		}
		furthest = max(furthest, k)
	}
	for _, e := range events {
		if v.ends[e.List] {
			state[v.step[e.List]] = query.NoValue
		}
	}
	for k, t1 := range next {
		state[k], next[k] = max(state[k], t1), query.NoValue
	}
	return furthest
}

// entry follows the entry that begins with the first of the events, and reports whether it
// comes to a step; took is when it first came to each.
func (v *visitor) entry(steps []query.Step, furthest int) bool {
	p, t1 := &v.path, steps[0].Time
	p.state, p.took = fill(p.state, len(v.texts)), fill(p.took, furthest+1)
	p.state[0], p.took[0] = t1, 0
	for from := sameTime(steps, 0); from < len(steps) && steps[from].Time-t1 <= v.within; {
		to := sameTime(steps, from)
		v.follow(steps[from:to], furthest)
		if p.took[furthest] != query.NoValue {
			return true
		}
		from = to
	}
	return p.took[furthest] != query.NoValue
}

// follow is advance of the one entry, which does not begin again.
func (v *visitor) follow(events []query.Step, furthest int) {
	p := &v.path
	t1 := events[0].Time
	for _, e := range events {
		if k := v.step[e.List]; !v.ends[e.List] && k > 0 && p.state[k-1] != query.NoValue {
			p.next[k] = p.state[k-1]
			if k <= furthest && p.took[k] == query.NoValue {
				p.took[k] = t1 - p.state[k-1]
			}
		}
	}
	for _, e := range events {
		if v.ends[e.List] {
			p.state[v.step[e.List]] = query.NoValue
		}
	}
	for k, start := range p.next {
		p.state[k], p.next[k] = max(p.state[k], start), query.NoValue
	}
}

// furthestAny is furthestHeld of steps in any order: how many different ones lie in a window.
func (v *visitor) furthestAny(steps []query.Step) (furthest int, began int64) {
	p := &v.path
	furthest = -1
	count := fill(p.state, len(v.texts))
	for i := range count {
		count[i] = 0
	}
	different, to := 0, 0
	for from := range steps {
		for ; to < len(steps) && steps[to].Time-steps[from].Time <= v.within; to++ {
			if k := v.step[steps[to].List]; count[k] == 0 {
				different++
			}
			count[v.step[steps[to].List]]++
		}
		if (from == 0 || steps[from-1].Time < steps[from].Time) && different-1 > furthest {
			furthest, began = different-1, steps[from].Time
			v.tookAny(steps[from:to])
		}
		if count[v.step[steps[from].List]]--; count[v.step[steps[from].List]] == 0 {
			different--
		}
	}
	p.state = count
	return furthest, began
}

// tookAny sets took to when the events come to one step after the other.
func (v *visitor) tookAny(steps []query.Step) {
	p := &v.path
	p.took = p.took[:0]
	p.next = fill(p.next, len(v.texts))
	for _, s := range steps {
		if k := v.step[s.List]; p.next[k] == query.NoValue {
			p.next[k] = s.Time
			p.took = append(p.took, s.Time-steps[0].Time)
		}
	}
	p.next = fill(p.next, len(v.texts))
}
