package snapshots

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// TestMakeSendInstall takes a snapshot, sends it, and installs it at the other side.
func TestMakeSendInstall(t *testing.T) {
	_, s, id := one(t, 1)
	list, err := s.List()
	must(t, err)
	m, newest := s.Newest()
	if len(list) != 1 || list[0].ID != id || newest != id || list[0].Index != 500 || list[0].Term != 3 || list[0].ConfigurationIndex != 2 ||
		list[0].Configuration.Servers[1] != servers().Servers[1] || m.Checkpoint != checkpoint(500) {
		t.Fatalf("%+v %s %+v", list[0], newest, m)
	}
	sent := stream(t, s, id)

	files := enginetest.NewDisk()
	to := open(t, files, "there/snapshots")
	got, err := receive(to, sent, 500, 1)
	must(t, err)
	must(t, sample(2).lay(files, "there/store"))
	r := reader(t, to, got)
	must(t, Install(context.Background(), r, "there/store", nil))
	must(t, look(t, files, "there/store").same(sample(1)))
	must(t, r.Close())
	clean(t, files, "there/snapshots", got)

	to = open(t, files, "there/snapshots")
	if again := stream(t, to, got); string(again) != string(sent) {
		t.Fatal("what was received is sent on otherwise")
	}
}

// TestInstalledApart changes an installed store: what a store changes in place is its own.
func TestInstalledApart(t *testing.T) {
	files, s, id := one(t, 1)
	r := reader(t, s, id)
	must(t, Install(context.Background(), r, "store", nil))
	for _, name := range []string{"MARK", "KANTA", "db/MANIFEST-000001"} {
		f, err := files.OpenReadWrite("store/"+name, "")
		must(t, err)
		_, err = f.WriteAt([]byte("changed"), 0)
		must(t, errors.Join(err, f.Close()))
	}
	must(t, files.Remove("store/db/000011.sst"))
	must(t, look(t, files, r.Directory()).same(sample(1)))
	must(t, r.Close())
	stream(t, s, id)
	used := files.Used()
	if used > 5*PieceSize {
		t.Fatalf("%d bytes: tables are copied", used)
	}
}

// TestOneIsKept takes several snapshots, while an older one is read.
func TestOneIsKept(t *testing.T) {
	files, s, first := one(t, 1)
	r := reader(t, s, first)
	other := reader(t, s, first)
	begun := make([]byte, 100)
	_, err := io.ReadFull(r, begun)
	must(t, err)
	second, err := takeOf(s, "live", 600)
	must(t, err)
	third, err := takeOf(s, "live", 600)
	must(t, err)
	list, err := s.List()
	must(t, err)
	if len(list) != 1 || list[0].ID != third {
		t.Fatalf("%+v", list)
	}
	for _, id := range []string{first, second} {
		_, _, err = s.Open(id)
		want(t, err, query.CodeUnknownName, "no snapshot "+id)
	}
	clean(t, files, "snapshots", first, third)
	if s.Oldest() != 500 {
		t.Fatalf("oldest is %d", s.Oldest())
	}
	rest, err := io.ReadAll(r)
	must(t, err)
	if len(begun)+len(rest) < 3*PieceSize {
		t.Fatalf("%d bytes", len(rest))
	}
	must(t, errors.Join(r.Close(), r.Close()))
	clean(t, files, "snapshots", first, third)
	must(t, other.Close())
	clean(t, files, "snapshots", third)
	if s.Oldest() != 600 {
		t.Fatalf("oldest is %d", s.Oldest())
	}
	after, err := files.Crash(enginetest.PowerCut{})
	must(t, err)
	clean(t, after, "snapshots", third)
	_, err = r.Read(begun)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	older, err := takeOf(s, "live", 550) // raft may send one that is older than our own
	must(t, err)
	must(t, reader(t, s, older).Close())
	clean(t, files, "snapshots", third, older)
	if s.Oldest() != 600 {
		t.Fatalf("oldest is %d", s.Oldest())
	}
	clean(t, files, "snapshots", third)
	_, err = takeOf(s, "live", 550)
	must(t, err)
	s = open(t, files, "snapshots")
	clean(t, files, "snapshots", third)
	if id, err := takeOf(s, "live", 700); err != nil || id != "3-700-10" { // the number goes on behind the highest there was
		t.Fatal(id, err)
	}
}

