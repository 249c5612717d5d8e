package query

import (
	"context"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// ProfileOptions shape what is told of one customer.
type ProfileOptions struct {
	Options
	Lifetime bool // what all events come to; it reads them all
	Lent     bool // what definitions of analyses say of the customer; each is run for everybody
	Events   int  // how many of the last events; 0: RecentEvents, less: none
}

// Lifetime is what all events of one type of one profile come to, up to now and as far back
// as they are kept.
type Lifetime struct {
	Event      string
	Count      uint64
	First      time.Time
	Last       time.Time
	Properties []LifetimeProperty // the numbers that some event has, in the schema's order
}

// LifetimeProperty is what a number of all events comes to.
type LifetimeProperty struct {
	Name     string
	Sum      schema.Value // absent if it is beyond what its kind holds
	Min, Max schema.Value
}

// LifetimeOf works out what the profile's events of a type come to, by the folds of the
// language; nil if there are none.
func (p *Person) LifetimeOf(ctx context.Context, e *schema.Event) (*Lifetime, error) {
	list := &Events{Event: e.ID, From: schema.MinTimestamp, To: p.env.Now.UnixMilli() + 1}
	fold := func(op FoldOp, of *schema.Attribute) (schema.Value, error) {
		f := &Fold{Op: op, List: list, Kind: schema.Int}
		if of != nil {
			f.Of, f.Kind, f.Scale = &Column{Attr: of.ID, Kind: of.Kind, Scale: of.Scale}, of.Kind, of.Scale
		}
		return p.Number(ctx, f)
	}
	n, err := fold(FoldCount, nil)
	if err != nil || n.Ordered() == 0 {
		return nil, err
	}
	out := &Lifetime{Event: e.Name, Count: uint64(n.Ordered())}
	at := timeAttribute
	first, err := fold(FoldFirst, &at)
	if err != nil {
		return nil, err
	}
	last, err := fold(FoldLast, &at)
	if err != nil {
		return nil, err
	}
	out.First, out.Last = time.UnixMilli(first.Ordered()).UTC(), time.UnixMilli(last.Ordered()).UTC()
	for i := range e.Properties {
		a := &e.Properties[i]
		if !numeric(a.Kind) {
			continue
		}
		one := LifetimeProperty{Name: a.Name}
		for _, x := range []struct {
			op FoldOp
			to *schema.Value
		}{{FoldSum, &one.Sum}, {FoldMin, &one.Min}, {FoldMax, &one.Max}} {
			if *x.to, err = fold(x.op, a); err != nil {
				return nil, err
			}
		}
		if !one.Min.IsAbsent() {
			out.Properties = append(out.Properties, one)
		}
	}
	return out, nil
}
