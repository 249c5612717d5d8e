package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Databases is the conformance suite of what stands for a store. over makes one of an open
// store, which closes with the test. Whatever is asked of the two has the same answers and the
// same errors.
func Databases(t *testing.T, over func(t *testing.T, db *engine.DB) Database) {
	databases(t, nil, over)
}

// Replicated is Databases of stores that are replicas: whoever writes proposes to a log.
func Replicated(t *testing.T, over func(t *testing.T, db *engine.DB) Database) {
	databases(t, NewLog, over)
}

func databases(t *testing.T, log func() *Log, over func(t *testing.T, db *engine.DB) Database) {
	pair := func(t *testing.T) (*engine.DB, Database) {
		o := &engine.Options{Clock: databaseNow, PurgeAfter: -1}
		var m *Member
		if log != nil {
			m = log().Member()
			o.Replica = m.Options()
		}
		db, err := engine.Open("", o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if m != nil {
			m.Run(db)
			t.Cleanup(func() {
				if err := m.Stop(); err != nil {
					t.Error(err)
				}
			})
		}
		return db, over(t, db)
	}
	t.Run("asked", func(t *testing.T) {
		store, db := pair(t)
		load(t, db)
		if err := store.Compact(t.Context()); err != nil { // plans tell where it is read
			t.Fatal(err)
		}
		s := &suite{store: store, db: db}
		t.Run("questions", s.questions)
		t.Run("snapshots", s.snapshots)
		t.Run("listings", s.listings)
		t.Run("errors", s.errors)
		t.Run("memory", s.memory)
		t.Run("ended", s.ended)
		t.Run("state", s.state)
		t.Run("exports", s.exports)
	})
	t.Run("written", func(t *testing.T) {
		store, db := pair(t)
		s := &suite{store: store, db: db}
		s.writes(t)
		s.submits(t)
		s.erasures(t)
		s.service(t)
	})
}

// suite compares a store with what stands for it.
type suite struct {
	store *engine.DB
	db    Database
}

// load fills a store through what stands for it.
func load(t *testing.T, db Database) {
	t.Helper()
	apply(t, db, databaseSchema(t))
	for _, b := range databaseBatches(t, rand.New(rand.NewPCG(1, 2))) {
		apply(t, db, b)
	}
}

func apply(t *testing.T, db Database, b batch.Batch) batch.Result {
	t.Helper()
	r, err := db.Apply(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// same asks both and compares.
func same[T any](t *testing.T, what string, a, b query.Asker, ask func(query.Asker) (T, error)) {
	t.Helper()
	x, err := ask(a)
	y, err2 := ask(b)
	if d := differentErrors(err, err2); d != "" {
		t.Errorf("%s: errors: %s", what, d)
	} else if err == nil && different(x, y) != "" {
		t.Errorf("%s%s", what, different(x, y))
	}
}

// eachQuestion calls f with questions of every kind.
func eachQuestion(ctx context.Context, f func(what string, ask func(query.Asker) (any, error))) {
	rng := rand.New(rand.NewPCG(3, 4))
	ago := &query.Options{Now: databaseNow().AddDate(0, -1, 0), Parallelism: 1}
	f("Schema", func(a query.Asker) (any, error) { return a.Schema(ctx) })
	f("Segments", func(a query.Asker) (any, error) { return a.Segments(ctx) })
	f("Lists", func(a query.Asker) (any, error) { return a.Lists(ctx) })
	f("Definitions", func(a query.Asker) (any, error) { return a.Definitions(ctx) })
	for i := range 60 {
		expr := randomSegment(rng, 3)
		f("Count "+expr, func(a query.Asker) (any, error) { return a.Count(ctx, expr, nil) })
		f("Count then "+expr, func(a query.Asker) (any, error) { return a.Count(ctx, expr, ago) })
		f("Bitmap "+expr, func(a query.Asker) (any, error) { return a.Bitmap(ctx, expr, nil) })
		if i%6 > 0 {
			continue
		}
		f("Plan "+expr, func(a query.Asker) (any, error) { return a.Plan(ctx, expr, nil) })
		f("Explain "+expr, func(a query.Asker) (any, error) { return a.Explain(ctx, expr, nil) })
		key := personKey(rng.IntN(databasePeople))
		f("Why "+key+" "+expr, func(a query.Asker) (any, error) { return a.Why(ctx, key, expr, nil) })
		f("Why ago "+key+" "+expr, func(a query.Asker) (any, error) { return a.Why(ctx, key, expr, &query.WhyOptions{Options: *ago}) })
		for _, by := range []string{"vip", "age", "score", "ltv", "country", "born", "likes", "band", `rfm("orders").segment`} {
			f("Breakdown "+by+" "+expr, func(a query.Asker) (any, error) {
				return a.Breakdown(ctx, expr, by, &query.BreakdownOptions{Top: 3 + i})
			})
		}
	}
	for i := range 20 {
		key := personKey(i)
		f("Profile "+key, func(a query.Asker) (any, error) { return a.Profile(ctx, key, nil) })
		f("Profile all "+key, func(a query.Asker) (any, error) {
			return a.Profile(ctx, key, &query.ProfileOptions{Lifetime: true, Lent: true, Events: 3})
		})
		f("ProfileBy "+key, func(a query.Asker) (any, error) {
			return a.ProfileBy(ctx, "email", fmt.Sprintf("p%d@example.com", i), &query.ProfileOptions{Events: -1})
		})
		f("Timeline "+key, func(a query.Asker) (any, error) { return a.Timeline(ctx, key, &query.TimelineOptions{Limit: 3}) })
		f("Timeline part "+key, func(a query.Asker) (any, error) {
			return a.Timeline(ctx, key, &query.TimelineOptions{Options: *ago, From: databaseNow().AddDate(-1, 0, 0), To: databaseNow().AddDate(0, -2, 0), Events: []string{"purchase", "plan"}})
		})
	}
	for _, attribute := range []string{"country", "email", "likes", "age"} {
		f("Values "+attribute, func(a query.Asker) (any, error) { return a.Values(ctx, attribute, "p1", 7) })
		f("Values all "+attribute, func(a query.Asker) (any, error) { return a.Values(ctx, attribute, "", 0) })
	}
	eachAnalysis(ctx, f)
}

func eachAnalysis(ctx context.Context, f func(what string, ask func(query.Asker) (any, error))) {
	for _, q := range []struct {
		name, who, cell string
		args            query.Arguments
	}{
		{"rfm", "", "champions", query.Arguments{"event": {"purchase.in_last(days(150))"}, "amount": {"e.amount"}, "reach": {"vip"}}},
		{"trend", "age > 20", "2026-05-04", query.Arguments{"event": {"purchase", "visit"}, "per": {"week"}, "by": {"country"}}},
		{"funnel", "", "1", query.Arguments{"step": {"visit", "purchase"}, "within": {"30d"}}},
		{"compare", "vip", "", nil},
		{"breakdown", "true", "", query.Arguments{"by": {"country", "vip"}}},
		{"basket", "", "", query.Arguments{"event": {"purchase"}, "item": {"product"}}},
		{"nothing", "", "", nil},
		{"rfm", "age >", "", query.Arguments{"event": {"purchase"}}},
		{"trend", "", "", query.Arguments{"event": {"purchse"}}},
	} {
		f("Analyze "+q.name, func(a query.Asker) (any, error) { return a.Analyze(ctx, q.name, q.who, q.args, nil) })
		f("AnalysisMembers "+q.name+" "+q.cell, func(a query.Asker) (any, error) {
			m, err := a.AnalysisMembers(ctx, q.name, q.who, q.args, q.cell, &query.MembersOptions{Attributes: []string{"age"}, Limit: 50})
			return readListing(m, err, 50)
		})
	}
}

// questions asks for what is current.
func (s *suite) questions(t *testing.T) {
	eachQuestion(t.Context(), func(what string, ask func(query.Asker) (any, error)) { same(t, what, s.store, s.db, ask) })
	n, err := s.db.Count(t.Context(), "true", nil)
	if err != nil || n.Count != databasePeople-1 {
		t.Errorf("there are %d people (%v), %d were made and one is deleted", n.Count, err, databasePeople)
	}
}

// snapshots asks two snapshots the same, while the store goes on.
func (s *suite) snapshots(t *testing.T) {
	a, err := s.store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := s.db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	late := batch.New()
	late.Upsert("late").Set("country", schema.StringValue("FI"))
	apply(t, s.db, encoded(t, late))
	if a.Position() != b.Position() {
		t.Errorf("the snapshots are at %v and %v", a.Position(), b.Position())
	}
	eachQuestion(t.Context(), func(what string, ask func(query.Asker) (any, error)) { same(t, what, a, b, ask) })
	before, err := b.Count(t.Context(), "true", nil)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := s.db.Count(t.Context(), "true", nil); err != nil || now.Count != before.Count+1 {
		t.Errorf("%d people now (%v), %d in the snapshot before one came", now.Count, err, before.Count)
	}
	_ = a.Close()
	_ = b.Close()
	same(t, "closed", a, b, func(a query.Asker) (query.Count, error) {
		n, err := a.Count(t.Context(), "true", nil)
		if errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) {
			err = nil // in other words
		} else {
			t.Errorf("a question of a closed snapshot: %v", err)
		}
		return n, err
	})
}

// readRows is what a listing comes to.
type readRows struct {
	Attributes []schema.Attribute
	Total      uint64
	Rows       []query.Member
	Next       string
	query.Answer
}

// readListing reads a listing as far as so many rows.
func readListing(m query.Members, err error, rows int) (out readRows, _ error) {
	if err != nil {
		return out, err
	}
	out = readRows{Attributes: m.Attributes, Total: m.Total, Answer: m.Answer}
	for row, err := range m.Rows {
		if err != nil {
			return out, err
		}
		if out.Rows = append(out.Rows, row); len(out.Rows) == rows {
			break
		}
	}
	out.Next = m.Next()
	return out, nil
}

// listings reads listings in every order, to the end, in pages and broken off.
func (s *suite) listings(t *testing.T) {
	ctx := t.Context()
	every := []string{"vip", "age", "score", "ltv", "country", "email", "born", "seen", "likes", "plan", "band"}
	for _, order := range []string{"", "vip", "age", "score", "ltv", "country", "email", "born", "seen", "band", "likes", "nothing"} {
		for _, desc := range []bool{false, true} {
			for _, rows := range []int{0, 7, 1025} {
				same(t, fmt.Sprintf("Members by %q, desc %v, %d of them", order, desc, rows), s.store, s.db, func(a query.Asker) (readRows, error) {
					m, err := a.Members(ctx, "age >= 30 || visit.any()", &query.MembersOptions{OrderBy: order, Desc: desc, Attributes: every})
					return readListing(m, err, rows)
				})
			}
			s.pages(t, order, desc)
		}
	}
	same(t, "Members after a key", s.store, s.db, func(a query.Asker) (readRows, error) {
		m, err := a.Members(ctx, "vip", &query.MembersOptions{OrderBy: "age", AfterKey: personKey(17), Limit: 10})
		return readListing(m, err, 0)
	})
	m, err := s.db.Members(ctx, "true", &query.MembersOptions{After: "AQcAAAAA"})
	if _, err = readListing(m, err, 0); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("a cursor that is none: %v", err)
	}
	same(t, "Members with what is lent", s.store, s.db, func(a query.Asker) (readRows, error) {
		m, err := a.Members(ctx, "vip", &query.MembersOptions{Attributes: []string{`rfm("orders").segment`, `rfm("orders").r`}, Limit: 300})
		return readListing(m, err, 0)
	})
	same(t, "nobody", s.store, s.db, func(a query.Asker) (readRows, error) {
		m, err := a.Members(ctx, "age > 119", nil)
		return readListing(m, err, 0)
	})
	m, err = s.db.Members(ctx, "true", nil)
	if err != nil || m.Next() != "" {
		t.Errorf("a listing that is not read goes on after %q (%v)", m.Next(), err)
	}
}

// pages reads a listing in pages from both by turns: the cursors are the same.
func (s *suite) pages(t *testing.T, order string, desc bool) {
	sources := []query.Asker{s.db, s.store}
	after, seen := "", map[string]bool{}
	for i := 0; ; i++ {
		m, err := sources[i%2].Members(t.Context(), "vip", &query.MembersOptions{OrderBy: order, Desc: desc, Limit: 400, After: after})
		if errors.Is(err, &query.Error{Code: query.CodeType}) || errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			return
		}
		part, err := readListing(m, err, []int{0, 399, 250}[i%3])
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range part.Rows {
			if seen[row.Key] {
				t.Fatalf("by %q: %s comes twice", order, row.Key)
			}
			seen[row.Key] = true
		}
		if after = part.Next; after == "" {
			if uint64(len(seen)) != part.Total {
				t.Errorf("by %q: the pages have %d people, all are %d", order, len(seen), part.Total)
			}
			return
		}
	}
}

