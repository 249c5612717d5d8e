package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
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
	lasts    time.Duration
	end      *time.Timer
}

func newLeases(l *limits) *leases { return &leases{limits: l, open: map[string]*lease{}} }

// add takes a snapshot and names it. Whoever knows the name may use it, so it cannot be guessed.
func (l *leases) add(n query.Snapshot, wanted time.Duration) (name string, lasts time.Duration, err error) {
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
	l.open[name] = &lease{snapshot: n, lasts: lasts, end: time.AfterFunc(lasts, func() { l.close(name) })}
	return name, lasts, nil
}

// get returns the snapshot of a lease.
func (l *leases) get(name string) (query.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.open[name]; e != nil {
		return e.snapshot, nil
	}
	return nil, leaseGone()
}

func leaseGone() error {
	return &query.Error{Code: query.CodeSnapshotGone, Message: "the snapshot was closed or its lease has ended", Hint: "take a new one"}
}

// renew begins a lease anew.
func (l *leases) renew(name string) (lasts time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.open[name]
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

func (l *leases) closeAll() {
	l.mu.Lock()
	l.closed = true
	var names []string
	for name := range l.open {
		names = append(names, name)
	}
	l.mu.Unlock()
	for _, name := range names {
		l.close(name)
	}
}
