package engine

import (
	"maps"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// state is one state of the store: everything a reader needs, immutable. The writer
// makes a new one per commit group, the compactor when it settles or folds; both under
// DB.publishing. Most of it is shared with the state before.
type state struct {
	view.State
	ids         *base.IDs // of events
	pos         query.Position
	chain       [16]byte
	segments    map[string]*segment
	lists       map[string]*list
	definitions map[string]*definition // by the call that names them: rfm("orders")
	documents   *documents
	deleted     uint64 // deletions of profiles since the store was opened
	names       uint64 // changes with schema, segments and lists: what compiled texts depend on
	badRows     quarantineRange
	keep        keeping
	told        uint64 // changes of the ledger of erased people since the store was opened
	entry       logPlace
	era         *era
}

// segment is a saved segment.
type segment struct {
	text  string
	saved query.Position
	uses  []string // segments its text names
	owner query.Author

	shared bool // it may be used by those who may not name what it reads
	opaque bool // under a policy: it is such a one, and text names nothing but itself
}

// list is a saved list; its code in the dictionary of lists is its id.
type list struct {
	code  uint32
	saved query.Position
	note  string // where it comes from
}

// quarantineRange is which rows the quarantine holds.
type quarantineRange struct{ first, next uint64 }

// era is a time during which the base stayed the same. Readers hold the era of the
// state they read. What an era's end made obsolete is deleted when nobody reads that
// era or an earlier one any more.
type era struct {
	refs     atomic.Int64    // one for being current, one per reader; 0 is final
	over     chan<- struct{} // told when it is
	obsolete []keys.Span     // set before the current reference is dropped
	forget   func()
}

func (db *DB) newEra() *era {
	e := &era{over: db.eraOver}
	e.refs.Store(1)
	return e
}

// hold adds a reader, unless the era has ended for good.
func (e *era) hold() bool {
	for {
		n := e.refs.Load()
		if n == 0 {
			return false
		}
		if e.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (e *era) release() {
	if e.refs.Add(-1) == 0 {
		select {
		case e.over <- struct{}{}:
		default:
		}
	}
}

// acquire returns the current state, held: the caller releases its era.
func (db *DB) acquire() *state {
	for {
		if s := db.current.Load(); s.era.hold() {
			return s
		}
	}
}

// publish replaces the current state by a changed copy of it. change must not keep s.
func (db *DB) publish(change func(s *state)) {
	db.publishing.Lock()
	defer db.publishing.Unlock()
	next := *db.current.Load()
	change(&next)
	db.current.Store(&next)
}

// publishBase is publish for a change of the base: a new era begins, and the spans that
// change returns become obsolete with the old one.
func (db *DB) publishBase(forget func(), change func(s *state) (obsolete []keys.Span)) {
	db.publishing.Lock()
	defer db.publishing.Unlock()
	next := *db.current.Load()
	old := next.era
	next.era = db.newEra()
	old.obsolete, old.forget = change(&next), forget
	db.eras = append(db.eras, old)
	db.current.Store(&next)
	old.release()
}

// publishDropped is publish for states that have lost attributes: their data becomes obsolete.
func (db *DB) publishDropped(ids []schema.AttrID, change func(s *state)) {
	db.publishBase(nil, func(s *state) (obsolete []keys.Span) {
		change(s)
		s.Acts, s.Tiers.Acts = cloned(s.Acts), cloned(s.Tiers.Acts)
		s.Units, s.Tiers.Settled, s.Indexes = cloned(s.Units), cloned(s.Tiers.Settled), cloned(s.Indexes)
		for _, id := range ids {
			obsolete = append(obsolete, keys.BaseOf(uint32(id)), keys.TablesOf(uint32(id)))
			for _, u := range s.Acts[schema.EventID(id)] {
				if u != nil {
					obsolete = append(obsolete, u.Spans()...)
				}
			}
			delete(s.Units, id)
			delete(s.Tiers.Settled, id)
			delete(s.Indexes, id)
			delete(s.Acts, schema.EventID(id))
			delete(s.Tiers.Acts, schema.EventID(id))
		}
		return obsolete
	})
}

// forgetDropped takes out of the settled tier, which nobody reads yet, what was dropped
// while it was made.
func (s *state) forgetDropped() {
	maps.DeleteFunc(s.Tiers.Settled, func(id schema.AttrID, _ []*head.Settled) bool {
		_, known := classOf(s, id)
		return !known
	})
	maps.DeleteFunc(s.Tiers.Acts, func(id schema.EventID, _ head.ActRuns) bool { return s.Schema.StoredByID(id) == nil })
}

// ended takes the eras that nobody reads any more off the front of the queue.
func (db *DB) ended() (out []*era) {
	db.publishing.Lock()
	defer db.publishing.Unlock()
	for len(db.eras) > 0 && db.eras[0].refs.Load() == 0 {
		out = append(out, db.eras[0])
		db.eras = db.eras[1:]
	}
	return out
}
