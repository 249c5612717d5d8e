package client

import (
	"context"
	"crypto/tls"
	"sync"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/wire"
)

// Connections of a pool.
const (
	maxConnections = 4  // more do not go faster to one server, and each costs it memory
	fullConnection = 32 // calls under way on one from which on another is worth its while
)

// pool is a transport of a few connections to one server, which it opens when they are needed
// and opens again when they are lost.
type pool struct {
	address string
	tls     *tls.Config // nil: plain text, on loopback
	key     string
	alone   func() bool // there is no other server to be asked

	mu      sync.Mutex
	open    []*wire.Transport
	dialing chan struct{} // closed when who dials has an answer; nil: nobody does
	failed  error         // that answer, if it is one
	closed  bool
}

// NewClientStream implements [connect.Transport].
func (p *pool) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	t, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return t.NewClientStream(ctx, spec)
}

// get returns the connection with the fewest calls. Who finds none waits for one that is dialed,
// by one caller for all who wait.
func (p *pool) get(ctx context.Context) (*wire.Transport, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, query.Errorf(query.CodeClosed, "the client is closed")
		}
		best, calls := p.best()
		if best != nil && (calls < fullConnection || len(p.open) == maxConnections || p.dialing != nil) {
			p.mu.Unlock()
			return best, nil
		}
		wait, mine := p.dialing, p.dialing == nil
		if mine {
			wait = make(chan struct{})
			p.dialing = wait
		}
		p.mu.Unlock()
		if mine {
			return p.dial(ctx, wait)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		p.mu.Lock()
		err := p.failed
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// best forgets connections that take no more calls, and returns the one with the fewest.
func (p *pool) best() (best *wire.Transport, calls int) {
	left := p.open[:0]
	for _, t := range p.open {
		if t.Draining() {
			continue // it closes itself after its last call
		}
		left = append(left, t)
		if n := t.InFlight(); best == nil || n < calls {
			best, calls = t, n
		}
	}
	clear(p.open[len(left):])
	p.open = left
	return best, calls
}

// dial opens a connection.
func (p *pool) dial(ctx context.Context, done chan struct{}) (*wire.Transport, error) {
	limit := dialMember
	if p.alone() {
		limit = dialTimeout
	}
	inner, cancel := context.WithTimeout(ctx, limit)
	t, err := p.connect(inner)
	cancel()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(done)
	if p.dialing, p.failed = nil, err; ctx.Err() != nil {
		p.failed = nil // that was this caller's affair
	}
	if err != nil {
		return nil, err
	}
	if p.closed {
		_ = t.Close()
		return nil, query.Errorf(query.CodeClosed, "the client is closed")
	}
	p.open = append(p.open, t)
	return t, nil
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, t := range p.open {
		_ = t.Close()
	}
	p.open = nil
}
