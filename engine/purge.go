package engine

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// purgeAgain is how often a purge begins again because rows of erased people came while it
// ran, which stand in the log, so that what it looks for is there.
const purgeAgain = 3

// purger has purges run one at a time.
type purger struct {
	running chan struct{} // room for one: who is in it purges
	ctx     context.Context
	stop    context.CancelFunc
	done    chan struct{}         // the background has ended
	keeps   atomic.Bool           // no record of the log is deleted: a purge reads what others wrote
	unknown atomic.Pointer[error] // why a group was lost that takes rows of the quarantine away, or is in the ledger
}

func newPurger() *purger {
	ctx, stop := context.WithCancel(context.Background())
	return &purger{running: make(chan struct{}, 1), ctx: ctx, stop: stop, done: make(chan struct{})}
}

// end stops purges and waits for the one under way.
func (p *purger) end() {
	p.stop()
	<-p.done
	p.running <- struct{}{}
}

// Purge removes from the files of the store what they hold of people who were erased: now,
// and it returns when that is done. It goes on where an earlier one was stopped, by an
// error, the end of ctx or a crash. All erasures so far are in one purge. Reads and writes
// go on; it waits for snapshots and listings that were opened before, at most for
// [Options.SnapshotMaxAge]. What waits to be shipped of the log ([DB.KeepLog]) and goes back
// that far is deleted, which leaves a gap in it; what was shipped, and backups, are files
// elsewhere, of which [PruneBackups] deletes what they hold. progress may be nil; it is called from Purge's goroutine. The
// receipt is nil if there was nothing to purge. Then it looks through all files for what it
// has removed: hits are in the receipt, not an error.
func (db *DB) Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error) {
	r, err := db.purge(ctx, progress)
	return r, db.noted(kv.Coded(err, "the disk"))
}

