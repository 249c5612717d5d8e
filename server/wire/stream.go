package wire

import (
	"context"
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// errOver says that a stream has ended: nothing can be sent on it.
var errOver = errors.New("wire: the call has ended")

// stream is one end of a call.
type stream struct {
	c    *conn
	id   uint32
	in   inbox
	call *serverCall // of a server

	// Under the connection's mutex.
	credit int64         // what the peer's window of this stream still takes
	over   bool          // no frame may be sent any more, and the number may be another's
	wake   chan struct{} // of a sender that waits
}

// inbox holds what has arrived for a stream and was not yet received: the reading
// goroutine pushes, the call's receiver takes.
type inbox struct {
	mu         sync.Mutex
	head, tail *chunk
	err        error         // after the chunks, nothing comes but this
	gone       bool          // nobody receives any more: what arrives is dropped
	room       int64         // what the peer may still send
	owed       int64         // taken, and not yet given back
	ready      chan struct{} // something is there

	// Of the reading goroutine: where the peer is in its sequence of frames.
	rest    int  // of a message in pieces
	ended   bool // the peer has sent its last message
	headers bool // the peer has sent headers or a message
}

func (in *inbox) init(window int) {
	in.room = int64(window)
	in.ready = make(chan struct{}, 1)
}

func (in *inbox) signal() {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// holds reports whether there is something for the receiver.
func (in *inbox) holds() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.head != nil || in.err != nil
}

// push adds a chunk, or reports that it is not wanted any more.
func (in *inbox) push(ch *chunk) (wanted bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.room -= int64(ch.cost); in.room < 0 {
		return false, broken("more than a stream's window takes")
	}
	if in.gone || in.err != nil {
		return false, nil
	}
	if in.tail == nil {
		in.head = ch
	} else {
		in.tail.next = ch
	}
	in.tail = ch
	in.signal()
	return true, nil
}

// fail lets the receiver find err after what has arrived.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.signal()
}

// taken notes that a receiver has taken a frame, and returns the credit to send for it.
func (in *inbox) taken(cost, window int) (grant int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.owed += int64(cost); in.owed >= int64(window/2) {
		grant, in.owed = in.owed, 0
		in.room += grant
	}
	return grant
}

// next returns the next chunk and waits for it. After the last it returns the error that
// the inbox was ended with; stop ends the wait with errStopped, and late, if it is not nil, with
// errLate.
func (in *inbox) next(stop <-chan struct{}, late <-chan time.Time) (*chunk, error) {
	for {
		in.mu.Lock()
		ch, err := in.head, in.err
		if ch != nil {
			if in.head = ch.next; in.head == nil {
				in.tail = nil
			}
			ch.next = nil
		}
		in.mu.Unlock()
		switch {
		case ch != nil:
			return ch, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-in.ready:
		case <-stop:
			return nil, errStopped
		case <-late:
			return nil, errLate
		}
	}
}

var (
	errStopped = errors.New("wire: stopped")
	errLate    = errors.New("wire: too late")
)

// discard drops what has arrived and what will, and gives its room back.
func (s *stream) discard() {
	s.in.mu.Lock()
	ch := s.in.head
	s.in.head, s.in.tail, s.in.gone = nil, nil, true
	s.in.mu.Unlock()
	for ; ch != nil; ch = ch.next {
		s.c.consumed(nil, ch.cost)
		ch.data.free()
	}
}

// arrived makes a chunk of a frame of a stream and pushes it. The frame has been checked
// for its kind, but not for its place in the sequence.
func (s *stream) arrived(f frame, body []byte) error {
	ch, err := s.c.accept(&s.in, f, body)
	if err != nil {
		return err
	}
	wanted, err := s.in.push(ch)
	if err != nil {
		return err
	}
	if !wanted {
		s.c.consumed(nil, ch.cost)
		ch.data.free()
	}
	return nil
}

