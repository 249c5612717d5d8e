package server

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
)

// hall is where connections are counted: all of them, those whose caller is not known yet, who
// are strangers, and those of each caller.
//
// There is room for few strangers, because each costs memory and nobody answers for him. One too
// many is let in, and the one who has been there for longest goes, of the address that has most of
// them: who is honest knocks and is known within some round trips, who is not stays, so a crowd that
// says nothing, from however many places it comes, pushes out itself. Were the newest refused, as
// many silent connections as there is room for would keep everybody out.
type hall struct {
	limits *limits
	places chan struct{} // one for each connection

	mu        sync.Mutex
	strangers []*visitor // the oldest first
	callers   map[string]int
	closed    bool
}

func newHall(l *limits) *hall {
	return &hall{limits: l, places: make(chan struct{}, l.connections), callers: map[string]int{}}
}

// sendBuffer is what the operating system holds for a client that does not read, about: as much as
// the Go client lets a stream have under way, where systems would take some MiB.
const sendBuffer = 256 << 10

// visitor is a connection of somebody.
type visitor struct {
	net.Conn
	hall    *hall
	host    string // without the port
	first   []byte // what has been read already
	late    *time.Timer
	release func()

	// Under the hall's mutex.
	known  bool
	gone   bool
	caller string // whose connection it is. "": one of everybody's
}

// enter lets a connection in, which has a place. Another may have to go.
func (h *hall) enter(c net.Conn) *visitor {
	if t, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = t.SetWriteBuffer(sendBuffer) // fails when the connection is gone
	}
	v := &visitor{Conn: c, hall: h, host: hostOf(c.RemoteAddr())}
	v.release = sync.OnceFunc(func() { h.leave(v) })
	h.mu.Lock()
	h.strangers = append(h.strangers, v)
	var pushed *visitor
	switch {
	case h.closed:
		pushed = v
	case len(h.strangers) > h.limits.strangers:
		pushed = h.longest()
	}
	v.late = time.AfterFunc(h.limits.stranger, func() { v.hurry() })
	h.mu.Unlock()
	if pushed != nil {
		_ = pushed.Close()
	}
	return v
}

// longest returns the stranger who has to go. The mutex is held.
func (h *hall) longest() *visitor {
	of, most := map[string]int{}, 0
	for _, v := range h.strangers {
		of[v.host]++
		most = max(most, of[v.host])
	}
	for _, v := range h.strangers {
		if of[v.host] == most {
			return v
		}
	}
	return nil
}

// hurry closes the connection if nobody knows yet whose it is.
func (v *visitor) hurry() {
	v.hall.mu.Lock()
	known := v.known
	v.hall.mu.Unlock()
	if !known {
		_ = v.Close()
	}
}

// settle says whose connection it is: the first who was believed on it. "" is everybody, who is
// not counted. Its error says that the caller has too many.
func (h *hall) settle(v *visitor, caller string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.known || v.gone {
		return nil
	}
	if caller != "" && h.callers[caller] >= h.limits.perCaller {
		return connect.Errorf(connect.CodeResourceExhausted, "%s has %d connections already: use them, or close them", caller, h.limits.perCaller)
	}
	v.known, v.caller = true, caller
	v.late.Stop()
	h.forget(v)
	if caller != "" {
		h.callers[caller]++
	}
	return nil
}

// forget takes a stranger off the list. The mutex is held.
func (h *hall) forget(v *visitor) {
	for i, s := range h.strangers {
		if s == v {
			h.strangers = append(h.strangers[:i], h.strangers[i+1:]...)
			return
		}
	}
}

// leave gives the place of a connection back.
func (h *hall) leave(v *visitor) {
	h.mu.Lock()
	v.gone = true
	v.late.Stop()
	h.forget(v)
	if v.caller != "" {
		if h.callers[v.caller]--; h.callers[v.caller] == 0 {
			delete(h.callers, v.caller)
		}
	}
	h.mu.Unlock()
	<-h.places
}

// close sends the strangers away, and lets nobody in any more.
func (h *hall) close() {
	h.mu.Lock()
	h.closed = true
	strangers := append([]*visitor(nil), h.strangers...)
	h.mu.Unlock()
	for _, v := range strangers {
		_ = v.Close()
	}
}

// Read implements [net.Conn].
func (v *visitor) Read(b []byte) (int, error) {
	if len(v.first) == 0 || len(b) == 0 {
		return v.Conn.Read(b)
	}
	n := copy(b, v.first)
	v.first = v.first[n:]
	return n, nil
}

// Close implements [net.Conn].
func (v *visitor) Close() error {
	err := v.Conn.Close()
	v.release()
	return err
}

type visitorKey struct{}

func withVisitor(ctx context.Context, v *visitor) context.Context {
	return context.WithValue(ctx, visitorKey{}, v)
}

// visitorOf returns the connection that a context is of. nil: it is none of the server's.
func visitorOf(ctx context.Context) *visitor {
	v, _ := ctx.Value(visitorKey{}).(*visitor)
	return v
}

// under returns the connection that a door has let in, of what it has made of it.
func under(c net.Conn) *visitor {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	v, _ := c.(*visitor)
	return v
}

// hostOf returns an address without its port.
func hostOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
