package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// A shared segment that names what a policy hides is there for its snapshots as a column that
// is true, false or unknown for each person, as if an analysis had lent it: who asks sees
// neither its text nor what it reads. It is worked out over a second snapshot of the same
// people that has all names, once for a snapshot and instant.

// The values of the column; see [query.LentValues].
const (
	notInSegment = 1
	inSegment    = 2
)

// hide returns a shared segment as those see it who may not name what it reads.
func (s *segment) hide(name string) *segment {
	return &segment{text: schema.LentSegment + "(" + strconv.Quote(name) + ")", saved: s.saved, owner: s.owner, shared: true, opaque: true}
}

// lentSegments returns the columns of the opaque ones among segments.
func lentSegments(all map[string]*segment) (out []schema.Lent) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name].opaque {
			out = append(out, schema.Lent{Analysis: schema.LentSegment, Name: name, Fields: []schema.LentField{{Attribute: schema.Attribute{Kind: schema.Bool}}}})
		}
	}
	return out
}

// hideShared makes opaque the shared segments whose texts do not compile by themselves: not
// only because they name another one. It reports whether there was one.
func (b *policyCompiler) hideShared(env query.Env) bool {
	cat := &catalog{b.out.usable, b.out.segments, b.out.lists}
	failing := maps.Clone(b.out.segments)
	maps.DeleteFunc(failing, func(_ string, s *segment) bool {
		if !s.shared || s.opaque {
			return true
		}
		_, err := b.out.plans.compiler.Compile(s.text, cat, env)
		return err == nil
	})
	if len(failing) == 0 {
		return false
	}
	trial := maps.Clone(b.out.segments)
	for name, s := range failing {
		trial[name] = s.hide(name)
	}
	cat = &catalog{b.out.usable.Lend(slices.Concat(lentBy(b.out.definitions), lentSegments(trial))), trial, b.out.lists}
	for name, s := range failing {
		if _, err := b.out.plans.compiler.Compile(s.text, cat, env); err != nil {
			b.out.segments[name] = trial[name]
		}
	}
	return true
}

// lendSegment works out who is in an opaque segment, if nobody has.
func (r *reading) lendSegment(ctx context.Context, by *schema.Lent) error {
	one, err := r.lending.loan(ctx, by.String())
	if err != nil {
		return err
	}
	defer func() { <-one.turn }()
	if !one.done {
		if one.current, err = r.workOutSegment(ctx, by); err != nil {
			return hidden(ctx, by.String(), err)
		}
		one.done = true
	}
	r.note(one.current)
	return nil
}

// hidden is an error of working out what the caller may not see: it may name it.
func hidden(ctx context.Context, what string, err error) error {
	var e *query.Error
	if ctx.Err() != nil || !errors.As(err, &e) {
		return err
	}
	return &query.Error{Code: e.Code, Message: what + " could not be worked out", RetryAfter: e.RetryAfter}
}

// workOutSegment adds the column of an opaque segment. What it reads of the past as it is now
// is told under the segment's name.
func (r *reading) workOutSegment(ctx context.Context, by *schema.Lent) (current []string, err error) {
	start := time.Now()
	kept, err := r.memory.Reserve(int64(r.view.Chunks())*query.LentBytes, by.String())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			kept()
		}
	}()
	working, err := r.memory.Reserve(r.n.workingMemory(r.options.Parallelism), by.String())
	if err != nil {
		return nil, err
	}
	defer working()
	whole := r.n.policy.whole.readAt(r.o, r.options.Now)
	whole.options.Parallelism = r.options.Parallelism
	whole.takeFrom(r.memory)
	values, err := whole.membership(ctx, by.Name)
	if err != nil {
		return nil, err
	}
	r.lending.add(r.view.S.Lent, map[schema.AttrID]*query.LentValues{by.Fields[0].ID: values}, kept)
	cost := query.LentCost{Name: by.String(), People: values.People(), Elapsed: time.Since(start)}
	for o := r; o != nil; o = o.outer {
		o.lent = append(o.lent, cost)
	}
	if len(whole.current) > 0 {
		current = []string{by.String()}
	}
	return current, nil
}

// membership evaluates a saved segment for everybody.
func (r *reading) membership(ctx context.Context, name string) (*query.LentValues, error) {
	expr, err := r.n.plans.compile(r.n.s.segments[name].text, r.n.s, r.env())
	if err != nil {
		return nil, err
	}
	if err := r.uses(ctx, query.UsesOf(expr.Root)); err != nil {
		return nil, err
	}
	out := query.NewLentValues(&query.Lent{}, r.view.Chunks())
	for value, root := range []query.Node{notInSegment: &query.Not{Of: expr.Root}, inSegment: expr.Root} {
		if root == nil {
			continue
		}
		p, err := query.Prepare(ctx, root, r.view)
		if err != nil {
			return nil, err
		}
		words, err := query.WordsOf(ctx, r.view, p, r.options)
		if err != nil {
			return nil, err
		}
		for i, w := range words {
			for ; w != 0; w &= w - 1 {
				out.Put(uint32(i*64+bits.TrailingZeros64(w)), uint8(value))
			}
		}
	}
	return out, nil
}

