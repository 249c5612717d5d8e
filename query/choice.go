package query

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Choice is a plan of a [Formula]: for each profile, one of several results. Either If, Then
// and Else are set, or one of the others, or none: then there is no value.
type Choice struct {
	If         Node // unknown: there is no value
	Then, Else *Choice
	Value      schema.Value  // the same for everybody
	Test       Node          // true or false; unknown: there is no value
	Of         Arith         // a calculation
	Attr       schema.AttrID // an attribute's own value; 0: none
}

// choicePlan is a Choice made ready for one view. It is immutable.
type choicePlan struct {
	p     *Prepared // of its conditions; it has no root
	found []found
	root  *choiceOp
}

// choiceOp is one Choice.
type choiceOp struct {
	test            *op // of If or Test
	then, otherwise *choiceOp
	value           schema.Value
	of              term
	typ             arithType
	folds           []*foldTerm
	stored          *schema.Attribute
}

func (b *planner) choice(ctx context.Context, root *Choice) (*choicePlan, error) {
	top, err := b.choiceOp(root)
	if err != nil {
		return nil, err
	}
	c := &choicePlan{p: b.p, root: top}
	c.found, err = b.p.lookUp(ctx, b.view)
	return c, err
}

func (b *planner) choiceOp(c *Choice) (*choiceOp, error) {
	out := &choiceOp{value: c.Value}
	var err error
	switch {
	case c.If != nil:
		if out.then, err = b.choiceOp(c.Then); err != nil {
			return nil, err
		}
		if out.otherwise, err = b.choiceOp(c.Else); err != nil {
			return nil, err
		}
		out.test, err = b.branchTest(c.If)
	case c.Test != nil:
		out.test, err = b.branchTest(c.Test)
	case c.Of != nil:
		a := &arithCompiler{b: b}
		out.of, out.typ, err = a.compile(c.Of)
		out.folds = a.folds
	case c.Attr != 0:
		var a schema.Attribute
		a, err = b.attribute(c.Attr, Span{})
		out.stored = &a
	}
	return out, err
}

func (b *planner) branchTest(n Node) (*op, error) {
	n, err := simplify(n)
	if err != nil {
		return nil, err
	}
	o, err := b.build(n)
	if err == nil {
		b.p.number(o)
	}
	return o, err
}

// results take what a plan says of profiles, each once, in no order.
type results interface {
	all(who bitmap.Set, v schema.Value) error
	one(ord uint16, v schema.Value) error
}

// each gives the results of some profiles of the chunk that w has begun.
func (c *choicePlan) each(ctx context.Context, w *worker, who bitmap.Set, to results) error {
	own := w.choices[c]
	if own == nil {
		own = &worker{view: w.view, env: w.env, found: c.found, stats: make([]nodeStats, len(c.p.ops))}
		if w.choices == nil {
			w.choices = make(map[*choicePlan]*worker)
		}
		w.choices[c] = own
	}
	own.cur, own.chunk, own.live, own.liveCount = w.cur, w.chunk, w.live, w.liveCount
	own.used, own.holding, own.depth = 0, 0, 0
	return c.root.each(ctx, own, who, to)
}

func (o *choiceOp) each(ctx context.Context, w *worker, who bitmap.Set, to results) error {
	switch {
	case who.IsEmpty():
		return nil
	case o.test != nil:
		return o.tested(ctx, w, who, to)
	case o.of != nil:
		return o.calculated(ctx, w, who, to)
	case o.stored != nil:
		return o.own(ctx, w, who, to)
	}
	return to.all(who, o.value)
}

// tested gives the results of a condition, or of what it leads to.
func (o *choiceOp) tested(ctx context.Context, w *worker, who bitmap.Set, to results) error {
	defer w.release(w.used) // a tree of choices takes as many buffers as it is deep
	r, err := w.eval(ctx, o.test, w.hold(who))
	if err != nil {
		return err
	}
	yes, maybe := bitmap.And(who, r.yes, w.grab()), r.yes
	if !r.exact {
		maybe = r.maybe
		unknown := bitmap.AndNot(bitmap.And(who, maybe, w.grab()), yes, w.grab())
		if err := to.all(unknown, schema.Value{}); err != nil {
			return err
		}
	}
	no := bitmap.AndNot(who, maybe, w.grab())
	if o.then == nil {
		if err := to.all(yes, schema.BoolValue(true)); err != nil {
			return err
		}
		return to.all(no, schema.BoolValue(false))
	}
	if err := o.then.each(ctx, w, yes, to); err != nil {
		return err
	}
	return o.otherwise.each(ctx, w, no, to)
}

func (o *choiceOp) calculated(ctx context.Context, w *worker, who bitmap.Set, to results) error {
	if len(o.folds) > 0 {
		within := w.hold(who)
		e := w.eventsOf(within)
		defer e.release(e.mark())
		for _, f := range o.folds {
			if err := f.run(ctx, w, within); err != nil {
				return err
			}
		}
	}
	v := w.gather.vector()
	defer func() { w.gather.depth-- }()
	return w.gather.each(ctx, who, func(ords []uint16) error {
		if err := o.of.eval(w, ords, v); err != nil {
			return err
		}
		for i, ord := range ords {
			var x schema.Value
			switch {
			case v.st[i] != stateOK:
			case o.typ.kind == schema.Float:
				x = schema.FloatValue(v.f[i])
			default:
				x = schema.FromOrdered(o.typ.kind, o.typ.scale, v.n[i])
			}
			if err := to.one(ord, x); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o *choiceOp) own(ctx context.Context, w *worker, who bitmap.Set, to results) error {
	reader := valueReader{view: w.view, attr: *o.stored}
	values := make([]schema.Value, batchSize)
	return w.gather.each(ctx, who, func(ords []uint16) error {
		if err := reader.read(w.cur, w.chunk, ords, values, 1); err != nil {
			return err
		}
		for i, ord := range ords {
			if err := to.one(ord, values[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// column is the results of some profiles as a column of values, by ordinal.
type column struct {
	ords   []uint16 // ascending
	dst    []schema.Value
	stride int
	some   []uint16
}

func (c *column) one(ord uint16, v schema.Value) error {
	i, _ := slices.BinarySearch(c.ords, ord)
	c.dst[i*c.stride] = v
	return nil
}

func (c *column) all(who bitmap.Set, v schema.Value) error {
	c.some = who.AppendTo(c.some[:0])
	for _, ord := range c.some {
		if err := c.one(ord, v); err != nil {
			return err
		}
	}
	return nil
}
