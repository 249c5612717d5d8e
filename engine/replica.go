package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/entry"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/query"
)

// ReplicaOptions make a store a replica: it is written through a log that it shares with
// others, and every one of them decides the entries of that log alike.
type ReplicaOptions struct {
	// Propose has the log take an entry, or certainly refuses it: then err says why. It is asked
	// also when the disk of this store is nearly full, see [Options.DiskReserve]. When it
	// returns nil the entry has its place behind all for which it returned before, if it gets
	// one at all. wait, which is called once, waits until the entry is committed and was given
	// to [DB.ApplyEntries] of this store, and returns its outcome from there; an error says
	// that it got no place, or that nobody knows. Propose may be called by several goroutines,
	// though never at the same time, and wait by any; both must return after the log has
	// ended, and Propose when ctx does. The entry is the log's from then on.
	Propose func(ctx context.Context, entry []byte) (wait func() (Outcome, error), err error)
}

// Entry is an entry of the replicated log, as it was committed.
type Entry struct {
	Index uint64 // ascending; what is left out is nobody's, or nothing to apply
	Term  uint64
	Data  []byte // as it was proposed; nil: nothing to apply, only the index moves
}

// Outcome is what came of an entry, the same at each replica.
type Outcome struct {
	Result batch.Result
	Stale  bool  // the schema has changed since the batch was looked at: nothing was applied, and the batch must be looked at again
	Err    error // what [DB.Apply] returns of it: a refusal, which changed nothing
}

// logPlace is a place in the replicated log.
type logPlace struct {
	index, term uint64
	version     query.ClusterVersion // by which what comes behind it is decided
}

// entryRequest is what a request knows that is an entry of the replicated log.
type entryRequest struct {
	at     logPlace
	schema uint64                // the version of the schema by which the verdicts are
	empty  bool                  // nothing is to be applied
	raise  *query.ClusterVersion // it raises the version to this one
	stale  bool                  // what came of it
}

// replica is the state of a store that is one.
type replica struct {
	member      bool   // the store is written through a log that it shares, as it says itself
	given       uint64 // the last index that was handed to the writer; of who calls ApplyEntries
	failed      error  // why no entry can be applied any more; as given
	proposals   proposals
	checkpoints backups
}

func errNoReplica() error {
	return query.Errorf(query.CodeInvalid, "the store is no replica: it was opened without Options.Replica")
}

// AppliedEntry returns the place of the last entry of the replicated log that the store has,
// as readers see it; zeros: none. After an opening it is the last that survived, and the log
// must give the store every later one again.
func (db *DB) AppliedEntry() (index, term uint64) {
	at := db.current.Load().entry
	return at.index, at.term
}

// ApplyEntries decides entries of the replicated log in their order and returns their outcomes
// when readers see them. Entries up to the one that the store has are skipped: they were
// decided, and their outcomes are zero. Nothing is synced: after a power cut the store may
// have fewer entries than were applied, see [DB.AppliedEntry], and is given them again.
//
// With an error, the outcomes are those of the entries before the one that failed. If ctx has
// ended or the disk is nearly full ([NoRoom]) it may be called again from there. Every other error is
// for good: an entry is damaged or of a newer version, or what it takes to decide it could not
// be read or written. A replica that went on behind such an entry would be another store than
// the others, so every later call fails too. It is called by one goroutine at a time.
func (db *DB) ApplyEntries(ctx context.Context, entries []Entry) ([]Outcome, error) {
	r := &db.replica
	if db.opt.Replica == nil || db.opt.ReadOnly {
		return nil, errNoReplica()
	}
	if r.failed != nil {
		return nil, r.failed
	}
	a := &applier{db: db, ctx: ctx, entries: entries, out: make([]Outcome, 0, len(entries))}
	err := a.run()
	if err != nil && (a.failed != nil || !a.passing) {
		r.failed = err
	}
	return a.out, err
}

// applier has the writer decide entries, many on their way at a time.
type applier struct {
	db      *DB
	ctx     context.Context
	entries []Entry
	out     []Outcome
	waiting []*request // nil: an entry that is skipped
	failed  error
	passing bool // what has failed was no entry, and may pass
}

// prepared is an entry that is made ready for the writer.
type prepared struct {
	done chan struct{} // nil: it is skipped
	r    *request
	err  error
}

func (a *applier) run() error {
	ready := make([]prepared, len(a.entries))
	begun, ahead := 0, runtime.GOMAXPROCS(0)+1
	err := error(nil)
	for i := 0; i < len(a.entries) && err == nil; i++ {
		for ; begun < min(i+ahead, len(a.entries)); begun++ {
			a.prepare(&a.entries[begun], &ready[begun])
		}
		if err = a.hand(&a.entries[i], &ready[i]); err == nil {
			err = a.wait(replayAhead)
		}
	}
	for i := range begun {
		if p := &ready[i]; p.done != nil {
			<-p.done
			a.db.putBench(p.r) // nobody has it: another one has failed
		}
	}
	return cmp.Or(a.wait(0), err)
}

