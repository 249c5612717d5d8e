package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// TestHashesOfManyBlocks: the hash of a stored event does not depend on which blocks of which
// parts were asked before, of more blocks than are kept.
func TestHashesOfManyBlocks(t *testing.T) {
	const seed, days, perDay = 11, 4, 5*timeline.BlockSize + 100
	t.Logf("seed %d", seed)
	db, err := Open("store", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(100 * actDay) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mustApply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "e"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "e", Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	})
	for day := range int64(days) {
		mustApply(t, db, func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "n", Kind: schema.Int}})
			for i := range int64(perDay) {
				table.Row(fmt.Append(nil, "k", i%10), []byte("e"), (90+day)*actDay+i)
				table.Int(0, day*perDay+i)
			}
		})
		if err := db.Compact(t.Context()); err != nil { // days that are folded together would be one part
			t.Fatal(err)
		}
	}
	s := db.acquire()
	defer s.era.release()
	e := s.Schema.LookupEvent("e")
	parts := s.Acts[e.ID][0].Parts
	if len(parts) != days {
		t.Fatalf("%d parts, want %d", len(parts), days)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	hash := actHashes(s, e)
	for range 400 {
		source, err := parts[r.IntN(days)].Source()
		if err != nil {
			t.Fatal(err)
		}
		event := []uint32{uint32(r.IntN(perDay))}
		var got, want [1]int64
		if err := hash(source, event, got[:]); err != nil {
			t.Fatal(err)
		}
		if err := actHashes(s, e)(source, event, want[:]); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("event %d of day %d: %x, want %x", event[0], source.Part.ID().Partition.First, got, want)
		}
	}
}
