package timeline

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

func TestFactsAgainstModel(t *testing.T) {
	r := seeded(t)
	properties := []schema.AttrID{17, 20, 1000}
	var c FactsCollector
	for range rounds(20) {
		sources := randomSources(t, r)
		s := &search{sources: sources}
		from := int64(math.MinInt64)
		if r.IntN(2) == 0 {
			from = sources[0].Part.first + r.Int64N(sources[0].Part.last-sources[0].Part.first+1)
		}
		for chunk := range bitmap.ShardChunks {
			if r.IntN(4) > 0 {
				continue
			}
			facts, err := c.Collect(s.list(), chunk, from, properties)
			if err != nil {
				t.Fatal(err)
			}
			checkFacts(t, sources, chunk, from, facts[:])
		}
	}
}

func checkFacts(t *testing.T, sources []built, chunk int, from int64, facts [][]byte) {
	t.Helper()
	byProfile := map[int][]found{}
	for at, b := range sources {
		for i, e := range b.events {
			if int(e.profile>>bitmap.ChunkBits) == chunk && e.time >= from {
				byProfile[int(uint16(e.profile))] = append(byProfile[int(uint16(e.profile))], found{e, at, i})
			}
		}
	}
	var r FactsReader
	total := 0
	for block, stored := range facts {
		if stored == nil {
			continue
		}
		f, err := OpenFacts(stored)
		if err != nil {
			t.Fatal(err)
		}
		r.Reset(f)
		if err := r.Days(); err != nil {
			t.Fatal(err)
		}
		slot := 0
		for p := range BlockSize {
			list := byProfile[block*BlockSize+p]
			if f.Present.Has(p) != (len(list) > 0) {
				t.Fatalf("profile %d of block %d: %v", p, block, !f.Present.Has(p))
			}
			if count, _, _, err := f.Of(p); int(count) != len(list) || err != nil {
				t.Fatalf("%d events (%v), want %d", count, err, len(list))
			}
			if len(list) > 0 {
				checkFact(t, sources, list, &r, slot)
				slot++
			}
		}
		total += slot
		if slot == 0 || slot != f.Len() {
			t.Fatalf("%d profiles, want %d", f.Len(), slot)
		}
		checkProperties(t, sources, byProfile, block, &r)
	}
	if total != len(byProfile) {
		t.Fatalf("facts of %d profiles, want %d", total, len(byProfile))
	}
}

func checkFact(t *testing.T, sources []built, list []found, r *FactsReader, slot int) {
	t.Helper()
	first, last := DayOf(list[0].time), DayOf(list[0].time)
	for _, e := range list {
		first, last = min(first, DayOf(e.time)), max(last, DayOf(e.time))
	}
	if int(r.Count[slot]) != len(list) || r.First[slot] != first || r.Last[slot] != last {
		t.Fatalf("%d events from %d to %d, want %d from %d to %d", r.Count[slot], r.First[slot], r.Last[slot], len(list), first, last)
	}
}

func checkProperties(t *testing.T, sources []built, byProfile map[int][]found, block int, r *FactsReader) {
	t.Helper()
	s := &search{sources: sources}
	for _, id := range r.block.Properties() {
		if ok, err := r.Property(id, true); err != nil || !ok {
			t.Fatal(ok, err)
		}
		slot := 0
		for p := range BlockSize {
			if r.block.Present.Has(p) {
				checkValue(t, s, byProfile[block*BlockSize+p], id, r.value(slot))
				slot++
			}
		}
	}
	if ok, err := r.Property(18, true); ok || err != nil {
		t.Fatal("there are facts that nobody has asked for", err)
	}
}

func (r *FactsReader) value(slot int) Value {
	return Value{Count: r.Values[slot], Min: r.Min[slot], Max: r.Max[slot], Sum: r.Sum[slot]}
}

// someFacts are the facts of one in so many profiles, of which no part knows: values are as
// wide as they can be.
type someFacts struct {
	present    Mask
	all        []Bounds
	properties []schema.AttrID
	values     [][]Value
}

func randomFacts(r *rand.Rand, one int) *someFacts {
	f := &someFacts{properties: []schema.AttrID{0, 20, math.MaxUint32 - 1}, values: make([][]Value, 3)}
	for p := range BlockSize {
		if r.IntN(one) > 0 {
			continue
		}
		f.present[p>>6] |= 1 << (p & 63)
		n := 1 + r.Int64N(5)
		first := r.Int64N(40) - 20
		f.all = append(f.all, Bounds{Count: uint32(n), First: first * msPerDay, Last: (first+r.Int64N(n))*msPerDay + r.Int64N(msPerDay)})
		for i := range f.properties {
			x, v := int64(r.Uint64()), Value{}
			for range r.Int64N(n + 1) {
				v.add(x)
				x >>= r.IntN(64)
			}
			f.values[i] = append(f.values[i], v)
		}
	}
	return f
}

func (f *someFacts) stored() []byte {
	var w factsWriter
	w.begin(f.all)
	for i, id := range f.properties {
		w.property(id, f.all, f.values[i])
	}
	return w.finish(&f.present, len(f.properties))
}

