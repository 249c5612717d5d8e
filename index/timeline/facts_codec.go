package timeline

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/kantadb/kanta/index/schema"
)

const (
	factsMagic   = "KNTL"
	factsVersion = 1
	factsFixed   = 12 + BlockSize/8 // bytes before the directory
)

// The columns of facts: those of the events, and then those of each property.
const (
	countColumn = iota
	firstDayColumn
	daysColumn // last - first
	factsColumns
)

const (
	missingColumn = iota // events without a value
	leastColumn
	spreadColumn // greatest - least
	lowColumn    // what the sum is beyond the least and greatest it could be made of
	highColumn
	propertyColumns
)

// factsWriter makes the stored form of a block of facts.
type factsWriter struct {
	directory, packed []byte
	last              int64 // property
	numbers           []uint64
}

// column appends a column.
func (w *factsWriter) column(n int, value func(i int) (v int64, ok bool)) {
	w.numbers = w.numbers[:0]
	least := int64(math.MaxInt64)
	for i := range n {
		if v, ok := value(i); ok {
			w.numbers, least = append(w.numbers, uint64(v)), min(least, v)
		}
	}
	w.directory = binary.AppendUvarint(w.directory, uint64(len(w.numbers)))
	if len(w.numbers) > 0 {
		p := frameOf(w.numbers, least, true)
		w.directory = p.appendFrame(w.directory, 0, true)
		w.packed = pack(w.packed, w.numbers, int(p.width))
	}
}

// begin writes the columns of the events.
func (w *factsWriter) begin(all []Bounds) {
	w.directory, w.packed, w.last = w.directory[:0], w.packed[:0], -1
	w.column(len(all), func(i int) (int64, bool) { return int64(all[i].Count), true })
	w.column(len(all), func(i int) (int64, bool) { return int64(DayOf(all[i].First)), true })
	w.column(len(all), func(i int) (int64, bool) {
		return int64(DayOf(all[i].Last)) - int64(DayOf(all[i].First)), all[i].Count > 1
	})
}

// property writes the columns of a property.
func (w *factsWriter) property(id schema.AttrID, all []Bounds, values []Value) {
	w.directory = binary.AppendUvarint(w.directory, uint64(int64(id)-(w.last+1)))
	w.last = int64(id)
	n := len(values)
	w.column(n, func(i int) (int64, bool) { return int64(all[i].Count) - int64(values[i].Count), true })
	w.column(n, func(i int) (int64, bool) { return values[i].Min, values[i].Count > 0 })
	w.column(n, func(i int) (int64, bool) { return values[i].Max - values[i].Min, values[i].Count > 1 }) // modulo 2^64
	rest := func(i int) Int128 {
		v := &values[i]
		return v.Sum.Minus(leastSum(v.Count, v.Min, v.Max))
	}
	w.column(n, func(i int) (int64, bool) { return int64(rest(i).Lo), values[i].Count > 2 })
	w.column(n, func(i int) (int64, bool) { r := rest(i); return r.Hi - int64(r.Lo)>>63, values[i].Count > 2 })
}

// leastSum returns the least sum of at least two numbers: the greatest, and the others equal
// to the least.
func leastSum(count uint32, least, greatest int64) Int128 {
	return product(least, int64(count)-1).Add(greatest)
}

// finish returns the stored form.
func (w *factsWriter) finish(present *Mask, properties int) []byte {
	dst := append(make([]byte, 0, factsFixed+len(w.directory)+len(w.packed)+slack), factsMagic...)
	dst = append(dst, factsVersion, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(properties))
	dst = appendMask(append(dst, 0, 0, 0, 0), present[:], BlockSize)
	dst = append(append(append(dst, w.directory...), w.packed...), make([]byte, slack)...)
	binary.LittleEndian.PutUint32(dst[8:], checksum(dst))
	return dst
}

// FactsBlock is an opened block of facts. It never changes and is safe for concurrent use.
type FactsBlock struct {
	Present    Mask // who has an event, by ordinal within the block
	n          int  // how many these are
	stored     []byte
	columns    []piece // in stored
	properties []schema.AttrID
}

