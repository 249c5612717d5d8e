package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestFullChunk asks about events where everybody of a chunk lives, which has ways of its
// own: as they were just written, settled, and folded.
func TestFullChunk(t *testing.T) {
	settled := make(chan bool, 100)
	now := time.UnixMilli(100 * actDay).UTC()
	o := &Options{FS: vfs.NewMem(), Clock: func() time.Time { return now }}
	o.Hooks.Settled = func(int, time.Duration) { settled <- true }
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const people, part = bitmap.ChunkSize + 20, 1 << 14
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	})
	for first := 0; first < people; first += part {
		mustApply(t, db, func(b *batch.Builder) {
			for who := first; who < min(first+part, people); who++ {
				b.Upsert(fmt.Sprint("k", who))
			}
		})
	}
	if err := db.Compact(t.Context()); err != nil { // that everybody lives is in the base
		t.Fatal(err)
	}
	amount := func(who int) int64 { return int64(who) * 7919 % 100 }
	age := func(who int) int64 { return int64(who) * 104729 % 50 } // days
	for first := 0; first < people; first += part {
		mustApply(t, db, func(b *batch.Builder) {
			e := b.Events([]batch.Column{{Name: "n", Kind: schema.Int}})
			for who := first; who < min(first+part, people); who++ {
				e.Row(fmt.Append(nil, "k", who), []byte("buy"), 100*actDay-age(who)*actDay)
				e.Int(0, amount(who))
			}
		})
	}
	ask := func(when string) {
		t.Helper()
		for _, x := range []struct {
			text string
			is   func(who int) bool
		}{
			{"buy.any()", func(int) bool { return true }},
			{"buy.count() == 1", func(int) bool { return true }},
			{"buy.filter(e, e.n < 30).count() == 1", func(who int) bool { return amount(who) < 30 }},
			{"buy.filter(e, e.n < 30).any()", func(who int) bool { return amount(who) < 30 }},
			{"buy.sum(e, e.n) >= 90", func(who int) bool { return amount(who) >= 90 }},
			{"buy.in_last(days(60)).sum(e, e.n) >= 90", func(who int) bool { return amount(who) >= 90 }},
			{"buy.in_last(days(10)).count() == 1", func(who int) bool { return age(who) < 10 }},
			{"buy.in_last(days(60)).count() == 1 && buy.in_last(days(10)).filter(e, e.n != 5).any()", func(who int) bool { return age(who) < 10 && amount(who) != 5 }},
		} {
			want := uint64(0)
			for who := range people {
				if x.is(who) {
					want++
				}
			}
			if n, err := db.Count(t.Context(), x.text, &query.Options{Now: now}); err != nil || n.Count != want {
				t.Errorf("%s: %s: %d people, want %d (%v)", when, x.text, n.Count, want, err)
			}
		}
	}
	ask("written")
	if err := db.freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	for s := db.current.Load(); len(s.Tiers.Frozen) > 0 || s.Tiers.Cut > 0; s = db.current.Load() {
		<-settled
	}
	ask("settled")
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("folded")
}

// TestIDsTurn: what the opening has read of ids is in the next fold, whoever comes first.
func TestIDsTurn(t *testing.T) {
	claims := func(n uint64) []effect.Claim { return []effect.Claim{{ID: effect.ID{Hi: n}}, {ID: effect.ID{Lo: n}}} }
	for taken := range 4 {
		x := &eventIDs{read: [][]effect.Claim{claims(1), claims(2), claims(3)}}
		x.held.Store(6)
		x.takeIn(taken)
		if folding := x.turn(9); len(folding) != 6 || len(x.read) != 0 || len(x.young) != 0 {
			t.Errorf("%d taken in: %d are folded, %d left", taken, len(folding), len(x.read))
		}
	}
}
