package raftlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
)

// want is what a log must have that a run was told is durable, after so many changes of the
// disk: raft's model of it, and the term of the last vote.
type want struct {
	changes int
	first   uint64 // no entry above this may be missing; below it may
	terms   map[uint64]uint64
	vote    uint64
	base    point // of an installed snapshot
}

// runner does what raft does to a log and keeps what was acknowledged.
type runner struct {
	disk *enginetest.Disk
	l    *Log
	now  want
	acks []want
	term uint64
}

func (r *runner) ack() {
	w := r.now
	w.changes, w.terms = r.disk.Changes(), map[uint64]uint64{}
	for i, t := range r.now.terms {
		w.terms[i] = t
	}
	r.acks = append(r.acks, w)
}

func (r *runner) append(from, to uint64) error {
	if err := r.l.StoreLogs(entries(from, to, r.term)); err != nil {
		return err
	}
	for i := range r.now.terms {
		if i >= from {
			delete(r.now.terms, i)
		}
	}
	for i := from; i <= to; i++ {
		r.now.terms[i] = r.term
	}
	r.ack()
	return nil
}

// ahead appends entries one by one before they are durable, then waits for those up to one of them.
func (r *runner) ahead(from, to, durable uint64) error {
	for i := from; i <= to; i++ {
		if err := r.l.StoreLogsAhead(entries(i, i, r.term)); err != nil {
			return err
		}
	}
	if err := r.l.AwaitDurable(durable); err != nil {
		return err
	}
	for i := from; i <= durable; i++ {
		r.now.terms[i] = r.term
	}
	r.ack()
	return nil
}

func (r *runner) vote() error {
	r.term++
	err := r.l.SetUint64([]byte(keyVoteTerm), r.term)
	if err == nil {
		r.now.vote = r.term
		r.ack()
	}
	return err
}

// truncated takes note that a tail may be there or not, until something is appended.
func (r *runner) truncated(from uint64) {
	for i := range r.now.terms {
		if i >= from {
			delete(r.now.terms, i)
		}
	}
	r.ack()
}

// run does something of everything.
func (r *runner) run() (err error) {
	open := func(o Options) error {
		o.FS = r.disk
		r.l, err = Open(context.Background(), "log", &o)
		return err
	}
	if err := open(Options{}); err != nil {
		return err
	}
	r.now.terms = map[uint64]uint64{}
	steps := []func() error{
		r.vote,
		func() error { return r.append(1, 4) },
		func() error { return r.append(5, 5) },
		func() error { return r.append(6, 12) },
		func() error { return r.l.guard("flush", r.l.db.Flush) },
		func() error { // a tail was wrong
			err := r.l.DeleteRange(9, 12)
			r.truncated(9)
			return err
		},
		r.vote,
		func() error { return r.append(9, 14) },
		func() error { // compaction
			r.now.first = 7
			r.ack()
			return r.l.DeleteRange(1, 6)
		},
		func() error { return r.append(15, 16) },
		func() error { return errors.Join(r.l.Close(), open(Options{MustExist: true})) },
		func() error { return r.append(17, 20) },
		func() error { // a snapshot over a wrong tail
			r.now.first = 19
			r.truncated(0)
			err := r.l.Installed(18, 9)
			r.now.base = point{18, 9}
			if err == nil {
				r.ack()
			}
			return err
		},
		func() error { return r.l.DeleteRange(19, 20) },
		r.vote,
		func() error { return r.append(19, 22) },
		func() error { // and one far ahead
			r.now.first = 51
			r.truncated(0)
			return r.append(51, 52)
		},
		func() error { return r.l.Purge(context.Background(), 51) },
		func() error { return r.append(53, 53) },
		r.vote,
		func() error { return r.ahead(54, 60, 57) },
		func() error { return r.ahead(61, 64, 64) },
		func() error { return r.ahead(65, 67, 65) },
		r.vote, // everything before it is durable, too
		func() error { r.now.terms[66], r.now.terms[67] = r.term-1, r.term-1; r.ack(); return nil },
		func() error { return r.ahead(68, 70, 68) },
		func() error { // and the tail was wrong
			r.truncated(67)
			return r.append(67, 69)
		},
		func() error { return r.ahead(70, 72, 70) },
		func() error { // compaction meanwhile
			r.now.first = 69
			r.ack()
			return r.l.DeleteRange(51, 68)
		},
		func() error { return r.ahead(73, 74, 73) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			if r.l == nil { // it could not be opened again
				return err
			}
			return errors.Join(err, r.l.Close())
		}
	}
	return r.l.Close()
}

