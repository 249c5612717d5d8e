package engine

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// The stores in testdata/stores must open for ever: see the README there.
const goldenStores = "testdata/stores"

// maxGolden bounds a fixture: it is in the repository for ever.
const maxGolden = 300 << 10

// TestGoldenStores opens the store of every format there has been, checks it, asks it what it
// was asked when it was made, and writes to it.
func TestGoldenStores(t *testing.T) {
	if flag.Lookup("rewrite").Value.String() == "true" {
		makeGolden(t, fmt.Sprint(1))
	}
	names, err := filepath.Glob(goldenStores + "/*.tar.zst")
	if err != nil || len(names) == 0 {
		t.Fatalf("no stores: %v", err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".tar.zst")
		for how, lower := range map[string]bool{"": false, " with low limits": true} {
			t.Run(base+how, func(t *testing.T) {
				g := &golden{T: t}
				g.told.Store(goldenEnd.UnixMilli())
				dir := t.TempDir()
				g.unpack(name, dir)
				want, err := os.ReadFile(filepath.Join(goldenStores, base+".txt"))
				if err != nil {
					t.Fatal(err)
				}
				g.open(dir, lower)
				g.compare("opened", string(want))
				g.check()
				g.must(g.db.Compact(t.Context()))
				g.compare("compacted", string(want))
				g.check()
				g.must(g.db.Close())
				g.open(dir, lower)
				g.compare("opened again", string(want))
				g.write()
				g.check()
				g.must(g.db.Close())
			})
		}
	}
}

// golden is a store of testdata, unpacked, or one that is made for it.
type golden struct {
	*testing.T
	db   *DB
	told atomic.Int64
}

// goldenEnd is when all questions are asked.
var goldenEnd = time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)

func (g *golden) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *golden) open(dir string, lower bool) {
	g.Helper()
	o := &Options{MustExist: lower, Clock: func() time.Time { return time.UnixMilli(g.told.Load()).UTC() }}
	if lower {
		LowerLimits(o, 40, 200, 50)
	}
	db, err := Open(filepath.Join(dir, "store"), o)
	g.must(err)
	g.db = db
	g.Cleanup(func() { _ = db.Close() })
}

func (g *golden) compare(when, want string) {
	g.Helper()
	if got := g.answers(); got != want {
		g.Fatalf("%s, it answers\n%s\nwant\n%s", when, got, want)
	}
}

func (g *golden) check() {
	g.Helper()
	report, err := g.db.Check(g.Context(), nil)
	if err != nil || len(report.Problems) > 0 {
		g.Fatalf("check: %v %q", err, report.Problems)
	}
}

// unpack takes the files out of a fixture. Their names come from outside.
func (g *golden) unpack(name, dir string) {
	g.Helper()
	packed, err := os.ReadFile(name)
	g.must(err)
	if len(packed) > maxGolden {
		g.Errorf("%s has %d bytes, at most %d", name, len(packed), maxGolden)
	}
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderMaxMemory(64<<20))
	g.must(err)
	defer z.Close()
	root, err := os.OpenRoot(dir)
	g.must(err)
	defer root.Close()
	files := tar.NewReader(z)
	for {
		h, err := files.Next()
		if err == io.EOF {
			return
		}
		g.must(err)
		g.must(root.MkdirAll(path.Dir(h.Name), 0o755))
		f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		g.must(err)
		_, err = io.Copy(f, files)
		g.must(err)
		g.must(f.Close())
	}
}

