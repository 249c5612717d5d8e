package query

import (
	"context"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// WhyOptions shape the answer to "why is this person in, or not".
type WhyOptions struct {
	Options
	By string // a unique attribute, whose value the key is then; "": the key
}

// MaxWhyEvents is how many events of a list a Why shows: what fits on a screen.
const MaxWhyEvents = 20

// Verdict is what an expression is for one profile.
type Verdict struct {
	Truth  Truth
	Failed bool // unknown because a part overflowed or divided by zero
}

// String returns "true", "false", "unknown" or "error".
func (v Verdict) String() string {
	if v.Failed {
		return "error"
	}
	return [...]string{"false", "true", "unknown"}[v.Truth]
}

// Why is an expression for one profile, part by part.
type Why struct {
	Key     string
	Ordinal uint32
	Root    WhyPart
	Next    NextChange
	Answer
}

// WhyPart is one part of an expression. All parts have been evaluated, also those that
// decide nothing.
type WhyPart struct {
	Text string // as it was written
	Op   string // "and", "or", "not", "if" (condition, then, else), "segment", "computed"; "": a test
	Verdict
	Values []AttributeValue // of a test: what it was decided on; absent ones have no value
	Lists  []WhyEvents
	Of     []WhyPart
}

// WhyEvents are the events that a test was decided on.
type WhyEvents struct {
	List    string          // which, as plans write it
	Total   uint64          // how many there are
	Unknown uint64          // beside these: for how many a condition is unknown, so that they are not in the list
	Events  []TimelineEvent // those that decide, else the last MaxWhyEvents; the newest first
}

// NextChange is the first later instant at which the answer is another one, if nothing is
// written until then.
type NextChange struct {
	At           time.Time // zero: never, or it cannot be said
	To           Verdict   // what it is from then on
	Refused      string    // why the expression means nothing from then on: a window does not end after it begins
	NotDerivable string    // why it cannot be said when, with the part of the text that is the cause
}

// Basis is what a test is decided on for one profile: values of attributes, numbers made of
// events, and events. It decides nothing: that is what [Person.Judge] does.
func (p *Person) Basis(ctx context.Context, n Node) (values []AttributeValue, lists []WhyEvents, err error) {
	b := &basis{p: p, ctx: ctx, seen: make(map[string]bool)}
	for _, id := range UsesOf(n).Attributes {
		b.attribute(id)
	}
	err = b.node(n)
	return b.values, b.lists, err
}

// basis collects what nodes are decided on, everything once.
type basis struct {
	p      *Person
	ctx    context.Context // of Basis
	seen   map[string]bool
	values []AttributeValue
	lists  []WhyEvents
}

// first reports whether something is met for the first time.
func (b *basis) first(what string) bool {
	if b.seen[what] {
		return false
	}
	b.seen[what] = true
	return true
}

func (b *basis) all(of []Node) error {
	for _, n := range of {
		if err := b.node(n); err != nil {
			return err
		}
	}
	return nil
}

// node adds what events a node is decided on, and what they come to.
func (b *basis) node(n Node) error {
	switch n := n.(type) {
	case *And:
		return b.all(n.Of)
	case *Or:
		return b.all(n.Of)
	case *Not:
		return b.node(n.Of)
	case *Segment:
		return b.node(n.Of)
	case *If:
		return b.all([]Node{n.Cond, n.Then, n.Else})
	case *Compare:
		if err := b.arith(n.L); err != nil {
			return err
		}
		return b.arith(n.R)
	case *Any:
		return b.list(n.List, keepLast)
	case *OneIs:
		return b.list(n.List, endOf(n.Last))
	case *Sequence:
		return b.sequence(n)
	case *AverageIs:
		return b.arith(&Fold{Op: FoldAverage, List: n.List, Of: n.Of, Kind: schema.Float})
	case *Residual:
		if len(n.Lists) > 0 {
			b.attribute(schema.ListsAttr)
		}
		for _, id := range n.Events {
			if err := b.list(&Events{Event: id, From: schema.MinTimestamp, To: b.p.env.Now.UnixMilli() + 1}, keepLast); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *basis) attribute(id schema.AttrID) {
	a, err := attribute(b.p.view.Schema(), id)
	if err == nil && b.first("attribute "+a.Name) {
		b.values = append(b.values, AttributeValue{Name: a.Name, Value: b.p.Value(id)})
	}
}

func (b *basis) arith(n Arith) error {
	switch n := n.(type) {
	case *Binary:
		if err := b.arith(n.L); err != nil {
			return err
		}
		return b.arith(n.R)
	case *Negate:
		return b.arith(n.Of)
	case *Convert:
		return b.arith(n.Of)
	case *Fold:
		return b.fold(n)
	}
	return nil
}

func (b *basis) fold(f *Fold) error {
	if name := foldLabel(b.p.view.Schema(), f); b.first("fold " + name) {
		v, err := b.p.Number(b.ctx, f)
		if err != nil {
			return err
		}
		b.values = append(b.values, AttributeValue{Name: name, Value: v})
	}
	switch f.Op {
	case FoldFirst, FoldLast:
		return b.list(f.List, endOf(f.Op == FoldLast))
	}
	return b.list(f.List, keepLast)
}

// list adds the events of a list, and those that have to have been before them.
func (b *basis) list(e *Events, keep whichEvents) error {
	name := listLabel(b.p.view.Schema(), e)
	if !b.first([...]string{"list ", "first ", "last "}[keep] + name) {
		return nil
	}
	out, err := b.p.events(b.ctx, e, keep)
	if err != nil {
		return err
	}
	out.List = name
	b.lists = append(b.lists, out)
	if e.Then != nil {
		return b.list(e.Then.After, keepLast)
	}
	return nil
}

// sequence adds the events that follow each other as wanted; if there are none, the last
// of each list.
func (b *basis) sequence(n *Sequence) error {
	times, err := b.p.following(b.ctx, n)
	if err != nil {
		return err
	}
	for i, e := range n.Of {
		out, err := b.p.events(b.ctx, e, keepLast)
		if err != nil {
			return err
		}
		if times != nil {
			one := *e
			one.From, one.To = times[i], times[i]+1
			those, err := b.p.events(b.ctx, &one, keepLast)
			if err != nil {
				return err
			}
			out.Events = those.Events
		}
		out.List = listLabel(b.p.view.Schema(), e)
		b.lists = append(b.lists, out)
	}
	return nil
}
