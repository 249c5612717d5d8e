package query

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// A page is what is sorted at once: maxSorted members, or fewer if they and their texts take
// more than maxSortedBytes or than the store's budget has, but leastSorted. A longer listing
// takes one pass over the members' values for each page.
const (
	maxSorted      = 1 << 20
	maxSortedBytes = 64 << 20
	leastSorted    = 256
)

// place is where a member stands in an ordered listing: by value, then by ordinal.
type place struct {
	set     bool   // as a start: there is one
	absent  bool   // comes after all values
	num     int64  // ordered kinds: the ordered form
	text    []byte // strings
	ordinal uint32
}

// before orders places. Equal values are ordered by ordinal, in either direction.
func (p *place) before(q *place, desc bool) bool {
	if p.absent != q.absent {
		return q.absent
	}
	c := cmp.Compare(p.num, q.num)
	if c == 0 {
		c = bytes.Compare(p.text, q.text)
	}
	if c == 0 {
		return p.ordinal < q.ordinal
	}
	return (c < 0) != desc
}

// byValue yields the members in order of an attribute, page by page.
func (l *listing) byValue(ctx context.Context, r *rowReader, yield func(Member, error) bool) error {
	s, err := newSorter(ctx, l, r.work)
	if err != nil {
		return err
	}
	left, from := l.limit, l.from
	for {
		page := maxSorted
		if l.limit > 0 {
			page = min(page, left)
		}
		best, more, err := s.page(ctx, from, page)
		if err != nil || len(best.all) == 0 {
			return err
		}
		if ok, err := l.yieldPlaces(ctx, r, best.all, more, yield); !ok || err != nil {
			return err
		}
		n := len(best.all)
		from = best.all[n-1]
		from.set = true
		_ = take(r.work.cur, -best.bytes) // giving back does not fail
		if left -= n; !more || l.limit > 0 && left == 0 {
			return nil
		}
	}
}

// yieldPlaces yields members that stand in any order of ordinal. A batch is read chunk
// by chunk and put back in order.
func (l *listing) yieldPlaces(ctx context.Context, r *rowReader, places []place, more bool, yield func(Member, error) bool) (bool, error) {
	var members []Member
	var byOrdinal []int // indexes into the batch
	for len(places) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		r.begin()
		batch := places[:min(len(places), r.batch)]
		places = places[len(batch):]
		members, byOrdinal = grow(members, len(batch)), byOrdinal[:0]
		for i := range batch {
			byOrdinal = append(byOrdinal, i)
		}
		slices.SortFunc(byOrdinal, func(a, b int) int { return cmp.Compare(batch[a].ordinal, batch[b].ordinal) })
		if err := r.scattered(ctx, batch, byOrdinal, members); err != nil {
			return false, err
		}
		l.pause()
		for i := range batch {
			l.last, l.more = batch[i], more || len(places) > 0 || i+1 < len(batch)
			l.last.set = true
			if !yield(members[i], nil) {
				return false, nil
			}
		}
		if err := l.reading(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// scattered reads the members of a batch; order has the batch's indexes by ordinal.
func (r *rowReader) scattered(ctx context.Context, batch []place, order []int, members []Member) error {
	var ords []uint16
	for len(order) > 0 {
		chunk := batch[order[0]].ordinal >> bitmap.ChunkBits
		ords = ords[:0]
		for _, i := range order {
			if batch[i].ordinal>>bitmap.ChunkBits != chunk {
				break
			}
			ords = append(ords, uint16(batch[i].ordinal))
		}
		if err := r.read(ctx, int(chunk), ords); err != nil {
			return err
		}
		for k, i := range order[:len(ords)] {
			members[i] = r.member(k, batch[i].ordinal)
		}
		order = order[len(ords):]
	}
	return nil
}

// sorter finds the first members of an order.
type sorter struct {
	l       *listing
	work    *worker
	formula *fieldReader // of a computed attribute, or nil
	values  []schema.Value
	ranks   []int64 // dictionary strings: the rank of each code in order of text
	sorted  []string
	codes   []uint32
	ints    []int64
	has     []bool
	strs    [][]byte
}

func newSorter(ctx context.Context, l *listing, w *worker) (*sorter, error) {
	s := &sorter{l: l, work: w}
	if l.order.Formula != nil {
		var err error
		s.formula, err = newFieldReader(ctx, l.view, l.order)
		return s, err
	}
	if l.order.Kind != schema.String || l.order.Inline() {
		return s, nil
	}
	type entry struct {
		code uint32
		text string
	}
	var entries []entry
	l.view.Codes(l.order.ID, func(code uint32, text string) bool {
		entries = append(entries, entry{code, text})
		return true
	})
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.text, b.text) })
	for rank, e := range entries {
		for int(e.code) >= len(s.ranks) {
			s.ranks = append(s.ranks, 0)
		}
		s.ranks[e.code] = int64(rank)
		s.sorted = append(s.sorted, e.text)
	}
	return s, nil
}

