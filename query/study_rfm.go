package query

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// All calls f with the value of a field of each of the people of a set, once, in no order.
// What a calculation folds of events is worked out for all of them together; [StudyChunk.Values]
// does it batch by batch.
func (c *StudyChunk) All(ctx context.Context, of *StudyField, within bitmap.Set, f func(who uint16, v schema.Value) error) error {
	r, err := c.reader(ctx, of)
	if err != nil {
		return err
	}
	if r.plan == nil {
		return c.Values(ctx, of, within, f)
	}
	return r.plan.each(ctx, c.w, within, eachResult(f))
}

// eachResult takes the results of a plan one by one.
type eachResult func(who uint16, v schema.Value) error

func (f eachResult) one(who uint16, v schema.Value) error { return f(who, v) }

func (f eachResult) all(who bitmap.Set, v schema.Value) error {
	for _, o := range who.AppendTo(nil) {
		if err := f(o, v); err != nil {
			return err
		}
	}
	return nil
}

// Keep is [StudyChunk.Keep] for what is kept beside the chunks.
func (s *Study) Keep(bytes int64) error { return (&StudyChunk{s: s}).Keep(bytes) }

// Put adds one to the people of the cell that is wanted, after Each, by ordinal.
func (s *Study) Put(ordinal uint32) {
	if s.people != nil {
		s.people.chunk(int(ordinal >> bitmap.ChunkBits)).SetBit(uint16(ordinal))
	}
}

// Keys calls f with the keys of people, one after the other; the ordinals of one chunk stand
// together and ascend. A key is valid during the call.
func (s *Study) Keys(ctx context.Context, ordinals []uint32, f func(key []byte) error) error {
	cur := s.view.Cursor()
	defer cur.Close()
	var ords []uint16
	strs := make([][]byte, min(batchSize, len(ordinals)))
	for at := 0; at < len(ordinals); at += len(ords) {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := ordinals[at] >> bitmap.ChunkBits
		ords = ords[:0]
		for _, o := range ordinals[at:min(at+batchSize, len(ordinals))] {
			if o>>bitmap.ChunkBits != chunk {
				break
			}
			ords = append(ords, uint16(o))
		}
		if err := cur.GatherStrings(schema.KeyAttr, int(chunk), ords, strs[:len(ords)]); err != nil {
			return err
		}
		for _, key := range strs[:len(ords)] {
			if err := f(key); err != nil {
				return err
			}
		}
		cur.Release()
	}
	return nil
}

// Spread works on what is kept beside the chunks: it calls worker once for each goroutine
// that the options allow, and what it returned for numbers below n, each of them once.
func Spread(ctx context.Context, o Options, n int, worker func() func(i int) error) error {
	workers := o.Parallelism
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	errs := make([]error, max(1, min(workers, n)))
	work := func(err *error, f func(i int) error) {
		for *err == nil {
			i := int(next.Add(1) - 1)
			if i >= n {
				return
			}
			if *err = ctx.Err(); *err == nil {
				*err = f(i)
			}
		}
		next.Store(int64(n)) // the others end too
	}
	var group sync.WaitGroup
	for k := range errs[1:] {
		f := worker()
		group.Go(func() { work(&errs[k+1], f) })
	}
	work(&errs[0], worker())
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
