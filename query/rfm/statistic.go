package rfm

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"sort"

	"github.com/kantadb/kanta/query"
)

// statistic is what stands at a place when numbers are sorted.
type statistic struct {
	value int64
	below int // how many are less
	equal int // how many are it
}

const (
	// digits is how many leading bits of a number tell its bucket: as many as leave few
	// numbers of millions in each, while a processor's second cache holds the counts.
	digits = 9

	// bucketCount is how many buckets there are of numbers of 64 bits.
	bucketCount = (64 - digits + 2) << (digits - 1)

	// fewNumbers are sorted at once: it takes no longer than to count buckets.
	fewNumbers = 4096
)

// statistics returns what stands at ascending places of the numbers of some columns, which
// are not sorted for it: they are counted in buckets of equal width, and only those of a
// bucket with such a place in it are looked at again.
func (a *rfm) statistics(ctx context.Context, columns [][]int64, at []int) ([]statistic, error) {
	n := 0
	for _, c := range columns {
		n += len(c)
	}
	if n <= fewNumbers {
		return sortedStatistics(slices.Concat(columns...), at), nil
	}
	b, err := a.bucketsOf(ctx, columns)
	if err != nil {
		return nil, err
	}
	out := make([]statistic, len(at))
	var open [][2]int // which of at are in the buckets that are looked at again
	below, next := 0, 0
	for i, count := range b.counts {
		first := next
		for next < len(at) && at[next] < below+int(count) {
			out[next] = statistic{b.least + int64(i), below, int(count)} // if it is a bucket of one number
			next++
		}
		if next > first && i >= 1<<digits {
			open = append(open, [2]int{first, next})
			b.open[i] = uint8(len(open))
			if err := a.keep(8 * int64(count)); err != nil {
				return nil, err
			}
		}
		below += int(count)
	}
	if open == nil {
		return out, nil
	}
	inside, err := a.gather(ctx, columns, b, len(open))
	if err != nil {
		return nil, err
	}
	for i, of := range open {
		below := out[of[0]].below
		own := slices.Clone(at[of[0]:of[1]])
		for k := range own {
			own[k] -= below
		}
		again, err := a.statistics(ctx, inside[i], own)
		if err != nil {
			return nil, err
		}
		for k, s := range again {
			s.below += below
			out[of[0]+k] = s
		}
	}
	return out, nil
}

func sortedStatistics(numbers []int64, at []int) []statistic {
	slices.Sort(numbers)
	var out []statistic
	for _, i := range at {
		x := numbers[i]
		from := sort.Search(i, func(k int) bool { return numbers[k] == x })
		to := i + sort.Search(len(numbers)-i, func(k int) bool { return numbers[i+k] != x })
		out = append(out, statistic{x, from, to - from})
	}
	return out
}

// buckets are counts of numbers, of which the least is taken away, by their leading bits and
// how many others there are. Those without others have a bucket each.
type buckets struct {
	least  int64
	counts [bucketCount]uint32
	open   [bucketCount]uint8 // from 1: which of those it is that are looked at again
}

func (b *buckets) of(x int64) int {
	above := uint64(x) - uint64(b.least)
	others := max(0, bits.Len64(above)-digits)
	return others<<(digits-1) + int(above>>others)
}

// bucketsOf counts.
func (a *rfm) bucketsOf(ctx context.Context, columns [][]int64) (*buckets, error) {
	least := make([]int64, len(columns))
	err := a.spread(ctx, len(columns), func() func(i int) error {
		return func(i int) error {
			least[i] = math.MaxInt64
			for _, x := range columns[i] {
				least[i] = min(least[i], x)
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	out := &buckets{least: slices.Min(least)}
	var each []*buckets
	err = a.spread(ctx, len(columns), func() func(i int) error {
		own := &buckets{least: out.least}
		each = append(each, own)
		return func(i int) error {
			for _, x := range columns[i] {
				own.counts[own.of(x)]++
			}
			return nil
		}
	})
	for _, own := range each {
		for i, n := range own.counts {
			out.counts[i] += n
		}
	}
	return out, err
}

// gather returns the numbers of the open buckets, as columns of each.
func (a *rfm) gather(ctx context.Context, columns [][]int64, b *buckets, open int) ([][][]int64, error) {
	var each [][][]int64 // by worker
	err := a.spread(ctx, len(columns), func() func(i int) error {
		own := make([][]int64, open+1)
		each = append(each, own)
		return func(i int) error {
			for _, x := range columns[i] {
				if k := b.open[b.of(x)]; k > 0 {
					own[k] = append(own[k], x)
				}
			}
			return nil
		}
	})
	out := make([][][]int64, open)
	for i := range out {
		for _, own := range each {
			out[i] = append(out[i], own[i+1])
		}
	}
	return out, err
}

// spread is [query.Spread] as the study is asked with.
func (a *rfm) spread(ctx context.Context, n int, worker func() func(i int) error) error {
	return query.Spread(ctx, query.Options{Parallelism: a.workers}, n, worker)
}
