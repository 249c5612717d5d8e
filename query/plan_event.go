package query

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// eventList is an [Events] made ready for one view. It is immutable once its node is planned.
type eventList struct {
	view     *eventView
	scan     EventScan // of the list; what is made of it adds properties
	clocks   []listClock
	filter   *Prepared // over the view's events; nil: none that the store does not test
	whole    bool      // for how many events the filter is unknown is counted
	then     *thenTest // nil: none
	none     bool      // it is empty for everybody
	facts    *FactsOf  // not nil: what is made of the list may be known without its events
	expected float64   // events of the list, over all profiles
	read     float64   // events that are read for it
	ops      int       // how many nodes a worker over events has to count
}

type listClock struct {
	zone *time.Location
	test clockTest
}

// thenTest is a [Then] made ready.
type thenTest struct {
	after  *eventList
	within int64
	rarer  bool // the list itself is so much rarer that it is worth knowing first who has any of it
}

// window is when events have to be, half open.
type window struct{ from, to int64 }

func (a window) and(b window) window { return window{max(a.from, b.from), min(a.to, b.to)} }

func (a window) isEmpty() bool { return a.from >= a.to }

// before and after are a time's neighbours, as far as there are any.
func before(t, by int64) int64 {
	if t < math.MinInt64+by {
		return math.MinInt64
	}
	return t - by
}

func after(t, by int64) int64 {
	if t > math.MaxInt64-by {
		return math.MaxInt64
	}
	return t + by
}

const (
	// eventsEach is how many events of a type a profile is taken to have where the view
	// does not know.
	eventsEach = 5

	// thenRatio is from how many times as many events on it pays to read a list twice,
	// instead of keeping the times of all events that may come before those of it.
	thenRatio = 3
)

// list plans a list of which only the events in the window are wanted. The planner it
// returns is for what is made of the list's events.
func (b *planner) list(e *Events, in window) (*eventList, *planner, error) {
	switch {
	case b.events != nil:
		return nil, nil, Errorf(CodeInternal, "events inside a condition on an event")
	case e == nil:
		return nil, nil, Errorf(CodeInternal, "the expression tree has a hole")
	}
	event := b.p.schema.EventByID(e.Event)
	if event == nil {
		err := Errorf(CodeUnknownName, "no event has the id %d", e.Event)
		err.Span = e.Span
		return nil, nil, err
	}
	l := &eventList{view: newEventView(b.view, event), whole: b.whole}
	in = in.and(window{e.From, e.To})
	conditions, in, err := conditionsOf(e.Filter, in)
	if err != nil {
		return nil, nil, err
	}
	l.scan = EventScan{Event: e.Event, From: in.from, To: in.to}
	share := 1.0
	for _, c := range e.When {
		share *= l.addClock(c)
	}
	if len(conditions) > 0 {
		part, err := l.addFilter(b.over(l.view), conditions)
		if err != nil {
			return nil, nil, err
		}
		share *= part
	}
	l.none = l.none || in.isEmpty()
	l.read = b.eventCount(e.Event, in)
	l.expected = l.read * share
	if e.Then != nil {
		if err := l.addThen(b, e.Then, in); err != nil {
			return nil, nil, err
		}
	}
	return l, b.over(l.view), nil
}

func (b *planner) eventCount(event schema.EventID, in window) float64 {
	if c, ok := b.view.(EventCounter); ok && !in.isEmpty() {
		return float64(c.EventCount(event, in.from, in.to))
	}
	return float64(b.p.living) * eventsEach
}

// over returns a planner for one expression over the events of a view.
func (b *planner) over(v *eventView) *planner {
	return &planner{ctx: b.ctx, view: v, events: v, p: &Prepared{schema: v.schema, living: guessedEvents, isExact: true}}
}

// conditionsOf simplifies the conditions of a list and moves those on the time into the window.
func conditionsOf(filter []Node, in window) ([]Node, window, error) {
	if len(filter) == 0 {
		return nil, in, nil
	}
	n, err := simplify(&And{filter})
	if err != nil {
		return nil, in, err
	}
	all := []Node{n}
	if and, ok := n.(*And); ok {
		all = and.Of
	}
	var rest []Node
	for _, n := range all {
		switch n := n.(type) {
		case *Range:
			if n.Attr == schema.TimeProperty {
				in = in.and(window{n.Lo, after(n.Hi, 1)})
				continue
			}
		case *Const:
			if n.Value == True {
				continue
			}
		}
		rest = append(rest, n)
	}
	return rest, in, nil
}