// accept checks a frame's place in the sequence of a stream, takes its cost from the
// connection's window and copies it out of the read buffer.
func (c *conn) accept(in *inbox, f frame, body []byte) (*chunk, error) {
	if in.ended {
		return nil, broken("a frame of kind %d after the last of a stream", f.kind)
	}
	ch := &chunk{kind: f.kind, flags: f.flags}
	p := fields{b: body}
	switch f.kind {
	case kindHeaders:
		if in.headers {
			return nil, broken("headers after headers or a message")
		}
		in.headers = true
	case kindMessage, kindCall:
		in.headers = true
		ch.cost = len(body) + frameCost
		limit := uint64(c.limits.MessageBytes)
		if ch.first = in.rest == 0; ch.first {
			if f.flags&flagMore != 0 {
				ch.total = int(p.number("the size of a message", limit))
				in.rest = ch.total
			}
			if f.flags&flagPacked != 0 {
				ch.raw = int(p.number("the unpacked size of a message", limit))
			}
			if p.err == nil && f.flags&flagMore == 0 && (len(p.b) > int(limit) || f.flags&flagPacked != 0 && ch.raw == 0) {
				p.fail("the size of a message")
			}
		}
		if p.err != nil {
			return nil, p.err
		}
		if err := in.progress(f, ch, len(p.b)); err != nil {
			return nil, err
		}
	}
	in.ended = f.kind == kindEnd || f.flags&flagLast != 0
	if c.room.Add(-int64(ch.cost)) < 0 {
		return nil, broken("more than the connection's window takes")
	}
	ch.data = newBuffer(len(p.b))
	ch.data.b = append(ch.data.b, p.b...)
	return ch, nil
}

// progress checks that the pieces of a message add up.
func (in *inbox) progress(f frame, ch *chunk, n int) error {
	more := f.flags&flagMore != 0
	switch {
	case ch.first && !more:
		return nil
	case n == 0 || n > in.rest || more == (n == in.rest):
		return broken("pieces that do not add up to the message's size")
	case more && f.flags&flagLast != 0, !ch.first && f.flags&flagPacked != 0:
		return broken("flags that a piece of a message does not have")
	}
	in.rest -= n
	return nil
}

// whole is a message that has arrived. Its bytes are valid until free.
type whole struct {
	data     *buffer
	packed   int  // its size on the wire if it was packed, else 0
	last     bool // the peer's last
	reserved int
	c        *conn
}

func (m *whole) free() {
	m.data.free()
	m.c.release(m.reserved)
}

// errAssembly is the error for a message that finds no memory.
func errAssembly(size int) error {
	return connect.Errorf(connect.CodeResourceExhausted, "no memory for a message of %d bytes: others are being received; try again", size)
}

// assemble puts the message together whose first chunk is given, and unpacks it.
func (s *stream) assemble(ch *chunk, stop <-chan struct{}) (m whole, err error) {
	m = whole{c: s.c, data: ch.data}
	raw, total := ch.raw, ch.total
	if need := total + raw; need > 0 {
		if !s.c.reserve(need) {
			ch.data.free()
			return m, errAssembly(max(total, raw))
		}
		m.reserved = need
	}
	s.c.consumed(s, ch.cost)
	flags := ch.flags
	var late <-chan time.Time
	limit := s.c.limits.patience(total)
	if flags&flagMore != 0 && s.c.server {
		t := time.NewTimer(limit)
		defer t.Stop()
		late = t.C
	}
	for flags&flagMore != 0 {
		next, err := s.in.next(stop, late)
		if err == errLate {
			err = connect.Errorf(connect.CodeDeadlineExceeded, "a message of %d bytes did not come within %v; send faster", total, limit)
		}
		if err != nil {
			m.free()
			return m, err
		}
		if next.kind != kindMessage { // the server's status, in the middle of a message
			m.free()
			return m, s.interrupted(next)
		}
		// The buffer grows with what arrives: to announce a size costs the peer's bytes.
		if have := m.data; len(have.b)+len(next.data.b) > cap(have.b) {
			m.data = newBuffer(min(total, 2*len(have.b)+len(next.data.b)))
			m.data.b = append(m.data.b, have.b...)
			have.free()
		}
		m.data.b = append(m.data.b, next.data.b...)
		next.data.free()
		s.c.consumed(s, next.cost)
		flags = next.flags
	}
	m.last = flags&flagLast != 0
	if raw > 0 {
		packed := m.data
		m.packed = len(packed.b)
		m.data, err = unpack(packed.b, raw)
		packed.free()
		if err != nil {
			m.free()
			return m, err
		}
	}
	return m, nil
}

