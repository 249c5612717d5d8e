package faultnet

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// inFlight is how many requests of a pipeline are under way, as over Raft's own connections.
const inFlight = 128

// pipeline is a connection: what is sent comes in order, until one is lost.
type pipeline struct {
	t  *Transport
	to raft.ServerAddress

	queue  chan *future
	sent   chan *future
	done   chan raft.AppendFuture
	once   sync.Once
	closed chan struct{}
}

// future is a request that is under way.
type future struct {
	start    time.Time
	args     *raft.AppendEntriesRequest
	resp     *raft.AppendEntriesResponse
	stream   stream
	fate     fate
	answer   chan raft.RPCResponse
	finished chan struct{}
	closed   <-chan struct{} // the connection's
	err      error
}

// Error waits for the answer, or the end of the connection.
func (f *future) Error() error {
	select {
	case <-f.finished:
		return f.err
	case <-f.closed:
		return raft.ErrPipelineShutdown
	}
}

// Start returns when it was sent.
func (f *future) Start() time.Time { return f.start }

// Request returns what was sent.
func (f *future) Request() *raft.AppendEntriesRequest { return f.args }

// Response returns the answer, once there is one.
func (f *future) Response() *raft.AppendEntriesResponse { return f.resp }

// AppendEntriesPipeline opens a connection for requests one behind the other.
func (t *Transport) AppendEntriesPipeline(_ raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.net.to(link{t.address, to}) == nil {
		return nil, fmt.Errorf("%s cannot be reached", to)
	}
	p := &pipeline{t: t, to: to, queue: make(chan *future, inFlight), sent: make(chan *future, inFlight), done: make(chan raft.AppendFuture, inFlight), closed: make(chan struct{})}
	for _, part := range []func(){p.deliver, p.collect} {
		if !t.begin() {
			return nil, errClosed
		}
		go func() {
			defer t.busy.Done()
			part()
		}()
	}
	return p, nil
}

// AppendEntries sends a request.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	s := stream{link{p.t.address, p.to}, "pipeline"}
	f := &future{start: time.Now(), args: args, resp: resp, stream: s, fate: p.t.net.decide(s), answer: make(chan raft.RPCResponse, 1), finished: make(chan struct{}), closed: p.closed}
	select {
	case <-p.closed: // also if there is room
		return nil, raft.ErrPipelineShutdown
	default:
	}
	patience := time.NewTimer(p.t.net.timeout)
	defer patience.Stop()
	select {
	case p.queue <- f:
		return f, nil
	case <-patience.C:
		return nil, errNoAnswer
	case <-p.closed:
	case <-p.t.closed:
	}
	return nil, raft.ErrPipelineShutdown
}

// Consumer returns what has been answered.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close closes the connection.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// deliver brings requests to the other end, in order.
func (p *pipeline) deliver() {
	down := false
	for {
		var f *future
		select {
		case f = <-p.queue:
		case <-p.closed:
			return
		case <-p.t.closed:
			return
		}
		if f.fate.lose && !down {
			down = true
			p.t.net.count(&p.t.net.counts.Lost)
		}
		if !down && f.fate.repeat && p.t.begin() {
			p.t.repeat(f.stream, &f.fate, f.args, nil)
		}
		if !down && p.t.pause(time.Until(f.start.Add(f.fate.there))) {
			replies := p.t.hand(f.stream, &f.fate, raft.RPC{Command: request(f.args)})
			if down = replies == nil; !down && p.t.begin() {
				go func() {
					defer p.t.busy.Done()
					p.t.bring(f.stream, &f.fate, replies, f.answer)
				}()
			}
		}
		select {
		case p.sent <- f:
		case <-p.closed:
			return
		case <-p.t.closed:
			return
		}
	}
}

// collect gives out the answers, in order. When one has not come the connection is broken.
func (p *pipeline) collect() {
	down := false
	for {
		var f *future
		select {
		case f = <-p.sent:
		case <-p.closed:
			return
		case <-p.t.closed:
			return
		}
		if f.err = errBroken; !down {
			f.err = await(p.t, f.answer, f.resp, p.t.net.timeout)
		}
		down = f.err != nil
		close(f.finished)
		select {
		case p.done <- f:
		case <-p.closed:
			return
		case <-p.t.closed:
			return
		}
	}
}
