package wire

import (
	"sync"
	"time"

	"connectrpc.com/connect/v2"
)

// A call that comes by itself is handled by the goroutine that has read it: to wake another one
// for it takes longer than many a call does. Meanwhile nobody reads, so if it takes long another
// goroutine goes on with that; and who has several calls at once has each on a goroutine of its
// own, without any waiting for one before it. Whether a client has several is told by the
// numbers of its streams: a client with one call at a time uses number 1 only.
const (
	// loneCalls is after how many calls in a row on stream 1 a client is taken for one that has
	// one call at a time.
	loneCalls = 16
	// loneTime is how long nobody reads at least, twice of that at most: it is what a cancellation, or the
	// first of several calls at once, may come too late.
	loneTime = time.Millisecond
)

// lone is what a connection of a server knows of calls that come by themselves.
type lone struct {
	row  int         // calls in a row on stream 1; of the reading goroutine
	next *serverCall // that it is to handle

	mu      sync.Mutex
	turn    uint64 // of reading: a goroutine whose turn is over reads no more
	handles bool   // the goroutine that reads handles a call
	number  uint64 // of that call
	seen    uint64 // of the call that was there when the server looked last
}

// alone reports whether a call that has just been read is handled by who has read it.
func (sc *serverConn) alone(spec connect.Spec, f frame) bool {
	if f.stream != 1 {
		sc.lone.row = 0
		return false
	}
	if sc.lone.row < loneCalls {
		sc.lone.row++
		return false
	}
	return f.kind == kindCall && f.flags&flagLast != 0 && spec.StreamType == connect.StreamTypeUnary && sc.c.in.empty()
}

// read reads until the connection ends, or until another goroutine does.
func (sc *serverConn) read(turn uint64) {
	for {
		f, err := sc.c.in.next()
		if err == nil {
			sc.c.frames.Add(1)
			err = sc.c.dispatch(f, sc.handle)
		}
		if err != nil {
			sc.ended <- sc.c.end(err)
			return
		}
		if call := sc.lone.next; call != nil {
			sc.lone.next = nil
			if !sc.handleLone(call, turn) {
				return
			}
		}
	}
}

// handleLone handles a call, and reports whether it is still this goroutine's turn to read.
func (sc *serverConn) handleLone(call *serverCall, turn uint64) (reads bool) {
	l := &sc.lone
	l.mu.Lock()
	l.handles = true
	l.number++
	l.mu.Unlock()
	sc.s.mind()
	returned := false
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if reads = l.turn == turn; reads {
			l.handles = false
		}
		if reads && !returned { // the handler has ended this goroutine
			l.turn++
			go sc.read(l.turn)
		}
	}()
	call.run()
	returned = true
	return reads
}

// look lets another goroutine read if this is the second look at the same call, and reports
// whether the one that reads handles a call.
func (sc *serverConn) lookLone() bool {
	l := &sc.lone
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.handles:
		return false
	case l.seen != l.number:
		l.seen = l.number
		return true
	}
	l.turn++
	l.handles = false
	go sc.read(l.turn)
	return false
}

// mind has the server look at its lone calls, from now on until there are none.
func (s *Server) mind() {
	if !s.minding.Swap(true) {
		s.minder.Reset(loneTime)
	}
}

func (s *Server) lookLone() {
	if s.eachLone() {
		s.minder.Reset(loneTime)
		return
	}
	s.minding.Store(false)
	if s.eachLone() { // one that has begun after the look, and has seen the server minding
		s.mind()
	}
}

func (s *Server) eachLone() (any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sc := range s.conns {
		any = sc.lookLone() || any
	}
	return any
}
