package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// crowd is a store of people over two chunks, all of whose values change in every round:
// in round n at n seconds, n is who has done what.
type crowd struct {
	*testing.T
	db     *DB
	now    time.Time
	told   atomic.Int64 // now, for the store's goroutines
	people int
}

const crowdRounds = 5

func second(n int) time.Time {
	return time.UnixMilli(1_780_000_000_000).Add(time.Duration(n) * time.Second).UTC()
}

func (c *crowd) set(now time.Time) {
	c.now = now
	c.told.Store(now.UnixMilli())
}

func newCrowd(t *testing.T, memory int64) *crowd {
	t.Helper()
	c := &crowd{T: t, people: 1200}
	c.set(second(0))
	var err error
	if c.db, err = Open("", &Options{FS: vfs.NewMem(), FirstOrdinal: 1<<16 - 600, Memory: memory, Clock: func() time.Time { return time.UnixMilli(c.told.Load()).UTC() }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.db.Close() })
	c.apply(func(b *batch.Builder) {
		for _, a := range []schema.Attribute{{Name: "plan", Kind: schema.String}, {Name: "n", Kind: schema.Int}, {Name: "tags", Kind: schema.Set},
			{Name: "mail", Kind: schema.String, Storage: schema.StorageInline}} {
			a.History = true
			b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
		}
	})
	for round := 1; round <= crowdRounds; round++ {
		c.set(second(round))
		c.apply(func(b *batch.Builder) {
			for i := range c.people {
				b.Upsert(fmt.Sprint("k", i)).Set("plan", schema.StringValue(fmt.Sprint("p", (i+round)%3))).Set("n", schema.IntValue(int64(round*1000+i))).
					Set("tags", schema.SetValue("all", fmt.Sprint("t", (i+round)%3))).Set("mail", schema.StringValue(fmt.Sprintf("%d@%d", i, round)))
			}
		})
		if round == 3 {
			if err := c.db.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func (c *crowd) apply(fill func(b *batch.Builder)) {
	c.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	if err != nil {
		c.Fatal(err)
	}
	if r, err := c.db.Apply(c.Context(), raw); err != nil || r.Accepted != r.Received {
		c.Fatalf("%+v %v", r, err)
	}
}

// ask asks a snapshot about an instant in a round.
func (c *crowd) ask(s query.Snapshot, round, ms int) error {
	o := &query.Options{Now: second(round).Add(time.Duration(ms) * time.Millisecond)}
	third := (c.people + 2) / 3
	for expr, want := range map[string]int{
		`plan == "p1"`: third, `tags.hasAny(["t2"])`: third, fmt.Sprintf("n >= %d && n < %d", round*1000, round*1000+10): 10,
		fmt.Sprintf(`mail == "77@%d"`, round): 1, fmt.Sprintf(`mail == "77@%d"`, round+1): 0, `tags.hasAny(["all"])`: c.people,
	} {
		got, err := s.Count(c.Context(), expr, o)
		if err != nil {
			return err
		}
		if got.Count != uint64(want) || len(got.Current) > 0 {
			return fmt.Errorf("at %v: %s: %d, want %d (as now: %v)", o.Now, expr, got.Count, want, got.Current)
		}
	}
	p, err := s.Profile(c.Context(), "k77", &query.ProfileOptions{Options: *o})
	if err == nil && (len(p.Values) != 4 || p.Values[1].Value.Ordered() != int64(round*1000+77)) {
		err = fmt.Errorf("at %v: %v", o.Now, p.Values)
	}
	return err
}

// TestPasts asks one snapshot about many instants at once, with much and with little
// memory, and looks that nothing is kept of them when it is closed.
func TestPasts(t *testing.T) {
	for _, memory := range []int64{1 << 28, 1 << 26} {
		c := newCrowd(t, memory)
		s, err := c.db.snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 12 {
					if err := c.ask(s, 1+(i+k)%(crowdRounds-1), i%3); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		wg.Wait()
		if n := len(s.pasts.at); n == 0 || n > maxPasts {
			t.Errorf("%d instants are kept", n)
		}
		if err := c.ask(s, 2, 0); err != nil {
			t.Error(err)
		}
		used := c.db.cache.Used()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left := c.db.cache.Used(); len(s.pasts.at) != 0 || left >= used {
			t.Errorf("a closed snapshot keeps the past: %d bytes of %d in the cache", left, used)
		}
	}
}

// TestClockBehind: whoever does not name an instant is told what was last written, though
// the clock is behind the record.
func TestClockBehind(t *testing.T) {
	c := newCrowd(t, 1<<26)
	c.set(second(2))
	got, err := c.db.Count(t.Context(), fmt.Sprintf("n >= %d", crowdRounds*1000), nil)
	if err != nil || got.Count != uint64(c.people) {
		t.Errorf("%+v %v", got, err)
	}
	got, err = c.db.Count(t.Context(), fmt.Sprintf("n >= %d", crowdRounds*1000), &query.Options{Now: c.now})
	if err != nil || got.Count != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// TestHistoryStats: changes are counted apart, stored apart, and gone with the history.
func TestHistoryStats(t *testing.T) {
	c := newCrowd(t, 1<<26)
	if err := c.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := c.db.Stats(t.Context())
	if want := uint64(4 * crowdRounds * c.people); err != nil || st.Changes != want || st.Events != 0 || st.BaseBytes["changes"] == 0 {
		t.Errorf("%d changes, want %d; %d events; %v %v", st.Changes, want, st.Events, st.BaseBytes, err)
	}
	before, err := c.db.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sch, err := c.db.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.apply(func(b *batch.Builder) {
		for _, a := range sch.Attributes {
			a.History = false
			b.Change(schema.Change{Op: schema.Widen, Name: a.Name, Attribute: a})
		}
	})
	after, err := c.db.Digests(t.Context())
	if err != nil || after.Content != before.Content || after.Replica == before.Replica {
		t.Errorf("without changes the digests are %x and %x, with them %x and %x (%v)", after.Content, after.Replica, before.Content, before.Replica, err)
	}
	if st, err = c.db.Stats(t.Context()); err != nil || st.Changes != 0 || st.BaseBytes["changes"] != 0 {
		t.Errorf("%d changes, %v %v", st.Changes, st.BaseBytes, err)
	}
	_, err = c.db.Timeline(t.Context(), "k1", &query.TimelineOptions{Events: []string{"plan"}})
	if !errors.Is(err, &query.Error{Code: query.CodeType}) {
		t.Error(err)
	}
	if report, err := c.db.Check(t.Context(), nil); err != nil || len(report.Problems) > 0 {
		t.Errorf("%q %v", report.Problems, err)
	}
}

// TestKeyHashesOfSeveralEvents: keys are found for ordinals that come several times, also
// in the head.
func TestKeyHashesOfSeveralEvents(t *testing.T) {
	c := newCrowd(t, 1<<26)
	c.apply(func(b *batch.Builder) {
		for i := range 50 {
			b.Upsert(fmt.Sprint("new ", i))
		}
	})
	s, err := c.db.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	read := readKeyHashes(&s.s.State, 0)
	var ords []uint32
	for ord := uint32(1<<16 - 600); ord < s.s.End; ord++ {
		for range 1 + ord%3 {
			ords = append(ords, ord)
		}
	}
	got := make([]uint64, len(ords))
	if err := read(ords, got); err != nil {
		t.Fatal(err)
	}
	for i, ord := range ords {
		var want [1]uint64
		if err := read([]uint32{ord}, want[:]); err != nil || got[i] != want[0] {
			t.Fatalf("ordinal %d: %x, alone %x (%v)", ord, got[i], want[0], err)
		}
	}
}

// TestWhyNextFolded: a change of an attribute is met too where, at the question's instant,
// now alone decided.
func TestWhyNextFolded(t *testing.T) {
	c := newCrowd(t, 1<<26)
	late := second(3).Add(500 * time.Millisecond)
	for text, want := range map[string]time.Time{
		fmt.Sprintf("now >= timestamp(%q) && n == 3000", late.Format(time.RFC3339Nano)): late,
		fmt.Sprintf("now >= timestamp(%q) && n == 4000", late.Format(time.RFC3339Nano)): second(4),
		fmt.Sprintf("now < timestamp(%q) || n == 3000", late.Format(time.RFC3339Nano)):  second(4),
	} {
		w, err := c.db.Why(t.Context(), "k0", text, &query.WhyOptions{Options: query.Options{Now: second(1)}})
		if err != nil || !w.Next.At.Equal(want) {
			t.Errorf("%s: %+v %v, want %v", text, w.Next, err, want)
		}
	}
}

// TestWhyNextOfMany: as many later changes are looked at as there may be moments, that of
// the very instant that is asked about not among them and that a millisecond later the first.
func TestWhyNextOfMany(t *testing.T) {
	c := &crowd{T: t}
	at := func(n int) time.Time { return second(0).Add(time.Duration(n) * time.Millisecond) }
	c.set(at(0))
	var err error
	if c.db, err = Open("", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.UnixMilli(c.told.Load()).UTC() }}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.db.Close() }()
	c.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Name: "n", Kind: schema.Int, History: true}})
	})
	const changes = syntax.MaxMoments + 2
	for n := 1; n <= changes; n++ {
		c.set(at(n))
		c.apply(func(b *batch.Builder) { b.Upsert("k").Set("n", schema.IntValue(int64(n))) })
	}
	for now, want := range map[int]query.NextChange{
		2: {At: at(3), To: query.Verdict{Truth: query.True}},
		1: {NotDerivable: "its attributes have changed too often since"},
	} {
		w, err := c.db.Why(t.Context(), "k", fmt.Sprintf("n == %d", now+1), &query.WhyOptions{Options: query.Options{Now: at(now)}})
		if err != nil || w.Next != want {
			t.Errorf("%d changes later than now: %+v %v, want %+v", changes-now, w.Next, err, want)
		}
	}
}

