package kv

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/query"
)

func TestSealGolden(t *testing.T) {
	sealed := Seal([]byte("x"), []byte("ann"))[1:]
	if got := hex.EncodeToString(sealed); got != "01616e6e0593bbaf" {
		t.Fatalf("sealed %s", got)
	}
	b, err := Unseal(sealed)
	if err != nil || string(b) != "ann" {
		t.Fatalf("%q %v", b, err)
	}
}

func reseal(b []byte) []byte {
	body := b[:len(b)-4]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, castagnoli))
}

func TestUnsealDamaged(t *testing.T) {
	good := Seal(nil, []byte("payload"))
	newer := bytes.Clone(good)
	newer[0]++
	if _, err := Unseal(reseal(newer)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Unseal(bad); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add(Seal(nil, []byte("payload")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Unseal(b); err == nil && !bytes.Equal(Seal(nil, p), b) {
			t.Fatalf("%x is accepted and comes out as %x", b, Seal(nil, p))
		}
		if p, err := Unseal(Seal(nil, b)); err != nil || !bytes.Equal(p, b) {
			t.Fatal(p, err)
		}
	})
}

func config(fs vfs.FS) Config { return Config{FS: fs, Cache: 1 << 20, MemTable: 1 << 20} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestIdentity pins the KANTA file: it is a format.
func TestIdentity(t *testing.T) {
	files := vfs.NewMem()
	s, err := Open("store", config(files))
	must(t, err)
	f, err := files.Open("store/KANTA")
	must(t, err)
	text, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close(), s.Close()))
	if want := "kanta store\nformat 1\nid " + s.ID + "\n"; string(text) != want || len(s.ID) != 32 {
		t.Fatalf("%q", text)
	}
}

// TestTables ingests a table, gives one up, and finds left-overs gone after opening again.
func TestTables(t *testing.T) {
	files := vfs.NewMem()
	s, err := Open("store", config(files))
	must(t, err)
	table, err := s.NewTable()
	must(t, err)
	must(t, table.Set([]byte("a"), []byte("1")))
	must(t, table.Set([]byte("b"), []byte("2")))
	must(t, table.Ingest(t.Context()))
	given, err := s.NewTable()
	must(t, err)
	must(t, given.Set([]byte("c"), []byte("3")))
	must(t, given.Discard())
	b := s.NewBatch()
	b.Set([]byte("d"), []byte("4"))
	must(t, b.Commit(true))
	must(t, b.Close())
	must(t, s.Close())
	f, err := files.Create("store/db/ingest-7.sst", vfs.WriteCategoryUnspecified)
	must(t, err)
	must(t, f.Close())
	s, err = Open("store", config(files))
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if _, err := files.Stat("store/db/ingest-7.sst"); err == nil {
		t.Error("a left-over table is still there")
	}
	got := ""
	must(t, s.Scan(t.Context(), keys.Span{Start: []byte("a"), End: []byte("z")}, func(k, v []byte) (bool, error) {
		got += string(k) + string(v)
		return true, nil
	}))
	if got != "a1b2d4" {
		t.Fatalf("the store has %s", got)
	}
	must(t, s.Excise(keys.Span{Start: []byte("a"), End: []byte("c")}))
	if v, err := s.Get([]byte("a")); v != nil || err != nil {
		t.Fatalf("a deleted value is there: %q %v", v, err)
	}
}

// fullDisk is a file system on which nothing can be written once it is full.
type fullDisk struct {
	vfs.FS
	full bool
}

func (f *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.full {
		return nil, syscall.ENOSPC
	}
	file, err := f.FS.Create(name, c)
	return &fullFile{file, f}, err
}

type fullFile struct {
	vfs.File
	fs *fullDisk
}

func (f *fullFile) Write(p []byte) (int, error) {
	if f.fs.full {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// TestGivesUp fills the disk: commits and everything after them fail with the cause,
// reading goes on, and closing ends.
func TestGivesUp(t *testing.T) {
	disk := &fullDisk{FS: vfs.NewMem()}
	s, err := Open("store", config(disk))
	must(t, err)
	commit := func() error {
		b := s.NewBatch()
		b.Set([]byte("k"), bytes.Repeat([]byte("v"), 1000))
		return errors.Join(b.Commit(true), b.Close())
	}
	must(t, commit())
	disk.full = true
	for range 3 {
		if err := commit(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Fatalf("commit: %v", err)
		}
	}
	if v, err := s.Get([]byte("k")); len(v) != 1000 || err != nil {
		t.Fatalf("read %d bytes, %v", len(v), err)
	}
	for _, err := range []error{s.SyncLog(), s.Reclaim(t.Context()), s.Close()} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v", err)
		}
	}
}

// TestDisk compares the size of a store with what the files of its directory have.
func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, config(vfs.Default))
	must(t, err)
	for i := range byte(3) {
		table, err := s.NewTable()
		must(t, err)
		must(t, table.Set([]byte{'a' + i}, noise(i)))
		must(t, table.Ingest(t.Context()))
	}
	b := s.NewBatch()
	b.Set([]byte("x"), []byte("y"))
	must(t, errors.Join(b.Commit(true), b.Close()))
	for { // until Pebble has deleted what it does in the background
		all, log := sizes(t, filepath.Join(dir, "db"))
		a, l, err := s.Disk()
		must(t, err)
		if again, _ := sizes(t, filepath.Join(dir, "db")); again != all {
			continue
		}
		if a != all || l != log || l == 0 || a < 300_000 {
			t.Errorf("%d bytes, %d of the log; the files have %d and %d", a, l, all, log)
		}
		break
	}
	must(t, s.Close())
}

// noise is what does not compress.
func noise(seed byte) []byte {
	out := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(out) // never fails
	return out
}

// sizes returns the bytes of a directory's files, and of those of the log.
func sizes(t *testing.T, dir string) (all, log int64) {
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		if all += info.Size(); filepath.Ext(f.Name()) == ".log" {
			log += info.Size()
		}
	}
	return all, log
}
