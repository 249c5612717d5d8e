package query

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// itemChunks is how many chunks a worker takes at once: few enough to share a
// population of 10 million (153 chunks) evenly, many enough that taking is free.
const itemChunks = 4

// visitor does something with each chunk that has living profiles. Each worker has its own.
type visitor func(ctx context.Context, w *worker) error

// totals are what all workers together have seen.
type totals struct {
	tally
	stats []nodeStats
	bytes uint64
}

func (t *totals) answer() Answer {
	return Answer{Unknown: t.unknown, Errors: t.failed, BytesRead: t.bytes}
}

// run is one evaluation of a prepared expression over all chunks.
type run struct {
	view    View
	p       *Prepared
	env     Env
	trace   bool
	found   []found
	chunks  int
	next    atomic.Int64 // the next item to take
	stopped atomic.Bool

	mu    sync.Mutex
	err   error // the first
	total totals
}

// runAll evaluates p on every chunk; visit is called once per worker to make its visitor,
// before the workers start. It returns when all workers have ended.
func runAll(ctx context.Context, view View, p *Prepared, o Options, trace bool, visit func() visitor) (totals, error) {
	r := &run{view: view, p: p, env: envOf(o), trace: trace, chunks: view.Chunks()}
	r.total.stats = make([]nodeStats, len(p.ops))
	var err error
	if r.found, err = p.lookUp(ctx, view); err != nil {
		return totals{}, err
	}
	workers := o.Parallelism
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = max(1, min(workers, (r.chunks+itemChunks-1)/itemChunks))
	var group sync.WaitGroup
	for range workers - 1 {
		v := visit()
		group.Go(func() { r.work(ctx, v) })
	}
	r.work(ctx, visit())
	group.Wait()
	return r.total, r.err
}

// envOf returns what an evaluation knows beside the data.
func envOf(o Options) Env { return Env{Now: o.Now.UTC().Truncate(time.Millisecond)} }

// work takes items until there are none, or some worker has failed.
func (r *run) work(ctx context.Context, visit visitor) {
	w := &worker{view: r.view, cur: r.view.Cursor(), env: r.env, found: r.found, trace: r.trace,
		stats: make([]nodeStats, len(r.p.ops))}
	err := r.items(ctx, w, visit)
	bytes := w.cur.BytesRead()
	w.cur.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.err == nil {
		r.err = err
		r.stopped.Store(true)
	}
	r.total.tally.add(w.total)
	r.total.bytes += bytes
	for i, s := range w.stats {
		r.total.stats[i].chunks += s.chunks
		r.total.stats[i].bytes += s.bytes
		r.total.stats[i].events.Add(s.events)
	}
}

func (r *run) items(ctx context.Context, w *worker, visit visitor) error {
	for !r.stopped.Load() {
		first := int(r.next.Add(1)-1) * itemChunks
		if first >= r.chunks {
			return nil
		}
		for chunk := first; chunk < min(first+itemChunks, r.chunks); chunk++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.one(ctx, w, chunk, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) one(ctx context.Context, w *worker, chunk int, visit visitor) error {
	defer w.cur.Release()
	if err := w.begin(chunk); err != nil {
		return err
	}
	if w.liveCount == 0 {
		return nil
	}
	w.total.chunks++
	return visit(ctx, w)
}

// members evaluates p on the worker's chunk and adds its numbers to the worker's total.
func (w *worker) members(ctx context.Context, p *Prepared) (pair, error) {
	r, err := w.eval(ctx, p.root, nil)
	if err == nil {
		w.total.add(r.tally())
	}
	return r, err
}
