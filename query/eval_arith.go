package query

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"strconv"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// compareOp compares arithmetic over columns for each undecided profile, a batch at a time.
type compareOp struct {
	op      CompareOp
	l, r    term
	isFloat bool
	lScale  uint8 // decimals may meet at different scales: they are compared exactly
	rScale  uint8
	folds   []*foldTerm
	columns bool // there are attributes in it
}

// state says whether a term has a value for a profile. The larger one wins when terms meet.
type state uint8

const (
	stateOK state = iota
	stateAbsent
	stateFailed // overflow or division by zero
)

// vector holds a term's values for a batch. Floats are kept in f, all else in n.
type vector struct {
	n  [batchSize]int64
	f  [batchSize]float64
	st [batchSize]state
}

// term is a compiled Arith. It writes its values for ords to out.
type term interface {
	eval(w *worker, ords []uint16, out *vector) error
}

func (g *gatherer) vector() *vector {
	if g.depth == len(g.vecs) {
		g.vecs = append(g.vecs, new(vector))
	}
	g.depth++
	return g.vecs[g.depth-1]
}

func (c *compareOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	out, who := w.outcome(), w.undecided(within)
	if len(c.folds) > 0 {
		e := w.eventsOf(within)
		defer e.release(e.mark())
		var err error
		if who, err = c.fold(ctx, w, within, &out); err != nil {
			return pair{}, err
		}
	}
	err := c.each(ctx, w, who, &out)
	return out.pair(), err
}

// fold works out the folds and returns whom to compare. Where nothing but folds is
// compared, the outcome is the same for all who have no event in any: it is that of one of
// them, and the others are not looked at.
func (c *compareOp) fold(ctx context.Context, w *worker, within *bitmap.Set, out *outcome) (bitmap.Set, error) {
	some := w.cleared()
	for _, f := range c.folds {
		if err := f.run(ctx, w, within); err != nil {
			return bitmap.Set{}, err
		}
		some.Or(bitmap.FromWords(&w.events.folds[f].who))
	}
	who := w.undecided(within)
	if c.columns {
		return who, nil
	}
	active := bitmap.FromWords(some)
	idle := bitmap.AndNot(who, active, w.grab())
	if idle.IsEmpty() {
		return who, nil
	}
	one := w.outcome()
	if err := c.each(ctx, w, bitmap.FromArray([]uint16{least(idle)}), &one); err != nil {
		return bitmap.Set{}, err
	}
	switch r := one.pair(); {
	case r.yes.Form != bitmap.Empty:
		out.yes.Or(idle)
	case !r.exact:
		out.maybe.Or(idle)
		out.exact = false
		if r.fail.Form != bitmap.Empty {
			out.fail.Or(idle)
		}
	}
	return bitmap.And(who, active, w.grab()), nil
}

// least returns the first element of a set that is not empty.
func least(s bitmap.Set) uint16 {
	switch s.Form {
	case bitmap.Sparse:
		return s.Array[0]
	case bitmap.Dense:
		for i, word := range s.Words {
			if word != 0 {
				return uint16(i<<6 | bits.TrailingZeros64(word))
			}
		}
	}
	return 0
}

// each compares for each profile of a set.
func (c *compareOp) each(ctx context.Context, w *worker, who bitmap.Set, out *outcome) error {
	l, r := w.gather.vector(), w.gather.vector()
	defer func() { w.gather.depth -= 2 }()
	return w.gather.each(ctx, who, func(ords []uint16) error {
		if err := c.l.eval(w, ords, l); err != nil {
			return err
		}
		if err := c.r.eval(w, ords, r); err != nil {
			return err
		}
		for i, o := range ords {
			switch max(l.st[i], r.st[i]) {
			case stateFailed:
				out.set(o, Unknown, true)
			case stateAbsent:
				out.set(o, Unknown, false)
			default:
				if c.holds(l, r, i) {
					out.yes.SetBit(o)
				}
			}
		}
		return nil
	})
}

func (c *compareOp) holds(l, r *vector, i int) bool {
	if c.isFloat {
		return holds(c.op, l.f[i], r.f[i])
	}
	if c.lScale != c.rScale {
		return holds(c.op, compareScaled(l.n[i], c.lScale, r.n[i], c.rScale), 0)
	}
	return holds(c.op, l.n[i], r.n[i])
}

// holds compares as IEEE 754 says: with a NaN only NE is true.
func holds[T int | int64 | float64](op CompareOp, a, b T) bool {
	switch op {
	case EQ:
		return a == b
	case NE:
		return a != b
	case LT:
		return a < b
	case LE:
		return a <= b
	case GT:
		return a > b
	}
	return a >= b
}