// page returns the first n members after from, or fewer, in order, and whether there are more.
func (s *sorter) page(ctx context.Context, from place, n int) (best *places, more bool, err error) {
	h := &places{desc: s.l.desc, most: n, cur: s.work.cur}
	from = s.ranked(from)
	var ords []uint16
	var batch []place
	for chunk := range s.l.people.chunks() {
		ords = s.l.people.set(chunk).AppendTo(ords[:0])
		for rest := ords; len(rest) > 0; {
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
			part := rest[:min(len(rest), batchSize)]
			rest = rest[len(part):]
			if batch, err = s.places(ctx, chunk, part, batch[:0]); err != nil {
				return nil, false, err
			}
			for i := range batch {
				if from.set && !from.before(&batch[i], s.l.desc) {
					continue
				}
				dropped, err := h.offer(&batch[i])
				if err != nil {
					return nil, false, err
				}
				more = more || dropped
			}
			clear(s.strs)
			s.work.cur.Release()
		}
	}
	slices.SortFunc(h.all, func(a, b place) int {
		if a.before(&b, s.l.desc) {
			return -1
		}
		return 1 // places are distinct
	})
	if s.ranks != nil {
		for i := range h.all {
			if p := &h.all[i]; !p.absent {
				p.text, p.num = []byte(s.sorted[p.num]), 0
			}
		}
	}
	return h, more, nil
}

// ranked gives a place with a dictionary string the form that is compared while sorting:
// the rank instead of the text.
func (s *sorter) ranked(p place) place {
	if s.ranks == nil || p.absent || !p.set {
		return p
	}
	i, ok := slices.BinarySearch(s.sorted, string(p.text))
	p.text, p.num = nil, int64(i)
	if !ok {
		// Nobody has that string: it stands before rank i (descending: behind it), and
		// no ordinal comes after this one.
		p.ordinal = math.MaxUint32
		if !s.l.desc {
			p.num--
		}
	}
	return p
}

// places appends where the profiles of a batch stand. text is copied only when kept.
func (s *sorter) places(ctx context.Context, chunk int, ords []uint16, dst []place) ([]place, error) {
	for _, o := range ords {
		dst = append(dst, place{ordinal: uint32(chunk)<<bitmap.ChunkBits | uint32(o)})
	}
	a, cur := s.l.order, s.work.cur
	switch {
	case s.formula != nil:
		if err := s.work.begin(chunk); err != nil {
			return nil, err
		}
		s.values = grow(s.values, len(ords))
		if err := s.formula.read(ctx, s.work, ords, s.values, 1); err != nil {
			return nil, err
		}
		for i, v := range s.values {
			dst[i].value(v)
		}
	case a.Coded():
		s.codes = grow(s.codes, len(ords))
		if err := cur.GatherCodes(a.ID, chunk, ords, s.codes); err != nil {
			return nil, err
		}
		for i, c := range s.codes {
			switch {
			case c == schema.NoCode:
				dst[i].absent = true
			case a.Kind == schema.Bool:
				dst[i].num = int64(c)
			case int(c) < len(s.ranks):
				dst[i].num = s.ranks[c]
			default:
				return nil, Errorf(CodeCorrupt, "the dictionary of %q has no code %d", a.Name, c)
			}
		}
	case a.Inline():
		s.strs = grow(s.strs, len(ords))
		if err := cur.GatherStrings(a.ID, chunk, ords, s.strs); err != nil {
			return nil, err
		}
		for i, t := range s.strs {
			dst[i].absent, dst[i].text = t == nil, t
		}
	default:
		s.ints, s.has = grow(s.ints, len(ords)), grow(s.has, len(ords))
		if err := cur.GatherInts(a.ID, chunk, ords, s.ints, s.has); err != nil {
			return nil, err
		}
		for i, ok := range s.has {
			if dst[i].absent = !ok; ok {
				dst[i].num = s.ints[i]
			}
		}
	}
	return dst, nil
}

// places is a heap of the best so far, the worst on top, once it is full.
type places struct {
	all    []place
	desc   bool
	most   int    // so many are kept
	heaped bool   // it is a heap
	cur    Cursor // takes their memory
	bytes  int64  // of these
}

// placeBytes is what a place takes beside its text, with room to grow.
const placeBytes = 64

func (h *places) Len() int           { return len(h.all) }
func (h *places) Less(i, j int) bool { return h.all[j].before(&h.all[i], h.desc) }
func (h *places) Swap(i, j int)      { h.all[i], h.all[j] = h.all[j], h.all[i] }
func (h *places) Push(any)           {} // places are put in by offer
func (h *places) Pop() any           { return nil }

// offer keeps p if it is among the first, and reports whether one had to go. Where memory
// does not suffice fewer are kept from then on.
func (h *places) offer(p *place) (dropped bool, err error) {
	for {
		full := len(h.all) == h.most
		if !full {
			if err = h.take(placeBytes + int64(len(p.text))); err == nil {
				break
			}
			if len(h.all) <= leastSorted {
				return dropped, err
			}
			h.most = len(h.all)
		}
		if !h.heaped {
			heap.Init(h)
			h.heaped = true
		}
		if dropped = true; !p.before(&h.all[0], h.desc) {
			return true, nil
		}
		h.drop()
	}
	kept := *p
	kept.text = bytes.Clone(p.text)
	if h.all = append(h.all, kept); h.heaped {
		heap.Fix(h, len(h.all)-1)
	}
	return dropped, nil
}

// take takes memory for a place.
func (h *places) take(bytes int64) error {
	if h.bytes+bytes > maxSortedBytes && len(h.all) > leastSorted {
		return errHeld
	}
	err := take(h.cur, bytes)
	if err == nil {
		h.bytes += bytes
	}
	return err
}

// drop forgets the worst.
func (h *places) drop() {
	last := len(h.all) - 1
	h.Swap(0, last)
	bytes := placeBytes + int64(len(h.all[last].text))
	_ = take(h.cur, -bytes) // giving back does not fail
	h.bytes -= bytes
	if h.all[last], h.all = (place{}), h.all[:last]; last > 0 {
		heap.Fix(h, 0)
	}
}