// answers asks everything.
func (g *golden) answers() string {
	g.Helper()
	ctx := g.Context()
	var out strings.Builder
	d, err := g.db.Digests(ctx)
	g.must(err)
	fmt.Fprintf(&out, "content %x\nreplica %x\nchain %x\nposition %s\n", d.Content, d.Replica, d.Chain, d.Position)
	for _, expr := range []string{
		"true", `country == "FI"`, `country in ["FI", "SE"] && plan != "free"`, "age >= 30 && age < 40", "score > 0.5 && !vip", "spent >= 100.00",
		`born < date("1990-01-01")`, `seen > timestamp("2026-01-15T00:00:00Z")`, `likes.hasAny(["tea", "jazz"])`, `mail == "k17@example.org"`, `note == "note 3"`,
		"has(p.plan)", "grown && has(p.score)", `in_list("staff")`, `in_list("nobody")`, `in_segment("loyal")`, `rfm("orders").segment == "champions"`,
		"buy.count() >= 3", "buy.in_last(days(30)).sum(e, e.price) > 50.0", `buy.filter(e, e.item == "cup").any()`, "sequence(days(3), [look, buy]).any()",
		`look.in_last(days(100)).distinct(e, e.page) >= 2`, `buy.filter(e, "red" in e.tags && e.gift).count() > 0`, "buy.last().ts > now - days(10)", `buy.filter(e, e.remark == "remark 4").any()`,
	} {
		n, err := g.db.Count(ctx, expr, nil)
		g.must(err)
		fmt.Fprintf(&out, "count %s: %d, unknown %d\n", expr, n.Count, n.Unknown)
	}
	old, err := g.db.Count(ctx, `plan == "pro"`, &query.Options{Now: goldenStart.AddDate(0, 0, 40)})
	g.must(err)
	fmt.Fprintf(&out, "in the past: %d, unknown %d\n", old.Count, old.Unknown)
	for _, by := range []string{"country", "likes", "vip", "grown"} {
		b, err := g.db.Breakdown(ctx, "true", by, nil)
		g.must(err)
		fmt.Fprintf(&out, "by %s:", by)
		for _, r := range b.Rows {
			fmt.Fprintf(&out, " %s=%d", r.Value, r.Count)
		}
		out.WriteString("\n")
	}
	for _, key := range []string{"k17", "k170", "k1"} {
		p, err := g.db.Profile(ctx, key, &query.ProfileOptions{Lifetime: true, Lent: true, Events: 5})
		if err != nil {
			fmt.Fprintf(&out, "%v\n", err)
			continue
		}
		fmt.Fprintf(&out, "%s: %v %v %v %v %v\n", key, p.Values, p.Computed, p.Lent, p.Lists, p.Segments)
		for _, l := range p.Lifetime {
			fmt.Fprintf(&out, "  %s %d %v\n", l.Event, l.Count, l.Properties)
		}
		for _, e := range p.Events {
			fmt.Fprintf(&out, "  %s %s %v\n", e.Time.Format(time.RFC3339), e.Event, e.Properties)
		}
	}
	lists, err := g.db.Lists(ctx)
	g.must(err)
	for _, l := range lists {
		fmt.Fprintf(&out, "list %s: %d, saved at %s, %q\n", l.Name, l.People, l.Saved, l.Note)
	}
	segments, err := g.db.Segments(ctx)
	g.must(err)
	for _, s := range segments {
		fmt.Fprintf(&out, "segment %s: %q, saved at %s, shared %t, personal %t\n", s.Name, s.Text, s.Saved, s.Shared, s.PII)
	}
	documents, err := g.db.Documents(ctx, "")
	g.must(err)
	for _, d := range documents {
		fmt.Fprintf(&out, "document %s: %q, saved at %s\n", d.Name, d.Value, d.Saved)
	}
	g.must(g.db.Erased(ctx, func(p query.ErasedPerson) error {
		fmt.Fprintf(&out, "erased %s: %s at %s, %q, readmitted %s\n", p.Name, p.Erased.Format(time.RFC3339), p.Position, p.Reference, p.Readmitted.Format(time.RFC3339))
		return nil
	}))
	receipts, err := g.db.Receipts(ctx)
	g.must(err)
	for _, r := range receipts[:1] { // the next purge may come at any moment
		fmt.Fprintf(&out, "receipt up to %s: %d people, %d events, %d strings, %d hits\n", r.Position, r.People, r.Events, r.Strings, r.Hits)
	}
	rows, err := g.db.Quarantine(ctx, 0, 0)
	g.must(err)
	for i := range rows {
		fmt.Fprintf(&out, "quarantine %d: %s, line %d, %s, %s, %s\n", rows[i].Seq, rows[i].Source, rows[i].Line, rows[i].Reason, rows[i].Detail, rows[i].Raw)
	}
	return out.String()
}

