package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/query"
)

// trouble is a way in which a disk fails.
type trouble struct {
	name    string
	kinds   []faultfs.Kind
	forever bool
	err     error
}

func troubles() []trouble {
	reads := []faultfs.Kind{faultfs.Open, faultfs.Read, faultfs.List}
	room := []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Mkdir, faultfs.Link}
	return []trouble{
		{"an operation fails", nil, false, syscall.EIO},
		{"all fail from one on", nil, true, syscall.EIO},
		{"there is no room once", room, false, syscall.ENOSPC},
		{"the disk is full from one on", room, true, syscall.ENOSPC},
		{"a read fails", reads, false, syscall.EIO},
		{"no read succeeds from one on", reads, true, syscall.EIO},
	}
}

// stage is a scene, and the files as they are when it begins.
type stage struct {
	*rehearsed
	scenes []scene // the one
	files  *faultfs.FS
	acked  int
	words  []word
	broken bool
	fired  atomic.Int64 // faults
}

// stages plays a scenario and stops before each scene. The first and the last stage open
// the store with faults, the others are opened before there are any.
func (s *scenario) stages() ([]*stage, error) {
	k, err := s.rehearse()
	if err != nil {
		return nil, err
	}
	files := faultfs.New()
	empty, err := files.Crash(faultfs.Cut{Percent: 100})
	if err != nil {
		return nil, err
	}
	out := []*stage{{rehearsed: k, files: empty}}
	add := func(p *play, scenes []scene) error {
		now, err := p.o.FS.(*faultfs.FS).Crash(faultfs.Cut{Percent: 100})
		out = append(out, &stage{rehearsed: k, scenes: scenes, files: now, acked: int(p.acked.Load()), words: slices.Clip(p.words), broken: p.broken})
		return err
	}
	p := &play{rehearsed: k, o: k.options(files)}
	if err := p.open(); err != nil {
		return nil, err
	}
	for i := range s.scenes {
		if !s.scenes[i].given {
			if err := add(p, s.scenes[i:i+1]); err != nil {
				return nil, err
			}
		}
		if err := p.scene(&s.scenes[i]); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", s.name, s.scenes[i].name, err)
		}
	}
	return out, errors.Join(add(p, nil), p.db.Close())
}

// failures counts what came of the faults.
type failures struct {
	runs, refused, failed, recycled, syncs atomic.Int64
}

// faultCounts is how failures are told, and read again by who has others count.
const faultCounts = "%d faults: %d times a call failed, %d times the store did; %d were in a recycled log, %d were syncs of the log"

func (c *failures) String() string {
	return fmt.Sprintf(faultCounts, c.runs.Load(), c.refused.Load(), c.failed.Load(), c.recycled.Load(), c.syncs.Load())
}

// add adds what a line tells.
func (c *failures) add(line string) {
	var n [5]int64
	if _, err := fmt.Sscanf(line, faultCounts, &n[0], &n[1], &n[2], &n[3], &n[4]); err == nil {
		for i, sum := range []*atomic.Int64{&c.runs, &c.refused, &c.failed, &c.recycled, &c.syncs} {
			sum.Add(n[i])
		}
	}
}

// TestErrorPoints has the first, second, ... operation of each scene fail until none fails:
// who is told of an error is told which, nobody is told something wrong, nothing hangs,
// and what was acknowledged is there after the process has ended, also by a power cut.
func TestErrorPoints(t *testing.T) {
	wholeOnly(t)
	want, long := wantedCrashes(t)
	seed := seedOf(t, long)
	began := time.Now()
	var count failures
	part := os.Getenv(childEnv)
	stride, least := 1, int64(want/3)
	if want < allCrashes { // of the faults fewer than of the power cuts, for they cost more
		stride = 3 * allCrashes / want
	}
	if !long { // make crash-short has more of them
		stride, least = 3*stride, least/3
	}
	all, whole := chosen(t)
	for i, s := range all {
		for k, tr := range troubles() {
			switch name := fmt.Sprintf("%s, %s", s.name, tr.name); {
			case long && part == "": // a store that has failed keeps its memory: a process for each
				count.elsewhere(t, name, seed)
			case part == "" || part == name:
				s.fail(t, &tr, stride, seed+uint64(100*i+k), &count)
			}
		}
	}
	t.Logf("%s", &count)
	if part != "" || !whole {
		return
	}
	t.Logf("in %.0f s", time.Since(began).Seconds())
	if n := count.runs.Load(); n < least || count.refused.Load() < n/4 || long && (count.recycled.Load() == 0 || count.syncs.Load() == 0) {
		t.Error("void: there were too few faults")
	}
}

