package backup

import (
	"context"
	"sync"

	"github.com/kantadb/kanta/query"
)

// workers is how many pieces are on their way at once: one is compressed and hashed while
// the other is written or sent. More would take memory and processors from the questions.
const workers = 2

// each calls do for every index below n, from a few goroutines, each with a codec of its own,
// and returns the first error.
func each(ctx context.Context, n int, do func(ctx context.Context, c *codec, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, workers) {
		c, err := newCodec()
		if err != nil {
			cancel(err)
			break
		}
		all.Go(func() {
			defer c.close()
			for i := range next {
				if err := do(ctx, c, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// tally counts bytes and tells of it. Safe for concurrent use.
type tally struct {
	mu          sync.Mutex
	tell        query.BackupProgress
	done, total int64
}

func (t *tally) add(n int, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += int64(n)
	if t.tell != nil {
		t.tell(t.done, t.total, what)
	}
}
