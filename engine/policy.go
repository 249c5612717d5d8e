package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// maxPolicies bounds how many policies are kept compiled: roles are some dozens. Each has
// compiled texts of its own.
const maxPolicies = 64

// policyCache keeps compiled policies by their [query.Policy.Names].
type policyCache struct {
	mu  sync.Mutex
	all map[string]*policy
}

// policy is what a [query.Policy] says of the names of a state. It never changes.
type policy struct {
	of    *schema.Schema
	names uint64 // of the state

	usable *schema.Schema // what may be named
	told   *schema.Schema // that, without what stands for segments
	stored *schema.Schema // that, and what is masked, as it is stored
	shown  *schema.Schema // that, with what is masked as inline strings
	masked map[schema.AttrID]bool

	segments    map[string]*segment
	lists       map[string]*list
	definitions map[string]*definition

	plans planCache
}

// underPolicy is what a snapshot has of its policy. A nil one allows everything.
type underPolicy struct {
	*policy
	minGroup uint64 // 0 and 1: any
	living   uint64 // who exists, if there is a minGroup
	rows     bool   // that is not everybody
	free     func() // of the memory of the rows

	hides bool      // there may be names that are hidden
	whole *snapshot // of the same people, with all names; nobody is given it
}

func (u *underPolicy) forget() {
	if u != nil {
		u.free()
		u.whole.pasts.forget()
		u.whole.lendings.forget()
	}
}

