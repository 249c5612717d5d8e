package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// scenario is a part of a store's life, as data. Crashes and errors are tried at every
// operation of it (see enumerate_crash_test.go and enumerate_error_test.go): whoever has a
// new thing that a store does adds a scene.
type scenario struct {
	name   string
	lower  [3]int // see engine.LowerLimits
	first  uint32 // ordinal
	nosync bool   // engine.SyncNone
	scenes []scene

	again  func(p *play) error                        // how it is opened after a crash; nil: as before
	check  func(p *play, at int, thorough bool) error // what else must hold then, at a batch; may be nil
	reads  int                                        // of all reads one of so many fails, for there are thousands; 0: each
	counts []string                                   // what must have been done, see play.count
}

// scene is one thing that happens, or the same several times. What it writes is the same
// in every run; what it does besides, after each batch if it writes any, must not change an
// answer, and is left out when the right answers are worked out.
type scene struct {
	name  string
	times int                           // 0: once
	days  int                           // that pass before each
	write func(b *batch.Builder, i int) // several batches are under way at once
	alone bool                          // but not of this scene
	given bool                          // it is done to the store, not by it: no error is tried in it
	do    func(p *play) error
}

const (
	scenarioDay    = int64(24 * time.Hour / time.Millisecond)
	scenarioMemory = 256 << 20 // with less, no storage can be changed
)

// scenarios are all parts of a life, each for itself: an error is tried at each operation
// of each kind in every one, so they are short.
func scenarios() []scenario {
	compact := scene{name: "compact", do: func(p *play) error { return p.db.Compact(context.Background()) }}
	reopen := scene{name: "reopen", do: (*play).reopen}
	return []scenario{
		{name: "values", lower: [3]int{8, 60, 12}, scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 6, write: scenarioLoad},
			compact,
			{name: "upserts", times: 12, write: scenarioUpserts},
			reopen,
			{name: "deletes", times: 3, write: func(b *batch.Builder, i int) { b.Delete(fmt.Sprint("k", i), fmt.Sprint("k", 9-i)) }},
			{name: "more upserts", times: 12, write: scenarioUpserts},
			compact,
			{name: "deletes after", times: 2, write: func(b *batch.Builder, i int) { b.Delete(fmt.Sprint("k", 20+i)) }},
			compact,
		}},
		{name: "events", lower: [3]int{10, 40, 8}, scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "events with ids", times: 6, write: func(b *batch.Builder, i int) { scenarioEvents(b, i, true) }},
			compact,
			{name: "events", times: 6, write: func(b *batch.Builder, i int) { scenarioEvents(b, 10+i, false) }},
			{name: "ids again", times: 3, write: func(b *batch.Builder, i int) { scenarioEvents(b, 4+i, true) }},
			reopen,
			{name: "who had them goes", times: 2, write: func(b *batch.Builder, i int) { b.Delete(fmt.Sprint("k", i)) }},
			compact,
			{name: "a property goes", write: func(b *batch.Builder, _ int) {
				b.Change(schema.Change{Op: schema.DropProperty, Event: "buy", Name: "shop"})
			}},
			{name: "the next days", times: 4, days: 9, write: func(b *batch.Builder, i int) { scenarioEvents(b, 20+i, true) }},
			compact,
			{name: "retention", days: 25, write: func(b *batch.Builder, _ int) {
				b.Change(schema.Change{Op: schema.RedefineEvent, Event: "buy", Retention: 20})
			}},
			compact,
		}},
		{name: "names", lower: [3]int{8, 60, 12}, first: 65_530, nosync: true, scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 2, write: scenarioLoad},
			{name: "lists", times: 8, write: scenarioLists},
			{name: "segments, definitions and documents", times: 6, write: scenarioNames},
			compact,
			{name: "lists go", times: 2, write: func(b *batch.Builder, i int) { b.ListDrop(fmt.Sprint("list ", i)) }},
			reopen,
			{name: "lists again", times: 4, write: scenarioLists},
			compact,
		}},
		{name: "changes of the schema", lower: [3]int{8, 60, 12}, scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 4, write: scenarioLoad},
			compact,
			{name: "storages", times: 2, alone: true, write: func(b *batch.Builder, i int) {
				if i == 0 {
					b.Change(schema.Change{Op: schema.SetStorage, Name: "city", Attribute: schema.Attribute{Storage: schema.StorageInline}})
					return
				}
				b.Change(schema.Change{Op: schema.Narrow, Name: "number", Attribute: schema.Attribute{Name: "number", Kind: schema.Int, Unique: true}})
			}},
			{name: "upserts", times: 4, write: scenarioUpserts},
			{name: "drops", write: func(b *batch.Builder, _ int) { b.Change(schema.Change{Op: schema.Drop, Name: "city"}) }},
			compact,
			{name: "an attribute again", write: func(b *batch.Builder, _ int) {
				addAttribute(b, schema.Attribute{Name: "city", Kind: schema.Set})
				b.Upsert("k3").Add("city", "Rome", "Oslo")
			}},
			reopen,
			compact,
		}},
		{name: "a log of several files", lower: [3]int{200, 2000, 100}, scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "much", times: 16, write: scenarioMuch},
			compact,
			{name: "more", times: 16, write: scenarioMuch},
			{name: "flushed one by one", times: 4, write: scenarioUpserts, do: compact.do}, // so that logs are used again
		}},
		backupScenario(), erasureScenario(), repairScenario(), markScenario(),
	}
}