// errors compares the errors of questions that cannot be answered.
func (s *suite) errors(t *testing.T) {
	ctx := t.Context()
	for _, expr := range []string{"", "age >", "aeg > 3", "age == \"x\"", "age > 3 &&\n  cuntry == \"IT\"", `in_segment("adlts")`, "sequence()", "purchase.in_last(days(-1)).any()",
		strings.Repeat("(", 100) + "vip" + strings.Repeat(")", 100), strings.Repeat("vip || ", 4000) + "vip", `p["é"] == "ü"`, "age / 0 > 1"} {
		same(t, "Count "+expr[:min(len(expr), 40)], s.store, s.db, func(a query.Asker) (query.Count, error) { return a.Count(ctx, expr, nil) })
		same(t, "Bitmap "+expr[:min(len(expr), 40)], s.store, s.db, func(a query.Asker) (query.Bitmap, error) { return a.Bitmap(ctx, expr, nil) })
		same(t, "Members "+expr[:min(len(expr), 40)], s.store, s.db, func(a query.Asker) (readRows, error) {
			m, err := a.Members(ctx, expr, &query.MembersOptions{Limit: 3})
			return readListing(m, err, 0)
		})
	}
	same(t, "nobody", s.store, s.db, func(a query.Asker) (query.Profile, error) { return a.Profile(ctx, "nobody", nil) })
	same(t, "no attribute", s.store, s.db, func(a query.Asker) (query.Profile, error) { return a.ProfileBy(ctx, "", "x", nil) })
	same(t, "not unique", s.store, s.db, func(a query.Asker) (query.Profile, error) { return a.ProfileBy(ctx, "age", "3", nil) })
	same(t, "breakdown", s.store, s.db, func(a query.Asker) (query.Breakdown, error) { return a.Breakdown(ctx, "true", "contry", nil) })
	same(t, "values", s.store, s.db, func(a query.Asker) ([]query.ValueCount, error) { return a.Values(ctx, "aeg", "", 0) })
	same(t, "timeline", s.store, s.db, func(a query.Asker) (query.Timeline, error) {
		return a.Timeline(ctx, personKey(1), &query.TimelineOptions{Limit: -1})
	})
	same(t, "limit", s.store, s.db, func(a query.Asker) (readRows, error) {
		m, err := a.Members(ctx, "true", &query.MembersOptions{Limit: -1})
		return readListing(m, err, 0)
	})
	if err := s.db.Export(ctx, "nobody", io.Discard); differentErrors(s.store.Export(ctx, "nobody", io.Discard), err) != "" {
		t.Errorf("an export of nobody: %v", err)
	}
}

