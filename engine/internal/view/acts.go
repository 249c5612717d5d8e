package view

import (
	"slices"
	"sync"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

var _ query.EventCursor = (*Cursor)(nil)

// blockSize is the most events that a block handed out has.
const blockSize = timeline.BlockSize

// Horizon returns the time before which events of a type are not seen any more, in ms
// UTC: the start of the day of the last record, less the days of its retention. It never
// goes back: what was past a retention before this was made longer may be gone.
func (s *State) Horizon(e *schema.Event) int64 {
	first := schema.MinDate + int64(e.Forgotten)
	if e.Retention > 0 {
		first = max(first, int64(timeline.DayOf(s.Received))-int64(e.Retention))
	}
	return first * dayMillis
}

// IDHorizon returns the day before which ids of events are not known any more: that
// before which every event type has forgotten its events. It never goes back: with the
// events of a day its ids may be gone, and a type that keeps longer cannot tell.
func (s *State) IDHorizon() int32 {
	day := int32(schema.MinDate + int64(s.Schema.ForgottenIDs))
	if len(s.Schema.Events) == 0 {
		return day
	}
	all := int32(schema.MaxDate)
	for i := range s.Schema.Events {
		all = min(all, timeline.DayOf(s.Horizon(&s.Schema.Events[i])))
	}
	return max(day, all)
}

// actReaders keeps readers for other cursors: the scratch takes some 200 KiB.
var actReaders = sync.Pool{New: func() any { return new(actReader) }} //tidy:constant

// actReader is what a cursor needs to read events, from the first that it reads on.
type actReader struct {
	scan    timeline.Cursor
	parts   []*base.ActPart
	sources []timeline.Source
	edges   []timeline.Source // parts that presence does not settle for some
	maybe   bitmap.Words      // for these
	alone   bool              // one person's events are looked for
	person  uint16
	both    bitmap.Words
	within  bitmap.Words
	live    bitmap.Words
	sel     []uint16     // events of a block that are meant, in selBuffer
	rest    bitmap.Words // whose events facts have not told of
	facts   *factsReader // nil until it is needed
	block   query.EventBlock
	columns []actColumn // memory of block.Columns
	ords    []uint16    // whose they are, in ordBuffer
	times   []int64
	numbers [blockSize]int64
	codes   [blockSize]uint32
	mask    timeline.Mask

	ordBuffer, selBuffer [blockSize]uint16
}

func (c *Cursor) actReader() *actReader {
	if c.acts == nil {
		c.acts, _ = actReaders.Get().(*actReader)
	}
	return c.acts
}

// forget lets go of what belongs to a state.
func (r *actReader) forget() {
	r.scan.Reset(nil, timeline.Scan{})
	clear(r.parts[:cap(r.parts)])
	clear(r.sources[:cap(r.sources)])
	clear(r.edges[:cap(r.edges)])
	r.dropTexts()
	r.block = query.EventBlock{Columns: r.block.Columns[:0]}
}

type actColumn struct {
	present []uint64 // nil: all events have a value; else mask
	mask    []uint64
	codes   []uint32
	ints    []int64
	texts   [][]byte
	sets    query.Sets
}

// Events reads events; see [query.EventCursor].
func (c *Cursor) Events(scan *query.EventScan, chunk int, within *bitmap.Set, f func(b *query.EventBlock) error) error {
	e := c.s.Schema.StoredByID(scan.Event)
	if e == nil {
		return query.Errorf(query.CodeInternal, "there is no event type %d", scan.Event)
	}
	r := c.actReader()
	from := max(scan.From, c.s.Horizon(e))
	if from >= scan.To {
		return nil
	}
	if r.alone = within != nil && within.Form == bitmap.Sparse && len(within.Array) == 1; r.alone {
		r.person = within.Array[0]
	}
	who, err := c.whose(chunk, within)
	if err != nil || who == nil && within != nil {
		return err
	}
	if err := r.stored(c, e, scan, from, chunk, who, f); err != nil {
		return err
	}
	return c.s.Tiers.EachActs(scan.Event, chunk, func(a *head.Acts, n int, sorted bool) error {
		return r.fresh(c, e, scan, from, who, a, n, sorted, f)
	})
}

// whose returns the living profiles of a chunk out of within, nil for everybody; it is
// nil too if within holds none of them.
func (c *Cursor) whose(chunk int, within *bitmap.Set) (*bitmap.Words, error) {
	r := c.acts
	live, err := c.Exists(schema.KeyAttr, chunk, &r.live)
	if err != nil {
		return nil, err
	}
	set := live
	if within != nil {
		set = bitmap.And(live, *within, &r.both)
		if set.IsEmpty() {
			return nil, nil
		}
	}
	if set.Form == bitmap.Full && within == nil {
		return nil, nil
	}
	w := set.ToWords(&r.within)
	if w != &r.within { // what the cursor holds may change with the next call
		r.within = *w
	}
	return &r.within, nil
}

// stored hands out the events of the base.
func (r *actReader) stored(c *Cursor, e *schema.Event, scan *query.EventScan, from int64, chunk int, who *bitmap.Words, f func(b *query.EventBlock) error) error {
	u := c.s.actUnit(scan.Event, chunk)
	if u == nil {
		return nil
	}
	r.parts = u.Window(from, scan.To, r.parts[:0])
	ts := timeline.Scan{Chunk: chunk & chunkMask, From: from, To: scan.To, Within: who}
	if r.alone {
		ts.One, ts.Profile = true, r.person
		if err := r.history(u, chunk); err != nil {
			return err
		}
	}
	if len(scan.Zones) > 0 {
		var all timeline.All
		for _, z := range scan.Zones {
			all = append(all, timeline.In(z.Property, timeline.Range{Lo: z.Lo, Hi: z.Hi}))
		}
		ts.Where = all.Where
	}
	parts := r.parts
	if scan.Told != nil {
		var err error
		if parts, err = r.summed(c, u, e, scan, ts, f); err != nil {
			return err
		}
	}
	c.tookParts(u, r.parts)
	return r.scanParts(c, parts, e, scan, ts, f)
}

// summed hands out the events of summed parts that facts have not told of, and returns the
// other parts.
func (r *actReader) summed(c *Cursor, u *base.ActUnit, e *schema.Event, scan *query.EventScan, ts timeline.Scan, f func(b *query.EventBlock) error) (others []*base.ActPart, err error) {
	slices.SortStableFunc(r.parts, func(a, b *base.ActPart) int {
		switch x := u.IsSummed(a); {
		case x == u.IsSummed(b):
			return 0
		case x:
			return -1
		}
		return 1
	})
	n := 0
	for n < len(r.parts) && u.IsSummed(r.parts[n]) {
		n++
	}
	if r.rest.Fill(); ts.Within != nil {
		r.rest = *ts.Within
	}
	if r.rest.AndNot(bitmap.Set{Form: bitmap.Dense, Words: scan.Told}); n > 0 && !r.rest.IsEmpty() {
		ts.Within = &r.rest
		err = r.scanParts(c, r.parts[:n], e, scan, ts, f)
	}
	return r.parts[n:], err
}

// scanParts hands out the events of parts.
func (r *actReader) scanParts(c *Cursor, parts []*base.ActPart, e *schema.Event, scan *query.EventScan, ts timeline.Scan, f func(b *query.EventBlock) error) error {
	r.sources = r.sources[:0]
	for _, p := range parts {
		s, err := p.Source()
		if err != nil {
			return err
		}
		r.sources = append(r.sources, s)
	}
	for r.scan.Reset(r.sources, ts); r.scan.Next(); {
		err := r.takeTexts(c, scan, &r.scan.Batch.Block)
		if err == nil {
			err = r.load(e, scan, &r.scan.Batch)
		}
		if err == nil {
			err = f(&r.block)
		}
		r.giveTexts(c)
		if err != nil {
			return err
		}
	}
	c.took(&r.scan.Stats)
	return r.scan.Err()
}

// takeTexts takes the memory of the rows that have the texts of a block.
func (r *actReader) takeTexts(c *Cursor, scan *query.EventScan, b *timeline.Block) error {
	if scan.Runs {
		return nil
	}
	n := int64(0)
	for _, id := range scan.Properties {
		if row := b.TextBytes(id); row >= base.LongRow {
			n += int64(row)
		}
	}
	if n == 0 {
		return nil
	}
	err := c.Take(n)
	if err == nil {
		c.texts = n
	}
	return err
}

// giveTexts gives it back.
func (r *actReader) giveTexts(c *Cursor) {
	if c.texts > 0 {
		r.dropTexts()
		_ = c.Take(-c.texts) // giving back does not fail
		c.texts = 0
	}
}

// dropTexts forgets the texts of the last block, which keep its rows alive.
func (r *actReader) dropTexts() {
	for i := range r.columns {
		clear(r.columns[i].texts[:cap(r.columns[i].texts)])
	}
}

// tookParts counts the parts of a unit that lie in a window, and the others.
func (c *Cursor) tookParts(u *base.ActUnit, in []*base.ActPart) {
	c.reads.Add(query.EventReads{Parts: uint64(len(in)), OtherParts: uint64(len(u.Parts) - len(in))})
}

// took counts what a scan has read.
func (c *Cursor) took(st *timeline.Stats) {
	c.bytes += uint64(st.Bytes)
	c.reads.Add(query.EventReads{Blocks: uint64(st.Blocks - st.Zoned),
		OtherTimes: uint64(st.Skipped - st.Others), OtherPeople: uint64(st.Others), OtherValues: uint64(st.Zoned)})
}

// load makes the block of what the scan found in one stored block.
func (r *actReader) load(e *schema.Event, scan *query.EventScan, b *timeline.Batch) error {
	if scan.Runs {
		r.block = query.EventBlock{Ords: b.Profiles, Counts: r.counts(b), Sorted: !e.Reduced}
		return nil
	}
	r.selectRuns(b)
	narrow := b.Block // of one person, a few events of a block are meant: the others need no decoding
	if n := len(r.sel); n > 0 {
		narrow.From, narrow.To = int(r.sel[0]), int(r.sel[n-1])+1
	}
	r.block = query.EventBlock{Ords: r.ords, Sorted: !e.Reduced, Columns: r.block.Columns[:0]}
	if scan.Times {
		if err := r.loadTimes(&narrow); err != nil {
			return err
		}
		r.block.Times = r.times
	}
	r.columns = grown(r.columns, len(scan.Properties))
	for i, id := range scan.Properties {
		if err := r.column(e, &narrow, id, &r.columns[i]); err != nil {
			return err
		}
		r.block.Columns = append(r.block.Columns, r.columns[i].view())
	}
	return nil
}

// counts returns how many events the runs of a batch have.
func (r *actReader) counts(b *timeline.Batch) []uint16 {
	if b.Counts != nil {
		return b.Counts
	}
	counts, ends := r.selBuffer[:len(b.Starts)], b.Ends[:len(b.Starts)]
	for i, from := range b.Starts {
		counts[i] = ends[i] - from
	}
	return counts
}

func (r *actReader) loadTimes(b *timeline.Block) error {
	times, done, err := b.SomeTimes(r.sel, r.times[:0])
	if r.times = times; done || err != nil {
		return err
	}
	if err := b.Times(r.numbers[:]); err != nil {
		return err
	}
	r.times = pick(r.times, r.numbers[:], r.sel)
	return nil
}

// selectRuns fills ords and sel with the events that are meant.
func (r *actReader) selectRuns(b *timeline.Batch) {
	n := 0
	for i, p := range b.Profiles { // most runs are one event
		from, to := b.Starts[i], b.Ends[i]
		r.ordBuffer[n&(blockSize-1)], r.selBuffer[n&(blockSize-1)] = p, from
		n++
		for k := from + 1; k < to; k++ {
			if b.Hits == nil || b.Hits.Has(int(k)) {
				r.ordBuffer[n&(blockSize-1)], r.selBuffer[n&(blockSize-1)] = p, k
				n++
			}
		}
	}
	r.ords, r.sel = r.ordBuffer[:n], r.selBuffer[:n]
}

func (m *actColumn) view() query.EventColumn {
	return query.EventColumn{Present: m.present, Codes: m.codes, Ints: m.ints, Texts: m.texts, Sets: m.sets}
}

// pick copies the selected values.
func pick[T any](dst, src []T, sel []uint16) []T {
	dst = slices.Grow(dst[:0], len(sel))[:len(sel)]
	for i, k := range sel {
		dst[i] = src[k]
	}
	return dst
}

func grown[T any](s []T, n int) []T {
	if len(s) < n {
		s = append(s, make([]T, n-len(s))...)
	}
	return s
}

// column reads one property of the selected events.
func (r *actReader) column(e *schema.Event, b *timeline.Block, id schema.AttrID, m *actColumn) error {
	p := e.ByID(id)
	if p == nil {
		return query.Errorf(query.CodeInternal, "event type %d has no property %d", e.ID, id)
	}
	switch effect.ClassOf(p) {
	case effect.Code:
		codes, done, err := b.SomeCodes(id, r.sel, m.codes[:0])
		if *m = (actColumn{codes: codes}); done || err != nil {
			return err
		}
		if err := b.Codes(id, r.codes[:]); err != nil {
			return err
		}
		*m = actColumn{codes: pick(m.codes, r.codes[:], r.sel)}
	case effect.Int:
		ints, done, err := b.SomeInts(id, r.sel, m.ints[:0])
		if *m = (actColumn{ints: ints, mask: m.mask}); done || err != nil {
			return err
		}
		if err := b.Ints(id, r.numbers[:], &r.mask); err != nil {
			return err
		}
		if m.ints = pick(m.ints, r.numbers[:], r.sel); !b.All(id) {
			m.presence(len(r.sel), func(i int) bool { return r.mask.Has(int(r.sel[i])) })
		}
	case effect.Bytes:
		texts, err := b.Texts(id)
		if err != nil {
			return err
		}
		m.texts = m.texts[:0]
		for _, k := range r.sel {
			t, ok := texts.At(int(k))
			if ok && t == nil {
				t = []byte{}
			}
			m.texts = append(m.texts, t)
		}
		*m = actColumn{texts: m.texts, mask: m.mask}
		m.presence(len(r.sel), func(i int) bool { return m.texts[i] != nil })
	case effect.Set:
		sets, err := b.Sets(id)
		if err != nil {
			return err
		}
		m.sets.Ends, m.sets.Codes = m.sets.Ends[:0], m.sets.Codes[:0]
		for _, k := range r.sel {
			m.sets.Codes = sets.AppendTo(int(k), m.sets.Codes)
			m.sets.Ends = append(m.sets.Ends, uint32(len(m.sets.Codes)))
		}
		*m = actColumn{sets: m.sets}
	}
	return nil
}

// presence notes which of n events have a value.
func (m *actColumn) presence(n int, has func(i int) bool) {
	m.mask = slices.Grow(m.mask[:0], (n+63)/64)[:(n+63)/64]
	clear(m.mask)
	all := true
	for i := range n {
		if has(i) {
			m.mask[i>>6] |= 1 << (i & 63)
		} else {
			all = false
		}
	}
	if m.present = m.mask; all {
		m.present = nil
	}
}

// EventReads says what reading events has taken so far.
func (c *Cursor) EventReads() query.EventReads { return c.reads }

var _ query.EventCounter = View{}

// EventCount estimates how many events of a type lie in a window: parts that it cuts are
// taken to be even in time, and the head to be in it.
func (v View) EventCount(event schema.EventID, from, to int64) uint64 {
	n := uint64(0)
	for _, u := range v.S.Acts[event] {
		if u == nil {
			continue
		}
		for _, p := range u.Parts {
			if span := p.Last - p.First + 1; p.First < to && p.Last >= from {
				cut := min(p.Last+1, to) - max(p.First, from)
				n += uint64(float64(p.Events) * float64(cut) / float64(span))
			}
		}
	}
	for _, chunk := range v.S.Tiers.Acts[event] {
		for _, a := range chunk {
			n += uint64(a.Len())
		}
	}
	return n
}
