package snapshots

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// replica is a store of the engine that is a replica, with its snapshots.
type replica struct {
	t      *testing.T
	files  vfs.FS
	log    *enginetest.Log
	member *enginetest.Member
	db     *engine.DB
	snaps  *Store
}

func newReplica(t *testing.T, files vfs.FS, log *enginetest.Log) *replica {
	t.Helper()
	for _, dir := range []string{"node/snapshots", "node"} {
		must(t, files.MkdirAll(dir, 0o755))
	}
	must(t, syncDir(files, ""))
	return &replica{t: t, files: files, log: log, snaps: open(t, files, "node/snapshots")}
}

// start opens the store, and gives it what it does not have.
func (x *replica) start() {
	x.t.Helper()
	x.member = x.log.Member()
	var err error
	x.db, err = engine.Open("node/store", &engine.Options{FS: x.files, Clock: func() time.Time { return time.UnixMilli(1_780_000_000_000) }, PurgeAfter: -1, Replica: x.member.Options()})
	must(x.t, err)
	x.member.Run(x.db)
}

func (x *replica) stop() {
	x.t.Helper()
	must(x.t, x.member.Stop())
	must(x.t, x.db.Close())
}

func (x *replica) write(fill func(b *batch.Builder)) {
	x.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	must(x.t, err)
	_, err = x.db.Apply(x.t.Context(), raw)
	must(x.t, err)
}

func (x *replica) people(from, to int) {
	x.t.Helper()
	for i := from; i < to; i++ {
		x.write(func(b *batch.Builder) {
			for j := range 50 {
				b.Upsert(fmt.Sprint("k", i*7+j)).Set("n", schema.IntValue(int64(i)))
			}
		})
	}
}

// digests returns those of a store that has all that the log has.
func (x *replica) digests() query.Digests {
	x.t.Helper()
	must(x.t, x.member.Wait(x.t.Context(), x.log.Last()))
	d, err := x.db.Digests(x.t.Context())
	must(x.t, err)
	return d
}

// snapshot makes one, as a node does.
func (x *replica) snapshot() (id string) {
	x.t.Helper()
	dir := x.snaps.Scratch()
	c, err := x.db.CheckpointTo(x.t.Context(), dir)
	must(x.t, err)
	sink, err := x.snaps.Create(1, c.Index, c.Term, servers(), 1, nil)
	must(x.t, err)
	must(x.t, sink.(*Sink).Adopt(x.t.Context(), dir, Checkpoint(c)))
	must(x.t, sink.Close())
	return sink.ID()
}

// receive takes the newest snapshot of another one and leaves it in the snapshots.
func (x *replica) receive(from *replica) (id string) {
	x.t.Helper()
	m, newest := from.snaps.Newest()
	_, source, err := from.snaps.Open(newest)
	must(x.t, err)
	sink, err := x.snaps.Create(1, m.Index, m.Term, servers(), 1, nil)
	must(x.t, err)
	_, err = io.Copy(sink, source)
	must(x.t, errors.Join(err, sink.Close(), source.Close()))
	return sink.ID()
}

func (x *replica) install(id string) {
	x.t.Helper()
	r := reader(x.t, x.snaps, id)
	defer r.Close()
	must(x.t, Install(x.t.Context(), r, "node/store", func(dir string) error {
		c, err := engine.ReadCheckpoint(dir, &engine.Options{FS: x.files})
		if err == nil && Checkpoint(c) != r.Meta().Checkpoint {
			err = fmt.Errorf("it has %+v, the snapshot says %+v", c, r.Meta().Checkpoint)
		}
		return err
	}))
}

