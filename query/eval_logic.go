package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
)

// constOp is a constant.
type constOp Truth

func (c constOp) eval(_ context.Context, w *worker, _ *bitmap.Set) (pair, error) {
	switch Truth(c) {
	case True:
		return pair{yes: w.live, exact: true}, nil
	case False:
		return pair{exact: true}, nil
	}
	return pair{maybe: w.live, fail: w.live}, nil
}

// segmentOp passes through.
type segmentOp struct{ kid *op }

func (s *segmentOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	return w.eval(ctx, s.kid, within)
}

// notOp swaps true and false.
type notOp struct{ kid *op }

func (n *notOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	r, err := w.eval(ctx, n.kid, within)
	if err != nil {
		return pair{}, err
	}
	not := bitmap.AndNot(w.live, r.yes, w.grab())
	if r.exact {
		return pair{yes: not, exact: true}, nil
	}
	return pair{yes: bitmap.AndNot(w.live, r.maybe, w.grab()), maybe: not, fail: r.fail}, nil
}

// orOp is true where one of its operands is.
type orOp struct{ kids []*op }

func (n *orOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	yes, unknown, fail := w.union(), w.union(), w.union()
	for _, k := range n.kids {
		mark := w.used
		undecided := within
		if k.narrow {
			base := w.live
			if within != nil {
				base = *within
			}
			set := bitmap.AndNot(base, yes.set, w.grab()) // the operand may return it, so it is not reused
			if set.IsEmpty() {
				break
			}
			undecided = w.hold(set)
		}
		keep, err := n.operand(ctx, w, k, undecided, &yes, &unknown, &fail)
		if err != nil {
			return pair{}, err
		}
		if !keep {
			w.release(mark)
		}
	}
	r := pair{yes: yes.set, exact: unknown.set.Form == bitmap.Empty}
	if !r.exact {
		r.maybe = bitmap.Or(yes.set, unknown.set, w.grab())
		if fail.set.Form != bitmap.Empty {
			r.fail = bitmap.AndNot(fail.set, yes.set, w.grab())
		}
	}
	return r, nil
}

// operand adds one operand. keep says that a union still refers to its buffers.
func (n *orOp) operand(ctx context.Context, w *worker, k *op, within *bitmap.Set, yes, unknown, fail *union) (keep bool, err error) {
	if k.leaf == nil {
		r, err := w.eval(ctx, k, within)
		if err != nil {
			return false, err
		}
		keep = yes.add(r.yes)
		if !r.exact {
			keep = unknown.add(r.maybe) || keep // may hold true ones as well: they are in yes
			keep = fail.add(r.fail) || keep
		}
		return keep, nil
	}
	is, known, exact, err := w.read(ctx, k, within)
	if err != nil {
		return false, err
	}
	keep = yes.add(is)
	if !exact {
		keep = unknown.add(bitmap.AndNot(w.live, known, w.grab())) || keep
	}
	return keep, nil
}

// union accumulates sets. Until a second one comes, the first is kept as it is.
type union struct {
	set bitmap.Set
	acc *bitmap.Words
}

func (w *worker) union() union { return union{acc: w.grab()} }

// add adds s, and reports whether the union now refers to the memory of s.
func (u *union) add(s bitmap.Set) (refers bool) {
	if s.Form == bitmap.Empty {
		return false
	}
	if u.set.Form == bitmap.Empty || s.Form == bitmap.Full {
		u.set = s
		return s.Form != bitmap.Full
	}
	u.set = bitmap.Or(u.set, s, u.acc)
	return false
}

// andOp is true where all of its operands are.
type andOp struct{ kids []*op }

func (n *andOp) eval(ctx context.Context, w *worker, within *bitmap.Set) (pair, error) {
	c := w.conj()
	defer w.done()
	if err := c.fill(ctx, w, n.kids, within); err != nil {
		return pair{}, err
	}
	return c.result(w), nil
}

func (n *andOp) count(ctx context.Context, w *worker) (tally, error) {
	c := w.conj()
	defer w.done()
	if err := c.fill(ctx, w, n.kids, nil); err != nil || c.dead {
		return tally{}, err
	}
	if len(c.fail) > 0 {
		r := c.result(w)
		return r.tally(), nil
	}
	scratch := w.grab()
	t := tally{yes: c.yes.count(w, scratch)}
	if !c.exact {
		t.unknown = c.maybe.count(w, scratch) - t.yes
	}
	return t, nil
}

// terms are sets whose intersection, less those of not, is wanted.
type terms struct{ in, not []bitmap.Set }

func (t *terms) reset() { t.in, t.not = t.in[:0], t.not[:0] }

// close adds the living where nothing else bounds the intersection to them.
func (t *terms) close(w *worker) {
	if len(t.in) == 0 {
		t.in = append(t.in, w.live)
	}
}

func (t *terms) count(w *worker, scratch *bitmap.Words) uint64 {
	t.close(w)
	return uint64(bitmap.CountAndNot(t.in, t.not, scratch))
}

// fold replaces the terms by their result, which stands in buf, in memory that nobody
// releases before the conjunction is done, or in none.
func (t *terms) fold(w *worker, buf *bitmap.Words) bitmap.Set {
	t.close(w)
	s := t.in[0]
	if len(t.in) > 1 || len(t.not) > 0 {
		s = bitmap.AndAllNot(t.in, t.not, buf)
	}
	t.in, t.not = append(t.in[:0], s), t.not[:0]
	return s
}

