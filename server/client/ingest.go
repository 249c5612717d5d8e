package client

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// maxCredit bounds what a server lets a client have under way: the client keeps the batches,
// of up to 512 KiB each, until they are decided.
const maxCredit = 64

// Submit is Apply in two steps, for writers that have more to send: it returns when the batch
// has its place behind those submitted before, and wait, to be called once, waits for the
// outcome. A batch is never split. Submit itself waits while as many batches are under way as
// the server takes. When the connection breaks, batches that the server certainly did not take,
// or knows again, are sent again in their order; the others fail with
// [query.CodeUnavailable]. When ctx ends before the outcome is there, it is not known.
func (c *Client) Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error) {
	p := &pending{batch: b, done: make(chan struct{})}
	p.again = func() (batch.Result, error) { return c.Apply(ctx, b) }
	if err := c.ingest.submit(ctx, p); err != nil {
		return nil, err
	}
	return func() (batch.Result, error) {
		select {
		case <-p.done:
		case <-ctx.Done():
			select {
			case <-p.done:
			default:
				return batch.Result{}, ctx.Err()
			}
		}
		return p.result, p.err
	}, nil
}

// pending is a batch that is under way.
type pending struct {
	undone bool // certainly, though it was under way
	batch  batch.Batch
	again  func() (batch.Result, error) // applies it by a call of its own
	done   chan struct{}                // closed when the rest is set
	result batch.Result
	err    error
}

// ingest is the stream of batches of a client, opened when there is one to send.
type ingest struct {
	c       *Client
	turn    chan struct{} // who has put something in sends; the order of turns is the order of batches
	open    *batchStream  // of who has the turn
	running sync.WaitGroup
}

// wait waits for what is under way when the client is closed.
func (i *ingest) wait() { i.running.Wait() }

func (i *ingest) submit(ctx context.Context, p *pending) error {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-i.c.closing.Done():
		return query.Errorf(query.CodeClosed, "the client is closed")
	}
	for {
		s, err := i.stream(ctx)
		if err != nil {
			return err
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.over:
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.add(p) {
			s.send(p)
			return nil
		}
		select {
		case <-s.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stream returns the open stream, or a new one if that is over.
func (i *ingest) stream(ctx context.Context) (*batchStream, error) {
	if i.open != nil {
		select {
		case <-i.open.over:
			i.open = nil
		default:
			return i.open, nil
		}
	}
	s, err := try(ctx, i.c, false, func(error, bool) bool { return true }, func(ctx context.Context, _ *message.Reader) (*batchStream, error) { return i.begin(ctx) })
	if err != nil {
		return nil, err
	}
	i.open = s
	i.running.Go(s.run)
	return s, nil
}

// begin opens a stream, which lives until it breaks or the client is closed.
func (i *ingest) begin(try context.Context) (*batchStream, error) {
	ctx, end := context.WithCancel(within(i.c.closing, try))
	stream, err := i.c.rpc.Ingest(ctx)
	if err != nil {
		end()
		return nil, err
	}
	// The end of a context does not end a request of HTTP/2 whose body is still open.
	context.AfterFunc(ctx, func() { _ = stream.Close() })
	if err := stream.SendHeaders(); err != nil {
		end()
		return nil, err
	}
	first, err := stream.Receive()
	if err == nil && first.GetCredit() == 0 {
		err = query.Errorf(query.CodeInvalid, "the server does not say how many batches it takes")
	}
	if err != nil {
		end()
		return nil, err
	}
	told := func(err error) (error, bool) { return i.c.told(i.c.closing, err) }
	return &batchStream{c: i.c, stream: stream, told: told, end: end, slots: make(chan struct{}, min(first.GetCredit(), maxCredit)), over: make(chan struct{})}, nil
}

// batchStream is one stream of batches.
type batchStream struct {
	c      *Client
	stream kantav1connect.KantaServiceIngestClientStream
	told   func(err error) (out error, undone bool)
	end    func()
	slots  chan struct{} // one thing in it for each batch under way
	over   chan struct{} // closed when it has ended and all its batches have an outcome

	mu     sync.Mutex
	under  []*pending // under way, in their order
	failed []*pending // that were before them and are to be tried again: the server leads no more
	broken bool
}

// add puts a batch behind those under way, unless the stream has broken.
func (s *batchStream) add(p *pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken {
		s.under = append(s.under, p)
	}
	return !s.broken
}

// send sends a batch. If that fails, what receives is told too, and sees to it.
func (s *batchStream) send(p *pending) {
	if err := s.stream.Send(&pb.IngestRequest{Batch: p.batch}); err != nil && !errors.Is(err, io.EOF) {
		s.end()
	}
}

// run receives outcomes until the stream ends.
func (s *batchStream) run() {
	defer close(s.over)
	defer s.end()
	var err error
	for {
		var m *pb.IngestResponse
		if m, err = s.stream.Receive(); err != nil {
			break
		}
		s.mu.Lock()
		var p *pending
		if len(s.under) > 0 {
			p, s.under = s.under[0], s.under[1:]
		}
		s.mu.Unlock()
		if p == nil {
			err = query.Errorf(query.CodeInvalid, "the server sends an outcome of no batch")
			break
		}
		if !s.retries(p, m.GetError()) {
			s.settle(p, m)
		}
		<-s.slots
		if s.spent() {
			err = io.EOF
			break
		}
	}
	s.rescue(err)
}

// retries reports whether a batch is tried again in spite of its outcome, because the server does not lead any
// more, or may not. It will have the outcome of that, and the stream takes nothing more.
func (s *batchStream) retries(p *pending, e *pb.Error) bool {
	if e == nil {
		return false
	}
	err := message.Error(e)
	p.undone = e.GetNothingDone()
	if !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) && !errors.Is(err, &query.Error{Code: query.CodeUnavailable}) || !p.undone && !identified(p.batch) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.broken = append(s.failed, p), true
	return true
}

// spent reports whether a stream that takes nothing more has told all outcomes.
func (s *batchStream) spent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken && len(s.under) == 0
}

func (s *batchStream) settle(p *pending, m *pb.IngestResponse) {
	var r message.Reader
	if m.GetError() != nil {
		p.err = message.Error(m.GetError())
	} else if p.result = r.Result(m.GetResult()); r.Err() != nil {
		p.err = r.Err()
	}
	s.c.See(p.result.Position)
	close(p.done)
}

// rescue gives the batches an outcome that were under way when the stream broke. They are
// applied one by one, in their order, before anything that is submitted later.
func (s *batchStream) rescue(cause error) {
	s.mu.Lock()
	s.broken = true
	failed, left := s.failed, s.under
	s.failed, s.under = nil, nil
	s.mu.Unlock()
	undone := false
	if errors.Is(cause, io.EOF) {
		cause = query.Errorf(query.CodeUnavailable, "the server has ended the stream")
	} else {
		cause, undone = s.told(cause)
	}
	for _, p := range failed {
		p.result, p.err = p.again()
		close(p.done)
	}
	for _, p := range left {
		if isPassing(cause) && (undone || identified(p.batch)) {
			if p.result, p.err = p.again(); !undone {
				p.err = doubted(cause, p.err)
			}
		} else {
			p.err = cause
		}
		close(p.done)
	}
}

// isPassing reports whether another try may go better than one that ended a stream so.
func isPassing(err error) bool {
	for _, code := range [...]query.Code{query.CodeUnavailable, query.CodeNotLeader, query.CodeLimit} {
		if errors.Is(err, &query.Error{Code: code}) {
			return true
		}
	}
	return false
}
