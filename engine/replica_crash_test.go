package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/query"
)

// history is what one replica has written, which never crashed: the log, and its digests at
// every position.
type history struct {
	log   *enginetest.Log
	begin vfs.FS // the store before all
	at    map[query.Position]query.Digests
	last  query.Digests
	o     engine.Options
}

func newHistory(t *testing.T, seed uint64, steps int) *history {
	t.Helper()
	h := &history{log: enginetest.NewLog(), begin: vfs.NewMem(), at: map[query.Position]query.Digests{}}
	h.o = engine.Options{FirstOrdinal: 65_530, Clock: fixedClock, PurgeAfter: -1}
	engine.LowerLimits(&h.o, 10, 30, 12)
	p := &pair{t: t, r: rand.New(rand.NewPCG(seed, 4)), w: newWorld(), keys: 60, member: h.log.Member(), options: h.o}
	p.options.FS, p.options.Replica = vfs.NewMem(), p.member.Options()
	p.open()
	stopReplica(t, p.db, p.member)
	copyStore(t, p.options.FS, h.begin)
	p.open()
	note := func() {
		d, err := p.db.Digests(t.Context())
		must(t, err)
		h.at[d.Position], h.last = d, d
	}
	note()
	p.setUp()
	note()
	for range steps {
		p.write(p.randomSteps(), p.r.IntN(4) == 0, false, p.r.IntN(3) == 0)
		if p.last != nil && p.r.IntN(8) == 0 {
			p.repeat()
		}
		note()
	}
	stopReplica(t, p.db, p.member)
	return h
}

// TestCrashOfReplica cuts the power while a replica is given entries, with none, some or all of
// what was not synced lost. It is opened at what it has, which is what the others had there, is
// given the entries behind that again, and comes to the same.
func TestCrashOfReplica(t *testing.T) {
	t.Parallel()
	seed := uint64(7)
	t.Logf("seed %d", seed)
	h := newHistory(t, seed, 80)
	files := faultfs.New()
	copyStore(t, h.begin, files)
	var mu sync.Mutex
	var given atomic.Uint64
	var pictures []picture
	r := rand.New(rand.NewPCG(seed, 5))
	ops, next := 0, 10
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		ops++
		ingested := op.Kind == faultfs.Remove && strings.Contains(op.Path, "ingest-") // the moment when the base is newer than the log
		if ops >= next || ingested && r.IntN(3) == 0 {
			next = ops + 1 + r.IntN(20)
			pictures = append(pictures, picture{crash(t, files, pick(r, []int{0, 0, 30, 100}), r.Uint64()), given.Load(), op.String()})
		}
		return nil
	})
	o := h.o
	o.FS, o.Replica = files, h.log.Member().Options()
	db, err := engine.Open("store", &o)
	must(t, err)
	entries, _ := h.log.Entries(0)
	steps := rand.New(rand.NewPCG(seed, 6)) // the other one is the disk's
	for i := 0; i < len(entries); {
		n := min(1+steps.IntN(4), len(entries)-i)
		given.Store(entries[i+n-1].Index)
		_, err := db.ApplyEntries(t.Context(), entries[i:i+n])
		must(t, err)
		if i += n; steps.IntN(10) == 0 {
			must(t, db.Compact(t.Context()))
		}
	}
	must(t, db.Close())
	files.Before(nil)
	behind := 0
	every := engine.Rounds(3, 15)
	for i := 0; i < len(pictures); i += every {
		if h.recover(t, &pictures[i]) {
			behind++
		}
	}
	if len(pictures) < 50 || behind < len(pictures)/every/8 {
		t.Fatalf("%d crashes, of which %d lost entries: too few", len(pictures), behind)
	}
	t.Logf("%d crashes, %d lost entries", len(pictures), behind)
}

// recover opens a picture and gives it the rest. It reports whether entries were lost.
func (h *history) recover(t *testing.T, c *picture) (lost bool) {
	t.Helper()
	m := h.log.Member()
	o := h.o
	o.FS, o.Replica = c.files, m.Options()
	db, err := engine.Open("store", &o)
	if err != nil {
		t.Fatalf("crash before %s: %v", c.op, err)
	}
	index, _ := db.AppliedEntry()
	if index > c.acked {
		t.Fatalf("crash before %s: the store has entry %d, it was given %d", c.op, index, c.acked)
	}
	got, err := db.Digests(t.Context())
	must(t, err)
	if want := h.at[got.Position]; got != want {
		t.Fatalf("crash before %s: opened with %+v, want %+v", c.op, got, want)
	}
	entries, _ := h.log.Entries(0) // those that it has are skipped
	out, err := db.ApplyEntries(t.Context(), entries)
	must(t, err)
	if len(out) != len(entries) {
		t.Fatalf("%d outcomes of %d entries", len(out), len(entries))
	}
	if got, err = db.Digests(t.Context()); err != nil || got != h.last {
		t.Fatalf("crash before %s: came to %+v, want %+v; %v", c.op, got, h.last, err)
	}
	must(t, db.Close())
	return index < c.acked
}

