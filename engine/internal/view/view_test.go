package view

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// One attribute of each class.
const (
	codeAttr schema.AttrID = 16 + iota
	intAttr
	bytesAttr
	setAttr
)

func classes() map[schema.AttrID]effect.Class {
	return map[schema.AttrID]effect.Class{codeAttr: effect.Code, intAttr: effect.Int, bytesAttr: effect.Bytes, setAttr: effect.Set}
}

// plain is the slow obvious state: by attribute and ordinal, the value as text.
type plain map[schema.AttrID]map[uint32]any

func (p plain) clone() plain {
	c := plain{}
	for a, m := range p {
		c[a] = maps.Clone(m)
	}
	return c
}

// tiers is a state with all tiers, and what it is to say.
type tiers struct {
	t       *testing.T
	r       *rand.Rand
	store   *kv.Store
	cache   *base.Cache
	folder  *base.Folder
	settler head.Settler
	s       State
	want    plain
	stamp   uint16
	folds   uint64
	kept    []State
	keptAt  []plain
}

// TestTiers writes random changes, freezes, settles and folds at random, and reads by
// every method of the cursor, also states that were kept from before.
func TestTiers(t *testing.T) {
	const seed = 21
	t.Logf("seed %d", seed)
	x := newTiers(t, rand.New(rand.NewPCG(seed, 1)))
	for i := range 160 {
		switch k := x.r.IntN(12); {
		case k < 7:
			x.write()
		case k < 9:
			x.freeze()
		case k == 9:
			x.settle()
		case k == 10:
			x.fold()
		case len(x.kept) < 4:
			x.kept, x.keptAt = append(x.kept, x.s), append(x.keptAt, x.want.clone())
		default:
			x.kept, x.keptAt = x.kept[1:], x.keptAt[1:]
		}
		x.compare(fmt.Sprint("step ", i), &x.s, x.want)
		if len(x.kept) > 0 {
			k := x.r.IntN(len(x.kept))
			x.compare(fmt.Sprint("kept, step ", i), &x.kept[k], x.keptAt[k])
		}
	}
}

