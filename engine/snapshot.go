package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// snapshot is one held state. It implements query.Snapshot.
type snapshot struct {
	db       *DB
	s        *state
	expires  time.Time
	age      *time.Timer  // closes it, at last; nil: it is not handed out
	mu       sync.RWMutex // held for reading by questions under way
	closed   bool
	pasts    pasts
	lendings lendings
	plans    *planCache
	policy   *underPolicy // nil: everything is visible
}

var _ query.Snapshot = (*snapshot)(nil)

// Snapshot holds the current state for questions that must agree with each other. Close
// it; after [Options.SnapshotMaxAge] its methods fail with [query.CodeSnapshotGone].
func (db *DB) Snapshot(ctx context.Context) (query.Snapshot, error) {
	n, err := db.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.age = time.AfterFunc(db.opt.SnapshotMaxAge, func() { _ = n.Close() }) // it holds nothing but memory
	return n, nil
}

func (db *DB) snapshot(ctx context.Context) (*snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return nil, errClosed()
	}
	return &snapshot{db: db, s: db.acquire(), plans: &db.plans, expires: db.opt.Clock().Add(db.opt.SnapshotMaxAge)}, nil
}

// Close lets the state go. Listings of it that are not read to the end fail.
func (n *snapshot) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		if n.age != nil {
			n.age.Stop()
		}
		n.pasts.forget()
		n.lendings.forget()
		n.policy.forget()
		n.s.era.release()
	}
	return nil
}

// use begins a question; its end releases. Neither the snapshot nor the store is closed
// under a question. Uses must not nest: a Close that waits keeps out the inner one.
func (n *snapshot) use() (release func(), err error) {
	n.db.closing.RLock()
	n.mu.RLock()
	release = func() {
		n.mu.RUnlock()
		n.db.closing.RUnlock()
	}
	switch {
	case n.db.closed:
		err = errClosed()
	case n.closed:
		err = n.tooOld()
	default:
		err = n.gone()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// useFor is use for a question that has options.
func (n *snapshot) useFor(o *query.Options) (release func(), err error) {
	if o != nil && o.Memory < 0 {
		return nil, query.Errorf(query.CodeInvalid, "Options.Memory is %d; it must not be negative", o.Memory)
	}
	return n.use()
}

// gone fails when the snapshot is too old to be read.
func (n *snapshot) gone() error {
	if n.db.opt.Clock().After(n.expires) {
		return n.tooOld()
	}
	return nil
}

func (n *snapshot) tooOld() error {
	return &query.Error{Code: query.CodeSnapshotGone, Message: "the snapshot was closed or is too old", Hint: "take a new one"}
}

// Position returns the position of the state.
func (n *snapshot) Position() query.Position { return n.s.pos }

// Schema returns the schema of the state.
func (n *snapshot) Schema(ctx context.Context) (*schema.Schema, error) {
	if n.policy != nil {
		return n.policy.told, ctx.Err()
	}
	return n.s.Schema, ctx.Err()
}

// question is a compiled and prepared expression with what its answer must carry.
type question struct {
	*reading
	root  query.Node
	p     *query.Prepared
	start time.Time
}

func (n *snapshot) ask(ctx context.Context, text string, o *query.Options) (*question, func(), error) {
	unlock, err := n.useFor(o)
	if err != nil {
		return nil, nil, err
	}
	q := &question{start: time.Now(), reading: n.read(o)}
	free, err := q.memory.Reserve(n.workingMemory(q.options.Parallelism), "the question")
	if err != nil {
		unlock()
		return nil, nil, err
	}
	release := func() {
		free()
		unlock()
	}
	expr, err := n.plans.compile(text, n.s, q.env())
	if err == nil {
		q.root = expr.Root
		err = q.uses(ctx, query.UsesOf(expr.Root))
	}
	if err == nil {
		q.p, err = query.Prepare(ctx, expr.Root, q.view)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return q, release, nil
}

// workingMemory is what a question may take: scratch of its goroutines, and one bit per
// ordinal for the members, twice (a listing in order copies them).
func (n *snapshot) workingMemory(workers int) int64 {
	const scratch = 320 << 10 // measured, see query/eval_bench_test.go
	const facts = 256 << 10   // columns of a block of lifetime facts
	return int64(workers)*(scratch+facts) + int64(n.s.End)/4
}

// fill completes an answer that the evaluator has begun.
func (q *question) fill(a *query.Answer) {
	a.Position, a.Now, a.Current, a.Elapsed = q.n.s.pos, q.options.Now, q.current, time.Since(q.start)
	for i := range q.lent {
		a.BytesRead += q.lent[i].BytesRead
	}
	a.BytesRead = q.n.told(a.BytesRead)
}

// Count counts the members of an expression.
func (n *snapshot) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	q, release, err := n.ask(ctx, expr, o)
	if err != nil {
		return query.Count{}, err
	}
	defer release()
	c, err := query.CountOf(ctx, q.view, q.p, q.options)
	if canary.Is("count") && n.s.pos.Applied%8 == 0 && c.Count > 0 {
		c.Count--
	}
	q.fill(&c.Answer)
	if err == nil {
		err = n.policy.allows(q.root, c.Count, &c.Answer)
	}
	if err != nil {
		return query.Count{}, err
	}
	return c, nil
}

// Bitmap returns the members as ordinals, bound to this store and epoch.
func (n *snapshot) Bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error) {
	if err := n.showsPeople(); err != nil {
		return query.Bitmap{}, err
	}
	q, release, err := n.ask(ctx, expr, o)
	if err != nil {
		return query.Bitmap{}, err
	}
	defer release()
	b, _, err := query.BitmapOf(ctx, q.view, q.p, q.options)
	return query.Bitmap{Store: n.db.kv.ID, Position: n.s.pos, Ordinals: b}, err
}

// countNode counts the members of a tree.
func (n *snapshot) countNode(ctx context.Context, node query.Node) (uint64, error) {
	v := n.plain(nil)
	p, err := query.Prepare(ctx, node, v)
	if err != nil {
		return 0, err
	}
	c, err := query.CountOf(ctx, v, p, query.Options{Now: n.db.now(nil), Parallelism: n.db.opt.Parallelism})
	return c.Count, err
}

// attribute finds an attribute by name; the error suggests a near one.
func (n *snapshot) attribute(name string) (*schema.Attribute, error) {
	if a := n.s.Schema.Lookup(name); a != nil {
		return a, nil
	}
	if n.s.Schema.LookupComputed(name) != nil {
		return nil, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("attribute %q is computed", name), Hint: "name one that has values of its own"}
	}
	return nil, unknownName("attribute", name, n.s.Schema.Names())
}

