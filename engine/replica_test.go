package engine_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
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
	t.Parallel()
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
		mine.Memory = []int64{scenarioMemory, scenarioMemory, 1}[i] // the least there is: too little to change a storage
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

// TestReplicasOfScenarios has replicas come to the same of whatever a store does (see scenario):
// events with ids, retention, definitions, documents, erasures, changes of the schema.
func TestReplicasOfScenarios(t *testing.T) {
	for _, s := range scenarios() {
		if s.name == "a log of several files" {
			continue // it is about files
		}
		t.Run(s.name, func(t *testing.T) {
			sent, err := s.batches()
			must(t, err)
			r := rand.New(rand.NewPCG(1, 1))
			log := enginetest.NewLog()
			var clock atomic.Int64
			clock.Store(scenarioStart().UnixMilli())
			var all []*follower
			for i := range 3 {
				f := &follower{t: t, member: log.Member(), options: engine.Options{FS: vfs.NewMem(), FirstOrdinal: s.first, PurgeAfter: -1}}
				f.options.Memory, f.options.Replica = []int64{scenarioMemory, 2 * scenarioMemory, 1}[i], f.member.Options()
				f.options.Clock = func() time.Time { return time.UnixMilli(clock.Load()).UTC().AddDate(0, 0, -40*i) } // who is behind decides alike
				engine.LowerLimits(&f.options, []int{8, 1000, 3}[i], []int{60, 100_000, 40}[i], []int{12, 1000, 5}[i])
				if i > 0 {
					copyStore(t, all[0].options.FS, f.options.FS)
				}
				if f.open(); i == 0 {
					f.close()
				}
				all = append(all, f)
			}
			all[0].open()
			for n := range sent {
				clock.Store(sent[n].at.UnixMilli())
				_, err := all[0].db.Apply(t.Context(), sent[n].raw)
				must(t, err)
				want := digestsAt(t, all[0].db, all[0].member, log.Last())
				for k, f := range all {
					f.disturb(r)
					if got := digestsAt(t, f.db, f.member, log.Last()); got != want {
						t.Fatalf("batch %d: replica %d has %+v, the one that leads %+v", n, k, got, want)
					}
				}
			}
			want, err := looks(all[0].db)
			must(t, err)
			for k, f := range all {
				f.options.Clock = all[0].options.Clock
				f.close()
				f.open()
				got, err := looks(f.db)
				must(t, err)
				if got != want {
					t.Errorf("replica %d looks\n%s\nthe one that leads\n%s", k, got, want)
				}
				f.close()
			}
		})
	}
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

// TestReplicaAlone opens the store of a replica without its log: it can be asked, backed up and
// repaired, but nothing is written to it. What is restored from its backup is no replica.
func TestReplicaAlone(t *testing.T) {
	files, log := vfs.NewMem(), enginetest.NewLog()
	m := log.Member()
	db := replicaOn(t, files, m, "store", nil)
	peopleSchema(t, db)
	upserts(t, db, 0, 20)
	want, err := db.Digests(t.Context())
	must(t, err)
	stopReplica(t, db, m)

	o := engine.Options{FS: files, Clock: fixedClock}
	alone, err := engine.Open("store", &o)
	must(t, err)
	one := encoded(t, func(b *batch.Builder) { b.Upsert("new") })
	if _, err := alone.Apply(t.Context(), one); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("a write: %v", err)
	}
	if _, err := alone.Erase(t.Context(), "ticket", "k1"); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) {
		t.Errorf("an erasure: %v", err)
	}
	if _, err := alone.ApplyEntries(t.Context(), nil); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("entries: %v", err)
	}
	if r, err := alone.DryRun(t.Context(), one); err != nil || r.Created != 1 {
		t.Errorf("a dry run: %+v %v", r, err)
	}
	if got, err := alone.Digests(t.Context()); err != nil || got != want {
		t.Errorf("digests %+v, want %+v: %v", got, want, err)
	}
	target, err := engine.OpenBackupDir(t.TempDir())
	must(t, err)
	defer target.Close()
	_, err = alone.Backup(t.Context(), target, nil)
	must(t, err)
	must(t, alone.Close())
	if _, err := engine.AcceptLoss("store", &o); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Errorf("accepting a loss: %v", err)
	}

	_, err = engine.Restore(t.Context(), "restored", target, &engine.RestoreOptions{FS: files})
	must(t, err)
	restored, err := engine.Open("restored", &o)
	must(t, err)
	if r, err := restored.Apply(t.Context(), one); err != nil || r.Created != 1 {
		t.Errorf("a write to what was restored: %+v %v", r, err)
	}
	must(t, restored.Close())
	at, err := engine.ReadCheckpoint("restored", &o)
	if err != nil || at.Index != 0 || at.Position.Applied != want.Position.Applied+1 {
		t.Errorf("restored %+v: %v", at, err)
	}

	again := log.Member()
	db = replicaOn(t, files, again, "restored", nil) // the store of another cluster, which begins with it
	if index, term := db.AppliedEntry(); index != 0 || term != 0 {
		t.Errorf("a store that was never a replica is at entry %d.%d", term, index)
	}
	stopReplica(t, db, again)
}

// TestNewReplicaSaysSo: a store is a replica's from its opening on, before anything is applied.
func TestNewReplicaSaysSo(t *testing.T) {
	files := vfs.NewMem()
	o := engine.Options{FS: files}
	db, err := engine.Open("store", &o)
	must(t, err)
	written(t, db, func(b *batch.Builder) { b.Upsert("ann") })
	must(t, db.Close())
	replica := engine.Options{FS: files, Replica: enginetest.NewLog().Member().Options()}
	db, err = engine.Open("store", &replica)
	must(t, err)
	must(t, db.Close())
	db, err = engine.Open("store", &o)
	must(t, err)
	if _, err := db.Apply(t.Context(), encoded(t, func(b *batch.Builder) { b.Upsert("bob") })); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) {
		t.Errorf("a write: %v", err)
	}
	must(t, db.Close())
	if _, err := engine.Open("store", &engine.Options{FS: files, Replica: &engine.ReplicaOptions{}}); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("without Propose: %v", err)
	}
}

// TestUnknownIsNotProposed: what this version does not know comes into no log, where a replica
// would take it for the work of a newer version and stop.
func TestUnknownIsNotProposed(t *testing.T) {
	log := enginetest.NewLog()
	m := log.Member()
	db := replicaOn(t, vfs.NewMem(), m, "store", nil)
	last := log.Last()
	_, err := db.Apply(t.Context(), encoded(t, func(b *batch.Builder) {
		b.SaveDefinition(&batch.Definition{Analysis: "horoscope", Name: "all"})
	}))
	if err == nil || log.Last() != last {
		t.Errorf("an analysis that nobody knows: %v, and the log is at %d", err, log.Last())
	}
	stopReplica(t, db, m)
}
