package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kantadb/kanta/server/wire"
)

// Serve answers on a listener in plain text, with the compact wire and, on the same port,
// Connect and gRPC over HTTP/1.1 and HTTP/2: the first byte of a connection tells which. It
// closes the listener and returns nil after [Server.Shutdown], or the error that ended it.
func (s *Server) Serve(l net.Listener) error {
	d := &door{Listener: &limitedListener{Listener: l, tokens: make(chan struct{}, s.limits.connections)}, s: s, web: make(chan net.Conn), closed: make(chan struct{})}
	if !s.open(d) {
		d.close()
		return nil
	}
	var web error
	var group sync.WaitGroup
	group.Go(func() { web = s.http.Serve(webListener{d}) })
	err := d.accept(&group)
	s.mu.Lock()
	delete(s.doors, d)
	stopped := s.stopping()
	s.mu.Unlock()
	d.close()
	group.Wait()
	if stopped {
		return nil
	}
	if err == nil && !errors.Is(web, http.ErrServerClosed) {
		err = web
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}

// open has Shutdown close the door, unless it has begun.
func (s *Server) open(d *door) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping() {
		return false
	}
	s.doors[d] = true
	return true
}

// door is a listener whose connections are of several protocols.
type door struct {
	net.Listener
	s      *Server
	web    chan net.Conn // those of HTTP
	once   sync.Once
	closed chan struct{}
}

func (d *door) close() {
	d.once.Do(func() {
		close(d.closed)
		_ = d.Listener.Close() // nobody is served any more either way
	})
}

// acceptPause is how long it is waited when the machine has no more files, say.
const acceptPause = 50 * time.Millisecond

// accept takes connections until the door is closed. Each is sorted in a goroutine of its
// own, for its first byte may be long in coming.
func (d *door) accept(group *sync.WaitGroup) error {
	for {
		c, err := d.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			group.Go(func() { d.sort(c) })
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.As(err, &passing) && passing.Temporary():
			select {
			case <-d.closed:
				return nil
			case <-time.After(acceptPause):
			}
		default:
			return err
		}
	}
}

// sort looks at the first byte of a connection and gives it to who understands it.
func (d *door) sort(c net.Conn) {
	begun := &begunConn{Conn: c}
	err := c.SetReadDeadline(time.Now().Add(d.s.limits.header))
	if err == nil {
		_, err = c.Read(begun.first[:])
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = c.Close() // it has said nothing
		return
	}
	if begun.first[0] == wire.Magic[0] {
		_ = d.s.wire.ServeConn(d.s.stop, begun) // why it ended is the client's affair
		return
	}
	select {
	case d.web <- begun:
	case <-d.closed:
		_ = c.Close() // nobody will serve it
	}
}

// begunConn is a connection whose first byte has been read.
type begunConn struct {
	net.Conn
	first [1]byte
	taken bool
}

// Read gives the first byte back, and then what follows.
func (c *begunConn) Read(b []byte) (int, error) {
	if c.taken || len(b) == 0 {
		return c.Conn.Read(b)
	}
	c.taken = true
	b[0] = c.first[0]
	return 1, nil
}

// webListener hands the connections of HTTP out.
type webListener struct{ *door }

func (l webListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.web:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l webListener) Close() error {
	l.close()
	return nil
}
