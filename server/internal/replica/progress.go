package replica

import (
	"context"
	"sync"
)

// progress is how far the member has applied the log.
type progress struct {
	mu      sync.Mutex
	index   uint64
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// reached notes that everything up to an index has been applied.
func (p *progress) reached(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = max(p.index, index)
	p.wakeLocked()
}

// wake has whoever waits look again.
func (p *progress) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked()
}

func (p *progress) wakeLocked() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index
}

// until waits for ready, which is asked at once and after each change.
func (p *progress) until(ctx context.Context, ready func(index uint64) (bool, error)) error {
	for {
		p.mu.Lock()
		index := p.index
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if ok, err := ready(index); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