// TestAdoptedTables counts what is read when a second snapshot is made: no table that the
// first one has. One that has rotted since is not given a new checksum by that.
func TestAdoptedTables(t *testing.T) {
	files, s, _ := one(t, 1)
	opened := map[string]int{}
	must(t, put(files, "live/db/000200.sst", "one more"))
	must(t, put(files, "live/MARK", "mark 2"))
	files.Before(func(op enginetest.DiskOp) error {
		if op.Kind == "open" && len(op.Path) > 9 && op.Path[:9] == "snapshots" {
			opened[files.PathBase(op.Path)]++
		}
		return nil
	})
	_, err := takeOf(s, "live", 600)
	must(t, err)
	files.Before(nil)
	for name, is := range map[string]bool{"000010.sst": false, "000011.sst": false, "000200.sst": true, "MARK": true, "KANTA": true} {
		if n := opened[name]; is != (n > 0) {
			t.Errorf("%s was read %d times", name, n)
		}
	}
	must(t, files.Flip("live/db/000011.sst", 8*PieceSize+3))
	third, err := takeOf(s, "live", 700)
	must(t, err)
	_, source, err := s.Open(third)
	must(t, err)
	_, err = io.Copy(io.Discard, source)
	want(t, err, query.CodeCorrupt, "000011.sst: it is damaged")
	must(t, source.Close())
}

func TestSinkEnds(t *testing.T) {
	files, s, id := one(t, 1)
	sent := stream(t, s, id)
	to := open(t, files, "to")
	create := func() *Sink {
		k, err := to.Create(1, 500, 3, servers(), 2, nil)
		must(t, err)
		return k.(*Sink)
	}
	k := create()
	must(t, k.Cancel())
	want(t, k.Close(), query.CodeClosed, "was given up")
	k = create()
	_, err := k.Write(sent[:len(sent)/2])
	must(t, err)
	if p := to.Progress(); len(p) != 1 || p[0].What != Receiving || p[0].Done != int64(len(sent)/2) || p[0].Total != int64(len(sent)) {
		t.Fatalf("%+v", p)
	}
	want(t, k.Close(), query.CodeCorrupt, "cut off")
	must(t, k.Cancel())
	if p := to.Progress(); len(p) != 0 {
		t.Fatalf("%+v", p)
	}
	clean(t, files, "to")
	k = create()
	_, err = k.Write(sent)
	must(t, err)
	must(t, errors.Join(k.Close(), k.Close(), k.Cancel()))
	_, err = k.Write([]byte("x"))
	want(t, err, query.CodeInvalid, "has its files")
	clean(t, files, "to", k.ID())
	want(t, create().Adopt(context.Background(), "nowhere", Checkpoint{}), query.CodeIO, "nowhere")

	_, err = to.Create(0, 500, 3, servers(), 2, nil)
	want(t, err, query.CodeInvalid, "version 0")
	to.Close()
	to.Close()
	_, err = to.Create(1, 500, 3, servers(), 2, nil)
	want(t, err, query.CodeClosed, "closed")
	_, _, err = to.Open(k.ID())
	want(t, err, query.CodeClosed, "closed")
}

// TestAnotherSnapshot sends what raft has not said.
func TestAnotherSnapshot(t *testing.T) {
	files, s, id := one(t, 1)
	sent := stream(t, s, id)
	to := open(t, files, "to")
	more := servers()
	more.Servers = append(more.Servers, raft.Server{ID: "c3", Address: "x"})
	for name, k := range map[string]Meta{
		"index":                  {Index: 501, Term: 3, Configuration: servers(), ConfigurationIndex: 2},
		"term":                   {Index: 500, Term: 4, Configuration: servers(), ConfigurationIndex: 2},
		"servers":                {Index: 500, Term: 3, Configuration: more, ConfigurationIndex: 2},
		"index of configuration": {Index: 500, Term: 3, Configuration: servers(), ConfigurationIndex: 3},
	} {
		sink, err := to.Create(1, k.Index, k.Term, k.Configuration, k.ConfigurationIndex, nil)
		must(t, err)
		_, err = sink.Write(sent)
		if err == nil {
			t.Fatalf("another %s is taken", name)
		}
		want(t, err, query.CodeCorrupt, "another snapshot than raft said")
		must(t, sink.Cancel())
	}
	clean(t, files, "to")
}

// TestNoRoom receives what there is no room for: it is refused before anything is written,
// or, where nobody can say how much room there is, when the disk is full.
func TestNoRoom(t *testing.T) {
	_, s, id := one(t, 1)
	sent := stream(t, s, id)
	files := enginetest.NewDisk()
	to := open(t, files, "to")
	files.Limit(files.Used() + 10_000)
	_, err := receive(to, sent, 500, 1)
	want(t, err, query.CodeIO, "room for 10000")
	clean(t, files, "to")
	files.Limit(0)
	_, err = receive(to, sent, 500, 1)
	must(t, err)
}

func TestHeldBy(t *testing.T) {
	for _, c := range []struct {
		raft, store, applied uint64
		held                 bool
	}{
		{500, 498, 497, false}, {500, 498, 498, true}, {500, 498, 499, true}, {500, 498, 501, true}, // 499 and 500 changed nothing
		{500, 520, 499, false}, {500, 520, 500, true}, {500, 520, 520, true}, // 501 to 520 are given again
		{500, 0, 0, true},
	} {
		m := Meta{Index: c.raft, Checkpoint: Checkpoint{Index: c.store}}
		if got := m.HeldBy(c.applied); got != c.held {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
