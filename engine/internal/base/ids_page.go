package base

import (
	"encoding/binary"
	"math/bits"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/query"
)

// Sizes of what is stored of ids. A page is what a look-up reads and a merge holds, a
// line of a filter what a look-up of a new id touches: one line of a processor's cache.
const (
	idPage     = 1024 // ids of a page at most, on average
	idEntry    = 8 + 8 + effect.ContentBits/8
	filterLine = 64 // bytes
	filterBits = 10 // of a filter per id
	filterHits = 6  // bits that an id sets
)

// idKey is an id within its day.
type idKey struct{ hi, lo uint64 }

// pageBits returns how many first bits of their hashes the pages of n ids are told apart by.
func pageBits(n uint64) uint8 {
	if n <= idPage {
		return 0
	}
	return uint8(bits.Len64((n - 1) / idPage))
}

func appendID(dst []byte, c *effect.Claim) []byte {
	dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, c.Hi), c.Lo)
	return append(binary.BigEndian.AppendUint16(dst, uint16(c.Content>>32)), byte(c.Content>>24), byte(c.Content>>16), byte(c.Content>>8), byte(c.Content))
}

// idAt returns entry i of a page.
func idAt(page []byte, i int) (k idKey, content uint64) {
	b := page[i*idEntry : (i+1)*idEntry]
	return idKey{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, uint64(binary.BigEndian.Uint16(b[16:]))<<32 | uint64(binary.BigEndian.Uint32(b[18:]))
}

func (k idKey) less(o idKey) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

// findID looks for an id in a page.
func findID(page []byte, k idKey) (content uint64, ok bool) {
	from, to := 0, len(page)/idEntry
	for from < to {
		mid := int(uint(from+to) / 2)
		at, content := idAt(page, mid)
		switch {
		case at == k:
			return content, true
		case at.less(k):
			from = mid + 1
		default:
			to = mid
		}
	}
	return 0, false
}

// verifyPage returns an error if bytes cannot be page number n of a run: that the ids in
// between ascend is for Check to see.
func verifyPage(page []byte, bits uint8, n int) error {
	if len(page)%idEntry != 0 {
		return query.Errorf(query.CodeCorrupt, "%d bytes are no page of ids", len(page))
	}
	for _, i := range []int{0, len(page)/idEntry - 1} {
		if len(page) == 0 {
			return nil
		}
		if k, _ := idAt(page, i); pageOf(k, bits) != n {
			return query.Errorf(query.CodeCorrupt, "it has ids of page %d", pageOf(k, bits))
		}
	}
	return nil
}

// pageOf returns the page of an id.
func pageOf(k idKey, bits uint8) int { return int(k.hi >> (64 - bits)) }

// A filter of a page is lines of 64 bytes: an id has one line, in which it sets a few
// bits. All come from the low half of its hash, the line from the first bits, the others
// from the last: the pages took from the high half.

func newFilter(n int) []byte {
	return make([]byte, max(1, (n*filterBits+8*filterLine-1)/(8*filterLine))*filterLine)
}

func addToFilter(filter []byte, k idKey) {
	line, h := lineOf(filter, k)
	for range filterHits {
		line[h>>3&(filterLine-1)] |= 1 << (h & 7)
		h >>= 9
	}
}

func mayHold(filter []byte, k idKey) bool {
	line, h := lineOf(filter, k)
	for range filterHits {
		if line[h>>3&(filterLine-1)]>>(h&7)&1 == 0 {
			return false
		}
		h >>= 9
	}
	return true
}

// lineOf returns an id's line, and the bits that say which of it are its.
func lineOf(filter []byte, k idKey) (line []byte, h uint64) {
	n, _ := bits.Mul64(k.lo, uint64(len(filter)/filterLine))
	return filter[n*filterLine : (n+1)*filterLine], k.lo
}

// verifyFilter returns an error if bytes cannot be a filter.
func verifyFilter(filter []byte) error {
	if len(filter) == 0 || len(filter)%filterLine != 0 {
		return query.Errorf(query.CodeCorrupt, "%d bytes are no filter of ids", len(filter))
	}
	return nil
}
