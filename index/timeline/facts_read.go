package timeline

import (
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// Of returns how many events a profile has, by its ordinal within the block, and the days of
// the first and the last; there are none if count is 0.
func (f *FactsBlock) Of(ordinal int) (count uint32, first, last int32, err error) {
	if !f.Present.Has(ordinal) {
		return 0, 0, 0, nil
	}
	at := f.Present.rank(ordinal)
	counts, days := &f.columns[countColumn], &f.columns[daysColumn]
	count = uint32(f.value(counts, at))
	first = int32(f.value(&f.columns[firstDayColumn], at))
	if count < 2 {
		return count, first, first, nil
	}
	if counts.min == 1 { // whoever has one event has no last day
		at -= f.least(counts, at)
	}
	if at >= int(days.count) {
		return 0, 0, 0, corrupt("facts: too few last days")
	}
	return count, first, first + int32(f.value(days, at)), nil
}

// factsAtOnce is how many numbers are unpacked before they are looked at.
const factsAtOnce = 256

// least returns how many of the first n numbers of a column are the least one.
func (f *FactsBlock) least(p *piece, n int) (found int) {
	var some [factsAtOnce]uint32
	for i := 0; i < n; i += factsAtOnce {
		part := some[:min(factsAtOnce, n-i)]
		unpack(part, f.stored[p.at:], i, int(p.width))
		for _, v := range part {
			if v == 0 {
				found++
			}
		}
	}
	return found
}

// value returns number i of a column.
func (f *FactsBlock) value(p *piece, i int) int64 {
	return p.min + int64(number(f.stored[p.at:], i, int(p.width))*p.unit)
}

// FactsReader reads the facts of one block after the other, column by column: what is not
// asked for is not decoded. Its columns have a value per profile that has an event, in order
// of ordinals. It takes 224 KiB, and belongs to one goroutine; the zero FactsReader is
// ready for Reset.
type FactsReader struct {
	Count       [BlockSize]uint32 // events
	First, Last [BlockSize]int32  // their days; after Days
	Values      [BlockSize]uint32 // events that have a value; this and what follows after Property
	Min, Max    [BlockSize]int64  // 0 if there is none
	Sum         [BlockSize]Int128 // if it is asked for
	Bytes       int               // of the columns read since Reset

	block   *FactsBlock
	numbers [BlockSize]uint64
}

// Reset goes to a block and reads how many events each profile has.
func (r *FactsReader) Reset(f *FactsBlock) {
	r.block, r.Bytes = f, 0
	readColumn(r, countColumn, r.Count[:f.n])
}

// readColumn reads all numbers of a column into dst, which has room for them and whose type
// holds them.
func readColumn[T uint32 | uint64](r *FactsReader, column int, dst []T) []T {
	p := &r.block.columns[column]
	dst = dst[:p.count]
	unpack(dst, r.block.stored[p.at:], 0, int(p.width))
	if least, unit := T(p.min), T(p.unit); unit != 1 || least != 0 {
		for i := range dst {
			dst[i] = least + dst[i]*unit
		}
	}
	r.Bytes += int(p.size)
	return dst
}

// Days reads the days of the first and the last event.
func (r *FactsReader) Days() error {
	n := r.block.n
	for i, day := range readColumn(r, firstDayColumn, r.numbers[:]) {
		r.First[i] = int32(day)
	}
	days := readColumn(r, daysColumn, r.numbers[:])
	for i, count := range r.Count[:n] {
		r.Last[i] = r.First[i]
		if count < 2 {
			continue
		}
		if len(days) == 0 {
			return corrupt("facts: too few last days")
		}
		r.Last[i] += int32(days[0])
		days = days[1:]
	}
	if len(days) > 0 {
		return corrupt("facts: too many last days")
	}
	return nil
}

// Property reads what is known of a property, with the sums if they are asked for. It
// reports whether there are facts of it.
func (r *FactsReader) Property(id schema.AttrID, sums bool) (bool, error) {
	at, ok := slices.BinarySearch(r.block.properties, id)
	if !ok {
		return false, nil
	}
	first, n := factsColumns+at*propertyColumns, r.block.n
	missing := readColumn(r, first+missingColumn, r.numbers[:])
	for i, count := range r.Count[:n] {
		if uint64(count) < missing[i] {
			return false, corrupt("facts: more values are missing than there are events")
		}
		r.Values[i] = count - uint32(missing[i])
	}
	err := r.spread(first+leastColumn, 1, func(i int, v uint64) { r.Min[i], r.Max[i] = int64(v), int64(v) })
	for i, count := range r.Values[:n] {
		if count == 0 {
			r.Min[i], r.Max[i] = 0, 0
		}
	}
	if err == nil {
		err = r.spread(first+spreadColumn, 2, func(i int, v uint64) { r.Max[i] += int64(v) })
	}
	if err == nil && sums {
		err = r.sums(first)
	}
	return err == nil, err
}

// spread gives each profile that has at least so many values its number of a column.
func (r *FactsReader) spread(column int, least uint32, set func(i int, v uint64)) error {
	numbers := readColumn(r, column, r.numbers[:])
	k := 0
	for i, count := range r.Values[:r.block.n] {
		if count < least {
			continue
		}
		if k == len(numbers) {
			return corrupt("facts: too few numbers of a property")
		}
		set(i, numbers[k])
		k++
	}
	if k < len(numbers) {
		return corrupt("facts: too many numbers of a property")
	}
	return nil
}

// sums reads the sums of a property, whose least and greatest values are known.
func (r *FactsReader) sums(first int) error {
	for i, count := range r.Values[:r.block.n] {
		switch count {
		case 0:
			r.Sum[i] = Int128{}
		case 1:
			r.Sum[i] = Int128{}.Add(r.Min[i])
		default:
			r.Sum[i] = leastSum(count, r.Min[i], r.Max[i])
		}
	}
	err := r.spread(first+lowColumn, 3, func(i int, v uint64) { r.Sum[i] = r.Sum[i].Add(int64(v)) })
	if p := &r.block.columns[first+highColumn]; err != nil || p.top == 0 && p.min == 0 {
		return err // as nearly always
	}
	return r.spread(first+highColumn, 3, func(i int, v uint64) { r.Sum[i].Hi += int64(v) })
}
