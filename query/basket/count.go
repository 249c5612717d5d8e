package basket

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kantadb/kanta/query"
)

// dropped is the number of an item that too few baskets have.
const dropped = begins - 1

// miner counts how many baskets have sets of items.
//
// Of each item it knows the places in all baskets where it stands. To count the pairs of an
// item it goes to each of these places and reads on: the items that follow it in the basket,
// which are those with a greater number, each have a counter. So every pair is counted once, in
// counters that fit the first cache, and nothing is kept of it: a counter for each pair, or
// pairs put into buckets, would take memory by the pairs, and a large basket has many. A pair
// that enough baskets have is gone on with in the same way, from the places of its second item
// (LCM, Uno and others 2004: "occurrence deliver").
type miner struct {
	*total
	words  []uint32 // all baskets: a word that begins one, then its items, ascending; at the end one that begins
	places []uint32 // of each item in words, those of one item together, ascending
	ends   []uint32 // by item: of its places
	next   atomic.Int64
	kept   atomic.Int64
}

// of returns the places of an item.
func (m *miner) of(item uint32) []uint32 {
	from := uint32(0)
	if item > 0 {
		from = m.ends[item-1]
	}
	return m.places[from:m.ends[item]]
}

// mine finds the sets and rules.
func (t *total) mine(ctx context.Context) (*results, error) {
	m := &miner{total: t}
	if t.isWith && t.fixed < 0 {
		return newResults(m), nil
	}
	if err := m.number(ctx); err != nil {
		return nil, err
	}
	var all []*counter
	for range t.workers(len(t.items.values)) {
		all = append(all, m.newCounter())
	}
	err := t.atOnce(len(all), func(i int) error {
		for {
			item := m.next.Add(1) - 1
			if item >= int64(len(t.items.values)) {
				return nil
			}
			if err := all[i].begin(ctx, uint32(item)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	out := newResults(m)
	for _, c := range all {
		out.add(c.results)
	}
	return out, out.finish(ctx)
}

// workers returns how many goroutines share n things.
func (b *basket) workers(n int) int {
	most := b.study.Parallelism
	if most <= 0 {
		most = runtime.GOMAXPROCS(0)
	}
	return max(1, min(most, n))
}

// atOnce calls f for 0 to n-1, all at once.
func (b *basket) atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := 1; i < n; i++ {
		group.Go(func() { errs[i] = f(i) })
	}
	if n > 0 {
		errs[0] = f(0)
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// number puts the baskets of all readers one after the other, with the numbers of the items
// that are left, and finds the places of these.
func (m *miner) number(ctx context.Context) error {
	parts := make([]part, len(m.readers))
	first := uint32(0)
	for i, r := range m.readers {
		parts[i] = part{reader: r, first: first}
		first += r.persons
	}
	byValue := make(map[int64]uint32, len(m.items.values))
	for i, value := range m.items.values {
		byValue[value] = uint32(i)
	}
	if err := m.atOnce(len(parts), func(i int) error { return m.renumber(ctx, &parts[i], byValue) }); err != nil {
		return err
	}
	m.ends = make([]uint32, len(m.items.values))
	at := uint32(0)
	for item := range m.ends {
		for i := range parts {
			at, parts[i].at[item] = at+parts[i].at[item], at
		}
		m.ends[item] = at
	}
	m.places = make([]uint32, at)
	size := 0
	for i := range parts {
		parts[i].from = size
		size += parts[i].kept
	}
	m.words = make([]uint32, size+1)
	m.words[size] = begins
	return m.atOnce(len(parts), func(i int) error {
		p := &parts[i]
		from := p.from
		for _, slab := range p.slabs {
			if err := ctx.Err(); err != nil {
				return err
			}
			copy(m.words[from:], slab)
			for k, w := range slab {
				if m.isPlace(slab, k) {
					m.places[p.at[w]] = uint32(from + k)
					p.at[w]++
				}
			}
			from += len(slab)
		}
		p.slabs = nil
		return nil
	})
}

// part is the baskets of one reader.
type part struct {
	*reader
	first uint32   // the number of its first person
	from  int      // where its words are in all
	at    []uint32 // by item: how many places it has here; then where the next one is kept
}

// renumber gives items and persons their numbers, those items that are left, in order, and
// drops the baskets that have no set any more. It counts the places of each item.
func (m *miner) renumber(ctx context.Context, p *part, byValue map[int64]uint32) error {
	numbers := make([]uint32, len(p.counts))
	for at := range numbers {
		number, ok := byValue[p.places.value(at)]
		if numbers[at] = number; !ok {
			numbers[at] = dropped
		}
	}
	p.at, p.kept = make([]uint32, len(m.items.values)), 0
	for i, slab := range p.slabs {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.slabs[i] = m.renumberSlab(p, slab, numbers)
		p.kept += len(p.slabs[i])
	}
	return nil
}

// renumberSlab is renumber for the baskets of one chunk.
func (m *miner) renumberSlab(p *part, words, numbers []uint32) []uint32 {
	least := 2
	if m.fixed >= 0 {
		least = 1
	}
	to := 0
	for from := 0; from < len(words); {
		header, first := words[from]+p.first, to
		to++
		for from++; from < len(words) && words[from] < begins; from++ {
			if n := numbers[words[from]]; n != dropped {
				words[to] = n
				to++
			}
		}
		own := words[first+1 : to]
		if words[first] = header; len(own) < least {
			to = first
			continue
		}
		slices.Sort(own)
	}
	words = words[:to]
	for k, w := range words {
		if m.isPlace(words, k) {
			p.at[w]++
		}
	}
	return words
}

// isPlace reports whether there is an item that has a place of its own: the last of a basket
// has nothing after it that it would be counted with, but with the item that sets are for.
func (m *miner) isPlace(words []uint32, k int) bool {
	return words[k] < begins && (m.fixed >= 0 || k+1 < len(words) && words[k+1] < begins)
}

// counter is one worker.
type counter struct {
	*miner
	*results
	counts  []uint32 // by item; between two sets all are 0
	levels  [MaxSize]level
	prefix  []uint32
	scanned int // words since it was last asked whether to go on
}

// level is what a counter knows of the sets that begin with one set.
type level struct {
	next   []counted
	places []uint32
}

// counted is how many baskets have a set with one item more.
type counted struct{ item, baskets uint32 }

// everyWords is after how many words it is asked whether to go on: a millisecond's work.
const everyWords = 1 << 18

// atATime is how many places are looked at together: each is in a line of memory of its own,
// and the processor waits for all of them at once.
const atATime = 16

func (m *miner) newCounter() *counter {
	return &counter{miner: m, results: newResults(m), counts: make([]uint32, len(m.items.values))}
}

// begin counts the sets whose first item is given.
func (c *counter) begin(ctx context.Context, item uint32) error {
	places := c.of(item)
	c.prefix = append(c.prefix[:0], item)
	if c.fixed >= 0 {
		if uint64(len(places)) < c.total.least {
			return nil
		}
		if err := c.found(uint64(len(places))); err != nil || c.size == 2 {
			return err
		}
	}
	return c.expand(ctx, places)
}

// expand counts the sets of the prefix, which stands at places, with more items.
func (c *counter) expand(ctx context.Context, places []uint32) error {
	depth := len(c.prefix)
	l := &c.levels[depth-1]
	if err := c.count(ctx, l, places); err != nil {
		return err
	}
	c.prefix = append(c.prefix, 0)
	defer func() { c.prefix = c.prefix[:depth] }()
	for _, next := range l.next {
		c.prefix[depth] = next.item
		if err := c.found(uint64(next.baskets)); err != nil {
			return err
		}
	}
	if c.sizeOf(depth+1) >= c.size || len(l.next) == 0 {
		return nil
	}
	if err := c.split(l, places); err != nil {
		return err
	}
	from := uint32(0)
	for _, next := range l.next {
		to := from + next.baskets
		c.prefix[depth] = next.item
		if err := c.expand(ctx, l.places[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// sizeOf returns how many items a set has with so many in baskets.
func (c *counter) sizeOf(n int) int {
	if c.fixed >= 0 {
		n++
	}
	return n
}

// count counts with which items the set that stands at places is together often enough.
func (c *counter) count(ctx context.Context, l *level, places []uint32) error {
	l.next = l.next[:0]
	words := c.words
	for len(places) > 0 {
		some := places[:min(len(places), atATime)]
		places = places[len(some):]
		var first [atATime]uint32
		for i, at := range some {
			first[i] = words[at+1]
		}
		for i, at := range some {
			at++
			for item := first[i]; item < begins; item = words[at] {
				if c.counts[item] == 0 {
					l.next = append(l.next, counted{item: item})
				}
				c.counts[item]++
				at++
			}
			c.scanned += int(at - some[i])
		}
		if c.scanned >= everyWords {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.scanned = 0
		}
	}
	kept, least := l.next[:0], c.leastShown()
	for _, next := range l.next {
		if next.baskets = c.counts[next.item]; uint64(next.baskets) >= least {
			kept = append(kept, next)
		}
		c.counts[next.item] = 0
	}
	l.next = kept
	return nil
}

// split parts the places of a set by the item that follows: those of l.next, one after the other.
func (c *counter) split(l *level, places []uint32) error {
	n := uint32(0)
	for _, next := range l.next {
		c.counts[next.item] = n + 1 // where its next place goes, from 1
		n += next.baskets
	}
	if had := cap(l.places); had < int(n) {
		if err := c.study.Keep(int64(int(n)-had) * placeBytes); err != nil {
			return err
		}
		l.places = make([]uint32, n)
	}
	l.places = l.places[:n]
	for _, at := range places {
		for at++; c.words[at] < begins; at++ {
			if to := &c.counts[c.words[at]]; *to > 0 {
				l.places[*to-1] = at
				*to++
			}
		}
	}
	for _, next := range l.next {
		c.counts[next.item] = 0
	}
	return nil
}

// found takes in a set, the prefix, that enough baskets have.
func (c *counter) found(baskets uint64) error {
	s := set{baskets: baskets}
	for _, item := range c.prefix {
		s.put(item)
	}
	if c.fixed >= 0 {
		s.put(uint32(c.fixed))
	}
	c.take(&s)
	if c.size == 2 {
		return nil
	}
	if len(c.sets)%keptAtOnce == 0 {
		if n := c.miner.kept.Add(keptAtOnce); n > MaxSets {
			return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("there are more than %d sets of up to %d items that %d baskets have", MaxSets, c.size, c.total.least),
				Hint: "raise --min-baskets or --min-support, or ask for a smaller --size"}
		}
		if err := c.study.Keep(keptAtOnce * setBytes); err != nil {
			return err
		}
	}
	c.sets = append(c.sets, s)
	return nil
}

const (
	// placeBytes is what a place of a set takes that is gone on with.
	placeBytes = 4

	// setBytes is what one set takes that is kept, and again by its items.
	setBytes = 3*32 + 2*(20+8)

	// keptAtOnce is how many are taken account of at once.
	keptAtOnce = 1 << 12
)
