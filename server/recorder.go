package server

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/internal/message"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// recorder writes the audit of a server's calls, where every call passes, whatever its handler
// does: a change when its message has been received and before the handler gets it, a read of
// personal data when the handler has answered and before the first byte leaves.
type recorder struct {
	s     *Server
	store *audit.Store

	mu     sync.Mutex
	denied map[string]*deniedCalls // by caller
	names  *knownNames
}

func newRecorder(s *Server) *recorder {
	return &recorder{s: s, store: s.opt.Audit, denied: map[string]*deniedCalls{}}
}

// recording is the audit's part of a call.
type recording struct {
	r *recorder
	c *call

	mu       sync.Mutex
	request  proto.Message // the first
	recorded bool          // there is a record of the call
	count    uint64        // told by the handler
}

// begun begins the audit of a call; nil: there is none.
func (r *recorder) begun(c *call) *recording {
	if r.store == nil || !c.known {
		return nil
	}
	return &recording{r: r, c: c}
}

// counted tells what the answer does not: how many people are in it.
func (c *call) counted(n uint64) {
	if c == nil || c.audit == nil {
		return
	}
	g := c.audit
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count = n
}

// who is who calls.
func (c *call) who() (out audit.Caller) {
	if c.caller != nil {
		out = audit.Caller{ID: c.caller.ID, Name: c.caller.Name, Role: c.caller.Role.Name}
	}
	if c.peer == nil {
		out.Name = "this process"
		return out
	}
	if out.Address = c.peer.address; out.Address != "" {
		if host, _, err := net.SplitHostPort(c.peer.address); err == nil {
			out.Address = host
		}
	}
	return out
}

// refused is what a call is told that cannot be recorded; the operator is told why.
func (g *recording) refused(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	if failed := g.r.s.opt.Hooks.Failed; failed != nil {
		failed(g.c.name, err)
	}
	return message.Undone(&query.Error{Code: query.CodeUnavailable, Message: "the call could not be recorded in the audit, so it is refused: nothing was done and nothing is told",
		Hint: "whoever runs the server is told why"})
}

// ask submits the record of a change, of which nothing is done before wait has returned.
func (g *recording) ask(ctx context.Context, m proto.Message) (wait func() error) {
	g.mu.Lock()
	g.recorded = true
	g.mu.Unlock()
	rec := g.r.describe(ctx, m, false)
	rec.Outcome = audit.Asked
	rec.Position = g.r.position(ctx)
	wait, err := g.submit(ctx, rec)
	if err != nil {
		return func() error { return err }
	}
	return wait
}

// answered writes the record of a read of personal data, once: m is the first of the answer.
func (g *recording) answered(ctx context.Context, m proto.Message) error {
	g.mu.Lock()
	done, request, count := g.recorded, g.request, g.count
	g.recorded = true
	g.mu.Unlock()
	if done {
		return nil
	}
	rec := g.r.describe(ctx, request, true)
	rec.Outcome = audit.Done
	g.r.describeAnswer(&rec, m)
	if count > 0 {
		rec.Count = count
	}
	if rec.Position == (query.Position{}) {
		rec.Position = g.r.position(ctx)
	}
	return g.append(ctx, rec)
}

// ended writes what is not written yet when a call ends: that it was denied, or a read of
// personal data that failed or had nothing to say.
func (g *recording) ended(ctx context.Context, err error) error {
	if g == nil {
		return err
	}
	g.mu.Lock()
	done, request := g.recorded, g.request
	g.recorded = true
	g.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // whoever does not wait for the answer has asked nevertheless
	if isDenied(err) {
		return g.denied(ctx, request, err)
	}
	if done || g.c.rule.Audit != access.Personal || request == nil {
		return err
	}
	rec := g.r.describe(ctx, request, err == nil)
	if rec.Outcome = audit.Done; err != nil {
		rec.Outcome, rec.Code = audit.Failed, codeNumber(err)
	}
	rec.Position = g.r.position(ctx)
	return cmp.Or(g.append(ctx, rec), err)
}

func isDenied(err error) bool { return errors.Is(err, &query.Error{Code: query.CodeDenied}) }

// denied writes that somebody who is known was denied what he asked for, and returns why. Of
// strangers nothing is written: the hall knows them, and they do not fill the disk.
func (g *recording) denied(ctx context.Context, request proto.Message, err error) error {
	if g == nil || g.c.caller == nil || !isDenied(err) {
		return err
	}
	skipped, write := g.r.deny(g.c.caller.ID, time.Now())
	if !write {
		return err
	}
	rec := g.r.describe(ctx, request, false)
	rec.Outcome, rec.Code, rec.Skipped, rec.Position = audit.Denied, query.CodeDenied, skipped, g.r.position(ctx)
	return cmp.Or(g.append(ctx, rec), err)
}

// codeNumber returns the code of an error, that of an internal one if it has none.
func codeNumber(err error) query.Code {
	if e, ok := errors.AsType[*query.Error](err); ok {
		return e.Code
	}
	return query.CodeInternal
}

