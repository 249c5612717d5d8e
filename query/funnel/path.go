package funnel

import (
	"cmp"
	"slices"

	"github.com/kantadb/kanta/query"
)

// entry is one that counts.
type entry struct {
	began int64
	took  []int64 // by step, up to the furthest: from the first step, in ms
	value int64   // that is held
}

// path is the memory of looking for the entries of one person.
type path struct {
	found []entry
	times []int64 // of theirs
	took  []int64 // by step: from the first step; none: NoValue
	state []int64 // by step: the latest t1 of an entry that has come to it; none: NoValue
	next  []int64
	steps []query.Step // by the property that is held
}

// add adds an entry that took is of, up to the furthest step.
func (p *path) add(began int64) {
	from := len(p.times)
	for _, t := range p.took {
		if t == query.NoValue {
			break
		}
		p.times = append(p.times, t)
	}
	p.found = append(p.found, entry{began: began, took: p.times[from:len(p.times):len(p.times)]})
}

// entriesOf returns the entries of a person that count: the first that comes furthest, or
// all of them. steps are in order of time.
func (v *visitor) entriesOf(steps []query.Step) []entry {
	p := &v.path
	p.found, p.times = p.found[:0], p.times[:0]
	find := v.furthest
	if v.entries {
		find = v.every
	}
	if !v.held {
		find(steps)
		return p.found
	}
	// The events with one value of the held property by themselves.
	p.steps = append(p.steps[:0], steps...)
	slices.SortStableFunc(p.steps, func(a, b query.Step) int { return cmp.Compare(a.Value, b.Value) })
	for from := 0; from < len(p.steps); {
		to := from + 1
		for to < len(p.steps) && p.steps[to].Value == p.steps[from].Value {
			to++
		}
		if had := len(p.found); p.steps[from].Value != query.NoValue {
			find(p.steps[from:to])
			for i := range p.found[had:] {
				p.found[had+i].value = p.steps[from].Value
			}
		}
		from = to
	}
	if !v.entries && len(p.found) > 1 {
		p.found[0] = slices.MinFunc(p.found, v.better)
		p.found = p.found[:1]
	}
	return p.found
}

// better compares what counts of a person: first the entry that comes further, then the one
// that begins first, then the one that came to its furthest step first, or to the step
// before, and so on; then the one with the first value.
func (v *visitor) better(a, b entry) int {
	if c := cmp.Or(cmp.Compare(len(b.took), len(a.took)), cmp.Compare(a.began, b.began)); c != 0 {
		return c
	}
	for k := len(a.took) - 1; k >= 0; k-- {
		if c := cmp.Compare(a.took[k], b.took[k]); c != 0 {
			return c
		}
	}
	return v.compare(a.value, b.value)
}

// begins reports whether an entry may begin with an event.
func (v *visitor) begins(s query.Step) bool {
	return !v.ends[s.List] && (v.step[s.List] == 0 || v.order == anyOrder)
}

// furthest finds the first entry that comes furthest.
func (v *visitor) furthest(steps []query.Step) {
	if v.order == anyOrder {
		v.furthestAny(steps)
		return
	}
	p, n := &v.path, len(v.texts)
	p.state, p.next = fill(p.state, n), fill(p.next, n)
	furthest, came := -1, int64(0) // when somebody came so far first
	for from := 0; from < len(steps); {
		to := sameTime(steps, from)
		if k := v.advance(steps[from:to], p.state, p.next); k > furthest {
			furthest, came = k, steps[from].Time
		}
		from = to
	}
	if furthest < 0 {
		return
	}
	last := int64(query.NoValue)
	for i, s := range steps {
		if !v.begins(s) || s.Time == last || s.Time < came-v.within { // what began before had ended by then
			continue
		}
		last = s.Time
		if v.follow(steps[i:], furthest); p.took[furthest] != query.NoValue {
			p.add(s.Time)
			return
		}
	}
}

