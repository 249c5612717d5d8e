package bitmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// newRand returns a seeded source and prints the seed.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// ref is the slow, obvious set.
type ref []bool // of ChunkSize

func newRef() ref { return make(ref, ChunkSize) }

func (r ref) sorted() []uint16 {
	out := []uint16{}
	for i, in := range r {
		if in {
			out = append(out, uint16(i))
		}
	}
	return out
}

func refOf(s Set) ref {
	r := newRef()
	for i := range r {
		r[i] = s.Contains(uint16(i))
	}
	return r
}

func refCombine(sets, not []Set) ref {
	r := newRef()
	for i := range ChunkSize {
		in := true
		for _, s := range sets {
			in = in && s.Contains(uint16(i))
		}
		for _, s := range not {
			in = in && !s.Contains(uint16(i))
		}
		r[i] = in
	}
	return r
}

func randomArray(r *rand.Rand, n int) []uint16 {
	seen := newRef()
	for n > 0 {
		if v := uint16(r.Uint32()); !seen[v] {
			seen[v] = true
			n--
		}
	}
	return seen.sorted()
}

// randomWords is dense to a random degree, with stretches.
func randomWords(r *rand.Rand) *Words {
	w := new(Words)
	mode := r.IntN(4)
	for i := range w {
		switch mode {
		case 0:
			w[i] = r.Uint64()
		case 1:
			w[i] = r.Uint64() & r.Uint64() & r.Uint64() & r.Uint64()
		case 2:
			w[i] = r.Uint64() | r.Uint64() | r.Uint64()
		case 3:
			if i%64 < 40 {
				w[i] = ^uint64(0)
			}
		}
	}
	return w
}

// randomSet returns a set of any form and size, edges often.
func randomSet(r *rand.Rand) Set {
	switch r.IntN(10) {
	case 0:
		return Set{}
	case 1:
		return Set{Form: Full}
	case 2:
		return Set{Form: Dense, Words: new(Words)}
	case 3, 4, 5:
		return Set{Form: Dense, Words: randomWords(r)}
	}
	sizes := []int{1, 2, 15, 40, 128, 500, 3000, MaxSparse}
	if n := sizes[r.IntN(len(sizes))]; r.IntN(2) == 0 {
		return FromArray(randomArray(r, n))
	}
	first, n := r.IntN(60000), 1+r.IntN(MaxSparse)
	var a []uint16
	for i := first; i < min(first+n, ChunkSize); i++ {
		a = append(a, uint16(i))
	}
	return FromArray(a)
}

// check compares a set with the reference, through every way of reading it.
func check(t testing.TB, what string, got Set, want ref) {
	t.Helper()
	sorted := want.sorted()
	if got.Count() != len(sorted) {
		t.Fatalf("%s: count %d, want %d", what, got.Count(), len(sorted))
	}
	if got.IsEmpty() != (len(sorted) == 0) {
		t.Fatalf("%s: IsEmpty %v, count %d", what, got.IsEmpty(), len(sorted))
	}
	if a := got.AppendTo(nil); !slices.Equal(a, sorted) {
		t.Fatalf("%s: other elements", what)
	}
	if got.Form == Sparse && (len(got.Array) == 0 || len(got.Array) > MaxSparse) {
		t.Fatalf("%s: sparse with %d", what, len(got.Array))
	}
	var buf Words
	buf.SetBit(77) // ToWords must overwrite it
	if a := got.ToWords(&buf).appendTo(nil); !slices.Equal(a, sorted) {
		t.Fatalf("%s: other words", what)
	}
}

// name names a set in a message.
func name(s Set) string {
	return fmt.Sprintf("%s %d", [...]string{"empty", "full", "dense", "sparse"}[s.Form], s.Count())
}

func TestConstructors(t *testing.T) {
	r := newRand(t)
	full := Set{Form: Full}.AppendTo(nil)
	for _, n := range []int{0, 1, 4, 5, 1000, 1001, MaxSparse, MaxSparse + 1, 65535, 65536} {
		a := full[:n]
		if n < 5000 {
			a = randomArray(r, n)
		}
		want := newRef()
		for _, v := range a {
			want[v] = true
		}
		s := FromArray(a)
		check(t, "FromArray", s, want)
		check(t, "Clone", s.Clone(), want)
		var buf Words
		w := FromWords(s.ToWords(&buf))
		check(t, "FromWords", w, want)
		if (n == 0) != (w.Form == Empty) || (n == ChunkSize) != (w.Form == Full) {
			t.Fatalf("FromWords of %d has form %d", n, w.Form)
		}
	}
}

