package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
)

// Why nothing more comes from a client.
var (
	errEnd      = io.EOF
	errCanceled = contextError(context.Canceled) //tidy:constant
)

// serverCall is a server's end of one call: a connect.ServerStream. It is used by the
// call's handler, and is no other call's after it, so that who keeps it too long finds it
// closed.
type serverCall struct {
	stream
	sc     *serverConn
	spec   connect.Spec
	info   connect.CallInfo
	ctx    context.Context //nolint:containedctx // the handler's
	cancel context.CancelFunc

	held    outgoing // the answer of a call that has one, until the handler has returned
	headers bool     // sent
}

// describe fills what the handler may ask about the call.
func (s *serverCall) describe(metadata []byte) {
	s.info = connect.CallInfo{Spec: s.spec, PeerAddr: s.sc.addr, Protocol: ProtocolName, Codec: connect.CodecNameProto,
		RequestEncoding: connect.CompressionNameIdentity, ResponseEncoding: connect.CompressionNameIdentity,
		TransportInfo: s.sc.peer}
	if len(metadata) > 0 {
		p := fields{b: metadata}
		p.metadata(s.info.RequestHeader(), s.c.limits.MetadataBytes) // checked before
	}
}

// take pushes a message's frame to the handler. Of the reading goroutine.
func (s *serverCall) take(f frame, body []byte) error {
	if err := s.arrived(f, body); err != nil {
		return err
	}
	if f.flags&flagLast != 0 {
		s.in.fail(errEnd)
	}
	return nil
}

// run calls the handler and ends the call.
func (s *serverCall) run() {
	returned := false
	var err error
	defer func() {
		if !returned { // it has panicked, or ended its goroutine
			value := recover()
			if told := s.sc.s.options.Panicked; told != nil {
				told(s.spec.Procedure, value)
			}
			err = connect.NewError(connect.CodeInternal, "the server failed while it handled the call")
		}
		s.finish(err)
	}()
	err = s.sc.s.methods.Call(s.ctx, s.spec.Procedure, &s.info, s)
	returned = true
}

// Receive reads the next message of the client, io.EOF after its last.
func (s *serverCall) Receive(msg any) error {
	ch, err := s.in.next(s.ctx.Done(), nil)
	if err != nil {
		return s.why(err)
	}
	m, err := s.assemble(ch, s.ctx.Done())
	if err != nil {
		if b := (*brokenError)(nil); errors.As(err, &b) {
			return connect.NewError(connect.CodeInvalidArgument, err.Error())
		}
		return s.why(err)
	}
	if m.packed > 0 {
		s.info.RequestEncoding = connect.CompressionNameZstd
	}
	return m.decode(msg, &s.info.ReceiveStats)
}

// why is the error of a receive for the handler.
func (s *serverCall) why(err error) error {
	if errors.Is(err, errStopped) {
		return contextError(s.ctx.Err())
	}
	return err
}

// SendHeaders sends the headers of the answer ahead of its first message.
func (s *serverCall) SendHeaders() error { return s.sendHeaders(true) }

// sendHeaders sends the headers, if they were not sent; without any only if it must be.
func (s *serverCall) sendHeaders(always bool) error {
	if s.headers {
		return nil
	}
	h := s.info.ResponseHeader()
	if !always && h.Len() == 0 {
		return nil
	}
	b, size := appendMetadata(nil, h, s.c.peer.metadata)
	if size > 0 {
		return connect.Errorf(connect.CodeResourceExhausted, "the call's headers are %d bytes, the client takes %d", size, s.c.peer.metadata)
	}
	s.headers = true
	s.c.mu.Lock()
	if err := s.sendable(); err != nil {
		s.c.mu.Unlock()
		return s.ended(err)
	}
	s.c.put(kindHeaders, 0, s.id, b, nil)
	s.c.flushLater()
	return nil
}

// Send sends a message. The one answer of a call that has one waits for its status.
func (s *serverCall) Send(msg any) error {
	if err := s.ctx.Err(); err != nil {
		return contextError(err)
	}
	if s.held.body != nil {
		return connect.NewError(connect.CodeInternal, "more than one message where one is due")
	}
	m, err := s.c.encode(msg, &s.info.SendStats)
	if err != nil {
		return err
	}
	if m.raw > 0 {
		s.info.ResponseEncoding = connect.CompressionNameZstd
	}
	if s.spec.StreamType&connect.StreamTypeServer == 0 {
		s.held = m
		return nil
	}
	defer m.body.free()
	if err := s.sendHeaders(false); err != nil {
		return err
	}
	return s.sendBody(m)
}

func (s *serverCall) sendBody(m outgoing) error {
	err := s.send(&waiter{ctx: s.ctx, size: len(m.body.b)}, m, false)
	s.headers = true
	return s.ended(err)
}

// ended tells a handler that outlives its call so.
func (s *serverCall) ended(err error) error {
	if errors.Is(err, errOver) {
		return contextError(context.Canceled)
	}
	return err
}

// finish sends what the handler has left: the answer, the status and the trailers.
func (s *serverCall) finish(err error) {
	defer func() {
		s.cancel()
		s.sc.s.running.Add(-1)
		s.sc.calls.Done()
	}()
	status := statusOf(err)
	if !s.headers {
		if err := s.sendHeaders(false); err != nil && status == nil {
			status = statusOf(err)
		}
	}
	c := s.c
	trailers := s.info.ResponseTrailer()
	c.mu.Lock()
	if m := s.held; m.body != nil {
		s.held = outgoing{}
		defer m.body.free()
		if status == nil && trailers.Len() == 0 && s.answer(m) {
			return
		}
		if status == nil {
			c.mu.Unlock()
			status = statusOf(s.sendBody(m))
			c.mu.Lock()
		}
	}
	if s.sendable() == nil {
		c.put(kindEnd, 0, s.id, appendStatus(nil, status, trailers, c.peer.metadata), nil)
	}
	c.retire(&s.stream)
	c.flush()
	s.discard()
}

// answer sends the answer and the status in one frame if they fit. The mutex is held, and
// released if it does.
func (s *serverCall) answer(m outgoing) bool {
	var head [8]byte
	h, flags := head[:0], byte(flagLast)
	if m.raw > 0 {
		flags |= flagPacked
		h = binary.AppendUvarint(h, uint64(m.raw))
	}
	if !s.fits(len(h) + len(m.body.b)) {
		return false
	}
	s.spend(len(h) + len(m.body.b))
	s.c.put(kindMessage, flags, s.id, h, m.body.b)
	s.c.retire(&s.stream)
	s.c.flush()
	s.discard()
	return true
}

// refuse ends a call that no handler sees. Of the reading goroutine.
func (s *serverCall) refuse(code connect.Code, text string) error {
	defer s.sc.calls.Done()
	defer s.cancel()
	s.c.mu.Lock()
	s.c.retire(&s.stream)
	s.c.mu.Unlock()
	s.discard()
	return s.c.control(kindEnd, flagRefused, s.id, appendStatus(nil, connect.NewError(code, text), nil, 0))
}
