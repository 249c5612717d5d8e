package client

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/server/wire"
)

// crowd is how many calls are under way on each connection before another one is opened: one
// carries the calls of a whole program, and only who streams much at a time fills it.
const crowd = 64

// pool carries calls on a few connections of the compact wire. They are dialed when they are
// needed, and again when they are lost.
type pool struct {
	host string
	most int // connections

	mu      sync.Mutex
	open    []*wire.Transport
	dialing chan struct{} // closed when who dials is done; nil: nobody does
	closed  bool
}

// NewClientStream begins a call on the connection with the fewest.
func (p *pool) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	t, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return t.NewClientStream(ctx, spec)
}

// get returns a connection. One goroutine dials at a time: the others would find nobody, too,
// or take what it brings.
func (p *pool) get(ctx context.Context) (*wire.Transport, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, connect.NewError(connect.CodeCanceled, "the client is closed").WithCause(wire.ErrRefused)
		}
		t := p.best()
		if t != nil && (len(p.open) == p.most || p.dialing != nil || t.InFlight() < crowd) {
			p.mu.Unlock()
			return t, nil
		}
		if wait := p.dialing; wait != nil {
			p.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		done := make(chan struct{})
		p.dialing = done
		p.mu.Unlock()
		t, err := p.dial(ctx)
		p.mu.Lock()
		p.dialing = nil
		if err == nil {
			p.open = append(p.open, t)
		}
		closed := p.closed
		p.mu.Unlock()
		close(done)
		if err != nil || closed {
			if err == nil {
				_ = t.Close() // the client was closed meanwhile
				continue
			}
			return nil, err
		}
		return t, nil
	}
}

// best forgets the connections that take no more calls and returns the one with the fewest.
func (p *pool) best() (best *wire.Transport) {
	kept := p.open[:0]
	for _, t := range p.open {
		select {
		case <-t.Done():
			continue
		default:
		}
		if t.Draining() {
			continue // its calls end, and then it closes itself
		}
		kept = append(kept, t)
		if best == nil || t.InFlight() < best.InFlight() {
			best = t
		}
	}
	clear(p.open[len(kept):])
	p.open = kept
	return best
}

func (p *pool) dial(ctx context.Context) (*wire.Transport, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	limits := wire.Limits{MessageBytes: maxAnswer, AssemblyBytes: 2 * maxAnswer, SharedBytes: 2 * maxAnswer, KeepAlive: keepAlive}
	return wire.Dial(ctx, "tcp", p.host, nil, &wire.Options{Agent: "kanta-go", Limits: limits})
}

// close closes the connections.
func (p *pool) close() {
	p.mu.Lock()
	open := p.open
	p.open, p.closed = nil, true
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), partTime)
	defer cancel()
	var group sync.WaitGroup
	for _, t := range open {
		group.Go(func() { _ = t.Shutdown(ctx) }) // a connection that is lost is closed, too
	}
	group.Wait()
}

// partTime is how long it is waited that calls, whose contexts have ended, end.
const partTime = 2 * time.Second
