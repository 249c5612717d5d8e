package head

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Property is a property of an event type as the head holds it.
type Property struct {
	ID    schema.AttrID
	Class effect.Class
}

// EventTable is an event type and its properties, by ascending id. It never changes.
type EventTable struct {
	Event      schema.EventID
	Properties []Property
}

// TableOf returns the table of an event type.
func TableOf(e *schema.Event) *EventTable {
	t := &EventTable{Event: e.ID}
	for i := range e.Properties {
		t.Properties = append(t.Properties, Property{e.Properties[i].ID, effect.ClassOf(&e.Properties[i])})
	}
	return t
}

// Acts are events of one type and chunk as columns: event i has Ords[i], Times[i], and
// value i of every column.
type Acts struct {
	Table  *EventTable
	Ords   []uint16
	Times  []int64
	Hashes []int64 // of the properties: the order of events of a profile at one time
	Cols   []ActColumn

	since, until int64         // all times of a settled run lie between, both included
	people       *bitmap.Words // whose events a settled run has; nil if they are few
}

// peopleFrom is how many events of a run are many: from there on a bitmap of the people
// takes no more memory than the times, and is united sooner than as many
// bits are set.
const peopleFrom = 1 << 10

// ActColumn is the values of one property.
type ActColumn struct {
	Class   effect.Class
	Codes   []uint32 // Code: schema.NoCode if absent. Set: the elements of all events, ascending in each
	Ints    []int64
	Present []uint8  // Int, Bytes
	Ends    []uint32 // Bytes: ends in Data; Set: ends in Codes
	Data    []byte
}

func newActs(t *EventTable, n int) *Acts {
	both := make([]int64, 2*n) // one piece of memory: most lists are short
	a := &Acts{Table: t, Ords: make([]uint16, 0, n), Times: both[0:0:n], Hashes: both[n:n], Cols: make([]ActColumn, len(t.Properties)),
		since: math.MinInt64, until: math.MaxInt64}
	for i := range a.Cols {
		c := &a.Cols[i]
		switch c.Class = t.Properties[i].Class; c.Class {
		case effect.Code:
			c.Codes = make([]uint32, 0, n)
		case effect.Int:
			c.Ints, c.Present = make([]int64, 0, n), make([]uint8, 0, n)
		case effect.Bytes:
			c.Ends, c.Present = make([]uint32, 0, n), make([]uint8, 0, n)
		case effect.Set:
			c.Ends = make([]uint32, 0, n)
		}
	}
	return a
}

// Len returns the number of events of a settled run.
func (a *Acts) Len() int { return len(a.Ords) }

// In reports whether some of the events may be, and whether all are known to be, of times
// with from <= time < to.
func (a *Acts) In(from, to int64) (some, all bool) {
	return a.until >= from && a.since < to, a.since >= from && a.until < to
}

// AddTo adds to found whose the first n events are.
func (a *Acts) AddTo(found *bitmap.Words, n int) {
	if a.people != nil {
		found.Or(bitmap.Set{Form: bitmap.Dense, Words: a.people})
		return
	}
	// Neighbours are mostly of one word, which each had to wait for the other to write: so
	// it goes through both halves at once.
	ords := a.Ords[:n]
	half := n / 2
	other := ords[half:]
	for i, o := range ords[:half] {
		found.SetBit(o)
		found.SetBit(other[i])
	}
	if n&1 != 0 {
		found.SetBit(ords[n-1])
	}
}

// Column returns the values of a property, nil if no event has any.
func (a *Acts) Column(id schema.AttrID) *ActColumn {
	for i := range a.Table.Properties {
		if a.Table.Properties[i].ID == id {
			return &a.Cols[i]
		}
	}
	return nil
}

// spans reports whether values lie in Data or Codes, as Ends says.
func (c *ActColumn) spans() bool { return c.Class == effect.Bytes || c.Class == effect.Set }

// Span returns where the value of event i lies in Data or Codes (Bytes, Set).
func (c *ActColumn) Span(i int) (from, to uint32) {
	if i > 0 {
		from = c.Ends[i-1]
	}
	return from, c.Ends[i]
}

