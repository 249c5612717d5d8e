package wire

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"connectrpc.com/connect/v2"
)

// outbox is what a connection is about to write, under the connection's mutex.
//
// There is no writing goroutine: who adds a frame writes, unless somebody is at it
// already, who then writes that frame too. A lone call therefore pays one system call and
// no change of goroutine, and a crowd shares one write: whoever writes lets the others
// that are ready run first (see flush).
type outbox struct {
	pending, spare *buffer
	writing        bool
	writes         uint64    // begun, for the watch
	credit         int64     // what the peer's connection window still takes
	waiting        []*stream // senders that wait for credit, or for pending to shrink
}

// put adds a frame. The connection's mutex is held.
func (c *conn) put(kind, flags byte, stream uint32, head, body []byte) {
	size := headerBytes + len(head) + len(body) + checksumBytes
	if c.out.pending == nil {
		c.out.pending, c.out.spare = c.out.spare, nil
	}
	if p := c.out.pending; p == nil || len(p.b)+size > cap(p.b) {
		grown := newBuffer(size)
		if p != nil {
			grown = newBuffer(2*len(p.b) + size)
			grown.b = append(grown.b, p.b...)
			p.free()
		}
		c.out.pending = grown
	}
	c.out.pending.b = appendFrame(c.out.pending.b, c.sums, kind, flags, stream, head, body)
}

// crowded reports whether so much waits to be written that data must wait with their
// senders. The connection's mutex is held.
func (c *conn) crowded() bool {
	return c.out.pending != nil && len(c.out.pending.b) >= c.limits.PendingBytes
}

// flush writes what is pending, unless somebody is writing. The connection's mutex is
// held, and released.
func (c *conn) flush() {
	if c.out.writing || c.out.pending == nil {
		c.mu.Unlock()
		return
	}
	c.out.writing = true
	crowd := c.inFlight > 1
	c.mu.Unlock()
	if crowd {
		runtime.Gosched()
	}
	c.write(writerTurns)
}

// flushLater is flush for who must not wait: the reader, which would otherwise stop
// reading while the peer has stopped reading too, and senders on a stream, whose next
// messages then share the write. The connection's mutex is held, and released.
func (c *conn) flushLater() {
	if c.out.writing || c.out.pending == nil {
		c.mu.Unlock()
		return
	}
	c.out.writing = true
	c.mu.Unlock()
	go c.write(0)
}

// writerTurns is how many writes a caller does for the others before it hands over to a
// goroutine and sees to its own answer.
const writerTurns = 4

// write writes until nothing is pending, or for a number of turns, after which another
// goroutine goes on; 0 turns are all. The caller has set writing.
func (c *conn) write(turns int) {
	c.mu.Lock()
	for turn := 1; c.out.pending != nil; turn++ {
		if turns > 0 && turn > turns {
			go c.write(0)
			break
		}
		buf := c.out.pending
		c.out.pending = nil
		c.out.writes++
		c.wakeSenders()
		c.mu.Unlock()
		_, err := c.nc.Write(buf.b)
		c.mu.Lock()
		if buf.b = buf.b[:0]; c.out.spare == nil {
			c.out.spare = buf
		} else {
			buf.free()
		}
		if err != nil {
			c.failLocked(fmt.Errorf("%w: writing to %v: %w", ErrConnection, c.nc.RemoteAddr(), err), nil)
			c.out.pending = nil
		}
	}
	if c.out.pending != nil { // the goroutine goes on
		c.mu.Unlock()
		return
	}
	c.out.writing = false
	c.out.spare.free()
	c.out.spare = nil
	last := c.err != nil
	c.mu.Unlock()
	if last {
		_ = c.nc.Close() // nobody writes any more: see fail
	}
}

// wakeSenders lets those that wait for room look again. The connection's mutex is held.
func (c *conn) wakeSenders() {
	for _, s := range c.out.waiting {
		s.wakeSender()
	}
}

// control adds a frame that the reader owes the peer. A peer that asks and asks without
// reading the answers is cut off.
func (c *conn) control(kind, flags byte, stream uint32, payload []byte) error {
	c.mu.Lock()
	if c.crowded() && len(c.out.pending.b) >= c.limits.PendingBytes+controlBytes {
		c.mu.Unlock()
		return broken("questions, and does not read the answers")
	}
	c.put(kind, flags, stream, payload, nil)
	c.flushLater()
	return nil
}

// controlBytes is what may be pending of answers by the reader beyond PendingBytes.
const controlBytes = 64 << 10

