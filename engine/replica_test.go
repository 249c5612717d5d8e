package engine_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// follower is a replica that is only given entries.
type follower struct {
	t       *testing.T
	options engine.Options
	db      *engine.DB
	member  *enginetest.Member
}

func (f *follower) open() {
	f.t.Helper()
	var err error
	f.db, err = engine.Open("store", &f.options)
	must(f.t, err)
	f.member.Run(f.db)
}

func (f *follower) close() {
	f.t.Helper()
	must(f.t, f.member.Stop())
	must(f.t, f.db.Close())
}

// copyStore makes a replica's store the beginning of another one.
func copyStore(t *testing.T, from vfs.FS, to vfs.FS) {
	t.Helper()
	ok, err := vfs.Clone(from, to, "store", "store", vfs.CloneSync)
	must(t, err)
	if !ok {
		t.Fatal("there is no store")
	}
}

// digestsAt returns the digests of a store that has an entry.
func digestsAt(t *testing.T, db *engine.DB, m *enginetest.Member, index uint64) query.Digests {
	t.Helper()
	must(t, m.Wait(t.Context(), index))
	d, err := db.Digests(t.Context())
	must(t, err)
	return d
}

// TestReplicas does random things to one of three replicas, as TestModel does, and compares
// all three after each: chain, position and both digests. They have different limits, are
// compacted, purged, closed and opened at different times.
func TestReplicas(t *testing.T) {
	steps, seed := 150, uint64(1)
	if testing.Short() {
		steps = 60
	}
	if n, err := strconv.Atoi(os.Getenv("KANTA_LONG")); err == nil {
		steps, seed = steps*n, rand.Uint64()
	}
	if n, err := strconv.ParseUint(os.Getenv("KANTA_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	log := enginetest.NewLog()
	o := engine.Options{FirstOrdinal: 65_530, Clock: fixedClock, PurgeAfter: -1}
	p := &pair{t: t, r: rand.New(rand.NewPCG(seed, 3)), w: newWorld(), keys: 120, member: log.Member()}
	leads := func(i int) engine.Options {
		mine := o
		mine.FS = vfs.NewMem()
		engine.LowerLimits(&mine, []int{12, 1000, 3}[i], []int{200, 100_000, 40}[i], []int{40, 1000, 5}[i])
		return mine
	}
	p.options = leads(0)
	p.options.Replica = p.member.Options()
	p.open()
	must(t, p.member.Stop())
	must(t, p.db.Close())
	var others []*follower
	for i := 1; i < 3; i++ {
		f := &follower{t: t, options: leads(i), member: log.Member()}
		f.options.Replica, f.member.Most = f.member.Options(), []int{0, 0, 3}[i]
		copyStore(t, p.options.FS, f.options.FS)
		f.open()
		others = append(others, f)
	}
	p.open()
	p.setUp()
	for i := range steps {
		p.step(i)
		for _, f := range others {
			f.disturb(p.r)
		}
		want := digestsAt(t, p.db, p.member, log.Last())
		for k, f := range others {
			if got := digestsAt(t, f.db, f.member, log.Last()); got != want {
				t.Fatalf("step %d: replica %d has %+v, the one that leads %+v", i, k+1, got, want)
			}
		}
	}
	for _, f := range others {
		must(t, f.db.Compact(t.Context()))
		report, err := f.db.Check(t.Context(), nil)
		must(t, err)
		if len(report.Problems) > 0 {
			t.Fatalf("%q", report.Problems)
		}
		f.close()
	}
	p.checkEverything()
	must(t, p.member.Stop())
	must(t, p.db.Close())
}

// disturb does what changes no answer, or nothing.
func (f *follower) disturb(r *rand.Rand) {
	f.t.Helper()
	switch r.IntN(12) {
	case 0:
		must(f.t, f.db.Compact(f.t.Context()))
	case 1:
		_, err := f.db.Purge(f.t.Context(), nil)
		must(f.t, err)
	case 2:
		f.close()
		f.open()
	}
}
