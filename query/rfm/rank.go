package rfm

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"github.com/kantadb/kanta/index/schema"
)

// ranking puts people in order by a number, what is equal by others, and at last by key,
// as far as it takes to tell on which side of each cut everybody is. A score is 1 and how
// many cuts are below.
type ranking struct {
	*rfm
	*people
	ctx    context.Context
	d      int
	levels []int // by which numbers; then by key
}

// ranked scores by rank.
func (a *rfm) ranked(ctx context.Context, p *people, d int) ([]schema.Value, error) {
	n, u := p.count, &a.units[d]
	r := &ranking{rfm: a, people: p, ctx: ctx, d: d, levels: []int{d}}
	if d == frequency && a.has > amount {
		r.levels = append(r.levels, amount)
	}
	var cuts []int // where the parts begin, but for the first
	for k := 1; k < a.bins; k++ {
		if c := k*(n/a.bins) + min(k, n%a.bins); c < n {
			cuts = append(cuts, c)
		}
	}
	for _, x := range p.parts {
		for i := range x.scores[d] {
			x.scores[d][i] = 1
		}
	}
	values := make([]schema.Value, a.bins-1)
	if len(cuts) == 0 {
		return values, nil
	}
	columns := p.columns(d)
	if d != recency {
		found, err := a.statistics(ctx, columns, cuts)
		for k, s := range found {
			values[k] = value(u.exact(s.value))
		}
		if err != nil {
			return nil, err
		}
		return values, r.divide(0, columns, nil, cuts, found)
	}
	var both []int // of recency the least of the older ones is shown
	for _, c := range cuts {
		both = append(both, c-1, c)
	}
	all, err := a.statistics(ctx, columns, both)
	if err != nil {
		return nil, err
	}
	var found []statistic
	for k := range cuts {
		values[len(values)-1-k] = a.span(u.exact(-all[2*k].value))
		found = append(found, all[2*k+1])
	}
	return values, r.divide(0, columns, nil, cuts, found)
}

// columns returns the numbers of a dimension, by part.
func (p *people) columns(d int) [][]int64 {
	out := make([][]int64, len(p.parts))
	for i, x := range p.parts {
		out[i] = x.values[d]
	}
	return out
}

// split scores people who are equal on the levels before one. Cuts are ascending numbers of
// them, more than none and less than all. Members are their places, by part.
func (r *ranking) split(level int, members [][]uint16, cuts []int) error {
	columns, err := r.numbers(level, members)
	if err != nil {
		return err
	}
	found, err := r.statistics(r.ctx, columns, cuts)
	if err != nil {
		return err
	}
	return r.divide(level, columns, members, cuts, found)
}

