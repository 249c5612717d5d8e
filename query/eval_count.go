package query

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// All drivers (CountOf and the others of this package that take a context, a View and a
// Prepared) run p, which was prepared for this very view, with o.Parallelism goroutines;
// all of them have ended when the driver returns. Of the answer they fill everything but
// Position, Now and Elapsed. o.Now is what the expression's "now" is; the caller sets it.
// Errors are ctx's, and the view's: I/O, corruption, a spent budget.

// CountOf counts the profiles for which p is true. A test of one value whose numbers are
// known without reading data reads none.
func CountOf(ctx context.Context, view View, p *Prepared, o Options) (Count, error) {
	c, _, err := countOf(ctx, view, p, o, false)
	return c, err
}

func countOf(ctx context.Context, view View, p *Prepared, o Options, trace bool) (Count, totals, error) {
	if yes, maybe, ok := p.known(view, p.root); ok {
		t := totals{stats: make([]nodeStats, len(p.ops))}
		return Count{Count: yes, Answer: Answer{Unknown: maybe - yes}}, t, ctx.Err()
	}
	t, err := runAll(ctx, view, p, o, trace, func() visitor {
		return func(ctx context.Context, w *worker) error {
			n, err := w.count(ctx, p.root)
			w.total.add(n)
			return err
		}
	})
	if err != nil {
		return Count{}, totals{}, err
	}
	return Count{Count: t.yes, Answer: t.answer()}, t, nil
}

// known returns the numbers of a node that follow from counts which the view has at hand.
func (p *Prepared) known(view View, o *op) (yes, maybe uint64, ok bool) {
	if !p.isExact {
		return 0, 0, false
	}
	switch in := o.inner.(type) {
	case constOp:
		if Truth(in) == Unknown {
			return 0, 0, false // its errors are counted
		}
		yes = p.living * uint64(in)
		return yes, yes, true
	case *segmentOp:
		return p.known(view, in.kid)
	case *notOp:
		yes, maybe, ok = p.known(view, in.kid)
		return p.living - maybe, p.living - yes, ok
	}
	present, exact := view.ExistsCount(o.attr)
	switch l := o.leaf.(type) {
	case hasLeaf:
		return present, present, exact
	case *rowsLeaf:
		if len(l.codes) > 1 && isSet(p.schema, l.attr) {
			return 0, 0, false // a profile may have several
		}
		for _, c := range l.codes {
			n, fixed := view.RowCount(l.attr, c)
			yes += n
			exact = exact && fixed
		}
		if !o.nullable {
			return yes, yes, exact
		}
		return yes, yes + p.living - present, exact
	}
	return 0, 0, false
}

func isSet(s *schema.Schema, id schema.AttrID) bool {
	a, err := attribute(s, id)
	return err == nil && a.Kind == schema.Set
}

// people are the members of an expression: one bit per ordinal.
type people struct {
	words  []uint64
	answer Answer
	count  uint64
}

// collect evaluates p into a bitmap: each chunk is written by one worker, in place.
func collect(ctx context.Context, view View, p *Prepared, o Options) (*people, error) {
	all := &people{words: make([]uint64, view.Chunks()*bitmap.WordsPerSet)}
	t, err := runAll(ctx, view, p, o, false, func() visitor {
		return func(ctx context.Context, w *worker) error {
			r, err := w.members(ctx, p)
			if err != nil {
				return err
			}
			if r.yes.Form != bitmap.Empty {
				to := all.chunk(w.chunk)
				if from := r.yes.ToWords(to); from != to {
					*to = *from
				}
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	all.answer, all.count = t.answer(), t.yes
	return all, nil
}

func (p *people) chunks() int { return len(p.words) / bitmap.WordsPerSet }

func (p *people) chunk(i int) *bitmap.Words {
	return (*bitmap.Words)(p.words[i*bitmap.WordsPerSet:])
}

// set returns the members of a chunk.
func (p *people) set(i int) bitmap.Set { return bitmap.FromWords(p.chunk(i)) }

// ForEachChunk calls f with the members of each chunk that has any, in order of chunk,
// from one goroutine. A set is valid during the call. An error of f ends it and is returned.
func ForEachChunk(ctx context.Context, view View, p *Prepared, o Options, f func(chunk int, yes bitmap.Set) error) (Count, error) {
	all, err := collect(ctx, view, p, o)
	if err != nil {
		return Count{}, err
	}
	for i := range all.chunks() {
		if s := all.set(i); s.Form != bitmap.Empty {
			if err := f(i, s); err != nil {
				return Count{}, err
			}
		}
	}
	return Count{Count: all.count, Answer: all.answer}, nil
}

// WordsOf returns the members as one bit per ordinal, whole chunks of them; the caller owns it.
func WordsOf(ctx context.Context, view View, p *Prepared, o Options) ([]uint64, error) {
	all, err := collect(ctx, view, p, o)
	if err != nil {
		return nil, err
	}
	return all.words, nil
}

// BitmapOf returns the members' ordinals; the caller owns the bitmap.
func BitmapOf(ctx context.Context, view View, p *Prepared, o Options) (*roaring.Bitmap, Count, error) {
	all, err := collect(ctx, view, p, o)
	if err != nil {
		return nil, Count{}, err
	}
	// The bitmap keeps all.words: nobody else does.
	return roaring.FromDense(all.words, false), Count{Count: all.count, Answer: all.answer}, nil
}
