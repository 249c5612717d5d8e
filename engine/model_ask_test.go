package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// ask puts some random questions to a store (or snapshot) and to the model.
func (p *pair) ask(of asker, w *world) {
	p.t.Helper()
	for range 2 {
		p.askExpression(of, w, randomCondition(p.r, w, 2))
	}
	p.askProfile(of, w, p.key())
	if len(w.attrs) == 0 {
		return
	}
	a := pick(p.r, w.attrs)
	p.askValues(of, w, &a)
	if a.def.Unique {
		p.askUnique(of, w, &a)
	}
}

// members returns the keys of those for whom c is true, and how many are unknown.
func (w *world) members(c *condition) (keys []string, unknown uint64) {
	for k, h := range w.people {
		switch c.eval(w, h) {
		case yes:
			keys = append(keys, k)
		case maybe:
			unknown++
		}
	}
	slices.Sort(keys)
	return keys, unknown
}

func (p *pair) askExpression(of asker, w *world, c *condition) {
	p.t.Helper()
	ctx := p.t.Context()
	want, unknown := w.members(c)
	n, err := of.Count(ctx, c.text, nil)
	p.must(c.text, err)
	if n.Count != uint64(len(want)) || n.Unknown != unknown || n.Position.Applied != w.applied {
		p.t.Fatalf("%s: count %d, unknown %d at %s; want %d, %d at %d", c.text, n.Count, n.Unknown, n.Position, len(want), unknown, w.applied)
	}
	o := &query.MembersOptions{}
	for i := range w.attrs {
		o.Attributes = append(o.Attributes, w.attrs[i].def.Name)
	}
	computed := slices.Sorted(maps.Keys(w.computed))
	o.Attributes = append(o.Attributes, computed...)
	if p.r.IntN(3) == 0 && len(computed) > 0 {
		o.OrderBy = pick(p.r, computed)
	}
	m, err := of.Members(ctx, c.text, o)
	p.must(c.text, err)
	var got []string
	last := schema.BoolValue(false)
	for row, err := range m.Rows {
		p.must(c.text, err)
		got = append(got, row.Key)
		for i, name := range computed {
			v, t := row.Values[len(w.attrs)+i], w.computed[name].eval(w, w.people[row.Key])
			if !v.Equal(t.value()) {
				p.t.Fatalf("%s: %s of %s is %v, want %v", c.text, name, row.Key, v, t)
			}
			if name == o.OrderBy && (last.IsAbsent() && !v.IsAbsent() || last.Ordered() > v.Ordered() && !v.IsAbsent()) {
				p.t.Fatalf("%s: ordered by %s, %v comes behind %v", c.text, name, v, last)
			}
			if name == o.OrderBy {
				last = v
			}
		}
		for i, v := range row.Values[:len(w.attrs)] {
			if x := w.people[row.Key].values[w.attrs[i].id]; !sameValue(v, x) {
				p.t.Fatalf("%s: %s of %s is %v, want %v", c.text, w.attrs[i].def.Name, row.Key, v, x)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		p.t.Fatalf("%s: members %v, want %v", c.text, got, want)
	}
	if len(w.attrs) > 0 {
		a := pick(p.r, w.attrs)
		p.askBreakdown(of, w, c, want, a.def.Name, func(h *human) schema.Value { return h.values[a.id] })
	}
	if len(computed) > 0 {
		name := pick(p.r, computed)
		p.askBreakdown(of, w, c, want, name, func(h *human) schema.Value { return w.computed[name].eval(w, h).value() })
	}
}

// sameValue takes an empty set for no value.
func sameValue(a, b schema.Value) bool {
	empty := func(v schema.Value) bool { return v.IsAbsent() || v.Kind() == schema.Set && len(v.Elements()) == 0 }
	return a.Equal(b) || empty(a) && empty(b)
}

func (p *pair) askBreakdown(of asker, w *world, c *condition, members []string, by string, value func(*human) schema.Value) {
	p.t.Helper()
	want := map[string]uint64{}
	memberships := uint64(0)
	for _, k := range members {
		v := value(w.people[k])
		switch {
		case v.IsAbsent():
			want["(none)"]++
		case v.Kind() == schema.Set:
			for _, e := range v.Elements() {
				want["="+e]++
				memberships++
			}
		default:
			want["="+v.String()]++
		}
	}
	b, err := of.Breakdown(p.t.Context(), c.text, by, nil)
	p.must("breakdown", err)
	got := map[string]uint64{}
	for _, r := range b.Rows {
		name := "(none)"
		if !r.Value.IsAbsent() {
			name = "=" + r.Value.String()
		}
		got[name] += r.Count
	}
	if !maps.Equal(got, want) || b.People != uint64(len(members)) || b.Memberships != memberships || b.Other != 0 {
		p.t.Fatalf("%s by %s: %+v\nwant %v", c.text, by, b, want)
	}
}

func (p *pair) askProfile(of asker, w *world, key string) {
	p.t.Helper()
	got, err := of.Profile(p.t.Context(), key, nil)
	h := w.people[key]
	if h == nil {
		if err == nil {
			p.t.Fatalf("profile %s is there: %+v", key, got)
		}
		return
	}
	p.must("profile "+key, err)
	p.compareProfile(got, w, key)
}

func (p *pair) compareProfile(got query.Profile, w *world, key string) {
	p.t.Helper()
	h := w.people[key]
	var values, segments []string
	for i := range w.attrs {
		if v := h.values[w.attrs[i].id]; !v.IsAbsent() {
			values = append(values, w.attrs[i].def.Name+"="+v.String())
		}
	}
	for name, s := range w.segments {
		if s.eval(w, h) == yes {
			segments = append(segments, name)
		}
	}
	for name, c := range w.computed {
		if v := c.eval(w, h).value(); !v.IsAbsent() {
			values = append(values, name+"="+v.String())
		}
	}
	slices.Sort(values)
	slices.Sort(segments)
	var gotValues []string
	for _, v := range slices.Concat(got.Values, got.Computed) {
		gotValues = append(gotValues, v.Name+"="+v.Value.String())
	}
	slices.Sort(gotValues)
	if !slices.Equal(values, gotValues) || !slices.Equal(segments, got.Segments) || got.Key != key ||
		!slices.Equal(slices.Sorted(maps.Keys(h.lists)), got.Lists) {
		p.t.Fatalf("profile %s: %+v\nwant %v, lists %v, segments %v", key, got, values, h.lists, segments)
	}
}

func (p *pair) askUnique(of asker, w *world, a *worldAttr) {
	p.t.Helper()
	v := randomValue(p.r, &a.def)
	var holder string
	for k, h := range w.people {
		if h.values[a.id].Equal(v) {
			holder = k
		}
	}
	got, err := of.ProfileBy(p.t.Context(), a.def.Name, v.String(), nil)
	switch {
	case holder == "" && err == nil:
		p.t.Fatalf("%s = %s finds %+v", a.def.Name, v, got)
	case holder != "":
		p.must(fmt.Sprintf("%s = %s, which %s has", a.def.Name, v, holder), err)
		p.compareProfile(got, w, holder)
	}
}

func (p *pair) askValues(of asker, w *world, a *worldAttr) {
	p.t.Helper()
	prefix := pick(p.r, []string{"", "", "v", "value-1", "1"})
	want := map[string]uint64{}
	for _, h := range w.people {
		v := h.values[a.id]
		texts := []string{v.String()}
		if v.IsAbsent() {
			continue
		}
		if v.Kind() == schema.Set {
			texts = v.Elements()
		}
		for _, s := range texts {
			if strings.HasPrefix(s, prefix) {
				want[s]++
			}
		}
	}
	list, err := of.Values(p.t.Context(), a.def.Name, prefix, 0)
	p.must("values", err)
	got := map[string]uint64{}
	for _, v := range list {
		got[v.Value] = v.Count
	}
	if !maps.Equal(got, want) {
		p.t.Fatalf("values of %s: %v, want %v", a.def.Name, got, want)
	}
}

// checkEverything compares all profiles, the names, and has the store check itself.
func (p *pair) checkEverything() {
	p.t.Helper()
	ctx := p.t.Context()
	for i := range p.keys {
		p.askProfile(p.db, p.w, fmt.Sprintf("key-%d", i))
	}
	lists, err := p.db.Lists(ctx)
	p.must("lists", err)
	var got, want []string
	for _, l := range lists {
		got = append(got, fmt.Sprintf("%s %d", l.Name, l.People))
	}
	for _, name := range slices.Sorted(maps.Keys(p.w.lists)) {
		n := 0
		for _, h := range p.w.people {
			if h.lists[name] {
				n++
			}
		}
		want = append(want, fmt.Sprintf("%s %d", name, n))
	}
	segments, err := p.db.Segments(ctx)
	p.must("segments", err)
	for _, s := range segments {
		got = append(got, s.Name+": "+s.Text)
	}
	for _, name := range slices.Sorted(maps.Keys(p.w.segments)) {
		want = append(want, name+": "+p.w.segments[name].text)
	}
	if !slices.Equal(got, want) {
		p.t.Fatalf("lists and segments %q, want %q", got, want)
	}
	report, err := p.db.Check(ctx, nil)
	p.must("check", err)
	if len(report.Problems) > 0 {
		p.t.Fatalf("check: %q", report.Problems)
	}
}

// compareDigests proves that the digests depend on what is stored and not on how it came
// about: after compaction, and in a second store that is loaded with the final state.
func (p *pair) compareDigests() {
	p.t.Helper()
	ctx := p.t.Context()
	before, err := p.db.Digests(ctx)
	p.must("digests", err)
	p.must("compact", p.db.Compact(ctx))
	after, err := p.db.Digests(ctx)
	p.must("digests", err)
	if before != after {
		p.t.Fatalf("digests before a compaction %x, after it %x", before, after)
	}
	p.checkEverything()
	o := engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	second, err := engine.Open("second", &o)
	p.must("open", err)
	defer func() { p.must("close", second.Close()) }()
	raw, err := p.finalState().Encode()
	p.must("encode", err)
	if res, err := second.Apply(ctx, raw); err != nil || res.Accepted != res.Received {
		p.t.Fatalf("the final state: %+v, %v", res, err)
	}
	copied, err := second.Digests(ctx)
	p.must("digests", err)
	if copied.Content != before.Content {
		p.t.Fatalf("content %x, of a store loaded with the final state %x", before.Content, copied.Content)
	}
}

// finalState makes one batch of what the model has, in another order.
func (p *pair) finalState() *batch.Builder {
	b := batch.New()
	for _, i := range p.r.Perm(len(p.w.attrs)) {
		a := p.w.attrs[i].def
		a.Required, a.Deprecated = false, false
		b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
	}
	keys := slices.Sorted(maps.Keys(p.w.people))
	p.r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys {
		row := b.Upsert(k)
		for i := range p.w.attrs {
			if v := p.w.people[k].values[p.w.attrs[i].id]; !v.IsAbsent() {
				row.Set(p.w.attrs[i].def.Name, v)
			}
		}
	}
	for name := range p.w.lists {
		var in []string
		for k, h := range p.w.people {
			if h.lists[name] {
				in = append(in, k)
			}
		}
		b.ListPut(name, in...)
	}
	return b
}