// memory asks questions that allow themselves too little memory, more than there is, and less
// than none.
func (s *suite) memory(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		bytes int64
		want  query.Code // 0: it is answered
	}{{1, query.CodeBudget}, {100 << 10, query.CodeBudget}, {64 << 20, 0}, {1 << 62, 0}, {-1, query.CodeInvalid}, {-1 << 63, query.CodeInvalid}} {
		o := query.Options{Parallelism: 1, Memory: c.bytes}
		for what, ask := range map[string]func(a query.Asker) (any, error){
			"Count":   func(a query.Asker) (any, error) { return a.Count(ctx, "age > 3", &o) },
			"Bitmap":  func(a query.Asker) (any, error) { return a.Bitmap(ctx, "age > 3", &o) },
			"Plan":    func(a query.Asker) (any, error) { return a.Plan(ctx, "age > 3", &o) },
			"Explain": func(a query.Asker) (any, error) { return a.Explain(ctx, "age > 3", &o) },
			"Breakdown": func(a query.Asker) (any, error) {
				return a.Breakdown(ctx, "true", "country", &query.BreakdownOptions{Options: o})
			},
			"Members": func(a query.Asker) (any, error) {
				m, err := a.Members(ctx, "true", &query.MembersOptions{Options: o, Limit: 3})
				return readListing(m, err, 3)
			},
			"Analyze": func(a query.Asker) (any, error) {
				return a.Analyze(ctx, "breakdown", "true", query.Arguments{"by": {"country"}}, &o)
			},
			"AnalysisMembers": func(a query.Asker) (any, error) {
				m, err := a.AnalysisMembers(ctx, "rfm", "", query.Arguments{"event": {"purchase"}}, "champions", &query.MembersOptions{Options: o, Limit: 3})
				return readListing(m, err, 3)
			},
			"definitions": func(a query.Asker) (any, error) { return a.Count(ctx, `rfm("orders").r > 1`, &o) },
		} {
			what = fmt.Sprintf("%s in %d bytes", what, c.bytes)
			same(t, what, s.store, s.db, ask)
			if _, err := ask(s.db); (c.want == 0) != (err == nil) || err != nil && !errors.Is(err, &query.Error{Code: c.want}) {
				t.Errorf("%s: %v, not code %d", what, err, c.want)
			}
		}
		for what, ask := range map[string]func(a query.Asker) (any, error){ // which take hardly any
			"Profile": func(a query.Asker) (any, error) {
				return a.Profile(ctx, personKey(1), &query.ProfileOptions{Options: o, Lent: true})
			},
			"Timeline": func(a query.Asker) (any, error) {
				return a.Timeline(ctx, personKey(1), &query.TimelineOptions{Options: o})
			},
			"Why": func(a query.Asker) (any, error) {
				return a.Why(ctx, personKey(1), `rfm("orders").r > 1`, &query.WhyOptions{Options: o})
			},
		} {
			same(t, fmt.Sprintf("%s in %d bytes", what, c.bytes), s.store, s.db, ask)
		}
	}
}

