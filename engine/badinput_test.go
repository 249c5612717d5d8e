package engine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestDiskFull lets the disk be full from some operation on, for many operations: writes
// fail with a message that tells what to do, questions are answered, closing ends, and
// after opening again everything acknowledged is there.
func TestDiskFull(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	s := newScript(t, r, 30)
	o := engine.Options{Clock: fixedClock}
	engine.LowerLimits(&o, 15, 120, 20)
	failures := 0
	for at := 120; at < 1200; at += engine.Rounds(45, 180) {
		if s.playOnFullDisk(t, o, at) {
			failures++
		}
	}
	if failures < engine.Rounds(10, 2) {
		t.Fatalf("the disk was full %d times only", failures)
	}
}

func (s *script) playOnFullDisk(t *testing.T, o engine.Options, at int) (failed bool) {
	t.Helper()
	files := faultfs.New()
	o.FS = files
	var mu sync.Mutex
	ops := 0
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if ops++; ops >= at && op.Kind != faultfs.Remove && op.Kind != faultfs.Rename {
			return syscall.ENOSPC
		}
		return nil
	})
	db, err := engine.Open("store", &o)
	if err != nil {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("full at %d: %v", at, err)
		}
		return true
	}
	acked := 0
	for i, b := range s.batches {
		if _, err = db.Apply(t.Context(), b); err != nil {
			break
		}
		acked++
		if i%13 == 12 {
			err = db.Compact(t.Context())
			if err != nil {
				break
			}
		}
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full at %d: %v", at, err)
	}
	p := &pair{t: t, r: rand.New(rand.NewPCG(uint64(at), 2)), db: db, w: s.worlds[acked], keys: 60}
	p.ask(db, p.w)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case <-closed: // with an error or without
	case <-time.After(20 * time.Second):
		t.Fatalf("full at %d: closing does not end", at)
	}
	o.FS = crash(t, files, 100, 1)
	again, err := engine.Open("store", &o)
	if err != nil {
		t.Fatalf("full at %d: %v", at, err)
	}
	st, err := again.Stats(t.Context())
	must(t, err)
	if n := int(st.Position.Applied); n < acked || n > acked+1 {
		t.Fatalf("full at %d: %d batches of %d acknowledged", at, n, acked)
	}
	p.db, p.w = again, s.worlds[st.Position.Applied]
	p.checkEverything()
	must(t, again.Close())
	return true
}

// wantError checks the code of an error and that it says what, and what to do.
func wantError(t *testing.T, err error, code query.Code, words ...string) {
	t.Helper()
	var e *query.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want code %d", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
}

// storeOnDisk makes a store with people in base and head, and closes it.
func storeOnDisk(t *testing.T, files vfs.FS) (s *script, o engine.Options) {
	t.Helper()
	s = newScript(t, rand.New(rand.NewPCG(5, 5)), 40)
	o = engine.Options{FS: files, Clock: fixedClock}
	engine.LowerLimits(&o, 30, 300, 20)
	db, err := engine.Open("store", &o)
	must(t, err)
	for i, b := range s.batches {
		_, err := db.Apply(t.Context(), b)
		must(t, err)
		if i == 30 {
			must(t, db.Compact(t.Context()))
		}
	}
	must(t, db.Close())
	return s, o
}

func writeText(t *testing.T, files vfs.FS, name, text string) {
	t.Helper()
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, errors.Join(err, f.Close()))
}

func TestNotAStore(t *testing.T) {
	files := vfs.NewMem()
	must(t, files.MkdirAll("photos", 0o755))
	writeText(t, files, "photos/cat.jpg", "meow")
	_, err := engine.Open("photos", &engine.Options{FS: files})
	wantError(t, err, query.CodeNotAStore, "photos", "KANTA", "directory")
	_, err = engine.Open("missing", &engine.Options{FS: files, MustExist: true})
	wantError(t, err, query.CodeNotAStore, "missing")
	_, err = engine.Open("missing", &engine.Options{FS: files, ReadOnly: true})
	wantError(t, err, query.CodeNotAStore, "missing")
	for _, f := range []vfs.FS{vfs.Default, files} {
		name := "photos/cat.jpg"
		if f == vfs.Default {
			name = filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(name, []byte("x"), 0o600))
		}
		_, err = engine.Open(name, &engine.Options{FS: f})
		wantError(t, err, query.CodeNotAStore, name, "file")
	}
}

