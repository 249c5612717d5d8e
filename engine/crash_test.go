package engine_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
)

// script is a history: batches, and the world after each of them.
type script struct {
	batches []batch.Batch
	worlds  []*world // worlds[n] is after n batches
	clock   atomic.Int64
}

// now is n milliseconds after the start for batch n, the first being 1.
func (s *script) now() time.Time {
	return fixedClock().Add(time.Duration(s.clock.Load()) * time.Millisecond)
}

func newScript(t *testing.T, r *rand.Rand, n int) *script {
	t.Helper()
	s := &script{worlds: []*world{newWorld()}}
	p := &pair{t: t, r: r, w: newWorld(), keys: 60}
	for len(s.batches) < n {
		steps := firstAttributes()
		for i := range steps {
			steps[i].change.Attribute.History = i%3 > 0
		}
		if len(s.batches) > 0 {
			steps = p.randomSteps()
		}
		after := p.w.clone()
		if _, code := after.apply(steps, false); code != 0 || len(steps) == 0 {
			continue
		}
		b := batch.New()
		encodeSteps(b, steps)
		raw, err := b.Encode()
		p.must("encode", err)
		p.w = after
		s.batches, s.worlds = append(s.batches, raw), append(s.worlds, after.clone())
	}
	return s
}

// picture is a state that a crash may have left.
type picture struct {
	files *faultfs.FS
	acked uint64 // batches acknowledged before it was taken
	op    string
}

// crash returns files as a power cut would leave them.
func crash(t *testing.T, files *faultfs.FS, percent int, seed uint64) *faultfs.FS {
	t.Helper()
	after, err := files.Crash(faultfs.Cut{Percent: percent, Seed: seed})
	must(t, err)
	return after
}

// beforeChanges has do called before everything that changes a file.
func beforeChanges(files *faultfs.FS, do func(op faultfs.Op) error) {
	files.Before(func(op faultfs.Op) error {
		if !op.Changes() {
			return nil
		}
		return do(op)
	})
}

// TestCrash cuts the power before every few operations on files, with some of what was
// not synced lost. Each time the store must open with every acknowledged batch whole, be
// equal to the model at its position, and go on from there.
func TestCrash(t *testing.T) {
	for _, durability := range []engine.Durability{engine.SyncGroup, engine.SyncNone} {
		t.Run(fmt.Sprintf("durability %d", durability), func(t *testing.T) {
			t.Parallel()
			seed := uint64(7)
			if os.Getenv("KANTA_LONG") != "" {
				seed = rand.Uint64()
			}
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			s := newScript(t, r, 60)
			o := engine.Options{Durability: durability, FirstOrdinal: 65_530, Clock: s.now}
			engine.LowerLimits(&o, 10, 30, 12)
			pictures := s.record(t, o, r, 25)
			if len(pictures) < 40 {
				t.Fatalf("only %d crashes", len(pictures))
			}
			every := engine.Rounds(4, 20)
			if os.Getenv("KANTA_LONG") != "" {
				every = 1
			}
			for i := 0; i < len(pictures); i += every {
				s.recover(t, o, &pictures[i], durability)
			}
			t.Logf("%d crashes", len(pictures))
		})
	}
}

// record plays the script and takes a picture before every stride-th operation or so.
func (s *script) record(t *testing.T, o engine.Options, r *rand.Rand, stride int) (out []picture) {
	t.Helper()
	files := faultfs.New()
	o.FS = files
	var mu sync.Mutex
	var acked atomic.Uint64
	ops, next := 0, 40
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		ops++
		ingested := op.Kind == faultfs.Remove && strings.Contains(op.Path, "ingest-") // the moment when the base is newer than the log
		if (ops >= next || ingested && r.IntN(3) == 0) && len(out) < 80 {
			next = ops + 1 + r.IntN(2*stride)
			out = append(out, picture{crash(t, files, pick(r, []int{0, 0, 30, 100}), r.Uint64()), acked.Load(), op.String()})
		}
		return nil
	})
	db, err := engine.Open("store", &o)
	must(t, err)
	for i, b := range s.batches {
		s.clock.Store(int64(i + 1))
		_, err := db.Apply(t.Context(), b)
		must(t, err)
		acked.Store(uint64(i + 1))
		if i%20 == 19 {
			must(t, db.Compact(t.Context()))
		}
	}
	must(t, db.Close())
	return out
}

