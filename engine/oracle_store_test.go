package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file writes the same people into several stores, by different histories: what one
// store has in the base another has in the head, and a third in both.

const (
	oracleDay = 20619                         // 2026-06-15
	oracleNow = oracleDay*86400000 + 43200000 // noon
)

func oracleClock() time.Time { return time.UnixMilli(oracleNow).UTC() }

// role is where a store has an attribute.
type role int

const (
	inBase role = iota
	inHead
	inBoth
)

// store is one of the stores.
type store struct {
	*engine.DB
	t       *testing.T
	number  int
	options engine.Options
	people  *people
	touched [][]bool // by fact and list: profiles that get their value after the base was made
	moved   *rand.Rand
	now     time.Time // its clock's: oracleNow, unless it has moved on
	batch   *batch.Builder
}

// role says where store s has its k-th attribute. Lists stand behind the attributes; as
// they are stored as one set, they have one role.
func (s *store) role(k int) role { return role((min(k, len(s.people.facts)) + s.number) % 3) }

// newStore writes the people into a store. number turns the roles.
func newStore(t *testing.T, p *people, number int, segments map[string]string) *store {
	t.Helper()
	s := &store{t: t, number: number, people: p, batch: batch.New(), moved: rand.New(rand.NewPCG(uint64(number), uint64(p.n))), now: oracleClock(),
		options: engine.Options{Memory: 1 << 28, Durability: engine.SyncNone, FirstOrdinal: uint32(p.first), FS: vfs.NewMem()}}
	s.options.Clock = func() time.Time { return s.now }
	s.open()
	s.attributes(func(r role) bool { return r != inHead })
	for range len(p.facts) + len(p.lists) {
		s.touched = append(s.touched, s.drawTouched())
	}
	s.upserts(0, p.n-p.reborn, s.before)
	s.batch.Delete(s.keysOf(p.gone)...)
	s.apply()
	s.upserts(p.n-p.reborn, p.n, s.before)
	for _, l := range s.people.lists { // a list of nobody is one, too
		s.batch.ListPut(l.Name)
	}
	s.apply()
	s.putLists(s.listed)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.attributes(func(r role) bool { return r == inHead }) // only now, so that the base knows nothing of them
	s.upserts(0, p.n, s.after)
	s.putLists(s.relisted)
	s.batch.Delete(s.keysOf(p.late)...)
	for _, name := range []string{"a", "b", "c"} { // c may use b, b may use a
		s.batch.SaveSegment("seg "+name, segments["seg "+name])
	}
	s.apply()
	return s
}

// attributes adds the attributes that have certain roles.
func (s *store) attributes(which func(r role) bool) {
	s.t.Helper()
	for k, f := range s.people.facts {
		if which(s.role(k)) {
			s.batch.Change(schema.Change{Op: schema.AddAttribute, Name: f.Name, Attribute: f.Attribute})
		}
	}
	s.apply()
}

func (s *store) open() {
	s.t.Helper()
	var err error
	if s.DB, err = engine.Open("db", &s.options); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) reopen() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// apply sends what the builder has; every row must be accepted.
func (s *store) apply() {
	s.t.Helper()
	raw, err := s.batch.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	rows := s.batch.Rows()
	r, err := s.Apply(context.Background(), raw)
	if err != nil || r.Accepted+r.Duplicates != uint64(rows) || len(r.Rejected) > 0 {
		s.t.Fatalf("store %d: %d rows, %+v: %v", s.number, rows, r, err)
	}
	s.batch.Reset()
}

// drawTouched says who is written after the base was made: in each chunk a few, many or most.
func (s *store) drawTouched() []bool {
	p := s.people
	out := make([]bool, p.n)
	for c := p.firstChunk(); c < p.chunks(); c++ {
		share := []float64{0.0005, 0.02, 0.2}[s.moved.IntN(3)]
		from, to := p.span(c)
		for i := from; i < to; i++ {
			out[i] = s.moved.Float64() < share
		}
	}
	return out
}

// upserts writes the profiles [from, to), as cells says.
func (s *store) upserts(from, to int, cells func(i int)) {
	s.t.Helper()
	for i := from; i < to; i++ {
		if cells(i); s.batch.Rows()%128 == 0 && s.batch.RawSize() > batch.SafeRaw*3/4 {
			s.apply()
		}
	}
	s.apply()
}

// before writes a profile as the base is to have it.
func (s *store) before(i int) {
	row := s.batch.Upsert(s.people.keys[i])
	for k, f := range s.people.facts {
		switch r := s.role(k); {
		case r == inBoth && s.touched[k][i]: // something else, to be corrected
			if old := s.old(k, i); old != 0 {
				row.Set(f.Name, f.values[old])
			}
		case r != inHead && f.ids[i] != 0:
			row.Set(f.Name, f.values[f.ids[i]])
		}
	}
}

// old is which value a profile has before it is touched.
func (s *store) old(k, i int) uint32 {
	return uint32(i*7+s.number) % uint32(len(s.people.facts[k].values))
}

// after writes what the head is to have.
func (s *store) after(i int) {
	p := s.people
	if p.early[i] {
		return
	}
	var row *batch.Row
	for k, f := range p.facts {
		r := s.role(k)
		if r == inBase || r == inBoth && !s.touched[k][i] || r == inHead && f.ids[i] == 0 {
			continue
		}
		if row == nil {
			row = s.batch.Upsert(p.keys[i])
		}
		s.correct(row, k, i)
	}
}