// OpenFacts opens what [FactsCollector.Collect] made, and keeps it. The error is an [ErrCorrupt] or an
// [ErrNewerFormat].
func OpenFacts(stored []byte) (*FactsBlock, error) {
	if len(stored) < factsFixed+slack || string(stored[:4]) != factsMagic {
		return nil, corrupt("no facts")
	}
	if stored[4] > factsVersion {
		return nil, fmt.Errorf("%w: facts of version %d", ErrNewerFormat, stored[4])
	}
	if checksum(stored) != binary.LittleEndian.Uint32(stored[8:]) {
		return nil, corrupt("checksum of facts")
	}
	properties := int(binary.LittleEndian.Uint16(stored[6:]))
	if stored[4] != factsVersion || stored[5] != 0 || properties > MaxFactsProperties {
		return nil, corrupt("header of facts")
	}
	f := &FactsBlock{stored: stored}
	for i := range f.Present {
		f.Present[i] = binary.LittleEndian.Uint64(stored[12+8*i:])
	}
	f.n = f.Present.Count()
	if err := f.open(properties); err != nil {
		return nil, err
	}
	return f, nil
}

// open reads the directory.
func (f *FactsBlock) open(properties int) error {
	d := factsDecoder{decoder: decoder{what: "facts", b: f.stored[factsFixed:]}, f: f}
	f.columns = make([]piece, 0, factsColumns+properties*propertyColumns)
	f.properties = make([]schema.AttrID, 0, properties)
	d.column(f.n, f.n, 1, math.MaxUint32)
	d.column(f.n, f.n, firstDay, lastDay)
	several := d.column(0, f.n, 0, lastDay-firstDay)
	last := int64(-1)
	for range properties {
		last += 1 + int64(d.uvarint(math.MaxUint32))
		if last >= math.MaxUint32 {
			d.fail("property %d", last)
		}
		f.properties = append(f.properties, schema.AttrID(last))
		d.column(f.n, f.n, 0, math.MaxUint32)
		some := d.column(0, f.n, math.MinInt64, math.MaxInt64)
		some = d.column(0, min(some, several), math.MinInt64, math.MaxInt64)
		some = d.column(0, some, math.MinInt64, math.MaxInt64)
		d.column(some, some, math.MinInt64, math.MaxInt64)
	}
	if d.err != nil {
		return d.err
	}
	at := uint32(len(f.stored) - len(d.b))
	for i := range f.columns {
		f.columns[i].at = at
		at += f.columns[i].size
	}
	if int(at)+slack != len(f.stored) || string(f.stored[at:]) != string(make([]byte, slack)) {
		return corrupt("facts: they end early, or late")
	}
	return nil
}

// factsDecoder reads a directory. After an error it yields zeros.
type factsDecoder struct {
	decoder
	f *FactsBlock
}

// column reads of a column of from few to many numbers, all at least lo and at most hi, how
// many there are, and where.
func (d *factsDecoder) column(few, many int, lo, hi int64) int {
	n := int(d.uvarint(uint64(many)))
	if n < few {
		d.fail("a column of %d numbers, at least %d", n, few)
	}
	p := piece{unit: 1}
	if n > 0 && d.err == nil {
		if p = d.frame(n, 0, hi, true); p.min < lo {
			d.fail("a number of %d, at least %d", p.min, lo)
		}
		p.size = uint32(packedSize(n, int(p.width)))
	}
	d.f.columns = append(d.f.columns, p)
	return n
}

// Len returns how many profiles have an event.
func (f *FactsBlock) Len() int { return f.n }

// Properties returns the properties of which there are facts, by ascending id. They must not
// be changed.
func (f *FactsBlock) Properties() []schema.AttrID { return f.properties }

// MemBytes returns how many bytes of memory it takes.
func (f *FactsBlock) MemBytes() int {
	return int(unsafe.Sizeof(*f)) + cap(f.stored) + int(unsafe.Sizeof(piece{}))*cap(f.columns) + 4*cap(f.properties)
}