// wholeOnly leaves a test out of the short run, which is the race detector's: nothing of it
// runs at the same time that other tests there do not have, too.
func wholeOnly(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it runs in make test; the race detector makes it ten times slower and finds nothing in it")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recover opens a picture, compares it with the model, and plays the rest of the script.
func (s *script) recover(t *testing.T, o engine.Options, c *picture, durability engine.Durability) {
	t.Helper()
	o.FS = c.files
	db, err := engine.Open("store", &o)
	if err != nil {
		t.Fatalf("crash before %s: %v", c.op, err)
	}
	st, err := db.Stats(t.Context())
	must(t, err)
	at := st.Position.Applied
	if durability == engine.SyncGroup && at < c.acked || at > uint64(len(s.batches)) {
		t.Fatalf("crash before %s: the store is at %d, %d were acknowledged", c.op, at, c.acked)
	}
	p := &pair{t: t, r: rand.New(rand.NewPCG(at, 2)), db: db, w: s.worlds[at], keys: 60}
	p.checkEverything()
	p.ask(db, p.w)
	s.askThen(p)
	for i, b := range s.batches[at:] {
		s.clock.Store(int64(at) + int64(i) + 1)
		if _, err := db.Apply(t.Context(), b); err != nil {
			t.Fatalf("crash before %s, after recovery: %v", c.op, err)
		}
	}
	must(t, db.Close()) // the positions after the crash are others than those lost in it
	p.db, err = engine.Open("store", &o)
	must(t, err)
	p.w = s.worlds[len(s.batches)]
	p.checkEverything()
	s.askThen(p)
	must(t, p.db.Close())
}

// askThen asks about the times of some batches.
func (s *script) askThen(p *pair) {
	p.t.Helper()
	h := &historian{pair: p}
	for i, w := range s.worlds[1:] {
		h.past = append(h.past, then{fixedClock().UnixMilli() + int64(i) + 1, w})
	}
	for range 5 {
		h.askThen(p.db, p.w)
	}
}

// TestReplayOfOutcomes cuts the power at every operation of a compaction, when parts of
// the base are newer than log records that are still there. Deciding these again would
// count twice, or refuse what was accepted.
func TestReplayOfOutcomes(t *testing.T) {
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock}
	engine.LowerLimits(&o, 1000, 100_000, 1000)
	db, err := engine.Open("store", &o)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	written(t, db, func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int})
		addAttribute(b, schema.Attribute{Name: "plan", Kind: schema.String, History: true})
		addAttribute(b, schema.Attribute{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true})
	})
	for i := range 12 {
		written(t, db, func(b *batch.Builder) {
			b.Upsert("ann").Increment("n", schema.IntValue(1)).Expect("plan", planAt(i)).Set("plan", planAt(i+1))
			b.Upsert(fmt.Sprintf("bob-%d", i)).Set("email", schema.StringValue("b@x"))
			b.Delete(fmt.Sprintf("bob-%d", i)) // so that the next one may have the address
		})
	}
	var pictures []picture
	var mu sync.Mutex
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		pictures = append(pictures, picture{files: crash(t, files, 0, 0), op: op.String()})
		return nil
	})
	must(t, db.Compact(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	for _, c := range pictures {
		o.FS = c.files
		again, err := engine.Open("store", &o)
		must(t, err)
		ann, err := again.Profile(t.Context(), "ann", nil)
		must(t, err)
		if got := fmt.Sprint(ann.Values); got != fmt.Sprintf("[{n 12} {plan %s}]", planAt(12)) {
			t.Fatalf("crash before %s: %s", c.op, got)
		}
		line, err := again.Timeline(t.Context(), "ann", nil)
		must(t, err)
		if len(line.Events) != 12 {
			t.Fatalf("crash before %s: %d changes", c.op, len(line.Events))
		}
		for i, e := range line.Events {
			if !e.Change.From.Equal(planAt(11-i)) || !e.Change.To.Equal(planAt(12-i)) {
				t.Fatalf("crash before %s: change %d is from %v to %v", c.op, i, e.Change.From, e.Change.To)
			}
		}
		n, err := again.Count(t.Context(), "1 == 1", nil)
		must(t, err)
		if n.Count != 1 {
			t.Fatalf("crash before %s: %d people", c.op, n.Count)
		}
		must(t, again.Close())
	}
	if len(pictures) < 20 {
		t.Fatalf("only %d crashes", len(pictures))
	}
}

func planAt(i int) schema.Value {
	if i == 0 {
		return schema.Value{}
	}
	return schema.StringValue("plan-" + strconv.Itoa(i))
}

func addAttribute(b *batch.Builder, a schema.Attribute) {
	b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
}

// TestCrashOfCreation cuts the power at every operation of making a store: there is a
// whole one afterwards, or a new one can be made.
func TestCrashOfCreation(t *testing.T) {
	files := faultfs.New()
	var pictures []picture
	var mu sync.Mutex
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		for _, percent := range []int{0, 50, 100} {
			pictures = append(pictures, picture{files: crash(t, files, percent, uint64(len(pictures))), op: op.String()})
		}
		return nil
	})
	db, err := engine.Open("a/b/store", &engine.Options{FS: files})
	must(t, err)
	must(t, db.Close())
	for i := 0; i < len(pictures); i += engine.Rounds(1, 10) {
		c := pictures[i]
		db, err := engine.Open("a/b/store", &engine.Options{FS: c.files})
		if err != nil {
			t.Fatalf("crash before %s: %v", c.op, err)
		}
		must(t, db.Close())
	}
	t.Logf("%d crashes", len(pictures))
}