// TestEntriesThatCannotBeApplied: behind an entry that is damaged, or of a newer version, or that
// cannot be decided because the disk fails, nothing is applied any more.
func TestEntriesThatCannotBeApplied(t *testing.T) {
	h := newHistory(t, 8, 30)
	entries, _ := h.log.Entries(0)
	half := len(entries) / 2
	for entries[half].Data == nil {
		half++
	}
	open := func(files vfs.FS) *engine.DB {
		o := h.o
		o.FS, o.Replica = files, h.log.Member().Options()
		db, err := engine.Open("store", &o)
		must(t, err)
		return db
	}
	for what, change := range map[string]func(b []byte) query.Code{
		"damaged": func(b []byte) query.Code { b[len(b)/2] ^= 1; return query.CodeCorrupt },
		"foreign": func(b []byte) query.Code { b[0] ^= 1; return query.CodeCorrupt },
	} {
		files := vfs.NewMem()
		copyStore(t, h.begin, files)
		db := open(files)
		bad := make([]engine.Entry, len(entries))
		copy(bad, entries)
		bad[half].Data = append([]byte(nil), bad[half].Data...)
		code := change(bad[half].Data)
		out, err := db.ApplyEntries(t.Context(), bad)
		if !errors.Is(err, &query.Error{Code: code}) || len(out) != half {
			t.Errorf("%s: %d outcomes, %v", what, len(out), err)
		}
		if at, _ := db.AppliedEntry(); at != entries[half-1].Index {
			t.Errorf("%s: the store is at entry %d, want %d", what, at, entries[half-1].Index)
		}
		if out, again := db.ApplyEntries(t.Context(), entries[half+1:]); !errors.Is(again, &query.Error{Code: code}) || len(out) > 0 {
			t.Errorf("%s, what is behind it: %v", what, again)
		}
		must(t, db.Close())
		db = open(files)
		if _, err := db.ApplyEntries(t.Context(), entries); err != nil {
			t.Errorf("%s, when it is whole: %v", what, err)
		}
		if got, err := db.Digests(t.Context()); err != nil || got != h.last {
			t.Errorf("%s: came to %+v, want %+v; %v", what, got, h.last, err)
		}
		must(t, db.Close())
	}
}

// TestReplicaReadsFail has every read fail from some moment on, while entries are given: those
// that could not be decided are not refused, which would be for good, but stop the replica.
func TestReplicaReadsFail(t *testing.T) {
	h := newHistory(t, 9, 60)
	entries, _ := h.log.Entries(0)
	stopped := 0
	for seed := range uint64(engine.Rounds(12, 4)) {
		files := faultfs.New()
		copyStore(t, h.begin, files)
		o := h.o
		o.FS, o.Replica = files, h.log.Member().Options()
		db, err := engine.Open("store", &o)
		must(t, err)
		half := len(entries) / 2
		_, err = db.ApplyEntries(t.Context(), entries[:half])
		must(t, err)
		must(t, db.Compact(t.Context()))
		must(t, db.Close())
		db, err = engine.Open("store", &o) // nothing is in memory
		must(t, err)
		var reads atomic.Uint64
		files.Before(func(op faultfs.Op) error {
			if op.Kind == faultfs.Read && reads.Add(1) > seed {
				return syscall.EIO
			}
			return nil
		})
		out, err := db.ApplyEntries(t.Context(), entries[half:])
		files.Before(nil)
		if err != nil {
			stopped++
			if _, err := db.ApplyEntries(context.Background(), entries[half+len(out):]); err == nil {
				t.Fatalf("seed %d: a replica that has stopped goes on", seed)
			}
		}
		_ = db.Close()
		db, err = engine.Open("store", &o)
		must(t, err)
		_, err = db.ApplyEntries(t.Context(), entries)
		must(t, err)
		if got, err := db.Digests(t.Context()); err != nil || got != h.last {
			t.Fatalf("seed %d: came to %+v, want %+v; %v", seed, got, h.last, err)
		}
		must(t, db.Close())
	}
	if stopped < engine.Rounds(3, 1) {
		t.Fatalf("only %d were stopped", stopped)
	}
	t.Logf("%d were stopped", stopped)
}
