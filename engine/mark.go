package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

func markOf(p query.Position, chain [16]byte) kv.Mark {
	return kv.Mark{Epoch: p.Epoch, Applied: p.Applied, Chain: chain}
}

// syncLog makes sure that the base will not be ahead of a log that can be lost: with
// SyncNone what is published is synced, and marked.
func (db *DB) syncLog() error {
	if db.opt.Durability != SyncNone {
		return nil
	}
	s := db.current.Load()
	if err := db.kv.SyncLog(); err != nil {
		return err
	}
	return db.kv.WriteMark(markOf(s.pos, s.chain))
}

// markEnd marks the position that the store is closed at, once writing has ended.
func (db *DB) markEnd() error {
	w := db.writer
	var err error
	if w.marked != nil {
		err = <-w.marked
	}
	s := db.current.Load()
	end := markOf(s.pos, s.chain)
	if last, _ := db.kv.Mark(); err != nil || w.failed != nil || db.opt.ReadOnly || !end.Above(last) {
		return err
	}
	if err := db.kv.SyncLog(); err != nil {
		return err
	}
	return db.kv.WriteMark(end)
}

// complete compares the store's position with what it must have reached: its mark, and the
// positions of its base, which is never ahead of what was durable.
func (r *recovery) complete() error {
	at := r.w.pos
	mark, err := r.db.kv.Mark()
	if err != nil { // opened to accept it
		r.loss.Unknown = true
	}
	base, what := r.foldedMost()
	if base > at.Applied {
		return lost(r.db, at, query.Position{Epoch: at.Epoch, Applied: max(base, mark.Applied)}, what+" has later ones", restoreOnly)
	}
	if err != nil {
		return nil
	}
	is, must := markOf(at, r.w.chain), query.Position{Epoch: mark.Epoch, Applied: mark.Applied}
	switch {
	case mark.Above(is):
		r.loss.From, r.loss.To = query.Position{Epoch: at.Epoch, Applied: at.Applied + 1}, must
		hint := kv.WayOut
		if r.db.replica.member {
			hint = wayOutOfReplica
		}
		err = lost(r.db, at, must, "the file MARK says so", hint)
	case !is.Above(mark) && is.Chain != mark.Chain:
		r.loss.Unknown = true
		err = &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("the log at %s is another one than the file MARK says: one of the two is of another store, or of an earlier copy of this one", at), Hint: kv.WayOut}
	}
	if r.db.opt.acceptLoss != nil {
		return nil
	}
	return err
}

// restoreOnly is the way out where there is no other: units of the base have parts of
// batches whose other parts are gone.
const restoreOnly = "restore it from a backup: parts of the missing batches are there, so that what is there cannot be had by itself"

// lost says that acknowledged batches are missing.
func lost(db *DB, at, to query.Position, evidence, hint string) error {
	n := to.Applied - at.Applied
	batches := fmt.Sprintf("the acknowledged batches %d to %d (%d) are missing", at.Applied+1, to.Applied, n)
	switch {
	case at.Epoch != to.Epoch:
		batches = fmt.Sprintf("the acknowledged batches up to %s are missing", to)
	case n == 1:
		batches = fmt.Sprintf("the acknowledged batch %d is missing", to.Applied)
	}
	return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("the log ends at %s, and %s: %s. Damaged is the log or the list of files, one of %s", at, batches, evidence, strings.Join(db.kv.Found, ", ")), Hint: hint}
}

// foldedMost returns the highest position that something of the base stands for, and what.
func (r *recovery) foldedMost() (most uint64, what string) {
	see := func(folded uint64, format string, args ...any) {
		if folded > most {
			most, what = folded, fmt.Sprintf(format, args...)
		}
	}
	for id, units := range r.s.Units {
		for shard, u := range units {
			if u != nil {
				see(u.Folded, "attribute %d, shard %d", id, shard)
			}
		}
	}
	for id, units := range r.s.Acts {
		for shard, u := range units {
			if u != nil {
				see(u.Folded, "event %d, shard %d", id, shard)
			}
		}
	}
	for id, x := range r.s.Indexes {
		see(x.Folded, "the index of attribute %d", id)
	}
	see(r.s.ids.Folded, "the ids of events")
	return most, what
}

// accept begins a new epoch, if acknowledged batches are missing and that is accepted.
func (r *recovery) accept() error {
	if r.db.opt.acceptLoss == nil || !r.loss.Unknown && r.loss.To == (query.Position{}) {
		return nil
	}
	w := r.w
	w.pos.Epoch = max(w.pos.Epoch, r.loss.To.Epoch) + 1
	r.s.pos = w.pos
	r.loss.Now = w.pos
	*r.db.opt.acceptLoss = r.loss
	b := r.db.kv.NewBatch()
	w.writeState(b)
	err := errors.Join(b.Commit(true), b.Close())
	if err == nil {
		err = r.db.kv.ReplaceMark(markOf(w.pos, w.chain))
	}
	return kv.Coded(err, "the disk")
}

// AcceptLoss has what is left of a store that cannot be opened because acknowledged batches
// are missing, and says which. The store begins a new epoch, so that nobody takes its
// positions for those of before. A store that has all it must have is left as it is.
func AcceptLoss(dir string, options *Options) (query.Loss, error) {
	var o Options
	if options != nil {
		o = *options
	}
	if o.ReadOnly {
		return query.Loss{}, query.Errorf(query.CodeReadOnly, "what is lost cannot be accepted in a store that is opened for reading")
	}
	var loss query.Loss
	o.acceptLoss, o.MustExist = &loss, true
	db, err := Open(dir, &o)
	if err != nil {
		return loss, err
	}
	return loss, db.Close()
}