// field finds an attribute, be it computed, by name.
func (n *snapshot) field(name string, env query.Env) (query.Field, error) {
	if n.isLent(name) {
		v, err := n.plans.compiler.Value(&schema.Computed{Name: name, Text: name}, n.s.catalog(), env)
		if err != nil {
			return query.Field{}, err
		}
		return fieldOf(n.s.Schema, v), nil
	}
	if n.s.Schema.LookupComputed(name) == nil {
		a, err := n.attribute(name)
		if err != nil {
			return query.Field{}, err
		}
		return query.Field{Attribute: *a}, nil
	}
	all, err := n.plans.compileComputed(n.s, env)
	if err != nil {
		return query.Field{}, err
	}
	i := slices.IndexFunc(all, func(v *syntax.Value) bool { return v.Attribute.Name == name })
	v := all[i]
	if v.ReadsNow { // its plan is for another now
		if v, err = n.plans.compiler.Value(&n.s.Schema.Computed[i], n.s.catalog(), env); err != nil {
			return query.Field{}, err
		}
	}
	return query.Computed(v.Attribute, &v.Formula), nil
}

func unknownName(what, name string, known []string) error {
	e := &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no %s %q", what, name)}
	e.Hint = query.DidYouMean(name, known)
	return e
}

// Members lists the members of an expression. Read Rows to the end, or let ctx end;
// the state is held until then, at most for [Options.SnapshotMaxAge].
func (n *snapshot) Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	if err := n.showsPeople(); err != nil {
		return query.Members{}, err
	}
	if o == nil {
		o = &query.MembersOptions{}
	}
	q, release, err := n.ask(ctx, expr, &o.Options)
	if err != nil {
		return query.Members{}, err
	}
	defer release()
	return n.list(ctx, q, o, func(fields []query.Field, order *query.Field, o query.MembersOptions) (query.Members, error) {
		return query.MembersOf(ctx, n.shown(q.view), q.p, fields, order, o, n.use)
	})
}

