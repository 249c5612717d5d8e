package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// acked is what a run was told is durable, and when: after so many changes of the disk.
type acked struct {
	changes int
	calls   int // so many of the run's, in order
}

// run appends groups of records over some days, with retention, and closes. It goes on after errors as a
// caller would, and returns what was acknowledged.
func run(files *enginetest.Disk) (acks []acked, err error) {
	now := newClock()
	o := &Options{FS: files, Clock: now.read, Keep: 2 * 24 * time.Hour}
	calls := 0
	for range 2 {
		s, err := open("audit", o, smallLimits())
		if err != nil {
			return acks, err
		}
		for range 5 {
			var waits []func(context.Context) error
			for range 4 {
				wait, err := s.Submit(context.Background(), rec(fmt.Sprint("call", calls+len(waits))))
				if err != nil {
					return acks, errors.Join(err, s.Close())
				}
				waits = append(waits, wait)
			}
			for _, wait := range waits {
				if err := wait(context.Background()); err != nil {
					return acks, errors.Join(err, s.Close())
				}
				calls++
				acks = append(acks, acked{files.Changes(), calls})
			}
			now.move(10 * time.Hour)
		}
		if err := s.Close(); err != nil {
			return acks, err
		}
	}
	return acks, nil
}

// recovered opens what is left on a disk and wants all that was acknowledged in it, in order and
// once, and a chain that can be written on.
func recovered(files *enginetest.Disk, calls int) error {
	now := newClock()
	now.move(5 * 24 * time.Hour)
	o := &Options{FS: files, Clock: now.read}
	for again := range 2 {
		s, err := open("audit", o, smallLimits())
		if err != nil {
			return fmt.Errorf("opening: %w", err)
		}
		if err := s.Append(context.Background(), rec("after")); err != nil {
			return fmt.Errorf("appending: %w", errors.Join(err, s.Close()))
		}
		h, err := s.Verify(context.Background(), nil)
		if err == nil {
			err = s.holds(h, calls, again+1)
		}
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// holds checks that the records are those of a run up to at least so many of its calls, and that
// so many were written after it.
func (s *Store) holds(h Head, calls, after int) error {
	list, err := s.List(context.Background(), nil, 0, 0)
	if err != nil {
		return err
	}
	if len(list) == 0 || list[0].Number != h.First || list[len(list)-1].Number != h.Number {
		return fmt.Errorf("%d records are listed of %+v", len(list), h)
	}
	next := -1
	for i := range list {
		n, ok := strings.CutPrefix(list[i].Call, "call")
		switch {
		case list[i].Call == "after":
			after--
		case ok && next >= 0 && n != fmt.Sprint(next):
			return fmt.Errorf("%s is behind call %d", list[i].Call, next-1)
		case ok:
			if _, err := fmt.Sscan(n, &next); err != nil {
				return err
			}
			next++
		}
	}
	if next = max(next, 0); next < calls || after != 0 {
		return fmt.Errorf("of %d acknowledged calls there are %d, and %d too few of those after", calls, next, after)
	}
	return nil
}

// TestPowerCut cuts the power before every change that a run makes to its disk, and kills the process there.
func TestPowerCut(t *testing.T) {
	files := enginetest.NewDisk()
	acks, err := run(files)
	if err != nil || len(acks) != 40 {
		t.Fatalf("%d acknowledged: %v", len(acks), err)
	}
	trace := files.Trace()
	replay := trace.Replay()
	done, cut := 0, 0
	for n := 0; n <= trace.Len(); n++ {
		replay.To(n)
		for done < len(acks) && acks[done].changes <= n {
			done++
		}
		cuts := []enginetest.PowerCut{{Kill: true}, {Percent: 0}, {Percent: 100}}
		for seed := range uint64(6) {
			cuts = append(cuts, enginetest.PowerCut{Percent: 20 + 10*int(seed), Sector: []int{64, 512}[seed%2], Seed: seed + 10*uint64(n)})
		}
		for _, c := range cuts {
			after, err := replay.Crash(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := recovered(after, done); err != nil {
				t.Fatalf("before change %d of %d, %v, with %+v: %v", n, trace.Len(), trace.Op(n), c, err)
			}
			if s, err := Open("audit", &Options{FS: after, ReadOnly: true}); err == nil {
				list, err := s.List(t.Context(), &Filter{Call: CallCut}, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				cut += len(list)
			}
		}
	}
	if trace.Len() < 60 || cut < 20 {
		t.Errorf("%d changes, %d torn ends: too few for a test", trace.Len(), cut)
	}
}

// TestPowerCutAgain cuts the power also while what a first cut left is put in order.
func TestPowerCutAgain(t *testing.T) {
	files := enginetest.NewDisk()
	acks, err := run(files)
	if err != nil {
		t.Fatal(err)
	}
	trace := files.Trace()
	replay := trace.Replay()
	done, seen := 0, 0
	for n := 0; n <= trace.Len(); n++ {
		replay.To(n)
		for done < len(acks) && acks[done].changes <= n {
			done++
		}
		if n%3 != 0 {
			continue
		}
		first, err := replay.Crash(enginetest.PowerCut{Percent: 50, Sector: 64, Seed: uint64(n)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := open("audit", &Options{FS: first}, smallLimits())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		inner := first.Trace()
		walk := inner.Replay()
		for m := 0; m <= inner.Len(); m++ {
			walk.To(m)
			after, err := walk.Crash(enginetest.PowerCut{Percent: 40, Sector: 64, Seed: uint64(m)})
			if err != nil {
				t.Fatal(err)
			}
			if err := recovered(after, done); err != nil {
				t.Fatalf("before change %d, %v, and then before %d, %v: %v", n, trace.Op(n), m, inner.Op(m), err)
			}
			seen++
		}
	}
	if seen < 100 {
		t.Errorf("only %d moments", seen)
	}
}

// TestDiskErrors fails every operation of a run: nothing that was acknowledged is lost, and a store that could not
// write takes nothing more.
func TestDiskErrors(t *testing.T) {
	for _, kinds := range [][]enginetest.DiskKind{nil, {"open", "read", "list"}} {
		for _, forever := range []bool{false, true} {
			fired := true
			for nth := 1; fired; nth++ {
				if nth > 2000 {
					t.Fatal("it does not end")
				}
				files := enginetest.NewDisk()
				fault := &enginetest.DiskFault{Kinds: kinds, Nth: nth, Forever: forever, Torn: nth%2 == 0, Err: syscall.EIO}
				files.Before(fault.Before)
				acks, err := run(files)
				files.Before(nil)
				n, op := fault.Fired()
				if fired = n > 0; fired && err == nil {
					t.Fatalf("%v failed, and nobody was told", op)
				}
				if fired && !isCode(err, query.CodeFailed) && !isCode(err, query.CodeIO) && !isCode(err, query.CodeInUse) {
					t.Fatalf("%v failed: %v", op, err)
				}
				if err := recovered(files, len(acks)); err != nil {
					t.Fatalf("%v failed (%v), and then: %v", op, err, err)
				}
			}
		}
	}
}

// TestFailed: after a write that failed nothing is taken, and a full disk is told apart.
func TestFailed(t *testing.T) {
	for _, full := range []bool{false, true} {
		files := enginetest.NewDisk()
		s := openOn(t, files, Options{}, defaultLimits())
		add(t, s, "a")
		fault := &enginetest.DiskFault{Kinds: []enginetest.DiskKind{"sync"}, Nth: 1, Err: syscall.EIO}
		if full {
			files.Limit(files.Used() + 50)
		} else {
			files.Before(fault.Before)
		}
		for range 2 {
			if err := s.Append(t.Context(), rec("b")); !isCode(err, query.CodeFailed) || errors.Is(err, ErrFull) != full || s.Err() == nil {
				t.Fatalf("full %v: %v", full, err)
			}
			files.Limit(0) // it does not matter any more
		}
		if got := strings.Join(callsOf(t, s, nil), " "); got != "a" {
			t.Errorf("full %v: listed %q", full, got)
		}
		if err := s.Close(); !isCode(err, query.CodeFailed) {
			t.Errorf("full %v: closed: %v", full, err)
		}
		files.Before(nil)
		s = openOn(t, files, Options{}, defaultLimits())
		add(t, s, "c")
		verified(t, s)
	}
}