// correct gives a profile its value: sets by their elements, half of the time.
func (s *store) correct(row *batch.Row, k, i int) {
	f := s.people.facts[k]
	v, old := f.value(i), schema.Value{}
	if s.role(k) == inBoth {
		old = f.values[s.old(k, i)]
	}
	switch {
	case v.IsAbsent():
		row.Unset(f.Name)
	case v.Kind() == schema.Set && i%2 == 0:
		for _, e := range old.Elements() {
			if !slices.Contains(v.Elements(), e) {
				row.Remove(f.Name, e)
			}
		}
		row.Add(f.Name, v.Elements()...)
	default:
		row.Set(f.Name, v)
	}
}

func (s *store) keysOf(profiles []int) []string {
	var out []string
	for _, i := range profiles {
		out = append(out, s.people.keys[i])
	}
	return out
}

// putLists applies, for each list, the keys that which returns to be added and removed.
func (s *store) putLists(which func(k int, l *fact) (add, remove []string)) {
	s.t.Helper()
	for k, l := range s.people.lists {
		add, remove := which(k, l)
		for part := range slices.Chunk(add, 10000) {
			s.batch.ListAdd(l.Name, part...)
			s.apply()
		}
		for part := range slices.Chunk(remove, 10000) {
			s.batch.ListRemove(l.Name, part...)
			s.apply()
		}
	}
}

// listed is who is put into a list for the base.
func (s *store) listed(k int, l *fact) (add, remove []string) {
	for i, in := range l.ids {
		switch r := s.role(k + len(s.people.facts)); {
		case s.people.early[i], r == inHead:
		case (in == 1) != (r == inBoth && s.touched[k+len(s.people.facts)][i]):
			add = append(add, s.people.keys[i])
		}
	}
	return add, nil
}

// relisted is who is put into a list, or taken out, for the head.
func (s *store) relisted(k int, l *fact) (add, remove []string) {
	r := s.role(k + len(s.people.facts))
	for i, in := range l.ids {
		if s.people.early[i] || r == inBase || r == inBoth && !s.touched[k+len(s.people.facts)][i] {
			continue
		}
		if in == 1 {
			add = append(add, s.people.keys[i])
		} else if r == inBoth {
			remove = append(remove, s.people.keys[i])
		}
	}
	return add, remove
}

// catalog is what names mean: the people's schema, and the store's segments and lists.
type catalog struct {
	schema   *schema.Schema
	segments map[string]string
	lists    map[string]uint32
}

func (c *catalog) Schema() *schema.Schema             { return c.schema }
func (c *catalog) Segment(name string) (string, bool) { t, ok := c.segments[name]; return t, ok }
func (c *catalog) List(name string) (uint32, bool)    { n, ok := c.lists[name]; return n, ok }
func (c *catalog) SegmentNames() []string             { return nil }
func (c *catalog) ListNames() []string                { return nil }

func (s *store) catalog() *catalog {
	s.t.Helper()
	c := &catalog{schema: s.people.schema, segments: map[string]string{}, lists: map[string]uint32{}}
	segments, err := s.Segments(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range segments {
		c.segments[g.Name] = g.Text
	}
	lists, err := s.Lists(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range lists {
		c.lists[l.Name] = l.Code
	}
	if len(lists) != len(s.people.lists) || len(segments) != 3 {
		s.t.Fatalf("store %d has %d lists and %d segments", s.number, len(lists), len(segments))
	}
	return c
}

// check compares who lives, keys and every value with the people, for a sample.
func (s *store) check() {
	s.t.Helper()
	p := s.people
	c, err := s.Count(s.t.Context(), "true", nil)
	if err != nil || c.Count != uint64(p.living) {
		s.t.Fatalf("store %d: %d people, %v; want %d", s.number, c.Count, err, p.living)
	}
	for range 200 {
		i := p.IntN(p.n)
		got, err := s.Profile(s.t.Context(), p.keys[i], &query.ProfileOptions{Options: query.Options{Now: oracleClock()}})
		if p.dead[i] {
			continue // gone, or born again under the key
		}
		if err != nil || got.Ordinal != uint32(p.first+i) {
			s.t.Fatalf("store %d: profile %s has the ordinal %d, want %d: %v", s.number, p.keys[i], got.Ordinal, p.first+i, err)
		}
		var want []query.AttributeValue
		for _, f := range p.facts {
			if v := f.value(i); !v.IsAbsent() && (v.Kind() != schema.Set || len(v.Elements()) > 0) {
				want = append(want, query.AttributeValue{Name: f.Name, Value: v})
			}
		}
		byName := func(a, b query.AttributeValue) int { return strings.Compare(a.Name, b.Name) }
		slices.SortFunc(got.Values, byName)
		slices.SortFunc(want, byName)
		if !slices.EqualFunc(got.Values, want, func(a, b query.AttributeValue) bool { return a.Name == b.Name && a.Value.Equal(b.Value) }) {
			s.t.Fatalf("store %d: profile %s is\n%v, want\n%v", s.number, p.keys[i], got.Values, want)
		}
		for _, l := range p.lists {
			if slices.Contains(got.Lists, l.Name) != l.value(i).Bool() {
				s.t.Fatalf("store %d: profile %s is in the lists %v; %s: %v", s.number, p.keys[i], got.Lists, l.Name, l.value(i))
			}
		}
	}
}

// where says where a store has an attribute of the people's schema in a chunk.
func (s *store) where(attr schema.AttrID, chunk int) residence {
	if a := s.people.schema.ByID(attr); a != nil { // the store has an id of its own for it
		sch, err := s.Schema(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		attr = sch.Lookup(a.Name).ID
	}
	r, err := engine.ResidenceOf(s.DB, attr, chunk)
	switch {
	case err != nil:
		s.t.Fatal(err)
	case r.Base && r.Head:
		return residentBoth
	case r.Head:
		return residentHead
	}
	return residentBase
}

func (s *store) String() string { return fmt.Sprintf("store %d", s.number) }
