package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// TestOracle holds the engine against the interpreter: the same random people, written by
// different histories into three stores, and random expressions, asked of all; members,
// unknown and failed must be what CEL's interpreter says of every single profile.
//
// The short form has one population of 70,000 and takes some 5 seconds. KANTA_LONG=1 has 24
// of 200,000 and more than 20,000 expressions; then every cell of the coverage
// table must be met. KANTA_SEED repeats a run.
func TestOracle(t *testing.T) {
	wholeOnly(t)
	seed := rand.Uint64() >> 1
	if s := os.Getenv("KANTA_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	populations, n, questions := 1, 70_000, 80
	long := os.Getenv("KANTA_LONG") != ""
	if long {
		populations, n, questions = 24, 200_000, 850
	}
	total := &oracleRun{T: t, cells: coverage{}, asked: map[string]bool{}}
	var mu sync.Mutex
	t.Run("populations", func(t *testing.T) {
		for k := range uint64(populations) {
			// KANTA_SEED with a population's number repeats it as the first one.
			t.Run(strconv.FormatUint(seed+k, 10), func(t *testing.T) {
				t.Parallel()
				r := &oracleRun{T: t, cells: coverage{}, asked: map[string]bool{}}
				r.population(seed+k, n, questions)
				mu.Lock()
				defer mu.Unlock()
				total.merge(r)
			})
		}
	})
	t.Logf("%d different expressions, %d more that do not compile; the interpreter ran %d times; stores %v, oracle %v, engine %v",
		len(total.asked), total.refused, total.interpreted, total.times[0].Round(time.Millisecond), total.times[1].Round(time.Millisecond), total.times[2].Round(time.Millisecond))
	if long && !t.Failed() {
		if len(total.asked) < 20_000 {
			t.Errorf("only %d different expressions", len(total.asked))
		}
		total.cells.check(t, 3)
	}
}

// oracleRun is what a run has seen.
type oracleRun struct {
	*testing.T
	cells       coverage
	asked       map[string]bool
	refused     int
	interpreted int
	times       [3]time.Duration // building stores, oracle, engine
}

func (r *oracleRun) merge(o *oracleRun) {
	for c, n := range o.cells {
		r.cells[c] += n
	}
	for text := range o.asked {
		r.asked[text] = true
	}
	r.refused += o.refused
	r.interpreted += o.interpreted
	for k, d := range o.times {
		r.times[k] += d
	}
}

func (r *oracleRun) since(k int, start time.Time) { r.times[k] += time.Since(start) }

// population draws people, writes them into four stores and asks n expressions.
func (r *oracleRun) population(seed uint64, n, questions int) {
	start := time.Now()
	p := drawPeople(seed, 1<<20-74_000-n/20, n)
	w := &writer{people: p, inner: map[string]*expression{}}
	segments := map[string]string{}
	o := &oracle{people: p, compiler: syntax.NewCompiler(), env: query.Env{Now: oracleClock()}, cat: &catalog{schema: p.schema, segments: segments, lists: map[string]uint32{}}}
	for i, l := range p.lists {
		o.cat.lists[l.Name] = uint32(i)
	}
	for _, name := range []string{"seg a", "seg b", "seg c"} {
		x := r.compiling(w, o)
		if name == "seg a" { // everybody of one chunk
			x = &expression{text: `in_list("calm")`, facts: p.lists[2:]}
		}
		w.inner[name], segments[name] = x, x.text
		w.segments = append(w.segments, name)
	}
	var stores []*store
	for k := range 4 {
		s := newStore(r.T, p, k, segments)
		defer func() { _ = s.Close() }()
		if k == 3 { // it answers about the past
			s.moveOn()
		}
		s.check()
		stores = append(stores, s)
	}
	r.since(0, start)
	o.cat = stores[0].catalog()
	for k := range questions {
		switch k { // the same questions, whatever the store has been through
		case questions / 2:
			stores[1].reopen()
			stores[1].check()
		case questions * 2 / 3:
			stores[3].reopen()
			stores[3].check()
		case questions * 3 / 4:
			for _, s := range stores[2:] {
				if err := s.Compact(r.Context()); err != nil {
					r.Fatal(err)
				}
				s.check()
			}
		}
		r.question(r.compiling(w, o), o, stores)
		if k == questions/3 { // while base and head are as they were written
			for _, x := range w.directed() {
				if !r.asked[x.text] {
					r.question(x, o, stores)
				}
			}
		}
	}
	r.interpreted += o.interpreted
}

// compiling writes expressions until one compiles that was not there before. What does
// not compile must fail with one of the codes of a text that is wrong.
func (r *oracleRun) compiling(w *writer, o *oracle) *expression {
	for {
		x := w.logic(max(0, w.IntN(5)-1))
		if r.asked[x.text] {
			continue
		}
		_, err := o.compiler.Compile(x.text, o.cat, o.env)
		if err == nil {
			return x
		}
		r.refused++
		var q *query.Error
		if !errors.As(err, &q) || q.Code != query.CodeType && q.Code != query.CodeLimit && q.Code != query.CodeSyntax {
			r.Fatalf("%s: %v", x.text, err)
		}
	}
}

// question asks one expression of all stores.
func (r *oracleRun) question(x *expression, o *oracle, stores []*store) {
	r.asked[x.text] = true
	start := time.Now()
	e, err := o.compiler.Compile(x.text, o.cat, o.env)
	if err != nil {
		r.Fatal(err)
	}
	truths, err := o.truths(x)
	if err != nil {
		r.Fatalf("a part of %s: %v", x.text, err)
	}
	for range 100 {
		i := o.IntN(o.n)
		if got := o.interpretWhole(e, i); got != query.Truth(truths[i]&truthBits) {
			r.Fatalf("%s: for %s the interpreter says %d of the whole, %d by parts", x.text, o.describe(i), got, truths[i]&truthBits)
		}
	}
	want := o.expect(truths)
	r.since(1, start)
	defer r.since(2, time.Now())
	members := roaring.FromDense(want.words, true)
	for k, s := range stores {
		if isCostly(e.Root) && k != len(r.asked)%len(stores) {
			continue // the interpreter for everybody again, four times
		}
		s.answers(x.text, e, want, members, o, truths)
		if s.now.Equal(oracleClock()) {
			r.cells.add(o.people, s, e.Root, want.words)
		}
	}
}

// isCostly reports whether the plan is the interpreter, for everybody.
func isCostly(n query.Node) bool {
	switch n := n.(type) {
	case *query.Residual:
		return true
	case *query.Not:
		return isCostly(n.Of)
	case *query.And:
		return isCostly(n.Of[0]) // the others are asked less
	case *query.Or:
		for _, x := range n.Of {
			if isCostly(x) {
				return true
			}
		}
	case *query.Segment:
		return isCostly(n.Of)
	case *query.If:
		return isCostly(n.Cond) || isCostly(n.Then) || isCostly(n.Else)
	}
	return false
}

// answers compares the store's answers with what they have to be.
func (s *store) answers(text string, e *syntax.Expr, want expected, members *roaring.Bitmap, o *oracle, truths []outcome) {
	s.t.Helper()
	ctx := s.t.Context()
	c, err := s.Count(ctx, text, &query.Options{Now: oracleClock()})
	if err != nil {
		s.t.Fatalf("%v: %s: %v", s, text, err)
	}
	got, err := s.Bitmap(ctx, text, &query.Options{Now: oracleClock(), Parallelism: 1})
	if err != nil {
		s.t.Fatalf("%v: %s: %v", s, text, err)
	}
	if !got.Ordinals.Equals(members) {
		wrong := roaring.Xor(got.Ordinals, members)
		i := int(wrong.Minimum()) - o.first
		who := "nobody's ordinal"
		if i >= 0 && i < o.n {
			who = fmt.Sprintf("%s (truth %d, dead %v)", o.describe(i), truths[i]&truthBits, o.dead[i])
		}
		s.t.Fatalf("%v: %s\n%sdiffers for %d profiles, the first: %s; the store says %v", s, text, syntax.Print(e.Root, o.schema), wrong.GetCardinality(), who, got.Ordinals.Contains(wrong.Minimum()))
	}
	if c.Count != want.yes || c.Unknown != want.unknown || c.Errors < want.minFail || c.Errors > want.maxFail {
		s.t.Fatalf("%v: %s\n%scounts %d, %d unknown, %d errors; want %d, %d and %d to %d", s, text, syntax.Print(e.Root, o.schema), c.Count, c.Unknown, c.Errors, want.yes, want.unknown, want.minFail, want.maxFail)
	}
}

// describe names a profile's values.
func (p *people) describe(i int) string {
	out := p.keys[i]
	for _, f := range p.facts {
		if v := f.value(i); !v.IsAbsent() {
			out += fmt.Sprintf(" %s=%q", f.Name, v)
		}
	}
	return out
}
