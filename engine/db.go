package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// DB is an open store. Its methods are safe for concurrent use.
type DB struct {
	opt      Options
	dir      string
	kv       *kv.Store
	cache    *base.Cache
	compiler *syntax.Compiler
	plans    planCache
	policies policyCache
	benches  sync.Pool // of workbench

	current    atomic.Pointer[state]
	publishing sync.Mutex // guards replacing current, and eras
	eras       []*era
	eraOver    chan struct{} // some era has ended; room for one

	writer    *writer
	compactor *compactor
	purger    *purger
	backups   backups
	shipping  shipping
	warming   warming
	replica   replica

	closing sync.RWMutex // held for reading by questions and whoever uses writer.requests
	closed  bool
	written atomic.Int64 // bytes of batches since open
}

// Open opens the store in a directory, creating it if the directory is missing or empty.
// An empty name opens a store in memory. Errors have the codes InUse, NotAStore,
// NewerFormat, Corrupt, Invalid, Failed and IO.
func Open(dir string, options *Options) (*DB, error) {
	opt, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = "memory"
		if opt.FS == nil {
			opt.FS = vfs.NewMem()
		}
	}
	if opt.FS == nil {
		opt.FS = vfs.Default
	}
	store, err := kv.Open(dir, kv.Config{FS: opt.FS, Cache: opt.Memory / 16, MemTable: opt.memTable(), ReadOnly: opt.ReadOnly, MustExist: opt.MustExist, AcceptLoss: opt.acceptLoss != nil})
	if err != nil {
		return nil, err
	}
	db := &DB{opt: opt, dir: dir, kv: store, eraOver: make(chan struct{}, 1), purger: newPurger(), compiler: syntax.NewCompiler(lenders()...)}
	db.plans.compiler = db.compiler
	// A sixteenth each goes to Pebble's cache and its memtables, a quarter to the head, and
	// what folding works in is set aside for good: it must never wait for questions.
	db.cache = base.NewCache(store, opt.Memory/16*9-min(base.FoldMemory, opt.Memory/4))
	db.cache.SetShare(cmp.Or(opt.QuestionMemory, max(db.cache.Budget()/questionShare, questionLeast)))
	if err := db.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), store.Close())
	}
	db.start()
	return db, nil
}

func (db *DB) start() {
	db.backups.start()
	db.shipping.start()
	db.replica.checkpoints.start()
	go db.writer.run()
	go db.compactor.run()
	go db.purgeWhenDue()
	db.compactor.wake()
	ctx, cancel := context.WithCancel(context.Background())
	db.warming = warming{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(db.warming.done)
		if !db.opt.ReadOnly {
			(&warmer{db: db, ctx: ctx}).run()
		}
	}()
}

// Close waits for writes and questions under way and closes the store. A backup under way
// is given up. Snapshots and listings still open fail from then on.
func (db *DB) Close() error {
	db.closing.Lock()
	if db.closed {
		db.closing.Unlock()
		return nil
	}
	db.closed = true
	db.closing.Unlock()
	db.backups.stop()
	db.shipping.stop()
	db.replica.checkpoints.stop()
	db.warming.stop()
	<-db.warming.done
	db.purger.end()
	db.compactor.stop()
	close(db.writer.requests)
	<-db.writer.done
	return errors.Join(db.markEnd(), db.kv.Close())
}

func errClosed() error { return query.Errorf(query.CodeClosed, "the store is closed") }

// Apply applies a batch. When it returns without an error the outcome is durable (see
// [Options.Durability]) and in every answer that starts afterwards. Rows that fail are
// quarantined, with their reasons in the result; a strict batch with such a row is
// refused whole, with [query.CodeRefused]. A batch whose source, run and sequence were
// applied before returns the first outcome, marked Repeated. If ctx ends before the
// batch's turn, nothing is applied; afterwards the outcome stands. An error with the code
// [query.CodeIO] has changed nothing, and the batch may be sent again; after one with
// [query.CodeFailed] its outcome is known when the store is opened again, and until then
// every batch gets this.
func (db *DB) Apply(ctx context.Context, b batch.Batch) (batch.Result, error) {
	return db.outcome(db.submit(ctx, b, false))
}