// Bytes is the memory of the events.
func (a *Acts) Bytes() int64 {
	n := 2*cap(a.Ords) + 8*cap(a.Times) + 8*cap(a.Hashes)
	for i := range a.Cols {
		c := &a.Cols[i]
		n += 4*cap(c.Codes) + 8*cap(c.Ints) + cap(c.Present) + 4*cap(c.Ends) + cap(c.Data)
	}
	if a.people != nil {
		n += bitmap.ChunkSize / 8
	}
	return int64(n) + 256
}

// first returns the first n events of a list.
func (a *Acts) first(n int) *Acts {
	out := *a
	out.Ords, out.Times, out.Hashes = a.Ords[:n], a.Times[:n], a.Hashes[:n]
	return &out
}

// Compare compares event i of a with event j of b: by profile, time, hash.
func (a *Acts) Compare(i int, b *Acts, j int) int {
	return cmp.Or(cmp.Compare(a.Ords[i], b.Ords[j]), cmp.Compare(a.Times[i], b.Times[j]), cmp.Compare(a.Hashes[i], b.Hashes[j]))
}

// addRefs appends the values of events: from holds the column of each list, nil if it has none.
func (c *ActColumn) addRefs(from []*ActColumn, refs []Ref) {
	switch c.Class {
	case effect.Code:
		for _, r := range refs {
			code := uint32(schema.NoCode)
			if src := from[r.Part]; src != nil {
				code = src.Codes[r.I]
			}
			c.Codes = append(c.Codes, code)
		}
	case effect.Int:
		for _, r := range refs {
			v, present := int64(0), uint8(0)
			if src := from[r.Part]; src != nil {
				v, present = src.Ints[r.I], src.Present[r.I]
			}
			c.Ints, c.Present = append(c.Ints, v), append(c.Present, present)
		}
	case effect.Bytes:
		for _, r := range refs {
			present := uint8(0)
			if src := from[r.Part]; src != nil {
				i, j := src.Span(int(r.I))
				c.Data = append(c.Data, src.Data[i:j]...)
				present = src.Present[r.I]
			}
			c.Ends, c.Present = append(c.Ends, uint32(len(c.Data))), append(c.Present, present)
		}
	case effect.Set:
		for _, r := range refs {
			if src := from[r.Part]; src != nil {
				i, j := src.Span(int(r.I))
				c.Codes = append(c.Codes, src.Codes[i:j]...)
			}
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
	}
}

// addAbsent appends that an event has no value.
func (c *ActColumn) addAbsent() {
	switch c.Class {
	case effect.Code:
		c.Codes = append(c.Codes, schema.NoCode)
	case effect.Int:
		c.Ints, c.Present = append(c.Ints, 0), append(c.Present, 0)
	case effect.Bytes:
		c.Ends, c.Present = append(c.Ends, uint32(len(c.Data))), append(c.Present, 0)
	case effect.Set:
		c.Ends = append(c.Ends, uint32(len(c.Codes)))
	}
}

// actList is the events of one type and chunk in an L0. As in list, the slices have room
// for more than n events; the writer fills them behind n and then raises n, and a full
// list is replaced by a larger copy.
type actList struct {
	n     atomic.Uint32
	stamp []uint16
	acts  Acts
}

// leastActs is the events a list has room for at first.
const leastActs = 16

// newActList returns an empty list with room for n events, and for bytes or elements of
// each column.
func newActList(t *EventTable, n int, data []int) *actList {
	l := &actList{stamp: make([]uint16, n), acts: *newActs(t, n)}
	a := &l.acts
	a.Ords, a.Times, a.Hashes = a.Ords[:n], a.Times[:n], a.Hashes[:n]
	for i := range a.Cols {
		c := &a.Cols[i]
		switch c.Class {
		case effect.Code:
			c.Codes = c.Codes[:n]
		case effect.Int:
			c.Ints, c.Present = c.Ints[:n], c.Present[:n]
		case effect.Bytes:
			c.Ends, c.Present, c.Data = c.Ends[:n], c.Present[:n], make([]byte, data[i])
		case effect.Set:
			c.Ends, c.Codes = c.Ends[:n], make([]uint32, data[i])
		}
	}
	return l
}

// put writes event i of src, which has the list's table, behind the at events there are.
func (l *actList) put(at int, stamp, ord uint16, src *Acts, i int) {
	l.stamp[at] = stamp
	a := &l.acts
	a.Ords[at], a.Times[at], a.Hashes[at] = ord, src.Times[i], src.Hashes[i]
	for k := range a.Cols {
		c, from := &a.Cols[k], &src.Cols[k]
		end := uint32(0)
		if at > 0 && c.spans() {
			end = c.Ends[at-1]
		}
		switch c.Class {
		case effect.Code:
			c.Codes[at] = from.Codes[i]
		case effect.Int:
			c.Ints[at], c.Present[at] = from.Ints[i], from.Present[i]
		case effect.Bytes:
			x, y := from.Span(i)
			c.Ends[at], c.Present[at] = end+uint32(copy(c.Data[end:], from.Data[x:y])), from.Present[i]
		case effect.Set:
			x, y := from.Span(i)
			c.Ends[at] = end + uint32(copy(c.Codes[end:], from.Codes[x:y]))
		}
	}
}

// used returns how many bytes or elements of each column the first n events have.
func (a *Acts) used(n int, dst []int) []int {
	dst = dst[:0]
	for i := range a.Cols {
		end := 0
		if c := &a.Cols[i]; n > 0 && c.spans() {
			end = int(c.Ends[n-1])
		}
		dst = append(dst, end)
	}
	return dst
}

// actSlot is where the list of one type and chunk hangs.
type actSlot = atomic.Pointer[actList]

// appendActs adds events of one type under a stamp.
func (l *L0) appendActs(stamp uint16, a *effect.Acts, folded FoldedActs, at uint64) {
	e := l.events[a.Event]
	l.group(a.Ords)
	l.actRows.load(e.table, a)
	var have []uint64
	if folded != nil {
		have = folded(a.Event)
	}
	for _, g := range l.runs {
		if shard := int(g.chunk / bitmap.ShardChunks); shard < len(have) && have[shard] >= at {
			continue
		}
		rows := l.order[g.from:g.to]
		list := l.roomForActs(e, g.chunk, rows)
		n := int(list.n.Load())
		for _, row := range rows {
			list.put(n, stamp, uint16(a.Ords[row]), &l.actRows.acts, int(row))
			n++
		}
		list.n.Store(uint32(n))
	}
}

// roomForActs returns a chunk's list with room for some rows of l.actRows.
func (l *L0) roomForActs(e *eventLists, chunk uint32, rows []uint32) *actList {
	slot, t := &e.lists[chunk], e.table
	old, n := slot.Load(), 0
	src := &l.actRows.acts
	if old != nil {
		n = int(old.n.Load())
		l.used = old.acts.used(n, l.used)
	} else {
		l.used = append(l.used[:0], make([]int, len(t.Properties))...)
	}
	fits := old != nil && n+len(rows) <= len(old.stamp)
	need := append(l.need[:0], l.used...)
	for k := range src.Cols {
		c := &src.Cols[k]
		if !c.spans() {
			continue
		}
		for _, row := range rows {
			from, to := c.Span(int(row))
			need[k] += int(to - from)
		}
		fits = fits && need[k] <= max(len(old.acts.Cols[k].Data), len(old.acts.Cols[k].Codes))
	}
	l.need = need
	if fits {
		return old
	}
	for k := range need {
		need[k] = max(need[k], 2*l.used[k])
	}
	least := leastActs
	if n == 0 && int(chunk) < len(e.expected) {
		least = max(least, int(e.expected[chunk]))
	}
	fresh := newActList(t, max(least, n+len(rows), 2*n), need)
	if old != nil {
		fresh.copyFrom(old, n, l.used)
		l.bytes.Add(-old.acts.Bytes())
	}
	l.bytes.Add(fresh.acts.Bytes())
	slot.Store(fresh)
	return fresh
}

func (l *actList) copyFrom(old *actList, n int, used []int) {
	copy(l.stamp, old.stamp[:n])
	a, b := &l.acts, &old.acts
	copy(a.Ords, b.Ords[:n])
	copy(a.Times, b.Times[:n])
	copy(a.Hashes, b.Hashes[:n])
	for k := range a.Cols {
		c, d := &a.Cols[k], &b.Cols[k]
		copy(c.Ints, d.Ints)
		copy(c.Present, d.Present)
		copy(c.Ends, d.Ends)
		copy(c.Data, d.Data[:min(used[k], len(d.Data))])
		copy(c.Codes, d.Codes)
	}
	l.n.Store(uint32(n))
}

// visible returns the list's events with stamps up to cut.
func (l *actList) visible(cut uint16) int {
	n := int(l.n.Load())
	if n > 0 && l.stamp[n-1] > cut {
		n, _ = slices.BinarySearch(l.stamp[:n], cut+1)
	}
	return n
}

// actRows is an outcome's events in the form of Acts: a value for every event and property.
type actRows struct {
	acts  Acts
	place []int32 // scratch: of an event's value in its column
	count []int32 // sets: how many elements from there on
}

func (r *actRows) load(t *EventTable, a *effect.Acts) {
	n := len(a.Ords)
	r.acts.Table, r.acts.Times, r.acts.Hashes = t, a.Times(), a.Hashes()
	r.acts.Cols = slices.Grow(r.acts.Cols[:0], len(t.Properties))[:len(t.Properties)]
	for i := range r.acts.Cols {
		r.acts.Cols[i].reset(t.Properties[i].Class)
	}
	for i := range a.Properties() {
		c := &a.Properties()[i]
		k := slices.IndexFunc(t.Properties, func(p Property) bool { return p.ID == c.Attr && p.Class == c.Class })
		if k < 0 {
			continue // dropped since
		}
		r.find(c, n)
		r.fill(&r.acts.Cols[k], c)
	}
	for i := range r.acts.Cols {
		for c := &r.acts.Cols[i]; c.len() < n; {
			c.addAbsent()
		}
	}
}

// reset empties the column, gives it a class, and keeps its memory.
func (c *ActColumn) reset(class effect.Class) {
	*c = ActColumn{Class: class, Codes: c.Codes[:0], Ints: c.Ints[:0], Present: c.Present[:0], Ends: c.Ends[:0], Data: c.Data[:0]}
}

func (c *ActColumn) len() int {
	switch c.Class {
	case effect.Code:
		return len(c.Codes)
	case effect.Int:
		return len(c.Ints)
	}
	return len(c.Ends)
}

// find works out where each event's value stands in c, -1 if nowhere.
func (r *actRows) find(c *effect.Column, n int) {
	r.place, r.count = slices.Grow(r.place[:0], n)[:n], slices.Grow(r.count[:0], n)[:n]
	for i := range r.place {
		r.place[i], r.count[i] = -1, 0
	}
	for v := range c.Len() {
		if row := c.Row(v); r.place[row] < 0 {
			r.place[row], r.count[row] = int32(v), 1
		} else {
			r.count[row]++
		}
	}
}

func (r *actRows) fill(dst *ActColumn, c *effect.Column) {
	for i, p := range r.place {
		switch {
		case p < 0:
			dst.addAbsent()
		case c.Class == effect.Code:
			dst.Codes = append(dst.Codes, c.Codes[p])
		case c.Class == effect.Int:
			dst.Ints, dst.Present = append(dst.Ints, c.Ints[p]), append(dst.Present, 1)
		case c.Class == effect.Bytes:
			dst.Data = append(dst.Data, c.Bytes(int(p))...)
			dst.Ends, dst.Present = append(dst.Ends, uint32(len(dst.Data))), append(dst.Present, 1)
		default:
			dst.Codes = append(dst.Codes, c.Codes[p:p+r.count[i]]...)
			dst.Ends = append(dst.Ends, uint32(len(dst.Codes)))
		}
	}
}

// eventLists are the events of one type in an L0.
type eventLists struct {
	table    *EventTable
	lists    []actSlot // by chunk
	expected []uint32  // by chunk: how many events a list has room for at first; shorter: leastActs
}

// After makes the L0 ready for more of what another one has had, which takes no more: lists
// that start with room for half as much again seldom grow. It takes over the scratch memory.
func (l *L0) After(old *L0) {
	l.actRows, l.used, l.need = old.actRows, old.used, old.need
	l.order, l.runs, l.starts = old.order, old.runs, old.starts
	for id, e := range l.events {
		before := old.events[id]
		if before == nil {
			continue
		}
		e.expected = make([]uint32, len(before.lists))
		for chunk := range before.lists {
			if v := before.lists[chunk].Load(); v != nil {
				n := v.n.Load()
				e.expected[chunk] = n + n/2
			}
		}
	}
}

// ActRuns are the settled events of one type: by chunk, each a few sorted runs. It never changes.
type ActRuns [][]*Acts

// maxRuns is how many runs a chunk has before they are merged: a reader looks into each,
// and waits for the memory (with 5 million events in the head a question took a quarter
// longer with eight).
const maxRuns = 4

// kept returns how many runs stay when they are too many and n events are new: the new
// ones are merged with the last runs, up to the first that is larger by far. If that is
// none, all are merged.
func kept(runs []*Acts, n int) int {
	i := len(runs)
	for i > 0 && runs[i-1].Len() <= 2*n {
		i--
	}
	if i == len(runs) {
		return 0
	}
	return i
}

// SettleActs returns the runs that stand for old and then the frozen L0s' events of a type.
func SettleActs(t *EventTable, chunks int, old ActRuns, frozen []*L0) ActRuns {
	var out ActRuns
	var sorter Sorter
	for chunk := range chunks {
		var parts []*Acts
		n := 0
		for _, l := range frozen {
			if e := l.events[t.Event]; e != nil && chunk < len(e.lists) {
				if v := e.lists[chunk].Load(); v != nil {
					k := v.visible(MaxGroups)
					parts = append(parts, v.acts.first(k))
					n += k
				}
			}
		}
		if n == 0 {
			continue
		}
		runtime.Gosched() // settling is in no hurry, and who waits for the writer is
		if out == nil {
			out = make(ActRuns, chunks)
			copy(out, old)
		}
		runs := out[chunk]
		if len(runs) >= maxRuns {
			keep := kept(runs, n)
			parts = append(parts, runs[keep:]...)
			runs = runs[:keep]
		}
		out[chunk] = append(slices.Clone(runs), sorter.sortedRun(t, parts))
	}
	if out == nil {
		return old
	}
	return out
}

// sortedRun makes one run of events in any order.
func (s *Sorter) sortedRun(t *EventTable, parts []*Acts) *Acts {
	refs := s.Sort(parts)
	out := newActs(t, len(refs))
	since, until := int64(math.MaxInt64), int64(math.MinInt64)
	for _, r := range refs {
		a := parts[r.Part]
		out.Ords, out.Times, out.Hashes = append(out.Ords, r.ord), append(out.Times, a.Times[r.I]), append(out.Hashes, a.Hashes[r.I])
		since, until = min(since, a.Times[r.I]), max(until, a.Times[r.I])
	}
	out.since, out.until = since, until
	if len(refs) >= peopleFrom {
		people := new(bitmap.Words)
		out.AddTo(people, len(refs))
		out.people = people
	}
	from := make([]*ActColumn, len(parts))
	for k := range out.Cols {
		for p, a := range parts {
			from[p] = a.Column(t.Properties[k].ID)
		}
		out.Cols[k].addRefs(from, refs)
	}
	return out
}

// EachActs calls f with the head's events of a type and chunk: settled runs, sorted by
// profile, time and hash, then those of the L0s in any order. n is how many of a are
// meant. It stops at f's first error.
func (t *Tiers) EachActs(event schema.EventID, chunk int, f func(a *Acts, n int, sorted bool) error) error {
	if runs := t.Acts[event]; chunk < len(runs) {
		for _, a := range runs[chunk] {
			if err := f(a, a.Len(), true); err != nil {
				return err
			}
		}
	}
	unsettled := func(l *L0, cut uint16) error {
		e := l.events[event]
		if e == nil || chunk >= len(e.lists) {
			return nil
		}
		v := e.lists[chunk].Load()
		if v == nil {
			return nil
		}
		if n := v.visible(cut); n > 0 {
			return f(&v.acts, n, false)
		}
		return nil
	}
	for _, l := range t.Frozen {
		if err := unsettled(l, MaxGroups); err != nil {
			return err
		}
	}
	if t.Active != nil && t.Cut > 0 {
		return unsettled(t.Active, t.Cut)
	}
	return nil
}

// fitsActs reports whether the L0 has room for an outcome's events of one type.
func (l *L0) fitsActs(a *effect.Acts) bool {
	e := l.events[a.Event]
	if e == nil {
		return false
	}
	for i := range a.Properties() {
		if c := &a.Properties()[i]; !slices.Contains(e.table.Properties, Property{c.Attr, c.Class}) {
			return false
		}
	}
	for _, ord := range a.Ords {
		if int(ord>>bitmap.ChunkBits) >= l.chunks {
			return false
		}
	}
	return true
}