// chosen are all scenarios, or the one that KANTA_SCENARIO names; then a run may be void. The name of the scenario of
// replicas, which is another test's, names none of these.
func chosen(t *testing.T) (out []scenario, all bool) {
	t.Helper()
	out = scenarios()
	name := os.Getenv("KANTA_SCENARIO")
	if name == "" {
		return out, true
	}
	out = slices.DeleteFunc(out, func(s scenario) bool { return s.name != name })
	if len(out) == 0 && name != "replicas" {
		t.Fatalf("KANTA_SCENARIO=%s names no scenario", name)
	}
	return out, false
}

func scenarioSchema(b *batch.Builder, _ int) {
	for _, a := range []schema.Attribute{
		{Name: "city", Kind: schema.String},
		{Name: "number", Kind: schema.Int},
		{Name: "plan", Kind: schema.String, History: true},
		{Name: "tags", Kind: schema.Set},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true, PII: true},
	} {
		addAttribute(b, a)
	}
	for _, name := range []string{"buy", "look"} {
		b.Change(schema.Change{Op: schema.AddEvent, Event: name})
	}
	b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "price", Attribute: schema.Attribute{Name: "price", Kind: schema.Int}})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "shop", Attribute: schema.Attribute{Name: "shop", Kind: schema.String}})
}

func scenarioLoad(b *batch.Builder, i int) {
	b.Source("file", 1, uint64(i+1))
	for k := 8 * i; k < 8*i+8; k++ {
		b.Upsert(fmt.Sprint("k", k)).Set("city", schema.StringValue(fmt.Sprint("city ", k%5))).Set("number", schema.IntValue(int64(k))).
			Set("plan", schema.StringValue("free")).Add("tags", "new", fmt.Sprint("tag ", k%3)).Set("email", schema.StringValue(fmt.Sprint(k, "@x")))
	}
}

// scenarioUpserts changes what some have, and gives an address that somebody has already.
func scenarioUpserts(b *batch.Builder, i int) {
	for k := i; k < i+5; k++ {
		b.Upsert(fmt.Sprint("k", k)).Increment("number", schema.IntValue(1000)).Set("plan", schema.StringValue(fmt.Sprint("plan ", i))).
			Remove("tags", "new").Unset("city")
	}
	b.Upsert(fmt.Sprint("k", 60+i)).Set("email", schema.StringValue("7@x"))
	b.Upsert(fmt.Sprint("k", 70+i)).Set("email", schema.StringValue(fmt.Sprint("new ", i, "@x"))).Set("nobody has this", schema.IntValue(1))
}