func TestClone(t *testing.T) {
	w := new(Words)
	w.SetBit(9)
	a := []uint16{3, 5}
	for _, s := range []Set{{Form: Dense, Words: w}, FromArray(a)} {
		before := refOf(s)
		c := s.Clone()
		w.SetBit(10)
		a[0] = 4
		check(t, "clone after a change", c, before)
	}
}

// operations are the binary operations, with the truth table of each.
var operations = []struct {
	name string
	set  func(a, b Set, buf *Words) Set
	acc  func(w *Words, s Set)
	bit  func(a, b bool) bool
}{
	{"and", And, (*Words).And, func(a, b bool) bool { return a && b }},
	{"or", Or, (*Words).Or, func(a, b bool) bool { return a || b }},
	{"andnot", AndNot, (*Words).AndNot, func(a, b bool) bool { return a && !b }},
}

// into moves a set into buf's memory, where its form has any.
func into(s Set, buf *Words) Set {
	switch s.Form {
	case Dense:
		*buf = *s.Words
		s.Words = buf
	case Sparse:
		n := copy(buf.array()[:], s.Array)
		s.Array = buf.array()[:n:n]
	}
	return s
}

func TestAlgebra(t *testing.T) {
	r := newRand(t)
	var seen [3][4][4]int
	for range 150 {
		a, b := randomSet(r), randomSet(r)
		for k, op := range operations {
			seen[k][a.Form][b.Form]++
			want := newRef()
			for i := range ChunkSize {
				want[i] = op.bit(a.Contains(uint16(i)), b.Contains(uint16(i)))
			}
			what := fmt.Sprintf("%s %s %s", name(a), op.name, name(b))
			ac, bc := a.Clone(), b.Clone()
			buf := randomWords(r)
			got := op.set(a, b, buf)
			check(t, what, got, want)
			if (a.Form == Sparse || b.Form == Sparse) && got.Form == Dense && op.name == "and" {
				t.Fatalf("%s: dense", what)
			}
			check(t, what+": a after", a, refOf(ac))
			check(t, what+": b after", b, refOf(bc))
			check(t, what+", a in buf", op.set(into(a, buf), b, buf), want)
			check(t, what+", b in buf", op.set(a, into(b, buf), buf), want)

			acc := *a.ToWords(buf)
			op.acc(&acc, b)
			check(t, what+", accumulated", Set{Form: Dense, Words: &acc}, want)
		}
	}
}

func TestAlgebraCoversAllForms(t *testing.T) {
	r := newRand(t)
	buf := new(Words)
	samples := []Set{{}, {Form: Full}, {Form: Dense, Words: randomWords(r)}, {Form: Dense, Words: new(Words)},
		FromArray(randomArray(r, 3)), FromArray(randomArray(r, 30)), FromArray(randomArray(r, 900)), FromArray(randomArray(r, MaxSparse))}
	for _, a := range samples {
		for _, b := range samples {
			for _, op := range operations {
				want := newRef()
				for i := range ChunkSize {
					want[i] = op.bit(a.Contains(uint16(i)), b.Contains(uint16(i)))
				}
				what := fmt.Sprintf("%s %s %s", name(a), op.name, name(b))
				check(t, what, op.set(a, b, buf), want)
				check(t, what+", a in buf", op.set(into(a, buf), b, buf), want)
				check(t, what+", b in buf", op.set(a, into(b, buf), buf), want)
			}
		}
	}
}

// TestSubtractOntoOperand has an array in the buffer whose head is overwritten before its
// tail is looked at.
func TestSubtractOntoOperand(t *testing.T) {
	a, b := make([]uint16, 30), []uint16{29}
	for i := range a {
		a[i] = uint16(i)
	}
	for i := range 64 * len(a) {
		b = append(b, uint16(100+i))
	}
	buf := new(Words)
	check(t, "a - b, b in buf", AndNot(FromArray(a), into(FromArray(b), buf), buf), refOf(FromArray(a[:29])))
}

