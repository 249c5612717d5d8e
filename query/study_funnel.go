package query

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
)

// Onward says who goes on: who has an event of one of the First lists, and later, at most
// Within after it, one of one of the Next. All three are places among the lists of a trail.
type Onward struct {
	First, Next []int
	Within      int64 // ms

	// Whole says that all events of who goes on are wanted. Else Then is what comes behind Next,
	// if anything, and little is wanted of who comes no further: whose events of First are
	// followed by none of Then has two events, the first of First that one of Next follows, and
	// the first that does. Of others those of First are wanted that one of Then follows, too.
	Whole bool
	Then  []int
}

// OnwardTrails is Trails of those of within who go on. For that it reads little of others:
// who has no event of Next near one of First is mostly told by the days, without any.
func (c *StudyChunk) OnwardTrails(ctx context.Context, lists []*StudyList, on Onward, within *bitmap.Set, f func(who uint16, steps []Step) error) error {
	near := nearby{steps: make([][]*eventList, 2), order: []int{0, 1}, within: on.Within}
	expected := [2]float64{}
	for i, step := range [][]int{on.First, on.Next} {
		for _, k := range step {
			if l := lists[k].list; !l.none {
				near.steps[i] = append(near.steps[i], l)
				expected[i] += l.expected
			}
		}
		if len(near.steps[i]) == 0 {
			return nil
		}
	}
	if expected[1] < expected[0] {
		near.order = []int{1, 0}
	}
	within, err := near.narrow(c.w, within)
	if err != nil || within.Form == bitmap.Empty {
		return err
	}
	e := c.w.eventsOf(within)
	defer e.release(e.mark())
	return c.w.inParts(within, func(within *bitmap.Set) error {
		used := c.w.used
		defer c.w.release(used)
		o := onward{StudyChunk: c, Onward: on, lists: lists, goes: c.w.cleared(), far: c.w.cleared()}
		if err := o.gather(ctx, within); err != nil {
			return err
		}
		if err := o.eachShort(f); err != nil {
			return err
		}
		return eachTrail(c.byPerson(), f)
	})
}

// onward is the gathering of the trails of who goes on.
type onward struct {
	*StudyChunk
	Onward
	lists []*StudyList
	next  *gathered     // times of Next
	then  *gathered     // of Then
	goes  *bitmap.Words // who goes on
	far   *bitmap.Words // whose trails are more than two events
	first []int64       // by slot, of who goes on: the first event of First that is followed
}

func (o *onward) gather(ctx context.Context, within *bitmap.Set) error {
	o.steps = o.steps[:0]
	o.next, o.then, o.first = o.w.events.gather(), o.w.events.gather(), o.w.events.lane()
	isRead := make([]bool, len(o.lists))
	for _, i := range o.Next {
		isRead[i] = true
		if err := o.addTimes(ctx, o.lists[i], within, o.next); err != nil {
			return err
		}
	}
	o.next.sort()
	followed := bitmap.FromWords(&o.next.who)
	for _, i := range o.Then {
		isRead[i] = true
		if err := o.addTimes(ctx, o.lists[i], &followed, o.then); err != nil {
			return err
		}
	}
	o.then.sort()
	for _, i := range o.First {
		isRead[i] = true
		if err := o.addFirst(ctx, i, &followed); err != nil {
			return err
		}
	}
	if err := o.finish(); err != nil {
		return err
	}
	far := bitmap.FromWords(o.far)
	for i := range o.lists {
		if isRead[i] || far.IsEmpty() {
			continue
		}
		if err := o.add(ctx, o.lists, i, 0, &far); err != nil {
			return err
		}
	}
	return nil
}

// addTimes gathers the times of a list.
func (o *onward) addTimes(ctx context.Context, l *StudyList, within *bitmap.Set, g *gathered) error {
	return o.w.eachEvent(ctx, l.list, within, func(h *hits) error {
		for _, k := range h.at {
			g.add(h.Ords[k], h.Times[k])
		}
		return o.w.events.keep(len(h.at) * gatheredBytes)
	})
}

