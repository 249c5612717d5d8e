package query

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// Expected microseconds of one event, as the benchmarks of eval_event_bench_test.go have
// them, and of one list in one chunk.
const (
	costList     = 2
	costEvent    = 0.004 // found, and counted
	costChosen   = 0.002 // tested by a condition or a clock
	costValue    = 0.010 // arithmetic over its properties
	costGathered = 0.025 // kept, and put in order with the others of its profile
	costDay      = 0.5   // who has an event on one day
	costFacts    = 150   // what all events of everybody come to
)

// all is every time that an event may have.
func all() window { return window{math.MinInt64, math.MaxInt64} }

// cost returns the expected microseconds per chunk of reading a list and doing something
// that takes each per event.
func (b *planner) cost(l *eventList, each float64) float64 {
	if l.none {
		return costList
	}
	chunks := float64(max(1, b.view.Chunks()))
	cost := costList + (l.read*costEvent+l.expected*each)/chunks
	if l.filter != nil || len(l.clocks) > 0 || len(l.scan.Zones) > 0 {
		cost += l.read * costChosen / chunks
	}
	if l.then != nil {
		cost += b.cost(l.then.after, costGathered)
	}
	return cost
}

// anyShare is the part of people who have some event of a list, if events were spread evenly.
func (b *planner) anyShare(l *eventList) float64 {
	if l.none || b.p.living == 0 {
		return 0
	}
	return 1 - math.Exp(-l.expected/float64(b.p.living))
}

// isStored reports whether the list is what the store finds.
func (l *eventList) isStored() bool { return l.filter == nil && len(l.clocks) == 0 && l.then == nil }

// isPlain reports whether all events in the window are in the list.
func (l *eventList) isPlain() bool { return l.isStored() && len(l.scan.Zones) == 0 }

// useFacts lets what is made of a list be read from facts, if the view has some of it: a list
// of all events of a type up to a time, of which the events alone or one property are
// wanted. It reports whether there are any, and the cost by the measure of [planner.cost].
func (b *planner) useFacts(l *eventList, of FactsOf, each float64) (cost float64, ok bool) {
	cost = b.cost(l, each)
	view, ok := b.view.(FactsView)
	if !ok || b.whole || l.none || !l.isPlain() || l.scan.From > schema.MinTimestamp {
		return cost, false
	}
	summed := float64(view.SummedEvents(l.scan.Event, of.Property))
	if summed == 0 {
		return cost, false
	}
	l.facts = &of
	rest := *l
	rest.read, rest.expected = max(0, l.read-summed), max(0, l.expected-summed)
	return b.cost(&rest, each) + costFacts, true
}

func (b *planner) anyEvent(n *Any) (*op, error) {
	l, _, err := b.list(n.List, all())
	if err != nil {
		return nil, err
	}
	o := &op{node: n, span: n.Span, method: "events", share: b.anyShare(l), cost: b.cost(l, 0), narrow: true}
	l.scan.Runs = l.isStored()
	if o.inner = (&anyOp{list: l}); l.isPlain() && !l.none {
		days := (float64(l.scan.To) - float64(l.scan.From)) / msPerDay
		o.method, o.cost = "presence of days, events", min(o.cost, costList+days*costDay)
	}
	return o, nil
}

func (b *planner) sequence(n *Sequence) (*op, error) {
	if len(n.Of) < 2 || n.Within < 0 {
		return nil, Errorf(CodeInternal, "a sequence of %d lists within %d ms", len(n.Of), n.Within)
	}
	windows, err := sequenceWindows(n)
	if err != nil {
		return nil, err
	}
	s := &sequenceOp{within: n.Within, whole: b.whole}
	o := &op{node: n, span: n.Span, method: "events, the rarest list first", share: 0.1, narrow: true, inner: s}
	for i, e := range n.Of {
		l, _, err := b.list(e, windows[i])
		if err != nil {
			return nil, err
		}
		if err := l.need(schema.TimeProperty); err != nil {
			return nil, err
		}
		s.lists, s.order = append(s.lists, l), append(s.order, i)
		s.none = s.none || l.none
		o.share = min(o.share, b.anyShare(l)/10)
	}
	slices.SortStableFunc(s.order, func(i, j int) int { return cmp.Compare(s.lists[i].expected, s.lists[j].expected) })
	s.near = nearby{order: s.order, within: s.within}
	for _, l := range s.lists {
		s.near.steps = append(s.near.steps, []*eventList{l})
	}
	left := 1.0 // of the people, when a list is read
	for _, i := range s.order {
		o.cost += b.cost(s.lists[i], costGathered*left)
		left *= b.anyShare(s.lists[i])
	}
	return o, nil
}

