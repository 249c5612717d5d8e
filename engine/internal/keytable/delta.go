package keytable

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// Delta is a multi-map from hashes to ordinals in memory: what came since the static
// table. One goroutine at a time inserts; any number read at the same time, without
// locks, and find everything whose Insert returned before they began.
//
// It is 256 hash tables, one for each value of a hash's top byte, each with chains in
// an array. An insert writes the entry behind the others and then publishes it with one
// atomic store of the chain's head; entries never change. A full table is copied into a
// larger one and published as a whole, so a reader that still walks the old one misses
// only what came after it began. Chains and not open addressing: a value that a million
// profiles share costs one step per insert, while there it would cost a million.
// Buckets are in order of hash, so Merge walks them without sorting or copying the whole.
type Delta struct {
	stripes [1 << minPageBits]atomic.Pointer[stripe]
	count   atomic.Int64
	bytes   atomic.Int64
}

// stripe is one hash table. Its slices never change their length.
type stripe struct {
	heads   []uint32 // per bucket 1 + the entry inserted last, 0 if none; atomic
	entries []deltaEntry
	used    int // entries in use; the writer's
}

type deltaEntry struct {
	tail    uint32 // the kept bits of the hash but the top byte, which is the stripe
	ordinal uint32
	next    uint32 // 1 + the entry before in the bucket, 0 if none
}

// firstStripe is how many entries a stripe has room for at first: 256 small stripes are
// some 35 KB.
const firstStripe = 8

// NewDelta returns an empty delta. Its zero value is one too.
func NewDelta() *Delta { return &Delta{} }

// bucket returns a tail's bucket; it ascends with the tail.
func (s *stripe) bucket(tail uint32) uint32 {
	return uint32(uint64(tail) * uint64(len(s.heads)) >> 32)
}

// Insert adds an entry. The same entry twice is two entries here and one after a merge.
func (d *Delta) Insert(hash uint64, ordinal uint32) {
	number := hash >> (64 - minPageBits)
	s := d.stripes[number].Load()
	if s == nil || s.used == len(s.entries) {
		grown := s.grow()
		d.bytes.Add(grown.bytes() - s.bytes())
		d.stripes[number].Store(grown)
		s = grown
	}
	s.insert(uint32(hash>>hashShift), ordinal)
	d.count.Add(1)
}

// InsertAll is Insert of many. Their chains' heads are read first, so that the processor
// waits for many lines of memory at a time.
func (d *Delta) InsertAll(hashes []uint64, ordinals []uint32) {
	for first := 0; first < len(hashes); first += abreast {
		some := hashes[first:min(first+abreast, len(hashes))]
		for _, hash := range some {
			if s := d.stripes[hash>>(64-minPageBits)].Load(); s != nil {
				atomic.LoadUint32(&s.heads[s.bucket(uint32(hash>>hashShift))])
			}
		}
		for i, hash := range some {
			d.Insert(hash, ordinals[first+i])
		}
	}
}

func (s *stripe) insert(tail, ordinal uint32) {
	head := &s.heads[s.bucket(tail)]
	s.entries[s.used] = deltaEntry{tail, ordinal, *head}
	s.used++
	atomic.StoreUint32(head, uint32(s.used))
}

// grow returns a copy with room for half as many entries again, in order of bucket.
func (s *stripe) grow() *stripe {
	if s == nil {
		return &stripe{heads: make([]uint32, firstStripe), entries: make([]deltaEntry, firstStripe)}
	}
	size := len(s.entries) + len(s.entries)/2
	grown := &stripe{heads: make([]uint32, size), entries: make([]deltaEntry, size)}
	for _, head := range s.heads {
		for ; head != 0; head = s.entries[head-1].next {
			grown.insert(s.entries[head-1].tail, s.entries[head-1].ordinal)
		}
	}
	return grown
}

func (s *stripe) bytes() int64 {
	if s == nil {
		return 0
	}
	return int64(unsafe.Sizeof(*s)) + int64(len(s.heads))*4 + int64(len(s.entries))*int64(unsafe.Sizeof(deltaEntry{}))
}

// Len returns the number of entries.
func (d *Delta) Len() int { return int(d.count.Load()) }

// MemBytes returns what the delta takes in memory.
func (d *Delta) MemBytes() int64 { return int64(unsafe.Sizeof(*d)) + d.bytes.Load() }

// Each calls f for each entry in ascending order of hash, then ordinal, until f returns
// false. The low 24 bits of the hash are 0. It may miss what is inserted meanwhile.
func (d *Delta) Each(f func(hash uint64, ordinal uint32) bool) {
	c := deltaCursor{delta: d}
	for {
		e, ok := c.next()
		if !ok || !f(e.prefix<<hashShift, e.ordinal) {
			return
		}
	}
}

// deltaCursor walks a delta in order, one bucket at a time.
type deltaCursor struct {
	delta  *Delta
	number int // the stripe it is in
	stripe *stripe
	bucket int     // the next bucket of stripe
	batch  []entry // the entries of the bucket before
	i      int     // the next one in batch
}

func (c *deltaCursor) next() (entry, bool) {
	for c.i == len(c.batch) {
		if c.stripe == nil || c.bucket == len(c.stripe.heads) {
			if !c.nextStripe() {
				return entry{}, false
			}
		}
		c.readBucket()
	}
	c.i++
	return c.batch[c.i-1], true
}

// nextStripe goes to the next stripe that has entries.
func (c *deltaCursor) nextStripe() bool {
	if c.stripe != nil {
		c.number++
	}
	for ; c.number < len(c.delta.stripes); c.number++ {
		if c.stripe = c.delta.stripes[c.number].Load(); c.stripe != nil {
			c.bucket = 0
			return true
		}
	}
	c.stripe = nil
	return false
}

// readBucket reads the next bucket into batch, sorted.
func (c *deltaCursor) readBucket() {
	s := c.stripe
	c.batch, c.i = c.batch[:0], 0
	for at := atomic.LoadUint32(&s.heads[c.bucket]); at != 0; at = s.entries[at-1].next {
		e := &s.entries[at-1]
		c.batch = append(c.batch, entry{uint64(c.number)<<32 | uint64(e.tail), e.ordinal})
	}
	c.bucket++
	if len(c.batch) > 1 {
		slices.SortFunc(c.batch, compareEntries)
	}
}
