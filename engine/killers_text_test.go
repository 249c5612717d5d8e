package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// texts is a store of long texts: 16 KiB each, of events and of people.
type texts struct {
	db   *DB
	base int64 // bytes that were live before it was opened
}

const (
	textMemory = 128 << 20 // the store's budget, of which 40 MiB are for questions and the cache
	textPeople = 600
	textEvents = 4200 // two of three are of the first person, 44 MiB
	textBytes  = schema.MaxStringBytes
)

// textsOwn is what may be live beside what the budget has for questions and the cache: Pebble's
// memtables and what it reads one long value in, scratch of the decoders, what a question
// allocates before it is refused, and what earlier tests of the process have left to be
// collected. Before texts were counted the least of these questions had 205 MiB.
const textsOwn = 96 << 20

// live returns how many bytes of the heap are in use.
func live() int64 {
	runtime.GC()
	runtime.GC() // the first leaves what was in pools
	return marked()
}

// marked returns what was in use when garbage was last collected.
func marked() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

// peak returns the most that is live while f runs.
func peak(f func()) (most int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		runtime.GC()
		most = max(most, marked())
		select {
		case <-done:
			return most
		default:
		}
	}
}

func textClock() time.Time { return time.UnixMilli(100 * actDay).UTC() }

func newTexts(t *testing.T) *texts {
	k := &texts{base: live()}
	db, err := Open(t.TempDir(), &Options{Memory: textMemory, Durability: SyncNone, Clock: textClock})
	if err != nil {
		t.Fatal(err)
	}
	k.db = db
	t.Cleanup(func() { _ = db.Close() })
	r := rand.New(rand.NewPCG(7, 7))
	text := make([]byte, textBytes)
	next := func(i int) []byte {
		for j := range text {
			text[j] = 'a' + byte(r.Uint32()%26)
		}
		copy(text, fmt.Sprintf("%05d ", (i*7919)%100_000))
		return text
	}
	k.apply(t, func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "memo", Attribute: schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}})
	})
	for i := 0; i < textPeople; i += 25 {
		k.apply(t, func(b *batch.Builder) {
			for j := range 25 {
				b.Upsert(fmt.Sprint("k", i+j)).Set("memo", schema.StringValue(string(next(i+j))))
			}
		})
	}
	for i := 0; i < textEvents; i += 25 {
		k.apply(t, func(b *batch.Builder) {
			table := b.Events([]batch.Column{{Name: "note", Kind: schema.String}})
			for j := i; j < i+25; j++ {
				who := j % textPeople
				if j%3 > 0 {
					who = 0
				}
				table.Row(fmt.Append(nil, "k", who), []byte("buy"), 100*actDay-int64(j)*actDay/40)
				table.Str(0, next(j))
			}
		})
	}
	if n := db.current.Load().Tiers.Active.Bytes(); n > textMemory/4 {
		t.Errorf("the newest part of the head has %d MiB", n>>20)
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *texts) apply(t *testing.T, fill func(b *batch.Builder)) {
	t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err == nil {
		var r batch.Result
		if r, err = k.db.Apply(t.Context(), raw); err == nil && len(r.Rejected) > 0 {
			err = fmt.Errorf("quarantined: %v", r.Rejected[0])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// whyOfMany asks why of 44 MiB of one person: it is at the limit, and may be refused.
func whyOfMany(ctx context.Context, db *DB, expr string) error {
	_, err := db.Why(ctx, "k0", expr, nil)
	if errors.Is(err, &query.Error{Code: query.CodeBudget}) {
		return nil
	}
	return err
}

// TestKillersOfTexts asks what would hold many long texts at once: each question stays within
// the store's budget, and is answered, or refused with its name.
func TestKillersOfTexts(t *testing.T) {
	notRaced(t)
	k := newTexts(t)
	if rest := live() - k.base - k.db.cache.Used(); rest > textsOwn {
		t.Errorf("after compaction %d MiB are live that are not the cache's", rest>>20)
	}
	var steps []string
	for i := range 20 {
		steps = append(steps, fmt.Sprintf(`buy.filter(e, e.note.contains("%c%c"))`, 'a'+i, 'b'+i))
	}
	ctx := t.Context()
	analyze := func(name string, args query.Arguments) func() error {
		return func() error { _, err := k.db.Analyze(ctx, name, "", args, nil); return err }
	}
	members := func(limit int, attributes ...string) func() error {
		return func() error {
			m, err := k.db.Members(ctx, "true", &query.MembersOptions{OrderBy: "memo", Attributes: attributes, Limit: limit})
			if err != nil {
				return err
			}
			n := 0
			for _, err := range m.Rows {
				if err != nil {
					return err
				}
				n++
			}
			if want := min(textPeople, limit); n != want && limit > 0 || limit == 0 && n != textPeople {
				return fmt.Errorf("%d members", n)
			}
			return nil
		}
	}
	count := func(expr string) func() error {
		return func() error { _, err := k.db.Count(ctx, expr, nil); return err }
	}
	for _, c := range []struct {
		name    string
		ask     func() error
		refused bool
	}{
		{"a funnel of 20 texts", analyze("funnel", query.Arguments{"step": steps}), false},
		{"a listing by text", members(0), false},
		{"a listing by text, with texts", members(0, "memo"), false},
		{"the first by text", members(10), false},
		{"a breakdown by text", func() error { _, err := k.db.Breakdown(ctx, "true", "memo", nil); return err }, false},
		{"the analysis breakdown by text", analyze("breakdown", query.Arguments{"by": {"memo"}}), false},
		{"a funnel by text", analyze("funnel", query.Arguments{"step": {"buy", "buy"}, "by": {"memo"}}), false},
		{"a trend by text", analyze("trend", query.Arguments{"event": {"buy"}, "by": {"memo"}}), false},
		{"a residual of texts", count(`memo.matches("^[0-9]+ x*y?z") != (memo + memo == memo + "x")`), false},
		{"a residual of events", count(`buy.filter(e, e.note + "x" == "y").count() > 1`), true},
		{"distinct texts", count(`buy.distinct(e, e.note) > 3000`), true},
		{"why", func() error { return whyOfMany(ctx, k.db, steps[0]+".any()") }, false},
		{"a profile", func() error {
			_, err := k.db.Profile(ctx, "k0", &query.ProfileOptions{Lifetime: true, Lent: true})
			return err
		}, false},
		{"a timeline", func() error {
			_, err := k.db.Timeline(ctx, "k0", &query.TimelineOptions{Limit: 100})
			return err
		}, false},
		{"a long timeline", func() error {
			_, err := k.db.Timeline(ctx, "k0", &query.TimelineOptions{Limit: query.MaxTimeline})
			return err
		}, true},
		{"export of a person", func() error { return k.db.Export(ctx, "k0", io.Discard) }, false},
		{"export", func() error {
			_, err := k.db.ExportAll(context.WithoutCancel(ctx), portable.ToStream(io.Discard), nil)
			return err
		}, false},
	} {
		var err error
		most := peak(func() { err = c.ask() }) - k.base
		t.Logf("%-32s %3d MiB: %v", c.name, most>>20, err)
		switch {
		case c.refused && (!errors.Is(err, &query.Error{Code: query.CodeBudget}) || !strings.Contains(err.Error(), "memory budget")):
			t.Errorf("%s: %v; it is not refused by the memory budget", c.name, err)
		case !c.refused && err != nil:
			t.Errorf("%s: %v", c.name, err)
		}
		if budget := k.db.cache.Budget(); most > budget+textsOwn {
			t.Errorf("%s takes %d MiB, and the budget for it is %d", c.name, most>>20, budget>>20)
		}
		if n := k.db.cache.Reserved(); n != 0 {
			t.Errorf("%s keeps %d bytes for good", c.name, n)
		}
	}
}

// newMemos makes a store of 4000 people, most of whom have a text of up to 1 KB.
func newMemos(t *testing.T) *DB {
	db, err := Open("", &Options{Memory: minMemory, Clock: textClock, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	k := &texts{db: db}
	r := rand.New(rand.NewPCG(5, 5))
	k.apply(t, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "memo", Attribute: schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}})
		for i := range 4000 {
			up := b.Upsert(fmt.Sprint("k", i))
			if i%10 > 0 { // some have none
				up.Set("memo", schema.StringValue(fmt.Sprintf("%04d%s", r.IntN(3000), strings.Repeat("x", r.IntN(1000)))))
			}
		}
	})
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestListingsInLittleMemory lists people in the order of a text when the budget has room for
// a part of them only: they come in several pages, and in the same order.
func TestListingsInLittleMemory(t *testing.T) {
	notRaced(t)
	db := newMemos(t)
	list := func(o query.MembersOptions) (keys []string, err error) {
		o.OrderBy = "memo"
		m, err := db.Members(t.Context(), "true", &o)
		if err != nil {
			return nil, err
		}
		for row, err := range m.Rows {
			if err != nil {
				return keys, err
			}
			keys = append(keys, row.Key)
		}
		if next := m.Next(); (next != "") != (len(keys) < 4000) {
			t.Errorf("after %d people, the next begin at %q", len(keys), next)
		}
		return keys, nil
	}
	shapes := []query.MembersOptions{{}, {Desc: true}, {Limit: 3000}, {Desc: true, Limit: 10}}
	var want [][]string
	for _, o := range shapes {
		keys, err := list(o)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, keys)
	}
	fewest := int64(0)
	for room := int64(12 << 20); ; room -= 512 << 10 {
		free, err := db.cache.Reserve(db.cache.Budget()-room, "test")
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for i, o := range shapes {
			keys, err := list(o)
			switch {
			case errors.Is(err, &query.Error{Code: query.CodeBudget}):
				refused++
			case err != nil:
				t.Fatal(err)
			case !slices.Equal(keys, want[i]):
				t.Fatalf("with %d KiB, %d people in another order", room>>10, len(keys))
			}
		}
		free()
		if n := db.cache.Reserved(); n != 0 {
			t.Fatalf("%d bytes are kept for good", n)
		}
		if refused == 0 {
			fewest = room
		}
		if refused == len(shapes) {
			break
		}
	}
	// The block takes 2 MiB and the texts of a batch, the page of everybody as much again.
	if fewest == 0 || fewest > 5<<20 {
		t.Errorf("listings need %d KiB", fewest>>10)
	}
}

// TestFoldOfLongTexts folds more bytes of one attribute than a fold holds: its blocks come
// into a table of their own, and all is there, also when some are changed and folded again,
// and when the store is opened again.
func TestFoldOfLongTexts(t *testing.T) {
	notRaced(t)
	o := &Options{FS: vfs.NewMem(), Memory: minMemory, Durability: SyncNone, Clock: textClock}
	db, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	k := &texts{db: db}
	k.apply(t, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "memo", Attribute: schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}})
	})
	text := func(i, turn int) string {
		return strings.Repeat(fmt.Sprintf("%d of %d ", i, turn), textBytes)[:textBytes]
	}
	write := func(people, turn int) {
		for i := 0; i < people; i += 50 {
			k.apply(t, func(b *batch.Builder) {
				for j := i; j < i+50; j++ {
					b.Upsert(fmt.Sprint("k", j)).Set("memo", schema.StringValue(text(j, turn)))
				}
			})
		}
		before, err := k.db.Digests(t.Context())
		if err == nil {
			err = k.db.Compact(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if after, err := k.db.Digests(t.Context()); err != nil || after.Content != before.Content {
			t.Fatalf("folding has changed the content: %v", err)
		}
	}
	const people = 1100
	write(people, 1)
	write(50, 2)
	if err := k.db.Close(); err != nil {
		t.Fatal(err)
	}
	if k.db, err = Open("store", o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.db.Close() }()
	r, err := k.db.Check(t.Context(), nil)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("a check: %v, %v", err, r.Problems)
	}
	for i, turn := range map[int]int{0: 2, 49: 2, 50: 1, people - 1: 1} {
		p, err := k.db.Profile(t.Context(), fmt.Sprint("k", i), nil)
		if err != nil || len(p.Values) != 1 || p.Values[0].Value.Str() != text(i, turn) {
			t.Errorf("person %d: %v", i, err)
		}
	}
}

// notRaced leaves a test out of the short run, which is the race detector's, as wholeOnly does
// for tests outside the package.
func notRaced(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it runs in make test; the race detector makes it ten times slower and finds nothing in it")
	}
}