// write does what a store must still be able to do: a batch of before is a repeat, an id of
// before is taken, and what is new is there.
func (g *golden) write() {
	g.Helper()
	first := batch.New()
	first.Source("shop", 1, 2)
	g.events(first, rand.New(rand.NewPCG(2, 1)), 2)
	raw, err := first.Encode()
	g.must(err)
	if r, err := g.db.Apply(g.Context(), raw); err != nil || !r.Repeated {
		g.Fatalf("a batch of before: %+v %v", r, err)
	}
	again := batch.New()
	again.Source("shop", 9, 1)
	g.events(again, rand.New(rand.NewPCG(goldenDays-1, 1)), goldenDays-1)
	raw, err = again.Encode()
	g.must(err)
	if r, err := g.db.Apply(g.Context(), raw); err != nil || r.Duplicates == 0 || r.Repeated {
		g.Fatalf("ids of before: %+v %v", r, err)
	}
	before, err := g.db.Count(g.Context(), "true", nil)
	g.must(err)
	mustApply(g.T, g.db, func(b *batch.Builder) {
		b.Strict(true)
		b.Upsert("new").Set("country", schema.StringValue("XX")).Set("age", schema.IntValue(3)).Add("likes", "new")
		b.Upsert("k170").Set("plan", schema.StringValue("other"))
		b.ListAdd("staff", "new")
	})
	after, err := g.db.Count(g.Context(), "true", nil)
	g.must(err)
	if after.Count != before.Count+1 {
		g.Fatalf("%d people after one more, %d before", after.Count, before.Count)
	}
	g.must(g.db.Compact(g.Context()))
}

// goldenStart is when the first record of a fixture was received, goldenDays how many days it tells of.
var goldenStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const goldenDays = 80

// makeGolden makes a store that has every format there is, and its answers.
func makeGolden(t *testing.T, name string) {
	g := &golden{T: t}
	dir := t.TempDir()
	g.told.Store(goldenStart.UnixMilli())
	o := &Options{FirstOrdinal: 1<<16 - 200, PurgeAfter: -1, Clock: func() time.Time { return time.UnixMilli(g.told.Load()).UTC() }}
	LowerLimits(o, 200, 4000, 100)
	var err error
	g.db, err = Open(filepath.Join(dir, "store"), o)
	g.must(err)
	g.setUp()
	for day := range goldenDays {
		g.told.Store(goldenStart.AddDate(0, 0, day).Add(23 * time.Hour).UnixMilli())
		g.day(day)
		if day == 60 {
			mustApply(t, g.db, func(b *batch.Builder) {
				b.Change(schema.Change{Op: schema.Drop, Name: "dropped"})
				b.Change(schema.Change{Op: schema.Rename, Name: "remarks", To: "note"})
				b.Change(schema.Change{Op: schema.DropProperty, Event: "look", Name: "dropped"})
			})
			g.must(g.db.Compact(t.Context()))
		}
		if day == goldenDays-10 {
			g.must(g.db.Compact(t.Context()))
		}
		if day == goldenDays-3 {
			g.must(g.db.KeepLog(t.Context(), true))
		}
		g.erase(day)
	}
	g.told.Store(goldenEnd.UnixMilli())
	g.has()
	want := g.answers()
	g.must(g.db.Close())
	g.pack(dir, name)
	g.must(os.WriteFile(filepath.Join(goldenStores, name+".txt"), []byte(want), 0o644))
}

// erase erases somebody who is purged and returns, and another one who is not purged yet.
func (g *golden) erase(day int) {
	ctx := g.Context()
	switch day {
	case 50:
		_, err := g.db.Erase(ctx, "ticket 50", "k1", "k200")
		g.must(err)
		_, err = g.db.Purge(ctx, nil)
		g.must(err)
	case 55:
		_, err := g.db.Readmit(ctx, "k200")
		g.must(err)
	case 75:
		_, err := g.db.Erase(ctx, "ticket 75", "k201")
		g.must(err)
	}
}

