package wire

import (
	"context"
	"errors"
	"os"
	"time"
)

// reading is who reads a client's connection, under the connection's mutex.
//
// Whoever waits for the answer of a lone call reads it himself, as he would without streams:
// then no other goroutine has to be woken for it, which costs as much as the call (see
// BenchmarkNull). A goroutine of the connection's reads whenever more than that is under way,
// and whenever nobody has called for a while: a server that goes away is to be noticed.
type reading struct {
	taken  bool          // somebody reads
	rounds uint64        // how often a caller has read
	seen   uint64        // rounds at the last look of linger
	linger *time.Timer   // while nobody reads
	armed  bool          // linger will fire
	over   chan struct{} // to the connection's goroutine: it is its turn; holds one
}

// lingering is for how long nobody reads after a call, in the hope of the next one: long
// enough that who calls one thing after another reads himself, and short enough for nobody to
// miss what a server says in between.
const lingering = 10 * time.Millisecond

// readOn is the connection's own goroutine: it reads when it is its turn, until the connection
// ends.
func (t *Transport) readOn() {
	c := t.c
	for {
		if err := t.read(nil); err != nil {
			c.end(err)
			return
		}
		t.leave()
		select {
		case <-t.reading.over:
		case <-c.done:
			c.mu.Lock()
			taken := t.reading.taken
			t.reading.taken = true
			c.mu.Unlock()
			if !taken {
				c.in.drop()
			}
			return
		}
	}
}

// read reads and handles frames: until something is there for a stream, or, without one, until
// nothing is under way and nothing more is there.
func (t *Transport) read(s *clientStream) error {
	c := t.c
	for {
		f, err := c.in.next()
		if err == nil {
			c.frames.Add(1)
			err = c.dispatch(f, t.handle)
		}
		switch {
		case err != nil:
			return err
		case s != nil:
			if s.in.holds() {
				return nil
			}
		case c.in.empty() && t.InFlight() == 0:
			return nil
		}
	}
}

// await has the caller of a call with one answer read until it is there, if nobody else reads.
// It reports false if somebody does, or its context has ended.
func (t *Transport) await(s *clientStream) bool {
	c := t.c
	c.mu.Lock()
	if t.reading.taken || c.err != nil {
		c.mu.Unlock()
		return false
	}
	t.reading.taken = true
	t.reading.rounds++
	c.mu.Unlock()
	release := func() bool { return false }
	if s.ctx.Done() != nil {
		release = interruptible(s.ctx, c)
	}
	err := t.read(s)
	if release() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	if err != nil {
		c.end(err)
		return false
	}
	t.leave()
	return s.in.holds()
}

// interruptible has the end of a context end a read of the connection. release ends that, and
// reports whether it has happened; the connection can be read again.
func interruptible(ctx context.Context, c *conn) (release func() bool) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	})
	return func() bool {
		if stop() {
			return false
		}
		<-ended
		_ = c.nc.SetReadDeadline(time.Time{})
		return true
	}
}

// leave ends a turn of reading.
func (t *Transport) leave() {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.reading.taken = false
	if t.c.inFlight > 0 {
		t.handOver()
	} else {
		t.arm()
	}
}

// handOver has the connection's goroutine read, unless somebody does. The mutex is held.
func (t *Transport) handOver() {
	if !t.reading.taken && t.c.err == nil {
		t.reading.taken = true
		t.reading.over <- struct{}{}
	}
}

// arm sees to it that nobody reads for no longer than lingering. The mutex is held.
func (t *Transport) arm() {
	r := &t.reading
	if r.armed || r.taken || t.c.err != nil {
		return
	}
	r.armed, r.seen = true, r.rounds
	if r.linger == nil {
		r.linger = time.AfterFunc(lingering, t.lingered)
		return
	}
	r.linger.Reset(lingering)
}

func (t *Transport) lingered() {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	r := &t.reading
	r.armed = false
	if r.rounds != r.seen {
		t.arm()
		return
	}
	t.handOver()
}
