package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/dict"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// recovery builds the first state of an open store from what is stored.
type recovery struct {
	ctx        context.Context
	db         *DB
	w          *writer
	s          *state
	generation uint64
	old        []keys.Span
	folded     map[schema.AttrID][]uint64 // see foldedUpTo
	loss       query.Loss                 // that is accepted
}

func (db *DB) recover() error {
	db.current.Store(&state{era: db.newEra()})
	w := &writer{db: db, requests: make(chan *request, queueLength), done: make(chan struct{}), repeats: &repeats{sources: map[string]*source{}}}
	db.writer, db.compactor = w, newCompactor(db)
	db.replica.proposals.turn = make(chan struct{}, 1)
	r := &recovery{ctx: context.Background(), db: db, w: w, s: &state{State: view.State{Memory: db.cache}, era: db.newEra()}, generation: 1, folded: map[schema.AttrID][]uint64{}}
	for _, step := range []func() error{r.state, r.member, r.schema, r.dictionaries, r.names, r.documents, r.units, r.acts, r.ids, r.indexes, r.complete, r.remembered, r.ledger, r.replay, r.accept, r.kept, r.clean} {
		if err := step(); err != nil {
			return err
		}
	}
	db.compactor.generation = r.generation
	db.compactor.firstRecord.Store(db.compactor.truncated)
	db.current.Store(r.s)
	return nil
}

func (r *recovery) state() error {
	w := r.w
	w.seed = digest.String("index of " + r.db.kv.Root)
	w.ids.seed = digest.String("event ids of " + r.db.kv.Root)
	w.ledger.secret = erasure.NewSecret(r.db.kv.Root)
	b, err := r.db.kv.GetSealed(keys.Meta(metaState))
	if err != nil {
		return err
	}
	if b != nil {
		err = w.readState(b)
	} else {
		w.pos, w.end = query.Position{Epoch: 1}, r.db.opt.FirstOrdinal
		w.badRows = quarantineRange{1, 1}
		if !r.db.opt.ReadOnly {
			err = r.db.kv.Settle()
		}
	}
	w.pos.Epoch = max(w.pos.Epoch, r.db.kv.Epoch) // nothing may have been written since it was restored
	r.s.pos, r.s.Received, r.s.chain, r.s.badRows = w.pos, w.received, w.chain, w.badRows
	r.s.End, r.s.Seed = w.end, w.seed
	return err
}

func (r *recovery) schema() error {
	b, err := r.db.kv.GetSealed(keys.Schema())
	if err != nil {
		return err
	}
	s := schema.New(0, schema.FirstUserAttr, nil)
	if b != nil {
		if s, err = schema.DecodeSchema(b); err != nil {
			return kv.Damaged("schema", err, schema.ErrCorrupt, schema.ErrNewerFormat)
		}
	}
	r.s.Schema, r.w.schema = s, s
	return nil
}

func (r *recovery) dictionaries() error {
	dicts := map[schema.AttrID]*dict.Dict{schema.ListsAttr: r.w.newDict()}
	for a := range r.s.Schema.All() {
		if a.Coded() && a.Kind != schema.Bool {
			dicts[a.ID] = r.w.newDict()
		}
	}
	r.s.Dicts, r.w.dicts = dicts, dicts
	return r.db.kv.Scan(r.ctx, keys.Dicts(), func(k, v []byte) (bool, error) {
		attr, code, ok := keys.ParseDict(k)
		text, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		d := dicts[schema.AttrID(attr)]
		if !ok || d == nil || d.Load(text) != code {
			return false, query.Errorf(query.CodeCorrupt, "the dictionary of attribute %d has a gap at code %d", attr, code)
		}
		return true, nil
	})
}

func (r *recovery) names() error {
	segments, lists := map[string]*segment{}, map[string]*list{}
	err := r.db.kv.Scan(r.ctx, keys.Segments(), func(k, v []byte) (bool, error) {
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		segments[keys.Name(k)], err = readSegment(b)
		return true, err
	})
	err = errors.Join(err, r.db.kv.Scan(r.ctx, keys.Lists(), func(k, v []byte) (bool, error) {
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		lists[keys.Name(k)], err = readList(b)
		return true, err
	}))
	definitions := map[string]*definition{}
	err = errors.Join(err, r.db.kv.Scan(r.ctx, keys.Definitions(), func(k, v []byte) (bool, error) {
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		analysis, name, _ := keys.ParseDefinition(k)
		d, err := readDefinition(analysis, name, b)
		if err == nil {
			definitions[d.lent.String()] = d
		}
		return err == nil, err
	}))
	r.s.segments, r.w.segments, r.s.lists, r.w.lists = segments, segments, lists, lists
	r.s.definitions, r.w.definitions = definitions, definitions
	r.s.Schema = r.s.Schema.Lend(lentBy(definitions))
	r.w.schema = r.s.Schema
	return err
}