func TestIdentityFile(t *testing.T) {
	files := vfs.NewMem()
	_, o := storeOnDisk(t, files)
	id := "id 00112233445566778899aabbccddeeff\n"
	for _, c := range []struct {
		text string
		code query.Code
	}{
		{"kanta store\nformat 2\n" + id, query.CodeNewerFormat},
		{"kanta store\nformat 99\nsomething else\n", query.CodeNewerFormat},
		{"kanta store\nformat 0\n" + id, query.CodeCorrupt},
		{"kanta store\nformat one\n" + id, query.CodeCorrupt},
		{"kanta store\nformat 1\nid 12\n", query.CodeCorrupt},
		{"kanta store\n", query.CodeCorrupt},
		{"", query.CodeCorrupt},
		{"other store\nformat 1\n" + id, query.CodeCorrupt},
		{"kanta store\nformat 1\n" + id, query.CodeCorrupt}, // MARK is of another one
		{"", query.CodeNotAStore},
		{"other store\nformat 1\n" + id, query.CodeNotAStore},
	} {
		if c.code == query.CodeNotAStore {
			must(t, files.RemoveAll("store/MARK")) // but for its name nothing is ours
		}
		writeText(t, files, "store/KANTA", c.text)
		_, err := engine.Open("store", &o)
		wantError(t, err, c.code, "store")
	}
}

func TestInUse(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		_, err := engine.Open(dir, nil)
		fmt.Println("child:", err)
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	db, err := engine.Open(dir, nil)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	_, err = engine.Open(dir, nil)
	wantError(t, err, query.CodeInUse, dir, "close it")
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestInUse$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.Output()
	must(t, err)
	if !strings.Contains(string(out), "is in use by another process") {
		t.Fatalf("another process: %s", out)
	}
}

// TestReadOnlyDirectory has a directory that may not be written.
func TestReadOnlyDirectory(t *testing.T) {
	files := faultfs.New()
	_, o := storeOnDisk(t, files)
	for _, why := range []error{syscall.EROFS, syscall.EACCES} {
		beforeChanges(files, func(faultfs.Op) error { return why })
		_, err := engine.Open("store", &o)
		wantError(t, err, query.CodeFailed, "store", "may not be written", "permissions")
		_, err = engine.Open("new", &o)
		if !errors.Is(err, why) || !strings.Contains(err.Error(), "new") {
			t.Fatalf("%v", err)
		}
	}
}

func TestMissingPieces(t *testing.T) {
	for _, gone := range []string{"db", "db/MANIFEST-", "db/CURRENT", "db/marker.manifest"} {
		files := vfs.NewMem()
		_, o := storeOnDisk(t, files)
		names := []string{"db"}
		if gone != "db" {
			var err error
			names, err = files.List("store/db")
			must(t, err)
			for i := range names {
				names[i] = "db/" + names[i]
			}
		}
		removed := 0
		for _, n := range names {
			if strings.HasPrefix(n, gone) {
				must(t, files.RemoveAll("store/"+n))
				removed++
			}
		}
		if _, err := engine.Open("store", &o); removed > 0 {
			wantError(t, err, query.CodeCorrupt, "store")
		}
	}
}

// TestDamagedValues changes one byte of every stored value in turn, behind the back of
// the key-value store's own checksums: opening or asking must say what is damaged and
// where, or answer rightly, never wrongly.
func TestDamagedValues(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it runs in make test; the race detector makes it ten times slower and finds nothing in it")
	}
	t.Parallel()
	files := vfs.NewCrashableMem()
	s, o := storeOnDisk(t, files)
	r := rand.New(rand.NewPCG(9, 9))
	noticed := map[byte]int{}
	for _, key := range sampleKeys(t, files, 6) {
		o.FS = files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
		damage(t, o.FS, key, func(v []byte) []byte {
			v[r.IntN(len(v))] ^= 1 << r.IntN(8)
			return v
		})
		if askDamaged(t, o, s, key, query.CodeCorrupt, query.CodeNewerFormat) {
			noticed[key[0]]++
		}
	}
	for _, prefix := range []byte{0x01, 0x03, 0x04, 0x06, 0x08, 0x09, 0x10, 0x11} {
		if noticed[prefix] == 0 {
			t.Errorf("no damage of a value with prefix %#x was noticed: %v", prefix, noticed)
		}
	}
}

// TestNewerValues raises the version of sealed values.
func TestNewerValues(t *testing.T) {
	files := vfs.NewCrashableMem()
	s, o := storeOnDisk(t, files)
	r := rand.New(rand.NewPCG(9, 9))
	for _, key := range sampleKeys(t, files, 1) {
		sealed := key[0] < 0x05 || key[0] == 0x08 || key[0] == 0x09 || key[0] == 0x10 && key[17] == 0
		if !sealed {
			continue
		}
		o.FS = files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
		damage(t, o.FS, key, func(v []byte) []byte {
			v[0] = 2
			body := v[:len(v)-4]
			return binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		})
		if !askDamaged(t, o, s, key, query.CodeNewerFormat) {
			t.Errorf("nobody noticed a newer value of the key %x", key)
		}
	}
}

