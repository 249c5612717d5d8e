package quality

import (
	"cmp"
	"math/bits"
)

const (
	// maxCountedKeys bounds the memory of a keySet to some 220 MB; 10 million keys take about 120 MB.
	maxCountedKeys = 1 << 24
	keyShards      = 256 // so that growing copies, and doubles, a small part at a time
)

// keySet is a set of 64-bit hashes of keys. The zero keySet is empty.
type keySet struct {
	shards [keyShards]keyShard
	n      int
	max    int  // of them; 0: maxCountedKeys
	full   bool // a hash was not added because there were max
}

// keyShard is a part of a keySet: open addressing in order of the hashes, at most three
// quarters full.
type keyShard struct {
	slots []uint64 // 0 is free
	n     int
}

// add adds a hash and reports whether it is new, as it also is once the set is full.
func (k *keySet) add(h uint64) bool {
	h |= 1 // 0 is a free slot, and 63 bits are plenty
	s := &k.shards[h/(1<<64/keyShards)]
	if k.full || !s.add(h) {
		return k.full
	}
	if k.n++; k.n == cmp.Or(k.max, maxCountedKeys) {
		k.full = true
		k.shards = [keyShards]keyShard{}
	}
	return true
}

func (s *keyShard) add(h uint64) bool {
	if 4*s.n >= 3*len(s.slots) {
		s.grow()
	}
	i := s.find(h)
	if s.slots[i] == h {
		return false
	}
	s.slots[i] = h
	s.n++
	return true
}

// find returns the place of h, or the free one where it belongs.
func (s *keyShard) find(h uint64) uint64 {
	i, _ := bits.Mul64(h*keyShards, uint64(len(s.slots)))
	for s.slots[i] != 0 && s.slots[i] != h {
		if i++; i == uint64(len(s.slots)) {
			i = 0
		}
	}
	return i
}

// grow by a quarter: the memory is what a load of many keys is limited by, and hashes
// are moved nearly in order.
func (s *keyShard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(16, len(old)+len(old)/4))
	for _, h := range old {
		if h != 0 {
			s.slots[s.find(h)] = h
		}
	}
}
