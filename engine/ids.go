package engine

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
)

// eventIDs tells which ids of events have been seen: an id is unique per source and UTC
// day of the event. It is the writer's. Ids are claimed in outcomes and kept in memory
// until the compactor has them in runs on disk: an id is new if neither knows it. Nobody
// asks for ids of days before the state's horizon (see view.State.IDHorizon): whether they
// are still there depends on the compactor.
type eventIDs struct {
	seed    uint64
	stored  *base.IDs            // as of the group's start
	young   map[effect.ID]uint64 // claimed since folding began, or ended
	folding map[effect.ID]uint64 // that the compactor is writing: nobody changes it
	upTo    uint64               // position that young begins behind
	read    [][]effect.Claim     // that the opening has read from the log: they are young too, once they are taken in
	held    atomic.Int64         // ids in all, for statistics
	buf     []byte
}

// idValues is how many values of the log an id is as dear as at the next opening, and
// idBytes the memory that it takes until it is folded (measured, see DESIGN.md).
const (
	idValues = 4
	idBytes  = 64
)

// idOf hashes an id, with its source, under the store's seed.
func (x *eventIDs) idOf(source string, day int32, id []byte) effect.ID {
	x.buf = binary.AppendUvarint(x.buf[:0], uint64(len(source)))
	x.buf = append(append(x.buf, source...), id...)
	var h xxhash.Digest
	h.ResetWithSeed(x.seed)
	_, _ = h.Write(x.buf)
	lo := h.Sum64()
	h.ResetWithSeed(x.seed ^ 0x9e3779b97f4a7c15)
	_, _ = h.Write(x.buf)
	return effect.ID{Hi: h.Sum64(), Lo: lo, Day: day}
}

// takeIn takes in what the opening has read, so many batches of it. With a million ids it
// all takes a quarter of a second, which nobody has to wait for who asks, or writes without ids.
func (x *eventIDs) takeIn(batches int) {
	if x.young == nil && len(x.read) > 0 {
		x.young = make(map[effect.ID]uint64, x.held.Load())
	}
	for _, claims := range x.read[:min(batches, len(x.read))] {
		for _, c := range claims {
			x.young[c.ID] = c.Content
		}
	}
	if x.read = x.read[min(batches, len(x.read)):]; len(x.read) == 0 {
		x.read = nil
	}
}

// claim takes an id for an event of a batch, or returns the content of the event that has it.
func (x *eventIDs) claim(o *effect.Outcome, source string, day int32, id []byte, content uint64) (first uint64, seen bool, err error) {
	x.takeIn(len(x.read))
	key := x.idOf(source, day, id)
	if first, seen = x.young[key]; seen {
		return first, true, nil
	}
	if first, seen = x.folding[key]; seen {
		return first, true, nil
	}
	if first, seen, err = x.stored.Lookup(key); seen || err != nil {
		return first, seen, err
	}
	c := effect.Claim{ID: key, Content: content}
	x.add(c)
	o.Claims = append(o.Claims, c)
	return 0, false, nil
}

func (x *eventIDs) add(c effect.Claim) {
	if x.young == nil {
		x.young = map[effect.ID]uint64{}
	}
	x.young[c.ID] = c.Content
	x.held.Add(1)
}

// unclaim gives the ids of a batch back that is not applied.
func (x *eventIDs) unclaim(claims []effect.Claim) {
	for _, c := range claims {
		delete(x.young, c.ID)
	}
	x.held.Add(-int64(len(claims)))
}

// look takes note of what is stored.
func (x *eventIDs) look(stored *base.IDs) {
	x.stored = stored
	if x.folding != nil && stored.Folded >= x.upTo {
		x.held.Add(-int64(len(x.folding)))
		x.folding = nil
	}
}

// turn begins a fold: it returns what is claimed up to a position. There is no other one:
// one that fails ends the compactor.
func (x *eventIDs) turn(applied uint64) map[effect.ID]uint64 {
	x.takeIn(len(x.read))
	x.folding, x.young, x.upTo = x.young, nil, applied
	return x.folding
}

// idsUnit stands for the ids of events among the units to fold: no attribute, nor a
// column of events, has this id.
const idsUnit = schema.PositionProperty + 1

// foldIDs writes the ids that were claimed as runs, drops those of days that are forgotten,
// and publishes what is left.
func (c *compactor) foldIDs(ctx context.Context, s *state, id unitID) error {
	start := time.Now()
	w, job := c.db.writer, &base.IDJob{Old: s.ids, First: s.IDHorizon()}
	r := &request{ctx: ctx, done: make(chan struct{}), task: func() {
		job.Claims, job.Folded = w.ids.turn(w.pos.Applied), w.pos.Applied
	}}
	if err := c.db.send(r); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	if err := c.db.syncLog(); err != nil {
		return err
	}
	out, err := base.FoldIDs(ctx, c.db.kv, c.db.cache, job)
	if err != nil {
		return err
	}
	c.publishIDs(out)
	c.folded(id, out.Written, time.Since(start))
	return c.deleteObsolete()
}

func (c *compactor) publishIDs(out base.IDResult) {
	c.db.publishBase(func() { c.db.cache.ForgetRuns(out.Gone) }, func(s *state) (obsolete []keys.Span) {
		s.ids = out.IDs
		for _, run := range out.Gone {
			obsolete = append(obsolete, run.ID.Span())
		}
		return obsolete
	})
}

// valuesOf is how much of the log a batch takes.
func valuesOf(d *batch.Decoded) int {
	n := d.Values()
	for i := range d.Ops {
		if e := d.Ops[i].Events; e != nil && e.IDs != nil {
			n += idValues * e.IDs.M
		}
	}
	return n
}

// loggedValues is how much of the log the records of an L0 take.
func loggedValues(l *head.L0) int64 {
	return int64(l.Values) + idValues*int64(l.Claims) + recordValues*int64(l.Last-l.First+1)
}

// eventContent is what an event with an id is compared by when the id comes again.
func eventContent(ord uint32, event schema.EventID, time, hash int64) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint32(b[0:], ord)
	binary.LittleEndian.PutUint32(b[4:], uint32(event))
	binary.LittleEndian.PutUint64(b[8:], uint64(time))
	binary.LittleEndian.PutUint64(b[16:], uint64(hash))
	return xxhash.Sum64(b[:]) >> (64 - effect.ContentBits)
}
