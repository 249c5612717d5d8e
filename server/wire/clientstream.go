package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// clientStream is a client's end of one call: a connect.ClientStream.
type clientStream struct {
	stream
	t    *Transport
	ctx  context.Context //nolint:containedctx // the call's, as connect gives it
	spec connect.Spec
	info *connect.CallInfo

	// Of the sender.
	closedSend bool

	// Of the receiver.
	received bool  // a message, of a call that has one
	final    error // what every further Receive returns

	opened   atomic.Bool // the frame that begins the call was sent
	finished atomic.Bool // nothing is left to release
	unwatch  func() bool // of the context; under the connection's mutex
}

// single reports whether the client sends one message, which is then its last.
func (s *clientStream) single() bool { return s.spec.StreamType&connect.StreamTypeClient == 0 }

// open sends the frame that begins the call, unless it was sent, with the message if that
// fits. It reports whether the message went along.
func (s *clientStream) open(m *outgoing, last bool) (sent bool, err error) {
	if s.opened.Load() && (m != nil || !last) {
		return false, nil
	}
	c := s.c
	metadata, err := s.metadata()
	if err != nil {
		return false, err
	}
	left := time.Duration(0)
	if at, ok := s.ctx.Deadline(); ok {
		left = min(max(time.Until(at), time.Millisecond), maxDeadline)
	}
	if err := s.ctx.Err(); err != nil {
		return false, contextError(err).WithCause(ErrRefused)
	}
	c.mu.Lock()
	err = s.t.place(s)
	if errors.Is(err, errPlaced) {
		if last && m == nil && s.sendable() == nil {
			c.put(kindEnd, 0, s.id, nil, nil)
		}
		c.flushLater()
		return false, nil
	}
	if err != nil {
		c.mu.Unlock()
		return false, err
	}
	s.credit = int64(c.peer.window)
	c.register(&s.stream)
	s.opened.Store(true)
	kind, flags := byte(kindOpen), byte(0)
	meta := left > 0 || metadata != nil
	if meta {
		flags |= flagMeta
		if metadata == nil {
			metadata = []byte{0}
		}
	}
	number, name := s.t.number(s.spec.Procedure)
	var head [64]byte
	h := appendOpening(head[:0], number, name, meta, left, metadata)
	var body []byte
	if m != nil && len(h)+len(m.body.b)+5 <= c.peer.frame && s.fits(len(m.body.b)+5) {
		kind, sent = kindCall, true
		part := len(h)
		if m.raw > 0 {
			flags |= flagPacked
			h = binary.AppendUvarint(h, uint64(m.raw))
		}
		body = m.body.b
		s.spend(len(h) - part + len(body))
	}
	if last && (sent || m == nil) {
		flags |= flagLast
	}
	c.put(kind, flags, s.id, h, body)
	if s.ctx.Done() != nil && s.spec.StreamType != connect.StreamTypeUnary {
		s.unwatch = context.AfterFunc(s.ctx, s.contextDone)
	}
	if sent && s.spec.StreamType == connect.StreamTypeUnary {
		c.flush() // its receiver reads, if nobody does
	} else {
		s.t.handOver()
		c.flushLater()
	}
	return sent, nil
}

// metadata encodes the request's headers: nil without any.
func (s *clientStream) metadata() ([]byte, error) {
	h := s.info.RequestHeader()
	if h.Len() == 0 {
		return nil, nil
	}
	b, size := appendMetadata(nil, h, s.c.peer.metadata)
	if size > 0 {
		return nil, connect.Errorf(connect.CodeResourceExhausted, "the call's headers are %d bytes, the server takes %d", size, s.c.peer.metadata).WithCause(ErrRefused)
	}
	return b, nil
}

// SendHeaders begins the call without a message.
func (s *clientStream) SendHeaders() error {
	_, err := s.open(nil, false)
	return s.sendError(err)
}

// Send sends a message. It returns io.EOF when the call has ended: Receive says how.
func (s *clientStream) Send(msg any) error {
	if s.closedSend {
		return io.EOF
	}
	m, err := s.c.encode(msg, &s.info.SendStats)
	if err != nil {
		return err
	}
	defer m.body.free()
	if m.raw > 0 {
		s.info.RequestEncoding = connect.CompressionNameZstd
	}
	s.closedSend = s.single()
	sent, err := s.open(&m, s.closedSend)
	if err == nil && !sent {
		err = s.send(&waiter{ctx: s.ctx, size: len(m.body.b)}, m, s.closedSend)
		if err != nil && !errors.Is(err, errOver) && !errors.Is(err, ErrConnection) {
			s.abort(err) // the server has a part of the message
		}
	}
	return s.sendError(err)
}

// sendError is the error of a send for the caller: that the call has ended is io.EOF, but
// nothing where only one message is sent, since the caller's next step is Receive, which
// says how.
func (s *clientStream) sendError(err error) error {
	switch {
	case !errors.Is(err, errOver):
		return err
	case s.single():
		return nil
	}
	return io.EOF
}

