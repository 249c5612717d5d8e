package engine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/faultfs"
)

// replicaRun is what a replica does to its disk while it is given entries, folds, and copies itself.
type replicaRun struct {
	*history
	start int // changes of the disk before it was opened
	trace *faultfs.Trace
	given []givenEntry
	made  []madeCopy
}

// givenEntry is an entry that was given after so many changes of the disk.
type givenEntry struct {
	changes int
	index   uint64
}

// madeCopy is a copy that was there after so many changes.
type madeCopy struct {
	changes int
	dir     string
	of      engine.Checkpoint
}

func newReplicaRun(t *testing.T, seed uint64, steps int) *replicaRun {
	t.Helper()
	x := &replicaRun{history: newHistory(t, seed, steps)}
	files := faultfs.New()
	copyStore(t, x.begin, files)
	must(t, files.MkdirAll("copies", 0o755))
	x.start = files.Changes()
	o := x.o
	o.FS, o.Replica = files, x.log.Member().Options()
	db, err := engine.Open("store", &o)
	must(t, err)
	r := rand.New(rand.NewPCG(seed, 8))
	entries, _ := x.log.Entries(0)
	for i := 0; i < len(entries); {
		n := min(1+r.IntN(4), len(entries)-i)
		x.given = append(x.given, givenEntry{files.Changes(), entries[i+n-1].Index})
		_, err := db.ApplyEntries(t.Context(), entries[i:i+n])
		must(t, err)
		i += n
		switch r.IntN(12) {
		case 0:
			must(t, db.Compact(t.Context()))
		case 1, 2:
			dir := fmt.Sprint("copies/", len(x.made))
			of, err := db.CheckpointTo(t.Context(), dir)
			must(t, err)
			x.made = append(x.made, madeCopy{files.Changes(), dir, of})
		case 3:
			must(t, db.Close())
			db, err = engine.Open("store", &o)
			must(t, err)
		}
	}
	must(t, db.Close())
	x.trace = files.Trace()
	return x
}

// pictureAt is what a power cut leaves before a change.
func (x *replicaRun) pictureAt(t *testing.T, replay *faultfs.Replay, at int, c faultfs.Cut) *picture {
	t.Helper()
	replay.To(at)
	files, err := replay.Crash(c)
	must(t, err)
	p := &picture{files: files, op: fmt.Sprintf("operation %d, %s, %+v", at, x.trace.Op(at), c)}
	for _, g := range x.given {
		if g.changes <= at {
			p.acked = g.index
		}
	}
	return p
}

// copies holds the copies to what they were said to be, if their names are there: these whoever has them made
// sees to. It counts them.
func (x *replicaRun) copies(t *testing.T, p *picture, at int, r *rand.Rand) (n int) {
	t.Helper()
	for _, m := range x.made {
		if _, err := p.files.Stat(m.dir); err != nil || m.changes > at {
			continue
		}
		o := x.o
		o.FS = p.files
		got, err := engine.ReadCheckpoint(m.dir, &o)
		if err != nil || got != m.of {
			t.Fatalf("crash before %s: the copy is %+v, was made as %+v; %v", p.op, got, m.of, err)
		}
		if n++; r.IntN(8) > 0 {
			continue
		}
		o.Replica = x.log.Member().Options()
		db, err := engine.Open(m.dir, &o)
		must(t, err)
		entries, _ := x.log.Entries(0)
		_, err = db.ApplyEntries(t.Context(), entries)
		must(t, err)
		if got, err := db.Digests(t.Context()); err != nil || got != x.last {
			t.Fatalf("crash before %s: a copy came to %+v, want %+v; %v", p.op, got, x.last, err)
		}
		must(t, db.Close())
	}
	return n
}

// TestReplicaCrashPoints cuts the power before every operation of a replica that writes, and again while it
// recovers: it is opened with no more entries than it was given, as the others were there, and comes to the
// same with the rest; copies that were made are whole, and come to the same.
func TestReplicaCrashPoints(t *testing.T) {
	wholeOnly(t)
	if name := os.Getenv("KANTA_SCENARIO"); name != "" && name != "replicas" {
		t.Skip("another scenario was chosen")
	}
	want, long := wantedCrashes(t)
	want /= 10 // beside the scenarios of a store alone
	seed := seedOf(t, long)
	x := newReplicaRun(t, seed, map[bool]int{true: 60, false: 30}[long])
	all := x.trace.Len() - x.start + 1
	replay, r := x.trace.Replay(), rand.New(rand.NewPCG(seed, 9))
	cuts, again, behind, copies := 0, 0, 0, 0
	share := float64(want) / float64(4*all)
	for at := x.start; at <= x.trace.Len(); at++ {
		for _, c := range []faultfs.Cut{{Percent: 0}, {Percent: 30}, {Percent: 100}, {Kill: true, Percent: 100}} {
			if r.Float64() >= share {
				continue
			}
			c.Seed = r.Uint64()
			p := x.pictureAt(t, replay, at, c)
			copies += x.copies(t, p, at, r)
			begun := p.files.Changes()
			if x.recover(t, p) {
				behind++
			}
			if cuts++; r.IntN(3) > 0 {
				continue
			}
			recovery := p.files.Trace()
			op := begun + r.IntN(recovery.Len()-begun+1)
			second := recovery.Replay()
			second.To(op)
			files, err := second.Crash(faultfs.Cut{Percent: []int{0, 30, 100}[r.IntN(3)], Seed: r.Uint64()})
			must(t, err)
			last, _ := x.log.Entries(0)
			x.recover(t, &picture{files, last[len(last)-1].Index, fmt.Sprintf("%s, and again before operation %d of the recovery, %s", p.op, op, recovery.Op(op))})
			again++
		}
	}
	t.Logf("%d operations, %d power cuts and %d in recoveries; %d lost entries, %d copies, of which %d were made", all, cuts, again, behind, copies, len(x.made))
	if long && (cuts < want/2 || behind < cuts/20 || copies < cuts/10 || again < cuts/6) {
		t.Error("void: too little was done")
	}
}
