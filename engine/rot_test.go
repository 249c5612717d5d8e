package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// rotPeople is how many people the store that rots has; of some everything is known.
const rotPeople = 60

// rotStore is a small store with all kinds of values, folded and not, with its files as they
// are after a close and as a power cut would leave them, and what it answers.
type rotStore struct {
	options       engine.Options
	closed, crash vfs.FS
	answers       map[string]string
	again         batch.Batch // that brings nothing new
}

func newRotStore(t *testing.T) *rotStore {
	t.Helper()
	files := faultfs.New()
	files.Before(func(op faultfs.Op) error { // tables that are not needed any more are still there
		if op.Kind == faultfs.Remove && strings.HasSuffix(op.Path, ".sst") && !strings.Contains(op.Path, "ingest-") {
			return errors.New("not now")
		}
		return nil
	})
	s := &rotStore{options: engine.Options{FS: files, Clock: fixedClock, Memory: 64 << 20, Parallelism: 1}}
	engine.LowerLimits(&s.options, 60, 700, 20)
	db, err := engine.Open("store", &s.options)
	must(t, err)
	written(t, db, rotSchema)
	b := batch.New()
	s.events(b)
	s.people(b, 0, rotPeople)
	s.again, err = b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), s.again)
	must(t, err)
	written(t, db, func(b *batch.Builder) {
		b.ListPut("staff", "k1", "k5", "k9")
		b.ListNote("staff", "by hand")
		b.SaveSegment("grown", "age >= 30")
		b.PutDocument("role/reader", []byte("text"))
		b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "looks", Arguments: query.Arguments{"event": {"look"}}})
	})
	b = batch.New()
	b.Quarantine("a.csv", batch.BadRow{Line: 7, Reason: batch.ReasonFormat, Detail: "no number", Raw: "x,y"})
	raw, err := b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), raw)
	must(t, err)
	must(t, db.Compact(t.Context()))
	b = batch.New()
	s.people(b, 20, 40) // the same again, and
	b.Delete("k59")
	b.Upsert("k58").Set("plan", schema.StringValue("other")).Set("email", schema.StringValue("58@elsewhere"))
	raw, err = b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), raw)
	must(t, err)
	must(t, db.Compact(t.Context()))
	for i := range 12 { // not folded
		written(t, db, func(b *batch.Builder) {
			b.Upsert(fmt.Sprint("late", i)).Set("city", schema.StringValue(fmt.Sprint("town ", i))).Set("plan", schema.StringValue("late"))
			b.Upsert("k3").Set("plan", schema.StringValue(fmt.Sprint("plan ", i)))
			b.ListAdd("staff", fmt.Sprint("late", i))
			b.Events(nil).Row(fmt.Append(nil, "k", i), []byte("look"), fixedClock().UnixMilli())
		})
	}
	st, err := db.Stats(t.Context())
	must(t, err)
	for s.crash = crash(t, files, 0, 1); markIn(t, s.crash).Applied < st.Position.Applied; s.crash = crash(t, files, 0, 1) {
		runtime.Gosched()
	}
	must(t, db.Close())
	s.closed = clonedStore(t, files)
	var bad []error
	s.options.FS = clonedStore(t, s.closed)
	s.answers, bad = s.ask(t)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// rotSchema has an attribute of each kind and storage.
func rotSchema(b *batch.Builder) {
	for _, a := range []schema.Attribute{
		{Name: "age", Kind: schema.Int}, {Name: "member", Kind: schema.Bool}, {Name: "city", Kind: schema.String},
		{Name: "plan", Kind: schema.String, History: true}, {Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true},
		{Name: "spent", Kind: schema.Decimal, Scale: 2}, {Name: "score", Kind: schema.Float}, {Name: "likes", Kind: schema.Set},
		{Name: "number", Kind: schema.Int, Unique: true},
	} {
		addAttribute(b, a)
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: "look"})
	b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
	for _, p := range []schema.Attribute{{Name: "amount", Kind: schema.Int}, {Name: "shop", Kind: schema.String}} {
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: p.Name, Attribute: p})
	}
}