// compareScaled compares a*10^-sa with b*10^-sb exactly, in 128 bits.
func compareScaled(a int64, sa uint8, b int64, sb uint8) int {
	if (a < 0) != (b < 0) {
		return cmp.Compare(a, b)
	}
	ahi, alo := bits.Mul64(magnitude(a), uint64(pow10[max(sa, sb)-sa]))
	bhi, blo := bits.Mul64(magnitude(b), uint64(pow10[max(sa, sb)-sb]))
	c := cmp.Or(cmp.Compare(ahi, bhi), cmp.Compare(alo, blo))
	if a < 0 {
		return -c
	}
	return c
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

var pow10 = [schema.MaxScale + 1]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// columnTerm reads an attribute.
type columnTerm struct {
	attr schema.AttrID
	kind schema.Kind
}

func (t *columnTerm) eval(w *worker, ords []uint16, out *vector) error {
	if t.kind == schema.Bool {
		return t.bools(w, ords, out)
	}
	_, has := w.gather.intsFor(len(ords))
	if err := w.cur.GatherInts(t.attr, w.chunk, ords, out.n[:len(ords)], has); err != nil {
		return err
	}
	for i, ok := range has {
		out.st[i] = stateAbsent
		if ok {
			out.st[i] = stateOK
		}
	}
	if t.kind == schema.Float {
		for i := range ords {
			out.f[i] = schema.FloatFromOrdered(out.n[i])
		}
	}
	return nil
}

func (t *columnTerm) bools(w *worker, ords []uint16, out *vector) error {
	codes := w.gather.codesFor(len(ords))
	if err := w.cur.GatherCodes(t.attr, w.chunk, ords, codes); err != nil {
		return err
	}
	for i, c := range codes {
		out.n[i], out.st[i] = int64(c), stateOK
		if c == schema.NoCode {
			out.st[i] = stateAbsent
		}
	}
	return nil
}

// literalTerm is a constant.
type literalTerm struct {
	n  int64
	f  float64
	st state
}

func (t *literalTerm) eval(_ *worker, ords []uint16, out *vector) error {
	for i := range ords {
		out.n[i], out.f[i], out.st[i] = t.n, t.f, t.st
	}
	return nil
}

// unaryTerm applies a function to each value of another term.
type unaryTerm struct {
	of    term
	apply func(v *vector, i int) (ok bool) // in place; false: it failed
}

func (t *unaryTerm) eval(w *worker, ords []uint16, out *vector) error {
	if err := t.of.eval(w, ords, out); err != nil {
		return err
	}
	for i := range ords {
		if out.st[i] == stateOK && !t.apply(out, i) {
			out.st[i] = stateFailed
		}
	}
	return nil
}

// intTerm is exact arithmetic: a result that leaves the kind's range fails.
type intTerm struct {
	apply  func(a, b int64) (int64, bool)
	l, r   term
	lo, hi int64 // the kind's range
}

func (t *intTerm) eval(w *worker, ords []uint16, out *vector) error {
	if err := t.l.eval(w, ords, out); err != nil {
		return err
	}
	r := w.gather.vector()
	defer func() { w.gather.depth-- }()
	if err := t.r.eval(w, ords, r); err != nil {
		return err
	}
	for i := range ords {
		if out.st[i] = max(out.st[i], r.st[i]); out.st[i] != stateOK {
			continue
		}
		n, ok := t.apply(out.n[i], r.n[i])
		if !ok || n < t.lo || n > t.hi {
			out.st[i] = stateFailed
		}
		out.n[i] = n
	}
	return nil
}

// floatTerm is IEEE 754 arithmetic, which never fails.
type floatTerm struct {
	apply func(a, b float64) float64
	l, r  term
}

func (t *floatTerm) eval(w *worker, ords []uint16, out *vector) error {
	if err := t.l.eval(w, ords, out); err != nil {
		return err
	}
	r := w.gather.vector()
	defer func() { w.gather.depth-- }()
	if err := t.r.eval(w, ords, r); err != nil {
		return err
	}
	for i := range ords {
		out.st[i] = max(out.st[i], r.st[i])
		out.f[i] = t.apply(out.f[i], r.f[i])
	}
	return nil
}

func addInt(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subInt(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if (a < 0) != (b < 0) {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo < 1<<63
}

func divInt(a, b int64) (int64, bool) {
	if b == 0 || a == math.MinInt64 && b == -1 {
		return 0, false
	}
	return a / b, true
}

func modInt(a, b int64) (int64, bool) {
	if b == 0 || a == math.MinInt64 && b == -1 {
		return 0, false
	}
	return a % b, true
}

// decimalFloat returns the float nearest to n * 10^-scale.
func decimalFloat(n int64, scale uint8) float64 {
	if m := magnitude(n); m <= 1<<53 {
		return float64(n) / float64(pow10[scale]) // both are exact, so the quotient is rounded once
	}
	f, _ := strconv.ParseFloat(schema.DecimalValue(n, scale).String(), 64)
	return f
}
