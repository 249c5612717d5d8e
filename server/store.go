package server

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/message"
)

// holder has the store that a server answers from. A member of a cluster has none before its first
// snapshot has come, and another one after each that is installed.
type holder struct{ now atomic.Pointer[held] }

// held is a store in its turn.
type held struct {
	db   *engine.DB // nil: there is none
	turn uint64     // how many there were before
}

var _ access.Store = (*holder)(nil)

// db returns the store; nil: there is none.
func (h *holder) db() *engine.DB { return h.now.Load().db }

// replace puts another store in its place.
func (h *holder) replace(db *engine.DB) {
	for {
		before := h.now.Load()
		next := &held{db: db}
		if before != nil {
			next.turn = before.turn + 1
		}
		if h.now.CompareAndSwap(before, next) {
			return
		}
	}
}

// noStore is what a call is told while there is no store.
func noStore() error {
	return message.Undone(&query.Error{Code: query.CodeUnavailable, Message: "this member of the cluster has no store yet: it waits for a snapshot from the leader",
		Hint: "ask another member, or try again later"})
}

// Documents implements [access.Store].
func (h *holder) Documents(ctx context.Context, prefix string) ([]query.SavedDocument, error) {
	if db := h.db(); db != nil {
		return db.Documents(ctx, prefix)
	}
	return nil, noStore()
}

// turnBits is where the turn stands in a version of documents: below are records of the log, of which no
// store ever has so many.
const turnBits = 48

// DocumentsVersion implements [access.Store]: what was read of one store holds of no other.
func (h *holder) DocumentsVersion() uint64 {
	n := h.now.Load()
	if n.db == nil {
		return n.turn << turnBits
	}
	return n.turn<<turnBits ^ n.db.DocumentsVersion()
}

// Apply implements [access.Store].
func (h *holder) Apply(ctx context.Context, b batch.Batch) (batch.Result, error) {
	if db := h.db(); db != nil {
		return db.Apply(ctx, b)
	}
	return batch.Result{}, noStore()
}

// SnapshotWith implements [access.Store].
func (h *holder) SnapshotWith(ctx context.Context, o *query.SnapshotOptions) (query.Snapshot, error) {
	if db := h.db(); db != nil {
		return db.SnapshotWith(ctx, o)
	}
	return nil, noStore()
}

// Replace makes another store the one that is served; nil is none. Snapshots that clients hold of the
// one before end, and so do calls under way that still need it when it is closed, which is the caller's
// to do afterwards: they fail with [query.CodeUnavailable]. It is for members of a cluster, whose
// store is replaced when a snapshot is installed.
func (s *Server) Replace(db *engine.DB) {
	s.store.replace(db)
	s.leases.endAll()
}

// db is the store that a call is about: the same from its start to its end. It is there, because a call
// of the table does not begin without.
func (v *service) db(ctx context.Context) *engine.DB { return callOf(ctx).db }

// moved is what clients are told when the store was closed under a call of a member, because it was
// replaced: another try finds the new one.
func (s *Server) moved(err error) error {
	if s.opt.Cluster == nil || !errors.Is(err, &query.Error{Code: query.CodeClosed}) {
		return err
	}
	return &query.Error{Code: query.CodeUnavailable, Message: "the member's store was replaced by a newer copy while the call was under way", Hint: "try again"}
}

// storeID is the id of the store; "": there is none.
func (s *Server) storeID() string {
	if db := s.store.db(); db != nil {
		return db.ID()
	}
	return ""
}
