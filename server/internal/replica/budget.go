package replica

import (
	"context"
	"sync"
)

// budget bounds the bytes of entries that have been proposed and not yet been decided. Places
// are given in the order in which they were asked for, so that a large entry is not overtaken
// for ever by small ones.
type budget struct {
	mu    sync.Mutex
	free  int
	queue []*claim
}

type claim struct {
	size  int
	given chan struct{}
}

// take waits until there is room.
func (b *budget) take(ctx context.Context, size int) error {
	b.mu.Lock()
	if len(b.queue) == 0 && b.free >= size {
		b.free -= size
		b.mu.Unlock()
		return nil
	}
	c := &claim{size: size, given: make(chan struct{})}
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	select {
	case <-c.given:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == c {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.serve() // those behind it may fit
			return ctx.Err()
		}
	}
	b.free += size // it was given meanwhile
	b.serve()
	return ctx.Err()
}

func (b *budget) give(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += size
	b.serve()
}

// serve gives what is free to those who wait.
func (b *budget) serve() {
	for len(b.queue) > 0 && b.queue[0].size <= b.free {
		b.free -= b.queue[0].size
		close(b.queue[0].given)
		b.queue = b.queue[1:]
	}
}