func (g *recording) append(ctx context.Context, rec audit.Record) error {
	wait, err := g.submit(ctx, rec)
	if err != nil {
		return err
	}
	return wait()
}

func (g *recording) submit(ctx context.Context, rec audit.Record) (wait func() error, err error) {
	rec.Who, rec.Call = g.c.who(), g.c.name
	durable, err := g.r.store.Submit(ctx, rec)
	if err != nil {
		return nil, g.refused(ctx, err)
	}
	return func() error { return g.refused(ctx, durable(ctx)) }, nil
}

// position is where the store is. Nobody can say of a store that is closed.
func (r *recorder) position(ctx context.Context) query.Position {
	c := callOf(ctx)
	if c == nil || c.db == nil {
		return query.Position{}
	}
	n, err := c.db.Snapshot(ctx)
	if err != nil {
		return query.Position{}
	}
	defer n.Close()
	return n.Position()
}

// Of the denied calls of a caller so many are recorded in a second, and the rest is counted in the
// next one: whoever tries a thousand times a second does not fill the disk.
const (
	deniedEach    = 5
	deniedCallers = 4096 // that are remembered
)

// deniedCalls are those of a caller.
type deniedCalls struct {
	second  int64
	n       int
	skipped uint64
}

// deny reports whether a denied call is recorded, and how many were not since the last one.
func (r *recorder) deny(caller string, at time.Time) (skipped uint64, write bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.denied[caller]
	if d == nil {
		if len(r.denied) >= deniedCallers {
			clear(r.denied)
		}
		d = &deniedCalls{}
		r.denied[caller] = d
	}
	if second := at.Unix(); d.second != second {
		d.second, d.n = second, 0
	}
	if d.n == deniedEach {
		d.skipped++
		return 0, false
	}
	d.n++
	skipped, d.skipped = d.skipped, 0
	return skipped, true
}

// stream returns the stream of a call as its handler sees it.
func (g *recording) stream(ctx context.Context, spec connect.Spec, inner connect.ServerStream) connect.ServerStream {
	if g == nil {
		return inner
	}
	s := &recordedStream{ServerStream: inner, ctx: ctx, g: g}
	if spec.Procedure == kantav1connect.KantaServiceIngestProcedure {
		return &recordedIngest{recordedStream: s}
	}
	return s
}

// recordedStream is a stream whose messages are recorded on their way.
type recordedStream struct {
	connect.ServerStream
	ctx context.Context // of the call; a stream is no longer there than it
	g   *recording
}

// Receive implements [connect.ServerStream].
func (s *recordedStream) Receive(msg any) error {
	if err := s.ServerStream.Receive(msg); err != nil {
		return err
	}
	m, ok := msg.(proto.Message)
	if !ok || !s.g.received(m) || s.g.c.rule.Audit != access.Change {
		return nil
	}
	return s.g.ask(s.ctx, m)()
}

// received takes down the first message, and reports whether it is that.
func (g *recording) received(m proto.Message) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.request != nil {
		return false
	}
	g.request = m
	return true
}

// Send implements [connect.ServerStream].
func (s *recordedStream) Send(msg any) error {
	if m, ok := msg.(proto.Message); ok && s.g.c.rule.Audit == access.Personal {
		if err := s.g.answered(s.ctx, m); err != nil {
			return err
		}
	}
	return s.ServerStream.Send(msg)
}

// recordedAhead is how many batches of an ingest are received while the record of the oldest is
// being synced: they share the next sync.
const recordedAhead = 4

// recordedIngest is the stream of an ingest: each batch has a record, which is durable before
// the handler gets the batch, and they are written while others are under way.
type recordedIngest struct {
	*recordedStream
	once  sync.Once
	ahead chan recordedBatch
}

// recordedBatch is a batch whose record is on its way, or how the stream ended.
type recordedBatch struct {
	m    proto.Message
	wait func() error
	err  error
}

// Receive implements [connect.ServerStream].
func (s *recordedIngest) Receive(msg any) error {
	m, ok := msg.(proto.Message)
	if !ok {
		return query.Errorf(query.CodeInternal, "a %T is received", msg)
	}
	s.once.Do(func() {
		s.ahead = make(chan recordedBatch, recordedAhead)
		go s.receive(m.ProtoReflect().Type())
	})
	var b recordedBatch
	select {
	case b = <-s.ahead:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	if b.err != nil {
		return b.err
	}
	if err := b.wait(); err != nil {
		return err
	}
	to := m.ProtoReflect()
	b.m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(field, v) // without a copy
		return true
	})
	return nil
}

// receive receives until the stream ends or the call does.
func (s *recordedIngest) receive(of protoreflect.MessageType) {
	for {
		m := of.New().Interface()
		b := recordedBatch{m: m, err: s.ServerStream.Receive(m)}
		if b.err == nil {
			s.g.received(m)
			b.wait = s.g.ask(s.ctx, m)
		}
		select {
		case s.ahead <- b:
		case <-s.ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
	}
}