func scenarioEvents(b *batch.Builder, i int, ids bool) {
	table := b.Events([]batch.Column{{Name: "price", Kind: schema.Int}, {Name: "shop", Kind: schema.String}})
	for n := 12 * i; n < 12*i+12; n++ {
		table.Row(fmt.Append(nil, "k", n%7), []byte("buy"), scenarioStart().UnixMilli()-int64(n%5)*scenarioDay-int64(n))
		table.Int(0, int64(n))
		table.Str(1, fmt.Append(nil, "shop ", n%4))
		if ids {
			table.ID(fmt.Append(nil, "id ", n))
		}
	}
	look := b.Events(nil)
	look.Row([]byte("k1"), []byte("look"), scenarioStart().UnixMilli()-int64(i))
}

func scenarioLists(b *batch.Builder, i int) {
	name := fmt.Sprint("list ", i%3)
	switch i % 4 {
	case 0:
		b.ListPut(name, "k1", "k2", fmt.Sprint("k", i))
		b.ListNote(name, fmt.Sprint("note ", i))
	case 1, 2:
		b.Upsert("k1").Set("number", schema.IntValue(int64(i)))
		b.ListPut(name, "k1")
		b.ListAdd(name, fmt.Sprint("k", i), "k5")
	default:
		b.ListPut(name, "k5", "k6")
		b.ListRemove(name, "k5")
	}
}

func scenarioNames(b *batch.Builder, i int) {
	b.SaveSegment(fmt.Sprint("segment ", i%3), fmt.Sprintf("number > %d", i))
	b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: fmt.Sprint("r", i%2), Who: fmt.Sprintf("number > %d", i), Arguments: query.Arguments{"event": {"buy"}}})
	switch i {
	case 3:
		b.DropSegment("segment 2")
	case 4:
		b.DropDefinition("rfm", "r1")
	}
	b.ShareSegment(fmt.Sprint("segment ", i%2))
	b.PutDocument(fmt.Sprint("role/", i%2), fmt.Append(nil, "value ", i))
	if i == 5 {
		b.DropDocument("role/0")
	}
}

// scenarioMuch writes what does not compress: Pebble begins with small memtables, so every
// few batches fill one.
func scenarioMuch(b *batch.Builder, i int) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	for k := range 100 {
		text := make([]byte, 400)
		for j := range text {
			text[j] = byte(' ' + r.IntN(95))
		}
		b.Upsert(fmt.Sprint("k", 100*(i%4)+k)).Set("email", schema.StringValue(string(text)))
	}
}

func scenarioStart() time.Time { return fixedClock() }

// sent is a batch as it is sent, and when it is received.
type sent struct {
	raw batch.Batch
	at  time.Time
}

// batches are all that a scenario writes, and one for afterwards.
func (s *scenario) batches() ([]sent, error) {
	var out []sent
	now := scenarioStart()
	for _, c := range append(s.scenes[:len(s.scenes):len(s.scenes)], scene{write: func(b *batch.Builder, _ int) { b.Upsert("afterwards") }}) {
		for i := range max(c.times, 1) {
			if now = now.Add(time.Second).AddDate(0, 0, c.days); c.write == nil {
				continue
			}
			b := batch.New()
			c.write(b, i)
			raw, err := b.Encode()
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
			}
			out = append(out, sent{raw, now})
		}
	}
	return out, nil
}

// rehearsed is a scenario with what the store must say after each batch, as one says that has
// applied the same batches and done nothing else.
type rehearsed struct {
	*scenario
	sent  []sent
	looks []string // looks[n] is after n batches
	*tally
}