// divide gives people one more for each cut that their number says they are above, and has
// those split who are equal on both sides of one. No members are everybody.
func (r *ranking) divide(level int, columns [][]int64, members [][]uint16, cuts []int, found []statistic) error {
	limits := make([]int64, len(cuts))
	for k, s := range found {
		if limits[k] = s.value; s.below == cuts[k] { // equal ones are all above the cut, and somebody is below
			limits[k]--
		}
	}
	if err := r.pass(columns, members, limits); err != nil {
		return err
	}
	for k := 0; k < len(cuts); {
		value, through := found[k].value, []int(nil) // cuts that equal ones are on both sides of
		for ; k < len(cuts) && found[k].value == value; k++ {
			if cuts[k] > found[k].below {
				through = append(through, cuts[k]-found[k].below)
			}
		}
		if through == nil {
			continue
		}
		equal, err := r.equal(columns, members, value, found[k-1].equal)
		if err == nil {
			err = r.split(level+1, equal, through)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// numbers returns what members are ordered by on a level, by part.
func (r *ranking) numbers(level int, members [][]uint16) ([][]int64, error) {
	count := 0
	for _, own := range members {
		count += len(own)
	}
	if err := r.keep(8 * int64(count)); err != nil {
		return nil, err
	}
	if level >= len(r.levels) {
		return r.words(members, count)
	}
	out, d := make([][]int64, len(members)), r.levels[level]
	return out, r.spread(r.ctx, len(members), func() func(i int) error {
		return func(i int) error {
			out[i] = make([]int64, len(members[i]))
			for k, place := range members[i] {
				out[i][k] = r.parts[i].values[d][place]
			}
			return nil
		}
	})
}

// pass adds to the score of each how many limits the number is above.
func (r *ranking) pass(columns [][]int64, members [][]uint16, limits []int64) error {
	return r.spread(r.ctx, len(columns), func() func(i int) error {
		return func(i int) error {
			scores := r.parts[i].scores[r.d]
			if members == nil {
				addAbove(scores, columns[i], limits)
				return nil
			}
			for k, place := range members[i] {
				scores[place] += above(columns[i][k], limits)
			}
			return nil
		}
	})
}

// addAbove adds to the scores how many limits each number is above.
func addAbove(scores []uint8, numbers, limits []int64) {
	scores = scores[:len(numbers)]
	for i, x := range numbers {
		scores[i] += above(x, limits)
	}
}

// above returns how many limits a number is above.
func above(x int64, limits []int64) (n uint8) {
	for _, limit := range limits {
		one := uint8(0) // no branch, which could not be foreseen
		if x > limit {
			one = 1
		}
		n += one
	}
	return n
}

// equal returns those who have a number.
func (r *ranking) equal(columns [][]int64, members [][]uint16, value int64, count int) ([][]uint16, error) {
	if err := r.keep(2 * int64(count)); err != nil {
		return nil, err
	}
	out := make([][]uint16, len(columns))
	return out, r.spread(r.ctx, len(columns), func() func(i int) error {
		return func(i int) error {
			for k, x := range columns[i] {
				switch {
				case x != value:
				case members == nil:
					out[i] = append(out[i], uint16(k))
				default:
					out[i] = append(out[i], members[i][k])
				}
			}
			return nil
		}
	})
}

// The order of keys is told word by word, of those who are equal so far. A word is some
// bytes of the key after a text with which many begin: what comes before all keys that
// begin so, or after, is the least word or the greatest. So nobody's key is kept, and mostly
// each is read once.
const (
	sampled   = 64 // keys that are read to know with what many begin
	wordBytes = 7  // of a key in a word; then how many they are
)

// words returns words of the keys of members.
func (r *ranking) words(members [][]uint16, count int) ([][]int64, error) {
	begin, err := r.beginning(members, count)
	if err != nil {
		return nil, err
	}
	out := make([][]int64, len(members))
	return out, r.spread(r.ctx, len(members), func() func(i int) error {
		var ordinals []uint32
		return func(i int) error {
			if len(members[i]) == 0 {
				return nil
			}
			ordinals = ordinals[:0]
			for _, place := range members[i] {
				ordinals = append(ordinals, r.parts[i].ordinal(int(place)))
			}
			out[i] = make([]int64, 0, len(ordinals))
			return r.keys(r.ctx, ordinals, func(key []byte) error {
				out[i] = append(out[i], word(key, begin))
				return nil
			})
		}
	})
}

// beginning returns with what the keys of some of the members, spread over all, begin.
func (r *ranking) beginning(members [][]uint16, count int) (begin []byte, err error) {
	var some []uint32
	each, at := max(1, count/sampled), 0
	for i, own := range members {
		for ; at < len(own); at += each {
			some = append(some, r.parts[i].ordinal(int(own[at])))
		}
		at -= len(own)
	}
	first := true
	err = r.keys(r.ctx, some, func(key []byte) error {
		if first {
			begin, first = bytes.Clone(key), false
		}
		n := 0
		for n < min(len(begin), len(key)) && begin[n] == key[n] {
			n++
		}
		begin = begin[:n]
		return nil
	})
	return begin, err
}

// word returns the word of a key: words are in the order of keys, and two keys with the same
// one both go on alike, for wordBytes at least, or neither begins so.
func word(key, begin []byte) int64 {
	rest, ok := bytes.CutPrefix(key, begin)
	switch {
	case ok:
		var text [wordBytes + 1]byte
		copy(text[:wordBytes], rest)
		text[wordBytes] = byte(min(len(rest), wordBytes) + 1) // no 0, which the least word has
		return int64(binary.BigEndian.Uint64(text[:]) ^ 1<<63)
	case bytes.Compare(key, begin) > 0:
		return math.MaxInt64
	}
	return math.MinInt64
}
