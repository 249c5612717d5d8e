package timeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

func TestFactsAgainstModel(t *testing.T) {
	r := seeded(t)
	properties := []FactsProperty{{17, true}, {20, false}, {1000, true}}
	for range rounds(20) {
		sources := randomSources(t, r)
		s := &search{sources: sources}
		for chunk := range bitmap.ShardChunks {
			if r.IntN(4) > 0 {
				continue
			}
			facts, err := CollectFacts(s.list(), chunk, properties)
			if err != nil {
				t.Fatal(err)
			}
			checkFacts(t, sources, chunk, facts[:])
			stepwise, err := CollectFacts(s.list()[:1], chunk, properties)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range s.list()[1:] {
				own := slices.DeleteFunc(slices.Clone(properties), func(p FactsProperty) bool { return one.Part.columnOf(p.ID) < 0 })
				more, err := CollectFacts([]Source{one}, chunk, own)
				if err != nil {
					t.Fatal(err)
				}
				for i := range stepwise {
					stepwise[i] = stepwise[i].Merge(more[i])
				}
			}
			for i, f := range facts {
				checkStored(t, f)
				if !bytes.Equal(f.Append(nil), stepwise[i].Append(nil)) {
					t.Fatal("facts collected at once and merged differ")
				}
			}
		}
	}
}

