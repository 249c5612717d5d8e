package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/entry"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxStale is how often a batch is proposed again because the schema has changed since it was
// looked at. Each time takes a change of the schema between the two, by somebody else.
const maxStale = 16

// proposals are the batches on their way through the replicated log. They keep the order in
// which they were submitted, though one may have to be proposed again: all that are in the log
// at a time were looked at by one version of the schema. So if one is stale, all behind it are,
// and when all outcomes are known, those are proposed again in their order. Whoever comes with
// another version, or while some are stale, waits for that.
type proposals struct {
	turn chan struct{} // full while some get their places

	number uint64 // of the last one that was submitted; of who has the turn

	mu     sync.Mutex
	placed int           // those whose outcomes are not known
	schema uint64        // the version of the schema by which they were looked at
	stale  []*request    // to be proposed again
	none   chan struct{} // not nil: somebody waits that none is placed, and then it is closed
}

// proposal is what a request knows that is proposed.
type proposal struct {
	number uint64 // by the order in which they were submitted
	tries  int
}

// propose has the replicated log take a batch, and returns when it has its place there.
func (db *DB) propose(r *request) error {
	if err := db.failure(); err != nil {
		return failedBy(err)
	}
	if err := knowable(r.decoded); err != nil {
		return err
	}
	p := &db.replica.proposals
	select {
	case p.turn <- struct{}{}:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	defer func() { <-p.turn }()
	s, err := db.placeFor(r.ctx)
	if err != nil {
		return err
	}
	p.number++
	r.proposal = &proposal{number: p.number}
	return db.place(r, s)
}

// knowable refuses what this version does not know. It must not come into the log: a replica
// takes what it does not know there for the work of a newer version, and stops.
func knowable(d *batch.Decoded) error {
	for i := range d.Ops {
		op := &d.Ops[i]
		if op.Code != batch.OpDefinitionSave {
			continue
		}
		if _, err := newDefinition(op.Definition, query.Position{}); err != nil {
			return err
		}
	}
	return nil
}

// placeFor waits until there may be one more in the log, which it then counts, and returns the
// schema by which that must have been looked at. Its caller has the turn.
func (db *DB) placeFor(ctx context.Context) (*schema.Schema, error) {
	p := &db.replica.proposals
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.mu.Lock()
		s := db.current.Load().Schema
		if len(p.stale) == 0 && (p.placed == 0 || p.schema == s.Version) {
			p.placed, p.schema = p.placed+1, s.Version
			p.mu.Unlock()
			return s, nil
		}
		p.mu.Unlock()
		if err := db.settleProposals(ctx); err != nil {
			return nil, err
		}
	}
}

// settleProposals waits until all outcomes are known, then proposes those again that are stale.
// Its caller has the turn.
func (db *DB) settleProposals(ctx context.Context) error {
	p := &db.replica.proposals
	p.mu.Lock()
	if p.placed > 0 {
		if p.none == nil {
			p.none = make(chan struct{})
		}
		none := p.none
		p.mu.Unlock()
		select {
		case <-none:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.mu.Lock()
	}
	s, stale := db.current.Load().Schema, p.stale
	p.placed, p.schema, p.stale = len(stale), s.Version, nil
	p.mu.Unlock()
	slices.SortFunc(stale, func(a, b *request) int { return cmp.Compare(a.proposal.number, b.proposal.number) })
	for _, r := range stale {
		if err := db.placeAgain(r, s); err != nil {
			r.end(Outcome{}, err)
		}
	}
	return nil
}

func (db *DB) placeAgain(r *request, s *schema.Schema) error {
	err := r.ctx.Err()
	if r.proposal.tries++; r.proposal.tries > maxStale {
		err = &query.Error{Code: query.CodeConflict, Message: "the schema has changed each time that the batch was proposed; nothing was written", Hint: "send it again when the changes of the schema are made"}
	}
	if err != nil {
		db.replica.proposals.gone()
		return err
	}
	return db.place(r, s)
}

// place proposes a batch that is counted, once it was looked at by a schema. Its caller has
// the turn.
func (db *DB) place(r *request, s *schema.Schema) error {
	var err error
	if r.checked.Version != s.Version {
		err = r.check(s)
	}
	var wait func() (Outcome, error)
	if err == nil {
		e := entry.Entry{Schema: s.Version, Record: record.Record{Received: r.received, Author: r.author, Verdicts: r.encoded, Batch: r.raw}}
		wait, err = db.opt.Replica.Propose(r.ctx, entry.Append(nil, &e))
	}
	if err != nil {
		db.replica.proposals.gone()
		return err
	}
	go db.follow(r, wait)
	return nil
}

// follow waits for the outcome of a batch that is placed.
func (db *DB) follow(r *request, wait func() (Outcome, error)) {
	p := &db.replica.proposals
	out, err := wait()
	if err != nil || !out.Stale {
		p.gone()
		r.end(out, err)
		return
	}
	p.mu.Lock()
	p.stale = append(p.stale, r)
	p.mu.Unlock()
	p.gone()
	p.turn <- struct{}{} // who has it may have seen to it meanwhile
	defer func() { <-p.turn }()
	for p.anyStale() {
		_ = db.settleProposals(context.Background()) // nothing ends that
	}
}

// gone says that the outcome of one is known.
func (p *proposals) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.placed--; p.placed == 0 && p.none != nil {
		close(p.none)
		p.none = nil
	}
}

func (p *proposals) anyStale() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.stale) > 0
}

// end tells who waits for a batch that was proposed what came of it.
func (r *request) end(out Outcome, err error) {
	if r.result, r.err = out.Result, out.Err; err != nil {
		r.result, r.err = batch.Result{}, err
	}
	close(r.done)
}

// ClusterVersion returns the version by which the store decides what it is given: a replica by that
// of its log, every other store by the newest that this program knows.
func (db *DB) ClusterVersion() query.ClusterVersion { return db.current.Load().entry.version }

// RaiseVersion has the replicated log raise the cluster version, and returns when this replica goes by it. Whether all
// replicas know it, its caller has made sure of: one that does not stops at the entry. It fails with
// [query.CodeInvalid] for a version that this program does not know, with [query.CodeConflict] for an earlier one
// than that in force, and as [DB.Apply] does.
func (db *DB) RaiseVersion(ctx context.Context, number uint64) error {
	if db.opt.Replica == nil || db.opt.ReadOnly {
		return errNoReplica()
	}
	v, ok := versionOf(number)
	if !ok {
		lowest, newest := KnownVersions()
		return query.Errorf(query.CodeInvalid, "this program knows the cluster versions %d to %d, and not %d", lowest.Number, newest.Number, number)
	}
	if err := db.failure(); err != nil {
		return failedBy(err)
	}
	p := &db.replica.proposals
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	wait, err := db.opt.Replica.Propose(ctx, entry.AppendRaise(nil, v))
	<-p.turn
	if err != nil {
		return err
	}
	out, err := wait()
	if err != nil {
		return err
	}
	return out.Err
}