// addClock adds a clock and returns the part of events that it is expected to let through.
func (l *eventList) addClock(c Clock) float64 {
	t := newClockTest(c)
	hours := t.to - t.from
	if t.wraps {
		hours += msPerDay
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	l.clocks = append(l.clocks, listClock{c.Zone, t})
	l.scan.Times = true
	return float64(bits.OnesCount8(t.weekdays&127)) / 7 * min(1, float64(hours)/msPerDay)
}

// addFilter adds conditions and returns the part of events that is expected to fulfil them.
// What zones say of all of them, the store tests.
func (l *eventList) addFilter(over *planner, conditions []Node) (share float64, err error) {
	for _, n := range conditions {
		if err := l.needNode(n); err != nil {
			return 0, err
		}
	}
	filter, err := over.prepare(&And{conditions})
	if err != nil {
		return 0, err
	}
	l.filter, l.ops = filter, len(filter.ops)
	if l.whole {
		return filter.root.share, nil
	}
	trueOnly(filter.root)
	z := zones{schema: over.p.schema}
	z.add(filter.root)
	if l.none, l.scan.Zones = z.never, z.of; !z.rest {
		l.filter, l.ops, l.scan.Properties = nil, 0, nil
	}
	return filter.root.share, nil
}

func (l *eventList) addThen(b *planner, t *Then, in window) error {
	if t.Within < 0 {
		return Errorf(CodeInternal, "a time of %d ms between two events", t.Within)
	}
	first, _, err := b.list(t.After, window{before(in.from, t.Within), before(in.to, 1)})
	if err != nil {
		return err
	}
	l.then = &thenTest{after: first, within: t.Within, rarer: !b.whole && l.expected*thenRatio < first.expected}
	l.scan.Times = true
	l.none = l.none || first.none
	l.expected /= 2
	return first.need(schema.TimeProperty)
}

// need adds a property to those read.
func (l *eventList) need(ids ...schema.AttrID) error {
	for _, id := range ids {
		if id == schema.TimeProperty {
			l.scan.Times = true
			continue
		}
		if l.view.schema.ByID(id) == nil {
			return Errorf(CodeUnknownName, "the event %q has no property with the id %d", l.view.event.Name, id)
		}
		if at, ok := slices.BinarySearch(l.scan.Properties, id); !ok {
			l.scan.Properties = slices.Insert(l.scan.Properties, at, id)
		}
	}
	return nil
}

// needNode adds what a condition reads. It refuses what is no condition on an event.
func (l *eventList) needNode(n Node) error {
	all := func(of ...Node) error {
		for _, n := range of {
			if err := l.needNode(n); err != nil {
				return err
			}
		}
		return nil
	}
	switch n := n.(type) {
	case *Const:
		return nil
	case *And:
		return all(n.Of...)
	case *Or:
		return all(n.Of...)
	case *Not:
		return all(n.Of)
	case *If:
		return all(n.Cond, n.Then, n.Else)
	case *Has:
		return l.need(n.Attr)
	case *In:
		return l.need(n.Attr)
	case *Range:
		return l.need(n.Attr)
	case *Match:
		return l.need(n.Attr)
	case *SetHas:
		return l.need(n.Attr)
	case *Compare:
		if err := l.needArith(n.L); err != nil {
			return err
		}
		return l.needArith(n.R)
	case *Residual:
		if len(n.Events) == 0 {
			return l.need(n.Attrs...)
		}
	}
	return Errorf(CodeInternal, "a %T is no condition on an event", n)
}

func (l *eventList) needArith(n Arith) error {
	switch n := n.(type) {
	case *Column:
		return l.need(n.Attr)
	case *Binary:
		if err := l.needArith(n.L); err != nil {
			return err
		}
		return l.needArith(n.R)
	case *Negate:
		return l.needArith(n.Of)
	case *Convert:
		return l.needArith(n.Of)
	}
	return nil // the planner refuses what is no arithmetic
}

// trueOnly makes a plan of which only the yes is wanted: unknown is as good as false then,
// except under a "not", and who has no value need not be known.
func trueOnly(o *op) {
	switch o.inner.(type) {
	case nil:
		o.nullable = false
	case *andOp, *orOp:
		for _, k := range o.kids {
			trueOnly(k)
		}
	}
}

// zones is what must hold of an event's properties for a condition to be true.
type zones struct {
	schema *schema.Schema
	of     []ZoneMap
	rest   bool // it takes more than that
	never  bool // it cannot be true
}

// zone adds that a property lies in an interval, of which wanted values are.
func (z *zones) zone(attr schema.AttrID, lo, hi int64, wanted uint64) {
	z.never = z.never || lo > hi
	if attr == schema.TimeProperty {
		z.rest = true
		return
	}
	z.of = append(z.of, ZoneMap{attr, lo, hi})
	z.rest = z.rest || wanted != uint64(hi)-uint64(lo)+1
}

// add adds a condition that must be true.
func (z *zones) add(o *op) {
	switch l := o.leaf.(type) {
	case nil:
		switch in := o.inner.(type) {
		case constOp:
			z.never = z.never || Truth(in) != True
		case *andOp:
			for _, k := range in.kids {
				z.add(k)
			}
		default:
			z.rest = true
		}
	case *rowsLeaf:
		switch {
		case len(l.codes) == 0:
			z.never = true
		case isSet(z.schema, l.attr): // a set has no order
			z.rest = true
		default:
			z.zone(l.attr, int64(slices.Min(l.codes)), int64(slices.Max(l.codes)), uint64(len(l.codes)))
		}
	case *codesLeaf:
		lo, n := -1, 0
		for i, w := range l.wanted {
			if lo < 0 && w != 0 {
				lo = i*64 + bits.TrailingZeros64(w)
			}
			n += bits.OnesCount64(w)
		}
		hi := len(l.wanted) - 1
		z.zone(l.attr, int64(lo), int64(hi*64+63-bits.LeadingZeros64(l.wanted[hi])), uint64(n))
	case *rangesLeaf:
		z.spans(l.attr, l.in)
	case *pointsLeaf:
		z.spans(l.attr, l.in)
	default:
		z.rest = true
	}
}

func (z *zones) spans(attr schema.AttrID, in []span64) {
	lo, hi := in[0].lo, in[len(in)-1].hi
	z.zone(attr, lo, hi, uint64(hi)-uint64(lo)+1)
	z.rest = z.rest || len(in) > 1
}
