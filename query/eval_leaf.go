package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// batchSize is how many profiles are gathered at once: their values stay in the first
// cache level, and the context is looked at often enough to stop within 100 ms even
// when each profile costs an interpreter's run.
const batchSize = 1024

// gatherer holds a worker's buffers for gathering. Only one operator gathers at a time.
type gatherer struct {
	ords  []uint16
	codes []uint32
	ints  []int64
	has   []bool
	strs  [][]byte
	vecs  []*vector // a stack, see compareOp
	depth int
}

// each calls f with the elements of s, at most batchSize at a time.
func (g *gatherer) each(ctx context.Context, s bitmap.Set, f func(ords []uint16) error) error {
	g.ords = s.AppendTo(g.ords[:0])
	for rest := g.ords; len(rest) > 0; {
		part := rest[:min(len(rest), batchSize)]
		rest = rest[len(part):]
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) codesFor(n int) []uint32 {
	if g.codes == nil {
		g.codes = make([]uint32, batchSize)
	}
	return g.codes[:n]
}

func (g *gatherer) intsFor(n int) ([]int64, []bool) {
	if g.ints == nil {
		g.ints, g.has = make([]int64, batchSize), make([]bool, batchSize)
	}
	return g.ints[:n], g.has[:n]
}

func (g *gatherer) stringsFor(n int) [][]byte {
	if g.strs == nil {
		g.strs = make([][]byte, batchSize)
	}
	return g.strs[:n]
}

// hasLeaf is true where there is a value.
type hasLeaf struct{ attr schema.AttrID }

func (l hasLeaf) read(_ context.Context, w *worker, _ *bitmap.Set) (bitmap.Set, error) {
	return w.cur.Exists(l.attr, w.chunk, w.grab())
}

// rowsLeaf is true where the attribute has one of a few codes.
type rowsLeaf struct {
	attr  schema.AttrID
	codes []uint32
}

func (l *rowsLeaf) read(_ context.Context, w *worker, _ *bitmap.Set) (bitmap.Set, error) {
	if len(l.codes) == 0 {
		return bitmap.Set{}, nil
	}
	if len(l.codes) == 1 {
		return w.cur.Row(l.attr, l.codes[0], w.chunk, w.grab())
	}
	u := w.union()
	for _, c := range l.codes {
		mark := w.used
		s, err := w.cur.Row(l.attr, c, w.chunk, w.grab())
		if err != nil {
			return bitmap.Set{}, err
		}
		if !u.add(s) {
			w.release(mark)
		}
	}
	return u.set, nil
}

// allRowsLeaf is true where a set has all of several codes.
type allRowsLeaf struct {
	attr  schema.AttrID
	codes []uint32
}

func (l *allRowsLeaf) read(_ context.Context, w *worker, _ *bitmap.Set) (bitmap.Set, error) {
	acc := bitmap.Set{Form: bitmap.Full}
	for _, c := range l.codes {
		s, err := w.cur.Row(l.attr, c, w.chunk, w.grab())
		if err != nil {
			return bitmap.Set{}, err
		}
		if acc = bitmap.And(acc, s, w.grab()); acc.Form == bitmap.Empty {
			break
		}
	}
	return acc, nil
}

// codesLeaf is true where a scalar attribute has one of many codes.
type codesLeaf struct {
	attr   schema.AttrID
	wanted []uint64 // bit code%64 of word code/64
}

func (l *codesLeaf) read(ctx context.Context, w *worker, within *bitmap.Set) (bitmap.Set, error) {
	from, err := w.candidates(l.attr, within)
	if err != nil {
		return bitmap.Set{}, err
	}
	out := w.cleared()
	err = w.gather.each(ctx, from, func(ords []uint16) error {
		codes := w.gather.codesFor(len(ords))
		if err := w.cur.GatherCodes(l.attr, w.chunk, ords, codes); err != nil {
			return err
		}
		for i, c := range codes {
			if at := int(c / 64); at < len(l.wanted) && l.wanted[at]>>(c%64)&1 != 0 {
				out.SetBit(ords[i])
			}
		}
		return nil
	})
	return bitmap.FromWords(out), err
}

// candidates returns the profiles that a test of one attribute has to look at.
func (w *worker) candidates(attr schema.AttrID, within *bitmap.Set) (bitmap.Set, error) {
	if within != nil {
		return *within, nil
	}
	return w.cur.Exists(attr, w.chunk, w.grab())
}

// undecided returns the profiles that an operator which knows no better has to look at.
func (w *worker) undecided(within *bitmap.Set) bitmap.Set {
	if within != nil {
		return *within
	}
	return w.live
}

// cleared returns an empty scratch buffer.
func (w *worker) cleared() *bitmap.Words {
	out := w.grab()
	out.Clear()
	return out
}

// rangesLeaf is true where an ordered attribute lies in one of a few ranges.
type rangesLeaf struct {
	attr schema.AttrID
	in   []span64
}

func (l *rangesLeaf) read(_ context.Context, w *worker, within *bitmap.Set) (bitmap.Set, error) {
	if len(l.in) == 1 {
		return w.cur.Range(l.attr, l.in[0].lo, l.in[0].hi, w.chunk, within, w.grab())
	}
	u := w.union()
	for _, r := range l.in {
		s, err := w.cur.Range(l.attr, r.lo, r.hi, w.chunk, within, w.grab())
		if err != nil {
			return bitmap.Set{}, err
		}
		u.add(s)
	}
	return u.set, nil
}

// pointsLeaf is true where an ordered attribute lies in one of many ranges, which ascend.
type pointsLeaf struct {
	attr schema.AttrID
	in   []span64
}

func (l *pointsLeaf) read(ctx context.Context, w *worker, within *bitmap.Set) (bitmap.Set, error) {
	around, err := w.cur.Range(l.attr, l.in[0].lo, l.in[len(l.in)-1].hi, w.chunk, within, w.grab())
	if err != nil {
		return bitmap.Set{}, err
	}
	out := w.cleared()
	err = w.gather.each(ctx, around, func(ords []uint16) error {
		ints, has := w.gather.intsFor(len(ords))
		if err := w.cur.GatherInts(l.attr, w.chunk, ords, ints, has); err != nil {
			return err
		}
		for i, x := range ints {
			if has[i] && l.holds(x) {
				out.SetBit(ords[i])
			}
		}
		return nil
	})
	return bitmap.FromWords(out), err
}

func (l *pointsLeaf) holds(x int64) bool {
	lo, hi := 0, len(l.in) // the first range that ends at x or later
	for lo < hi {
		mid := (lo + hi) / 2
		if l.in[mid].hi < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(l.in) && l.in[lo].lo <= x
}

// textLeaf is true where an inline string passes a test.
type textLeaf struct {
	attr schema.AttrID
	test func([]byte) bool
}

func (l *textLeaf) read(ctx context.Context, w *worker, within *bitmap.Set) (bitmap.Set, error) {
	from, err := w.candidates(l.attr, within)
	if err != nil {
		return bitmap.Set{}, err
	}
	out := w.cleared()
	err = w.gather.each(ctx, from, func(ords []uint16) error {
		strs := w.gather.stringsFor(len(ords))
		if err := w.cur.GatherStrings(l.attr, w.chunk, ords, strs); err != nil {
			return err
		}
		for i, s := range strs {
			if s != nil && l.test(s) {
				out.SetBit(ords[i])
			}
		}
		clear(strs) // they would keep the block that they are of
		return nil
	})
	return bitmap.FromWords(out), err
}

// findLeaf is true for the profiles that the value index found.
type findLeaf struct{ slot int }

func (l findLeaf) read(_ context.Context, w *worker, _ *bitmap.Set) (bitmap.Set, error) {
	f := &w.found[l.slot]
	return bitmap.FromArray(f.low[f.start(w.chunk):f.start(w.chunk+1)]), nil
}

// found is the outcome of a find: ordinals ascending, and their lower 16 bits.
type found struct {
	ords []uint32
	low  []uint16
}

// start returns the index of the first ordinal of a chunk, or of the next one found.
func (f *found) start(chunk int) int {
	i, _ := slices.BinarySearchFunc(f.ords, chunk, func(o uint32, chunk int) int {
		return cmp.Compare(int(o>>bitmap.ChunkBits), chunk)
	})
	return i
}

// lookUp does the finds of a prepared expression.
func (p *Prepared) lookUp(ctx context.Context, view View) ([]found, error) {
	if len(p.finds) == 0 {
		return nil, nil
	}
	out := make([]found, len(p.finds))
	for i, f := range p.finds {
		for _, s := range f.texts {
			ords, err := view.Find(ctx, f.attr, s)
			if err != nil {
				return nil, err
			}
			out[i].ords = append(out[i].ords, ords...)
		}
		slices.Sort(out[i].ords)
		out[i].ords = slices.Compact(out[i].ords)
		for _, o := range out[i].ords {
			out[i].low = append(out[i].low, uint16(o))
		}
	}
	return out, nil
}