// TestEngine has a replica begin with a snapshot of another one's store, and be given a newer
// one later. Stores that go on are not snapshots that change.
func TestEngine(t *testing.T) {
	log := enginetest.NewLog()
	a := newReplica(t, enginetest.NewDisk(), log)
	a.start()
	a.write(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	})
	a.people(0, 20)
	id := a.snapshot()
	was := stream(t, a.snaps, id)
	a.people(20, 30)

	b := newReplica(t, enginetest.NewDisk(), log)
	first := b.receive(a)
	b.install(first)
	b.start()
	if want, got := a.digests(), b.digests(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	b.people(30, 60)
	if want, got := b.digests(), a.digests(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	must(t, errors.Join(a.db.Compact(t.Context()), b.db.Compact(t.Context())))
	b.stop()
	if again := stream(t, a.snaps, id); string(again) != string(was) {
		t.Fatal("the snapshot has changed with its store")
	}
	if again := stream(t, b.snaps, first); string(again) != string(was) {
		t.Fatal("the snapshot has changed with the store that was made of it")
	}

	a.people(60, 70)
	second := a.snapshot()
	if second == id || a.snaps.Oldest() <= 20 {
		t.Fatalf("%s, oldest %d", second, a.snaps.Oldest())
	}
	b.install(b.receive(a))
	c, err := engine.ReadCheckpoint("node/store", &engine.Options{FS: b.files})
	must(t, err)
	if m, _ := a.snaps.Newest(); Checkpoint(c) != m.Checkpoint {
		t.Fatalf("installed is %+v, the snapshot has %+v", c, m.Checkpoint)
	}
	b.start()
	if want, got := a.digests(), b.digests(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	b.stop()
	a.stop()
}

// TestEnginePowerCuts cuts the power while a snapshot is put in the place of a store that has
// fallen behind. Either one opens, and comes to the same.
func TestEnginePowerCuts(t *testing.T) {
	log := enginetest.NewLog()
	a := newReplica(t, enginetest.NewDisk(), log)
	a.start()
	a.write(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	})
	a.people(0, 5)
	a.snapshot()
	disk := enginetest.NewDisk()
	b := newReplica(t, disk, log)
	b.install(b.receive(a))
	b.start()
	b.digests()
	b.stop()
	behind, err := engine.ReadCheckpoint("node/store", &engine.Options{FS: disk})
	must(t, err)
	a.people(5, 15)
	a.snapshot()
	id := b.receive(a)
	ahead, _ := b.snaps.Newest()

	begin := disk.Changes()
	b.install(id)
	trace := disk.Trace()
	replay := trace.Replay()
	old := 0
	for at := begin; at <= trace.Len(); at += 1 + at%2 {
		replay.To(at)
		files, err := replay.Crash(enginetest.PowerCut{Percent: 50, Seed: uint64(at)})
		must(t, err)
		must(t, Recover(files, "node/store"))
		c, err := engine.ReadCheckpoint("node/store", &engine.Options{FS: files})
		if err != nil {
			t.Fatalf("power cut before %v: %v", trace.Op(at), err)
		}
		switch {
		case c == behind:
			old++
		case Checkpoint(c) != ahead.Checkpoint:
			t.Fatalf("power cut before %v: the store has %+v", trace.Op(at), c)
		}
		after := newReplica(t, files, log)
		after.start()
		if want, got := a.digests(), after.digests(); got != want {
			t.Fatalf("power cut before %v: %+v, want %+v", trace.Op(at), got, want)
		}
		after.stop()
	}
	if old < 5 || Checkpoint(behind) == ahead.Checkpoint {
		t.Fatalf("%d power cuts left the old store", old)
	}
	a.stop()
}

// TestTables says of the files of a store which are never changed: all others are copied.
func TestTables(t *testing.T) {
	log := enginetest.NewLog()
	files := enginetest.NewDisk()
	a := newReplica(t, files, log)
	a.start()
	a.write(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	})
	a.people(0, 5)
	a.snapshot()
	m, _ := a.snaps.Newest()
	a.stop()
	linked := 0
	for _, f := range m.Files {
		if sealed(f.Name) {
			linked++
			continue
		}
		if base := f.Name[strings.LastIndexByte(f.Name, '/')+1:]; f.Size > 1<<20 {
			t.Errorf("%s has %d bytes that are copied with each installation", base, f.Size)
		}
	}
	if linked == 0 {
		t.Fatalf("no tables in %+v", m.Files)
	}
}