func (g *golden) setUp() {
	mustApply(g.T, g.db, func(b *batch.Builder) {
		b.Strict(true)
		for _, a := range []schema.Attribute{
			{Name: "country", Kind: schema.String}, {Name: "plan", Kind: schema.String, History: true}, {Name: "age", Kind: schema.Int, Min: schema.IntValue(0), History: true},
			{Name: "score", Kind: schema.Float}, {Name: "vip", Kind: schema.Bool}, {Name: "spent", Kind: schema.Decimal, Scale: 2}, {Name: "born", Kind: schema.Date},
			{Name: "seen", Kind: schema.Timestamp}, {Name: "likes", Kind: schema.Set}, {Name: "dropped", Kind: schema.Set},
			{Name: "mail", Kind: schema.String, Storage: schema.StorageInline, Unique: true, PII: true}, {Name: "remarks", Kind: schema.String, Storage: schema.StorageInline},
			{Name: "code", Kind: schema.Int, Unique: true},
		} {
			b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
		}
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
		b.Change(schema.Change{Op: schema.AddEvent, Event: "look", Retention: 60})
		for _, p := range []schema.Attribute{{Name: "item", Kind: schema.String}, {Name: "price", Kind: schema.Decimal, Scale: 2}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool},
			{Name: "weight", Kind: schema.Float}, {Name: "n", Kind: schema.Int}, {Name: "on", Kind: schema.Date}, {Name: "at", Kind: schema.Timestamp}, {Name: "remark", Kind: schema.String, Storage: schema.StorageInline}} {
			b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: p.Name, Attribute: p})
		}
		b.Change(schema.Change{Op: schema.AddProperty, Event: "look", Name: "page", Attribute: schema.Attribute{Kind: schema.String}})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "look", Name: "dropped", Attribute: schema.Attribute{Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddComputed, Name: "grown", Text: "age >= 18"})
		b.SaveSegment("loyal", `grown && buy.count() >= 5`)
		b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "orders", Who: "grown", Arguments: query.Arguments{"event": {"buy"}, "amount": {"e.price"}}})
		b.ListPut("nobody")
		b.PutDocument("role/reader", []byte("may read"))
		b.SaveSegment("vips", "vip && has(p.mail)")
		b.ShareSegment("vips")
	})
}

// day writes what happened on a day.
func (g *golden) day(day int) {
	r := rand.New(rand.NewPCG(uint64(day), 7))
	b := batch.New()
	b.Source("crm", 1, uint64(day))
	remarks := "remarks"
	if day > 60 {
		remarks = "note"
	}
	for range 8 {
		i := r.IntN(300)
		row := b.Upsert(fmt.Sprint("k", i))
		row.Set("country", schema.StringValue([]string{"FI", "SE", "NO", "DK"}[i%4])).Set("plan", schema.StringValue([]string{"free", "pro", "max"}[r.IntN(3)]))
		row.Set("age", schema.IntValue(int64(10+i%60))).Set("score", schema.FloatValue(float64(i)/300)).Set("vip", schema.BoolValue(i%7 == 0))
		row.Set("spent", schema.DecimalValue(int64(i)*137, 2)).Set("born", schema.DateValue(int64(6000+i*20))).Set("seen", schema.TimestampValue(g.told.Load()-int64(i)))
		row.Add("likes", []string{"tea", "jazz", "chess"}[r.IntN(3)])
		row.Set("mail", schema.StringValue(fmt.Sprintf("k%d@example.org", i))).Set(remarks, schema.StringValue(fmt.Sprint("note ", r.IntN(9)))).Set("code", schema.IntValue(int64(i)<<30))
		if day > 60 {
			row.Unset("score")
		} else {
			row.Set("dropped", schema.SetValue(fmt.Sprint("d", i%5)))
		}
	}
	g.apply(b, true)
	b.Reset()
	b.Source("shop", 1, uint64(day))
	g.events(b, rand.New(rand.NewPCG(uint64(day), 1)), day)
	g.apply(b, true)
	switch day % 10 {
	case 0:
		if day == 30 { // so many ids that their run has filters
			b.Reset()
			table := b.Events(nil)
			for i := range 1100 {
				table.Row([]byte("k7"), []byte("look"), g.told.Load())
				table.ID(fmt.Append(nil, "many ", i))
			}
			g.apply(b, true)
		}
	case 3:
		b.Reset()
		b.ListAdd("staff", fmt.Sprint("k", r.IntN(300)), fmt.Sprint("k", r.IntN(300)))
		b.ListNote("staff", fmt.Sprint("day ", day))
		b.Quarantine("file.csv", batch.BadRow{Line: uint64(day), Reason: batch.ReasonRagged, Detail: "detail", Raw: "raw,row"})
		g.apply(b, false)
	case 7:
		b.Reset()
		b.Delete(fmt.Sprint("k", r.IntN(300)))
		g.apply(b, false)
	}
}