// checkStored stores facts and reads them again.
func checkStored(t *testing.T, f *Facts) {
	t.Helper()
	b := f.Append([]byte("before"))[len("before"):]
	again, err := DecodeFacts(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(normal(f), normal(again)) {
		t.Fatalf("facts are %+v, stored %+v", f, again)
	}
	if !bytes.Equal(again.Append(nil), b) {
		t.Fatal("facts stored again differ")
	}
}

// normal makes nil slices of empty ones.
func normal(f *Facts) Facts {
	g := *f
	g.Count, g.First, g.Last = slices.Concat(g.Count), slices.Concat(g.First), slices.Concat(g.Last)
	g.Properties = slices.Clone(g.Properties)
	for i := range g.Properties {
		p := &g.Properties[i]
		p.Count, p.Min, p.Max, p.Sum = slices.Concat(p.Count), slices.Concat(p.Min), slices.Concat(p.Max), slices.Concat(p.Sum)
	}
	return g
}

func checkFacts(t *testing.T, sources []built, chunk int, facts []*Facts) {
	t.Helper()
	byProfile := map[int][]found{}
	for at, b := range sources {
		for i, e := range b.events {
			if int(e.profile>>bitmap.ChunkBits) == chunk {
				byProfile[int(uint16(e.profile))] = append(byProfile[int(uint16(e.profile))], found{e, at, i})
			}
		}
	}
	total := 0
	for block, f := range facts {
		total += f.Len()
		for p := range BlockSize {
			list := byProfile[block*BlockSize+p]
			slot, ok := f.Slot(p)
			if ok != (len(list) > 0) {
				t.Fatalf("profile %d of block %d: %v", p, block, ok)
			}
			if ok {
				checkFact(t, sources, list, f, slot)
			}
		}
	}
	if total != len(byProfile) {
		t.Fatalf("facts of %d profiles, want %d", total, len(byProfile))
	}
}

func checkFact(t *testing.T, sources []built, list []found, f *Facts, slot int) {
	t.Helper()
	first, last := list[0].time, list[0].time
	for _, e := range list {
		first, last = min(first, e.time), max(last, e.time)
	}
	if f.Count[slot] != int64(len(list)) || f.First[slot] != first || f.Last[slot] != last {
		t.Fatalf("%d events from %d to %d, want %d from %d to %d", f.Count[slot], f.First[slot], f.Last[slot], len(list), first, last)
	}
	s := &search{sources: sources}
	for _, p := range f.Properties {
		got := Value{Count: uint32(p.Count[slot]), Min: p.Min[slot], Max: p.Max[slot]}
		if p.Summed {
			got.Sum = p.Sum[slot]
		} else {
			var sum Int128
			for _, e := range list {
				if sources[e.source].Part.columnOf(p.ID) >= 0 {
					sum = sum.Add(e.values[p.ID].n)
				}
			}
			got.Sum = sum
		}
		checkValue(t, s, list, p.ID, got)
	}
}

// randomFacts makes facts that no part needs to have, of one in so many profiles.
func randomFacts(r *rand.Rand, one int) *Facts {
	f := &Facts{Properties: []PropertyFacts{{FactsProperty: FactsProperty{17, true}}, {FactsProperty: FactsProperty{20, false}}}}
	unit := []int64{1, 1000, msPerDay}[r.IntN(3)]
	for p := range BlockSize {
		if r.IntN(one) > 0 {
			continue
		}
		f.Present[p>>6] |= 1 << (p & 63)
		n := 1 + r.Int64N(3)
		first := (r.Int64N(4000) - 2000) * unit
		f.Count, f.First, f.Last = append(f.Count, n), append(f.First, first), append(f.Last, first+r.Int64N(n)*unit)
		for i := range f.Properties {
			k, x := &f.Properties[i], int64(r.Uint64())
			v := Value{}
			for range r.Int64N(n + 1) {
				v.add(x)
				x >>= r.IntN(64)
			}
			k.Count, k.Min, k.Max = append(k.Count, int64(v.Count)), append(k.Min, v.Min), append(k.Max, v.Max)
			if k.Summed {
				k.Sum = append(k.Sum, v.Sum)
			}
		}
	}
	return f
}

func TestFactsDamage(t *testing.T) {
	r := seeded(t)
	f := randomFacts(r, 40)
	checkStored(t, f)
	good := f.Append(nil)
	newer := slices.Clone(good)
	newer[4]++
	if _, err := DecodeFacts(newer); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrCorrupt) {
		t.Errorf("version+1: %v", err)
	}
	for range 300 {
		flipped := slices.Clone(good)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		if _, err := DecodeFacts(flipped); err == nil {
			t.Error("a flipped bit is not seen")
		}
		if _, err := DecodeFacts(good[:r.IntN(len(good))]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut: %v", err)
		}
	}
	if _, err := DecodeFacts(append(slices.Clone(good), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

// oneProfile are facts of ordinal 0.
func oneProfile(count, first, last int64, properties ...PropertyFacts) *Facts {
	return &Facts{Present: Mask{1}, Count: []int64{count}, First: []int64{first}, Last: []int64{last}, Properties: properties}
}

// oneProperty are facts of a property of one profile.
func oneProperty(id schema.AttrID, count, least, most int64) PropertyFacts {
	return PropertyFacts{FactsProperty: FactsProperty{ID: id}, Count: []int64{count}, Min: []int64{least}, Max: []int64{most}}
}

// TestFactsContradict has facts that cannot be.
func TestFactsContradict(t *testing.T) {
	bad := func(what string, f *Facts) {
		t.Helper()
		if _, err := DecodeFacts(f.Append(nil)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	checkStored(t, oneProfile(2, 2000, 4000, oneProperty(17, 2, 4, 5), oneProperty(18, 0, 0, 0)))
	bad("no events", oneProfile(0, 0, 0))
	bad("a time before the year 1", oneProfile(1, firstDay*msPerDay-1, 0))
	bad("a time past the year 9999", oneProfile(2, 0, (lastDay+1)*msPerDay))
	bad("the last before the first", oneProfile(2, 2000, 1000))
	bad("a least value above the greatest", oneProfile(2, 0, 0, oneProperty(17, 2, 5, 4)))
	bad("more values than events", oneProfile(2, 0, 0, oneProperty(17, 3, 5, 6)))
	bad("less than no values", oneProfile(2, 0, 0, oneProperty(17, -1, 5, 6)))
	bad("a property twice", oneProfile(2, 0, 0, oneProperty(17, 2, 5, 6), oneProperty(17, 2, 5, 6)))
	many := oneProfile(2, 0, 0)
	for i := range MaxFactsProperties + 1 {
		many.Properties = append(many.Properties, oneProperty(schema.AttrID(i), 2, 5, 6))
	}
	bad("too many properties", many)
}

// TestFactsHostile has bytes with a good checksum and bad content.
func TestFactsHostile(t *testing.T) {
	resealed := func(what string, b []byte) {
		t.Helper()
		binary.LittleEndian.PutUint32(b[8:], checksum(b))
		if _, err := DecodeFacts(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := randomFacts(seeded(t), 40).Append(nil)
	three := (&Facts{Present: Mask{7}, Count: []int64{1, 3, 2}, First: []int64{0, 0, 0}, Last: []int64{0, 5, 9}}).Append(nil)
	resealed("no end", slices.Clone(three[:len(three)-slack]))
	three[factsFixed+3] |= 3 << 2 // counts are packed as 0, 2, 1
	resealed("a number above top", three)
	summed := oneProfile(1, 0, 0, oneProperty(17, 1, 5, 5)).Append(nil)
	summed[factsFixed+5] = 2
	resealed("sums", summed)
	for name, change := range map[string]func(b []byte){
		"reserved":     func(b []byte) { b[5] = 1 },
		"one more":     func(b []byte) { b[12] ^= 1 },
		"properties":   func(b []byte) { b[6] = 3 },
		"fewer":        func(b []byte) { b[6] = 1 },
		"the end":      func(b []byte) { b[len(b)-1] = 1 },
		"above top":    func(b []byte) { b[factsFixed+1]-- }, // counts are 1 to 3, so top is 2 and becomes 1
		"below 1":      func(b []byte) { b[factsFixed] = 0 },
		"a long width": func(b []byte) { b[factsFixed+1] = 0x7f },
	} {
		b := slices.Clone(good)
		change(b)
		resealed(name, b)
	}
}

func FuzzFacts(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		f.Add(randomFacts(r, 1000).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 12 {
			b = slices.Clone(b)
			binary.LittleEndian.PutUint32(b[8:], checksum(b)) // else the checksum is all that is tested
		}
		facts, err := DecodeFacts(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeFacts(facts.Append(nil))
		if err != nil || !reflect.DeepEqual(normal(facts), normal(again)) {
			t.Fatal("stored again they differ", err)
		}
		if got := (&Facts{}).Merge(facts); !reflect.DeepEqual(normal(facts), normal(got)) {
			t.Fatal("merged with none they differ")
		}
	})
}