// conj collects the operands of an "and" without evaluating the intersection, so that
// one pass over them all can do, and none of it is written when only a count is wanted.
type conj struct {
	yes, maybe terms // maybe is unused while exact
	fail       []bitmap.Set
	exact      bool
	dead       bool // false everywhere
}

func (w *worker) conj() *conj {
	if w.depth == len(w.conjs) {
		w.conjs = append(w.conjs, new(conj))
	}
	c := w.conjs[w.depth]
	w.depth++
	c.yes.reset()
	c.maybe.reset()
	c.fail, c.exact, c.dead = c.fail[:0], true, false
	return c
}

func (w *worker) done() { w.depth-- }

const (
	// maxTerms bounds how many operands wait for the pass that combines them: as many as
	// the kernel takes at once.
	maxTerms = 8

	// maxHeld is from how many buffers of 8 KiB on a conjunction gives back those of the
	// operands it has combined.
	maxHeld = 32
)

// fill adds operands until all are in or the conjunction is false everywhere.
func (c *conj) fill(ctx context.Context, w *worker, kids []*op, within *bitmap.Set) error {
	yes, maybe := w.grab(), w.grab()
	mark := w.used
	for i, k := range kids {
		undecided := (*bitmap.Set)(nil)
		if k.narrow && (i > 0 || within != nil) {
			if within != nil {
				c.both(*within)
				within = nil // once is enough
			}
			left := c.fold(w)
			if left.IsEmpty() {
				c.dead = true
				return nil
			}
			undecided = w.hold(left)
		}
		if err := c.add(ctx, w, k, undecided); err != nil || c.dead {
			return err
		}
		if max(len(c.yes.in)+len(c.yes.not), len(c.maybe.in)+len(c.maybe.not)) > maxTerms {
			c.fold(w)
		}
		if w.used-mark > maxHeld && len(c.fail) == 0 {
			c.fold(w)
			c.yes.own(yes)
			if !c.exact {
				c.maybe.own(maybe)
			}
			w.release(mark)
		}
	}
	return nil
}

// own copies the one term that a fold left to buf.
func (t *terms) own(buf *bitmap.Words) {
	if from := t.in[0].ToWords(buf); from != buf {
		*buf = *from
	}
	t.in[0] = bitmap.FromWords(buf)
}

// add adds one operand.
func (c *conj) add(ctx context.Context, w *worker, k *op, within *bitmap.Set) error {
	if k.leaf != nil {
		return c.addLeaf(ctx, w, k, within)
	}
	if n, ok := k.inner.(*notOp); ok && n.kid.leaf != nil {
		w.stats[k.id].chunks++
		return c.addNot(ctx, w, n.kid, within)
	}
	r, err := w.eval(ctx, k, within)
	if err != nil {
		return err
	}
	if r.exact {
		c.both(r.yes)
		return nil
	}
	c.split()
	c.yes.in = append(c.yes.in, r.yes)
	c.maybe.in = append(c.maybe.in, r.maybe)
	c.dead = c.dead || r.maybe.Form == bitmap.Empty
	if r.fail.Form != bitmap.Empty {
		c.fail = append(c.fail, r.fail)
	}
	return nil
}

// both adds a set that is known everywhere.
func (c *conj) both(s bitmap.Set) {
	c.yes.in = append(c.yes.in, s)
	if !c.exact {
		c.maybe.in = append(c.maybe.in, s)
	}
	c.dead = c.dead || s.Form == bitmap.Empty
}

// split makes maybe a list of its own.
func (c *conj) split() {
	if c.exact {
		c.exact = false
		c.maybe.in = append(c.maybe.in, c.yes.in...)
		c.maybe.not = append(c.maybe.not, c.yes.not...)
	}
}

func (c *conj) addLeaf(ctx context.Context, w *worker, k *op, within *bitmap.Set) error {
	yes, known, exact, err := w.read(ctx, k, within)
	if err != nil {
		return err
	}
	if exact {
		c.both(yes)
		return nil
	}
	c.split()
	c.yes.in = append(c.yes.in, yes)
	c.maybe.not = append(c.maybe.not, bitmap.AndNot(known, yes, w.grab())) // where it is false
	return nil
}

// addNot adds the negation of a leaf: what is true of it is subtracted, zero-copy.
func (c *conj) addNot(ctx context.Context, w *worker, k *op, within *bitmap.Set) error {
	yes, known, exact, err := w.read(ctx, k, within)
	if err != nil {
		return err
	}
	if !exact {
		c.split()
		c.yes.in = append(c.yes.in, known)
		c.maybe.not = append(c.maybe.not, yes)
	} else if !c.exact {
		c.maybe.not = append(c.maybe.not, yes)
	}
	c.yes.not = append(c.yes.not, yes)
	return nil
}

// fold combines what there is so far and returns maybe.
func (c *conj) fold(w *worker) bitmap.Set {
	yes := c.yes.fold(w, w.grab())
	if c.exact {
		return yes
	}
	return c.maybe.fold(w, w.grab())
}

func (c *conj) result(w *worker) pair {
	if c.dead {
		return pair{exact: true}
	}
	maybe := c.fold(w)
	if c.exact {
		return pair{yes: maybe, exact: true}
	}
	r := pair{yes: c.yes.in[0], maybe: maybe}
	if len(c.fail) > 0 {
		all := w.union()
		for _, f := range c.fail {
			all.add(f)
		}
		// A failure counts only where nothing else decided.
		kept := bitmap.And(all.set, r.maybe, w.grab())
		r.fail = bitmap.AndNot(kept, r.yes, w.grab())
	}
	return r
}
