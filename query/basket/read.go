package basket

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/kantadb/kanta/query"
)

// cutter cuts the events of a person into baskets.
type cutter struct {
	*basket
	each  func(items []int64) // called with the different items of a basket, sorted
	items []int64
}

// person calls each with the baskets of a person; it sorts the events.
func (c *cutter) person(events []query.PersonEvent) {
	if c.key == 0 {
		c.basketOf(events)
		return
	}
	if len(events) > 1 {
		slices.SortFunc(events, func(a, b query.PersonEvent) int { return cmp.Compare(a.Key, b.Key) })
	}
	for from := 0; from < len(events); {
		to := from + 1
		for to < len(events) && c.together(events[to-1].Key, events[to].Key) {
			to++
		}
		c.basketOf(events[from:to])
		from = to
	}
}

// fewItems is up to how many items are sorted as they come.
const fewItems = 16

// basketOf calls each with the items of a basket.
func (c *cutter) basketOf(events []query.PersonEvent) {
	c.items = c.items[:0]
	if len(events) > fewItems {
		for _, e := range events {
			c.items = append(c.items, e.Value)
		}
		slices.Sort(c.items)
		c.items = slices.Compact(c.items)
		c.each(c.items)
		return
	}
	for _, e := range events {
		at := len(c.items)
		for at > 0 && c.items[at-1] > e.Value {
			at--
		}
		if at > 0 && c.items[at-1] == e.Value {
			continue
		}
		c.items = append(c.items, e.Value)
		copy(c.items[at+1:], c.items[at:])
		c.items[at] = e.Value
	}
	c.each(c.items)
}

// together reports whether two events that follow each other are of one basket.
func (c *cutter) together(a, b int64) bool {
	if c.gap > 0 {
		return b-a <= c.gap
	}
	return a == b
}

// begins marks the word that a basket begins with, which has the number of its person; the
// numbers of its items are the words that follow.
const begins = 1 << 31

// reader reads the baskets of chunks.
type reader struct {
	*basket
	cutter  cutter
	places  places
	baskets uint64
	persons uint32
	counts  []uint32   // by item's place: baskets that have it
	people  []uint32   // people who have it, if baskets are not people
	last    []uint32   // the last of them, from 1
	words   []uint32   // the baskets of the chunk at hand that may have a set
	slabs   [][]uint32 // those of each chunk before
	kept    int        // words in them
	bytes   int64      // taken from the store
}

// What a reader keeps of each item, itself, the room that lists grow by and what all readers'
// come to; and of each word: itself, itself again among those of all, and its place there.
const (
	itemBytes = 2*(4+4+4+8+4) + 2*(8+16+16)
	wordBytes = 3 * 4
)

// places number the items that one reader has met.
type places struct {
	coded  bool             // items are codes: these are their places
	values []int64          // by place
	at     map[int64]uint32 // by value
}

func (p *places) of(value int64) uint32 {
	if p.coded {
		return uint32(value)
	}
	at, ok := p.at[value]
	if !ok {
		if p.at == nil {
			p.at = map[int64]uint32{}
		}
		at = uint32(len(p.values))
		p.at[value], p.values = at, append(p.values, value)
	}
	return at
}

func (p *places) value(at int) int64 {
	if p.coded {
		return int64(at)
	}
	return p.values[at]
}

func (b *basket) newReader() *reader {
	r := &reader{basket: b, places: places{coded: b.item.Coded()}}
	r.cutter = cutter{basket: b, each: r.one}
	return r
}

// one counts a basket of the person at hand.
func (r *reader) one(items []int64) {
	r.baskets++
	if len(items) == 1 && !r.isWith { // most are: there is nothing to keep
		r.count(items[0])
		return
	}
	first, has := len(r.words), !r.isWith
	r.words = append(r.words, begins|r.persons)
	for _, value := range items {
		at := r.count(value)
		if r.isWith && value == r.with {
			has = true
		} else {
			r.words = append(r.words, at)
		}
	}
	if !has || len(r.words)-first < 2 {
		r.words = r.words[:first] // it has not the item that sets are for, or nothing else
	}
}