// people writes everything of some of the people.
func (s *rotStore) people(b *batch.Builder, from, to int) {
	for i := from; i < to; i++ {
		b.Upsert(fmt.Sprint("k", i)).Set("age", schema.IntValue(int64(20+i))).Set("member", schema.BoolValue(i%3 == 0)).
			Set("city", schema.StringValue(fmt.Sprint("city ", i%7))).Set("plan", schema.StringValue(fmt.Sprint("plan ", i%4))).
			Set("email", schema.StringValue(fmt.Sprint(i, "@x"))).Set("spent", schema.DecimalValue(int64(i*101), 2)).
			Set("score", schema.FloatValue(float64(i)/8)).Set("likes", schema.SetValue(fmt.Sprint("a", i%5), fmt.Sprint("b", i%2))).
			Set("number", schema.IntValue(int64(1000+i)))
	}
}

// events writes events with ids: of one day so many that their ids have filters.
func (s *rotStore) events(b *batch.Builder) {
	looks := b.Events(nil)
	for i := range 1100 {
		looks.Row(fmt.Append(nil, "k", i%rotPeople), []byte("look"), fixedClock().UnixMilli()-int64(i)*1000)
		looks.ID(fmt.Append(nil, "look ", i))
	}
	buys := b.Events([]batch.Column{{Name: "amount", Kind: schema.Int}, {Name: "shop", Kind: schema.String}})
	for i := range 200 {
		buys.Row(fmt.Append(nil, "k", i%50), []byte("buy"), fixedClock().UnixMilli()-int64(i)*40_000_000)
		buys.ID(fmt.Append(nil, "buy ", i))
		buys.Int(0, int64(i))
		buys.Str(1, fmt.Append(nil, "shop ", i%6))
	}
}

// rotQuestions are counted: of each kind of value, and of each way to answer.
func rotQuestions() []string {
	return []string{
		"true", "age >= 40", "member", `city == "city 3"`, `plan == "plan 1"`, `email == "7@x"`, "spent > 20.00", "score < 3.0", `"a1" in likes`, "number == 1007",
		"has(p.age) && has(p.city) && has(p.plan) && has(p.email) && has(p.spent) && has(p.score) && has(p.likes) && has(p.number) && has(p.member)",
		`in_list("staff")`, `in_segment("grown")`, `rfm("looks").r >= 3`,
		"look.any()", "look.count() >= 19", "look.in_last(days(1)).any()", "look.in_last(hours(1)).count() > 1", "buy.count() == 4", "buy.sum(e, e.amount) > 400", "buy.max(e, e.amount) > 100",
		`buy.filter(e, e.shop == "shop 2").count() >= 1`, "buy.in_last(days(30)).sum(e, e.amount) > 50", "buy.last().ts > now - days(10)", "buy.distinct_days('UTC') > 2",
	}
}