func (r *recovery) units() error {
	units, old, err := base.OpenAll(r.ctx, r.db.kv, r.db.cache)
	r.old = append(r.old, old...)
	r.s.Units = map[schema.AttrID][]*base.Unit{}
	for _, u := range units {
		id := unitID{schema.AttrID(u.ID.Attr), int(u.ID.Shard)}
		r.generation = max(r.generation, u.ID.Generation)
		if _, known := classOf(r.s, id.attr); !known {
			r.old = append(r.old, keys.BaseOf(u.ID.Attr)) // dropped, and not yet deleted
			continue
		}
		list := r.s.Units[id.attr]
		for len(list) <= id.shard {
			list = append(list, nil)
		}
		list[id.shard] = u
		r.s.Units[id.attr] = list
	}
	return err
}

func (r *recovery) indexes() error {
	r.s.Indexes = map[schema.AttrID]*view.Index{schema.KeyAttr: newIndex()}
	for i := range r.s.Schema.Attributes {
		if a := &r.s.Schema.Attributes[i]; view.Indexed(a) {
			r.s.Indexes[a.ID] = newIndex()
		}
	}
	var newest []keys.Table
	err := r.db.kv.Leap(r.ctx, keys.Tables(), func(k, _ []byte) ([]byte, error) {
		t, _, _, ok := keys.ParseTable(k)
		if !ok {
			return nil, query.Errorf(query.CodeCorrupt, "a key among the indexes is none")
		}
		if last := len(newest) - 1; last >= 0 && newest[last].Attr == t.Attr {
			r.old = append(r.old, keys.Span{Start: t.Span().Start, End: t.AfterTable()})
			return t.AfterTable(), nil
		}
		newest = append(newest, t)
		return t.Span().End, nil
	})
	for _, t := range newest {
		if err == nil {
			r.generation = max(r.generation, t.Generation)
			err = r.index(t)
		}
	}
	return err
}

func (r *recovery) index(t keys.Table) error {
	x := r.s.Indexes[schema.AttrID(t.Attr)]
	if x == nil {
		r.old = append(r.old, keys.TablesOf(t.Attr))
		return nil
	}
	x.Generation = t.Generation
	sealed, err := r.db.kv.Get(t.Row(keys.Done, 0))
	var pages int
	if err == nil {
		pages, x.Folded, x.Entries, err = readTable(t.Attr, sealed)
	}
	if err == nil {
		x.Static, err = r.db.openTable(t, pages)
	}
	if errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || errors.Is(err, keytable.ErrCorrupt) {
		// It derives from the values: who looks something up is told, until it is repaired.
		x.Static, x.Folded, x.Entries, err = keytable.Lost(err), 0, 0, nil
	}
	return err
}

func (r *recovery) remembered() error {
	err := r.db.kv.Scan(r.ctx, keys.Repeats(), func(k, v []byte) (bool, error) {
		hash, run, sequence, _ := keys.ParseRepeat(k)
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		return true, r.w.repeats.load(hash, run, sequence, b)
	})
	r.w.repeats.order()
	return err
}

// ledger reads who was erased.
func (r *recovery) ledger() error {
	r.w.ledger.entries, r.w.ledger.hints = map[erasure.Hash]erasure.Entry{}, map[uint32]bool{}
	return r.db.eachErased(r.ctx, func(name erasure.Hash, e *erasure.Entry) error {
		r.w.ledger.set(name, *e)
		return nil
	})
}

// numbered is an outcome and its position.
type numbered struct {
	at      uint64
	outcome *effect.Outcome
}

// decodedAhead is how many outcomes replay decodes ahead: appending them takes as long,
// on another core.
const decodedAhead = 64

// replay appends the outcomes that the base or an index does not have yet to the head,
// in L0s of the usual size, so that the compactor settles them as it does at any time.
func (r *recovery) replay() error {
	w := r.w
	w.reading = r.s.State
	w.cursor = view.View{S: &w.reading}.NewCursor()
	w.begin(w.pos.Applied + 1)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	decoded, failed := make(chan numbered, decodedAhead), make(chan error, 1)
	go func() {
		defer close(decoded)
		failed <- r.decode(ctx, decoded)
	}()
	first := w.pos.Applied + 1
	for n := range decoded {
		if n.at < first {
			first = n.at
			w.begin(first)
		}
		r.outcome(n)
	}
	r.db.compactor.truncated = first
	if err := <-failed; err != nil {
		return err
	}
	r.s.Tiers.Frozen, w.frozen = w.frozen, nil
	r.s.Tiers.Active, r.s.Tiers.Cut = w.active, w.stamp
	return nil
}

