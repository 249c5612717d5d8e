package engine

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of the head. A value in the log costs about 60 ns at the next opening
// (measured, see DESIGN.md), which is to take half a second.
const (
	softValues   = 6_000_000 // values in the unfolded log that the folding keeps to
	hardValues   = 8_500_000 // values at which writers wait
	recordValues = 20        // values that a record of the log is as dear as at the next opening (measured with single rows)
	maxFrozen    = 4         // frozen L0s at which writers wait
	headShare    = 4         // of the memory budget the settled tier takes one part at most
	foldAge      = 60 * time.Second
	idleCheck    = time.Second
	foldValues   = 1 << 12 // values of a unit that are worth a fold
	truncateGap  = 64      // log records that are truncated together
	factsFrom    = 1 << 13 // events of a unit from which on lifetime facts are kept: two blocks of fewer are read as quickly
)

// compactor is the one goroutine that settles the head and folds it into the base.
type compactor struct {
	db       *DB
	throttle throttle
	settler  head.Settler
	folder   *base.Folder

	signal chan struct{}
	tasks  chan *task
	quit   chan struct{}
	done   chan struct{}

	// The rest is the goroutine's own.
	logged      []logged // the log that is kept, oldest first
	oldest      map[unitID]pending
	headBytes   int64          // memory of the settled tier
	unfolded    int64          // values in the log that the base does not have yet
	debt        float64        // units to fold, in proportion to what was settled
	unitTime    time.Duration  // that a fold takes, of late
	units       int            // that the settled tier had something for when it was made
	quiet       query.Position // at the last tick
	generation  uint64
	all         bool // everything is to be folded
	hashes      keyHashes
	truncated   uint64 // records below are gone
	opened      opened
	firstRecord atomic.Uint64 // truncated, for statistics
}

// task is something that only the compactor may do.
type task struct {
	do   func(ctx context.Context) error // what it returns ends compaction
	done chan error
}

// opened is what was stored when the store was opened. There may be more that a crash kept
// from being deleted; it goes before anything new is written.
type opened struct {
	acts []*base.ActUnit
	ids  *base.IDs
}

// logged is a stretch of the log: the records of one L0.
type logged struct {
	last   uint64
	values int64
}

type unitID struct {
	attr  schema.AttrID
	shard int
}

// pending is what a unit has in the settled tier.
type pending struct {
	first  uint64    // position of the oldest record in it
	since  time.Time // when it was settled
	values int
}

func newCompactor(db *DB) *compactor {
	c := &compactor{db: db, folder: base.NewFolder(db.kv, db.cache), signal: make(chan struct{}, 1), tasks: make(chan *task),
		quit: make(chan struct{}), done: make(chan struct{}), oldest: map[unitID]pending{}, generation: 1, truncated: 1}
	c.throttle.changed = make(chan struct{})
	return c
}

func (c *compactor) wake() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

func (c *compactor) stop() {
	close(c.quit)
	<-c.done
}