func (s *scenario) rehearse() (*rehearsed, error) {
	k := &rehearsed{scenario: s, tally: &tally{n: map[string]int{}}}
	var err error
	if k.sent, err = s.batches(); err != nil {
		return nil, err
	}
	p := &play{rehearsed: k, o: engine.Options{FS: vfs.NewMem(), FirstOrdinal: s.first, Memory: scenarioMemory, PurgeAfter: -1}} // with the usual limits: all stays in the head
	if err := p.open(); err != nil {
		return nil, err
	}
	for n := range len(k.sent) + 1 {
		look, err := looks(p.db)
		if err != nil {
			return nil, err
		}
		if k.looks = append(k.looks, look); n == len(k.sent) {
			break
		}
		r, err := p.send(n)
		if err != nil || r.Accepted+r.Duplicates == 0 && r.Received > 0 {
			return nil, fmt.Errorf("%s, batch %d comes to nothing: %+v %w", s.name, n+1, r, err)
		}
	}
	return k, p.db.Close()
}

// play is a run of a scenario.
type play struct {
	*rehearsed
	o     engine.Options
	db    *engine.DB
	clock atomic.Int64

	next  int             // batch to send
	acked atomic.Int64    // batches acknowledged
	alone bool            // every scene is, see there
	tell  func(acked int) // optional

	words    []word
	thorough bool // whoever holds it to them has time
	broken   bool // the store was given damage, and is not mended yet
	mended   bool // what opened it again has mended something
}

// word is something that somebody was told, besides that batches are written, and that is so
// from then on, until the next word about the same. The store is open when it is held to it.
type word struct {
	at    int // changes of the files until then
	about string
	holds func(p *play) error // nil: nothing is said any more
}

// give gives a word.
func (p *play) give(about string, holds func(p *play) error) {
	p.words = append(p.words, word{p.o.FS.(*faultfs.FS).Changes(), about, holds})
}

// keep holds a store to the last word about each thing.
func (p *play) keep(words []word) error {
	last := map[string]int{}
	for i := range words {
		last[words[i].about] = i
	}
	for i, w := range words {
		if w.holds == nil || last[w.about] != i {
			continue
		}
		if err := w.holds(p); err != nil {
			return fmt.Errorf("%s: %w", w.about, err)
		}
	}
	return nil
}

// tally counts what the runs of a scenario have done. Safe for concurrent use.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) count(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what] += n
}

// counted tells what was done, and what of it should have been and was not.
func (k *rehearsed) counted() (all string, missing []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(k.n)) {
		all += fmt.Sprintf(", %s %d", what, k.n[what])
	}
	for _, what := range k.scenario.counts {
		if k.n[what] == 0 {
			missing = append(missing, what)
		}
	}
	return all, missing
}

// options returns how the scenario's store is opened on some files.
func (k *rehearsed) options(files vfs.FS) engine.Options {
	o := engine.Options{FS: files, FirstOrdinal: k.first, Memory: scenarioMemory, PurgeAfter: -1}
	if k.nosync {
		o.Durability = engine.SyncNone
	}
	engine.LowerLimits(&o, k.lower[0], k.lower[1], k.lower[2])
	return o
}

// scenarioStore is where the store is.
const scenarioStore = "new/store"

func (p *play) open() (err error) {
	if p.o.Clock == nil {
		p.clock.Store(scenarioStart().UnixMilli())
		p.o.Clock = func() time.Time { return time.UnixMilli(p.clock.Load()).UTC() }
	}
	o := p.o
	o.Repair = p.broken
	p.db, err = engine.Open(scenarioStore, &o)
	return err
}

// openAgain opens what a crash has left.
func (p *play) openAgain() error {
	if p.scenario.again != nil {
		return p.scenario.again(p)
	}
	return p.open()
}

func (p *play) reopen() error {
	if err := p.close(); err != nil {
		return err
	}
	return p.open()
}

func (p *play) close() error {
	if p.db == nil {
		return nil
	}
	db := p.db
	p.db = nil
	return db.Close()
}

