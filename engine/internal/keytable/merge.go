package keytable

import (
	"errors"
	"iter"
	"math/bits"
	"slices"
)

const (
	pageTarget = 1024 // entries of an average page at most: a page is read with one Get and searched in some four lines
	samples    = 15   // pages looked at to estimate the size of a table; odd, for a median
)

// Build makes a table out of about n entries in ascending order of hash, ordinals of one
// hash in any order, and emits its pages from 0 on. The bytes of a page are valid until
// emit returns. It returns the number of pages, which Open needs: a power of two, at
// least 256. Errors are those of emit, and hashes that descend.
func Build(entries iter.Seq2[uint64, uint32], n int, emit func(page int, b []byte) error) (pages int, err error) {
	w := newPageWriter(n, emit)
	for hash, ordinal := range entries {
		if err := w.add(entry{hash >> hashShift, ordinal}); err != nil {
			return 0, err
		}
	}
	return w.finish()
}

// Merge makes a new table of the entries of old (which may be nil) and delta whose
// ordinals keep accepts (nil accepts all), as Build does. An entry in both is there once.
// It holds one page of each table in memory. Nothing may be inserted into delta
// meanwhile; readers of both go on. Errors are those of emit and of old's pages.
func Merge(old *Static, delta *Delta, keep func(ordinal uint32) bool, emit func(page int, b []byte) error) (pages int, err error) {
	n, err := old.estimate()
	if err != nil {
		return 0, err
	}
	w := newPageWriter(n+delta.Len(), emit)
	a, b := staticCursor{table: old}, deltaCursor{delta: delta}
	x, haveX, err := a.next()
	if err != nil {
		return 0, err
	}
	y, haveY := b.next()
	for haveX || haveY {
		var e entry
		if haveX && (!haveY || compareEntries(x, y) <= 0) {
			e = x
			if x, haveX, err = a.next(); err != nil {
				return 0, err
			}
		} else {
			e = y
			y, haveY = b.next()
		}
		if keep == nil || keep(e.ordinal) {
			if err := w.add(e); err != nil {
				return 0, err
			}
		}
	}
	return w.finish()
}

// estimate returns about how many entries the table has: the median of some pages,
// because a value that many share can make a single page long.
func (s *Static) estimate() (int, error) {
	if s == nil {
		return 0, nil
	}
	counts := make([]int, samples)
	for i := range counts {
		words, err := s.read(i * len(s.pages) / samples)
		if err != nil {
			return 0, err
		}
		counts[i] = len(words) / 2
	}
	slices.Sort(counts)
	return counts[samples/2] * len(s.pages), nil
}

// staticCursor walks a table in order, one page at a time.
type staticCursor struct {
	table *Static
	page  int      // the next page to read
	words []uint32 // of page-1
	i     int      // the next entry in words
}

func (c *staticCursor) next() (entry, bool, error) {
	for c.i == len(c.words)/2 {
		if c.page == c.table.Pages() {
			return entry{}, false, nil
		}
		words, err := c.table.read(c.page)
		if err != nil {
			return entry{}, false, err
		}
		c.words, c.i, c.page = words, 0, c.page+1
	}
	i := c.i
	c.i++
	prefix := uint64(c.page-1)<<(prefixBits-c.table.pageBits) | uint64(c.words[i])
	return entry{prefix, c.words[len(c.words)/2+i]}, true, nil
}

// pageWriter collects entries into pages and emits them.
type pageWriter struct {
	pageBits int
	emit     func(page int, b []byte) error
	page     int     // the one being filled
	entries  []entry // its entries
	buf      []byte
}

func newPageWriter(n int, emit func(page int, b []byte) error) *pageWriter {
	pageBits := bits.Len(uint(max(n, 1)-1) / pageTarget)
	return &pageWriter{pageBits: min(max(pageBits, minPageBits), maxPageBits), emit: emit}
}

func (w *pageWriter) add(e entry) error {
	page := int(e.prefix >> (prefixBits - w.pageBits))
	if page < w.page || len(w.entries) > 0 && e.prefix < w.entries[len(w.entries)-1].prefix {
		return errors.New("key table: hashes out of order")
	}
	for w.page < page {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.entries = append(w.entries, e)
	return nil
}

// flush emits the page being filled and begins the next.
func (w *pageWriter) flush() error {
	if !slices.IsSortedFunc(w.entries, compareEntries) { // Build takes the ordinals of a hash as they come
		slices.SortFunc(w.entries, compareEntries)
	}
	w.entries = slices.Compact(w.entries)
	w.buf = appendPage(w.buf[:0], w.pageBits, w.page, w.entries)
	if err := w.emit(w.page, w.buf); err != nil {
		return err
	}
	w.entries = w.entries[:0]
	w.page++
	return nil
}

func (w *pageWriter) finish() (int, error) {
	for w.page < 1<<w.pageBits {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return 1 << w.pageBits, nil
}
