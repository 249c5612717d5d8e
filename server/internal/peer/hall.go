package peer

import (
	"net"
	"slices"
	"sync"
	"time"
)

// hall is where connections that others made are counted. Nobody is kept out by those who are there:
// the newest comes in, and another one goes, if there are too many.
type hall struct {
	limits *limits
	begun  time.Time

	mu        sync.Mutex
	strangers []*stranger // the oldest first
	known     map[*inbound]struct{}
	closed    bool
}

func newHall(l *limits) *hall {
	return &hall{limits: l, begun: time.Now(), known: map[*inbound]struct{}{}}
}

// now returns the nanoseconds since it began: somebody may set the clock.
func (h *hall) now() int64 { return int64(time.Since(h.begun)) }

// stranger is a connection that has not been let in.
type stranger struct {
	net.Conn
	hall *hall
	host string // without the port
}

// enter counts a connection that has come. Another may have to go, which is off the list already.
func (h *hall) enter(c net.Conn) (s, pushed *stranger) {
	s = &stranger{Conn: c, hall: h, host: hostOf(c.RemoteAddr())}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.strangers = append(h.strangers, s)
	if len(h.strangers) > h.limits.strangers {
		pushed = h.longest()
		h.strike(pushed)
	}
	return s, pushed
}

// longest returns who has been there for longest, of the address with most of them. The mutex is held.
func (h *hall) longest() *stranger {
	of, most := map[string]int{}, 0
	for _, s := range h.strangers {
		of[s.host]++
		most = max(most, of[s.host])
	}
	i := slices.IndexFunc(h.strangers, func(s *stranger) bool { return of[s.host] == most })
	return h.strangers[i]
}

// strike takes a stranger off the list, and reports whether he was on it. The mutex is held.
func (h *hall) strike(s *stranger) bool {
	i := slices.Index(h.strangers, s)
	if i >= 0 {
		h.strangers = slices.Delete(h.strangers, i, i+1)
	}
	return i >= 0
}

// leave takes a stranger off the list, and reports whether he was on it.
func (s *stranger) leave() bool {
	s.hall.mu.Lock()
	defer s.hall.mu.Unlock()
	return s.hall.strike(s)
}

// settle lets a stranger in as a node's connection. Another connection may have to go for it, which is
// off the list already: of the same node, if that has too many, else of all. It reports whether the
// stranger was still there.
func (h *hall) settle(s *stranger, c *inbound) (quiet *inbound, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.strike(s) || h.closed {
		return nil, false
	}
	of := 0
	for other := range h.known {
		if other.node == c.node {
			of++
		}
	}
	switch {
	case of >= h.limits.perNode:
		quiet = h.quietest(c.node)
	case len(h.known) >= h.limits.connections:
		quiet = h.quietest("")
	}
	delete(h.known, quiet)
	h.known[c] = struct{}{}
	return quiet, true
}

// quietest returns the connection, of a node or of all (""), on which nothing has happened for
// longest. The mutex is held.
func (h *hall) quietest(node string) (quiet *inbound) {
	for c := range h.known {
		if (node == "" || c.node == node) && (quiet == nil || c.heard.Load() < quiet.heard.Load()) {
			quiet = c
		}
	}
	return quiet
}

// forget takes a connection that is closed off the list.
func (h *hall) forget(c *inbound) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, c)
}

func (h *hall) count() (strangers, known int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.strangers), len(h.known)
}

// close sends everybody away, and lets nobody in any more.
func (h *hall) close() {
	h.mu.Lock()
	h.closed = true
	var all []net.Conn
	for _, s := range h.strangers {
		all = append(all, s)
	}
	for c := range h.known {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// hostOf returns an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
