package query

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// refResult is what the reference says of a node over a whole view.
type refResult struct {
	truth  map[uint32]Truth
	yes    []uint32
	counts tally
}

func reference(v *memView, n Node) refResult {
	r := refResult{truth: map[uint32]Truth{}}
	type outcome struct {
		t      Truth
		failed bool
	}
	seen := map[*memProfile]outcome{} // dense views have many alike
	for _, o := range v.ords {
		p := v.profiles[o]
		of, ok := seen[p]
		if !ok {
			of.t, of.failed = refEval(v, n, p)
			seen[p] = of
		}
		t, failed := of.t, of.failed
		r.truth[o] = t
		switch t {
		case True:
			r.yes = append(r.yes, o)
			r.counts.yes++
		case Unknown:
			r.counts.unknown++
			if failed {
				r.counts.failed++
			}
		}
	}
	return r
}

func describe(n Node) string {
	var kids []Node
	switch n := n.(type) {
	case *And:
		kids = n.Of
	case *Or:
		kids = n.Of
	case *Not:
		kids = []Node{n.Of}
	case *Segment:
		kids = []Node{n.Of}
	case *If:
		kids = []Node{n.Cond, n.Then, n.Else}
	default:
		return label(memSchema(), n)
	}
	s := label(memSchema(), n) + "("
	for _, k := range kids {
		s += describe(k) + "; "
	}
	return s + ")"
}

// notRaced leaves a test out of the short run, which is the race detector's: nothing in it runs
// beside anything.
func notRaced(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it runs in make test; the race detector makes it ten times slower and finds nothing in it")
	}
}

func TestRandomTrees(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	views, trees, size := 20, 80, 100
	if testing.Short() {
		views = 3
	}
	kinds, errors, unknowns := map[string]int{}, uint64(0), uint64(0)
	for i := range views {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := randomView(r, size)
		for j := range trees {
			n := randomTree(r, v.schema, r.IntN(5))
			want := reference(v, n)
			errors += want.counts.failed
			unknowns += want.counts.unknown
			c := &checker{t: t, r: r, v: v, tree: n, want: want}
			if c.check(j, kinds); t.Failed() {
				t.Fatalf("seed %d, view %d, tree %d: %.2000s", seed, i, j, describe(n))
			}
		}
		if n := v.cursors.Load(); n != 0 {
			t.Fatalf("%d cursors were left open", n)
		}
	}
	for _, m := range []string{"rows", "presence", "find", "range", "range, then values", "codes column", "dictionary, then rows",
		"dictionary, then codes column", "text of each profile", "columns", "per profile", "and", "or", "not", "segment", "if", "constant"} {
		if kinds[m] < 20 && !testing.Short() {
			t.Errorf("method %q was hit %d times only", m, kinds[m])
		}
	}
	if errors == 0 || unknowns == 0 {
		t.Errorf("%d errors, %d unknowns: the test tests too little", errors, unknowns)
	}
}

func TestRandomTreesDense(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	views := 2
	if testing.Short() {
		views = 1
	}
	for i := range views {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := denseView(r)
		for j := range 15 {
			n := randomTree(r, v.schema, r.IntN(4))
			if j%2 == 0 { // of so many, events are added up by ordinal
				n = randomEventNode(r, v.schema, Place{Span: Span{1, 2}})
			}
			c := &checker{t: t, r: r, v: v, tree: n, want: reference(v, n), alike: true}
			if c.check(j, map[string]int{}); t.Failed() {
				t.Fatalf("seed %d, view %d, tree %d: %.2000s", seed, i, j, describe(n))
			}
		}
	}
}

// checker compares everything that is said of one tree with the reference.
type checker struct {
	t    *testing.T
	r    *rand.Rand
	v    *memView
	tree Node
	want refResult
	p    *Prepared
	o    Options

	alike bool // keys are not unique
}