// elsewhere has another process do a part, and counts what it tells.
func (c *failures) elsewhere(t *testing.T, part string, seed uint64) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestErrorPoints$", "-test.count=1", "-test.v", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), childEnv+"="+part, fmt.Sprint("KANTA_SEED=", seed))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", part, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, line, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(line, ": ")
			c.add(line)
		}
	}
}

// fail tries a way of failing in all stages of a scenario, at every stride-th operation.
func (s *scenario) fail(t *testing.T, tr *trouble, stride int, seed uint64, count *failures) {
	stages, err := s.stages()
	must(t, err)
	if slices.Contains(tr.kinds, faultfs.Read) {
		stride *= max(1, s.reads)
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(stages); i = next.Add(1) - 1 {
				st := stages[i]
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for n := 1 + r.IntN(stride); ; n += stride {
					fired, err := st.try(tr, n, r.Uint64(), count)
					if err != nil {
						t.Errorf("%s, %s, %s: operation %d: %v", s.name, st.sceneName(), tr.name, n, err)
					}
					if err != nil || !fired {
						break
					}
				}
			}
		})
	}
	group.Wait()
	for _, st := range stages {
		if len(tr.kinds) == 0 && stride == 1 && st.fired.Load() == 0 {
			t.Errorf("void: %s, %s, %s: nothing has failed", s.name, st.sceneName(), tr.name)
		}
	}
}

func (s *stage) sceneName() string {
	if len(s.scenes) == 0 {
		return "opening"
	}
	return s.scenes[0].name
}

// try plays a stage with a fault at its n-th operation. It returns whether there was one.
func (s *stage) try(tr *trouble, n int, seed uint64, count *failures) (fired bool, err error) {
	files, err := s.files.Crash(faultfs.Cut{Percent: 100})
	if err != nil {
		return false, err
	}
	fault := &faultfs.Fault{Kinds: tr.kinds, Nth: n, Forever: tr.forever, Torn: seed%2 == 0, Err: tr.err}
	watchdog := time.AfterFunc(2*time.Minute, func() {
		_, first := fault.Fired()
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("hangs: %s, %s, %s, operation %d, %s\n%s", s.rehearsed.name, s.sceneName(), tr.name, n, first, stacks[:runtime.Stack(stacks, true)]))
	})
	defer watchdog.Stop()
	reads := slices.Contains(tr.kinds, faultfs.Read) // what is refused for one does not keep back what comes behind it
	p := &play{rehearsed: s.rehearsed, o: s.options(files), alone: reads, words: s.words, broken: s.broken}
	var told atomic.Int64
	p.o.Hooks.Failed = func(error) { told.Add(1) }
	if len(s.scenes) > 0 {
		if err := p.open(); err != nil {
			return false, err
		}
		if err := p.goOn(); err != nil {
			return false, err
		}
	} else if s.acked > 0 {
		p.acked.Store(int64(s.acked))
	}
	files.Before(fault.Before)
	if len(s.scenes) == 0 {
		err = p.open()
	} else {
		err = p.run(s.scenes)
	}
	if errors.Is(err, &query.Error{Code: query.CodeFailed}) && told.Load() == 0 && p.db != nil {
		return true, fmt.Errorf("nobody was told by Hooks.Failed of %w", err)
	}
	if err := s.meanwhile(p, tr, err); err != nil {
		_, first := fault.Fired()
		return true, fmt.Errorf("%s: %w", first, err)
	}
	closed := p.close() // ends, with an error or without
	times, first := fault.Fired()
	if times == 0 {
		if err = errors.Join(err, closed); err != nil {
			err = fmt.Errorf("without a fault: %w", err)
		}
		return false, err
	}
	count.note(files, first, err, told.Load())
	s.fired.Add(1)
	if first.Kind == faultfs.Sync && strings.HasSuffix(first.Path, ".log") && err == nil && len(s.scenes) > 0 && !s.nosync && closed == nil {
		return true, fmt.Errorf("%s: nobody is told", first)
	}
	return true, s.afterwards(files, p, seed, first)
}

