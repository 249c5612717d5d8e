package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
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
	for at := 120; at < 1200; at += 45 {
		if s.playOnFullDisk(t, o, at) {
			failures++
		}
	}
	if failures < 10 {
		t.Fatalf("the disk was full %d times only", failures)
	}
}

func (s *script) playOnFullDisk(t *testing.T, o engine.Options, at int) (failed bool) {
	t.Helper()
	files := newFaultFS()
	o.FS = files
	var mu sync.Mutex
	ops := 0
	files.before = func(op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if ops++; ops >= at && op != "remove" && op != "rename" {
			return syscall.ENOSPC
		}
		return nil
	}
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
	o.FS = files.crash(100, 1)
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

var _ = fmt.Sprint
var _ vfs.FS