func (c *compactor) run() {
	defer close(c.done)
	defer c.throttle.end()
	if c.db.opt.ReadOnly {
		<-c.quit
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a fold under way is given up when the store closes
		select {
		case <-c.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := c.sweep(ctx); err != nil {
		if ctx.Err() == nil {
			c.fail(failedBy(err))
		}
		return
	}
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	for {
		var t *task
		select {
		case <-c.quit:
			return
		case <-c.signal:
		case <-tick.C:
			c.freezeQuiet()
		case t = <-c.tasks:
		}
		err := c.db.kv.WriteMark(kv.Mark{}) // of the list of files, if it has grown since
		switch {
		case err != nil:
		case t != nil:
			err = t.do(ctx)
		case !c.db.opt.Repair: // else it waits for that
			err = c.round(ctx, false)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			err = errClosed()
		case err != nil:
			err = failedBy(err)
			c.fail(err)
		}
		if t != nil {
			t.done <- err
		}
		if err != nil {
			return
		}
	}
}

// sweep deletes what a crash has left.
func (c *compactor) sweep(ctx context.Context) error {
	left, err := base.Leftovers(ctx, c.db.kv, c.opened.acts, c.opened.ids)
	for _, span := range left {
		err = errors.Join(err, c.db.kv.Excise(span))
	}
	c.opened = opened{}
	return err
}

// freezeQuiet freezes the active L0 if nothing was written since the last tick: reads of
// settled values cost less.
func (c *compactor) freezeQuiet() {
	s := c.db.current.Load()
	if s.pos != c.quiet {
		c.quiet = s.pos
		return
	}
	if s.Tiers.Cut == 0 {
		return
	}
	_ = c.db.freeze(context.Background()) // a store that is closed, or failed, needs no settling
}

// freeze makes the active L0 one for the compactor to settle.
func (db *DB) freeze(ctx context.Context) error {
	w := db.writer
	r := &request{ctx: ctx, done: make(chan struct{}), task: func() {
		w.freeze(w.pos.Applied + 1)
		w.publish()
	}}
	if err := db.send(r); err != nil {
		return err
	}
	return r.err
}

// fail ends compaction. Reads go on; writes wait no longer, and fail.
func (c *compactor) fail(err error) {
	c.throttle.fail(err)
	if h := c.db.opt.Hooks.Failed; h != nil {
		h(err)
	}
}

// round settles what is frozen, folds what is due (all: everything), merges indexes that
// are due, and deletes what nobody needs any more.
func (c *compactor) round(ctx context.Context, all bool) error {
	if err := c.settle(ctx); err != nil {
		return err
	}
	target := uint64(0) // what is written meanwhile is for another round
	if c.all = all; all {
		target = settledUpTo(c.db.current.Load())
	}
	for {
		if !all && c.db.room() != nil { // it may be somebody else who fills the disk
			c.throttle.look()
			return nil // writers are refused, so nothing piles up
		}
		id, due := c.next(target)
		if !due {
			break
		}
		if err := c.fold(ctx, id); err != nil {
			return err
		}
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(c.dropExpired(ctx), c.mergeIndexes(ctx, all)); err != nil {
		return err
	}
	if all {
		if err := c.compactFacts(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(c.truncate(all), c.deleteObsolete()); err != nil || !all {
		return err
	}
	return c.db.kv.Reclaim(ctx)
}

// Compact settles and folds everything that had been written when it was called, so
// that the base answers alone.
func (db *DB) Compact(ctx context.Context) error {
	if db.opt.ReadOnly {
		return nil
	}
	if err := db.room(); err != nil {
		return err
	}
	if err := db.freeze(ctx); err != nil {
		return err
	}
	return db.compactor.have(ctx, func(ctx context.Context) error { return db.compactor.round(ctx, true) })
}

// have has the compactor do something between its rounds, and waits for it.
func (c *compactor) have(ctx context.Context, do func(ctx context.Context) error) error {
	t := &task{do, make(chan error, 1)}
	select {
	case c.tasks <- t:
	case <-c.done:
		if err := c.throttle.failure(); err != nil {
			return err
		}
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-t.done:
		return err
	case <-c.done:
		return errors.Join(errClosed(), c.throttle.failure())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle merges the frozen L0s into the settled tier.
func (c *compactor) settle(ctx context.Context) error {
	s := c.db.current.Load()
	frozen := s.Tiers.Frozen
	if len(frozen) == 0 {
		return ctx.Err()
	}
	start := time.Now()
	settled := make(map[schema.AttrID][]*head.Settled, len(s.Tiers.Settled))
	for k, v := range s.Tiers.Settled {
		settled[k] = v
	}
	chunks := (int(s.End) + bitmap.ChunkSize - 1) / bitmap.ChunkSize
	rows := 0
	for _, l := range frozen {
		rows += l.Rows
	}
	for _, a := range c.attributes(s) {
		old := settled[a.id]
		var list []*head.Settled
		for chunk := range chunks {
			var before *head.Settled
			if chunk < len(old) {
				before = old[chunk]
			}
			runtime.Gosched() // settling is in no hurry, and who waits for the writer is
			after := c.settler.Settle(a.id, a.class, chunk, before, frozen)
			if after == before {
				continue
			}
			if list == nil {
				list = append(make([]*head.Settled, 0, chunks), old...)
				list = append(list, make([]*head.Settled, chunks-len(list))...)
			}
			list[chunk] = after
			c.note(unitID{a.id, chunk / bitmap.ShardChunks}, frozen[0].First, len(after.Ords)-sizeOf(before))
		}
		if list != nil {
			settled[a.id] = list
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	acts, err := c.settleActs(ctx, s, frozen, chunks)
	if err != nil {
		return err
	}
	claims := 0
	for _, l := range frozen {
		c.logged = append(c.logged, logged{l.Last, loggedValues(l)})
		claims += l.Claims
	}
	if claims > 0 {
		c.note(unitID{attr: idsUnit}, frozen[0].First, idValues*claims)
	}
	c.db.publish(func(s *state) {
		s.Tiers.Settled, s.Tiers.Acts = settled, cloned(acts)
		s.forgetDropped()
		s.Tiers.Frozen = append([]*head.L0(nil), s.Tiers.Frozen[len(frozen):]...) // a part of the list would keep all of it
	})
	c.units = len(c.oldest)
	c.count()
	c.debt += c.share(frozen)
	if h := c.db.opt.Hooks.Settled; h != nil {
		h(rows, time.Since(start))
	}
	return nil
}

func sizeOf(s *head.Settled) int {
	if s == nil {
		return 0
	}
	return len(s.Ords)
}

// share is how many units must be folded for what was settled, so that folding keeps up.
func (c *compactor) share(frozen []*head.L0) float64 {
	values := 0
	for _, l := range frozen {
		values += l.Values + idValues*l.Claims
	}
	return 1.1 * float64(len(c.oldest)) * float64(values) / float64(c.db.opt.limits.softValues)
}

func (c *compactor) note(id unitID, first uint64, values int) {
	p, ok := c.oldest[id]
	if !ok {
		p = pending{first: first, since: c.db.opt.Clock()}
	}
	p.values += values
	c.oldest[id] = p
}

// count works out the unfolded log and lets the writer go on.
func (c *compactor) count() {
	for len(c.logged) > 0 && c.logged[0].last < c.truncated {
		c.logged = c.logged[1:]
	}
	n := c.loggedFrom(c.lowest())
	bytes := idBytes * c.db.writer.ids.held.Load()
	for _, list := range c.db.current.Load().Tiers.Settled {
		for _, s := range list {
			bytes += s.Bytes()
		}
	}
	for _, chunks := range c.db.current.Load().Tiers.Acts {
		for _, runs := range chunks {
			for _, a := range runs {
				bytes += a.Bytes()
			}
		}
	}
	c.unfolded, c.headBytes = n, bytes
	c.throttle.set(n, paceFor(&c.db.opt.limits, n, c.unitTime*time.Duration(c.units)))
}

// loggedFrom returns how much of the log the records from a position on take.
func (c *compactor) loggedFrom(position uint64) (n int64) {
	for _, l := range c.logged {
		if l.last >= position {
			n += l.values
		}
	}
	return n
}

// lowest returns the position of the oldest record that is not wholly in the base.
func (c *compactor) lowest() uint64 {
	s := c.db.current.Load()
	low := s.Tiers.Active.First
	if len(s.Tiers.Frozen) > 0 {
		low = s.Tiers.Frozen[0].First
	}
	for _, p := range c.oldest {
		low = min(low, p.first)
	}
	return low
}

// next returns the unit to fold: the one with the oldest record, if that is not above
// target, if the unfolded log is long, if folding owes, or if it has waited long.
func (c *compactor) next(target uint64) (unitID, bool) {
	var id unitID
	var p pending
	for k, q := range c.oldest {
		if p.first == 0 || q.first < p.first || q.first == p.first && (k.shard < id.shard || k.shard == id.shard && k.attr < id.attr) {
			id, p = k, q
		}
	}
	if p.first == 0 {
		c.debt = 0
		return id, false
	}
	full := c.unfolded > c.db.opt.limits.softValues || c.headBytes > c.db.opt.Memory/headShare
	if p.first <= target || full || c.db.opt.Clock().Sub(p.since) > foldAge {
		return id, true
	}
	owes := c.debt >= 1 && p.values >= c.db.opt.limits.foldValues
	if owes {
		c.debt--
	}
	return id, owes
}

type attribute struct {
	id    schema.AttrID
	class effect.Class
}

// attributes lists the columns there are, the engine's own last.
func (c *compactor) attributes(s *state) []attribute {
	var out []attribute
	for i := range s.Schema.Attributes {
		a := &s.Schema.Attributes[i]
		out = append(out, attribute{a.ID, effect.ClassOf(a)})
	}
	return append(out, attribute{schema.ListsAttr, effect.Set}, attribute{schema.KeyAttr, effect.Bytes}, attribute{view.LiveAttr, effect.Code})
}

// fold writes a unit's new generation and publishes it.
func (c *compactor) fold(ctx context.Context, id unitID) error {
	s := c.db.acquire()
	defer s.era.release()
	if id.attr == idsUnit {
		return c.foldIDs(ctx, s, id)
	}
	if e := s.Schema.StoredByID(schema.EventID(id.attr)); e != nil {
		return c.foldActs(ctx, s, e, id, nil)
	}
	class, ok := classOf(s, id.attr)
	if !ok { // dropped meanwhile
		delete(c.oldest, id)
		return nil
	}
	from := id.shard * bitmap.ShardChunks
	list := s.Tiers.Settled[id.attr]
	return c.foldPart(ctx, s, id, class, list[min(from, len(list)):min(from+bitmap.ShardChunks, len(list))])
}

// foldPart is fold of what is settled of a unit of an attribute, by chunk.
func (c *compactor) foldPart(ctx context.Context, s *state, id unitID, class effect.Class, part []*head.Settled) error {
	start := time.Now()
	var old *base.Unit
	if units := s.Units[id.attr]; id.shard < len(units) {
		old = units[id.shard]
	}
	c.generation++
	job := &base.Job{ID: keys.Unit{Attr: uint32(id.attr), Shard: uint32(id.shard), Generation: c.generation}, Class: class, Old: old, Settled: part, Folded: settledUpTo(s)}
	if old != nil {
		job.Folded = max(job.Folded, old.Folded) // a store that was just opened has settled less than its units have
	}
	job.Who = c.who(&s.State, id.shard)
	job.What = what(&s.State, id.attr)
	if err := c.db.syncLog(); err != nil {
		return err
	}
	u, err := c.folder.Fold(ctx, job)
	if err != nil {
		return err
	}
	var obsolete []keys.Span
	forget := func() {}
	if old != nil {
		obsolete = []keys.Span{old.ID.Span()}
		forget = func() { c.db.cache.Forget(old) }
	}
	c.db.publishBase(forget, func(s *state) []keys.Span {
		if _, known := classOf(s, id.attr); !known {
			return nil // dropped meanwhile: all units of it go with it, this one too
		}
		s.Units = withUnit(s.Units, id, u)
		s.Tiers.Settled = withoutSettled(s.Tiers.Settled, id)
		return obsolete
	})
	c.folded(id, u.Columns+u.Bitmaps, time.Since(start))
	return c.deleteObsolete()
}

// folded takes note of a fold.
func (c *compactor) folded(id unitID, bytes int64, took time.Duration) {
	delete(c.oldest, id)
	c.count()
	if c.unitTime == 0 {
		c.unitTime = took
	}
	c.unitTime += (took - c.unitTime) / 8
	if h := c.db.opt.Hooks.Folded; h != nil {
		h(1, bytes, took)
	}
}

// settledUpTo is the position that the settled tier stands for.
func settledUpTo(s *state) uint64 {
	if len(s.Tiers.Frozen) > 0 {
		return s.Tiers.Frozen[0].First - 1
	}
	return s.Tiers.Active.First - 1
}

func classOf(s *state, id schema.AttrID) (effect.Class, bool) {
	switch id {
	case schema.KeyAttr:
		return effect.Bytes, true
	case schema.ListsAttr:
		return effect.Set, true
	case view.LiveAttr:
		return effect.Code, true
	}
	a := s.Schema.ByID(id)
	if a == nil {
		return 0, false
	}
	return effect.ClassOf(a), true
}

func withUnit(units map[schema.AttrID][]*base.Unit, id unitID, u *base.Unit) map[schema.AttrID][]*base.Unit {
	out := make(map[schema.AttrID][]*base.Unit, len(units)+1)
	for k, v := range units {
		out[k] = v
	}
	list := append([]*base.Unit(nil), out[id.attr]...)
	for len(list) <= id.shard {
		list = append(list, nil)
	}
	list[id.shard] = u
	out[id.attr] = list
	return out
}

func withoutSettled(settled map[schema.AttrID][]*head.Settled, id unitID) map[schema.AttrID][]*head.Settled {
	out := make(map[schema.AttrID][]*head.Settled, len(settled))
	for k, v := range settled {
		out[k] = v
	}
	list := append([]*head.Settled(nil), out[id.attr]...)
	from := id.shard * bitmap.ShardChunks
	for i := from; i < min(from+bitmap.ShardChunks, len(list)); i++ {
		list[i] = nil
	}
	out[id.attr] = list
	return out
}

// truncate deletes the log records that are wholly in the base and the indexes.
func (c *compactor) truncate(all bool) error {
	if c.db.purger.keeps.Load() {
		return nil
	}
	low := c.lowest()
	s := c.db.current.Load()
	for _, x := range s.Indexes {
		if x.Delta.Len() > 0 || x.Frozen != nil {
			low = min(low, x.Folded+1)
		}
	}
	if low <= c.truncated || low-c.truncated < c.db.opt.limits.truncateGap && !all {
		return nil
	}
	b := c.db.kv.NewBatch()
	defer b.Close()
	b.DeleteRange(keys.Records(c.truncated, low))
	b.DeleteRange(keys.Outcomes(c.truncated, low))
	err := b.Commit(false)
	c.truncated = low
	c.firstRecord.Store(low)
	return err
}

// deleteObsolete deletes old generations that nobody reads any more.
func (c *compactor) deleteObsolete() error {
	ended := c.db.ended()
	if len(ended) == 0 {
		return nil
	}
	err := c.db.syncLog() // what made the data obsolete, such as a drop, must not be lost
	if err != nil {
		return err
	}
	for _, e := range ended {
		for _, span := range e.obsolete {
			err = errors.Join(err, c.db.kv.Excise(span))
		}
		if e.forget != nil {
			e.forget()
		}
	}
	return err
}