// TestDamagedFiles flips bits in the key-value store's tables.
func TestDamagedFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it runs in make test; the race detector makes it ten times slower and finds nothing in it")
	}
	t.Parallel()
	files := vfs.NewCrashableMem()
	s, o := storeOnDisk(t, files)
	names, err := files.List("store/db")
	must(t, err)
	r := rand.New(rand.NewPCG(4, 4))
	noticed := 0
	for _, n := range names {
		if !strings.HasSuffix(n, ".sst") {
			continue
		}
		for range 2 {
			c := files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
			flip(t, c, "store/db/"+n, r)
			o.FS = c
			if askDamaged(t, o, s, []byte{0}, query.CodeCorrupt) {
				noticed++
			}
		}
	}
	if noticed < 5 {
		t.Errorf("only %d damages were noticed", noticed)
	}
}

func flip(t *testing.T, files vfs.FS, name string, r *rand.Rand) {
	t.Helper()
	f, err := files.Open(name)
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	writeText(t, files, name, string(b))
}

// sampleKeys returns up to n keys of each kind of value that there is.
func sampleKeys(t *testing.T, files *vfs.MemFS, n int) (out [][]byte) {
	t.Helper()
	store, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	seen := map[string]int{}
	must(t, store.Scan(t.Context(), keys.Span{Start: []byte{0}, End: []byte{0xff}}, func(k, _ []byte) (bool, error) {
		kind := string(k[:1])
		if k[0] == 0x10 {
			kind += string(k[17:18]) + string(k[1:5])
		}
		if seen[kind]++; seen[kind] <= n || k[0] == 0x11 && seen[kind]%40 == 0 {
			out = append(out, slices.Clone(k))
		}
		return true, nil
	}))
	must(t, store.Close())
	return out
}

func damage(t *testing.T, files vfs.FS, key []byte, change func(v []byte) []byte) {
	t.Helper()
	store, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	v, err := store.Get(key)
	must(t, err)
	b := store.NewBatch()
	b.Set(key, change(v))
	must(t, b.Commit(true))
	must(t, b.Close())
	must(t, store.Close())
}

// askDamaged opens a store and asks much; whatever is answered must be right. It reports
// whether something was noticed.
func askDamaged(t *testing.T, o engine.Options, s *script, key []byte, codes ...query.Code) (noticed bool) {
	t.Helper()
	bad := func(err error) bool {
		var e *query.Error
		if err == nil {
			return false
		}
		if !errors.As(err, &e) || !slices.Contains(codes, e.Code) {
			t.Fatalf("damage at %x: %v, want a code of %v", key, err, codes)
		}
		if key[0] == 0x10 && !strings.Contains(err.Error(), "attribute") {
			t.Errorf("damage at %x: %q names no attribute", key, err)
		}
		noticed = true
		return true
	}
	db, err := engine.Open("store", &o)
	if bad(err) {
		return true
	}
	defer func() { must(t, db.Close()) }()
	w := s.worlds[len(s.batches)]
	for i := range w.attrs {
		a := &w.attrs[i]
		has := 0
		for _, h := range w.people {
			if !h.values[a.id].IsAbsent() {
				has++
			}
		}
		name := a.def.Name
		b, err := db.Breakdown(t.Context(), fmt.Sprintf("has(p[%q])", name), name, nil)
		if !bad(err) && int(b.People) != has {
			t.Fatalf("damage at %x: %d have %s, want %d", key, b.People, name, has)
		}
		if a.def.Kind == schema.Bool || a.def.Kind == schema.Set {
			continue
		}
		for key, h := range w.people {
			if v := h.values[a.id]; !v.IsAbsent() {
				n, err := db.Count(t.Context(), fmt.Sprintf("p[%q] == %s", name, literal(v)), nil)
				if !bad(err) && n.Count == 0 {
					t.Fatalf("damage: nobody has %s %s, but %s has", name, v, key)
				}
				break
			}
		}
	}
	for _, k := range []string{"key-1", "key-2", "key-3", "key-4", "key-5"} {
		p, err := db.Profile(t.Context(), k, nil)
		switch h := w.people[k]; {
		case isUnknown(err) && h == nil, err != nil && !isUnknown(err) && bad(err):
		case err != nil || h == nil:
			t.Fatalf("damage at %x: profile %s: %v %v", key, k, p, err)
		default:
			c := &pair{t: t, w: w}
			c.compareProfile(p, w, k)
		}
	}
	report, err := db.Check(t.Context(), nil)
	return bad(err) || len(report.Problems) > 0 || noticed
}

func isUnknown(err error) bool {
	var e *query.Error
	return errors.As(err, &e) && e.Code == query.CodeUnknownName
}