// crashes runs do and returns what a power cut would leave before each operation, with
// all that is not synced lost.
func crashes(t *testing.T, files *faultfs.FS, do func()) (out []picture) {
	t.Helper()
	var mu sync.Mutex
	beforeChanges(files, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, picture{files: crash(t, files, 0, 0), op: op.String()})
		return nil
	})
	do()
	mu.Lock()
	defer mu.Unlock()
	files.Before(nil)
	return append(out, picture{files: crash(t, files, 0, 0), op: "the end"})
}

// TestIndexIsNotAheadOfTheLog loses the newest records, writes others in their places, and
// looks for those by their keys: an index that knew the lost ones would not know them.
func TestIndexIsNotAheadOfTheLog(t *testing.T) {
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock, Durability: engine.SyncNone}
	engine.LowerLimits(&o, 1, 100_000, 1)
	db, err := engine.Open("store", &o)
	must(t, err)
	upsert := func(db *engine.DB, key string) {
		t.Helper()
		written(t, db, func(b *batch.Builder) { b.Upsert(key) })
	}
	pictures := crashes(t, files, func() {
		for i := range 20 {
			upsert(db, fmt.Sprint("first ", i))
		}
		must(t, db.Close())
	})
	for i := 0; i < len(pictures); i += 3 {
		c := pictures[i]
		o.FS = c.files
		again, err := engine.Open("store", &o)
		must(t, err)
		for k := range 5 {
			upsert(again, fmt.Sprint("second ", k))
		}
		must(t, again.Close())
		again, err = engine.Open("store", &o)
		must(t, err)
		for k := range 5 {
			if _, err := again.Profile(t.Context(), fmt.Sprint("second ", k), nil); err != nil {
				t.Fatalf("crash before %s: %v", c.op, err)
			}
		}
		must(t, again.Close())
	}
}