// prepare notes the methods of the plan.
func (c *checker) prepare(kinds map[string]int) bool {
	p, err := Prepare(context.Background(), c.tree, c.v)
	if err != nil {
		c.t.Error(err)
		return false
	}
	for _, o := range p.ops {
		kinds[o.method]++
	}
	c.p, c.o = p, Options{Now: time.UnixMilli(memNow), Parallelism: 1 + c.r.IntN(3)}
	return true
}

func (c *checker) check(j int, kinds map[string]int) {
	if !c.prepare(kinds) {
		return
	}
	c.sets()
	c.counts()
	if j%4 == 0 {
		c.explain()
		c.breakdown()
	}
	if j%10 == 0 {
		c.listing()
	}
}

// sets checks the truth of every profile.
func (c *checker) sets() {
	got := make(map[uint32]Truth)
	_, err := runAll(context.Background(), c.v, c.p, Options{Now: c.o.Now, Parallelism: 1}, false, func() visitor {
		return func(ctx context.Context, w *worker) error {
			r, err := w.members(ctx, c.p)
			if err != nil {
				return err
			}
			if r.exact {
				r.maybe = r.yes
			}
			for _, o := range w.live.AppendTo(nil) {
				ord := uint32(w.chunk)<<bitmap.ChunkBits | uint32(o)
				switch yes, maybe := r.yes.Contains(o), r.maybe.Contains(o); {
				case yes && maybe:
					got[ord] = True
				case maybe:
					got[ord] = Unknown
				case yes:
					return fmt.Errorf("%d is in yes and not in maybe", ord)
				default:
					got[ord] = False
				}
			}
			if n := bitmap.AndNot(r.maybe, w.live, w.grab()).Count(); n != 0 {
				return fmt.Errorf("%d members do not live", n)
			}
			return nil
		}
	})
	if err != nil {
		c.t.Error(err)
		return
	}
	if !maps.Equal(got, c.want.truth) {
		for o, t := range c.want.truth {
			if got[o] != t {
				c.t.Errorf("ordinal %d: got %d, want %d", o, got[o], t)
				return
			}
		}
	}
}

func (c *checker) counts() {
	ctx := context.Background()
	w := c.want.counts
	check := func(what string, count uint64, a Answer, err error) {
		c.t.Helper()
		if err != nil || count != w.yes || a.Unknown != w.unknown || a.Errors != w.failed {
			c.t.Errorf("%s: %d yes, %d unknown, %d errors, %v; want %d, %d, %d", what, count, a.Unknown, a.Errors, err, w.yes, w.unknown, w.failed)
		}
	}
	n, err := CountOf(ctx, c.v, c.p, c.o)
	check("CountOf", n.Count, n.Answer, err)
	bm, n, err := BitmapOf(ctx, c.v, c.p, c.o)
	check("BitmapOf", n.Count, n.Answer, err)
	if err == nil && !slices.Equal(bm.ToArray(), c.want.yes) {
		c.t.Errorf("BitmapOf has other members")
	}
	var got []uint32
	n, err = ForEachChunk(ctx, c.v, c.p, c.o, func(chunk int, yes bitmap.Set) error {
		for _, o := range yes.AppendTo(nil) {
			got = append(got, uint32(chunk)<<bitmap.ChunkBits|uint32(o))
		}
		return nil
	})
	check("ForEachChunk", n.Count, n.Answer, err)
	if !slices.Equal(got, c.want.yes) {
		c.t.Errorf("ForEachChunk has other members")
	}
	plan, err := PlanOf(ctx, c.v, c.p, c.o)
	check("PlanOf", plan.Count, plan.Answer, err)
	c.planNode(plan.Root, plan.Root.Chunks+plan.Root.Skipped)
	// What is not true is false or unknown.
	not, err := Prepare(context.Background(), &Not{c.tree}, c.v)
	if err != nil {
		c.t.Error(err)
		return
	}
	m, err := CountOf(ctx, c.v, not, c.o)
	if err != nil || m.Count+w.yes+w.unknown != uint64(len(c.v.ords)) || m.Unknown != w.unknown || m.Errors != w.failed {
		c.t.Errorf("not: %d yes, %d unknown, %d errors, %v", m.Count, m.Unknown, m.Errors, err)
	}
}