// ask opens the store and asks for everything that there is in it, then writes what is
// there already. Who is not answered hears why.
func (s *rotStore) ask(t *testing.T) (answers map[string]string, bad []error) {
	t.Helper()
	answers = map[string]string{}
	note := func(name string, err error, what ...any) {
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", name, err))
			return
		}
		answers[name] = fmt.Sprint(what...)
	}
	db, err := engine.Open("store", &s.options)
	if err != nil {
		return answers, []error{err}
	}
	ctx := t.Context()
	st, err := db.Stats(ctx)
	note("stats", err, st.Position, st.Profiles, st.Ordinals, st.Attributes, st.Segments, st.Lists, st.Quarantined)
	for _, text := range rotQuestions() {
		n, err := db.Count(ctx, text, nil)
		note(text, err, n.Count, n.Unknown)
	}
	sc, err := db.Schema(ctx)
	note("schema", err, fmt.Sprintf("%x", schema.AppendSchema(nil, sc)))
	s.askListings(ctx, db, sc, note)
	for i := range rotPeople {
		key := fmt.Sprint("k", i)
		p, err := db.Profile(ctx, key, nil)
		if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			p, err = query.Profile{}, nil
		}
		note("profile "+key, err, p.Values, p.Lists)
		line, err := db.Timeline(ctx, key, nil)
		if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			line, err = query.Timeline{}, nil
		}
		events := ""
		for _, e := range line.Events {
			if events += fmt.Sprint(e.Event, e.Time, e.Properties); e.Change != nil {
				events += fmt.Sprint(*e.Change)
			}
		}
		note("timeline "+key, err, events)
	}
	d, err := db.Digests(ctx)
	note("digests", err, d.Position, d.Content, d.Replica, d.Chain)
	report, err := db.Check(ctx, nil)
	note("check", err, "")
	for _, p := range report.Problems {
		bad = append(bad, fmt.Errorf("check: %s", p))
	}
	r, err := db.Apply(ctx, s.again)
	note("again", err, r.Accepted, r.Duplicates, r.Quarantined, r.Refused)
	if err := db.Close(); err != nil {
		bad = append(bad, err)
	}
	return answers, bad
}

func (s *rotStore) askListings(ctx context.Context, db *engine.DB, sc *schema.Schema, note func(name string, err error, what ...any)) {
	var names []string
	if sc != nil {
		for i := range sc.Attributes {
			a := &sc.Attributes[i]
			names = append(names, a.Name)
			b, err := db.Breakdown(ctx, "true", a.Name, nil)
			note("breakdown "+a.Name, err, b.Rows)
		}
	}
	all, err := db.Members(ctx, "true", &query.MembersOptions{Attributes: names})
	rows := ""
	if err == nil {
		for m, failed := range all.Rows {
			if failed != nil {
				err = failed
				break
			}
			rows += fmt.Sprint(m.Key, m.Values, ";")
		}
	}
	note("members", err, rows)
	segments, err := db.Segments(ctx)
	note("segments", err, segments)
	lists, err := db.Lists(ctx)
	note("lists", err, lists)
	definitions, err := db.Definitions(ctx)
	note("definitions", err, definitions)
	documents, err := db.Documents(ctx, "")
	note("documents", err, documents)
	rowsOf, err := db.Quarantine(ctx, 0, 100)
	note("quarantine", err, rowsOf)
	by, err := db.ProfileBy(ctx, "email", "7@x", nil)
	note("by", err, by.Key, by.Values)
}

// rotKind is the kind of a file, "" of one that has nothing in it.
func rotKind(name string, b []byte) string {
	base := path.Base(name)
	switch {
	case len(b) == 0 && !strings.HasPrefix(base, "marker."):
		return ""
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasSuffix(base, ".sst"):
		return "table"
	}
	for _, kind := range []string{"MANIFEST", "OPTIONS", "marker", "KANTA", "MARK"} {
		if strings.HasPrefix(base, kind) {
			return kind
		}
	}
	return base
}

// rotten is what may become of a file.
type rotten struct {
	name   string
	change func(r *rand.Rand, b []byte) []byte // nil: the file is gone
}

func flipBit(r *rand.Rand, b []byte) []byte {
	if len(b) > 0 {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return b
}

// sector returns one of the file's sectors, more often than others its last.
func sector(r *rand.Rand, b []byte) []byte {
	size := []int{512, 4096}[r.IntN(2)]
	at := (len(b) - 1) / size * size
	if r.IntN(2) == 0 {
		at = r.IntN(at/size+1) * size
	}
	return b[at:min(at+size, len(b))]
}

// rots are the other ways in which a disk forgets.
func rots() []rotten {
	return []rotten{
		{"a sector of zeros", func(r *rand.Rand, b []byte) []byte {
			if len(b) > 0 {
				clear(sector(r, b))
			}
			return b
		}},
		{"a sector of noise", func(r *rand.Rand, b []byte) []byte {
			if len(b) > 0 {
				in := sector(r, b)
				for i := range in {
					in[i] = byte(r.Uint32())
				}
			}
			return b
		}},
		{"the last sector gone", func(r *rand.Rand, b []byte) []byte { return b[:max(0, len(b)-1)/512*512] }},
		{"cut off", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b)+1)] }},
		{"empty", func(*rand.Rand, []byte) []byte { return nil }},
		{"gone", nil},
	}
}

