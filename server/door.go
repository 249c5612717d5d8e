package server

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/kantadb/kanta/server/wire"
)

// door takes connections of all kinds from a listener: their first byte tells the compact wire
// from HTTP, which gets the rest as a listener of its own.
type door struct {
	net.Listener
	s     *Server
	http  chan net.Conn
	ended chan struct{} // closed when nothing more comes
	err   error         // why, set before
	once  sync.Once
}

func (s *Server) newDoor(l net.Listener) *door {
	d := &door{Listener: &limitedListener{Listener: l, tokens: make(chan struct{}, s.limits.connections)}, s: s,
		http: make(chan net.Conn), ended: make(chan struct{})}
	go d.run()
	return d
}

// acceptPause is how long nobody is let in when the machine cannot.
const acceptPause = 50 * time.Millisecond

// run accepts until the listener is closed.
func (d *door) run() {
	for {
		c, err := d.Listener.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			go d.take(c)
		case errors.As(err, &passing) && passing.Temporary(): // the process has no more files, say
			time.Sleep(acceptPause)
		default:
			d.end(err)
			return
		}
	}
}

func (d *door) end(err error) {
	d.once.Do(func() {
		d.err = err
		close(d.ended)
	})
}

// take looks at the first byte of a connection, which a stranger may keep for himself.
func (d *door) take(c net.Conn) {
	first := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(d.s.limits.header)) // if it fails, so does the read
	if _, err := c.Read(first); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{}) // as above
	begun := &begunConn{Conn: c, first: first}
	if first[0] == wire.Magic[0] {
		_ = d.s.wire.ServeConn(d.s.stop, begun) // how a client's connection ends is the client's affair
		return
	}
	select {
	case d.http <- begun:
	case <-d.ended:
		_ = c.Close()
	}
}

// Accept implements [net.Listener] for HTTP.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.http:
		return c, nil
	case <-d.ended:
		return nil, d.err
	}
}

// begunConn is a connection whose first byte has been read already.
type begunConn struct {
	net.Conn
	first []byte
}

// Read implements [net.Conn].
func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.first) == 0 || len(b) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.first)
	c.first = c.first[n:]
	return n, nil
}