func newTiers(t *testing.T, r *rand.Rand) *tiers {
	t.Helper()
	store, err := kv.Open("store", kv.Config{FS: vfs.NewMem(), Cache: 1 << 20, MemTable: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	cache := base.NewCache(store, 256<<10) // so small that the clock turns
	attrs := []schema.Attribute{{ID: codeAttr, Name: "c", Kind: schema.String}, {ID: intAttr, Name: "i", Kind: schema.Int},
		{ID: bytesAttr, Name: "b", Kind: schema.String, Storage: schema.StorageInline}, {ID: setAttr, Name: "s", Kind: schema.Set}}
	x := &tiers{t: t, r: r, store: store, cache: cache, folder: base.NewFolder(store, cache), want: plain{}}
	x.s = State{Schema: schema.New(1, 32, attrs), End: 1<<20 + 200, Units: map[schema.AttrID][]*base.Unit{}}
	for a := range classes() {
		x.want[a] = map[uint32]any{}
	}
	x.begin()
	return x
}

func (x *tiers) begin() {
	ids := slices.Sorted(maps.Keys(classes()))
	x.s.Tiers.Active, x.stamp, x.s.Tiers.Cut = head.NewL0(1, ids, nil, 20), 0, 0
}

// ord draws from the borders of chunks and shards, and a stretch of several blocks.
func (x *tiers) ord() uint32 {
	switch x.r.IntN(4) {
	case 0:
		return 65_500 + x.r.Uint32N(80)
	case 1:
		return 1<<20 - 30 + x.r.Uint32N(60)
	}
	return 3_000 + x.r.Uint32N(3_000)
}

// write appends an outcome, with the same profile several times at times.
func (x *tiers) write() {
	n := 1 + x.r.IntN(30)
	if x.r.IntN(6) == 0 {
		n = 2500 // more than a dense settled object takes
	}
	x.writeTo(n, x.ord)
}

func (x *tiers) writeTo(n int, ord func() uint32) {
	o := &effect.Outcome{}
	b := effect.Block{}
	for range n {
		b.Ords = append(b.Ords, ord())
	}
	if x.r.IntN(2) == 0 {
		slices.Sort(b.Ords)
	}
	for attr, class := range classes() {
		if x.r.IntN(3) == 0 {
			continue
		}
		c := effect.Column{Attr: attr, Class: class}
		if class == effect.Set {
			c.Rows = []uint32{}
		}
		for row, ord := range b.Ords {
			x.change(&c, attr, row, ord)
		}
		b.Columns = append(b.Columns, c)
	}
	o.Blocks = append(o.Blocks, b)
	x.stamp++
	x.s.Tiers.Active.Append(x.stamp, o, nil, nil, 0)
	x.s.Tiers.Cut = x.stamp
}

func (x *tiers) change(c *effect.Column, attr schema.AttrID, row int, ord uint32) {
	m := x.want[attr]
	if c.Class != effect.Set && x.r.IntN(4) == 0 {
		c.AppendAbsent()
		delete(m, ord)
		return
	}
	switch c.Class {
	case effect.Code:
		code := x.r.Uint32N(12)
		c.Codes = append(c.Codes, code)
		m[ord] = code
	case effect.Int:
		v := x.r.Int64N(1000) - 500
		c.AppendInt(v)
		m[ord] = v
	case effect.Bytes:
		s := fmt.Sprint("text ", x.r.IntN(50))[:x.r.IntN(7)]
		c.AppendBytes([]byte(s))
		m[ord] = s
	case effect.Set:
		for range x.r.IntN(3) {
			x.changeSet(c, row, ord)
		}
	}
}

func (x *tiers) changeSet(c *effect.Column, row int, ord uint32) {
	m := x.want[setAttr]
	set, _ := m[ord].([]uint32)
	set = slices.Clone(set)
	code := x.r.Uint32N(10)
	at, in := slices.BinarySearch(set, code)
	op := effect.Add
	switch k := x.r.IntN(8); {
	case k == 0:
		op, code, set = effect.Reset, 0, nil
	case k < 4:
		op = effect.Remove
		if in {
			set = slices.Delete(set, at, at+1)
		}
	case !in:
		set = slices.Insert(set, at, code)
	}
	c.Rows, c.Codes = append(c.Rows, uint32(row)), append(c.Codes, op|code)
	if m[ord] = set; len(set) == 0 {
		delete(m, ord)
	}
}

func (x *tiers) freeze() {
	if x.s.Tiers.Active.Values > 0 && len(x.s.Tiers.Frozen) < 3 {
		x.s.Tiers.Frozen = append(slices.Clone(x.s.Tiers.Frozen), x.s.Tiers.Active)
		x.begin()
	}
}

func (x *tiers) settle() {
	settled := maps.Clone(x.s.Tiers.Settled)
	if settled == nil {
		settled = map[schema.AttrID][]*head.Settled{}
	}
	for attr, class := range classes() {
		list := slices.Grow(slices.Clone(settled[attr]), 17)
		for chunk := range 17 {
			if chunk == len(list) {
				list = append(list, nil)
			}
			list[chunk] = x.settler.Settle(attr, class, chunk, list[chunk], x.s.Tiers.Frozen)
		}
		settled[attr] = list
	}
	x.s.Tiers.Settled, x.s.Tiers.Frozen = settled, nil
}

// fold folds one unit, or all.
func (x *tiers) fold() {
	for attr, class := range classes() {
		for shard := range uint32(2) {
			if x.r.IntN(2) == 0 {
				x.foldUnit(attr, class, shard)
			}
		}
	}
}

func (x *tiers) foldUnit(attr schema.AttrID, class effect.Class, shard uint32) {
	list := slices.Clone(x.s.Tiers.Settled[attr])
	if len(list) == 0 {
		return
	}
	part := list[shard*16 : min(len(list), int(shard)*16+16)]
	x.folds++
	units := slices.Clone(x.s.Units[attr])
	for len(units) <= int(shard) {
		units = append(units, nil)
	}
	job := x.job(keys.Unit{Attr: uint32(attr), Shard: shard, Generation: x.folds}, class, units[shard], part)
	u, err := x.folder.Fold(x.t.Context(), job)
	if err != nil {
		x.t.Fatal(err)
	}
	units[shard] = u
	x.s.Units = maps.Clone(x.s.Units)
	x.s.Units[attr] = units
	for i := range part {
		part[i] = nil
	}
	x.s.Tiers.Settled = maps.Clone(x.s.Tiers.Settled)
	x.s.Tiers.Settled[attr] = list
	x.reopen(u)
}

func (x *tiers) job(id keys.Unit, class effect.Class, old *base.Unit, settled []*head.Settled) *base.Job {
	first := id.Shard << bitmap.ShardBits
	return &base.Job{ID: id, Class: class, Old: old, Settled: settled, Folded: x.folds,
		Who: func(ords []uint32, dst []uint64) error {
			for i, o := range ords {
				dst[i] = uint64(first | o)
			}
			return nil
		}, What: func(code uint32) uint64 { return uint64(code) + 1000 }}
}

// reopen reads a unit's manifest back and compares.
func (x *tiers) reopen(u *base.Unit) {
	x.t.Helper()
	v, err := x.store.Get(u.ID.Row(keys.Manifest, 0))
	if err != nil {
		x.t.Fatal(err)
	}
	again, err := base.OpenUnit(u.ID, v, x.cache)
	if err != nil {
		x.t.Fatal(err)
	}
	if again.Content != u.Content || again.Replica != u.Replica || again.Folded != u.Folded || again.Covered != u.Covered || again.Present != u.Present ||
		!slices.Equal(again.Codes, u.Codes) || !slices.Equal(again.Cards, u.Cards) || again.Columns != u.Columns || again.Bitmaps != u.Bitmaps {
		x.t.Fatalf("a unit read back is %+v, want %+v", again, u)
	}
}

// compare reads everything of a random chunk.
func (x *tiers) compare(when string, s *State, want plain) {
	x.t.Helper()
	c := View{S: s}.NewCursor()
	defer c.Close()
	for _, chunk := range []int{0, 1, 15, 16} {
		var ords []uint16
		for range x.r.IntN(200) {
			if o := x.ord(); int(o>>16) == chunk {
				ords = append(ords, uint16(o))
			}
		}
		if x.r.IntN(3) == 0 {
			ords = ords[:min(len(ords), 3)]
		}
		slices.Sort(ords)
		ords = slices.Compact(ords)
		at := func(i int) uint32 { return uint32(chunk)<<16 | uint32(ords[i]) }
		x.gather(when, c, chunk, ords, want, at)
		x.sets(when, c, chunk, want)
	}
}

func (x *tiers) must(when string, err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatalf("%s: %v", when, err)
	}
}

func (x *tiers) gather(when string, c *Cursor, chunk int, ords []uint16, want plain, at func(i int) uint32) {
	x.t.Helper()
	n := len(ords)
	codes, ints, ok, texts := make([]uint32, n), make([]int64, n), make([]bool, n), make([][]byte, n)
	var sets query.Sets
	x.must(when, c.GatherCodes(codeAttr, chunk, ords, codes))
	x.must(when, c.GatherInts(intAttr, chunk, ords, ints, ok))
	x.must(when, c.GatherStrings(bytesAttr, chunk, ords, texts))
	x.must(when, c.GatherSets(setAttr, chunk, ords, &sets))
	if len(sets.Ends) != n {
		x.t.Fatalf("%s: %d sets, want %d", when, len(sets.Ends), n)
	}
	from := uint32(0)
	for i := range n {
		if code, has := want[codeAttr][at(i)].(uint32); !has && codes[i] != schema.NoCode || has && codes[i] != code {
			x.t.Fatalf("%s: code of %d is %d, want %v", when, at(i), codes[i], want[codeAttr][at(i)])
		}
		if v, has := want[intAttr][at(i)].(int64); has != ok[i] || has && v != ints[i] {
			x.t.Fatalf("%s: number of %d is %d %v, want %v", when, at(i), ints[i], ok[i], want[intAttr][at(i)])
		}
		if s, has := want[bytesAttr][at(i)].(string); has != (texts[i] != nil) || !bytes.Equal(texts[i], []byte(s)) {
			x.t.Fatalf("%s: text of %d is %q, want %v", when, at(i), texts[i], want[bytesAttr][at(i)])
		}
		if set, _ := want[setAttr][at(i)].([]uint32); !slices.Equal(sets.Codes[from:sets.Ends[i]], set) {
			x.t.Fatalf("%s: set of %d is %v, want %v", when, at(i), sets.Codes[from:sets.Ends[i]], set)
		}
		from = sets.Ends[i]
	}
}

// sets compares rows, presence and ranges of a chunk.
func (x *tiers) sets(when string, c *Cursor, chunk int, want plain) {
	x.t.Helper()
	expect := func(what string, got bitmap.Set, err error, attr schema.AttrID, in func(v any, ord uint32) bool) {
		x.t.Helper()
		x.must(when, err)
		var ords []uint16
		for ord, v := range want[attr] {
			if int(ord>>16) == chunk && in(v, ord) {
				ords = append(ords, uint16(ord))
			}
		}
		slices.Sort(ords)
		if list := got.AppendTo(nil); !slices.Equal(list, ords) {
			x.t.Fatalf("%s: %s in chunk %d: %d ordinals, want %d\n%v\n%v", when, what, chunk, len(list), len(ords), list, ords)
		}
	}
	var buf, other bitmap.Words
	for attr := range classes() {
		got, err := c.Exists(attr, chunk, &buf)
		expect(fmt.Sprint("who has ", attr), got, err, attr, func(any, uint32) bool { return true })
	}
	code := x.r.Uint32N(12)
	got, err := c.Row(codeAttr, code, chunk, &buf)
	expect(fmt.Sprint("code ", code), got, err, codeAttr, func(v any, _ uint32) bool { return v == code })
	got, err = c.Row(setAttr, code, chunk, &buf)
	expect(fmt.Sprint("element ", code), got, err, setAttr, func(v any, _ uint32) bool { return slices.Contains(v.([]uint32), code) })
	lo := x.r.Int64N(1000) - 500
	hi := lo + x.r.Int64N(200) - 10
	inside := func(v any) bool { return v.(int64) >= lo && v.(int64) <= hi }
	got, err = c.Range(intAttr, lo, hi, chunk, nil, &buf)
	expect(fmt.Sprint("range ", lo, hi), got, err, intAttr, func(v any, _ uint32) bool { return inside(v) })
	within, err := c.Row(codeAttr, code, chunk, &other)
	x.must(when, err)
	got, err = c.Range(intAttr, lo, hi, chunk, &within, &buf)
	expect(fmt.Sprint("range ", lo, hi, " within"), got, err, intAttr, func(v any, ord uint32) bool { return inside(v) && want[codeAttr][ord] == code })
}

// TestDigestsOfUnits compares the sums that folding keeps with those of all facts.
func TestDigestsOfUnits(t *testing.T) {
	x := newTiers(t, rand.New(rand.NewPCG(22, 1)))
	for range 25 {
		x.write()
		x.freeze()
		x.settle()
		x.fold()
	}
	for attr, class := range classes() {
		for shard := range uint32(2) {
			x.foldUnit(attr, class, shard)
		}
		var content, replica, wantContent, wantReplica digest.Sum
		for _, u := range x.s.Units[attr] {
			content.Add(u.Content)
			replica.Add(u.Replica)
		}
		for ord, v := range x.want[attr] {
			add := func(c, r uint64) {
				wantContent.Add(digest.Fact(uint64(ord), c))
				wantReplica.Add(digest.Fact(uint64(ord), r))
			}
			switch v := v.(type) {
			case uint32:
				add(uint64(v)+1000, uint64(v))
			case int64:
				add(digest.Number(v), digest.Number(v))
			case string:
				add(digest.String(v), digest.String(v))
			case []uint32:
				for _, code := range v {
					add(uint64(code)+1000, uint64(code))
				}
			}
		}
		if content != wantContent || replica != wantReplica {
			t.Errorf("attribute %d: sums %v %v, want %v %v", attr, content, replica, wantContent, wantReplica)
		}
	}
}

// TestUnchangedBlocks folds changes of single blocks into units that have more, and grows
// units whose last block is not whole: what is taken over as it was is what encoding it
// again would make.
func TestUnchangedBlocks(t *testing.T) {
	x := newTiers(t, rand.New(rand.NewPCG(23, 1)))
	for _, at := range []struct{ from, spread uint32 }{
		{0, base.BlockSize + 900}, {3*base.BlockSize + 5, 100}, {7, 1}, {2 * base.BlockSize, 300}, {3*base.BlockSize + 50, base.BlockSize},
	} {
		for range 8 {
			x.writeTo(1000, func() uint32 { return at.from + x.r.Uint32N(at.spread) })
		}
		x.freeze()
		x.settle()
		for attr, class := range classes() {
			x.foldUnit(attr, class, 0)
			if problems := x.check(attr, class, 0); len(problems) > 0 {
				t.Fatalf("%d ordinals from %d: %q", at.spread, at.from, problems)
			}
		}
		x.compare(fmt.Sprintf("%d ordinals from %d", at.spread, at.from), &x.s, x.want)
	}
}

// TestLastOfACode folds a code that nobody has any more, in a chunk beside one that is kept.
func TestLastOfACode(t *testing.T) {
	x := newTiers(t, rand.New(rand.NewPCG(25, 1)))
	for _, codes := range [][]uint32{{3, 77, 3}, {3, 3}} {
		x.s.Tiers.Active.Append(1, &effect.Outcome{Blocks: []effect.Block{{Ords: []uint32{5, 6, 70_000}[:len(codes)], Columns: []effect.Column{{Attr: codeAttr, Class: effect.Code, Codes: codes}}}}}, nil, nil, 0)
		x.freeze()
		x.settle()
		x.foldUnit(codeAttr, effect.Code, 0)
		if problems := x.check(codeAttr, effect.Code, 0); len(problems) > 0 {
			t.Fatalf("%v: %q", codes, problems)
		}
	}
	if u := x.s.Units[codeAttr][0]; !slices.Equal(u.Codes, []uint32{3}) || u.Card(3) != 3 {
		t.Errorf("codes %v of %v", u.Codes, u.Cards)
	}
}

// TestOnlyForm plants a block that says the same in fewer values.
func TestOnlyForm(t *testing.T) {
	x := newTiers(t, rand.New(rand.NewPCG(24, 1)))
	for range 8 {
		x.writeTo(50, func() uint32 { return 2*base.BlockSize + x.r.Uint32N(100) })
	}
	x.freeze()
	x.settle()
	x.foldUnit(intAttr, effect.Int, 0)
	b := x.store.NewBatch()
	b.Set(x.s.Units[intAttr][0].ID.Row(keys.Block, 1), column.EncodeInts(nil, make([]int64, 100), make([]uint64, 2)))
	x.must("plant", errors.Join(b.Commit(false), b.Close()))
	problems := x.check(intAttr, effect.Int, 0)
	if len(problems) != 1 || !strings.Contains(problems[0], "column block 1 is not in its only form") {
		t.Errorf("%q", problems)
	}
}

// check returns what is wrong with a unit.
func (x *tiers) check(attr schema.AttrID, class effect.Class, shard int) []string {
	u := x.s.Units[attr][shard]
	checked, err := base.NewFolder(x.store, x.cache).Check(x.t.Context(), x.job(u.ID, class, u, nil))
	x.must("check", err)
	return checked.Problems
}