// CloseSend says that no more messages come.
func (s *clientStream) CloseSend() error {
	if s.closedSend {
		return nil
	}
	s.closedSend = true
	_, err := s.open(nil, true)
	return s.sendError(err)
}

// Receive reads the next message of the server.
func (s *clientStream) Receive(msg any) error {
	if s.final != nil {
		return s.final
	}
	err := s.receive(msg)
	if err != nil {
		s.finish(err)
	}
	return err
}

// finish releases what the call holds, after its last Receive.
func (s *clientStream) finish(err error) {
	s.final = err
	if !s.finished.Swap(true) {
		s.c.mu.Lock()
		unwatch := s.unwatch
		s.c.mu.Unlock()
		if unwatch != nil {
			unwatch()
		}
	}
}

func (s *clientStream) receive(msg any) error {
	if _, err := s.open(nil, false); errors.Is(err, errOver) {
		return contextError(context.Canceled)
	} else if err != nil {
		return err
	}
	one := s.spec.StreamType&connect.StreamTypeServer == 0
	cut := false // a message
	for {
		if s.spec.StreamType == connect.StreamTypeUnary && !s.in.holds() {
			s.t.await(s)
		}
		ch, err := s.in.next(s.ctx.Done(), nil)
		if err != nil {
			if errors.Is(err, errStopped) {
				err = contextError(s.ctx.Err())
				s.abort(err)
			}
			return err
		}
		switch ch.kind {
		case kindHeaders:
			p := fields{b: ch.data.b}
			p.metadata(s.info.ResponseHeader(), s.c.limits.MetadataBytes)
			ch.data.free()
			if err := p.close("headers"); err != nil {
				return s.protocol(err)
			}
		case kindEnd:
			return s.ended(ch, one, cut)
		default:
			last, err := s.message(ch, msg, one)
			if cut = errors.Is(err, errInterrupted); cut {
				continue
			}
			if err != nil {
				return err
			}
			if last {
				s.finish(io.EOF)
			}
			if last || !one {
				return nil
			}
			s.received = true // and the status is to come
		}
	}
}

// message receives the message that begins with a chunk.
func (s *clientStream) message(ch *chunk, msg any, one bool) (last bool, err error) {
	if one && s.received {
		err := connect.NewError(connect.CodeUnimplemented, "more than one message came where one is due")
		s.abort(err)
		return false, err
	}
	m, err := s.assemble(ch, s.ctx.Done())
	switch {
	case errors.Is(err, errStopped):
		err = contextError(s.ctx.Err())
		s.abort(err)
		return false, err
	case errors.Is(err, errInterrupted):
		return false, err
	case err != nil:
		if b := (*brokenError)(nil); errors.As(err, &b) {
			return false, s.protocol(err)
		}
		s.abort(err)
		return false, err
	}
	if m.packed > 0 {
		s.info.ResponseEncoding = connect.CompressionNameZstd
	}
	last = m.last
	if err := m.decode(msg, &s.info.ReceiveStats); err != nil {
		s.abort(err)
		return false, err
	}
	return last, nil
}

// protocol ends the connection for a breach that was found late, in the call.
func (s *clientStream) protocol(err error) error {
	s.c.fail(err, connect.NewError(connect.CodeInvalidArgument, err.Error()))
	return lostFor(err)
}

// ended reads the call's status, which is not ok where a message was cut.
func (s *clientStream) ended(ch *chunk, one, cut bool) error {
	p := fields{b: ch.data.b}
	status := p.status(s.info.ResponseTrailer(), s.c.limits.MetadataBytes)
	wasRefused := ch.flags&flagRefused != 0
	ch.data.free()
	if err := p.close("a status"); err != nil {
		return s.protocol(err)
	}
	switch {
	case status != nil:
		return verdict(status, wasRefused)
	case cut:
		return s.protocol(broken("the end of a stream where it cannot be"))
	case !one:
		return io.EOF
	case s.received:
		s.finish(io.EOF)
		return nil
	}
	return connect.NewError(connect.CodeUnimplemented, "no message came where one is due")
}

// Close gives the call up, if it has not ended.
func (s *clientStream) Close() error {
	if !s.finished.Swap(true) {
		s.abort(contextError(context.Canceled))
	}
	return nil
}

func (s *clientStream) contextDone() { s.abort(contextError(s.ctx.Err())) }

// abort tells the server that the answer is not wanted, and drops what still comes. A
// pending Receive returns err.
func (s *clientStream) abort(err error) {
	c := s.c
	c.mu.Lock()
	if s.id != 0 && !s.over && c.err == nil {
		c.put(kindCancel, 0, s.id, nil, nil)
	}
	c.silence(&s.stream)
	if s.unwatch != nil {
		s.unwatch()
	}
	c.flushLater()
	s.discard()
	s.in.fail(err)
}