// prepare begins to make an entry ready, beside the writer.
func (a *applier) prepare(e *Entry, p *prepared) {
	if e.Index <= a.db.replica.given {
		return
	}
	p.done = make(chan struct{})
	go func() {
		p.r, p.err = a.db.requestOf(e)
		close(p.done)
	}()
}

// requestOf makes the request that an entry is.
func (db *DB) requestOf(e *Entry) (*request, error) {
	at := &entryRequest{at: logPlace{index: e.Index, term: e.Term}}
	if e.Data == nil {
		at.empty = true
		return &request{ctx: context.Background(), decoded: &batch.Decoded{}, entry: at, done: make(chan struct{})}, nil
	}
	d, err := entry.Decode(e.Data)
	if err != nil {
		return nil, err
	}
	if d.Raise != nil {
		if err := checkVersion(*d.Raise); err != nil { // no more is known of what comes behind it
			return nil, err
		}
		at.raise = d.Raise
		return &request{ctx: context.Background(), decoded: &batch.Decoded{}, entry: at, done: make(chan struct{})}, nil
	}
	r, err := db.again(context.Background(), &d.Record) // whether it is decided must not depend on who waits
	if err != nil {
		return nil, err
	}
	at.schema, r.entry = d.Schema, at
	if canary.Is("clock") { // of who decides, not of who proposed
		r.received = db.opt.Clock().UnixMilli()
	}
	r.bench.lookAhead(db, r.decoded)
	return r, nil
}

// again makes the request that a record was: to be decided with the time and the verdicts that
// it has.
func (db *DB) again(ctx context.Context, d *record.Record) (*request, error) {
	r := &request{ctx: ctx, raw: d.Batch, author: d.Author, received: d.Received, encoded: d.Verdicts, again: true, done: make(chan struct{}), bench: db.takeBench()}
	var err error
	if r.decoded, err = r.bench.decoder.Decode(r.raw); err == nil {
		err = r.readVerdicts()
	}
	if err != nil {
		db.putBench(r)
		return nil, err
	}
	return r, nil
}

func (r *request) readVerdicts() error {
	verdicts, err := quality.DecodeVerdicts(r.encoded, r.decoded.Rows)
	if err != nil || len(verdicts) == 0 {
		return err
	}
	r.verdicts = make(map[int]verdict, len(verdicts))
	for i := range verdicts {
		r.verdicts[verdicts[i].Row] = verdict{verdicts[i].Reason, verdicts[i].Detail}
	}
	return nil
}

// hand hands an entry to the writer, when there is room.
func (a *applier) hand(e *Entry, p *prepared) error {
	if p.done == nil {
		a.waiting = append(a.waiting, nil)
		return nil
	}
	<-p.done
	err := p.err
	if err == nil && e.Index <= a.db.replica.given {
		err = query.Errorf(query.CodeInternal, "it comes behind entry %d", a.db.replica.given)
	}
	if err == nil && !p.r.entry.empty {
		err = a.room()
		a.passing = err != nil
	}
	if err == nil {
		err = a.db.enqueue(p.r)
	}
	if err != nil {
		return fmt.Errorf("entry %d of the replicated log: %w", e.Index, err)
	}
	a.db.replica.given = e.Index
	a.waiting = append(a.waiting, p.r)
	p.r = nil
	return nil
}

// room waits until there is room in the head. It keeps no pace: who proposes does.
func (a *applier) room() error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if err := a.db.room(); err != nil {
		return err
	}
	return a.db.compactor.waitWhileFull(a.ctx)
}

// wait waits until at most n entries are on their way.
func (a *applier) wait(n int) error {
	for len(a.waiting) > n {
		r := a.waiting[0]
		a.waiting = a.waiting[1:]
		var out Outcome
		if r != nil {
			out.Result, out.Err = a.db.outcome(r, nil)
			out.Stale = r.entry.stale
		}
		if a.failed == nil && out.Err != nil && !isDecision(out.Err) {
			a.failed = fmt.Errorf("entry %d of the replicated log: %w", r.entry.at.index, out.Err)
		}
		if a.failed == nil {
			a.out = append(a.out, out)
		}
	}
	return a.failed
}

// isDecision reports whether an error is what the records before a batch make of it, so that
// every replica comes to it. All others are of this machine: a file that cannot be read, a
// budget, a version that does not know what it is given.
func isDecision(err error) bool {
	var e *query.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case query.CodeSyntax, query.CodeUnknownName, query.CodeType, query.CodeLimit, query.CodeConflict, query.CodeInvalid, query.CodeRefused, query.CodeStaleSequence,
		query.CodeDenied: // of a segment of somebody else: who writes stands in the entry
	default:
		return false
	}
	var cause *query.Error
	if errors.As(e.Err, &cause) {
		return isDecision(e.Err)
	}
	return !errors.As(e.Err, new(syscall.Errno)) && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded)
}
