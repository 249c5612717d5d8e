package peer

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// inbound is a connection that another node made. It may be silent between two messages for a while,
// and must bring each that it began. Raft reads a message, answers, and reads the next one, never two
// of these at a time.
type inbound struct {
	*tls.Conn
	layer *Layer
	node  string
	heard atomic.Int64 // when something came or went, as the hall counts
	gone  sync.Once

	// Of the goroutine that reads.
	within bool          // a message has begun
	saved  time.Duration // that may still be waited for it
}

func newInbound(y *Layer, c *tls.Conn, node string) *inbound {
	in := &inbound{Conn: c, layer: y, node: node}
	in.heard.Store(y.hall.now())
	return in
}

// Read implements [net.Conn]. What has been silent for too long between two messages has ended.
func (c *inbound) Read(b []byte) (int, error) {
	l := c.layer.limits
	limit := l.idle
	if c.within {
		limit = c.saved
	}
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(limit)) // if it fails, so does the read
	n, err := c.Conn.Read(b)
	carried(&c.layer.figures.received, n)
	now := time.Now()
	c.heard.Store(c.layer.hall.now())
	late := err != nil && errors.Is(err, os.ErrDeadlineExceeded)
	if !c.within {
		if late {
			c.layer.figures.idle.Add(1)
			return n, io.EOF
		}
		c.within, c.saved = n > 0, l.frame
		return n, err
	}
	if late {
		c.layer.refuse(c.RemoteAddr(), c.node, ReasonSlow, err)
	}
	// Only time in which this side waited counts: it may be that Raft has not asked for more.
	c.saved -= now.Sub(begun)
	c.saved = max(0, min(l.frame, c.saved+time.Duration(n)*time.Second/time.Duration(l.rate)))
	return n, err
}

// Write implements [net.Conn]: an answer, with which a message is over.
func (c *inbound) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.layer.limits.frame)) // if it fails, so does the write
	n, err := c.Conn.Write(b)
	carried(&c.layer.figures.sent, n)
	c.heard.Store(c.layer.hall.now())
	c.within = false
	return n, err
}

// Close implements [net.Conn]. It does not wait for the other side, which may be gone.
func (c *inbound) Close() error {
	c.gone.Do(func() { c.layer.hall.forget(c) })
	return c.NetConn().Close()
}