func (c *checker) planNode(n PlanNode, chunks uint64) {
	if n.Chunks+n.Skipped != chunks || n.Label == "" || n.Method == "" || n.Estimate > uint64(len(c.v.ords))+1 {
		c.t.Errorf("plan of %d chunks has a node %+v", chunks, n)
	}
	for _, k := range n.Of {
		c.planNode(k, chunks)
	}
}

func (c *checker) explain() {
	p, err := wholePlanner(context.Background(), c.v).prepare(c.tree)
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := ExplainOf(context.Background(), c.v, c.tree, c.o)
	if err != nil || e.Count != c.want.counts.yes || e.Unknown != c.want.counts.unknown || e.Errors != c.want.counts.failed {
		c.t.Errorf("ExplainOf: %d yes, %d unknown, %d errors, %v", e.Count, e.Unknown, e.Errors, err)
		return
	}
	at := 0
	var walk func(n PlanNode)
	walk = func(n PlanNode) {
		want := reference(c.v, p.ops[at].node).counts
		if n.True != want.yes || n.Unknown != want.unknown {
			c.t.Errorf("explain %s: %d true, %d unknown; want %d, %d", n.Label, n.True, n.Unknown, want.yes, want.unknown)
		}
		at++
		for _, k := range n.Of {
			walk(k)
		}
	}
	walk(e.Root)
}

func (c *checker) breakdown() {
	attr := c.v.schema.Attributes[c.r.IntN(len(c.v.schema.Attributes))]
	want := map[string]uint64{}
	memberships, none := uint64(0), uint64(0)
	for _, o := range c.want.yes {
		switch v := refValue(c.v, attr.ID, c.v.profiles[o]); {
		case v.Kind() == schema.Set:
			for _, s := range v.Elements() {
				want[s]++
				memberships++
			}
			if len(v.Elements()) == 0 {
				none++
			}
		case v.IsAbsent():
			none++
		default:
			want[v.String()]++
		}
	}
	top := []int{0, 1, 3}[c.r.IntN(3)]
	b, err := BreakdownOf(context.Background(), c.v, c.p, c.field(attr), BreakdownOptions{Options: c.o, Top: top})
	if err != nil || b.People != c.want.counts.yes || b.Unknown != c.want.counts.unknown || b.Memberships != memberships {
		c.t.Errorf("breakdown by %s: %d people, %d unknown, %d memberships, %v", attr.Name, b.People, b.Unknown, b.Memberships, err)
		return
	}
	sum := b.Other
	for i, r := range b.Rows {
		sum += r.Count
		n := want[r.Value.String()]
		if r.Value.IsAbsent() {
			n = none
		}
		if r.Count != n {
			c.t.Errorf("breakdown by %s: %s has %d, want %d", attr.Name, r.Value, r.Count, n)
		}
		if i > 0 && (b.Rows[i-1].Count < r.Count || b.Rows[i-1].Count == r.Count && compareValues(b.Rows[i-1].Value, r.Value) >= 0) {
			c.t.Errorf("breakdown by %s: row %d is out of order", attr.Name, i)
		}
	}
	total, values := b.People, len(want)
	if attr.Kind == schema.Set {
		total = memberships + none
	}
	if none > 0 {
		values++
	}
	if sum != total || len(b.Rows)+int(b.OtherValues) != values || top > 0 && len(b.Rows) > top {
		c.t.Errorf("breakdown by %s: adds up to %d of %d, %d rows and %d more, want %d", attr.Name, sum, total, len(b.Rows), b.OtherValues, values)
	}
}

