package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/faultfs"
)

// Power cuts of a normal run of the tests. KANTA_CRASH says how many there are to be at
// least (make crash); those of the first order are all taken if that is enough for them.
const (
	allCrashes      = 20_000 // of which the errors are all tried, too
	fewCrashes      = 300
	fewCrashesShort = 60
	recoveryCrashes = 48 // that a recovery is tried with at most: at all its operations, or at so many of them
	fewRecovery     = 6  // that it is tried with where not all power cuts of the first order are taken
)

// wantedCrashes is how many there are to be, and whether the run is a long one.
func wantedCrashes(t *testing.T) (n int, long bool) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("KANTA_CRASH")); err == nil && n > 0 {
		return n, true
	}
	if testing.Short() {
		return fewCrashesShort, false
	}
	return fewCrashes, false
}

// seedOf is the seed of a random test: always the same, but for a long run, and KANTA_SEED.
func seedOf(t *testing.T, long bool) uint64 {
	t.Helper()
	seed := uint64(1)
	if long {
		seed = rand.Uint64()
	}
	if n, err := strconv.ParseUint(os.Getenv("KANTA_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("KANTA_SEED=%d", seed)
	return seed
}

// crashing is a run of a scenario whose power is cut at the operations it was made of.
type crashing struct {
	*rehearsed
	trace *faultfs.Trace
	acks  []int // changes of the files before each acknowledgement
	words []word
	seed  uint64
	plan  *plan

	cuts, recoveries atomic.Int64
	longest          atomic.Int64 // operations of a recovery
}

// plan says how many crashes of recoveries there are to be.
type plan struct {
	again float64 // for each of the first order
	each  int     // of one recovery at most

	mu   sync.Mutex
	owed float64
}

// take returns how many crashes of a recovery of so many operations there are to be now.
func (p *plan) take(operations int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owed += p.again
	n := min(operations+1, p.each)
	if p.owed < float64(n) {
		return 0
	}
	p.owed -= float64(n)
	return n
}

// TestCrashPoints cuts the power before every operation that writes, with nothing, some
// or all of what is not synced surviving, and again while the store recovers from that.
func TestCrashPoints(t *testing.T) {
	wholeOnly(t)
	want, long := wantedCrashes(t)
	seed := seedOf(t, long)
	var runs []*crashing
	total := 0
	all, whole := chosen(t)
	for _, s := range all {
		c, err := s.crashing(seed, nil)
		must(t, err)
		runs = append(runs, c)
		total += len(c.points())
	}
	share := min(float64(want)*2/3/float64(total), 1) // of the first order; the rest is crashes of recoveries
	if want >= allCrashes {
		share = 1
	}
	p := &plan{again: max(1.3*float64(want)/(share*float64(total))-1, 0.5), each: recoveryCrashes}
	if share < 1 {
		p.each = fewRecovery
	}
	began, cuts, reused := time.Now(), int64(0), 0
	for _, c := range runs {
		c.plan = p
		if err := c.every(share); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		done, missing := c.counted()
		t.Logf("%s: %d operations, %d acknowledged batches, %d power cuts and %d in recoveries of at most %d operations%s",
			c.name, c.trace.Len(), len(c.acks), c.cuts.Load(), c.recoveries.Load(), c.longest.Load(), done)
		if len(missing) > 0 && long {
			t.Errorf("void: %s: none of this was done: %q", c.name, missing)
		}
		cuts += c.cuts.Load() + c.recoveries.Load()
		for op := range c.trace.Len() {
			if c.trace.Op(op).Kind == faultfs.Reuse {
				reused++
			}
		}
	}
	took := time.Since(began)
	if reused == 0 && whole {
		t.Error("void: no log was used again")
	}
	t.Logf("%d of %d power cuts in %.0f s, %.0f/s; %.0f %% of those of the first order", cuts, want, took.Seconds(), float64(cuts)/took.Seconds(), 100*share)
	if cuts < int64(want) && whole && !t.Failed() {
		t.Errorf("void: %d power cuts, want %d", cuts, want)
	}
}

// crashing plays a scenario once. A canary plants a fault that must be found.
func (s *scenario) crashing(seed uint64, canary func(p *play, files *faultfs.FS)) (*crashing, error) {
	k, err := s.rehearse()
	if err != nil {
		return nil, err
	}
	c := &crashing{rehearsed: k, seed: seed}
	files := faultfs.New()
	p := &play{rehearsed: k, o: k.options(files), tell: func(int) { c.acks = append(c.acks, files.Changes()) }}
	if canary != nil {
		canary(p, files)
	}
	if err := errors.Join(p.open(), p.run(s.scenes)); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	at, err := k.checkAll(p.db)
	if err = errors.Join(err, p.db.Close()); err != nil || at != len(c.acks) || at != len(k.sent)-1 {
		return nil, fmt.Errorf("%s: without a crash: at %d of %d, %d acknowledged: %w", s.name, at, len(k.sent)-1, len(c.acks), err)
	}
	c.trace, c.words = files.Trace(), p.words
	return c, nil
}

// point is a power cut before an operation.
type point struct {
	at int
	faultfs.Cut
}

// points are all power cuts that leave something different: where nothing survives that is
// not synced, only a sync makes a difference, and where everything does, it makes none.
func (c *crashing) points() (out []point) {
	for at := range c.trace.Len() + 1 {
		sync := c.trace.Op(at).Kind == faultfs.Sync
		if sync || at == c.trace.Len() {
			out = append(out, point{at, faultfs.Cut{Percent: 0}})
		}
		if !sync { // or be killed: the machine may go on, and be cut off later
			out = append(out, point{at, faultfs.Cut{Kill: at%2 == 0, Percent: 100}})
		}
		for i := range 3 {
			out = append(out, point{at, faultfs.Cut{Percent: 30, Sector: []int{512, 4096, 512}[i]}})
		}
	}
	return out
}

// every visits a share of the points, on all processors.
func (c *crashing) every(share float64) error {
	points := c.points()
	workers := runtime.GOMAXPROCS(0)
	failed := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(c.seed, uint64(w)))
			replay := c.trace.Replay()
			for i := w; i < len(points) && failed[w] == nil; i += workers {
				if r.Float64() >= share {
					continue
				}
				pt := points[i]
				pt.Seed = r.Uint64()
				replay.To(pt.at)
				failed[w] = c.visit(replay, pt, r, i%4 == 0)
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

// visit cuts the power, recovers, and at times cuts it again in that recovery.
func (c *crashing) visit(replay *faultfs.Replay, pt point, r *rand.Rand, thorough bool) error {
	files, err := replay.Crash(pt.Cut)
	if err != nil {
		return err
	}
	acked := 0
	for !c.nosync && acked < len(c.acks) && c.acks[acked] <= pt.at {
		acked++
	}
	given := 0
	for given < len(c.words) && c.words[given].at <= pt.at {
		given++
	}
	words := c.words[:given]
	at, opened, err := c.recover(files, acked, words, thorough)
	c.cuts.Add(1)
	if err != nil {
		return fmt.Errorf("power cut before operation %d, %s, %+v, %d acknowledged: %w", pt.at, c.trace.Op(pt.at), pt.Cut, acked, err)
	}
	for most := c.longest.Load(); int64(opened) > most && !c.longest.CompareAndSwap(most, int64(opened)); most = c.longest.Load() {
	}
	n := c.plan.take(opened)
	recovery := files.Trace()
	second := recovery.Replay()
	for i := range n {
		op := i * (opened + 1) / n // all of them, or as many
		if gap := (opened + 1) / n; gap > 1 {
			op += r.IntN(gap)
		}
		second.To(op)
		cut := faultfs.Cut{Percent: []int{0, 30, 100}[r.IntN(3)], Seed: r.Uint64()}
		after, err := second.Crash(cut)
		if err != nil {
			return err
		}
		least := at // what was read once stays, unless it was not durable and whoever recovers had not ended
		if pt.Kill && op < opened {
			least = acked
		}
		if _, _, err := c.recover(after, least, words, false); err != nil {
			return fmt.Errorf("power cut before operation %d, %s, %+v, and again before operation %d of the recovery, %s, %+v, which came to batch %d: %w",
				pt.at, c.trace.Op(pt.at), pt.Cut, op, recovery.Op(op), cut, at, err)
		}
		c.recoveries.Add(1)
	}
	return nil
}

// recover opens what a crash has left: the acknowledged batches are there, all batches
// whole, all that is derived is right, what else was said is so, and the next batch can be
// written. It returns at which batch the store was, and how many operations opening it took.
func (c *crashing) recover(files *faultfs.FS, acked int, words []word, thorough bool) (at, ops int, err error) {
	p := &play{rehearsed: c.rehearsed, o: c.options(files), thorough: thorough}
	if err := p.openAgain(); err != nil {
		return 0, 0, errors.Join(err, p.close())
	}
	ops = files.Changes()
	if at, err = c.checkAll(p.db); err == nil && at < acked {
		err = fmt.Errorf("lost: the store is at batch %d, and %d were acknowledged", at, acked)
	}
	if err == nil {
		err = p.keep(words)
	}
	if err == nil && c.check != nil {
		err = c.check(p, at, thorough)
	}
	if err == nil && at < len(c.sent) {
		err = c.goOn(p, at, thorough)
	}
	return at, ops, errors.Join(err, p.close())
}

// goOn writes the next batch. To be thorough, it folds everything then and opens again.
func (c *crashing) goOn(p *play, at int, thorough bool) error {
	if _, err := p.send(at); err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	right := func(what string, check func(db *engine.DB) (int, error)) error {
		if now, err := check(p.db); err != nil || now != at+1 {
			return fmt.Errorf("a batch after the recovery, %s: at %d: %w", what, now, err)
		}
		return nil
	}
	err := right("written", c.checkLook)
	if err != nil || !thorough {
		return err
	}
	if err := p.db.Compact(context.Background()); err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	if err := right("compacted", c.checkAll); err != nil {
		return err
	}
	if err := p.reopen(); err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	return right("opened again", c.checkAll)
}

// TestCrashCanaries has disks that lie and a store that acknowledges too early: each is
// found by the power cuts of one scenario, or they find nothing.
func TestCrashCanaries(t *testing.T) {
	wholeOnly(t)
	lie := func(is func(path string) bool) func(p *play, files *faultfs.FS) {
		return func(_ *play, files *faultfs.FS) {
			files.Before(func(op faultfs.Op) error {
				if op.Kind == faultfs.Sync && is(op.Path) {
					return faultfs.ErrSkipped
				}
				return nil
			})
		}
	}
	for name, canary := range map[string]func(p *play, files *faultfs.FS){
		"the log is not synced":             lie(func(path string) bool { return strings.HasSuffix(path, ".log") }),
		"tables are not synced":             lie(func(path string) bool { return strings.HasSuffix(path, ".sst") }),
		"the manifest is not synced":        lie(func(path string) bool { return strings.Contains(path, "MANIFEST") }),
		"directories are not synced":        lie(func(path string) bool { return path != "." && !strings.Contains(filepath.Base(path), ".") }),
		"acknowledged before it was synced": func(p *play, _ *faultfs.FS) { p.o.Durability = engine.SyncNone },
	} {
		s := scenarios()[0]
		c, err := s.crashing(1, canary)
		must(t, err)
		c.plan = &plan{}
		if err = c.every(0.1); err == nil {
			t.Errorf("%s: %d power cuts have not found it", name, c.cuts.Load())
		} else {
			t.Logf("%s: %d power cuts, %.300s", name, c.cuts.Load(), err.Error())
		}
	}
}
