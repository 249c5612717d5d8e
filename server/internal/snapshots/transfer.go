package snapshots

import (
	"cmp"
	"slices"
	"sync/atomic"
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
