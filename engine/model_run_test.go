package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// pair is a store and the model of it.
type pair struct {
	t       *testing.T
	r       *rand.Rand
	db      *engine.DB
	options engine.Options
	w       *world
	kept    []keptSnapshot
	keys    int // keys there are
	names   int // attribute names used so far
	last    batch.Batch
	lastID  [2]uint64
	member  *enginetest.Member // not nil: the store is a replica
}

// keptSnapshot is a snapshot with the model as it was.
type keptSnapshot struct {
	query.Snapshot
	w *world
}

// asker is what a store and a snapshot have in common.
type asker interface {
	Count(ctx context.Context, expr string, o *query.Options) (query.Count, error)
	Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error)
	Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error)
	Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error)
	ProfileBy(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error)
	Values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error)
}

// TestModel does the same random things to a store and to plain maps, and asks both.
// KANTA_SEED repeats a run; KANTA_LONG makes it so many times longer, with new seeds.
func TestModel(t *testing.T) {
	steps, seed := 150, uint64(1)
	if testing.Short() {
		steps = 50
	}
	if n, err := strconv.Atoi(os.Getenv("KANTA_LONG")); err == nil {
		steps, seed = steps*n, rand.Uint64()
	}
	if n, err := strconv.ParseUint(os.Getenv("KANTA_SEED"), 10, 64); err == nil {
		seed = n
	}
	for i, first := range []uint32{0, 65_530, 1<<20 - 5} {
		t.Run(strconv.Itoa(int(first)), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: first, Durability: engine.Durability(i % 2), Clock: fixedClock}
			engine.LowerLimits(&o, 12+i, 200, 40)
			p := &pair{t: t, r: rand.New(rand.NewPCG(seed, uint64(first))), options: o, w: newWorld(), keys: 120}
			p.open()
			defer func() { _ = p.db.Close() }()
			p.setUp()
			for i := range steps {
				p.step(i)
			}
			p.checkEverything()
			p.compareDigests()
		})
	}
}

func fixedClock() time.Time { return time.UnixMilli(1_780_000_000_000).UTC() }

func (p *pair) open() {
	p.t.Helper()
	var err error
	if p.db, err = engine.Open("store", &p.options); err != nil {
		p.t.Fatalf("open: %v", err)
	}
	if p.member != nil {
		p.member.Run(p.db)
	}
}

// setUp adds attributes of all kinds and classes.
func (p *pair) setUp() {
	p.write(append(firstAttributes(), p.upsert(), p.upsert()), true, false, false)
}

func firstAttributes() (steps []step) {
	for _, a := range []schema.Attribute{
		{Name: "country", Kind: schema.String},
		{Name: "plan", Kind: schema.String, Allowed: []schema.Value{schema.StringValue("free"), schema.StringValue("pro"), schema.StringValue("value-3")}},
		{Name: "active", Kind: schema.Bool},
		{Name: "age", Kind: schema.Int, Min: schema.IntValue(-2), Max: schema.IntValue(200)},
		{Name: "score", Kind: schema.Float},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2},
		{Name: "joined", Kind: schema.Date},
		{Name: "seen", Kind: schema.Timestamp},
		{Name: "tags", Kind: schema.Set},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, Unique: true, PII: true},
		{Name: "code", Kind: schema.Int, Unique: true},
		{Name: "nick name", Kind: schema.String, Storage: schema.StorageInline},
	} {
		steps = append(steps, step{code: batch.OpSchemaChange, change: schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a}})
	}
	return steps
}