// list resolves the names of a listing's options and makes the listing.
func (n *snapshot) list(ctx context.Context, q *question, o *query.MembersOptions, list func(fields []query.Field, order *query.Field, o query.MembersOptions) (query.Members, error)) (query.Members, error) {
	fields := make([]query.Field, len(o.Attributes))
	for i, name := range o.Attributes {
		f, err := n.column(name, q.env())
		if err != nil {
			return query.Members{}, err
		}
		fields[i] = f
	}
	var order *query.Field
	shown := fields
	if o.OrderBy != "" {
		f, err := n.field(o.OrderBy, q.env())
		if err != nil {
			return query.Members{}, err
		}
		order, shown = &f, append(slices.Clone(fields), f)
	}
	if err := q.uses(ctx, query.UsesOfFields(shown...)); err != nil {
		return query.Members{}, err
	}
	options := *o
	options.Options = q.options
	m, err := list(fields, order, options)
	if err != nil {
		return m, err
	}
	q.fill(&m.Answer)
	return m, nil
}

// Breakdown counts the members of an expression by the values of an attribute.
func (n *snapshot) Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error) {
	if o == nil {
		o = &query.BreakdownOptions{}
	}
	q, release, err := n.ask(ctx, expr, &o.Options)
	if err != nil {
		return query.Breakdown{}, err
	}
	defer release()
	by, err := n.field(attribute, q.env())
	if err != nil {
		return query.Breakdown{}, err
	}
	if err := q.uses(ctx, query.UsesOfFields(by)); err != nil {
		return query.Breakdown{}, err
	}
	options := *o
	options.Options = q.options
	b, err := n.breakdown(ctx, q, by, options)
	q.fill(&b.Answer)
	return b, err
}

// Plan counts and tells how.
func (n *snapshot) Plan(ctx context.Context, expr string, o *query.Options) (query.Plan, error) {
	if err := n.showsEstimates(); err != nil {
		return query.Plan{}, err
	}
	q, release, err := n.ask(ctx, expr, o)
	if err != nil {
		return query.Plan{}, err
	}
	defer release()
	p, err := query.PlanOf(ctx, q.view, q.p, q.options)
	q.fill(&p.Answer)
	p.Lent = q.lent
	return p, err
}

// Explain evaluates each part of an expression by itself over everybody.
func (n *snapshot) Explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error) {
	if err := n.showsEstimates(); err != nil {
		return query.Explanation{}, err
	}
	q, release, err := n.ask(ctx, expr, o)
	if err != nil {
		return query.Explanation{}, err
	}
	defer release()
	e, err := query.ExplainOf(ctx, q.view, q.root, q.options)
	q.fill(&e.Answer)
	return e, err
}

// Values lists the values of an attribute with a prefix and how many have each, as it is now.
func (n *snapshot) Values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error) {
	release, err := n.use()
	if err != nil {
		return nil, err
	}
	defer release()
	a, err := n.attribute(attribute)
	if err != nil {
		return nil, err
	}
	if n.policy.groups() {
		return n.valuesOfGroups(ctx, *a, prefix, limit)
	}
	return query.ValuesOf(ctx, n.plain(nil), *a, prefix, limit)
}

// Profile returns all that is known of the profile with a key.
func (n *snapshot) Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error) {
	return n.profile(ctx, "", key, o)
}

// ProfileBy returns the profile that has a value of a unique attribute now, whatever the
// question's instant.
func (n *snapshot) ProfileBy(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error) {
	return n.profile(ctx, attribute, value, o)
}

// ordinal finds a living profile by the value of a unique attribute; "" is the key.
func (n *snapshot) ordinal(ctx context.Context, attribute, value string) (uint32, error) {
	attr, bytes, what := schema.KeyAttr, []byte(value), fmt.Sprintf("there is no profile %q", value)
	if attribute != "" {
		a, err := n.attribute(attribute)
		if err != nil {
			return 0, err
		}
		if !a.Unique {
			return 0, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("attribute %q is not unique", attribute), Hint: "list the members with that value instead"}
		}
		v, err := schema.ParseValue(a, value, time.UTC)
		if err != nil {
			return 0, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("%s: %v", attribute, err), Err: err}
		}
		attr, bytes, what = a.ID, view.IndexBytes(v), fmt.Sprintf("no profile has %s %q", attribute, value)
	}
	cursor := view.View{S: &n.s.State}.NewCursor()
	defer cursor.Close()
	ords, err := cursor.Find(ctx, attr, bytes)
	if err == nil && len(ords) == 0 {
		err = &query.Error{Code: query.CodeUnknownName, Message: what}
	}
	if err != nil {
		return 0, err
	}
	return ords[0], nil
}