// opaqueOf names the opaque segments that a profile is in: of one person no column is needed.
func (n *snapshot) opaqueOf(ctx context.Context, r *reading, ordinal uint32) ([]string, error) {
	if !n.hidesSegments() {
		return nil, nil
	}
	whole := n.policy.whole
	read := whole.readAt(r.o, r.options.Now)
	read.takeFrom(r.memory)
	p, lists, err := query.ProfileOf(ctx, read.view, ordinal)
	if err != nil {
		return nil, err
	}
	in, err := whole.segmentsOf(ctx, read, query.NewPerson(read.view, &p, lists, read.env()), n.isOpaque)
	if err != nil {
		return nil, hidden(ctx, "a shared segment", err)
	}
	plans, err := whole.plans.compileSegments(whole.s, read.env())
	if err != nil {
		return nil, err
	}
	for _, p := range plans.list {
		if n.isOpaque(p.name) && len(whole.current(r.o, p.expr.Reads())) > 0 {
			r.note([]string{n.s.segments[p.name].text})
		}
	}
	return in, nil
}

func (n *snapshot) isOpaque(name string) bool {
	return n.s.segments[name] != nil && n.s.segments[name].opaque
}

func (n *snapshot) hidesSegments() bool {
	for _, s := range n.s.segments {
		if s.opaque {
			return true
		}
	}
	return false
}

// Segments lists the saved segments by name.
func (db *DB) Segments(ctx context.Context) ([]query.SavedSegment, error) {
	return with(ctx, db, func(n *snapshot) ([]query.SavedSegment, error) { return n.Segments(ctx) })
}

// Segments lists the saved segments by name.
func (n *snapshot) Segments(ctx context.Context) ([]query.SavedSegment, error) {
	release, err := n.use()
	if err != nil {
		return nil, err
	}
	defer release()
	classes := n.whole().newClasses()
	names := slices.Sorted(maps.Keys(n.s.segments))
	var out []query.SavedSegment
	for _, name := range names {
		s := n.s.segments[name]
		e := query.SavedSegment{Name: name, Text: s.text, Saved: s.saved, Uses: s.uses, Shared: s.shared, Withheld: s.opaque, Owner: s.owner}
		if s.opaque {
			e.Text = ""
		}
		for _, other := range names {
			if slices.Contains(n.s.segments[other].uses, name) {
				e.UsedBy = append(e.UsedBy, other)
			}
		}
		if e.Classes, e.PII, err = classes.ofSegment(ctx, name); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// whole returns the snapshot with all names.
func (n *snapshot) whole() *snapshot {
	if n.policy == nil {
		return n
	}
	return n.policy.whole
}

// classes find out which data classes segments are of.
type classes struct {
	n           *snapshot
	env         query.Env
	segments    *segmentPlans             // nil: not all compile at this instant
	definitions map[string]syntax.Touched // by their calls; those that were met
}

func (n *snapshot) newClasses() *classes {
	c := &classes{n: n, env: query.Env{Now: n.db.now(nil)}, definitions: map[string]syntax.Touched{}}
	if all, err := n.plans.compileSegments(n.s, c.env); err == nil {
		c.segments = all
	}
	return c
}

// expr returns a segment, compiled.
func (c *classes) expr(name string) (*syntax.Expr, error) {
	if c.segments == nil {
		return c.n.plans.compile(c.n.s.segments[name].text, c.n.s, c.env)
	}
	i, _ := slices.BinarySearchFunc(c.segments.list, name, func(p segmentPlan, name string) int { return strings.Compare(p.name, name) })
	return c.segments.list[i].expr, nil // it has all that there are
}

// ofSegment returns the classes of a segment. One that means nothing at this instant is said
// to be of all: it must be listed nevertheless, so that it can be mended.
func (c *classes) ofSegment(ctx context.Context, name string) (all []schema.DataClass, pii bool, err error) {
	expr, err := c.expr(name)
	var touched syntax.Touched
	if err == nil {
		touched = expr.Touched()
		err = c.lent(ctx, &touched)
	}
	if err != nil {
		for class := schema.ClassNone + 1; class <= schema.Correspondence; class++ {
			all = append(all, class)
		}
		return all, true, ctx.Err()
	}
	add := func(class schema.DataClass, personal bool) {
		if class != schema.ClassNone {
			all = append(all, class)
		}
		pii = pii || personal
	}
	s := c.n.s.Schema
	for _, id := range touched.Attributes {
		if a := s.ByID(id); a != nil && id < schema.FirstLent {
			add(a.Class, a.PII)
		}
	}
	for _, id := range touched.Events {
		add(s.EventByID(id).Class, false)
	}
	for _, id := range touched.Properties {
		if of, p := s.Property(id); p != nil {
			add(cmp.Or(p.Class, of.Class), p.PII)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), pii, nil
}

// lent adds what the definitions read that a text names, and those that they name. None leads
// back to itself.
func (c *classes) lent(ctx context.Context, t *syntax.Touched) error {
	for _, id := range t.Attributes {
		by := c.n.s.Schema.LentBy(id)
		if by == nil {
			continue
		}
		key := by.String()
		of, known := c.definitions[key]
		if !known {
			var err error
			if of, err = c.n.s.definitions[key].touched(ctx, c.n.plans.compiler, view.View{S: &c.n.s.State}, c.n.s.catalog(), c.env); err != nil {
				return err
			}
			if err := c.lent(ctx, &of); err != nil {
				return err
			}
			c.definitions[key] = of
		}
		t.Add(of)
	}
	return nil
}