// step does one random thing and checks some answers.
func (p *pair) step(i int) {
	p.t.Helper()
	switch k := p.r.IntN(40); {
	case k < 24:
		p.write(p.randomSteps(), p.r.IntN(6) == 0, p.r.IntN(8) == 0, p.r.IntN(3) == 0)
	case k < 26:
		p.must("compact", p.db.Compact(p.t.Context()))
	case k < 27:
		p.purge()
	case k < 29:
		p.reopen()
	case k < 32 && len(p.kept) < 3:
		s, err := p.db.Snapshot(p.t.Context())
		p.must("snapshot", err)
		p.kept = append(p.kept, keptSnapshot{s, p.w.clone()})
	case k < 34 && len(p.kept) > 0:
		i := p.r.IntN(len(p.kept))
		p.must("close", p.kept[i].Close())
		p.kept = slices.Delete(p.kept, i, i+1)
	case k < 36 && p.last != nil:
		p.repeat()
	default:
		p.write([]step{p.upsert(), p.upsert()}, false, false, false)
	}
	p.ask(p.db, p.w)
	for _, s := range p.kept {
		p.ask(s, s.w)
	}
	if i%25 == 0 {
		p.checkEverything()
	}
}

// purge changes no answer, and waits for snapshots.
func (p *pair) purge() {
	p.t.Helper()
	for _, s := range p.kept {
		p.must("close snapshot", s.Close())
	}
	p.kept = nil
	before, err := p.db.Digests(p.t.Context())
	p.must("digests", err)
	receipt, err := p.db.Purge(p.t.Context(), nil)
	p.must("purge", err)
	if receipt != nil && receipt.Hits > 0 {
		p.t.Fatalf("%+v", receipt)
	}
	after, err := p.db.Digests(p.t.Context())
	p.must("digests", err)
	if before != after {
		p.t.Fatalf("digests before the purge %x, after it %x", before, after)
	}
}

func (p *pair) must(what string, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// reopen closes the store, with the snapshots, and opens it again.
func (p *pair) reopen() {
	p.t.Helper()
	before, err := p.db.Digests(p.t.Context())
	p.must("digests", err)
	if p.member != nil {
		p.must("stop", p.member.Stop())
	}
	p.must("close", p.db.Close())
	for _, s := range p.kept {
		if _, err := s.Count(p.t.Context(), "1 == 1", nil); !errors.Is(err, &query.Error{Code: query.CodeClosed}) && !errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) {
			p.t.Fatalf("a snapshot of a closed store: %v", err)
		}
		p.must("close snapshot", s.Close())
	}
	p.kept = nil
	p.open()
	after, err := p.db.Digests(p.t.Context())
	p.must("digests", err)
	if before != after {
		p.t.Fatalf("digests before closing %x, after opening %x", before, after)
	}
}

// write applies a batch to both, or only tries it.
func (p *pair) write(steps []step, strict, dry, named bool) {
	p.t.Helper()
	b := batch.New()
	b.Strict(strict)
	id := [2]uint64{uint64(p.r.IntN(3)), p.w.applied + 1}
	if named {
		b.Source("feed", id[0], id[1])
	}
	encodeSteps(b, steps)
	raw, err := b.Encode()
	p.must("encode", err)
	after := p.w.clone()
	want, code := after.apply(steps, strict)
	if dry {
		want.Position = query.Position{}
		got, err := p.db.DryRun(p.t.Context(), raw)
		p.compareResult(steps, got, err, want, code)
		return
	}
	got, err := p.db.Apply(p.t.Context(), raw)
	p.compareResult(steps, got, err, want, code)
	if err != nil {
		return
	}
	p.w = after
	if named {
		p.w.repeats[id] = want
		p.last, p.lastID = raw, id
	}
}

// repeat sends a batch again that has been applied.
func (p *pair) repeat() {
	p.t.Helper()
	got, err := p.db.Apply(p.t.Context(), p.last)
	if !got.Repeated {
		p.t.Fatalf("a repeat was applied: %+v", got)
	}
	got.Repeated = false
	p.compareResult(nil, got, err, p.w.repeats[p.lastID], 0)
}

