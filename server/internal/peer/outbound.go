package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// outbound is a connection to another node, as Raft keeps it: behind it is another one after it has
// been silent for long, or the other side has closed it. See the package comment.
type outbound struct {
	layer   *Layer
	address string
	ctx     context.Context // ends with Close
	stop    context.CancelFunc

	mu       sync.Mutex
	conn     *tls.Conn
	used     time.Time // when something came or went
	begins   bool      // a call begins with the next write, and nothing is under way
	pipeline bool      // calls follow each other without waiting, until it is closed
	closed   bool
	reading  time.Time // the deadlines
	writing  time.Time
}

func newOutbound(y *Layer, address string) *outbound {
	c := &outbound{layer: y, address: address}
	c.ctx, c.stop = context.WithCancel(y.ctx)
	return c
}

// now returns the connection that is behind it.
func (c *outbound) now() *tls.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// touch remembers that the connection is alive.
func (c *outbound) touch(n int) {
	if n > 0 {
		c.mu.Lock()
		c.used = time.Now()
		c.mu.Unlock()
	}
}

// Read implements [net.Conn].
func (c *outbound) Read(b []byte) (int, error) {
	n, err := c.now().Read(b)
	carried(&c.layer.figures.received, n)
	c.touch(n)
	return n, err
}

// Write implements [net.Conn]. With the first one of a call there may be a new connection.
func (c *outbound) Write(b []byte) (int, error) {
	c.mu.Lock()
	begins, conn, silent := c.begins, c.conn, time.Since(c.used)
	c.begins = false
	c.mu.Unlock()
	if begins && (silent >= c.layer.limits.rest || hasEnded(conn)) {
		if err := c.renew(); err != nil {
			return 0, err
		}
		conn = c.now()
	}
	_ = conn.SetWriteDeadline(c.patience()) // if it fails, so does the write
	n, err := conn.Write(b)
	carried(&c.layer.figures.sent, n)
	c.touch(n)
	return n, err
}

// patience returns until when the other side may take nothing of what is written.
func (c *outbound) patience() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(c.layer.limits.stall)
	if !c.writing.IsZero() && c.writing.Before(until) {
		return c.writing
	}
	return until
}

// renew takes a new connection.
func (c *outbound) renew() error {
	c.mu.Lock()
	old, deadline := c.conn, c.writing
	c.mu.Unlock()
	_ = old.NetConn().Close() // nothing is under way, and the other side may be gone
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	conn, err := c.layer.call(ctx, c.address)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.NetConn().Close()
		return net.ErrClosed
	}
	c.layer.figures.renewed.Add(1)
	c.conn, c.used = conn, time.Now()
	_ = conn.SetReadDeadline(c.reading) // if they fail, so does what they are for
	_ = conn.SetWriteDeadline(c.writing)
	return nil
}

// SetDeadline implements [net.Conn]: a call begins, the answer to which is waited for.
func (c *outbound) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begins = !c.pipeline && !t.IsZero()
	c.reading, c.writing = t, t
	return c.conn.SetDeadline(t)
}

// SetWriteDeadline implements [net.Conn]: the first time a pipeline begins, which was idle.
func (c *outbound) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pipeline && !t.IsZero() {
		c.begins, c.pipeline = true, true
	}
	c.writing = t
	return c.conn.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *outbound) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = t
	return c.conn.SetReadDeadline(t)
}

// LocalAddr implements [net.Conn].
func (c *outbound) LocalAddr() net.Addr { return c.now().LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *outbound) RemoteAddr() net.Addr { return c.now().RemoteAddr() }

// Close implements [net.Conn]. It does not wait for the other side, which may be gone.
func (c *outbound) Close() error {
	c.stop()
	c.layer.forget(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.conn.NetConn().Close()
}
