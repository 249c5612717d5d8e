package rfm

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
)

// order puts people, by their places in all lists, into an order by numbers and, at last, by
// key. Only what a cut goes through is ordered by more than the first number: no other
// order among equals changes a score.
type order struct {
	*rfm
	ctx    context.Context
	who    []uint32
	levels [][]int64 // by which numbers; then by key
	desc   bool      // the first ones descend

	packed, room []uint64 // of sort
}

// split orders people as far as it takes to tell on which side of each cut they are: cuts
// are numbers of people, ascending.
func (o *order) split(at []uint32, level int, cuts []int) error {
	if level == len(o.levels) {
		return o.byKey(at)
	}
	numbers := o.levels[level]
	if err := o.sort(at, numbers, o.desc && level == 0); err != nil {
		return err
	}
	for len(cuts) > 0 && cuts[0] < len(at) {
		from, to := cuts[0], cuts[0]+1
		for from > 0 && numbers[at[from-1]] == numbers[at[from]] {
			from--
		}
		for to < len(at) && numbers[at[to]] == numbers[at[from]] {
			to++
		}
		var through []int // cuts that equal numbers are on both sides of
		for ; len(cuts) > 0 && cuts[0] < to; cuts = cuts[1:] {
			if cuts[0] > from {
				through = append(through, cuts[0]-from)
			}
		}
		if through != nil {
			if err := o.split(at[from:to], level+1, through); err != nil {
				return err
			}
		}
	}
	return nil
}

// digit is how many bits are sorted by at once: as many as keep the counts in the
// processor's first cache.
const digit = 11

// sort orders people by numbers; equal ones stay as they are. A number, less the least, and
// whose it is stand in 64 bits; where they do not fit, the numbers are compared.
func (o *order) sort(at []uint32, numbers []int64, desc bool) error {
	if len(at) == 0 {
		return nil
	}
	least, most := numbers[at[0]], numbers[at[0]]
	for _, i := range at {
		least, most = min(least, numbers[i]), max(most, numbers[i])
	}
	span := uint64(most) - uint64(least)
	if span > math.MaxUint32 {
		slices.SortStableFunc(at, func(x, y uint32) int {
			if desc {
				x, y = y, x
			}
			return cmp.Compare(numbers[x], numbers[y])
		})
		return o.ctx.Err()
	}
	if o.packed == nil {
		o.packed, o.room = make([]uint64, len(at)), make([]uint64, len(at))
	}
	packed, room := o.packed[:len(at)], o.room[:len(at)]
	for k, i := range at {
		above := uint64(numbers[i]) - uint64(least)
		if desc {
			above = span - above
		}
		packed[k] = above<<32 | uint64(i)
	}
	for shift := 32; shift < 32+bits.Len64(span); shift += digit {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		var ends [1<<digit + 1]uint32
		for _, x := range packed {
			ends[x>>shift&(1<<digit-1)+1]++
		}
		for i := range 1 << digit {
			ends[i+1] += ends[i]
		}
		for _, x := range packed {
			to := &ends[x>>shift&(1<<digit-1)]
			room[*to] = x
			*to++
		}
		packed, room = room, packed
	}
	for k, x := range packed {
		at[k] = uint32(x)
	}
	return nil
}

// keyBytes is what a key that is ordered by takes beside its text: twice, for the room that
// the texts grow by.
const keyBytes = 2 * 16

// byKey orders people by the bytes of their keys.
func (o *order) byKey(at []uint32) error {
	slices.Sort(at)
	who := make([]uint32, len(at))
	for k, i := range at {
		who[k] = o.who[i]
	}
	var text []byte
	ends := make([]int, 1, len(at)+1)
	kept := 0
	err := o.keys(o.ctx, who, func(key []byte) error {
		text = append(text, key...)
		ends = append(ends, len(text))
		if more := 2*len(text) + keyBytes*len(ends); more > kept+keptAtOnce {
			err := o.keep(int64(more - kept))
			kept = more
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	key := func(k uint32) []byte { return text[ends[k]:ends[k+1]] }
	byKey := all(len(at))
	slices.SortFunc(byKey, func(x, y uint32) int {
		if c := bytes.Compare(key(x), key(y)); c != 0 {
			return c
		}
		return cmp.Compare(x, y)
	})
	for k, i := range byKey {
		byKey[k] = at[i]
	}
	copy(at, byKey)
	return nil
}

// keptAtOnce is how much is read of keys before it is taken from the budget.
const keptAtOnce = 64 << 10
