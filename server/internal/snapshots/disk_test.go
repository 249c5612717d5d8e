package snapshots

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// TestOnDisk does on the machine's file system what the other tests do in memory: tables are
// links, what a store changes is not, and a table's checksum is not computed twice.
func TestOnDisk(t *testing.T) {
	home := t.TempDir()
	at := func(name ...string) string { return filepath.Join(append([]string{home}, name...)...) }
	must(t, sample(1).lay(vfs.Default, at("live")))
	s, err := Open(at("snapshots"), nil)
	must(t, err)
	first, err := takeOf(s, at("live"), 500)
	must(t, err)
	before, _ := s.Newest()
	sums := map[string][32]byte{}
	for i := range before.Files { // so that what is computed anew is told from what is taken over
		f := &before.Files[i]
		sums[f.Name] = f.Sum
		f.Sum[0] ^= 1
	}
	second, err := takeOf(s, at("live"), 600)
	must(t, err)
	after, _ := s.Newest()
	for i, f := range after.Files {
		if over := f.Sum == before.Files[i].Sum; over != sealed(f.Name) || !over && f.Sum != sums[f.Name] {
			t.Errorf("%s: its checksum is taken over: %v", f.Name, over)
		}
	}
	if _, err := os.Stat(at("snapshots", first)); !os.IsNotExist(err) {
		t.Fatal("the first one is there", err)
	}

	s, err = Open(at("snapshots"), nil)
	must(t, err)
	want(t, readAll(t, s, second), query.CodeCorrupt, "damaged") // its checksums are wrong since
	third, err := takeOf(s, at("live"), 700)
	must(t, err)
	want(t, readAll(t, s, third), query.CodeCorrupt, "damaged")
	must(t, os.RemoveAll(at("snapshots")))
	s, err = Open(at("snapshots"), nil)
	must(t, err)
	id, err := takeOf(s, at("live"), 500)
	must(t, err)
	sent := stream(t, s, id)
	to, err := Open(at("to"), nil)
	must(t, err)
	got, err := receive(to, sent, 500, 3)
	must(t, err)
	must(t, sample(2).lay(vfs.Default, at("store")))
	r := reader(t, to, got)
	must(t, Install(context.Background(), r, at("store"), nil))
	must(t, look(t, vfs.Default, at("store")).same(sample(1)))
	for name := range sample(1) {
		a, err := os.Stat(at("store", name))
		must(t, err)
		b, err := os.Stat(filepath.Join(r.Directory(), name))
		must(t, err)
		if os.SameFile(a, b) != sealed(name) {
			t.Errorf("%s is a link: %v", name, os.SameFile(a, b))
		}
	}
	must(t, r.Close())
	if !bytes.Equal(stream(t, to, got), sent) {
		t.Fatal("it is sent on otherwise")
	}
	names, err := os.ReadDir(home)
	must(t, err)
	if len(names) != 4 {
		t.Fatalf("%v are left", names)
	}
}

// readAll reads a snapshot and returns what came of it.
func readAll(t *testing.T, s *Store, id string) error {
	_, source, err := s.Open(id)
	must(t, err)
	_, err = io.Copy(io.Discard, source)
	must(t, source.Close())
	return err
}