// sequenceWindows returns when the events of each list have to be so that the others can
// be before and after them.
func sequenceWindows(n *Sequence) ([]window, error) {
	out := make([]window, len(n.Of))
	last := len(out) - 1
	for i, e := range n.Of {
		if e == nil {
			return nil, Errorf(CodeInternal, "the expression tree has a hole")
		}
		out[i] = window{e.From, e.To}
		if i > 0 {
			out[i].from = max(out[i].from, after(out[i-1].from, 1))
		}
	}
	for i := last - 1; i >= 0; i-- {
		out[i].to = min(out[i].to, before(out[i+1].to, 1))
	}
	for i := range out {
		out[i].from = max(out[i].from, before(out[last].from, n.Within))
		out[i].to = min(out[i].to, after(out[0].to, n.Within))
	}
	return out, nil
}

func (b *planner) oneIs(n *OneIs) (*op, error) {
	l, over, err := b.list(n.List, all())
	if err != nil {
		return nil, err
	}
	test, err := simplify(n.Test)
	if err != nil {
		return nil, err
	}
	if err := l.needNode(test); err != nil {
		return nil, err
	}
	p, err := over.prepare(test)
	if err != nil {
		return nil, err
	}
	if err := l.need(schema.TimeProperty); err != nil {
		return nil, err
	}
	l.ops = max(l.ops, len(p.ops))
	return &op{node: n, span: n.Span, method: "events", share: b.anyShare(l) * p.root.share, cost: b.cost(l, costValue), narrow: true,
		inner: &oneIsOp{list: l, last: n.Last, test: p}}, nil
}

func (b *planner) averageIs(n *AverageIs) (*op, error) {
	c := &arithCompiler{b: b, at: n.Span}
	of, typ, l, err := c.overEvents(n.List, n.Of)
	if err != nil {
		return nil, err
	}
	if k := n.With.Kind(); typ.kind != schema.Int && typ.kind != schema.Decimal || k != schema.Int && k != schema.Decimal {
		return nil, c.errorf("an exact average of a %s compared with a %s", typ.kind, k)
	}
	if n.Op > GE {
		return nil, Errorf(CodeInternal, "no comparison has the number %d", n.Op)
	}
	o := &op{node: n, span: n.Span, method: "events", share: b.anyShare(l) * shareCompare, cost: b.cost(l, costValue), narrow: true,
		inner: &averageIsOp{op: n.Op, list: l, of: of, scale: typ.scale, with: n.With}}
	if property, ok := factsProperty(n.Of); ok {
		if cost, ok := b.useFacts(l, FactsOf{property, true}, costValue); ok {
			o.method, o.cost = factsMethod+o.method, cost
		}
	}
	return o, nil
}

// overEvents compiles arithmetic over the events of a list.
func (c *arithCompiler) overEvents(e *Events, of Arith) (term, arithType, *eventList, error) {
	l, over, err := c.b.list(e, all())
	if err != nil {
		return nil, arithType{}, nil, err
	}
	if err := l.needArith(of); err != nil {
		return nil, arithType{}, nil, err
	}
	t, typ, err := (&arithCompiler{b: over, at: c.at}).compile(of)
	return t, typ, l, err
}

// fold compiles a number made of events.
func (c *arithCompiler) fold(n *Fold) (term, arithType, error) {
	f := &foldTerm{op: n.Op}
	typ, each := arithType{kind: schema.Int}, costEvent
	var err error
	switch n.Op {
	case FoldCount:
		if f.list, _, err = c.b.list(n.List, all()); err == nil {
			f.list.scan.Runs = f.list.isStored()
		}
	case FoldSum, FoldMin, FoldMax, FoldFirst, FoldLast:
		f.of, typ, f.list, err = c.overEvents(n.List, n.Of)
		each = costValue
	case FoldAverage:
		f.of, typ, f.list, err = c.overEvents(n.List, n.Of)
		f.scale, each = typ.scale, costValue
	case FoldDistinct, FoldDistinctDays:
		f.zone, each = cmp.Or(n.Zone, time.UTC), costGathered
		if f.list, _, err = c.b.list(n.List, all()); err == nil {
			err = f.needDistinct(n)
		}
	default:
		err = Errorf(CodeInternal, "no fold has the number %d", n.Op)
	}
	if err != nil {
		return nil, typ, err
	}
	if typ.kind == schema.Float && (n.Op == FoldSum || n.Op == FoldAverage) {
		each += costGathered
	}
	if f.kind = typ.kind; n.Op == FoldAverage && numeric(typ.kind) {
		typ = arithType{kind: schema.Float}
	}
	if (arithType{n.Kind, n.Scale}) != typ || (n.Op == FoldSum || n.Op == FoldAverage) && !numeric(f.kind) {
		return nil, typ, c.errorf("no such fold of a %s", f.kind)
	}
	f.result = typ
	if n.Op == FoldFirst || n.Op == FoldLast {
		err = f.list.need(schema.TimeProperty)
	}
	c.folds = append(c.folds, f)
	cost := c.b.cost(f.list, each)
	if of, ok := f.facts(n); ok && err == nil {
		cost, ok = c.b.useFacts(f.list, of, each)
		c.facts = c.facts || ok
	}
	c.cost += cost
	return f, typ, err
}