func (n *snapshot) profile(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error) {
	if err := n.showsPeople(); err != nil {
		return query.Profile{}, err
	}
	if o == nil {
		o = &query.ProfileOptions{}
	}
	release, err := n.useFor(&o.Options)
	if err != nil {
		return query.Profile{}, err
	}
	defer release()
	start, r := time.Now(), n.read(&o.Options)
	ordinal, err := n.ordinal(ctx, attribute, value)
	if err != nil {
		return query.Profile{}, err
	}
	p, lists, err := query.ProfileOf(ctx, n.shown(r.view), ordinal)
	if err != nil {
		return p, err
	}
	for name, l := range n.s.lists {
		if slices.Contains(lists, l.code) {
			p.Lists = append(p.Lists, name)
		}
	}
	slices.Sort(p.Lists)
	p.Position, p.Now = n.s.pos, r.options.Now
	r.note(n.currentOf(&o.Options, &p))
	who := query.NewPerson(r.view, n.usable(&p), n.known(lists), r.env())
	if p.Segments, err = n.segmentsOf(ctx, r, who, func(name string) bool { return !n.isOpaque(name) }); err != nil {
		return p, err
	}
	opaque, err := n.opaqueOf(ctx, r, ordinal)
	if err != nil {
		return p, err
	}
	p.Segments = append(p.Segments, opaque...)
	slices.Sort(p.Segments)
	if p.Computed, err = n.computedOf(ctx, r, who); err != nil {
		return p, err
	}
	if o.Lent {
		if p.Lent, err = n.lentTo(ctx, r, who); err != nil {
			return p, err
		}
	}
	p.Current = r.current
	if o.Lifetime {
		if p.Lifetime, err = n.lifetime(ctx, who); err != nil {
			return p, err
		}
	}
	recent, err := n.recent(ctx, r.memory, ordinal, p.Now, o.Events)
	if err != nil {
		return p, err
	}
	p.Events = recent.Events
	p.BytesRead += recent.BytesRead
	for i := range r.lent {
		p.BytesRead += r.lent[i].BytesRead
	}
	p.BytesRead, p.Elapsed = n.told(p.BytesRead), time.Since(start)
	return p, nil
}

// computedOf works out the computed attributes of a profile.
func (n *snapshot) computedOf(ctx context.Context, r *reading, who *query.Person) ([]query.AttributeValue, error) {
	all, err := n.plans.compileComputed(n.s, r.env())
	if err != nil {
		return nil, err
	}
	var out []query.AttributeValue
	for _, c := range all {
		if err := r.usesOf(ctx, who, query.UsesOfFields(query.Field{Formula: &c.Formula})); err != nil {
			return nil, err
		}
		v, err := who.Work(ctx, &c.Formula)
		if err != nil {
			return nil, fmt.Errorf("computed attribute %q: %w", c.Attribute.Name, err)
		}
		if !v.IsAbsent() && (v.Kind() != schema.Set || len(v.Elements()) > 0) {
			out = append(out, query.AttributeValue{Name: c.Attribute.Name, Value: v})
		}
	}
	return out, nil
}

// segmentsOf names the saved segments that a profile is in, of those that are wanted.
func (n *snapshot) segmentsOf(ctx context.Context, r *reading, who *query.Person, wanted func(name string) bool) ([]string, error) {
	plans, err := n.plans.compileSegments(n.s, r.env())
	if err != nil {
		return nil, err
	}
	var in []string
	walk := who.Walk(plans.forest)
	for i, p := range plans.list {
		if !wanted(p.name) {
			continue
		}
		var t query.Truth
		if p.expr.ReadsNow {
			var expr *syntax.Expr
			if expr, err = n.plans.compiler.At(p.expr, n.s.catalog(), r.env()); err == nil {
				err = r.usesOf(ctx, who, query.UsesOf(expr.Root))
			}
			if err == nil {
				t, err = who.Is(ctx, expr.Root)
			}
		} else {
			t, err = walk.Is(ctx, i)
		}
		if err != nil {
			return nil, fmt.Errorf("segment %q: %w", p.name, err)
		}
		if t == query.True {
			in = append(in, p.name)
		}
	}
	return in, nil
}
