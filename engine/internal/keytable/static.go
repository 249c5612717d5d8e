package keytable

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// Static is an immutable table of sorted pages, each loaded when it is first asked for.
// It is safe for concurrent use; its nil value is an empty table.
type Static struct {
	pageBits int
	budget   int64
	load     func(page int) ([]byte, error)
	pages    []atomic.Pointer[page]
	resident atomic.Int64
	hand     atomic.Uint32 // where the next eviction looks first
}

// page is a loaded page.
type page struct {
	words []uint32    // n fingerprints, then n ordinals
	used  atomic.Bool // since the eviction's hand passed last
}

// pageOverhead is what a loaded page takes beside its words, in bytes.
const pageOverhead = 32

func (p *page) bytes() int64 { return int64(4*cap(p.words) + pageOverhead) }

// Open returns the table of a number of pages, as Merge or Build returned it. About budget
// bytes of loaded pages are kept, those used last. load returns the bytes of one page, as
// they were emitted; it is called by readers, also at the same time for the same page, and
// its bytes are not kept.
// The error is ErrCorrupt: no table has such a number of pages.
func Open(pages int, budget int64, load func(page int) ([]byte, error)) (*Static, error) {
	pageBits := bits.TrailingZeros(uint(pages))
	if pages <= 0 || pages != 1<<pageBits || pageBits < minPageBits || pageBits > maxPageBits {
		return nil, fmt.Errorf("%w: %d pages", ErrCorrupt, pages)
	}
	return &Static{pageBits: pageBits, budget: budget, load: load, pages: make([]atomic.Pointer[page], pages)}, nil
}

// Lost returns a table of which nothing can be read: each look-up returns err.
func Lost(err error) *Static {
	return &Static{pageBits: minPageBits, load: func(int) ([]byte, error) { return nil, err }, pages: make([]atomic.Pointer[page], 1<<minPageBits)}
}

// Pages returns the number of pages, 0 for a nil table.
func (s *Static) Pages() int {
	if s == nil {
		return 0
	}
	return len(s.pages)
}

// Load loads a page, as a look-up does; there is none behind the last one.
func (s *Static) Load(number int) error {
	if number >= s.Pages() {
		return nil
	}
	_, err := s.page(number)
	return err
}

// page returns a page, which is loaded if it is not there.
func (s *Static) page(number int) (*page, error) {
	p := s.pages[number].Load()
	if p == nil {
		return s.fetch(number)
	}
	if !p.used.Load() {
		p.used.Store(true) // not on every look-up: writing would move the line between cores
	}
	return p, nil
}

func (p *page) fingerprints() []uint32 { return p.words[:len(p.words)/2] }

func (p *page) ordinals() []uint32 { return p.words[len(p.words)/2:] }

// fingerprint returns the kept bits of a hash that the page's number does not have.
func fingerprint(hash uint64, fpBits int) uint32 { return uint32(hash >> hashShift & (1<<fpBits - 1)) }

// guess is where a fingerprint may stand: they are uniform.
type guess struct {
	at    int
	above bool // the one there is less than it
}

func guessOf(fps []uint32, fp uint32, fpBits int) guess {
	at := int(uint64(fp) * uint64(len(fps)) >> fpBits) // < len(fps), if there are any
	return guess{at, at < len(fps) && fps[at] < fp}
}

// search returns the first index whose fingerprint is at least fp, which is found in steps
// that double from the guess.
func (g guess) search(fps []uint32, fp uint32) int {
	n := len(fps)
	lo, hi := g.at, g.at // fps[:lo] < fp <= fps[hi:], once both loops are done
	if g.above {
		lo, hi = lo+1, min(hi+8, n)
		for step := 16; hi < n && fps[hi] < fp; step *= 2 {
			lo, hi = hi+1, min(hi+step, n)
		}
	} else {
		for step := 8; lo > 0 && fps[lo-1] >= fp; step *= 2 {
			hi, lo = lo-1, max(lo-step, 0)
		}
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if fps[mid] < fp {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// fetch loads a page and keeps it, unless another reader was faster.
func (s *Static) fetch(number int) (*page, error) {
	words, err := s.read(number)
	if err != nil {
		return nil, err
	}
	p := &page{words: words}
	if s.pages[number].CompareAndSwap(nil, p) && s.resident.Add(p.bytes()) > s.budget {
		s.evict(s.budget)
	}
	return p, nil
}

// read returns a page's fingerprints and ordinals without keeping it.
func (s *Static) read(number int) ([]uint32, error) {
	if p := s.pages[number].Load(); p != nil {
		return p.words, nil
	}
	b, err := s.load(number)
	if err != nil {
		return nil, err
	}
	return decodePage(b, s.pageBits, number)
}

// Each calls f for each entry in ascending order of hash, then ordinal, until f returns
// false. The low 24 bits of the hash are 0. It does not keep the pages it loads.
func (s *Static) Each(f func(hash uint64, ordinal uint32) bool) error {
	c := staticCursor{table: s}
	for {
		e, ok, err := c.next()
		if err != nil || !ok || !f(e.prefix<<hashShift, e.ordinal) {
			return err
		}
	}
}

// ResidentBytes returns what the loaded pages take in memory.
func (s *Static) ResidentBytes() int64 {
	if s == nil {
		return 0
	}
	return s.resident.Load()
}

// evict drops pages, those first that were not used lately, until at most target bytes
// are resident or it has looked at every page twice.
func (s *Static) evict(target int64) {
	for range 2 * s.Pages() {
		if s.resident.Load() <= target {
			break
		}
		number := int(s.hand.Add(1)-1) & (len(s.pages) - 1)
		if p := s.pages[number].Load(); p != nil && !p.used.Swap(false) && s.pages[number].CompareAndSwap(p, nil) {
			s.resident.Add(-p.bytes())
		}
	}
}