// Submit is Apply in two steps, for writers that have more to send: it returns when the
// batch has its place behind those submitted before, and wait, to be called once, waits
// for the outcome. A batch is decided whether or not the one before it failed.
func (db *DB) Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error) {
	r, err := db.submit(ctx, b, false)
	if err != nil {
		return nil, err
	}
	return func() (batch.Result, error) { return db.outcome(r, nil) }, nil
}

// DryRun decides a batch as Apply would and changes nothing.
func (db *DB) DryRun(ctx context.Context, b batch.Batch) (batch.Result, error) {
	return db.outcome(db.submit(ctx, b, true))
}

// submit checks a batch and queues it.
func (db *DB) submit(ctx context.Context, b batch.Batch, dry bool) (*request, error) {
	if db.opt.ReadOnly {
		return nil, query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	if db.replica.member && db.opt.Replica == nil && !dry {
		return nil, errMember()
	}
	r := &request{ctx: ctx, raw: b, dry: dry, received: db.opt.Clock().UnixMilli(), done: make(chan struct{}), bench: db.takeBench()}
	var err error
	if r.decoded, err = r.bench.decoder.Decode(b); err == nil {
		r.author, err = authorOf(ctx, r.decoded)
	}
	if err == nil {
		err = r.check(db.current.Load().Schema)
	}
	if err == nil && !dry && db.opt.Replica == nil { // else who has the log looks after the disks of all
		err = db.room()
	}
	if err == nil {
		err = db.compactor.waitForRoom(ctx, valuesOf(r.decoded))
	}
	switch {
	case err != nil:
	case db.opt.Replica != nil && !dry:
		err = db.propose(r)
	default:
		r.bench.lookAhead(db, r.decoded)
		err = db.enqueue(r)
	}
	if err != nil {
		db.putBench(r)
		return nil, err
	}
	return r, nil
}

func (db *DB) takeBench() *workbench {
	if bench, ok := db.benches.Get().(*workbench); ok {
		return bench
	}
	return new(workbench)
}

func (db *DB) putBench(r *request) {
	if r != nil && r.bench != nil {
		db.benches.Put(r.bench)
		r.bench = nil
	}
}

// outcome waits for a request.
func (db *DB) outcome(r *request, err error) (batch.Result, error) {
	if err != nil {
		return batch.Result{}, err
	}
	<-r.done
	db.putBench(r)
	if r.err == nil && !r.dry && r.proposal == nil {
		db.written.Add(int64(len(r.raw)))
	}
	return r.result, r.err
}

// check is stage 1: what can be told from the schema and the batch alone.
func (r *request) check(s *schema.Schema) error {
	r.checked, r.verdicts, r.encoded = s, nil, nil
	verdicts := quality.CheckAt(r.decoded, s, r.received)
	if len(verdicts) == 0 {
		return nil
	}
	r.verdicts = make(map[int]verdict, len(verdicts))
	for _, v := range verdicts {
		r.verdicts[v.Row] = verdict{v.Reason, v.Detail}
	}
	var err error
	r.encoded, err = quality.AppendVerdicts(nil, verdicts)
	return err
}

// enqueue hands a request to the writer.
func (db *DB) enqueue(r *request) error {
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return errClosed()
	}
	select {
	case db.writer.requests <- r:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// send hands a request to the writer and waits for its end.
func (db *DB) send(r *request) error {
	if err := db.enqueue(r); err != nil {
		return err
	}
	<-r.done
	return nil
}

// now returns the instant a question is about: its own, or the clock's, in whole milliseconds UTC.
func (db *DB) now(o *query.Options) time.Time {
	t := time.Time{}
	if o != nil {
		t = o.Now
	}
	if t.IsZero() {
		t = db.opt.Clock()
	}
	return t.UTC().Truncate(time.Millisecond)
}

// noted returns err. If the key-value store has given up, which whoever got err may be the
// first to see, the store has failed: writes are refused, and that is told.
func (db *DB) noted(err error) error {
	if err == nil || db.failure() != nil {
		return err
	}
	if why := db.kv.Failed(); why != nil {
		db.compactor.fail(why)
	}
	return err
}

// failure returns why the store takes no more writes, nil while it does.
func (db *DB) failure() error {
	return db.compactor.throttle.failure()
}