// field is an attribute, or a formula that has its values.
func (c *checker) field(a schema.Attribute) Field {
	f := Field{Attribute: a}
	if c.r.IntN(3) == 0 {
		f.Formula = &Formula{Attrs: []schema.AttrID{aAge, a.ID}, Eval: func(values []schema.Value, _ [][]Act, env Env) schema.Value {
			if env != envOf(c.o) {
				c.t.Errorf("a formula sees %v", env)
			}
			return values[1]
		}}
	}
	if f.Formula != nil && c.r.IntN(2) == 0 && a.Kind != schema.Set {
		has, own := &Has{Attr: a.ID}, &Choice{Attr: a.ID}
		if a.Kind == schema.Bool {
			own = &Choice{Test: &In{Attr: a.ID, Values: []schema.Value{schema.BoolValue(true)}}}
		} else if a.Kind.Ordered() {
			own = &Choice{Of: &Column{Attr: a.ID, Kind: a.Kind, Scale: a.Scale}}
		}
		var test Node
		for test == nil { // one that is never unknown
			switch n := randomLeaf(c.r, c.v.schema).(type) {
			case *In:
				test = &And{[]Node{&Has{Attr: n.Attr}, n}}
			case *Range:
				test = &Or{[]Node{&Not{&Has{Attr: n.Attr}}, n}}
			case *InList, *SetHas:
				test = n
			}
		}
		f.Formula.Plan = &Choice{If: test, Then: own, Else: &Choice{If: has, Then: own, Else: &Choice{}}}
		f.Formula.Eval = nil
	}
	return f
}

// listing reads all members in pages, in a random order, and compares.
func (c *checker) listing() {
	opt := MembersOptions{Options: c.o, Limit: []int{0, 1, 7, 50}[c.r.IntN(4)], Desc: c.r.IntN(2) == 0}
	if opt.Limit > 0 && len(c.want.yes) > 20*opt.Limit {
		opt.Limit = len(c.want.yes)/5 + 1
	}
	var order *schema.Attribute
	if a := c.v.schema.Attributes[c.r.IntN(len(c.v.schema.Attributes))]; a.Kind != schema.Set && c.r.IntN(4) > 0 {
		order = &a
	}
	attrs := []schema.Attribute{c.v.schema.Attributes[c.r.IntN(len(c.v.schema.Attributes))], *c.v.schema.ByID(aTags)}
	want := slices.Clone(c.want.yes)
	if order != nil {
		slices.SortStableFunc(want, func(x, y uint32) int {
			a, b := refValue(c.v, order.ID, c.v.profiles[x]), refValue(c.v, order.ID, c.v.profiles[y])
			n := compareValues(a, b)
			if opt.Desc && !a.IsAbsent() && !b.IsAbsent() {
				n = -n
			}
			return n
		})
	}
	orderBy := fieldOf(order)
	if order != nil {
		*orderBy = c.field(*order)
	}
	byKey := c.r.IntN(2) == 0 && !c.alike
	var got []uint32
	for pages := 0; ; pages++ {
		m, err := MembersOf(context.Background(), c.v, c.p, []Field{c.field(attrs[0]), c.field(attrs[1])}, orderBy, opt, nil)
		if err != nil || m.Total != c.want.counts.yes {
			c.t.Errorf("members: total %d, %v", m.Total, err)
			return
		}
		n, last := 0, ""
		for row, err := range m.Rows {
			if err != nil {
				c.t.Error(err)
				return
			}
			c.row(row, attrs)
			got = append(got, row.Ordinal)
			last = row.Key
			n++
		}
		opt.After = m.Next()
		if opt.After == "" || opt.Limit > 0 && n > opt.Limit || pages > len(want) {
			break
		}
		if byKey {
			opt.After, opt.AfterKey = "", last
		}
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("members in pages of %d by %v, descending %v: got %d, want %d", opt.Limit, order, opt.Desc, len(got), len(want))
	}
}

func (c *checker) row(m Member, attrs []schema.Attribute) {
	p := c.v.profiles[m.Ordinal]
	if p == nil || m.Key != p.key || len(m.Values) != len(attrs) {
		c.t.Errorf("member %d is %+v", m.Ordinal, m)
		return
	}
	for i, a := range attrs {
		if want := refValue(c.v, a.ID, p); !m.Values[i].Equal(want) {
			c.t.Errorf("member %d has %s %q, want %q", m.Ordinal, a.Name, m.Values[i], want)
		}
	}
}