func TestAndAll(t *testing.T) {
	r := newRand(t)
	scratch := new(Words)
	check(t, "no sets", AndAll(nil, scratch), refOf(Set{Form: Full}))
	for range 200 {
		pick := func(n int) []Set {
			sets := make([]Set, n)
			for i := range sets {
				for sets[i] = randomSet(r); sets[i].Form == Empty && r.IntN(8) > 0; {
					sets[i] = randomSet(r)
				}
				if w := randomWords(r); sets[i].Form == Dense && r.IntN(2) == 0 {
					w.Or(sets[i])
					sets[i] = Set{Form: Dense, Words: w}
				}
			}
			return sets
		}
		sets, not := pick(r.IntN(11)), pick(max(0, r.IntN(8)-4))
		if len(sets) > 8 { // more dense operands than one pass takes; now and then an array
			for i := range sets {
				if sets[i].Form != Sparse || r.IntN(2) == 0 {
					sets[i] = Set{Form: Dense, Words: randomWords(r)}
					sets[i].Words.Or(FromArray([]uint16{1, 2, 65535}))
				}
			}
		}
		if r.IntN(3) == 0 && len(sets) > 0 { // nothing but arrays that share elements
			common := randomArray(r, 20)
			for i := range sets {
				w := new(Words)
				w.scatter(common)
				w.scatter(randomArray(r, 1<<r.IntN(11)))
				sets[i] = FromArray(w.appendTo(nil))
			}
		}
		want := refCombine(sets, not)
		what := fmt.Sprintf("%d sets, %d not", len(sets), len(not))
		check(t, what, AndAllNot(sets, not, scratch), want)
		if k := len(sets) + len(not); k > 0 { // an operand in the buffer
			s, n := slices.Clone(sets), slices.Clone(not)
			if i := r.IntN(k); i < len(s) {
				s[i] = into(s[i], scratch)
			} else {
				n[i-len(s)] = into(n[i-len(s)], scratch)
			}
			check(t, what+", one in buf", AndAllNot(s, n, scratch), want)
		}
		if n := CountAndNot(sets, not, scratch); n != len(want.sorted()) {
			t.Fatalf("%s: counted %d, want %d", what, n, len(want.sorted()))
		}
		want = refCombine(sets, nil)
		check(t, what, AndAll(sets, scratch), want)
		if n := CountAnd(sets, scratch); n != len(want.sorted()) {
			t.Fatalf("%s: counted %d, want %d", what, n, len(want.sorted()))
		}
	}
}

func TestWords(t *testing.T) {
	r := newRand(t)
	for range 20 {
		w, want := new(Words), newRef()
		for range 3000 {
			i := uint16(r.Uint32())
			if r.IntN(3) > 0 {
				w.SetBit(i)
				want[i] = true
			} else {
				w.ClearBit(i)
				want[i] = false
			}
		}
		first := r.IntN(ChunkSize)
		last := first + r.IntN(ChunkSize-first)
		w.setRange(first, last)
		for i := first; i <= last; i++ {
			want[i] = true
		}
		check(t, "bits", Set{Form: Dense, Words: w}, want)
		if got, n := w.runs(), arrayRuns(want.sorted()); got != n {
			t.Fatalf("%d runs, want %d", got, n)
		}
	}
	var w Words
	w.Fill()
	if w.Count() != ChunkSize {
		t.Fatal("Fill")
	}
	if w.Clear(); !w.IsEmpty() {
		t.Fatal("Clear")
	}
}

func TestNoAllocation(t *testing.T) {
	r := newRand(t)
	sets := []Set{FromArray(randomArray(r, 50)), {Form: Dense, Words: randomWords(r)}, FromArray(randomArray(r, 2000)), {Form: Dense, Words: randomWords(r)}, {Form: Full}}
	n := testing.AllocsPerRun(10, func() {
		var buf, scratch Words
		CountAnd(sets, &scratch)
		CountAnd(sets[1:2], &scratch)
		for _, a := range sets {
			for _, b := range sets {
				And(a, b, &buf)
				Or(a, b, &buf)
				AndNot(a, b, &buf)
				buf.And(a)
				buf.Or(b)
				AndAll(sets, &buf)
			}
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
