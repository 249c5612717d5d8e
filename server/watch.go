package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/admission"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// watch is what whoever looks after a server sees of it: figures, a log, the calls under way.
type watch struct {
	log     *journal
	slow    time.Duration // from here on a call is slow; negative: none is
	figures *figures
	plans   planner

	mu      sync.Mutex
	running map[uint64]*call
}

// seen is what is known of a call for who looks after the server. Nothing of it is told without
// being made such that it tells of nobody.
type seen struct {
	door string
	mu   sync.Mutex
	noted
}

type noted struct {
	heard    bool // what it is about
	asked    asked
	turn     *admission.Turn // its place, if it needs one and has it
	waiting  bool
	waited   time.Duration
	position string
	read     uint64 // bytes
	ended    bool   // by an operator
}

// asked is what a call is about.
type asked struct {
	expression string
	analysis   string
	attribute  string
	question   *pb.Question
	shape      uint64 // the same for all questions that are alike but for values
}

// askedBy takes out of a message what it asks.
func askedBy(m any) (a asked) {
	if q, ok := m.(interface{ GetExpression() string }); ok {
		a.expression = q.GetExpression()
	}
	if q, ok := m.(interface{ GetWho() string }); ok {
		a.expression = q.GetWho()
	}
	if q, ok := m.(interface{ GetAnalysis() string }); ok {
		a.analysis = q.GetAnalysis()
	}
	if q, ok := m.(interface{ GetAttribute() string }); ok {
		a.attribute = q.GetAttribute()
	}
	if q, ok := m.(interface{ GetQuestion() *pb.Question }); ok {
		a.question = q.GetQuestion()
	}
	return a
}

// begun takes note of a call that may be made.
func (w *watch) begun(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[c.id] = c
}

// ended takes note of the end of a call, and gives its place back.
func (w *watch) ended(c *call, err error) {
	w.mu.Lock()
	delete(w.running, c.id)
	w.mu.Unlock()
	c.seen.mu.Lock()
	n := c.seen.noted
	c.seen.turn = nil
	c.seen.mu.Unlock()
	took := time.Since(c.began)
	worked := took
	if n.turn != nil {
		worked = n.turn.Leave()
		c.s.gate.learn(c, n.asked.shape, worked, err)
	}
	code := wordOf(err)
	if n.ended {
		code = codeEnded
	}
	w.figures.call(c, code, took)
	w.tell(c, &n, err, code, worked)
}

// outcome is how a call ended that an operator may have ended: the client is told that, and does
// not try again.
func (c *call) outcome(err error) error {
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	if err == nil || !c.seen.ended {
		return err
	}
	return &query.Error{Code: query.CodeLimit, Message: "an operator has ended the call", Hint: "ask whoever runs the server"}
}

// calls lists what is under way, the oldest first.
func (w *watch) calls() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.running), func(a, b *call) int { return a.began.Compare(b.began) })
}

// doorOf says through which door a call came: one of few words.
func doorOf(ctx context.Context) string {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return "http"
	}
	if slices.Contains(doorNames[:], info.Protocol) {
		return info.Protocol
	}
	if peerOf(ctx) != nil {
		return "http" // one of ours, which makes the call here
	}
	return "process"
}

// doorNames are the words for them: the compact wire, what connect tells apart, others over HTTP, and
// the same process.
var doorNames = [...]string{"kanta", "connect", "grpc", "grpcweb", "http", "process"}

// The words for how a call ended that are no codes of the engine.
const (
	codeOK        = "ok"
	codeCanceled  = "canceled"
	codeDeadline  = "deadline"
	codeTransport = "transport"
	codeEnded     = "ended_by_operator"
)

// wordOf is how a call ended, one of few words.
func wordOf(err error) string {
	var q *query.Error
	var t *connect.Error
	switch {
	case err == nil:
		return codeOK
	case errors.Is(err, context.DeadlineExceeded):
		return codeDeadline
	case errors.Is(err, context.Canceled):
		return codeCanceled
	case errors.As(err, &q) && q.Code.Word() != "":
		return q.Code.Word()
	case errors.As(err, &t):
		return codeTransport
	}
	return query.CodeInternal.Word()
}

// observed is the stream of a call: what is received says what the call is about, and lets
// it in; while something is sent the call keeps nobody else waiting.
type observed struct {
	connect.ServerStream
	ctx  context.Context //nolint:containedctx // the call's
	c    *call
	many bool // the answer is more than one message
}

// Receive implements [connect.ServerStream].
func (o *observed) Receive(m any) error {
	if err := o.ServerStream.Receive(m); err != nil {
		return err
	}
	return o.c.heard(o.ctx, m)
}

// Send implements [connect.ServerStream].
func (o *observed) Send(m any) error {
	o.c.answers(m)
	if o.many {
		defer o.c.pause()()
	}
	return o.ServerStream.Send(m)
}

// heard takes note of a message, and of the first one lets the call in.
func (c *call) heard(ctx context.Context, m any) error {
	msg, ok := m.(proto.Message)
	if !ok || !c.known {
		return nil
	}
	a := askedBy(m)
	c.seen.mu.Lock()
	again := c.seen.heard
	if c.seen.heard = true; !again {
		if c.rule.Load == access.Question || c.rule.Load == access.Long { // of others it is not asked
			a.shape = c.s.gate.shape(c.name, &a)
		}
		c.seen.asked = a
	}
	c.seen.mu.Unlock()
	if again {
		return nil
	}
	return c.s.gate.letIn(ctx, c, msg)
}

// answers takes note of what an answer says of its cost.
func (c *call) answers(m any) {
	var a *pb.Answer
	switch m := m.(type) {
	case interface{ GetAnswer() *pb.Answer }:
		a = m.GetAnswer()
	case interface{ GetHead() *pb.MemberHead }:
		a = m.GetHead().GetAnswer()
	}
	if a == nil {
		return
	}
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	c.seen.position, c.seen.read = a.GetPosition(), a.GetBytesRead()
}

// pause gives the place of a call away while it waits for its client; what it returns takes it
// back. Upkeep keeps its place: it goes on meanwhile.
func (c *call) pause() (resume func()) {
	c.seen.mu.Lock()
	t := c.seen.turn
	c.seen.mu.Unlock()
	if t == nil || !c.s.gate.pauses(c) {
		return func() {}
	}
	t.Pause()
	return t.Resume
}

// whom says who calls, as he may be named to who looks after the server.
func (c *call) whom() (name, role, address string) {
	if c.peer != nil {
		if host, _, err := net.SplitHostPort(c.peer.address); err == nil {
			address = host
		}
	}
	if c.caller != nil {
		name, role = c.caller.Name, c.caller.Role.Name
	}
	return plain(name), plain(role), plain(address)
}

// identity is the same for all calls of a caller; "" where nobody can be told from anybody.
func (c *call) identity() string {
	if c.caller == nil {
		return ""
	}
	return c.caller.ID
}

// logged are the attributes of a call that every record has.
func (c *call) logged() []slog.Attr {
	out := []slog.Attr{slog.Uint64("id", c.id), slog.String("call", c.label()), slog.String("door", c.seen.door)}
	name, role, address := c.whom()
	for _, a := range []slog.Attr{slog.String("caller", name), slog.String("role", role), slog.String("address", address)} {
		if a.Value.String() != "" {
			out = append(out, a)
		}
	}
	return out
}

// label is the name of a call, for metrics and the log: what is in no table has none, for anybody
// may call anything anything.
func (c *call) label() string {
	if !c.known {
		return "other"
	}
	return c.name
}
