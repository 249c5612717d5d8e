package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// documented returns the lines of the package comment between two texts, without their indent.
func documented(t testing.TB, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	must(t, err)
	_, rest, ok := strings.Cut(string(text), from)
	rest, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("the package comment has no %q and %q", from, to)
	}
	var out strings.Builder
	for line := range strings.Lines(rest) {
		if l, ok := strings.CutPrefix(line, "//\t"); ok {
			out.WriteString(l)
		}
	}
	return out.String()
}

// example is the manifest of the package comment.
func example() *Manifest {
	m := &Manifest{StoreFormat: 1}
	m.Name, m.Store = "20261122T194805.000Z-1.500", "00112233445566778899aabbccddeeff"
	m.Root, m.Position = m.Store, query.Position{Epoch: 1, Applied: 500}
	for i := range m.Chain {
		m.Chain[i], m.Content[i] = byte(i+1), byte(i+16)
	}
	m.Received = time.Date(2026, 11, 22, 19, 48, 2, 123_000_000, time.UTC)
	m.Created = time.Date(2026, 11, 22, 19, 48, 5, 0, time.UTC)
	m.Entries = []File{{Name: "000012.sst", Size: 3, Pieces: []Hash{sha256.Sum256([]byte("ann"))}}, {Name: "marker.manifest.000001.MANIFEST-000004"}}
	m.Files, m.Bytes = 2, 3
	return m
}

func TestManifestGolden(t *testing.T) {
	want := documented(t, "digits of numbers without leading zeros, times in UTC:\n", "// Position, chain hash")
	if got := string(example().Append(nil)); got != want {
		t.Fatalf("written\n%s\nthe package comment has\n%s", got, want)
	}
	m, err := ParseManifest("20261122T194805.000Z-1.500", []byte(want))
	must(t, err)
	if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", example()) {
		t.Fatalf("read %+v", m)
	}
}

func TestObjectGolden(t *testing.T) {
	var want []byte
	for _, field := range strings.Fields(documented(t, "An example, of the piece \"ann\":\n", "# Manifest")) {
		if b, err := hex.DecodeString(field); err == nil && len(field) == 2 {
			want = append(want, b...)
		}
	}
	c, err := newCodec()
	must(t, err)
	defer c.close()
	if got := c.encode([]byte("ann")); !bytes.Equal(got, want) {
		t.Fatalf("written\n%x\nthe package comment has\n%x", got, want)
	}
	piece, err := c.decode(sha256.Sum256([]byte("ann")), 3, want)
	if err != nil || string(piece) != "ann" {
		t.Fatalf("%q %v", piece, err)
	}
	// 300 times "a" as zstd has made it: this is read for ever, whatever later versions write.
	packed, err := hex.DecodeString("4b4e544f01012c01000028b52ffd40002c0063090061")
	must(t, err)
	long := bytes.Repeat([]byte("a"), 300)
	if piece, err = c.decode(sha256.Sum256(long), 300, packed); err != nil || !bytes.Equal(piece, long) {
		t.Fatalf("%q %v", piece, err)
	}
}

// TestObjects writes and reads pieces of all sizes, and damages them bit by bit.
func TestObjects(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	c, err := newCodec()
	must(t, err)
	defer c.close()
	for _, size := range []int{0, 1, 100, 4095, 1 << 16, PieceSize - 1, PieceSize} {
		for _, random := range []bool{false, true} {
			piece := make([]byte, size)
			if random {
				for i := range piece {
					piece[i] = byte(r.Uint32())
				}
			}
			h := Hash(sha256.Sum256(piece))
			object := bytes.Clone(c.encode(piece))
			if len(object) > maxObject {
				t.Fatalf("a piece of %d bytes becomes %d", size, len(object))
			}
			got, err := c.decode(h, size, object)
			if err != nil || !bytes.Equal(got, piece) {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if size > 1<<16 {
				continue
			}
			for range 200 {
				bit := r.IntN(8 * len(object))
				bad := bytes.Clone(object)
				bad[bit/8] ^= 1 << (bit % 8)
				got, err := c.decode(h, size, bad)
				if err == nil && !bytes.Equal(got, piece) {
					t.Fatalf("%d bytes: bit %d flipped is not seen", size, bit)
				}
			}
		}
	}
	newer := append([]byte(objectMagic), 2, 0, 0, 0, 0, 0)
	if _, err := c.decode(sha256.Sum256(nil), 0, newer); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Fatalf("version 2: %v", err)
	}
}

// TestManifestDamaged flips every bit, and cuts at every byte.
func TestManifestDamaged(t *testing.T) {
	good, name := example().Append(nil), example().Name
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ParseManifest(name, bad); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) && !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for i := range good {
		if _, err := ParseManifest(name, good[:i]); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	newer := bytes.Replace(good, []byte("format 1"), []byte("format 2"), 1)
	if _, err := ParseManifest(name, newer); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Fatalf("format 2: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(example().Append(nil))
	f.Add([]byte("kanta backup\nformat 1\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if i := bytes.LastIndex(body, []byte("sha256 ")); i >= 0 { // its checksum is made right, or nothing gets past it
			body = fmt.Appendf(bytes.Clone(body[:i]), "sha256 %x\n", sha256.Sum256(body[:i]))
		}
		m, err := ParseManifest(example().Name, body)
		if err != nil {
			return
		}
		total := int64(0)
		for _, e := range m.Entries {
			if !ValidFile(e.Name) || strings.ContainsAny(e.Name, `/\:`) || pieces(e.Size) != int64(len(e.Pieces)) {
				t.Fatalf("%+v is accepted", e)
			}
			total += e.Size
		}
		if total != m.Bytes || !bytes.Equal(m.Append(nil), body) {
			t.Fatalf("%d bytes, and it says %d", total, m.Bytes)
		}
	})
}

