package kv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/query"
)

// unflushed returns a disk with a store that a power cut has left with so many tables of Pebble's
// first level, and with writes that are in its log only.
func unflushed(t *testing.T, tables int) *faultfs.FS {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files := faultfs.New()
	c := Config{FS: files, Cache: 1 << 20, MemTable: 1 << 20}
	s, err := Open("store", c)
	must(err)
	must(s.Settle())
	must(s.Close())
	cache, f := pebble.NewCache(1<<20), newHalt()
	defer cache.Unref()
	o := options(c, cache, f)
	o.DisableAutomaticCompactions = true
	db, err := pebble.Open("store/db", o)
	must(err)
	for i := range tables {
		for k := range 10 {
			must(db.Set(fmt.Appendf(nil, "key%d", k), fmt.Appendf(nil, "value %d", i), nil))
		}
		must(db.Flush())
	}
	must(db.Set([]byte("key"), []byte("value"), pebble.Sync))
	left, err := files.Crash(faultfs.Cut{Percent: 0})
	must(err)
	must(db.Close())
	return left
}

// opening opens a store of [unflushed].
func opening(files *faultfs.FS) (*Store, error) {
	return Open("store", Config{FS: files, Cache: 1 << 20, MemTable: 1 << 20})
}

// stacks are those of all goroutines.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// TestFlushFailsWhileOpening has no table be written while a store is opened, which flushes what
// is in its log: opening fails, and Pebble does not try again for ever.
func TestFlushFailsWhileOpening(t *testing.T) {
	files := unflushed(t, 1)
	var tries atomic.Int64
	files.Before(func(op faultfs.Op) error {
		if op.Kind == faultfs.Create && strings.HasSuffix(op.Path, ".sst") {
			tries.Add(1)
			return syscall.ENOSPC
		}
		return nil
	})
	if _, err := opening(files); !errors.Is(err, &query.Error{Code: query.CodeFailed}) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("opening: %v", err)
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(stacks(), "select (no cases)"); runtime.Gosched() {
		if n := tries.Load(); n > 100 || time.Now().After(end) {
			t.Fatalf("Pebble has tried %d times and goes on", n)
		}
	}
}

// childEnv is set in a process of its own, which a panic may end.
const childEnv = "KANTA_TEST_CHILD"

// TestOpeningFailsLate has the last files that Pebble makes while it opens fail, and a compaction that it has begun
// by then go on: opening fails, and the program lives.
func TestOpeningFailsLate(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		for _, kind := range []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Sync, faultfs.Rename, faultfs.List} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpeningFailsLate$", "-test.v", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), childEnv+"="+string(kind))
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Errorf("%s: %v\n%s", kind, err, out)
			}
		}
		return
	}
	for range 100 {
		if failsLate(t, faultfs.Kind(os.Getenv(childEnv))) {
			return
		}
	}
	t.Error("void: no compaction had begun")
}

// failsLate reports whether a compaction had begun when the last files were made.
func failsLate(t *testing.T, kind faultfs.Kind) bool {
	t.Helper()
	files := unflushed(t, 9)
	ended := make(chan bool)
	var over atomic.Bool
	end := sync.OnceFunc(func() { over.Store(true); close(ended) })
	var tables, hit atomic.Int64
	files.Before(func(op faultfs.Op) error {
		switch {
		case strings.HasSuffix(op.Path, ".sst"):
			if op.Kind == faultfs.Create && tables.Add(1) == 2 { // the first is the flush's
				<-ended
			}
		case over.Load():
		case tables.Load() > 1 && op.Kind == kind && (op.Path == "store/db" || strings.Contains(op.Path, "temp") || strings.Contains(op.Path, "OPTIONS")):
			hit.Add(1)
			return syscall.EIO
		case tables.Load() > 0 && op.Kind == faultfs.List && op.Path == "store/db":
			end() // behind it opening waits for the compaction
		}
		return nil
	})
	s, err := opening(files)
	end()
	if hit.Load() > 0 {
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, &query.Error{Code: query.CodeFailed}) {
			t.Errorf("opening: %v", err)
		}
		return true
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Error(err)
	}
	return false
}