// events adds the events of a day, which follow from r.
func (g *golden) events(b *batch.Builder, r *rand.Rand, day int) {
	table := b.Events([]batch.Column{{Name: "item", Kind: schema.String}, {Name: "price", Kind: schema.Decimal, Scale: 2}, {Name: "tags", Kind: schema.Set}, {Name: "gift", Kind: schema.Bool},
		{Name: "weight", Kind: schema.Float}, {Name: "n", Kind: schema.Int}, {Name: "on", Kind: schema.Date}, {Name: "at", Kind: schema.Timestamp}, {Name: "remark", Kind: schema.String},
		{Name: "page", Kind: schema.String}})
	start := goldenStart.AddDate(0, 0, day).UnixMilli()
	for i := range 14 {
		key := fmt.Append(nil, "k", r.IntN(300))
		at := start + int64(r.IntN(80_000_000))
		if i%2 == 0 {
			table.Row(key, []byte("look"), at)
			table.Str(9, fmt.Append(nil, "page ", r.IntN(6)))
			continue
		}
		table.Row(key, []byte("buy"), at)
		table.ID(fmt.Append(nil, day, "/", i))
		table.Str(0, []byte([]string{"cup", "pot", "kettle"}[r.IntN(3)]))
		table.Int(1, int64(r.IntN(5000)))
		table.Elems(2, [][]byte{[]byte("red"), []byte([]string{"big", "small"}[r.IntN(2)])})
		table.Int(3, int64(r.IntN(2)))
		table.Int(4, schema.OrderedFloat(r.Float64()))
		table.Int(5, int64(r.IntN(1000))-500)
		table.Int(6, 20_000+int64(r.IntN(300)))
		table.Int(7, at+int64(r.IntN(1000)))
		table.Str(8, fmt.Append(nil, "remark ", r.IntN(9)))
	}
}

// apply applies a batch; what does not fit is quarantined, unless nothing may be.
func (g *golden) apply(b *batch.Builder, fits bool) {
	raw, err := b.Encode()
	g.must(err)
	res, err := g.db.Apply(g.Context(), raw)
	g.must(err)
	if fits && res.Accepted == 0 {
		g.Fatalf("%+v", res)
	}
}

// has sees to it that a fixture has every kind of stored value.
func (g *golden) has() {
	found := map[string]bool{}
	g.must(g.db.kv.Scan(g.Context(), keys.Span{Start: []byte{0}, End: []byte{0xFF}}, func(k, _ []byte) (bool, error) {
		found[fmt.Sprintf("%02x", k[0])] = true
		for prefix, at := range map[byte]int{0x10: 17, 0x11: 13, 0x21: 22, 0x22: 13, 0x24: 17} { // where the kind stands
			if k[0] == prefix {
				found[fmt.Sprintf("%02x/%d", prefix, k[at])] = true
			}
		}
		return true, nil
	}))
	// Every prefix that the comment of package keys has, and every kind.
	text, err := os.ReadFile("internal/keys/keys.go")
	g.must(err)
	wanted := strings.Fields("10/0 10/1 10/2 10/3 11/5 11/6 21/7 21/8 21/10 22/5 22/9 24/3")
	for _, m := range regexp.MustCompile(`(?m)^//\t0x([0-9A-F]{2})   `).FindAllSubmatch(text, -1) {
		wanted = append(wanted, strings.ToLower(string(m[1])))
	}
	if len(wanted) < 28 {
		g.Fatalf("only %v are looked for", wanted)
	}
	for _, want := range wanted {
		if !found[want] {
			g.Errorf("nothing is stored under %s; there is %v", want, found)
		}
	}
	s := g.db.current.Load()
	if s.Tiers.Active == nil || s.Tiers.Active.Values == 0 || len(s.Units) < 10 {
		g.Error("nothing is in the head, or in the base")
	}
}

// pack makes the fixture.
func (g *golden) pack(dir, name string) {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	g.must(err)
	files := tar.NewWriter(z)
	root := os.DirFS(dir)
	g.must(fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		if err := files.WriteHeader(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(text)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = files.Write(text)
		return err
	}))
	g.must(files.Close())
	g.must(z.Close())
	g.must(os.MkdirAll(goldenStores, 0o755))
	g.must(os.WriteFile(filepath.Join(goldenStores, name+".tar.zst"), out.Bytes(), 0o644))
}
