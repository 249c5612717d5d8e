package server

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// pace reads a request's body, and gives up one that comes too slowly. Time counts only while the
// server waits for the client, and what came faster than it must is saved up for as long as the
// window is: so the mean over a window decides, and a client that the server keeps waiting loses
// nothing by it. Of a stream, whose messages say how long they are, the time between two messages
// is the client's, up to another bound.
//
// It keeps a timer of its own instead of deadlines for each read: one that passes while the server
// is busy ends a stream of HTTP/2, be anything read or not.
type pace struct {
	io.ReadCloser
	control  *http.ResponseController
	rate     int           // bytes per second
	window   time.Duration // how long a message may be waited for beside what its bytes earn
	idle     time.Duration // how long the next message of a stream may be waited for
	stream   bool
	saved    time.Duration // that may still be waited within a message
	timer    *time.Timer
	envelope [5]byte // of a message of a stream: a byte of flags, and its length
	have     int     // bytes of the envelope
	left     uint64  // bytes of the message
	err      error
}

// newPace returns the body of a request, paced.
func newPace(w http.ResponseWriter, r *http.Request, l *limits) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body
	}
	kind := r.Header.Get("Content-Type")
	return &pace{ReadCloser: r.Body, control: http.NewResponseController(w), rate: l.rate, window: l.window, idle: l.idle, saved: l.window,
		stream: strings.HasPrefix(kind, "application/connect+") || strings.HasPrefix(kind, "application/grpc")}
}

// Read implements [io.Reader].
func (p *pace) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	limit, between := p.saved, p.stream && p.have == 0
	if between {
		limit = p.idle
	}
	begun := time.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(limit, p.interrupt)
	} else {
		p.timer.Reset(limit)
	}
	n, err := p.ReadCloser.Read(b)
	if !p.timer.Stop() { // it has interrupted the read, or will: nothing more can be read
		p.err = fmt.Errorf("the request's body comes too slowly: %d bytes a second are needed: %w", p.rate, os.ErrDeadlineExceeded)
		return n, p.err
	}
	if !between {
		p.saved -= time.Since(begun)
	}
	earned := time.Duration(n) * time.Second / time.Duration(p.rate)
	p.saved = max(0, min(p.window, p.saved+earned))
	p.follow(b[:n])
	p.err = err
	return n, err
}

// interrupt ends a read that is under way, and those to come.
func (p *pace) interrupt() {
	_ = p.control.SetReadDeadline(time.Unix(1, 0)) // fails when the connection is gone, and with it the read
}

// follow finds out where in a stream's messages the reader is.
func (p *pace) follow(b []byte) {
	for p.stream && len(b) > 0 {
		if p.left > 0 {
			n := min(p.left, uint64(len(b)))
			b = b[n:]
			if p.left -= n; p.left == 0 {
				p.have = 0
			}
			continue
		}
		if p.have == 0 {
			p.saved = p.window
		}
		n := copy(p.envelope[p.have:], b)
		b = b[n:]
		if p.have += n; p.have < len(p.envelope) {
			return
		}
		p.left = uint64(p.envelope[1])<<24 | uint64(p.envelope[2])<<16 | uint64(p.envelope[3])<<8 | uint64(p.envelope[4])
		if p.left == 0 {
			p.have = 0
		}
	}
}