// recovered opens what is left and wants in it all that was acknowledged.
func recovered(files vfs.FS, w *want, mustExist bool) (err error) {
	l, err := Open(context.Background(), "log", &Options{FS: files, MustExist: mustExist})
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var e raft.Log
	for i, term := range w.terms {
		err := l.GetLog(i, &e)
		if i < w.first && err == raft.ErrLogNotFound {
			continue
		}
		if err != nil || e.Term != term {
			return fmt.Errorf("entry %d has term %d, want %d: %w", i, e.Term, term, err)
		}
	}
	if vote, err := l.GetUint64([]byte(keyVoteTerm)); vote < w.vote || err != nil {
		return fmt.Errorf("voted in term %d, want %d: %w", vote, w.vote, err)
	}
	if b := l.state.base; w.base.index > b.index {
		return fmt.Errorf("the base is %+v, want %+v", b, w.base)
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if err := l.StoreLog(entry(max(last, l.state.base.index)+1, 99)); err != nil {
		return fmt.Errorf("appending: %w", err)
	}
	return nil
}

// TestPowerCut cuts the power before every change that a run makes to its disk, and kills the
// process there: what was acknowledged is there, and nobody is told of a loss.
func TestPowerCut(t *testing.T) {
	r := &runner{disk: enginetest.NewDisk()}
	must(t, r.run())
	trace := r.disk.Trace()
	replay := trace.Replay()
	done, cut := 0, 0
	for n := 0; n <= trace.Len(); n++ {
		replay.To(n)
		for done < len(r.acks) && r.acks[done].changes <= n {
			done++
		}
		w := &want{}
		if done > 0 {
			w = &r.acks[done-1]
		}
		cuts := []enginetest.PowerCut{{Kill: true}, {Percent: 0}, {Percent: 100}, {Percent: 30, Seed: 1}, {Percent: 30, Seed: 2}}
		for _, c := range cuts {
			left, err := replay.Crash(c)
			must(t, err)
			if err := recovered(left, w, done > 0); err != nil {
				t.Fatalf("cut %+v before change %d (%s): %v", c, n, trace.Op(n), err)
			}
			cut++
		}
	}
	t.Logf("%d cuts", cut)
	if cut < 1000 || len(r.acks) < 18 {
		t.Errorf("%d cuts, %d acknowledgements: the run does too little", cut, len(r.acks))
	}
}

// TestDiskErrors fails each operation of a run: nothing is acknowledged that is not there when
// the disk is whole again and the power was cut.
func TestDiskErrors(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 11
	}
	for _, torn := range []bool{false, true} {
		for n := 1; ; n += step {
			r := &runner{disk: enginetest.NewDisk()}
			fault := &enginetest.DiskFault{Nth: n, Forever: n%2 == 0, Torn: torn, Err: syscall.EIO}
			r.disk.Before(fault.Before)
			err := r.run()
			fired, first := fault.Fired()
			if fired == 0 {
				must(t, err)
				if n < 150 {
					t.Errorf("only %d operations", n)
				}
				break
			}
			if len(r.acks) == 0 {
				continue // it was not made
			}
			left, err := r.disk.Crash(enginetest.PowerCut{Percent: 30, Seed: uint64(n)})
			must(t, err)
			left.Before(nil)
			if err := recovered(left, &r.acks[len(r.acks)-1], true); err != nil {
				t.Fatalf("operation %d (%s) fails, torn %t: %v", n, first, torn, err)
			}
		}
	}
}

// TestFlips flips bits of the files of a closed log: it is opened with all it had, or not at
// all; nobody gets another entry than was stored.
func TestFlips(t *testing.T) {
	r := &runner{disk: enginetest.NewDisk()}
	must(t, r.run())
	w := r.acks[len(r.acks)-1]
	kinds := map[string][]string{}
	for _, dir := range []string{"log", "log/db"} {
		names, err := r.disk.List(dir)
		must(t, err)
		for _, name := range names {
			if info, err := r.disk.Stat(dir + "/" + name); err == nil && !info.IsDir() && info.Size() > 0 {
				kind := kindOf(name)
				kinds[kind] = append(kinds[kind], dir+"/"+name)
			}
		}
	}
	flips := uint64(1000)
	if testing.Short() {
		flips = 50
	}
	for kind, names := range kinds {
		detected := 0
		for seed := range flips {
			x := rand.New(rand.NewPCG(seed, 7))
			left, err := r.disk.Crash(enginetest.PowerCut{Kill: true})
			must(t, err)
			name := names[x.IntN(len(names))]
			info, err := left.Stat(name)
			must(t, err)
			bit := x.Int64N(8 * info.Size())
			must(t, left.Flip(name, bit))
			if err := recovered(left, &w, true); err != nil {
				if !errors.Is(err, ErrLost) {
					t.Errorf("%s bit %d: %v", name, bit, err)
				}
				detected++
			}
		}
		t.Logf("%s: of %d flips %d are detected, the others have no effect", kind, flips, detected)
	}
	if len(kinds) < 4 {
		t.Errorf("files of kinds %v", kinds)
	}
}

// kindOf is a file's name without its number.
func kindOf(name string) string {
	return string(bytes.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, []byte(name)))
}
