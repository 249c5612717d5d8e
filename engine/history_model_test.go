package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// historian is a pair whose clock runs, and the world as it was after each record.
type historian struct {
	*pair
	now  time.Time
	told atomic.Int64 // now, for the store's goroutines
	past []then

	asked, different int // questions, and those that the present would have answered otherwise
	changes          int // of those about one person, that had a next change
}

// then is the world after a record, and when that was received.
type then struct {
	received int64
	w        *world
}

// asOf asks at an instant.
type asOf struct {
	asker
	now time.Time
}

func (a asOf) Count(ctx context.Context, expr string, _ *query.Options) (query.Count, error) {
	return a.asker.Count(ctx, expr, &query.Options{Now: a.now})
}

func (a asOf) Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	with := *o
	with.Now = a.now
	return a.asker.Members(ctx, expr, &with)
}

func (a asOf) Breakdown(ctx context.Context, expr, attribute string, _ *query.BreakdownOptions) (query.Breakdown, error) {
	return a.asker.Breakdown(ctx, expr, attribute, &query.BreakdownOptions{Options: query.Options{Now: a.now}})
}

func (a asOf) Profile(ctx context.Context, key string, _ *query.ProfileOptions) (query.Profile, error) {
	return a.asker.Profile(ctx, key, &query.ProfileOptions{Options: query.Options{Now: a.now}})
}

// TestHistoryModel does the same random things to a store whose attributes keep history
// and to plain maps, of which it keeps one for each record, and asks both about all times.
func TestHistoryModel(t *testing.T) {
	const seed = 5
	for i, first := range []uint32{0, 65_530, 1<<20 - 5} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			h := &historian{now: time.UnixMilli(1_780_000_000_000).UTC()}
			o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: first, Durability: engine.Durability(i % 2), Clock: func() time.Time { return time.UnixMilli(h.told.Load()).UTC() }}
			h.told.Store(h.now.UnixMilli())
			engine.LowerLimits(&o, 12+i, 200, 40)
			h.pair = &pair{t: t, r: rand.New(rand.NewPCG(seed, uint64(first))), options: o, w: newWorld(), keys: 60}
			h.open()
			defer func() { _ = h.db.Close() }()
			first := firstAttributes()
			for i := range first {
				first[i].change.Attribute.History = i%4 != 3
			}
			h.apply(first)
			for i := range engine.Rounds(70, 30) {
				h.step(i)
			}
			h.checkEverything()
			h.compareDigests()
			if h.different < h.asked/10 {
				t.Errorf("of %d questions only %d have another answer than now", h.asked, h.different)
			}
			if h.changes < engine.Rounds(4, 1) {
				t.Errorf("only %d answers change later", h.changes)
			}
			t.Logf("%d questions, %d with another answer than now", h.asked, h.different)
		})
	}
}

// apply writes a batch and keeps the world after it.
func (h *historian) apply(steps []step) {
	h.t.Helper()
	if h.r.IntN(3) > 0 {
		h.now = h.now.Add(time.Duration(h.r.IntN(5)-1) * time.Millisecond) // at times it goes back
		h.told.Store(h.now.UnixMilli())
	}
	before := h.w.applied
	h.write(steps, false, h.r.IntN(12) == 0, false)
	if h.w.applied > before {
		received := h.now.UnixMilli()
		if n := len(h.past); n > 0 {
			received = max(received, h.past[n-1].received)
		}
		h.past = append(h.past, then{received, h.w.clone()})
	}
}

func (h *historian) step(i int) {
	h.t.Helper()
	switch k := h.r.IntN(40); {
	case k < 24:
		h.apply(h.randomSteps())
	case k < 27:
		h.must("compact", h.db.Compact(h.t.Context()))
	case k < 29:
		h.reopen()
	case k < 32 && len(h.kept) < 2:
		s, err := h.db.Snapshot(h.t.Context())
		h.must("snapshot", err)
		h.kept = append(h.kept, keptSnapshot{s, h.w.clone()})
	case k < 34 && len(h.kept) > 0:
		h.must("close", h.kept[0].Close())
		h.kept = slices.Delete(h.kept, 0, 1)
	case k < 36 && len(h.w.attrs) > 0:
		h.toggle()
	default:
		h.apply([]step{h.upsert(), h.upsert()})
	}
	h.askThen(h.db, h.w)
	for _, s := range h.kept {
		h.askThen(s, s.w)
	}
	if i%25 == 0 {
		h.checkEverything()
	}
}

// toggle turns an attribute's history on or off, by a batch of its own.
func (h *historian) toggle() {
	h.t.Helper()
	def := pick(h.r, h.w.attrs).def
	def.History = !def.History
	h.apply([]step{{code: batch.OpSchemaChange, change: schema.Change{Op: schema.Widen, Name: def.Name, Attribute: def}}})
}

// askThen asks about a random time.
func (h *historian) askThen(of asker, w *world) {
	h.t.Helper()
	if len(h.past) == 0 {
		return
	}
	now := pick(h.r, h.past).received + int64(h.r.IntN(3)) - 1
	was := h.at(w, now)
	at := asOf{of, time.UnixMilli(now).UTC()}
	for range 2 {
		c := randomCondition(h.r, was, 2)
		h.askExpression(at, was, c)
		h.askNext(w, at.now, c)
		h.asked++
		keys, unknown := was.members(c)
		if today, unclear := w.members(c); unclear != unknown || !slices.Equal(today, keys) {
			h.different++
		}
	}
	h.askProfile(at, was, h.key())
}

// askNext asks when an expression of one person changes, and looks at all later records.
func (h *historian) askNext(w *world, now time.Time, c *condition) {
	h.t.Helper()
	if w != h.w || len(w.people) == 0 {
		return
	}
	key := pick(h.r, slices.Sorted(maps.Keys(w.people)))
	is := func(t int64) truth {
		was := h.at(w, t)
		return c.eval(was, was.people[key])
	}
	want := time.Time{}
	for i := range h.past {
		if t := h.past[i].received; t > now.UnixMilli() && is(t) != is(now.UnixMilli()) {
			want = time.UnixMilli(t).UTC()
			break
		}
	}
	why, err := h.db.Why(h.t.Context(), key, c.text, &query.WhyOptions{Options: query.Options{Now: now}})
	h.must(c.text, err)
	if why.Next.At != want || why.Next.NotDerivable != "" || !want.IsZero() && is(want.UnixMilli()) != truthOfVerdict(why.Next.To) {
		h.t.Fatalf("%s of %s at %v: next change %+v, want %v", c.text, key, now, why.Next, want)
	}
	if !want.IsZero() {
		h.changes++
	}
}

func truthOfVerdict(v query.Verdict) truth {
	switch v.Truth {
	case query.True:
		return yes
	case query.False:
		return no
	}
	return maybe
}

// at returns a world with the values of then where there is a history of them.
func (h *historian) at(w *world, now int64) *world {
	out := w.clone()
	known := uint64(0) // the last record of then
	for i := range h.past {
		if h.past[i].received <= now {
			known = h.past[i].w.applied
		}
	}
	for i := range out.attrs {
		a := &out.attrs[i]
		if !a.def.History {
			continue
		}
		record := max(known, a.since)
		if record >= w.applied {
			continue
		}
		for key, who := range out.people {
			delete(who.values, a.id)
			if record == 0 {
				continue
			}
			if old := h.past[record-1].w.people[key]; old != nil && old.born == who.born && !old.values[a.id].IsAbsent() {
				who.values[a.id] = old.values[a.id]
			}
		}
	}
	return out
}