// granted takes credit from the peer. The connection's mutex is not held.
func (c *conn) granted(id uint32, payload []byte) error {
	f := fields{b: payload}
	n := int64(f.number("a window's credit", maxWindow))
	if err := f.close("a window"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 {
		if c.out.credit += n; c.out.credit > 2*maxWindow {
			return broken("more credit than a window can have")
		}
		c.wakeSenders()
		return nil
	}
	s := c.stream(id)
	if s == nil {
		return c.unknown(id)
	}
	if s.credit += n; s.credit > 2*maxWindow {
		return broken("more credit than a window can have")
	}
	s.wakeSender()
	return nil
}

// consumed gives the peer back the room that a frame took in the connection's window,
// and in a stream's, if it is given. Credit is sent when half a window has come together.
func (c *conn) consumed(s *stream, cost int) {
	grant := int64(0)
	if owed := c.owed.Add(int64(cost)); owed >= int64(c.limits.ConnectionWindow/2) && c.owed.CompareAndSwap(owed, 0) {
		grant = owed
		c.room.Add(grant)
	}
	own := int64(0)
	if s != nil {
		own = s.in.taken(cost, c.limits.StreamWindow)
	}
	if grant == 0 && own == 0 {
		return
	}
	var b [binary.MaxVarintLen64]byte
	c.mu.Lock()
	if grant > 0 {
		c.put(kindWindow, 0, 0, b[:binary.PutUvarint(b[:], uint64(grant))], nil)
	}
	if own > 0 && !s.over {
		c.put(kindWindow, 0, s.id, b[:binary.PutUvarint(b[:], uint64(own))], nil)
	}
	c.flushLater()
}

// outgoing is a message on its way: what is sent of it comes after what says its size.
type outgoing struct {
	body *buffer // the message, as it was or packed
	raw  int     // its size before it was packed, 0 if it is not
}

// send sends a message in as many frames as it takes, waiting for room.
func (s *stream) send(w *waiter, m outgoing, last bool) error {
	c := s.c
	var raw, sizes [2 * binary.MaxVarintLen32]byte
	whole, first, flags, end := raw[:0], sizes[:0], byte(0), byte(0)
	if m.raw > 0 {
		flags = flagPacked
		whole = binary.AppendUvarint(whole, uint64(m.raw))
	}
	if last {
		end = flagLast
	}
	defer w.stop()
	c.mu.Lock()
	defer c.flushLater()
	rest := m.body.b
	for sent := false; ; {
		if err := s.sendable(); err != nil {
			return err
		}
		if !sent && s.fits(len(whole)+len(rest)) {
			s.spend(len(whole) + len(rest))
			c.put(kindMessage, flags|end, s.id, whole, rest)
			return nil
		}
		if !sent {
			first = append(binary.AppendUvarint(sizes[:0], uint64(len(rest))), whole...)
		}
		n := s.piece(len(first), len(rest))
		if n == 0 {
			if err := w.wait(s); err != nil {
				return err
			}
			continue
		}
		s.spend(len(first) + n)
		if n == len(rest) {
			c.put(kindMessage, end, s.id, nil, rest)
			return nil
		}
		c.put(kindMessage, flags|flagMore, s.id, first, rest[:n])
		rest, first, flags, sent = rest[n:], nil, 0, true
	}
}

// fits reports whether a frame of n bytes can go now. The connection's mutex is held.
func (s *stream) fits(n int) bool {
	return n <= s.c.peer.frame && int64(n+frameCost) <= min(s.credit, s.c.out.credit) &&
		!s.c.crowded() && s.sendable() == nil
}

// piece returns how much of the rest of a message can go now; 0 is to wait. Pieces of
// less than a KiB are not worth a frame. The connection's mutex is held.
func (s *stream) piece(head, rest int) int {
	if s.c.crowded() {
		return 0
	}
	room := min(int64(s.c.peer.frame), s.credit-frameCost, s.c.out.credit-frameCost) - int64(head)
	if room < int64(min(rest, 1<<10)) {
		return 0
	}
	return int(min(room, int64(rest)))
}

func (s *stream) spend(n int) {
	s.credit -= int64(n + frameCost)
	s.c.out.credit -= int64(n + frameCost)
}

// sendable returns why nothing can be sent on the stream any more. The connection's mutex
// is held.
func (s *stream) sendable() error {
	switch {
	case s.c.err != nil:
		return s.c.lost()
	case s.over:
		return errOver
	}
	return nil
}

func (s *stream) wakeSender() {
	if s.wake != nil {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// unwait removes a sender from those that wait. The connection's mutex is held.
func (c *conn) unwait(s *stream) {
	if i := slices.Index(c.out.waiting, s); i >= 0 {
		c.out.waiting = slices.Delete(c.out.waiting, i, i+1)
	}
}

// tooLarge is the error for a message that the peer does not take.
func tooLarge(size, limit int) error {
	return connect.Errorf(connect.CodeResourceExhausted, "a message of %d bytes: the other end takes %d; ask for less, or in pieces", size, limit)
}