func (c *failures) note(files *faultfs.FS, first faultfs.Op, err error, told int64) {
	c.runs.Add(1)
	for trace, i := files.Trace(), 0; i < trace.Len(); i++ {
		if op := trace.Op(i); op.Kind == faultfs.Reuse && op.Path == first.Path {
			c.recycled.Add(1)
			break
		}
	}
	if err != nil {
		c.refused.Add(1)
	}
	if told > 0 {
		c.failed.Add(1)
	}
	if first.Kind == faultfs.Sync && strings.HasSuffix(first.Path, ".log") {
		c.syncs.Add(1)
	}
}

// meanwhile checks what a store says behind a fault, while the disk still fails.
func (s *stage) meanwhile(p *play, tr *trouble, err error) error {
	if err != nil && !errors.Is(err, tr.err) {
		return fmt.Errorf("the error does not say why: %w", err)
	}
	if p.db == nil {
		return nil // an error of the file system is one of opening's, see engine.Open
	}
	var e *query.Error
	if err != nil && !errors.As(err, &e) {
		return fmt.Errorf("the error has no code: %w", err)
	}
	at, wrong := s.checkLook(p.db)
	if p.broken && errors.Is(wrong, &query.Error{Code: query.CodeCorrupt}) {
		wrong = tr.err // it is told
	}
	if wrong != nil && !errors.Is(wrong, tr.err) {
		return fmt.Errorf("questions: %w", wrong)
	}
	if wrong == nil && at < int(p.acked.Load()) {
		return fmt.Errorf("the store is at batch %d, and %d were acknowledged", at, p.acked.Load())
	}
	if e == nil || e.Code != query.CodeFailed || p.next >= len(s.sent) {
		return nil
	}
	if _, again := p.send(p.next); !errors.Is(again, &query.Error{Code: query.CodeFailed}) {
		return fmt.Errorf("failed (%w), and the next write: %w", err, again)
	}
	return nil
}

// afterwards opens the files again, as a process that was killed has left them and as a
// power cut has.
func (s *stage) afterwards(files *faultfs.FS, p *play, seed uint64, first faultfs.Op) error {
	acked := int(p.acked.Load())
	for _, kill := range []bool{true, false} {
		left, err := files.Crash(faultfs.Cut{Kill: kill})
		if err != nil {
			return err
		}
		if s.nosync {
			acked = 0 // not even of a process that is killed all that was acknowledged is with the system
		}
		c := &crashing{rehearsed: s.rehearsed}
		if _, _, err := c.recover(left, acked, p.words, seed%8 == 0); err != nil {
			return fmt.Errorf("%s, then opened (killed: %v), %d acknowledged: %w", first, kill, acked, err)
		}
	}
	return nil
}

// TestErrorCanary has a disk that loses writes and does not say so: that is found, or the
// errors find nothing.
func TestErrorCanary(t *testing.T) {
	stages, err := scenarios()[0].stages()
	must(t, err)
	tr := &trouble{"a write is lost", []faultfs.Kind{faultfs.Write}, true, faultfs.ErrSkipped}
	for n := 1; ; n++ {
		switch fired, err := stages[2].try(tr, n, 1, &failures{}); {
		case err != nil:
			t.Log(err)
			return
		case !fired:
			t.Fatalf("%d lost writes have not been found", n-1)
		}
	}
}