// TestDropIsNotAheadOfTheLog loses the record that drops an attribute: then its values are
// still there.
func TestDropIsNotAheadOfTheLog(t *testing.T) {
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock, Durability: engine.SyncNone}
	db, err := engine.Open("store", &o)
	must(t, err)
	written(t, db, func(b *batch.Builder) {
		addAttribute(b, schema.Attribute{Name: "city", Kind: schema.String})
		addAttribute(b, schema.Attribute{Name: "age", Kind: schema.Int})
		b.Upsert("ann").Set("city", schema.StringValue("Rome")).Set("age", schema.IntValue(1))
	})
	must(t, db.Compact(t.Context()))
	pictures := crashes(t, files, func() {
		written(t, db, func(b *batch.Builder) { b.Change(schema.Change{Op: schema.Drop, Name: "city"}) })
		must(t, db.Compact(t.Context()))
		must(t, db.Close())
	})
	for _, c := range pictures {
		o.FS = c.files
		again, err := engine.Open("store", &o)
		must(t, err)
		p, err := again.Profile(t.Context(), "ann", nil)
		must(t, err)
		known, err := again.Schema(t.Context())
		must(t, err)
		want := "[{age 1}]"
		if known.Lookup("city") != nil {
			want = "[{city Rome} {age 1}]"
		}
		if got := fmt.Sprint(p.Values); got != want {
			t.Fatalf("crash before %s: %s, want %s", c.op, got, want)
		}
		must(t, again.Close())
	}
}

const childEnv = "KANTA_TEST_CHILD"

// TestKilled has another process write and kills it: what it had said was written is there.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	exe, err := os.Executable()
	must(t, err)
	dir := filepath.Join(t.TempDir(), "store")
	total := 0
	for round := range 3 {
		cmd := exec.Command(exe, "-test.run=^TestKilled$", "-test.count=1")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		acked := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
				acked, err = strconv.Atoi(n)
				must(t, err)
			}
			if acked >= total+40*(round+1) {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		total = checkAfterKill(t, dir, acked)
	}
}

// writeUntilKilled counts up the same number for everybody, batch after batch.
func writeUntilKilled(t *testing.T, dir string) {
	var o engine.Options
	engine.LowerLimits(&o, 64, 500, 100)
	db, err := engine.Open(dir, &o)
	must(t, err)
	s, err := db.Schema(t.Context())
	must(t, err)
	if s.Lookup("n") == nil {
		written(t, db, func(b *batch.Builder) { addAttribute(b, schema.Attribute{Name: "n", Kind: schema.Int}) })
	}
	for {
		r := written(t, db, func(b *batch.Builder) {
			for k := range 10 {
				b.Upsert(fmt.Sprint("key-", k)).Increment("n", schema.IntValue(1))
			}
		})
		fmt.Println("acknowledged", r.Position.Applied-1)
	}
}

// checkAfterKill returns how many batches there are: at least those acknowledged, all whole.
func checkAfterKill(t *testing.T, dir string, acked int) int {
	t.Helper()
	db, err := engine.Open(dir, nil)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	rows, err := db.Breakdown(t.Context(), "1 == 1", "n", nil)
	must(t, err)
	if len(rows.Rows) != 1 || rows.Rows[0].Count != 10 {
		t.Fatalf("a batch is not whole: %+v", rows.Rows)
	}
	n := int(rows.Rows[0].Value.Ordered())
	if n < acked || uint64(n) != rows.Position.Applied-1 {
		t.Fatalf("%d batches at %s, %d were acknowledged", n, rows.Position, acked)
	}
	report, err := db.Check(t.Context(), nil)
	must(t, err)
	if len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
	return n
}

// written applies a batch, of which every row has to be accepted, or to be there already.
func written(t *testing.T, db *engine.DB, fill func(b *batch.Builder)) batch.Result {
	t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	must(t, err)
	r, err := db.Apply(t.Context(), raw)
	if err != nil || r.Accepted+r.Duplicates != r.Received {
		t.Fatalf("%+v %v", r, err)
	}
	return r
}