// count counts an item of a basket and returns its place.
func (r *reader) count(value int64) uint32 {
	at := r.places.of(value)
	if int(at) >= len(r.counts) {
		more := make([]uint32, int(at)+1-len(r.counts))
		r.counts = append(r.counts, more...)
		if r.key != 0 {
			r.people, r.last = append(r.people, more...), append(r.last, more...)
		}
	}
	r.counts[at]++
	if r.key != 0 && r.last[at] != r.persons+1 {
		r.last[at] = r.persons + 1
		r.people[at]++
	}
	return at
}

// person counts the baskets of a person.
func (r *reader) person(events []query.PersonEvent) {
	r.cutter.person(events)
	r.persons++
}

func (r *reader) chunk(ctx context.Context, c *query.StudyChunk) error {
	err := c.PerPerson(ctx, r.list, r.key, r.item.ID, &c.People, func(_ uint16, events []query.PersonEvent) error {
		r.person(events)
		return nil
	})
	if err != nil {
		return err
	}
	if len(r.places.values) > MaxItems {
		return r.tooManyItems()
	}
	r.settle()
	bytes := int64(cap(r.counts))*itemBytes + int64(cap(r.words))*wordBytes/3 + int64(r.kept)*wordBytes
	err = c.Keep(bytes - r.bytes)
	r.bytes = bytes
	return err
}

// settle puts the words of a chunk away.
func (r *reader) settle() {
	if len(r.words) > 0 {
		r.slabs = append(r.slabs, slices.Clone(r.words))
		r.kept += len(r.words)
		r.words = r.words[:0]
	}
}

func (b *basket) tooManyItems() error {
	return &query.Error{Code: query.CodeLimit, Message: "--item: " + b.item.Name + " has more than 262,144 different values", Hint: "an item is what is bought, not what tells one purchase from the next"}
}

// read reads all baskets.
func (b *basket) read(ctx context.Context) (*total, query.Answer, error) {
	var readers []*reader
	answer, err := b.study.Each(ctx, func() query.ChunkVisitor {
		r := b.newReader()
		readers = append(readers, r)
		return r.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	t, err := b.newTotal(readers)
	return t, answer, err
}

// total is what all readers have read.
type total struct {
	*basket
	readers []*reader
	items   *items
	baskets uint64
	people  uint64
	kinds   int    // of items
	least   uint64 // baskets that a set must have
	fixed   int    // the number of the item that sets are for; -1: there is none
}

// newTotal adds up what readers have read, and numbers the items that enough baskets have.
func (b *basket) newTotal(readers []*reader) (*total, error) {
	t := &total{basket: b, readers: readers, fixed: -1}
	counts, people, words := map[int64]uint64{}, map[int64]uint64{}, 0
	for _, r := range readers {
		t.baskets += r.baskets
		t.people += uint64(r.persons)
		r.settle()
		words += r.kept
		for at, n := range r.counts {
			if n > 0 {
				counts[r.places.value(at)] += uint64(n)
			}
		}
		for at, n := range r.people {
			if n > 0 {
				people[r.places.value(at)] += uint64(n)
			}
		}
	}
	if t.people >= begins || words > math.MaxUint32 { // each has a number of so many bits
		return nil, &query.Error{Code: query.CodeLimit, Message: "there are more baskets than can be counted at once", Hint: "a shorter window, or --for an item"}
	}
	if t.kinds = len(counts); t.kinds > MaxItems {
		return nil, b.tooManyItems()
	}
	if b.key == 0 {
		people = counts
	}
	t.least = b.leastOf(t.baskets)
	all := &items{}
	for value, n := range counts {
		if n >= t.least {
			all.add(value, b.text(value), n, people[value])
		}
	}
	t.items = all.sort(b.hasTexts())
	if b.isWith {
		t.fixed = slices.Index(t.items.values, b.with)
	}
	return t, nil
}
