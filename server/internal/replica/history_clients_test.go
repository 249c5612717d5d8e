package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// written is a batch that a client writes: it sets v of a person, makes n one more, and appends an
// act. Called, returned and acked are of the whole of it, with all that it was tried.
type written struct {
	key, run         int
	sequence         uint64
	v                int64
	called, returned uint64 // by the trial's count of what happens
	acked            time.Time
	position         query.Position // zero: nothing is known of it
	tried            *Node          // last
	unknown          bool           // once nobody knew what became of it
}

// seen is what somebody saw of a person, in one snapshot of the store of a member.
type seen struct {
	at               string // the member
	key              int
	called, returned uint64
	linearizable     bool
	least            query.Position // which the member had said to have reached
	fresh            time.Time      // of which it had said that it has all that was acknowledged before; zero: of none
	position         query.Position
	v, n             int64
	segment          *segmentCount // nil: nobody was counted
}

// segmentCount is how many a segment had.
type segmentCount struct {
	least  int64 // the segment is n >= least and an even v
	acts   bool  // or: at least so many acts
	people uint64
}

func historySchema(t *testing.T) batch.Batch {
	t.Helper()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "v", Kind: schema.Int, History: true}})
	b.Change(schema.Change{Op: schema.AddEvent, Event: "act", Name: "act"})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "act", Name: "w", Attribute: schema.Attribute{Name: "w", Kind: schema.Int}})
	return encode(t, b)
}

func person(key int) string { return fmt.Sprint("p", key) }

func (w *written) batch(t *testing.T) batch.Batch {
	t.Helper()
	b := batch.New()
	b.Source(fmt.Sprint("writer-", w.run), 1, w.sequence)
	b.Upsert(person(w.key)).Set("v", schema.IntValue(w.v)).Increment("n", schema.IntValue(1))
	acts := b.Events([]batch.Column{{Name: "w", Kind: schema.Int}})
	acts.Row([]byte(person(w.key)), []byte("act"), 0)
	acts.Int(0, w.v)
	return encode(t, b)
}

// pick returns a member that runs, most often one that believes to lead: any that does.
func (h *trial) pick(rng *rand.Rand) *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := rng.IntN(len(h.members))
	some := h.members[first].node
	if rng.IntN(10) == 0 {
		return some
	}
	for i := range h.members {
		if m := h.members[(first+i)%len(h.members)]; m.node != nil && m.node.IsLeader() {
			return m.node
		}
	}
	return some
}

func (h *trial) ended() bool {
	select {
	case <-h.end:
		return true
	default:
		return false
	}
}

// idle is what a client does between two things.
func idle(rng *rand.Rand) { <-time.After(time.Duration(rng.Int64N(int64(100 * time.Millisecond)))) }

// write writes, one batch after another. Most are tried until it is known that they were applied;
// some that nobody knows of are left for the end, and so is what is not known then.
func (h *trial) write(rng *rand.Rand, run int) {
	for sequence := uint64(1); !h.ended(); sequence++ {
		w := &written{key: rng.IntN(historyKeys), run: run, sequence: sequence}
		h.mu.Lock()
		h.values++
		w.v = h.values
		h.writes = append(h.writes, w)
		h.mu.Unlock()
		w.called = h.ticks.Add(1)
		for h.attempt(rng, w); w.position == (query.Position{}) && !(w.unknown && rng.IntN(20) == 0) && !h.ended(); h.attempt(rng, w) {
			idle(rng)
		}
		if w.position != (query.Position{}) {
			h.ownWrite(rng, w)
		}
		idle(rng)
	}
}