func (p *pair) compareResult(steps []step, got batch.Result, err error, want batch.Result, code query.Code) {
	p.t.Helper()
	if code != 0 {
		var e *query.Error
		if !errors.As(err, &e) || code != codeAny && e.Code != code {
			p.t.Fatalf("%+v\ngot %+v and the error %v, want code %d", steps, got, err, code)
		}
		if got.Received != got.Refused || got.Accepted != 0 {
			p.t.Fatalf("a batch refused whole has the result %+v", got)
		}
		return
	}
	if err != nil {
		p.t.Fatalf("%+v\n%v; want %+v", steps, err, want)
	}
	if got.Reasons != nil { // a repeat has none
		sum := uint64(0)
		for _, n := range got.Reasons {
			sum += n
		}
		if sum != got.Quarantined+got.Refused {
			p.t.Errorf("%+v: the reasons count %d", got, sum)
		}
	}
	got.Rejected, got.Reasons = nil, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Fatalf("%+v\ngot  %+v\nwant %+v", steps, got, want)
	}
	if got.Received != got.Accepted+got.Quarantined+got.Duplicates+got.Refused {
		p.t.Fatalf("rows are lost: %+v", got)
	}
}

// randomSteps makes the ops of a batch. A later op may stand on an earlier one, so the
// model goes along.
func (p *pair) randomSteps() []step {
	var out []step
	ahead := p.w
	p.w = p.w.clone()
	for range 1 + p.r.IntN(4) {
		s := p.randomStep()
		after := p.w.clone()
		if _, code := after.apply([]step{s}, false); code == 0 {
			p.w = after
		} else if p.r.IntN(4) > 0 {
			continue // most of what is refused whole tells little
		}
		out = append(out, s)
	}
	p.w = ahead
	return out
}

func (p *pair) randomStep() step {
	switch k := p.r.IntN(20); {
	case k < 10:
		return p.upsert()
	case k < 12:
		return step{code: batch.OpDelete, keys: p.someKeys(4)}
	case k < 13:
		if p.r.IntN(2) == 0 {
			return step{code: batch.OpReadmit, keys: p.someKeys(12)}
		}
		return step{code: batch.OpErase, keys: p.someKeys(4)}
	case k < 16:
		code := pick(p.r, []batch.OpCode{batch.OpListPut, batch.OpListAdd, batch.OpListAdd, batch.OpListRemove, batch.OpListDrop})
		s := step{code: code, name: fmt.Sprintf("list %d", p.r.IntN(3))}
		if code != batch.OpListDrop {
			s.keys = p.someKeys(12)
		}
		return s
	case k < 17:
		s := step{code: batch.OpSegmentSave, name: fmt.Sprintf("segment %d", p.r.IntN(4)), cond: randomCondition(p.r, p.w, 2)}
		if p.r.IntN(3) == 0 {
			s.code = batch.OpSegmentDrop
		}
		return s
	}
	if p.r.IntN(2) == 0 {
		s := step{code: batch.OpSchemaChange, cond: randomCondition(p.r, p.w, 2)}
		s.change = schema.Change{Op: schema.AddComputed, Name: fmt.Sprintf("computed %d", p.r.IntN(4)), Text: s.cond.text}
		if p.w.computed[s.change.Name] != nil || p.r.IntN(10) == 0 {
			s.change.Op = pick(p.r, []schema.ChangeOp{schema.SetComputed, schema.SetComputed, schema.DropComputed})
		}
		return s
	}
	return step{code: batch.OpSchemaChange, change: p.randomChange()}
}

func (p *pair) someKeys(most int) (keys []string) {
	for range 1 + p.r.IntN(most) {
		keys = append(keys, p.key())
	}
	return keys
}

func (p *pair) key() string { return fmt.Sprintf("key-%d", p.r.IntN(p.keys)) }

// upsert makes some rows; a few are wrong.
func (p *pair) upsert() step {
	s := step{code: batch.OpUpsert}
	for range 1 + p.r.IntN(9) {
		row := rowStep{key: p.key()}
		if p.r.IntN(8) == 0 && len(s.rows) > 0 {
			row.key = s.rows[len(s.rows)-1].key
		}
		for range p.r.IntN(6) {
			if len(p.w.attrs) > 0 {
				row.add(p.cell())
			}
		}
		s.rows = append(s.rows, row)
	}
	return s
}

