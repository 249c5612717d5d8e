package faultfs

import (
	"slices"
	"sync"
)

// Fault fails operations of some kinds. Its Before is for [FS.Before].
type Fault struct {
	Kinds   []Kind                 // none: all that change files
	Match   func(path string) bool // nil: all paths
	Nth     int                    // the first one that fails, from 1
	Forever bool                   // those after it fail, too
	Torn    bool                   // a write that fails has written one sector
	Err     error

	mu          sync.Mutex
	seen, fired int
	first       Op
}

// Before fails an operation or lets it be done.
func (x *Fault) Before(op Op) error {
	if len(x.Kinds) == 0 && !op.Changes() || len(x.Kinds) > 0 && !slices.Contains(x.Kinds, op.Kind) || x.Match != nil && !x.Match(op.Path) {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen++
	if x.seen < x.Nth || x.seen > x.Nth && !x.Forever {
		return nil
	}
	if x.fired++; x.fired == 1 {
		x.first = op
	}
	if x.Torn && op.Kind == Write {
		return &Torn{Sectors: 1, Err: x.Err}
	}
	return x.Err
}

// Fired returns how many operations failed, and the first of them.
func (x *Fault) Fired() (n int, first Op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fired, x.first
}

// Seen returns how many operations there were that could have failed.
func (x *Fault) Seen() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen
}
