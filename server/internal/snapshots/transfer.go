package snapshots

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// What a snapshot under way is.
const (
	Making    = "making"    // the checksums of a checkpoint are computed
	Sending   = "sending"   // to a node that joins or has fallen behind
	Receiving = "receiving" // from the leader
)

// Progress is how far a snapshot under way is.
type Progress struct {
	What        string // Making, Sending or Receiving
	Snapshot    string // its id; the two ends of a transfer have ids of their own
	Done, Total int64  // bytes; Total is 0 as long as it is not known
}

// transfer is a snapshot under way.
type transfer struct {
	what, id    string
	done, total atomic.Int64
}

func (s *Store) begin(what, id string) *transfer {
	t := &transfer{what: what, id: id}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving[t] = struct{}{}
	return t
}

func (s *Store) end(t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.moving, t)
}

// Progress returns what is being made, sent and received.
func (s *Store) Progress() (all []Progress) {
	s.mu.Lock()
	for t := range s.moving {
		all = append(all, Progress{t.what, t.id, t.done.Load(), t.total.Load()})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Progress) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Snapshot, b.Snapshot), cmp.Compare(a.Done, b.Done))
	})
	return all
}

// LogNeeded reports whether a node needs the log behind a snapshot that it is being sent, or
// was sent lately: it has to install it and to read what came meanwhile, which is taken to
// last as long as the sending did. Whoever makes the next snapshot then, and so cuts the log,
// has the node begin from the start, and if that goes on it never ends.
func (s *Store) LogNeeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.moving {
		if t.what == Sending {
			return true
		}
	}
	return time.Now().Before(s.needed)
}

// sent takes down that a whole snapshot was sent.
func (s *Store) sent(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(took); until.After(s.needed) {
		s.needed = until
	}
}