// SnapshotWith is [DB.Snapshot] with options. Of a policy's errors those of its Rows have the
// codes of an expression that is wrong; a rule for a name that is not there has
// [query.CodeUnknownName]. They may tell of what the policy hides: they are for whoever made it.
func (db *DB) SnapshotWith(ctx context.Context, o *query.SnapshotOptions) (query.Snapshot, error) {
	if o == nil || o.Policy == nil {
		return db.Snapshot(ctx)
	}
	if err := o.Policy.Validate(); err != nil {
		return nil, err
	}
	whole, err := db.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	n, err := whole.under(ctx, o.Policy)
	if err != nil {
		_ = whole.Close() // it holds nothing but memory
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.age = time.AfterFunc(db.opt.SnapshotMaxAge, func() { _ = n.Close() }) // as above
	return n, nil
}

// under makes a snapshot of what a policy leaves of this one, which is to be given up for it
// unless there is an error.
func (n *snapshot) under(ctx context.Context, p *query.Policy) (*snapshot, error) {
	compiled, err := n.db.policyOf(ctx, n.s, p)
	if err != nil {
		return nil, err
	}
	u := &underPolicy{policy: compiled, minGroup: uint64(p.MinGroup), rows: p.Rows != "", free: func() {}}
	s, whole := compiled.restrict(n.s), *n.s
	if u.rows {
		if s.Rows, u.free, err = n.rowsOf(ctx, p.Rows); err != nil {
			return nil, fmt.Errorf("the rows of the policy: %w", err)
		}
	}
	whole.Rows = s.Rows
	u.hides = p.Names() != new(query.Policy).Names()
	u.whole = &snapshot{db: n.db, s: &whole, expires: n.expires, plans: n.plans}
	out := &snapshot{db: n.db, s: s, expires: n.expires, plans: &compiled.plans, policy: u}
	if u.groups() {
		u.living, err = out.living(ctx)
	}
	if err != nil {
		u.free()
		return nil, err
	}
	n.lendings.forget() // that of the rows
	return out, nil
}

// rowsOf returns for whom an expression is true, and what frees the memory.
func (n *snapshot) rowsOf(ctx context.Context, expr string) (*view.Rows, func(), error) {
	q, release, err := n.ask(ctx, expr, nil)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	free, err := q.memory.Reserve(int64(q.view.Chunks())*bitmap.ChunkSize/8, "the people of a policy")
	if err != nil {
		return nil, nil, err
	}
	words, err := query.WordsOf(ctx, q.view, q.p, q.options)
	if err != nil {
		free()
		return nil, nil, err
	}
	living, _ := q.view.ExistsCount(schema.KeyAttr)
	return view.NewRows(words, living), free, nil
}

// living counts who exists.
func (n *snapshot) living(ctx context.Context) (uint64, error) {
	release, err := n.use()
	if err != nil {
		return 0, err
	}
	defer release()
	return n.countNode(ctx, &query.Const{Value: query.True})
}

// restrict returns a state without the names that are hidden.
func (p *policy) restrict(s *state) *state {
	out := *s
	out.Schema, out.segments, out.lists, out.definitions = p.usable, p.segments, p.lists, p.definitions
	return &out
}

// policyOf compiles a policy for a state, unless that has been done.
func (db *DB) policyOf(ctx context.Context, s *state, p *query.Policy) (*policy, error) {
	key, c := p.Names(), &db.policies
	c.mu.Lock()
	known := c.all[key]
	c.mu.Unlock()
	if known != nil && known.names == s.names && known.of == s.Schema {
		return known, nil
	}
	b := &policyCompiler{db: db, s: s, p: p, out: &policy{of: s.Schema, names: s.names}, rules: make(map[query.PolicyRule]query.Access, len(p.Rules))}
	b.out.plans.compiler = syntax.NewCompiler(lenders()...) // what it knows of is one schema
	if err := b.compile(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxPolicies {
		c.all = map[string]*policy{}
	}
	c.all[key] = b.out
	return b.out, nil
}

// policyCompiler makes a policy.
type policyCompiler struct {
	db    *DB
	s     *state
	p     *query.Policy
	out   *policy
	rules map[query.PolicyRule]query.Access // by what they are about; those that were met are taken out

	usable, stored, shown tables
	computed              []schema.Computed
}

// tables are what a schema is made of.
type tables struct {
	attributes []schema.Attribute
	events     []schema.Event
}

func (b *policyCompiler) compile(ctx context.Context) error {
	for _, r := range b.p.Rules {
		access := r.Access
		r.Access = 0
		b.rules[r] = access
	}
	b.out.masked = map[schema.AttrID]bool{}
	for i := range b.s.Schema.Attributes {
		b.attribute(&b.s.Schema.Attributes[i])
	}
	for i := range b.s.Schema.Events {
		b.event(&b.s.Schema.Events[i])
	}
	if err := b.others(); err != nil {
		return err
	}
	if len(b.rules) > 0 {
		var missing []string
		for r := range b.rules {
			missing = append(missing, r.String())
		}
		return &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("a policy has a rule for the %s, which is not there", slices.Min(missing)), Hint: "rename it in the policy, or take the rule out"}
	}
	return b.fitting(ctx)
}

// access returns what becomes of a thing, and takes its rule out.
func (b *policyCompiler) access(of query.PolicyRule, otherwise query.Access) query.Access {
	if access, ok := b.rules[of]; ok {
		delete(b.rules, of)
		return access
	}
	return otherwise
}

func (b *policyCompiler) attribute(a *schema.Attribute) {
	switch b.access(query.PolicyRule{Attribute: a.Name}, b.p.Access(a.Class, a.PII)) {
	case query.Visible:
		b.usable.attributes = append(b.usable.attributes, *a)
		b.stored.attributes = append(b.stored.attributes, *a)
		b.shown.attributes = append(b.shown.attributes, *a)
	case query.Masked:
		b.out.masked[a.ID] = true
		b.stored.attributes = append(b.stored.attributes, *a)
		b.shown.attributes = append(b.shown.attributes, maskOf(a))
	}
}

// maskOf is the definition of a masked attribute or property: all that is shown of it.
func maskOf(a *schema.Attribute) schema.Attribute {
	return schema.Attribute{ID: a.ID, Changes: a.Changes, Name: a.Name, Kind: schema.String, Storage: schema.StorageInline,
		Class: a.Class, PII: a.PII, History: a.History, Deprecated: a.Deprecated}
}

func (b *policyCompiler) event(e *schema.Event) {
	access := b.access(query.PolicyRule{Event: e.Name}, b.p.Access(e.Class, false))
	usable, stored, shown := *e, *e, *e
	usable.Properties, stored.Properties, shown.Properties = nil, nil, nil
	for i := range e.Properties {
		p := &e.Properties[i]
		switch max(access, b.access(query.PolicyRule{Event: e.Name, Property: p.Name}, b.p.Access(cmp.Or(p.Class, e.Class), p.PII))) {
		case query.Visible:
			usable.Properties = append(usable.Properties, *p)
			stored.Properties = append(stored.Properties, *p)
			shown.Properties = append(shown.Properties, *p)
		case query.Masked:
			b.out.masked[p.ID] = true
			stored.Properties = append(stored.Properties, *p)
			shown.Properties = append(shown.Properties, maskOf(p))
		}
	}
	if len(usable.Properties) < len(e.Properties) { // they are stored in an order in which the others have a part
		usable.Reduced, stored.Reduced, shown.Reduced = true, true, true
	}
	if access == query.Visible {
		b.usable.events = append(b.usable.events, usable)
	}
	if access != query.Hidden {
		b.stored.events, b.shown.events = append(b.stored.events, stored), append(b.shown.events, shown)
	}
}

// others looks at what has a name and no values of its own.
func (b *policyCompiler) others() error {
	for _, c := range b.s.Schema.Computed {
		switch b.access(query.PolicyRule{Attribute: c.Name}, query.Visible) {
		case query.Visible:
			b.computed = append(b.computed, c)
		case query.Masked:
			return query.Errorf(query.CodeInvalid, "the computed attribute %q cannot be masked: it is visible or hidden", c.Name)
		}
	}
	b.out.segments, b.out.lists, b.out.definitions = map[string]*segment{}, map[string]*list{}, maps.Clone(b.s.definitions)
	for name, s := range b.s.segments {
		if b.access(query.PolicyRule{Segment: name}, query.Visible) == query.Visible {
			b.out.segments[name] = s
		}
	}
	for name, l := range b.s.lists {
		if b.access(query.PolicyRule{List: name}, query.Visible) == query.Visible {
			b.out.lists[name] = l
		}
	}
	return nil
}

// fitting leaves out the texts that do not compile over what is left, until all do.
func (b *policyCompiler) fitting(ctx context.Context) error {
	env := query.Env{Now: b.db.now(nil)}
	for all := false; !all; {
		b.out.usable = b.schema(b.usable)
		if b.hideShared(env) {
			continue // those that stay are to be looked at with it
		}
		all = true
		cat := &catalog{b.out.usable, b.out.segments, b.out.lists}
		left := b.computed[:0:0]
		for _, c := range b.computed {
			if _, err := b.out.plans.compiler.Value(&c, cat, env); err == nil {
				left = append(left, c)
			}
		}
		segments, definitions := map[string]*segment{}, map[string]*definition{}
		for name, s := range b.out.segments {
			if _, err := b.out.plans.compiler.Compile(s.text, cat, env); err == nil {
				segments[name] = s
			}
		}
		state := b.s.State
		state.Schema = b.out.usable
		for key, d := range b.out.definitions {
			if _, err := d.reads(ctx, b.out.plans.compiler, view.View{S: &state}, cat, env); err == nil {
				definitions[key] = d
			}
		}
		if err := ctx.Err(); err != nil { // it may have been the cause
			return err
		}
		if len(left) < len(b.computed) || len(segments) < len(b.out.segments) || len(definitions) < len(b.out.definitions) {
			all = false
		}
		b.computed, b.out.segments, b.out.definitions = left, segments, definitions
	}
	b.out.stored, b.out.shown, b.out.told = b.schema(b.stored), b.schema(b.shown), b.out.usable.Lend(lentBy(b.out.definitions))
	return nil
}

// schema makes a schema of tables.
func (b *policyCompiler) schema(t tables) *schema.Schema {
	out := schema.New(b.s.Schema.Version, b.s.Schema.NextID, t.attributes, t.events...)
	out.Computed, out.ForgottenIDs = b.computed, b.s.Schema.ForgottenIDs
	return out.Lend(slices.Concat(lentBy(b.out.definitions), lentSegments(b.out.segments)))
}

// storedSchema has all that is visible or masked, as it is stored.
func (n *snapshot) storedSchema() *schema.Schema {
	if n.policy == nil {
		return n.s.Schema
	}
	return n.policy.stored
}

// shownSchema has all that is visible, and what is masked as inline strings.
func (n *snapshot) shownSchema() *schema.Schema {
	if n.policy == nil {
		return n.s.Schema
	}
	return n.policy.shown
}

func (n *snapshot) masks() bool { return n.policy != nil && len(n.policy.masked) > 0 }

// stored returns the state with all that is visible or masked.
func (n *snapshot) stored() *view.State {
	if !n.masks() {
		return &n.s.State
	}
	s := n.s.State
	s.Schema = n.policy.stored
	return &s
}

// shown returns the view for showing people whom another one tells of: with what is masked.
func (n *snapshot) shown(v view.View) query.View {
	if !n.masks() {
		return v
	}
	s := *v.S
	s.Schema, v.S = n.policy.stored, &s
	return view.NewMasked(v, n.policy.shown, n.policy.masked)
}

// column finds what a listing can show, by name.
func (n *snapshot) column(name string, env query.Env) (query.Field, error) {
	if n.masks() {
		if a := n.policy.shown.Lookup(name); a != nil && n.policy.masked[a.ID] {
			return query.Field{Attribute: *a}, nil
		}
	}
	return n.field(name, env)
}

// usable returns a profile without the values that are masked: what expressions read of it.
func (n *snapshot) usable(p *query.Profile) *query.Profile {
	if !n.masks() {
		return p
	}
	out := *p
	out.Values = slices.DeleteFunc(slices.Clone(p.Values), func(v query.AttributeValue) bool { return n.s.Schema.Lookup(v.Name) == nil })
	return &out
}

// known leaves out the codes of lists that are hidden.
func (n *snapshot) known(lists []uint32) []uint32 {
	if n.policy == nil {
		return lists
	}
	return slices.DeleteFunc(slices.Clone(lists), func(code uint32) bool {
		for _, l := range n.s.lists {
			if l.code == code {
				return false
			}
		}
		return true
	})
}

// told returns how many bytes are said to have been read: those of others may be among them.
func (n *snapshot) told(bytes uint64) uint64 {
	if n.policy != nil {
		return 0
	}
	return bytes
}
