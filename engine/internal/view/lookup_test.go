package view

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/index/schema"
)

// keyedStore is a state of profiles that come, go and come again, and who is to be found.
type keyedStore struct {
	t    *testing.T
	r    *rand.Rand
	s    State
	live map[string]uint32
	gone []string
}

// TestLookupAll looks up lists of keys, known, deleted, unknown and repeated, and compares
// with a map, while keys come and go, and the index is merged. It has false candidates too.
func TestLookupAll(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	x := &keyedStore{t: t, r: rand.New(rand.NewPCG(seed, 1)), live: map[string]uint32{}}
	l0 := head.NewL0(1, []schema.AttrID{schema.KeyAttr, LiveAttr}, nil, 40)
	x.s = State{Schema: schema.New(0, schema.FirstUserAttr, nil), Seed: 7, Indexes: map[schema.AttrID]*Index{schema.KeyAttr: {Delta: keytable.NewDelta()}}, Tiers: head.Tiers{Active: l0}}
	for range 30 {
		x.create(1 + x.r.IntN(600))
		x.delete(x.r.IntN(200))
		if x.r.IntN(4) == 0 {
			x.merge()
		}
		x.compare()
		x.since()
	}
	if x.s.Indexes[schema.KeyAttr].Static.Pages() == 0 || x.s.End < 2<<16 {
		t.Fatal("all that is looked up is of one kind")
	}
}

// create adds profiles, some with the keys of those who are gone.
func (x *keyedStore) create(n int) {
	b := effect.Block{}
	keys, codes := effect.Column{Attr: schema.KeyAttr, Class: effect.Bytes}, effect.Column{Attr: LiveAttr, Class: effect.Code}
	index := x.s.Indexes[schema.KeyAttr]
	for range n {
		key := fmt.Sprint("key ", x.s.End)
		if k := len(x.gone); k > 0 && x.r.IntN(2) == 0 {
			key, x.gone = x.gone[k-1], x.gone[:k-1]
		}
		ord := x.s.End
		x.s.End += 1 + x.r.Uint32N(40) // of the others nobody has a key
		x.live[key] = ord
		b.Ords, codes.Codes = append(b.Ords, ord), append(codes.Codes, Live)
		keys.AppendBytes([]byte(key))
		hash := Hash(x.s.Seed, []byte(key))
		index.Delta.Insert(hash, ord)
		if x.r.IntN(8) == 0 { // whose hash is the same
			index.Delta.Insert(hash, x.r.Uint32N(2*x.s.End))
		}
	}
	b.Columns = []effect.Column{keys, codes}
	x.append(b)
}

func (x *keyedStore) delete(n int) {
	b := effect.Block{}
	codes := effect.Column{Attr: LiveAttr, Class: effect.Code}
	for _, key := range slices.Sorted(maps.Keys(x.live))[:min(n, len(x.live))] {
		b.Ords, codes.Codes = append(b.Ords, x.live[key]), append(codes.Codes, schema.NoCode)
		x.gone = append(x.gone, key)
		delete(x.live, key)
	}
	b.Columns = []effect.Column{codes}
	x.append(b)
}

func (x *keyedStore) append(b effect.Block) {
	x.s.Tiers.Cut++
	x.s.Tiers.Active.Append(x.s.Tiers.Cut, &effect.Outcome{Blocks: []effect.Block{b}}, nil, nil, 0)
}

// merge makes a table of what is being merged, or begins to merge.
func (x *keyedStore) merge() {
	index := *x.s.Indexes[schema.KeyAttr]
	if index.Frozen == nil {
		index.Frozen, index.Delta = index.Delta, keytable.NewDelta()
	} else {
		var pages [][]byte
		n, err := keytable.Merge(index.Static, index.Frozen, nil, func(_ int, b []byte) error {
			pages = append(pages, slices.Clone(b))
			return nil
		})
		if err == nil {
			index.Generation++
			index.Static, err = keytable.Open(n, math.MaxInt64, func(page int) ([]byte, error) { return pages[page], nil })
		}
		if err != nil {
			x.t.Fatal(err)
		}
		index.Frozen = nil
	}
	x.s.Indexes = map[schema.AttrID]*Index{schema.KeyAttr: &index}
}

func (x *keyedStore) compare() {
	x.t.Helper()
	known := append(slices.Sorted(maps.Keys(x.live)), x.gone...)
	list := make([][]byte, x.r.IntN(3*lookupBatch))
	for i := range list {
		list[i] = fmt.Append(nil, "key ", x.r.Uint32N(2*x.s.End))
		if x.r.IntN(2) == 0 {
			list[i] = []byte(known[x.r.IntN(len(known))])
		}
	}
	x.find(list, (*Cursor).LookupAll)
}

// since looks up again who was not there before profiles came.
func (x *keyedStore) since() {
	x.t.Helper()
	table := View{S: &x.s}.NewCursor().KeyTable()
	var list [][]byte
	for _, key := range x.gone {
		list = append(list, []byte(key))
	}
	for i := range x.r.Uint32N(3 * lookupBatch) {
		list = append(list, fmt.Append(nil, "key ", x.s.End+i))
	}
	x.create(1 + x.r.IntN(200))
	for range x.r.IntN(4) {
		x.merge()
		x.create(1 + x.r.IntN(20))
	}
	x.find(list, func(c *Cursor, hashes []uint64, key func(int) []byte, found []uint32) error {
		return c.LookupSince(table, hashes, key, found)
	})
}

// find compares what a method finds with the map.
func (x *keyedStore) find(list [][]byte, lookUp func(c *Cursor, hashes []uint64, key func(i int) []byte, found []uint32) error) {
	x.t.Helper()
	hashes, found := make([]uint64, len(list)), make([]uint32, len(list))
	for i, key := range list {
		hashes[i] = Hash(x.s.Seed, key)
	}
	if err := lookUp(View{S: &x.s}.NewCursor(), hashes, func(i int) []byte { return list[i] }, found); err != nil {
		x.t.Fatal(err)
	}
	for i, key := range list {
		want, lives := x.live[string(key)]
		if !lives {
			want = NoProfile
		}
		if found[i] != want {
			x.t.Fatalf("%q is %d, want %d", key, found[i], want)
		}
	}
}
