package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// How a node is evaluated on one chunk.
//
// Every set an operator returns holds living profiles only. It is zero-copy (the
// cache's) or stands in a buffer of the worker, and is valid until the worker leaves
// the chunk, or until an enclosing "or" releases the buffers of an operand it has
// consumed.
//
// within, if not nil, holds the profiles that are still undecided: the caller ignores
// the result elsewhere, so that an operator may leave anything there. Costly operators
// look at no other profiles.

// pair is the three-valued result of a node on one chunk; see the package comment.
type pair struct {
	yes, maybe bitmap.Set
	fail       bitmap.Set // out of maybe \ yes: unknown because something overflowed or divided by zero
	exact      bool       // nothing is unknown: maybe is yes
}

// inner is an operator that returns a pair.
type inner interface {
	eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error)
}

// leaf is a test of one attribute. It returns where it is true; whether it is false or
// unknown elsewhere is a matter of the attribute's presence (op.nullable).
type leaf interface {
	read(ctx context.Context, w *worker, within *bitmap.Set) (bitmap.Set, error)
}

// worker evaluates one expression on one chunk after the other. It belongs to one goroutine.
type worker struct {
	view      View
	cur       Cursor
	env       Env
	found     []found // by findLeaf.slot; shared, read-only
	chunk     int
	live      bitmap.Set // of the chunk
	liveCount int
	pool      []*bitmap.Words // scratch: a stack, emptied at each chunk
	used      int
	held      []*bitmap.Set // what within points to: a stack too, so that nothing is allocated per chunk
	holding   int
	conjs     []*conj // a stack too
	depth     int
	stats     []nodeStats // by op.id
	trace     bool        // measure bytes per node
	gather    gatherer
	inputs    map[*inputs]*inputState
	choices   map[*choicePlan]*worker // what works them out, on the same chunk
	events    *eventWork              // nil until it is needed
	total     tally

	unknownEvents uint64 // for how many events a condition, or what is folded, was unknown
}

// nodeStats are what a plan tells of one node.
type nodeStats struct {
	chunks, bytes uint64
	events        EventReads
}

// eventReads returns what reading events took so far, if the cursor counts.
func (w *worker) eventReads() EventReads {
	if r, ok := w.cur.(EventReader); ok {
		return r.EventReads()
	}
	return EventReads{}
}

// tally adds up the results of chunks.
type tally struct {
	yes, unknown, failed uint64
	chunks               uint64 // chunks with living profiles
}

func (t *tally) add(o tally) {
	t.yes += o.yes
	t.unknown += o.unknown
	t.failed += o.failed
	t.chunks += o.chunks
}

// grab returns a scratch buffer with undefined content.
func (w *worker) grab() *bitmap.Words {
	if w.used == len(w.pool) {
		w.pool = append(w.pool, new(bitmap.Words))
	}
	w.used++
	return w.pool[w.used-1]
}

// release gives back all buffers grabbed since used was mark.
func (w *worker) release(mark int) { w.used = mark }

// hold returns a pointer to a copy of s that is valid until the worker leaves the chunk.
func (w *worker) hold(s bitmap.Set) *bitmap.Set {
	if w.holding == len(w.held) {
		w.held = append(w.held, new(bitmap.Set))
	}
	p := w.held[w.holding]
	w.holding++
	*p = s
	return p
}

// begin moves to a chunk and reads who lives in it.
func (w *worker) begin(chunk int) error {
	w.used, w.holding, w.depth, w.chunk = 0, 0, 0, chunk
	live, err := w.cur.Exists(schema.KeyAttr, chunk, w.grab())
	if err != nil {
		return err
	}
	w.live, w.liveCount = live, live.Count()
	return nil
}

// eval evaluates a node.
func (w *worker) eval(ctx context.Context, o *op, within *bitmap.Set) (pair, error) {
	if o.leaf == nil {
		st := &w.stats[o.id]
		st.chunks++
		if w.trace && len(o.kids) == 0 {
			bytes, events := w.cur.BytesRead(), w.eventReads()
			defer func() {
				st.bytes += w.cur.BytesRead() - bytes
				st.events.Add(w.eventReads().less(events))
			}()
		}
		return o.inner.eval(ctx, w, within)
	}
	yes, known, exact, err := w.read(ctx, o, within)
	if err != nil || exact {
		return pair{yes: yes, exact: exact}, err
	}
	absent := bitmap.AndNot(w.live, known, w.grab())
	return pair{yes: yes, maybe: bitmap.Or(absent, yes, w.grab())}, nil
}

// read evaluates a leaf: where it is true, and, unless exact, where it is not unknown.
func (w *worker) read(ctx context.Context, o *op, within *bitmap.Set) (yes, known bitmap.Set, exact bool, err error) {
	st := &w.stats[o.id]
	st.chunks++
	if w.trace {
		before := w.cur.BytesRead()
		defer func() { st.bytes += w.cur.BytesRead() - before }()
	}
	if yes, err = o.leaf.read(ctx, w, within); err != nil || !o.nullable {
		return yes, known, true, err
	}
	known, err = w.cur.Exists(o.attr, w.chunk, w.grab())
	return yes, known, w.isLive(known), err
}

// isLive reports whether a subset of the living is all of them.
func (w *worker) isLive(s bitmap.Set) bool {
	if s.Form == bitmap.Full || s.Form == bitmap.Dense && w.live.Form == bitmap.Dense && s.Words == w.live.Words {
		return true
	}
	return s.Count() == w.liveCount
}

// count evaluates a node over the whole chunk for its numbers only, which often needs
// no result in memory.
func (w *worker) count(ctx context.Context, o *op) (tally, error) {
	if o.leaf != nil {
		yes, known, exact, err := w.read(ctx, o, nil)
		t := tally{yes: uint64(yes.Count())}
		if !exact {
			t.unknown = uint64(w.liveCount - known.Count())
		}
		return t, err
	}
	switch in := o.inner.(type) {
	case *notOp:
		w.stats[o.id].chunks++
		t, err := w.count(ctx, in.kid)
		t.yes = uint64(w.liveCount) - t.yes - t.unknown
		return t, err
	case *segmentOp:
		w.stats[o.id].chunks++
		return w.count(ctx, in.kid)
	case *andOp:
		w.stats[o.id].chunks++
		return in.count(ctx, w)
	}
	r, err := w.eval(ctx, o, nil)
	return r.tally(), err
}

func (r *pair) tally() tally {
	t := tally{yes: uint64(r.yes.Count())}
	if !r.exact {
		t.unknown = uint64(r.maybe.Count()) - t.yes
		t.failed = uint64(r.fail.Count())
	}
	return t
}