// attempt tries once to write.
func (h *trial) attempt(rng *rand.Rand, w *written) {
	n := h.pick(rng)
	if n == nil || n.DB() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Duration(1+rng.Int64N(int64(5*time.Second))))
	defer cancel()
	result, err := n.DB().Apply(ctx, w.batch(h.t))
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		if !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
			h.counts.unknown++
			w.unknown, w.tried = true, n
		}
		return
	}
	w.position, w.acked, w.returned = result.Position, time.Now(), h.ticks.Add(1)
	h.counts.writes++
	if result.Received != 2 || result.Accepted != 2 {
		h.t.Errorf("%s says of two rows: %+v", n.id.ID, result)
	}
	if result.Repeated && !w.unknown {
		h.t.Errorf("exactly once: %s says of a batch that was tried once that it is repeated: %+v", n.id.ID, result)
	}
	if !w.unknown {
		return
	}
	h.counts.retried++
	if result.Repeated {
		h.counts.repeated++
	}
	if w.tried.id.ID != n.id.ID {
		h.counts.elsewhere++
	}
}

// settle tries what was left until something is known of each.
func (h *trial) settle(rng *rand.Rand) {
	for _, w := range h.writes {
		h.eventually("what was left is written", func() bool {
			if w.position == (query.Position{}) {
				h.attempt(rng, w)
			}
			return w.position != (query.Position{})
		})
	}
}

// ownWrite reads what was written at some member that says it has it.
func (h *trial) ownWrite(rng *rand.Rand, w *written) {
	n := h.any(rng)
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 200*time.Millisecond)
	defer cancel()
	if n.AtLeast(ctx, w.position) == nil {
		h.look(rng, n, seen{key: w.key, least: w.position}, &h.counts.own)
	}
}

// any returns some member, nil if that does not run.
func (h *trial) any(rng *rand.Rand) *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.members[rng.IntN(len(h.members))].node
}

// read makes linearizable reads, and such that may be as old as the member says.
func (h *trial) read(rng *rand.Rand) {
	for ; !h.ended(); idle(rng) {
		s := seen{key: rng.IntN(historyKeys), called: h.ticks.Add(1)}
		if rng.IntN(3) == 0 {
			now := time.Now()
			if n := h.any(rng); n != nil {
				if old := n.Staleness(); old >= 0 {
					s.fresh = now.Add(-old)
					h.look(rng, n, s, &h.counts.stale)
				}
			}
			continue
		}
		n := h.pick(rng)
		if n == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Second)
		p, err := n.Linearizable(ctx)
		cancel()
		if err == nil {
			s.linearizable, s.least = true, p
			h.look(rng, n, s, &h.counts.reads)
		}
	}
}

// look looks at a person in the store of a member, if that has one.
func (h *trial) look(rng *rand.Rand, n *Node, s seen, count *int) {
	if err := s.look(h.t.Context(), rng, n); err != nil {
		return // it was closed meanwhile
	}
	s.returned = h.ticks.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	*count++
	h.sights = append(h.sights, s)
}

func (s *seen) look(ctx context.Context, rng *rand.Rand, n *Node) (err error) {
	db := n.DB()
	if db == nil {
		return errNoStore()
	}
	snapshot, err := db.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	s.at, s.position = n.id.ID, snapshot.Position()
	p, err := snapshot.Profile(ctx, person(s.key), &query.ProfileOptions{Events: -1})
	if err != nil && !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return err
	}
	for _, v := range p.Values {
		switch v.Name {
		case "n":
			s.n = v.Value.Ordered()
		case "v":
			s.v = v.Value.Ordered()
		}
	}
	if rng.IntN(4) > 0 {
		return nil
	}
	c := &segmentCount{least: rng.Int64N(40), acts: rng.IntN(2) == 0}
	segment := fmt.Sprintf("n >= %d && v %% 2 == 0", c.least)
	if c.acts {
		segment = fmt.Sprintf("act.count() >= %d", c.least)
	}
	answer, err := snapshot.Count(ctx, segment, nil)
	c.people, s.segment = answer.Count, c
	return err
}

// acts returns w of each act of a person.
func acts(ctx context.Context, n *Node, key int) (all []int64, err error) {
	for after := ""; ; {
		t, err := n.DB().Timeline(ctx, person(key), &query.TimelineOptions{Events: []string{"act"}, After: after})
		if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range t.Events {
			for _, p := range t.Events[i].Properties {
				all = append(all, p.Value.Ordered())
			}
		}
		if after = t.Next; after == "" {
			return all, nil
		}
	}
}