func TestFactsStored(t *testing.T) {
	r := seeded(t)
	var got FactsReader
	for range rounds(100) {
		f := randomFacts(r, 1+r.IntN(200))
		b, err := OpenFacts(f.stored())
		if err != nil {
			t.Fatal(err)
		}
		if b.Present != f.present || b.Len() != len(f.all) || !slices.Equal(b.Properties(), f.properties) {
			t.Fatalf("%+v", b)
		}
		got.Reset(b)
		if err := got.Days(); err != nil {
			t.Fatal(err)
		}
		for i, want := range f.all {
			if got.Count[i] != want.Count || got.First[i] != DayOf(want.First) || got.Last[i] != DayOf(want.Last) {
				t.Fatalf("%d from %d to %d, want %+v", got.Count[i], got.First[i], got.Last[i], want)
			}
		}
		i := 0
		for p := range BlockSize {
			var want Bounds
			if f.present.Has(p) {
				want = f.all[i]
				i++
			}
			count, first, last, err := b.Of(p)
			if err != nil || count != want.Count || count > 0 && (first != DayOf(want.First) || last != DayOf(want.Last)) {
				t.Fatalf("profile %d: %d from %d to %d (%v), want %+v", p, count, first, last, err, want)
			}
		}
		for k, id := range f.properties {
			sums := r.IntN(2) == 0
			if ok, err := got.Property(id, sums); !ok || err != nil {
				t.Fatal(ok, err)
			}
			for i, want := range f.values[k] {
				v := got.value(i)
				if !sums {
					v.Sum = want.Sum
				}
				if v != want {
					t.Fatalf("property %d is %+v, want %+v", id, v, want)
				}
			}
		}
	}
}

func TestFactsDamage(t *testing.T) {
	r := seeded(t)
	good := randomFacts(r, 40).stored()
	newer := slices.Clone(good)
	newer[4]++
	if _, err := OpenFacts(newer); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrCorrupt) {
		t.Errorf("version+1: %v", err)
	}
	for range 300 {
		flipped := slices.Clone(good)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		if _, err := OpenFacts(flipped); err == nil {
			t.Error("a flipped bit is not seen")
		}
		if _, err := OpenFacts(good[:r.IntN(len(good))]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut: %v", err)
		}
	}
	if _, err := OpenFacts(append(slices.Clone(good), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := new(FactsCollector).Collect(nil, 0, 0, make([]schema.AttrID, MaxFactsProperties+1)); err == nil {
		t.Error("facts of too many properties")
	}
}

// readAll reads every column.
func (r *FactsReader) readAll(f *FactsBlock) error {
	r.Reset(f)
	err := r.Days()
	for p := range BlockSize {
		_, _, _, bad := f.Of(p)
		err = errors.Join(err, bad)
	}
	for _, id := range f.Properties() {
		_, bad := r.Property(id, true)
		err = errors.Join(err, bad)
	}
	return err
}

// TestFactsContradict has facts that cannot be, with a good checksum.
func TestFactsContradict(t *testing.T) {
	const day = 20000 * msPerDay
	var r FactsReader
	try := func(what string, first Bounds, v Value, change func(b []byte)) {
		t.Helper()
		f := &someFacts{present: Mask{3}, all: []Bounds{first, {Count: 2, First: day, Last: day + msPerDay}}, properties: []schema.AttrID{17},
			values: [][]Value{{v, {Count: 2, Min: 4, Max: 9, Sum: Int128{Lo: 13}}}}}
		b := f.stored()
		change(b)
		binary.LittleEndian.PutUint32(b[8:], checksum(b))
		opened, err := OpenFacts(b)
		if err == nil {
			err = r.readAll(opened)
		}
		if want := what != ""; errors.Is(err, ErrCorrupt) != want || (err != nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	first, v, as := Bounds{Count: 3, First: day, Last: day}, Value{Count: 3, Min: 1, Max: 2, Sum: Int128{Lo: 4}}, func([]byte) {}
	try("", first, v, as)
	try("no events", Bounds{First: day, Last: day}, Value{}, as)
	try("a day before the year 1", Bounds{Count: 1, First: (firstDay - 1) * msPerDay}, Value{}, as)
	try("a day past the year 9999", Bounds{Count: 1, First: (lastDay + 1) * msPerDay}, Value{}, as)
	try("the last before the first", Bounds{Count: 3, First: day, Last: day - msPerDay}, v, as)
	try("more values than events", first, Value{Count: 4}, as)
	try("reserved", first, v, func(b []byte) { b[5] = 1 })
	try("one profile more", first, v, func(b []byte) { b[12] = 7 })
	try("a property more", first, v, func(b []byte) { b[6] = 2 })
	try("a property less", first, v, func(b []byte) { b[6] = 0 })
	try("too many properties", first, v, func(b []byte) { b[6] = MaxFactsProperties + 1 })
	try("the end", first, v, func(b []byte) { b[len(b)-1] = 1 })
	// The directory begins with: 2 numbers from 2 on, up to 1, unit 1.
	try("a long width", first, v, func(b []byte) { b[factsFixed+2] = 0x7f })
	try("a count of one", first, v, func(b []byte) { b[factsFixed+1] = 2 }) // 1 and 2: one last day too many
	try("less values", first, v, func(b []byte) { b[factsFixed+1] = 6 })    // 3 and 4
}

func FuzzFacts(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		f.Add(randomFacts(r, 1000).stored())
	}
	var reader FactsReader
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 12 {
			b = slices.Clone(b)
			binary.LittleEndian.PutUint32(b[8:], checksum(b)) // else the checksum is all that is tested
		}
		facts, err := OpenFacts(b)
		if err == nil {
			err = reader.readAll(facts)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
