package engine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/faultfs"
)

// TestCrashOfPurge cuts the power before operations of an erasure and of its purge, with
// some of what was not synced lost, and again while the purge goes on: it always ends, with
// nothing left and everybody else as they were.
func TestCrashOfPurge(t *testing.T) {
	wholeOnly(t)
	t.Parallel()
	const seed = 5
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	people, canaries, every := 12, 4, 15
	if os.Getenv("KANTA_LONG") != "" {
		every = 1
	}
	a := &aviary{t: t}
	a.set(fixedClock())
	without := a.open()
	a.fill(without, people, 0)
	defer func() { must(t, without.Close()) }()
	a.set(fixedClock())
	files := faultfs.New()
	a.fs = files
	db := a.open()
	a.fill(db, people, canaries)
	var keys []string
	for i := range canaries {
		keys = append(keys, mark(i, "key"))
	}
	a.set(a.clock().Add(time.Hour))
	var pictures []picture
	var mu sync.Mutex
	erased := uint64(0)
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		pictures = append(pictures, picture{crash(t, files, pick(r, []int{0, 30, 100}), r.Uint64()), erased, op.String()})
		return nil
	})
	_, err := db.Erase(t.Context(), "", keys...)
	must(t, err)
	mu.Lock()
	erased = 1
	mu.Unlock()
	_, err = db.Purge(t.Context(), nil)
	must(t, err)
	files.Before(nil)
	must(t, db.Close())
	if len(pictures) < 200 {
		t.Fatalf("only %d crashes", len(pictures))
	}
	resumed, done := 0, 0
	for i := r.IntN(every); i < len(pictures); i += every {
		if a.recover(&pictures[i], keys, without, r) {
			resumed++
		} else {
			done++
		}
	}
	t.Logf("%d crashes, %d of %d purges went on", len(pictures), resumed, resumed+done)
	if resumed < 15 {
		t.Fatal("too few purges went on")
	}
}

// recover opens what a crash has left, crashes while the purge goes on, and purges again. It
// reports whether there was anything left to purge.
func (a *aviary) recover(c *picture, keys []string, without *engine.DB, r *rand.Rand) (resumed bool) {
	a.t.Helper()
	a.fs = c.files
	db, err := engine.Open("store", a.options())
	if err != nil {
		a.t.Fatalf("crash before %s: %v", c.op, err)
	}
	profiles, err := db.Count(a.t.Context(), "1 == 1", nil)
	must(a.t, err)
	if profiles.Count > 12 {
		if c.acked > 0 {
			a.t.Fatalf("crash before %s: the erasure is lost", c.op)
		}
		must(a.t, db.Close())
		return false
	}
	a.same(db, without)
	var second *picture
	at, ops := 1+r.IntN(300), 0
	var mu sync.Mutex
	beforeChanges(c.files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if ops++; ops == at {
			second = &picture{crash(a.t, c.files, pick(r, []int{0, 30, 100}), r.Uint64()), 1, op.String()}
		}
		return nil
	})
	receipt, err := db.Purge(a.t.Context(), nil)
	must(a.t, err)
	c.files.Before(nil)
	a.clean(db, c.op, keys, without)
	must(a.t, db.Close())
	if second == nil {
		return receipt != nil
	}
	a.fs = second.files
	db, err = engine.Open("store", a.options())
	if err != nil {
		a.t.Fatalf("crash before %s, then before %s: %v", c.op, second.op, err)
	}
	_, err = db.Purge(a.t.Context(), nil)
	must(a.t, err)
	a.clean(db, c.op+", then "+second.op, keys, without)
	must(a.t, db.Close())
	return receipt != nil
}

// clean makes sure that a purge has been done, for good.
func (a *aviary) clean(db *engine.DB, when string, keys []string, without *engine.DB) {
	a.t.Helper()
	a.same(db, without)
	if found := remains(a.t, db); len(found) > 0 {
		a.t.Fatalf("crash before %s: after the purge: %v", when, found)
	}
	all, err := db.Receipts(a.t.Context())
	must(a.t, err)
	if len(all) != 1 || all[0].Hits > 0 || all[0].People != uint64(len(keys)) {
		a.t.Fatalf("crash before %s: receipts %s", when, fmt.Sprint(all))
	}
}