// TestRot damages files of the store one at a time. Whoever asks then is told, or is
// answered as before: there is no silent wrong answer, and no silent loss.
func TestRot(t *testing.T) {
	wholeOnly(t)
	flips, others := 20, 2
	if os.Getenv("KANTA_ROT") != "" {
		flips, others = 1000, 40
	}
	seed := uint64(11)
	if os.Getenv("KANTA_LONG") != "" {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := newRotStore(t)
	kinds := map[string]bool{}
	for _, image := range []vfs.FS{s.closed, s.crash} {
		for name, b := range filesOf(t, image, "store") {
			if kind := rotKind(name, b); kind != "" {
				kinds[kind] = true
			}
		}
	}
	if want := []string{"KANTA", "MANIFEST", "MARK", "OPTIONS", "log", "marker", "table"}; !slices.Equal(slices.Sorted(maps.Keys(kinds)), want) {
		t.Fatalf("the store has files of the kinds %v, want %v", slices.Sorted(maps.Keys(kinds)), want)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			noticed := map[string]int{}
			if kind != "marker" { // there is nothing in it
				for range flips {
					noticed["a flipped bit"] += s.rotFile(t, r, kind, rotten{"a flipped bit", flipBit})
				}
			}
			for _, x := range rots() {
				for range others {
					noticed[x.name] += s.rotFile(t, r, kind, x)
				}
			}
			t.Logf("noticed of %d flips, %d others: %v", flips, others, noticed)
			if sum(noticed) == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// rotFile damages a file of a kind. It returns 1 if somebody was told.
func (s *rotStore) rotFile(t *testing.T, r *rand.Rand, kind string, x rotten) int {
	t.Helper()
	image := s.closed
	if r.IntN(2) == 0 {
		image = s.crash
	}
	files := clonedStore(t, image)
	name := s.damageFile(t, r, files, kind, x)
	told, silent := s.rot(t, files)
	for _, what := range silent {
		t.Errorf("%s: %s: %s", name, x.name, what)
	}
	return told
}

// damageFile damages a file of a kind and returns its name.
func (s *rotStore) damageFile(t *testing.T, r *rand.Rand, files vfs.FS, kind string, x rotten) string {
	t.Helper()
	contents := filesOf(t, files, "store")
	var names []string
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		if rotKind(name, contents[name]) == kind {
			names = append(names, name)
		}
	}
	name := names[len(names)-1] // of the log and the lists of files: the one in use
	if r.IntN(2) == 0 {
		name = names[r.IntN(len(names))]
	}
	if x.change == nil {
		must(t, files.Remove(name))
	} else {
		writeText(t, files, name, string(x.change(r, contents[name])))
	}
	return name
}

// rot asks a store that is damaged. It returns 1 if somebody was told, and what went wrong
// silently: answers that are others, and errors that do not say of what kind they are.
func (s *rotStore) rot(t *testing.T, files vfs.FS) (told int, silent []string) {
	t.Helper()
	trial := *s
	trial.options.FS = files
	answers, bad := trial.ask(t)
	for _, err := range bad {
		var e *query.Error
		if !strings.HasPrefix(err.Error(), "check: ") && !errors.As(err, &e) {
			silent = append(silent, fmt.Sprintf("an error without a code: %v", err))
		}
	}
	for _, question := range slices.Sorted(maps.Keys(answers)) {
		if got, want := answers[question], s.answers[question]; got != want {
			silent = append(silent, fmt.Sprintf("%s is answered %.300s, it was %.300s (told: %.600v)", question, got, want, bad))
		}
	}
	return min(len(bad), 1), silent
}

// TestRotCanary takes the marks away: then damage of the log and of the list of files loses
// what was acknowledged, and nobody is told. If the test does not see that, it sees nothing.
func TestRotCanary(t *testing.T) {
	wholeOnly(t)
	s := newRotStore(t)
	r := rand.New(rand.NewPCG(2, 5))
	for kind, change := range map[string]func(r *rand.Rand, b []byte) []byte{
		"log":      flipBit,
		"MANIFEST": func(r *rand.Rand, b []byte) []byte { return b[:len(b)-r.IntN(len(b)/4)] },
	} {
		lost := false
		for try := 0; try < 100 && !lost; try++ {
			files := clonedStore(t, s.crash)
			id := strings.Fields(string(filesOf(t, files, "store")["store/KANTA"]))
			must(t, kv.CreateMark(files, "store", id[len(id)-1], kv.Mark{Epoch: 1}))
			s.damageFile(t, r, files, kind, rotten{change: change})
			_, silent := s.rot(t, files)
			lost = len(silent) > 0
		}
		if !lost {
			t.Errorf("%s: without marks nothing was lost silently", kind)
		}
	}
}

// TestValuesRot flips bits of stored values where no file's checksum can tell, of all kinds
// that there are: each is read by an opening, a question or a check, which tells.
func TestValuesRot(t *testing.T) {
	wholeOnly(t)
	t.Parallel()
	s := newRotStore(t)
	r := rand.New(rand.NewPCG(7, 7))
	at := valueKeys(t, clonedStore(t, s.closed))
	if len(at) < 30 {
		t.Fatalf("only %d kinds of values: %v", len(at), slices.Sorted(maps.Keys(at)))
	}
	tries := 3
	if os.Getenv("KANTA_ROT") != "" {
		tries = 20
	}
	for kind, all := range at {
		for range tries {
			files, key := clonedStore(t, s.closed), all[r.IntN(len(all))]
			bit := -1
			inPlace(t, files, key, func(_ *kv.Store, v []byte) []byte {
				bit = r.IntN(8 * len(v))
				v[bit/8] ^= 1 << (bit % 8)
				return v
			})
			told, silent := s.rot(t, files)
			if told == 0 || len(silent) > 0 {
				t.Errorf("%s: bit %d of key %x: told %d, %q", kind, bit, key, told, silent)
			}
		}
	}
	// The canary: a value that is whole and says something else, as if nobody had verified it.
	files := clonedStore(t, s.closed)
	inPlace(t, files, keys.Segment("grown"), func(_ *kv.Store, v []byte) []byte {
		v = bytes.Replace(v, []byte("30"), []byte("40"), 1)
		reseal(v)
		return v
	})
	if _, silent := s.rot(t, files); len(silent) == 0 {
		t.Error("a segment that is another one is not noticed")
	}
}

// valueKeys returns the keys that there are, by their kinds: the prefix, what has a kind of
// its own within it, and of columns the attribute.
func valueKeys(t *testing.T, files vfs.FS) map[string][][]byte {
	t.Helper()
	s, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	out := map[string][][]byte{}
	must(t, s.Scan(t.Context(), keys.Span{Start: []byte{0}, End: []byte{0xff}}, func(k, v []byte) (bool, error) {
		kind := fmt.Sprintf("%x", k[:1])
		if u, is, _, ok := keys.ParseUnit(k); ok {
			kind = fmt.Sprintf("column %d, %d", u.Attr, is)
		} else if _, is, _, ok := keys.ParseTable(k); ok {
			kind = fmt.Sprintf("index, %d", is)
		} else if _, is, _, ok := keys.ParsePart(k); ok {
			kind = fmt.Sprintf("part, %d", is)
		} else if _, is, _, ok := keys.ParseRun(k); ok {
			kind = fmt.Sprintf("ids, %d", is)
		}
		if len(v) > 0 {
			out[kind] = append(out[kind], bytes.Clone(k))
		}
		return true, nil
	}))
	must(t, s.Close())
	return out
}