// TestPastNamesLists: an answer about the past names the lists that it reads as they are
// now, whatever way it reads them.
func TestPastNamesLists(t *testing.T) {
	c := newCrowd(t, 1<<26)
	c.apply(func(b *batch.Builder) {
		b.ListPut("vip", "k1")
		b.Change(schema.Change{Op: schema.AddComputed, Name: "fee", Text: `in_list("vip") ? 1 : 2`})
	})
	c.apply(func(b *batch.Builder) { b.SaveSegment("dear", `fee == 1`) })
	past := query.Options{Now: second(2)}
	want := `[in_list("vip")]`
	for _, text := range []string{`in_list("vip")`, `!in_list("vip") && n > 0`, `(in_list("vip") ? 1 : 2) < n`, `fee == 2`, `in_segment("dear")`, `in_segment("dear") == (n > 0)`} {
		got, err := c.db.Count(t.Context(), text, &past)
		if err != nil || fmt.Sprint(got.Current) != want {
			t.Errorf("%s: as now %v %v", text, got.Current, err)
		}
		w, err := c.db.Why(t.Context(), "k1", text, &query.WhyOptions{Options: past})
		if err != nil || fmt.Sprint(w.Current) != want {
			t.Errorf("why %s: as now %v %v", text, w.Current, err)
		}
	}
	b, err := c.db.Breakdown(t.Context(), "true", "fee", &query.BreakdownOptions{Options: past})
	if err != nil || fmt.Sprint(b.Current) != want {
		t.Errorf("breakdown: as now %v %v", b.Current, err)
	}
	m, err := c.db.Members(t.Context(), "true", &query.MembersOptions{Options: past, Attributes: []string{"fee"}})
	if err != nil || fmt.Sprint(m.Current) != want {
		t.Errorf("members: as now %v %v", m.Current, err)
	}
}