// ended asks with a context that has ended, and ends one while a listing is read.
func (s *suite) ended(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), databaseNow().AddDate(-20, 0, 0))
	defer cancel()
	for _, ctx := range []context.Context{gone, late} {
		if _, err := s.db.Count(ctx, "true", nil); !errors.Is(err, ctx.Err()) {
			t.Errorf("a count after the end: %v, not %v", err, ctx.Err())
		}
		if _, err := s.db.Apply(ctx, databaseSchema(t)); !errors.Is(err, ctx.Err()) {
			t.Errorf("a write after the end: %v, not %v", err, ctx.Err())
		}
		if _, err := s.db.Snapshot(ctx); !errors.Is(err, ctx.Err()) {
			t.Errorf("a snapshot after the end: %v, not %v", err, ctx.Err())
		}
	}
	reading, cancel := context.WithCancel(t.Context())
	defer cancel()
	m, err := s.db.Members(reading, "true", &query.MembersOptions{Attributes: []string{"email", "likes"}})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, err = range m.Rows {
		if rows++; rows == 1 {
			cancel()
		}
	}
	if rows == databasePeople || !errors.Is(err, context.Canceled) {
		t.Errorf("a listing that was cancelled at its first row had %d rows and ended with %v", rows, err)
	}
}

// state compares what is not asked of people.
func (s *suite) state(t *testing.T) {
	ctx := t.Context()
	of := func(what string, ask func(d Database) (any, error)) {
		t.Helper()
		a, err := ask(s.store)
		b, err2 := ask(s.db)
		if d := differentErrors(err, err2); d != "" {
			t.Errorf("%s: errors: %s", what, d)
		} else if d := different(a, b); d != "" {
			t.Errorf("%s%s", what, d)
		}
	}
	of("Quarantine", func(d Database) (any, error) { return d.Quarantine(ctx, 0, 0) })
	of("Quarantine", func(d Database) (any, error) { return d.Quarantine(ctx, 1, 1) })
	of("Digests", func(d Database) (any, error) { return d.Digests(ctx) })
	of("Receipts", func(d Database) (any, error) { return d.Receipts(ctx) })
	of("Stats", func(d Database) (any, error) {
		s, err := d.Stats(ctx)
		s.MemoryUsed, s.CacheBytes, s.DiskBytes = 0, 0, 0 // they change by themselves
		return s, err
	})
	of("Check", func(d Database) (any, error) { return d.Check(ctx, nil) })
	if rows, err := s.db.Quarantine(ctx, 0, 0); err != nil || len(rows) == 0 {
		t.Errorf("%d rows are in the quarantine (%v)", len(rows), err)
	}
}