// addFirst finds out who goes on, and adds those events of a list of First that are wanted,
// but for the first one.
func (o *onward) addFirst(ctx context.Context, list int, within *bitmap.Set) error {
	return o.w.eachEvent(ctx, o.lists[list].list, within, func(h *hits) error {
		had := len(o.steps)
		for at := h.at; len(at) > 0; {
			n, who := 1, h.Ords[at[0]]
			for n < len(at) && h.Ords[at[n]] == who {
				n++
			}
			o.addFirstOf(h, list, at[:n])
			at = at[n:]
		}
		return o.w.events.keep((len(o.steps) - had) * stepBytes)
	})
}

// addFirstOf is addFirst for one person's events that lie together in a block. Of most people
// the first ones tell all that is wanted.
func (o *onward) addFirstOf(h *hits, list int, at []uint16) {
	who := h.Ords[at[0]]
	slot := o.w.events.slots.of(who)
	goes, first := o.goes.Has(who), &o.first[slot]
	next, then := follower{times: o.next.ofSlot(who, slot)}, follower{times: o.then.ofSlot(who, slot)}
	for _, k := range at {
		t := h.Times[k]
		is := next.isFollowed(t, o.Within)
		if is && (!goes || t < *first) {
			o.goes.SetBit(who)
			goes, *first = true, t
		}
		switch {
		case o.Whole || is && then.isFollowed(t, o.Within):
			o.far.SetBit(who)
			o.steps = append(o.steps, Step{Time: t, Value: NoValue, List: int32(list), who: who})
		case h.Sorted && (next.isOver(t) || goes && *first <= t && then.isOver(t)):
			return
		}
	}
}

// fewTimes are found quicker one by one than by bisection.
const fewTimes = 8

// follower looks what follows the events of one person.
type follower struct {
	times  []int64 // ascending
	begun  bool
	at     int   // of the first time after before
	before int64 // that was looked at last
}

// isOver reports whether nothing is after t.
func (f *follower) isOver(t int64) bool {
	return len(f.times) == 0 || f.times[len(f.times)-1] <= t
}

// isFollowed reports whether one of the times is after t and at most within after it. It goes
// on from where it was: nearly always t ascends.
func (f *follower) isFollowed(t, within int64) bool {
	if t < f.before || !f.begun && len(f.times) > fewTimes {
		f.at, _ = slices.BinarySearch(f.times, t+1)
	}
	f.begun = true
	f.before = t
	for f.at < len(f.times) && f.times[f.at] <= t {
		f.at++
	}
	return f.at < len(f.times) && f.times[f.at]-t <= within
}

// finish leaves out the events of who does not go on, and adds the other events of the first
// three lists.
func (o *onward) finish() error {
	o.far.And(bitmap.FromWords(o.goes))
	kept := o.steps[:0]
	for _, s := range o.steps {
		if o.far.Has(s.who) {
			kept = append(kept, s)
		}
	}
	o.steps = kept
	for _, who := range bitmap.FromWords(o.far).AppendTo(nil) {
		if !o.Whole {
			o.one(who, o.first[o.w.events.slots.of(who)], o.First)
		}
		for _, t := range o.next.of(who) {
			o.one(who, t, o.Next)
		}
		for _, t := range o.then.of(who) {
			o.one(who, t, o.Then)
		}
	}
	return o.w.events.keep((len(o.steps) - len(kept)) * stepBytes)
}

// one adds an event of one of some lists, no matter which.
func (o *onward) one(who uint16, t int64, of []int) {
	o.steps = append(o.steps, Step{Time: t, Value: NoValue, List: int32(of[0]), who: who})
}

// eachShort calls f with the trails of two events.
func (o *onward) eachShort(f func(who uint16, steps []Step) error) error {
	var buf bitmap.Words
	var trail [2]Step
	for _, who := range bitmap.AndNot(bitmap.FromWords(o.goes), bitmap.FromWords(o.far), &buf).AppendTo(nil) {
		slot := o.w.events.slots.of(who)
		first, next := o.first[slot], o.next.ofSlot(who, slot)
		trail[0] = Step{Time: first, Value: NoValue, List: int32(o.First[0]), who: who}
		after, _ := slices.BinarySearch(next, first+1)
		trail[1] = Step{Time: next[after], Value: NoValue, List: int32(o.Next[0]), who: who}
		if err := f(who, trail[:]); err != nil {
			return err
		}
	}
	return nil
}