// factsMethod is how what is read from facts begins to say so.
const factsMethod = "facts, "

// facts says what a fold asks of facts, if they may know it.
func (t *foldTerm) facts(n *Fold) (of FactsOf, ok bool) {
	switch n.Op {
	case FoldCount:
		return FactsOf{}, true
	case FoldSum, FoldAverage, FoldMin, FoldMax:
		property, ok := factsProperty(n.Of)
		return FactsOf{property, n.Op == FoldSum || n.Op == FoldAverage}, ok
	}
	return FactsOf{}, false
}

// factsProperty returns the property that arithmetic is, if there may be facts of it.
func factsProperty(of Arith) (schema.AttrID, bool) {
	c, ok := of.(*Column)
	if !ok || c.Kind != schema.Int && c.Kind != schema.Decimal {
		return 0, false
	}
	return c.Attr, true
}

func numeric(k schema.Kind) bool {
	return k == schema.Int || k == schema.Float || k == schema.Decimal
}

func (t *foldTerm) needDistinct(n *Fold) error {
	if n.Op == FoldDistinctDays {
		return t.list.need(schema.TimeProperty)
	}
	a, err := attribute(t.list.view.schema, n.Property)
	if err != nil {
		return err
	}
	t.property = a
	return t.list.need(n.Property)
}

// countRange returns which counts satisfy a comparison of a count with a constant that
// small counters can decide: lo to hi, or all but these. hi is [math.MaxInt64] for none.
func countRange(n *Compare) (list *Events, lo, hi int64, not, ok bool) {
	l, r, op := n.L, n.R, n.Op
	if _, is := l.(*Literal); is {
		l, r, op = r, l, mirrored(op)
	}
	f, isFold := l.(*Fold)
	v, isLiteral := r.(*Literal)
	if !isFold || !isLiteral || f.Op != FoldCount || v.Value.Kind() != schema.Int {
		return nil, 0, 0, false, false
	}
	const none = math.MaxInt64
	switch k := v.Value.Ordered(); op {
	case EQ, NE:
		lo, hi = k, k
	case LT:
		lo, hi = 0, before(k, 1)
	case LE:
		lo, hi = 0, k
	case GT:
		lo, hi = after(k, 1), none
	default:
		lo, hi = k, none
	}
	lo = max(lo, 0)
	small := lo <= maxCounter && (hi == none || hi < maxCounter)
	return f.List, lo, hi, op == NE, small && f.Kind == schema.Int
}

// mirrored is the comparison with its sides swapped.
func mirrored(op CompareOp) CompareOp {
	switch op {
	case LT:
		return GT
	case LE:
		return GE
	case GT:
		return LT
	case GE:
		return LE
	}
	return op
}

// countIs plans the comparison of a count with a constant.
func (b *planner) countIs(n *Compare, list *Events, lo, hi int64, not bool) (*op, error) {
	switch {
	case not:
		return b.build(&Not{&Compare{Place: n.Place, Op: EQ, L: n.L, R: n.R}})
	case hi == 0:
		return b.build(&Not{&Any{n.Place, list}})
	case lo == 1 && hi == math.MaxInt64:
		return b.build(&Any{n.Place, list})
	}
	l, _, err := b.list(list, all())
	if err != nil {
		return nil, err
	}
	if lo > hi || lo == 0 && hi == math.MaxInt64 {
		return b.build(&Const{truthOf(lo <= hi)})
	}
	o := &op{node: n, span: n.Span, method: "events, counted", share: b.anyShare(l) / float64(max(1, lo)), cost: b.cost(l, costEvent/2), narrow: true}
	if lo == 0 {
		o.share = 1 - b.anyShare(l)/float64(hi+1)
	}
	l.scan.Runs = l.isStored()
	in := &countIsOp{list: l, lo: uint8(lo), hi: maxCounter, most: uint8(lo)}
	if hi < maxCounter {
		in.hi, in.most = uint8(hi), uint8(hi)+1
	}
	o.inner = in
	if cost, ok := b.useFacts(l, FactsOf{}, costEvent/2); ok {
		o.method, o.cost = factsMethod+o.method, cost
	}
	return o, nil
}
