package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
)

// leases are the snapshots that clients hold. One is closed by its client, when its lease ends,
// or by the store when it is too old.
type leases struct {
	limits *limits
	mu     sync.Mutex
	open   map[string]*lease
	closed bool
}

type lease struct {
	snapshot query.Snapshot
	of       *access.Caller
	lasts    time.Duration
	end      *time.Timer
}

func newLeases(l *limits) *leases { return &leases{limits: l, open: map[string]*lease{}} }

// add takes a snapshot and names it, for a caller; to others it does not exist.
func (l *leases) add(n query.Snapshot, wanted time.Duration, of *access.Caller) (name string, lasts time.Duration, err error) {
	if lasts = wanted; lasts <= 0 {
		lasts = l.limits.lease
	}
	lasts = min(lasts, l.limits.longestLease)
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // it never fails
	name = hex.EncodeToString(secret[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.open) >= l.limits.leases {
		return "", 0, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("%d snapshots are open, as many as may be", len(l.open)),
			Hint: "close those that are not needed", RetryAfter: time.Second}
	}
	own := 0
	for _, e := range l.open {
		if e.of.ID == of.ID {
			own++
		}
	}
	if of.ID != "" && own >= l.limits.ownLeases { // "" is everybody, or who embeds the server
		return "", 0, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("%d snapshots of the caller are open, as many as one may have", own),
			Hint: "close those that are not needed", RetryAfter: time.Second}
	}
	l.open[name] = &lease{snapshot: n, of: of, lasts: lasts, end: time.AfterFunc(lasts, func() { l.close(name) })}
	return name, lasts, nil
}

// get returns the snapshot of a lease.
func (l *leases) get(name string, of *access.Caller) (query.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.of(name, of); e != nil {
		return e.snapshot, nil
	}
	return nil, leaseGone()
}

// of returns a lease of a caller. One that was taken when his role said something else is gone:
// what it shows is what that said.
func (l *leases) of(name string, of *access.Caller) *lease {
	if e := l.open[name]; e != nil && e.of.Same(of) {
		return e
	}
	return nil
}

func leaseGone() error {
	return &query.Error{Code: query.CodeSnapshotGone, Message: "the snapshot was closed or its lease has ended", Hint: "take a new one"}
}

// renew begins a lease anew.
func (l *leases) renew(name string, of *access.Caller) (lasts time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(name, of)
	if e == nil {
		return 0, leaseGone()
	}
	e.end.Reset(e.lasts)
	return e.lasts, nil
}

// close lets a snapshot go; one that is gone already is no error. Questions under way are
// waited for.
func (l *leases) close(name string) {
	l.mu.Lock()
	e := l.open[name]
	delete(l.open, name)
	l.mu.Unlock()
	if e != nil {
		e.end.Stop()
		_ = e.snapshot.Close() // it holds nothing but memory
	}
}

// closeOf is close for a caller: what is another's does not exist for him.
func (l *leases) closeOf(name string, of *access.Caller) {
	l.mu.Lock()
	e := l.of(name, of)
	l.mu.Unlock()
	if e != nil {
		l.close(name)
	}
}

// count returns how many are open.
func (l *leases) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// closeAll ends all leases, for good.
func (l *leases) closeAll() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.endAll()
}

// endAll ends those that are open.
func (l *leases) endAll() {
	l.mu.Lock()
	var names []string
	for name := range l.open {
		names = append(names, name)
	}
	l.mu.Unlock()
	for _, name := range names {
		l.close(name)
	}
}