func (db *DB) purge(ctx context.Context, progress func(what string)) (*query.Receipt, error) {
	if db.opt.ReadOnly {
		return nil, query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	if progress == nil {
		progress = func(string) {}
	}
	select {
	case db.purger.running <- struct{}{}:
		defer func() { <-db.purger.running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.purger.ctx.Done():
		return nil, errClosed()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(db.purger.ctx, cancel)()
	for round := 1; ; round++ {
		p, err := db.newPurge(ctx, progress)
		if p == nil || err != nil {
			return nil, err
		}
		if err := p.run(ctx); err != nil {
			if db.purger.ctx.Err() != nil {
				err = errClosed()
			}
			return nil, err
		}
		if again, err := p.overtaken(ctx); err != nil {
			return nil, err
		} else if again && round < purgeAgain {
			continue
		}
		return p.finish()
	}
}

// run purges in the background what has waited long enough.
func (db *DB) purgeWhenDue() {
	defer close(db.purger.done)
	if db.opt.ReadOnly || db.opt.PurgeAfter < 0 {
		return
	}
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	for {
		select {
		case <-db.purger.ctx.Done():
			return
		case <-tick.C:
		}
		due, err := db.purgeDue()
		if err == nil && !due {
			continue
		}
		var receipt *query.Receipt
		if err == nil {
			receipt, err = db.Purge(db.purger.ctx, nil)
		}
		if h := db.opt.Hooks.Purged; h != nil && db.purger.ctx.Err() == nil {
			h(receipt, err)
		}
		if err != nil && db.failure() != nil {
			return
		}
	}
}

// purgeDue reports whether the oldest erasure that is not purged has waited long enough, or
// a purge has begun.
func (db *DB) purgeDue() (due bool, err error) {
	err = db.kv.Scan(db.purger.ctx, keys.Purges(), func(k, v []byte) (bool, error) {
		if !keys.AllPending().Has(k) {
			due = keys.IsPurgeState(k)
			return false, nil
		}
		p, err := erasure.ReadPending(v)
		if err == nil {
			due = db.opt.Clock().UnixMilli()-p.Received >= db.opt.PurgeAfter.Milliseconds()
		}
		return false, err
	})
	return due, err
}

// purge is a purge under way. What it has to know to go on after a crash is stored: what is
// pending, and the state.
type purge struct {
	db       *DB
	progress func(what string)
	newest   uint64 // position of the last erasure pending
	state    *erasure.State
	ords     []uint32 // of the erased people, ascending
	traces   []erasure.Trace
	receipt  erasure.Receipt
}

// newPurge returns what is to be purged, nil if there is nothing.
func (db *DB) newPurge(ctx context.Context, progress func(what string)) (*purge, error) {
	p := &purge{db: db, progress: progress, state: &erasure.State{Started: db.opt.Clock().UnixMilli()}}
	err := db.kv.Scan(ctx, keys.AllPending(), func(k, v []byte) (bool, error) {
		at, _ := keys.ParsePurge(k)
		one, err := erasure.ReadPending(v)
		if err != nil {
			return false, err
		}
		p.newest = at
		p.ords = append(p.ords, one.Ordinals...)
		p.traces = append(p.traces, one.Traces...)
		r := &p.receipt
		r.Names = append(r.Names, one.Names...)
		r.Quarantined += one.Quarantined
		r.Refused += one.Refused
		return true, nil
	})
	if err != nil || p.newest == 0 {
		return nil, err
	}
	slices.Sort(p.ords)
	p.ords = slices.Compact(p.ords)
	slices.SortFunc(p.receipt.Names, erasure.Hash.Compare)
	p.receipt.Names = slices.Compact(p.receipt.Names)
	sealed, err := db.kv.Get(keys.PurgeState())
	if err == nil && sealed != nil {
		p.state, err = erasure.ReadState(sealed)
	}
	return p, err
}

// run does all steps. Each finds what is left to do by looking, so that doing it again does
// no harm; what the later ones could not find any more the second has stored.
func (p *purge) run(ctx context.Context) error {
	defer p.db.purger.keeps.Store(false)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"folding what was written", p.db.Compact},
		{"finding events", p.collect},
		{"removing events", p.removeEvents},
		{"removing keys", p.removeKeys},
		{"removing entries of indexes", p.removeEntries},
		{"removing strings", p.removeStrings},
		{"letting go of the log that is kept for backups", p.letGo},
		{"waiting for readers", p.awaitReaders},
		{"keeping the log", p.keepRecords},
		{"scrubbing files", p.scrub},
		{"waiting for a backup under way", p.lookAlone},
	} {
		p.progress(step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("purge, %s: %w", step.what, err)
		}
	}
	return nil
}

// shards calls f for each shard with ordinals of erased people, as they are within it.
func (p *purge) shards(f func(shard int, erased base.Erased) error) error {
	for from := 0; from < len(p.ords); {
		shard := p.ords[from] >> bitmap.ShardBits
		var erased base.Erased
		for from < len(p.ords) && p.ords[from]>>bitmap.ShardBits == shard {
			erased = append(erased, p.ords[from]&(bitmap.ShardSize-1))
			from++
		}
		if err := f(int(shard), erased); err != nil {
			return err
		}
	}
	return nil
}

// letGo deletes the log that is kept for backups, if it goes back to what is purged: what
// has not been shipped until then is a gap.
func (p *purge) letGo(ctx context.Context) error {
	if k := p.db.current.Load().keep; !k.on || k.oldest().first > p.newest {
		return nil
	}
	return p.db.changeKeeping(ctx, func(k *keeping, kb *kv.Batch) {
		if k.on && k.oldest().first <= p.newest {
			k.letGo(p.db.writer.pos, p.db.writer.chain, backup.BrokenPurge, kb)
		}
	})
}

// store keeps the state, so that a purge after a crash knows it.
func (p *purge) store(kb *kv.Batch) error {
	kb.Set(keys.PurgeState(), p.state.Append())
	return kb.Commit(true)
}

// awaitReaders waits for the readers of what the steps before have made obsolete, and has
// it deleted.
func (p *purge) awaitReaders(ctx context.Context) error {
	db := p.db
	db.publishing.Lock()
	var last *era
	if n := len(db.eras); n > 0 {
		last = db.eras[n-1]
	}
	db.publishing.Unlock()
	for {
		if err := db.compactor.have(ctx, func(context.Context) error { return db.compactor.deleteObsolete() }); err != nil {
			return err
		}
		db.publishing.Lock()
		at := slices.Index(db.eras, last)
		readers := int64(0)
		for _, e := range db.eras[:at+1] {
			readers += e.refs.Load()
		}
		db.publishing.Unlock()
		if at < 0 {
			break
		}
		p.progress(fmt.Sprintf("waiting for %d snapshots, listings or questions that were opened before", readers))
		select {
		case <-db.eraOver:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if first := db.compactor.firstRecord.Load(); first <= p.newest {
		return query.Errorf(query.CodeInternal, "the log is kept from record %d on, record %d is to go", first, p.newest)
	}
	return nil
}

// keepRecords has the log deleted no further until the purge ends: what others have written
// since can be in files for as long as it takes to look through them, and is asked for there.
// When it returns, no record is being deleted.
func (p *purge) keepRecords(ctx context.Context) error {
	p.db.purger.keeps.Store(true)
	return p.db.compactor.have(ctx, func(context.Context) error { return nil })
}

func (p *purge) scrub(ctx context.Context) error { return p.db.kv.Scrub(ctx, p.progress) }

// lookAlone looks while no backup is made. The checkpoint of one that began before still has
// what the steps before have removed, and goes with its end.
func (p *purge) lookAlone(ctx context.Context) error {
	ctx, end, err := p.db.backups.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	p.progress("looking through files")
	return given(ctx, p.look(ctx))
}

// overtaken reports whether something was found that rows have brought which came later.
func (p *purge) overtaken(ctx context.Context) (again bool, err error) {
	if p.receipt.Hits == 0 {
		return false, nil
	}
	err = p.db.kv.Scan(ctx, keys.AllPending(), func(k, _ []byte) (bool, error) {
		at, _ := keys.ParsePurge(k)
		again = again || at > p.newest
		return true, nil
	})
	return again, err
}

// finish stores the receipt, in place of what was pending.
func (p *purge) finish() (*query.Receipt, error) {
	r := &p.receipt
	r.Position = query.Position{Epoch: p.db.current.Load().pos.Epoch, Applied: p.newest}
	r.Started, r.Finished = p.state.Started, p.db.opt.Clock().UnixMilli()
	r.People, r.Ordinals, r.Events = uint64(len(r.Names)), uint64(len(p.ords)), p.state.Events
	r.Strings = p.state.Strings
	kb := p.db.kv.NewBatch()
	defer kb.Close()
	kb.DeleteRange(keys.PendingUpTo(p.newest))
	kb.Delete(keys.PurgeState())
	kb.Set(keys.Receipt(p.newest), r.Append())
	if err := kb.Commit(true); err != nil {
		return nil, err
	}
	out := receiptOf(r)
	return &out, nil
}

func receiptOf(r *erasure.Receipt) query.Receipt {
	out := query.Receipt{Position: r.Position, Started: time.UnixMilli(r.Started).UTC(), Finished: time.UnixMilli(r.Finished).UTC(),
		People: r.People, Ordinals: r.Ordinals, Events: r.Events, Quarantined: r.Quarantined, Refused: r.Refused, Strings: r.Strings,
		Files: r.Files, Bytes: r.Bytes, Values: r.Values, Shared: r.Shared, Hits: r.Hits, Where: r.Where}
	for i := range r.Names {
		out.Names = append(out.Names, r.Names[i].String())
	}
	return out
}

// Receipts lists the receipts of purges, the oldest first.
func (db *DB) Receipts(ctx context.Context) ([]query.Receipt, error) {
	return read(ctx, db, func(*snapshot) (out []query.Receipt, err error) {
		err = db.kv.Scan(ctx, keys.Receipts(), func(_, v []byte) (bool, error) {
			r, err := erasure.ReadReceipt(v)
			if err == nil {
				out = append(out, receiptOf(r))
			}
			return err == nil, err
		})
		return out, err
	})
}