// exports compares what is written.
func (s *suite) exports(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(s.store.Export(t.Context(), personKey(3), &a), s.db.Export(t.Context(), personKey(3), &b)); err != nil {
		t.Fatal(err)
	}
	if a.Len() == 0 || a.String() != b.String() {
		t.Errorf("the exports of a person differ: %s\n%s", a.String(), b.String())
	}
	x, y := &sections{}, &sections{}
	progress := 0
	had, err := s.store.ExportAll(t.Context(), x.create, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.db.ExportAll(t.Context(), y.create, &query.ExportOptions{Progress: func(uint64, string) { progress++ }})
	if err != nil {
		t.Fatal(err)
	}
	if d := different(had, got); d != "" || x.text.String() != y.text.String() || x.text.Len() == 0 {
		t.Errorf("the exports differ: %s; %d and %d bytes", d, x.text.Len(), y.text.Len())
	}
	if progress == 0 {
		t.Error("nobody was told how far the export was")
	}
	full := errors.New("full")
	if _, err := s.db.ExportAll(t.Context(), func(string) (io.WriteCloser, error) { return nil, full }, nil); !errors.Is(err, full) {
		t.Errorf("an export that cannot be written: %v", err)
	}
	if err := s.db.Export(t.Context(), personKey(3), failingWriter{full}); !errors.Is(err, full) {
		t.Errorf("an export of a person that cannot be written: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// sections collects the sections of an export.
type sections struct{ text bytes.Buffer }

func (s *sections) create(name string) (io.WriteCloser, error) {
	fmt.Fprintf(&s.text, "== %s\n", name)
	return section{s}, nil
}

type section struct{ *sections }

func (s section) Write(b []byte) (int, error) { return s.text.Write(b) }

func (s section) Close() error {
	_, err := s.text.WriteString("==\n")
	return err
}