func FuzzObject(f *testing.F) {
	c, err := newCodec()
	must(f, err)
	f.Add(bytes.Clone(c.encode([]byte("ann"))), 3)
	f.Add(bytes.Clone(c.encode(make([]byte, 300))), 300)
	f.Fuzz(func(t *testing.T, object []byte, size int) {
		size &= PieceSize - 1
		if len(object) > 9 {
			object = bytes.Clone(object)
			object[6], object[7], object[8], object[9] = byte(size), byte(size>>8), byte(size>>16), 0
		}
		c, err := newCodec()
		must(t, err)
		defer c.close()
		if piece, err := c.decode(Hash{}, size, object); err == nil {
			t.Fatalf("%d bytes have the checksum 0", len(piece))
		}
	})
}

// TestLargeFiles sends files of several pieces and fetches them, sends them again when a
// piece has changed, and compares.
func TestLargeFiles(t *testing.T) {
	ctx, files := t.Context(), vfs.NewMem()
	dir, err := OpenDir(filepath.Join(t.TempDir(), "target"))
	must(t, err)
	defer func() { must(t, dir.Close()) }()
	r := rand.New(rand.NewPCG(6, 1))
	content := map[string][]byte{}
	for i, size := range []int{0, 1, PieceSize, PieceSize + 1, 3*PieceSize + 12345} {
		b := make([]byte, size)
		for k := 0; k < size; k += 1 + r.IntN(500) {
			b[k] = byte(r.Uint32())
		}
		content[fmt.Sprintf("MANIFEST-%06d", i)] = b
	}
	target, err := OpenFor(ctx, dir, strings.Repeat("ab", 16))
	must(t, err)
	head := example().Backup
	var last query.BackupReport
	for round := range 3 {
		if round == 1 {
			content["MANIFEST-000004"][PieceSize+5]++
		}
		must(t, files.MkdirAll("db", 0o755))
		for name, b := range content {
			f, err := files.Create("db/"+name, vfs.WriteCategoryUnspecified)
			must(t, err)
			_, err = f.Write(bytes.Clone(b))
			must(t, errors.Join(err, f.Close()))
		}
		head.Created = head.Created.Add(time.Second)
		seen := int64(0)
		last, err = target.Send(ctx, head, 1, &Source{FS: files, Dir: "db", Progress: func(done, total int64, _ string) {
			if done < seen || done > total {
				t.Errorf("%d of %d bytes after %d", done, total, seen)
			}
			seen = done
		}})
		must(t, err)
		if want := []int{8, 1, 0}[round]; last.SentObjects != want || seen != last.Bytes {
			t.Fatalf("round %d: %+v, progress up to %d", round, last, seen)
		}
	}
	m, err := target.Manifest(ctx, last.Name)
	must(t, err)
	must(t, files.MkdirAll("again", 0o755))
	_, err = target.Fetch(ctx, m, files, "again", nil)
	must(t, err)
	for name, want := range content {
		f, err := files.Open("again/" + name)
		must(t, err)
		got := make([]byte, len(want)+1)
		n, _ := f.ReadAt(got, 0)
		if !bytes.Equal(got[:n], want) {
			t.Errorf("%s comes back with %d bytes, want %d", name, n, len(want))
		}
		must(t, f.Close())
	}
}

// TestKept holds the choice of what stays against a slow one.
func TestKept(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	start := example().Created
	for range 500 {
		var all []query.Backup
		for i := range r.IntN(8) {
			all = append(all, query.Backup{Name: fmt.Sprint(i), Store: fmt.Sprint(r.IntN(2)), Created: start.Add(time.Duration(i) * time.Hour)})
		}
		o := &query.PruneOptions{KeepLast: r.IntN(3)}
		if r.IntN(2) == 0 {
			o.KeepSince = start.Add(time.Duration(r.IntN(8)) * time.Hour)
		}
		got := kept(all, o)
		for i, b := range all {
			later := 0
			for _, c := range all[i+1:] {
				if c.Store == b.Store {
					later++
				}
			}
			want := i == len(all)-1 || later < o.KeepLast || !o.KeepSince.IsZero() && !b.Created.Before(o.KeepSince)
			if got[b.Name] != want {
				t.Fatalf("%+v of %+v: %s is kept: %v", o, all, b.Name, got[b.Name])
			}
		}
	}
}

// TestMarks has somebody prune while a backup takes longer than a day: the backup ends with
// an error instead of naming what may be gone.
func TestMarks(t *testing.T) {
	ctx := context.Background()
	dir, err := OpenDir(filepath.Join(t.TempDir(), "target"))
	must(t, err)
	defer func() { must(t, dir.Close()) }()
	target, err := OpenFor(ctx, dir, strings.Repeat("ab", 16))
	must(t, err)
	files := vfs.NewMem()
	must(t, files.MkdirAll("db", 0o755))
	f, err := files.Create("db/MANIFEST-000001", vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte("x"))
	must(t, errors.Join(err, f.Close()))
	head := example().Backup
	prune := func(later time.Duration) error {
		_, err := target.Prune(ctx, &query.PruneOptions{KeepLast: 1}, head.Created.Add(later))
		return err
	}
	_, err = target.Send(ctx, head, 1, &Source{FS: files, Dir: "db", Progress: func(int64, int64, string) {
		if err := prune(markAge); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
			t.Errorf("after a day: %v", err)
		}
		must(t, prune(markAge+time.Second))
	}})
	if !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Fatalf("a backup of more than a day, with pruning: %v", err)
	}
	if names, err := target.Names(ctx); err != nil || len(names) != 0 {
		t.Fatalf("%q %v", names, err)
	}
}
