package wire

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// conn is one end of a connection after the handshake, the same for client and server.
//
// One goroutine at a time reads (see reading and lone); everybody writes (outbox). The mutex guards what both
// touch; nobody waits while holding it. Calls wait on channels of their own.
type conn struct {
	nc     net.Conn
	limits Limits
	peer   hello
	server bool // this end is
	sums   bool // frames carry checksums
	pack   bool // messages are packed where that helps
	in     inbound
	own    budget       // of messages that this connection puts together
	shared *budget      // of those of all connections of a server, or nil
	room   atomic.Int64 // what the peer may still send in all
	owed   atomic.Int64 // consumed and not yet given back
	frames atomic.Uint64
	done   chan struct{} // closed when the connection has failed or was closed

	mu       sync.Mutex
	out      outbox
	streams  []*stream // by number; nil where none is open
	inFlight int
	err      error // why the connection is of no use any more
	draining bool  // no new calls

	watch *time.Timer
}

func newConn(nc net.Conn, limits Limits, mine, peer hello) *conn {
	peer.frame = min(peer.frame, limits.FrameBytes) // who takes larger ones does not decide what they cost here
	c := &conn{nc: nc, limits: limits, peer: peer, done: make(chan struct{}),
		sums: (mine.wishes|peer.wishes)&wishSums != 0,
		pack: mine.wishes&peer.wishes&wishPack != 0}
	c.in = inbound{nc: nc, limit: limits.FrameBytes, sums: c.sums}
	c.own.limit = int64(limits.AssemblyBytes)
	c.room.Store(int64(limits.ConnectionWindow))
	c.out.credit = int64(peer.connection)
	return c
}

// end ends the connection for what its reader has met, and returns why it has ended.
func (c *conn) end(err error) error {
	if b := (*brokenError)(nil); errors.As(err, &b) {
		c.fail(err, connect.Errorf(connect.CodeInvalidArgument, "%s", b.Error()))
	} else {
		c.fail(fmt.Errorf("%w: reading from %v: %w", ErrConnection, c.nc.RemoteAddr(), err), nil)
	}
	c.in.drop()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// dispatch handles a frame that is the same at both ends.
func (c *conn) dispatch(f frame, handle func(frame) error) error {
	switch f.kind {
	case kindWindow:
		return c.granted(f.stream, f.payload)
	case kindPing, kindPong, kindGoAway, kindHello:
		if f.stream != 0 || f.kind == kindHello {
			return broken("a frame of kind %d on stream %d, where it does not belong", f.kind, f.stream)
		}
	default:
		if f.stream == 0 || int(f.stream) > c.maxStreams() {
			return broken("a frame of stream %d: they go from 1 to %d", f.stream, c.maxStreams())
		}
	}
	if f.kind == kindPing || f.kind == kindPong {
		if len(f.payload) > 8 {
			return broken("a ping of %d bytes: at most 8", len(f.payload))
		}
		if f.kind == kindPing {
			return c.control(kindPong, 0, 0, f.payload)
		}
		return nil
	}
	return handle(f)
}

// maxStreams is how many calls may be in flight: the server's limit.
func (c *conn) maxStreams() int {
	if c.server {
		return c.limits.Streams
	}
	return c.peer.streams
}

// stream returns the open stream of a number, or nil. The mutex is held.
func (c *conn) stream(id uint32) *stream {
	if int(id) < len(c.streams) {
		return c.streams[id]
	}
	return nil
}

// register makes a stream known. The mutex is held.
func (c *conn) register(s *stream) {
	for int(s.id) >= len(c.streams) {
		c.streams = append(c.streams, nil)
	}
	c.streams[s.id] = s
	c.inFlight++
}

// silence says that no frame of a stream is sent any more. The mutex is held.
func (c *conn) silence(s *stream) {
	s.over = true
	s.wakeSender()
}

// retire forgets a stream. The mutex is held.
func (c *conn) retire(s *stream) {
	c.silence(s)
	if c.stream(s.id) == s {
		c.streams[s.id] = nil
		c.inFlight--
	}
}

// fail ends the connection for a reason, once. With a farewell the peer is told.
func (c *conn) fail(err error, farewell *connect.Error) {
	c.mu.Lock()
	c.failLocked(err, farewell)
	c.mu.Unlock()
}

// failLocked is fail with the mutex held. The last frames are written, by who is writing
// or by a goroutine, who then closes the connection.
func (c *conn) failLocked(err error, farewell *connect.Error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	if c.watch != nil {
		c.watch.Stop()
	}
	for _, s := range c.streams {
		if s != nil {
			s.in.fail(c.lost())
		}
	}
	// What cannot be written in a second is not heard any more.
	_ = c.nc.SetWriteDeadline(time.Now().Add(farewellTime))
	if farewell != nil {
		c.put(kindGoAway, 0, 0, appendGoAway(nil, farewell.Code(), farewell.Message()), nil)
	}
	if !c.out.writing {
		c.out.writing = true
		go c.write(0)
	}
}

// lost is the error of a call whose connection is gone. The mutex is held.
func (c *conn) lost() error { return lostFor(c.err) }

func lostFor(err error) error {
	return connect.NewError(connect.CodeUnavailable, "the connection was lost during the call").WithCause(errors.Join(ErrConnection, err))
}

// unknown says what a frame of a stream that is not open means: at the server, a call
// that has ended while the frame was under way.
func (c *conn) unknown(id uint32) error {
	if c.server {
		return nil
	}
	return broken("a frame of stream %d, which is not open", id)
}

// reserve takes memory for a message that is put together.
func (c *conn) reserve(n int) bool {
	if !c.own.reserve(n) {
		return false
	}
	if c.shared != nil && !c.shared.reserve(n) {
		c.own.release(n)
		return false
	}
	return true
}

func (c *conn) release(n int) {
	if n == 0 {
		return
	}
	c.own.release(n)
	if c.shared != nil {
		c.shared.release(n)
	}
}

// begin starts the watch: every tick it looks whether the peer is there and reads.
func (c *conn) begin(tick time.Duration, look func(quiet, silent time.Duration)) {
	var frames, writes uint64
	var quiet, silent, stuck time.Duration // nothing read, nothing written, one write under way
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.watch = time.AfterFunc(tick, func() {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		if n := c.frames.Load(); n != frames {
			frames, quiet = n, 0
		} else {
			quiet += tick
		}
		silent, stuck = silent+tick, stuck+tick
		if n := c.out.writes; n != writes {
			writes, silent, stuck = n, 0, 0
		} else if !c.out.writing {
			stuck = 0
		}
		c.mu.Unlock()
		if stuck >= c.limits.WriteTime {
			c.fail(fmt.Errorf("wire: %v has not read for %v", c.nc.RemoteAddr(), stuck), nil)
			_ = c.nc.Close() // a write is under way: only this ends it
			return
		}
		look(quiet, silent)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil {
			c.watch.Reset(tick) // only now: one look at a time
		}
	})
}

// tick is how often the watch looks: four times in the shortest time that it keeps.
func (l Limits) tick() time.Duration {
	return max(time.Millisecond, min(l.IdleTime, l.KeepAlive, l.PongTime, l.WriteTime)/4)
}

// budget is memory that many share.
type budget struct {
	limit int64
	used  atomic.Int64
}

// reserve takes n bytes if they are there.
func (b *budget) reserve(n int) bool {
	if b.used.Add(int64(n)) <= b.limit {
		return true
	}
	b.used.Add(-int64(n))
	return false
}

func (b *budget) release(n int) { b.used.Add(-int64(n)) }
