package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/wire"
)

// journal writes what an operator reads later. Nothing in it tells of a person: no key, no value,
// no literal of an expression, and no text of an error, which may quote any of them.
type journal struct {
	log *slog.Logger

	mu      sync.Mutex
	second  time.Time
	records int    // of this second
	left    uint64 // left out since the last one
	away    [lanes]uint64
	told    time.Time // when it was last told how many were turned away
}

// logRate is how many records of calls are written in a second: whoever makes calls that fail, as
// fast as they are refused, fills no disk. What is left out is counted in the next one.
const logRate = 100

// longestText is what is written of a text.
const longestText = 1000

func newJournal(l *slog.Logger) *journal {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &journal{log: l}
}

// plain makes of a text what is one line wherever it is shown, and moves no cursor there.
func plain(s string) string {
	if len(s) > longestText {
		s = s[:longestText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// record writes one.
func (j *journal) record(level slog.Level, what string, of ...slog.Attr) {
	j.log.LogAttrs(context.Background(), level, what, of...)
}

// call writes a record of a call, unless there have been too many.
func (j *journal) call(level slog.Level, what string, of ...slog.Attr) {
	if !j.log.Enabled(context.Background(), level) {
		return
	}
	j.mu.Lock()
	if now := time.Now(); now.Sub(j.second) >= time.Second {
		j.second, j.records = now, 0
	}
	if j.records++; j.records > logRate {
		j.left++
		j.mu.Unlock()
		return
	}
	if j.left > 0 {
		of = append(of, slog.Uint64("left_out_before", j.left))
		j.left = 0
	}
	j.mu.Unlock()
	j.record(level, what, of...)
}

// refused counts a call that was turned away. That is told at most once in a second, of all:
// there are many just when there is no time to write.
func (j *journal) refused(l lane) {
	j.mu.Lock()
	j.away[l]++
	now := time.Now()
	if now.Sub(j.told) < time.Second {
		j.mu.Unlock()
		return
	}
	j.told = now
	away := j.away
	j.away = [lanes]uint64{}
	j.mu.Unlock()
	var of []slog.Attr
	for l, n := range away {
		if n > 0 {
			of = append(of, slog.Uint64(lane(l).String(), n))
		}
	}
	j.record(slog.LevelWarn, "calls were turned away", of...)
}

// tell writes what is to be told of a call that has ended: that it was slow, denied, or failed.
func (w *watch) tell(c *call, n *noted, err error, code string, worked time.Duration) {
	slow := w.slow >= 0 && worked >= w.slow && c.known && err == nil
	switch {
	case slow:
		w.tellSlow(c, n, worked)
	case err == nil, code == codeCanceled, isRefused(err):
	case code == codeEnded:
		w.log.call(slog.LevelWarn, "a call was ended by an operator", append(c.logged(), slog.Duration("took", worked))...)
	default:
		w.failed(c, err, code, worked)
	}
}

// isRefused reports whether a call was turned away, of which there is another record.
func isRefused(err error) bool {
	var q *query.Error
	return errors.As(err, &q) && q.Code == query.CodeUnavailable && q.RetryAfter > 0
}

// failed writes that a call has failed, and nothing of what it was about.
func (w *watch) failed(c *call, err error, code string, worked time.Duration) {
	level, what := slog.LevelInfo, "a call failed"
	switch {
	case code == query.CodeDenied.Word() || code == query.CodeUnauthenticated.Word():
		level, what = slog.LevelWarn, "a call was denied"
	case isOurs(code) && !isTooLarge(err):
		level = slog.LevelError
	}
	of := append(c.logged(), slog.String("code", code), slog.Duration("took", worked))
	if level == slog.LevelError {
		of = append(of, slog.String("error", diagnosis(err)))
	}
	w.log.call(level, what, of...)
}

// isOurs tells the codes of what nobody who asks can do anything about.
func isOurs(code string) bool {
	for _, c := range [...]query.Code{query.CodeInternal, query.CodeBudget, query.CodeCorrupt, query.CodeFailed, query.CodeIO, query.CodeClosed} {
		if code == c.Word() {
			return true
		}
	}
	return false
}

// diagnosis says of an error what tells of no person: the types it is made of, and the texts of
// those that speak of the machine only.
func diagnosis(err error) string {
	var out []string
	var walk func(err error)
	walk = func(err error) {
		switch e := err.(type) {
		case nil:
			return
		case *panicked:
			out = append(out, "panic "+diagnosis(e.cause)+" at "+e.at)
			return
		case runtime.Error:
			out = append(out, e.Error())
		case syscall.Errno:
			out = append(out, e.Error())
		case *fs.PathError:
			out = append(out, e.Op+" "+filepath.Base(e.Path))
		case *query.Error:
			out = append(out, e.Code.Word())
		default:
			if err == context.Canceled || err == context.DeadlineExceeded {
				out = append(out, err.Error())
			} else {
				out = append(out, fmt.Sprintf("%T", err))
			}
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, next := range u.Unwrap() {
				walk(next)
			}
		}
	}
	walk(err)
	return plain(strings.Join(out, ": "))
}

// panicked is the error of a call that has panicked.
type panicked struct {
	value any
	cause error // the value, if it is one
	at    string
}

// caught makes an error of a panic's value, where it is recovered.
func caught(value any) error {
	p := &panicked{value: value}
	p.cause, _ = value.(error)
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	behind := false // the panic: what is before it has recovered
	var at []string
	for len(at) < panicFrames {
		f, more := frames.Next()
		if behind && !strings.HasPrefix(f.Function, "runtime.") {
			at = append(at, fmt.Sprintf("%s:%d", f.Function[strings.LastIndexByte(f.Function, '/')+1:], f.Line))
		}
		behind = behind || f.Function == "runtime.gopanic"
		if !more {
			break
		}
	}
	p.at = strings.Join(at, " < ")
	return p
}

// panicFrames is how many functions are named of where a panic was.
const panicFrames = 6

// Error implements error. It is for the hook, which gets everything.
func (p *panicked) Error() string { return fmt.Sprintf("panic: %v, at %s", p.value, p.at) }

// connection takes note of how a connection of the compact wire ended: only that it was refused
// is anybody's affair but the client's.
func (w *watch) connection(c net.Conn, err error) {
	reason := ""
	switch {
	case errors.Is(err, wire.ErrTooMany):
		reason = "too_many"
	case errors.Is(err, wire.ErrVersion):
		reason = "version"
	default:
		return
	}
	w.refusedConn(c.RemoteAddr(), reason)
}

// refusedConn takes note of a connection that was refused; reason is one of few words.
func (w *watch) refusedConn(at net.Addr, reason string) {
	w.figures.refusals.WithLabelValues(reason).Inc()
	host, _, err := net.SplitHostPort(at.String())
	if err != nil {
		host = ""
	}
	w.log.call(slog.LevelWarn, "a connection was refused", slog.String("reason", reason), slog.String("address", plain(host)))
}