// interrupted puts a chunk back that is no piece of a message, for the next receive.
func (s *stream) interrupted(ch *chunk) error {
	s.in.mu.Lock()
	ch.next, s.in.head = s.in.head, ch
	if s.in.tail == nil {
		s.in.tail = ch
	}
	s.in.signal()
	s.in.mu.Unlock()
	return errInterrupted
}

var errInterrupted = errors.New("wire: the call ended in the middle of a message")

// encode makes a message ready to be sent, in a buffer that the caller frees.
func (c *conn) encode(msg any, stats *connect.MessageStats) (outgoing, error) {
	m, ok := msg.(proto.Message)
	if !ok {
		return outgoing{}, connect.Errorf(connect.CodeInternal, "a message of type %T: only protobuf messages travel on this wire", msg)
	}
	size := proto.Size(m)
	if size > c.peer.message {
		return outgoing{}, tooLarge(size, c.peer.message)
	}
	body := newBuffer(size)
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(body.b, m)
	if err != nil {
		body.free()
		return outgoing{}, connect.NewError(connect.CodeInternal, "a message cannot be encoded").WithCause(err)
	}
	body.b = b
	*stats = connect.MessageStats{Size: size}
	if c.pack {
		if packed := pack(b); packed != nil {
			body.free()
			stats.CompressedSize = len(packed.b)
			return outgoing{body: packed, raw: size}, nil
		}
	}
	return outgoing{body: body}, nil
}

// decode reads a message that has arrived, and frees it.
func (m *whole) decode(msg any, stats *connect.MessageStats) error {
	defer m.free()
	*stats = connect.MessageStats{Size: len(m.data.b), CompressedSize: m.packed}
	dst, ok := msg.(proto.Message)
	if !ok {
		return connect.Errorf(connect.CodeInternal, "a message of type %T: only protobuf messages travel on this wire", msg)
	}
	if err := proto.Unmarshal(m.data.b, dst); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, "a message that is not of the type it should be").WithCause(err)
	}
	return nil
}

// waiter is how long a sender waits for room: as long as its call lasts, and at a server
// as the message's size allows. A client that waits keeps nobody's memory but its own.
type waiter struct {
	ctx   context.Context //nolint:containedctx // of one send
	size  int
	timer *time.Timer
}

// wait waits until there may be room. The connection's mutex is held, given up meanwhile.
func (w *waiter) wait(s *stream) error {
	c := s.c
	limit := c.limits.patience(w.size)
	if w.timer == nil && c.server {
		w.timer = time.NewTimer(limit)
	}
	var late <-chan time.Time
	if w.timer != nil {
		late = w.timer.C
	}
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	c.out.waiting = append(c.out.waiting, s)
	c.flushLater()
	var err error
	select {
	case <-s.wake:
	case <-c.done:
	case <-w.ctx.Done():
		err = contextError(w.ctx.Err())
	case <-late:
		err = connect.Errorf(connect.CodeResourceExhausted, "the client did not take a message of %d bytes within %v; read faster, or ask for less at a time", w.size, limit)
	}
	c.mu.Lock()
	c.unwait(s)
	return err
}

func (w *waiter) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