func (p *pair) cell() cellStep {
	a := &p.w.attrs[p.r.IntN(len(p.w.attrs))].def
	c := cellStep{attr: a.Name, verb: batch.VerbSet, value: randomValue(p.r, a)}
	switch k := p.r.IntN(20); {
	case k == 0:
		c.attr = "nobody has this"
	case k == 1:
		c.value = schema.StringValue("x")
	case k < 5:
		c.verb, c.value = batch.VerbUnset, schema.Value{}
	case k == 5:
		c.verb, c.value = batch.VerbExpect, p.value(a)
	case k < 14 && a.Kind == schema.Set:
		c.verb = pick(p.r, []batch.Verb{batch.VerbAdd, batch.VerbRemove})
		if len(c.value.Elements()) == 0 {
			c.value = schema.SetValue("wine")
		}
	case k < 10 && a.Kind.Ordered() && !a.Coded() && a.Kind != schema.Date && a.Kind != schema.Timestamp:
		c.verb = batch.VerbIncrement
	}
	return c
}

// value returns, if it can, one that somebody has: an expectation is to be met at times.
func (p *pair) value(a *schema.Attribute) schema.Value {
	if p.r.IntN(2) == 0 {
		return schema.Value{}
	}
	return randomValue(p.r, a)
}

func (p *pair) randomChange() schema.Change {
	a := pick(p.r, p.w.attrs).def
	c := schema.Change{Name: a.Name, Attribute: a}
	switch p.r.IntN(9) {
	case 0:
		p.names++ // a name that was another's would change what expressions mean
		c.Op, c.To, c.Attribute = schema.Rename, fmt.Sprintf("name %d", p.names), schema.Attribute{}
		if p.r.IntN(8) == 0 {
			c.To = pick(p.r, p.w.attrs).def.Name
		}
	case 1:
		c.Op, c.Attribute = schema.Drop, schema.Attribute{}
	case 2:
		c.Op, c.Attribute = schema.Deprecate, schema.Attribute{}
	case 3, 4, 5:
		if a.Kind == schema.Int && !a.Unique && len(a.Allowed) == 0 {
			c.Op = schema.Narrow
			c.Attribute.Min, c.Attribute.Max = schema.IntValue(-3), schema.IntValue(int64(300+p.r.IntN(1000)))
			if schema.Widens(&a, &c.Attribute) && !schema.SameDefinition(&a, &c.Attribute) {
				c.Op = schema.Widen
			}
			break
		}
		if unique := a.Inline() || a.Kind == schema.Int || a.Kind == schema.Date; unique && p.r.IntN(3) == 0 {
			c.Op, c.Attribute.Unique = schema.Narrow, !a.Unique
			if a.Unique {
				c.Op = schema.Widen
			}
			break
		}
		if a.Kind == schema.String {
			c.Op, c.Attribute = schema.SetStorage, schema.Attribute{Storage: 1 - a.Storage}
			break
		}
		fallthrough
	default:
		kind := schema.Kind(1 + p.r.IntN(8))
		p.names++
		c = schema.Change{Op: schema.AddAttribute, Name: fmt.Sprintf("new %d", p.names), Attribute: schema.Attribute{Kind: kind}}
		if kind == schema.Decimal {
			c.Attribute.Scale = 3
		}
		if kind == schema.String && p.r.IntN(2) == 0 {
			c.Attribute.Storage = schema.StorageInline
		}
		c.Attribute.Unique = (c.Attribute.Inline() || kind == schema.Int || kind == schema.Date) && p.r.IntN(2) == 0
		c.Attribute.Required = kind == schema.Int && p.r.IntN(4) == 0
		c.Attribute.Name = c.Name
	}
	return c
}