// goOn makes a play go on where the store is.
func (p *play) goOn() error {
	st, err := p.db.Stats(context.Background())
	p.next = int(st.Position.Applied)
	p.acked.Store(int64(p.next))
	return err
}

// submit sends a batch.
func (p *play) submit(n int) (wait func() (batch.Result, error), err error) {
	p.clock.Store(p.sent[n].at.UnixMilli())
	return p.db.Submit(context.Background(), p.sent[n].raw)
}

// send sends a batch and waits for its outcome.
func (p *play) send(n int) (batch.Result, error) {
	wait, err := p.submit(n)
	if err != nil {
		return batch.Result{}, err
	}
	return wait()
}

// run plays scenes until the end or the first error. What is acknowledged behind an error
// counts, too.
func (p *play) run(scenes []scene) error {
	for i := range scenes {
		c := &scenes[i]
		if err := p.scene(c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (p *play) scene(c *scene) error {
	if c.write == nil {
		return c.do(p)
	}
	var waits []func() (batch.Result, error)
	var failed error
	for range max(c.times, 1) {
		wait, err := p.submit(p.next)
		if err != nil {
			failed = err
			break
		}
		p.next++
		waits = append(waits, wait)
		if len(waits) == 3 || c.alone || p.alone || c.do != nil {
			failed = errors.Join(failed, p.wait(waits[0]))
			waits = waits[1:]
		}
		if c.do != nil && failed == nil {
			failed = c.do(p)
		}
		if failed != nil {
			break
		}
	}
	for _, wait := range waits {
		failed = errors.Join(failed, p.wait(wait))
	}
	return failed
}

func (p *play) wait(wait func() (batch.Result, error)) error {
	if _, err := wait(); err != nil {
		return err
	}
	if n := p.acked.Add(1); p.tell != nil {
		p.tell(int(n))
	}
	return nil
}

// looks is all that can be told of a store's content, in one text.
func looks(db *engine.DB) (string, error) {
	ctx := context.Background()
	var out strings.Builder
	d, err := db.Digests(ctx)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "position %d content %x replica %x chain %x\n", d.Position.Applied, d.Content, d.Replica, d.Chain)
	s, err := db.Schema(ctx)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "schema %x\n", schema.AppendSchema(nil, s))
	lists, err := db.Lists(ctx)
	if err != nil {
		return "", err
	}
	segments, err := db.Segments(ctx)
	if err != nil {
		return "", err
	}
	definitions, err := db.Definitions(ctx)
	if err != nil {
		return "", err
	}
	documents, err := db.Documents(ctx, "")
	if err != nil {
		return "", err
	}
	rows, err := db.Quarantine(ctx, 0, 0)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "%+v\n%+v\n%+v\n%+v\n%+v\n", lists, segments, definitions, documents, rows)
	return out.String(), nil
}

// checkLook compares a store with what is known of its position, and returns that.
func (k *rehearsed) checkLook(db *engine.DB) (at int, err error) {
	st, err := db.Stats(context.Background())
	if err != nil {
		return 0, err
	}
	if at = int(st.Position.Applied); at > len(k.sent) {
		return at, fmt.Errorf("the store is at %d, %d batches were sent", at, len(k.sent))
	}
	look, err := looks(db)
	if err != nil {
		return at, err
	}
	if look != k.looks[at] {
		got, want := strings.Split(look, "\n"), strings.Split(k.looks[at], "\n")
		for i := range want {
			if got[i] != want[i] {
				return at, fmt.Errorf("at %d the store looks\n%s\nwant\n%s", at, got[i], want[i])
			}
		}
	}
	return at, nil
}

// checkAll compares, besides, what the store derives with what it derives it from.
func (k *rehearsed) checkAll(db *engine.DB) (at int, err error) {
	if at, err = k.checkLook(db); err != nil {
		return at, err
	}
	report, err := db.Check(context.Background(), nil)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("check finds at %d: %q", at, report.Problems)
	}
	return at, err
}