// every finds all entries, none of which begins before the one before has ended.
func (v *visitor) every(steps []query.Step) {
	for i := 0; i < len(steps); {
		if !v.begins(steps[i]) {
			i++
			continue
		}
		var end int64
		if v.order == anyOrder {
			end = v.followAny(steps[i:])
		} else {
			end = v.follow(steps[i:], len(v.texts)-1)
		}
		v.path.add(steps[i].Time)
		for i < len(steps) && steps[i].Time <= end {
			i++
		}
	}
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
		case v.ends[e.List] || k < 0:
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
	v.end(events, state, next)
	return furthest
}

// end ends what the events of one time end, and moves next into state. It reports whether
// anything is left.
func (v *visitor) end(events []query.Step, state, next []int64) (left bool) {
	for _, e := range events {
		if v.ends[e.List] {
			state[v.step[e.List]] = query.NoValue
		}
	}
	for k, t1 := range next {
		if v.order == strict {
			state[k] = query.NoValue
		}
		state[k], next[k] = max(state[k], t1), query.NoValue
		left = left || state[k] != query.NoValue
	}
	return left
}

// follow follows the entry that begins with the first of the events up to a step; took is
// when it first came to each. It returns when the entry ends.
func (v *visitor) follow(steps []query.Step, furthest int) (end int64) {
	p, t1 := &v.path, steps[0].Time
	p.state, p.next, p.took = fill(p.state, len(v.texts)), fill(p.next, len(v.texts)), fill(p.took, furthest+1)
	p.state[0], p.took[0] = t1, 0
	come := t1 // to the step it came to last
	for from := sameTime(steps, 0); from < len(steps) && steps[from].Time-t1 <= v.within; {
		to := sameTime(steps, from)
		t := steps[from].Time
		for _, e := range steps[from:to] {
			if k := v.step[e.List]; !v.ends[e.List] && k > 0 && p.state[k-1] != query.NoValue {
				p.next[k] = t1
				if k <= furthest && p.took[k] == query.NoValue {
					p.took[k], come = t-t1, t
				}
			}
		}
		left := v.end(steps[from:to], p.state, p.next)
		switch {
		case p.took[furthest] != query.NoValue:
			return t
		case !left && v.order == strict:
			return come
		case !left:
			return t
		}
		from = to
	}
	return t1 + v.within
}

// furthestAny is furthest of steps in any order: where most different ones lie in a window.
func (v *visitor) furthestAny(steps []query.Step) {
	p := &v.path
	count := append(p.state[:0], make([]int64, len(v.texts))...)
	most, first, different, to := 0, -1, 0, 0
	for from := range steps {
		for ; to < len(steps) && steps[to].Time-steps[from].Time <= v.within; to++ {
			if k := v.step[steps[to].List]; count[k] == 0 {
				different++
			}
			count[v.step[steps[to].List]]++
		}
		if (from == 0 || steps[from-1].Time < steps[from].Time) && different > most {
			most, first = different, from
		}
		if count[v.step[steps[from].List]]--; count[v.step[steps[from].List]] == 0 {
			different--
		}
	}
	p.state = count
	if first >= 0 {
		v.followAny(steps[first:])
		p.add(steps[first].Time)
	}
}

// followAny is follow of steps in any order.
func (v *visitor) followAny(steps []query.Step) (end int64) {
	p, t1 := &v.path, steps[0].Time
	p.took, p.next = p.took[:0], fill(p.next, len(v.texts))
	for _, s := range steps {
		if s.Time-t1 > v.within || len(p.took) == len(v.texts) {
			break
		}
		if k := v.step[s.List]; p.next[k] == query.NoValue {
			p.next[k] = s.Time
			p.took = append(p.took, s.Time-t1)
		}
	}
	if len(p.took) == len(v.texts) {
		return t1 + p.took[len(p.took)-1]
	}
	return t1 + v.within
}