// decode sends the outcomes of the log, which must end at the store's position.
func (r *recovery) decode(ctx context.Context, to chan<- numbered) error {
	next, last := uint64(0), r.w.pos.Applied
	err := r.db.kv.Scan(ctx, keys.AllOutcomes(), func(k, v []byte) (bool, error) {
		at, ok := keys.ParseNumber(k)
		if !ok || at > last || next > 0 && at != next {
			return false, query.Errorf(query.CodeCorrupt, "the log has a record %d where %d is expected", at, next)
		}
		next = at + 1
		o, err := effect.Decode(v)
		if err != nil {
			return false, kv.Damaged(fmt.Sprintf("outcome of log record %d", at), err, effect.ErrCorrupt, effect.ErrNewer)
		}
		select {
		case to <- numbered{at, o}:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	})
	if err == nil && next != 0 && next != last+1 {
		err = query.Errorf(query.CodeCorrupt, "the log ends at record %d; the store is at %d", next-1, last)
	}
	return err
}

func (r *recovery) outcome(n numbered) {
	w := r.w
	if w.full() {
		w.freeze(n.at)
	}
	o := n.outcome
	o.Blocks = r.known(o.Blocks)
	o.Acts = slices.DeleteFunc(o.Acts, func(a effect.Acts) bool { return r.s.Schema.StoredByID(a.Event) == nil })
	if n.at <= r.s.ids.Folded {
		o.Claims = nil
	}
	if len(o.Claims) > 0 && !r.db.opt.ReadOnly {
		w.ids.read = append(w.ids.read, o.Claims)
		w.ids.held.Add(int64(len(o.Claims)))
	}
	w.stamp++
	w.active.Append(w.stamp, o, r.foldedUpTo, r.actsFoldedUpTo, n.at)
	appendIndexes(&r.s.State, o, n.at)
}

// foldedUpTo returns the positions that the base stands for, by shard.
func (r *recovery) foldedUpTo(attr schema.AttrID) []uint64 {
	out, ok := r.folded[attr]
	if !ok {
		units := r.s.Units[attr]
		out = make([]uint64, len(units))
		for i, u := range units {
			if u != nil {
				out[i] = u.Folded
			}
		}
		r.folded[attr] = out
	}
	return out
}

// actsFoldedUpTo is foldedUpTo of an event type.
func (r *recovery) actsFoldedUpTo(event schema.EventID) []uint64 {
	var out []uint64
	for _, u := range r.s.Acts[event] {
		folded := uint64(0)
		if u != nil {
			folded = u.Folded
		}
		out = append(out, folded)
	}
	return out
}

// acts finds the stored events.
func (r *recovery) acts() error {
	units, old, err := base.OpenActs(r.ctx, r.db.kv, r.db.cache)
	r.old = append(r.old, old...)
	r.db.compactor.opened.acts = units
	r.s.Acts = map[schema.EventID][]*base.ActUnit{}
	for _, u := range units {
		id := schema.EventID(u.ID.Event)
		r.generation = max(r.generation, u.ID.Generation)
		if r.s.Schema.StoredByID(id) == nil { // dropped, and not yet deleted
			r.old = append(r.old, u.Spans()...)
			continue
		}
		list := r.s.Acts[id]
		for len(list) <= int(u.ID.Shard) {
			list = append(list, nil)
		}
		list[u.ID.Shard] = u
		r.s.Acts[id] = list
	}
	return err
}

// ids finds the stored ids of events.
func (r *recovery) ids() error {
	var err error
	r.s.ids, err = base.OpenIDs(r.db.kv, r.db.cache)
	r.db.compactor.opened.ids = r.s.ids
	return err
}

// known leaves out the columns of attributes that were dropped since.
func (r *recovery) known(blocks []effect.Block) []effect.Block {
	for i := range blocks {
		kept := blocks[i].Columns[:0]
		for _, c := range blocks[i].Columns {
			if class, ok := classOf(r.s, c.Attr); ok && class == c.Class {
				kept = append(kept, c)
			}
		}
		blocks[i].Columns = kept
	}
	return blocks
}

// clean deletes what a crash kept from being deleted.
func (r *recovery) clean() error {
	if r.db.opt.ReadOnly {
		return nil
	}
	var err error
	for _, span := range r.old {
		err = errors.Join(err, r.db.kv.Excise(span))
	}
	return err
}
