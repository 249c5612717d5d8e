package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err error, code query.Code, text string) {
	t.Helper()
	if !errors.Is(err, &query.Error{Code: code}) || !strings.Contains(err.Error(), text) {
		t.Fatalf("%v, want code %d and %q", err, code, text)
	}
}

// tree is the files of a directory, by name.
type tree map[string]string

// sample is a directory like that of a store: its tables are of several pieces, of just one,
// and of none.
func sample(seed uint64) tree { return sampleOf(seed, PieceSize) }

// small is as sample, with tables of some bytes.
func small(seed uint64) tree { return sampleOf(seed, 300) }

func sampleOf(seed uint64, piece int) tree {
	r := rand.New(rand.NewPCG(seed, 7))
	return tree{"KANTA": "kanta store\n", "MARK": fmt.Sprint("mark ", seed), "db/MANIFEST-000001": fmt.Sprint("list ", seed), "db/000009.sst": "",
		"db/000010.sst": random(r, piece), "db/000011.sst": random(r, 2*piece+17), fmt.Sprintf("db/%06d.sst", 100+seed): random(r, 1000)}
}

func random(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func put(files vfs.FS, name, text string) error {
	if err := files.MkdirAll(files.PathDir(name), 0o755); err != nil {
		return err
	}
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Sync(), f.Close(), syncDir(files, files.PathDir(name)))
}

// lay makes a directory with files, durably. What is there is left.
func (x tree) lay(files vfs.FS, dir string) error {
	for name, text := range x {
		if err := put(files, path(files, dir, name), text); err != nil {
			return err
		}
	}
	return syncDir(files, dir)
}

func get(files vfs.FS, name string) (string, error) {
	f, err := files.Open(name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(f)
	return string(b), errors.Join(err, f.Close())
}

// look returns the files of a directory, nil if it is not there.
func look(t testing.TB, files vfs.FS, dir string) tree {
	t.Helper()
	all, err := walk(files, dir)
	if isNotExist(err) {
		return nil
	}
	must(t, err)
	out := tree{}
	for _, f := range all {
		out[f.Name], err = get(files, path(files, dir, f.Name))
		must(t, err)
	}
	return out
}

func (x tree) same(o tree) error {
	if (x == nil) != (o == nil) {
		return fmt.Errorf("%d files (there: %v), want %d (there: %v)", len(x), x != nil, len(o), o != nil)
	}
	for name, text := range o {
		if got, ok := x[name]; !ok || got != text {
			return fmt.Errorf("%s has %d bytes (there: %v), want %d, or others", name, len(got), ok, len(text))
		}
	}
	if len(x) != len(o) {
		return fmt.Errorf("%d files, want %d", len(x), len(o))
	}
	return nil
}

func servers() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "a1", Address: "10.0.0.1:7701"}, {Suffrage: raft.Nonvoter, ID: "b2", Address: "10.0.0.2:7701"}}}
}

func checkpoint(index uint64) Checkpoint {
	return Checkpoint{Index: index - 2, Term: 3, Position: query.Position{Epoch: 1, Applied: index - 200}, Chain: [16]byte{byte(index)}}
}

// take makes a snapshot of a directory at an index of the log, by way of a scratch directory
// in which tables are links to those of dir.
func takeOf(s *Store, dir string, index uint64) (id string, err error) {
	sink, err := s.Create(1, index, 3, servers(), 2, nil)
	if err != nil {
		return "", err
	}
	scratch := s.Scratch()
	if err := link(s.fs, dir, scratch); err != nil {
		return "", errors.Join(about(err, "checkpoint"), sink.Cancel(), s.Discard(scratch))
	}
	if err := sink.(*Sink).Adopt(context.Background(), scratch, checkpoint(index)); err != nil {
		return "", errors.Join(err, sink.Cancel(), s.Discard(scratch))
	}
	if err := sink.Close(); err != nil {
		return "", errors.Join(err, s.Discard(scratch))
	}
	return sink.ID(), nil
}

// link makes a checkpoint of a directory, as the engine does.
func link(files vfs.FS, from, to string) error {
	all, err := walk(files, from)
	if err != nil {
		return err
	}
	if err := makeDirs(files, to, all); err != nil {
		return err
	}
	for _, f := range all {
		if sealed(f.Name) {
			if err := files.Link(path(files, from, f.Name), path(files, to, f.Name)); err != nil {
				return err
			}
			continue
		}
		text, err := get(files, path(files, from, f.Name))
		if err := errors.Join(err, put(files, path(files, to, f.Name), text)); err != nil {
			return err
		}
	}
	return syncDirs(files, to, all)
}

func open(t testing.TB, files vfs.FS, dir string) *Store {
	t.Helper()
	s, err := Open(dir, &Options{FS: files, Failed: func(err error) { t.Error(err) }})
	must(t, err)
	return s
}

func reader(t testing.TB, s *Store, id string) *Reader {
	t.Helper()
	_, source, err := s.Open(id)
	must(t, err)
	r, ok := Of(source)
	if !ok {
		t.Fatal("no reader")
	}
	return r
}

func stream(t testing.TB, s *Store, id string) []byte {
	t.Helper()
	meta, source, err := s.Open(id)
	must(t, err)
	b, err := io.ReadAll(source)
	must(t, errors.Join(err, source.Close()))
	if int64(len(b)) != meta.Size {
		t.Fatalf("a stream of %d bytes, raft was told %d", len(b), meta.Size)
	}
	return b
}

// receive has a store take a stream, in parts of random lengths.
func receive(s *Store, stream []byte, index uint64, seed uint64) (id string, err error) {
	k, err := s.Create(1, index, 3, servers(), 2, nil)
	if err != nil {
		return "", err
	}
	r := rand.New(rand.NewPCG(seed, 9))
	for in := bytes.NewReader(stream); in.Len() > 0 && err == nil; {
		_, err = io.CopyN(k, in, min(int64(1+r.IntN(100_000)), int64(in.Len())))
	}
	if err != nil {
		return "", errors.Join(err, k.Cancel())
	}
	return k.ID(), k.Close()
}

// one makes a file system with a snapshot of sample(seed) in it, of a directory live.
func one(t testing.TB, seed uint64) (files *enginetest.Disk, s *Store, id string) {
	t.Helper()
	files = enginetest.NewDisk()
	must(t, sample(seed).lay(files, "live"))
	s = open(t, files, "snapshots")
	id, err := takeOf(s, "live", 500)
	must(t, err)
	return files, s, id
}

// clean returns an error if there is something in the directory of snapshots but these.
func clean(t testing.TB, files vfs.FS, dir string, ids ...string) {
	t.Helper()
	names, err := files.List(dir)
	must(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return n == tmpDir })
	slices.Sort(names)
	slices.Sort(ids)
	if !slices.Equal(names, ids) {
		t.Fatalf("%s has %v, want %v", dir, names, ids)
	}
	if left := look(t, files, files.PathJoin(dir, tmpDir)); len(left) > 0 {
		t.Fatalf("%s has %d unfinished files", dir, len(left))
	}
}
