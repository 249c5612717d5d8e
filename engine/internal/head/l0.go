package head

import (
	"slices"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// MaxGroups is how many commit groups an L0 takes: stamps have 16 bits.
const MaxGroups = 1<<16 - 1

// L0 is the append-only tier. One goroutine appends; any number read what their cut allows.
type L0 struct {
	First  uint64 // position of the first record in it
	Last   uint64 // position of the last one, once frozen
	Rows   int    // rows appended; the writer's
	Values int    // values appended; the writer's
	Texts  int64  // bytes of strings that are not in a dictionary, appended; the writer's
	Claims int    // ids that its events took; the writer's
	bytes  atomic.Int64
	slots  map[schema.AttrID]int
	chunks int // chunks there is room for
	lists  [][]atomic.Pointer[list]

	events map[schema.EventID]*eventLists

	actRows    actRows
	used, need []int // scratch of roomForActs

	order  []uint32 // rows of a block by chunk, made by group
	runs   []run    // of order
	starts []uint32 // scratch of group
}

// NewL0 makes an L0 with room for some attributes, event types and chunks.
func NewL0(first uint64, attrs []schema.AttrID, events []*EventTable, chunks int) *L0 {
	l := &L0{events: make(map[schema.EventID]*eventLists, len(events)), First: first, chunks: chunks, slots: make(map[schema.AttrID]int, len(attrs)), lists: make([][]atomic.Pointer[list], len(attrs))}
	for i, a := range attrs {
		l.slots[a] = i
		l.lists[i] = make([]atomic.Pointer[list], chunks)
	}
	for _, t := range events {
		l.events[t.Event] = &eventLists{table: t, lists: make([]actSlot, chunks)}
	}
	return l
}

// Fits reports whether an outcome's attributes and ordinals have room; else the writer begins a new L0.
func (l *L0) Fits(o *effect.Outcome) bool {
	for i := range o.Blocks {
		for j := range o.Blocks[i].Columns {
			if _, ok := l.slots[o.Blocks[i].Columns[j].Attr]; !ok {
				return false
			}
		}
		for _, ord := range o.Blocks[i].Ords {
			if int(ord>>bitmap.ChunkBits) >= l.chunks {
				return false
			}
		}
	}
	for i := range o.Acts {
		if !l.fitsActs(&o.Acts[i]) {
			return false
		}
	}
	return true
}

// Bytes is the memory of the entries.
func (l *L0) Bytes() int64 { return l.bytes.Load() }

// Folded says up to which position the base has an attribute's shards.
type Folded func(attr schema.AttrID) []uint64

// FoldedActs is Folded of an event type.
type FoldedActs func(event schema.EventID) []uint64

// Append adds an outcome's values under a stamp, which must not be below an earlier one.
// folded (nil: nothing is) and at, the outcome's position, leave out what the base has.
func (l *L0) Append(stamp uint16, o *effect.Outcome, folded Folded, acts FoldedActs, at uint64) {
	l.Claims += len(o.Claims)
	for i := range o.Acts {
		a := &o.Acts[i]
		l.appendActs(stamp, a, acts, at)
		l.Rows += len(a.Ords)
		l.Values += len(a.Ords) * (1 + len(a.Properties()))
		for j := range a.Columns {
			l.Texts += int64(len(a.Columns[j].Data))
		}
	}
	for i := range o.Blocks {
		b := &o.Blocks[i]
		l.Rows += len(b.Ords)
		l.group(b.Ords)
		for j := range b.Columns {
			c := &b.Columns[j]
			var have []uint64
			if folded != nil {
				have = folded(c.Attr)
			}
			a := appending{l, l.lists[l.slots[c.Attr]], b.Ords, c, stamp, have, at}
			if c.Rows == nil && c.Class != effect.Bytes && len(l.runs) > 1 {
				a.grouped()
			} else {
				a.inOrder()
			}
			l.Values += c.Len()
			l.Texts += int64(len(c.Data))
		}
	}
}

// run is rows of one chunk in the order of L0.order.
type run struct{ chunk, from, to uint32 }

// group finds the rows of each chunk, the earlier ones first: random rows would
// otherwise touch another list with each value.
func (l *L0) group(ords []uint32) {
	l.starts = append(l.starts[:0], make([]uint32, l.chunks)...)
	for _, o := range ords {
		l.starts[o>>bitmap.ChunkBits]++
	}
	l.runs = l.runs[:0]
	at := uint32(0)
	for chunk, n := range l.starts {
		if n > 0 {
			l.runs = append(l.runs, run{uint32(chunk), at, at + n})
			l.starts[chunk] = at
			at += n
		}
	}
	l.order = slices.Grow(l.order[:0], len(ords))[:len(ords)]
	for row, o := range ords {
		at := &l.starts[o>>bitmap.ChunkBits]
		l.order[*at] = uint32(row)
		*at++
	}
}

// appending is one column on its way into the lists.
type appending struct {
	l     *L0
	lists []atomic.Pointer[list]
	ords  []uint32
	c     *effect.Column
	stamp uint16
	have  []uint64 // by shard
	at    uint64
}

// inBase reports whether the base has what the outcome did to a chunk.
func (a *appending) inBase(chunk uint32) bool {
	shard := int(chunk / bitmap.ShardChunks)
	return shard < len(a.have) && a.have[shard] >= a.at
}

// grouped appends a column whose value i is that of row i.
func (a *appending) grouped() {
	for _, g := range a.l.runs {
		if a.inBase(g.chunk) {
			continue
		}
		li := a.l.grow(&a.lists[g.chunk], a.c, 0, int(g.to-g.from))
		at := li.n.Load()
		for _, row := range a.l.order[g.from:g.to] {
			li.put(int(at), a.stamp, uint16(a.ords[row]), a.c, int(row))
			at++
		}
		li.n.Store(at)
	}
}

// inOrder appends values in their order: those that have rows of their own, or bytes, and
// those of a single chunk.
func (a *appending) inOrder() {
	n := a.c.Len()
	for i := 0; i < n; {
		from := i
		chunk := a.ords[a.c.Row(i)] >> bitmap.ChunkBits
		for i++; i < n && a.ords[a.c.Row(i)]>>bitmap.ChunkBits == chunk; i++ {
		}
		if a.inBase(chunk) {
			continue
		}
		li := a.l.grow(&a.lists[chunk], a.c, from, i)
		at := li.n.Load()
		li.putRun(int(at), a.stamp, a.ords, a.c, from, i)
		li.n.Store(at + uint32(i-from))
	}
}

// list is the entries of one attribute and chunk. Its slices have room for cap entries;
// the writer fills them behind n and then raises n, so a reader that loads n sees whole
// entries. A full list is replaced by a larger copy; old readers keep the old one.
type list struct {
	class     effect.Class
	n         atomic.Uint32
	unordered atomic.Bool // some ordinal is not above the one before it (a set's: below it)
	absences  atomic.Bool // some value is none (not of sets)
	stamp     []uint16
	ord       []uint16
	code      []uint32 // Code, Set; Bytes: end of the value in data
	ints      []int64
	present   []uint8 // Int, Bytes
	data      []byte
}

// leastList is the entries a list has room for at first: with fewer, lists of a wide
// table spend more time growing than taking values.
const leastList = 32

func (l *L0) grow(p *atomic.Pointer[list], c *effect.Column, from, to int) *list {
	old := p.Load()
	need, data := to-from, 0
	if c.Class == effect.Bytes {
		start := uint32(0)
		if from > 0 {
			start = c.Ends[from-1]
		}
		data = int(c.Ends[to-1] - start)
	}
	n, used := 0, 0
	if old != nil {
		n = int(old.n.Load())
		if n > 0 && c.Class == effect.Bytes {
			used = int(old.code[n-1])
		}
		if n+need <= len(old.ord) && used+data <= len(old.data) {
			return old
		}
	}
	size := max(leastList, n+need)
	if n > 0 {
		size = max(size, 2*n)
	}
	fresh := &list{class: c.Class, stamp: make([]uint16, size), ord: make([]uint16, size)}
	bytes := 4 * size
	switch c.Class {
	case effect.Int:
		fresh.ints, fresh.present = make([]int64, size), make([]uint8, size)
		bytes += 9 * size
	case effect.Bytes:
		fresh.code, fresh.present = make([]uint32, size), make([]uint8, size)
		fresh.data = make([]byte, max(used+data, used+used/2))
		bytes += 5*size + len(fresh.data)
	default:
		fresh.code = make([]uint32, size)
		bytes += 4 * size
	}
	if old != nil {
		fresh.copyFrom(old, n, used)
		bytes -= old.memory()
	}
	l.bytes.Add(int64(bytes))
	p.Store(fresh)
	return fresh
}

func (li *list) memory() int {
	return 2*len(li.stamp) + 2*len(li.ord) + 4*len(li.code) + 8*len(li.ints) + len(li.present) + len(li.data)
}

func (li *list) copyFrom(old *list, n, used int) {
	li.unordered.Store(old.unordered.Load())
	li.absences.Store(old.absences.Load())
	copy(li.stamp, old.stamp[:n])
	copy(li.ord, old.ord[:n])
	if old.code != nil {
		copy(li.code, old.code[:n])
	}
	if old.ints != nil {
		copy(li.ints, old.ints[:n])
	}
	if old.present != nil {
		copy(li.present, old.present[:n])
	}
	copy(li.data, old.data[:used])
	li.n.Store(uint32(n))
}

// putRun is put of the values from..to-1 of a column.
func (li *list) putRun(at int, stamp uint16, ords []uint32, c *effect.Column, from, to int) {
	last := -1
	if at > 0 {
		last = int(li.ord[at-1])
	}
	if li.class == effect.Set {
		last-- // whose ordinals may come again
	}
	n := to - from
	unordered := false
	for k, out := 0, li.ord[at:at+n]; k < n; k++ {
		ord := int(uint16(ords[c.Row(from+k)]))
		out[k] = uint16(ord)
		unordered = unordered || ord <= last
		last = ord
		if li.class == effect.Set {
			last--
		}
	}
	if unordered {
		li.unordered.Store(true)
	}
	for k := range n {
		li.stamp[at+k] = stamp
	}
	switch li.class {
	case effect.Int:
		copy(li.ints[at:], c.Ints[from:to])
	case effect.Bytes:
		start, end := uint32(0), uint32(0) // of the values in the column, and where they go
		if from > 0 {
			start = c.Ends[from-1]
		}
		if at > 0 {
			end = li.code[at-1]
		}
		copy(li.data[end:], c.Data[start:c.Ends[to-1]])
		for k, e := range c.Ends[from:to] {
			li.code[at+k] = end + e - start
		}
	default:
		copy(li.code[at:], c.Codes[from:to])
	}
	li.putPresence(at, c, from, to)
}

// putPresence notes which of the values from..to-1 of a column are none.
func (li *list) putPresence(at int, c *effect.Column, from, to int) {
	switch {
	case li.class == effect.Set:
	case li.class == effect.Code:
		if slices.Contains(c.Codes[from:to], schema.NoCode) {
			li.absences.Store(true)
		}
	default:
		for k := from; k < to; k++ {
			if c.IsAbsent(k) {
				li.absences.Store(true)
			} else {
				li.present[at+k-from] = 1
			}
		}
	}
}

func (li *list) put(at int, stamp, ord uint16, c *effect.Column, i int) {
	li.stamp[at], li.ord[at] = stamp, ord
	if at > 0 && (li.ord[at-1] > ord || li.ord[at-1] == ord && li.class != effect.Set) {
		li.unordered.Store(true)
	}
	if li.class != effect.Set && c.IsAbsent(i) {
		li.absences.Store(true)
	}
	switch li.class {
	case effect.Int:
		if !c.IsAbsent(i) {
			li.ints[at], li.present[at] = c.Ints[i], 1
		}
	case effect.Bytes:
		end := uint32(0)
		if at > 0 {
			end = li.code[at-1]
		}
		if !c.IsAbsent(i) {
			end += uint32(copy(li.data[end:], c.Bytes(i)))
			li.present[at] = 1
		}
		li.code[at] = end
	default:
		li.code[at] = c.Codes[i]
	}
}

// entries is what a reader sees of a list. The slices must not be changed.
type entries struct {
	*list
	count int
}

// view returns the entries of a list with stamps up to cut.
func view(li *list, cut uint16) (entries, bool) {
	if li == nil {
		return entries{}, false
	}
	n := int(li.n.Load())
	if n > 0 && li.stamp[n-1] > cut {
		n, _ = slices.BinarySearch(li.stamp[:n], cut+1) // stamps ascend; the first past the cut
	}
	return entries{li, n}, n > 0
}

// all returns all entries of an attribute and chunk of a frozen L0.
func (l *L0) all(attr schema.AttrID, chunk int) (entries, bool) {
	slot, ok := l.slots[attr]
	if !ok || chunk >= l.chunks {
		return entries{}, false
	}
	return view(l.lists[slot][chunk].Load(), MaxGroups)
}

// bytes returns the value of entry i of class Bytes.
func (li *list) bytes(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = li.code[i-1]
	}
	return li.data[start:li.code[i]:li.code[i]]
}

// last returns the newest entry of an ordinal, or -1. Not for sets.
func (e entries) last(ord uint16) int {
	if !e.unordered.Load() {
		if i, ok := slices.BinarySearch(e.ord[:e.count], ord); ok {
			return i
		}
		return -1
	}
	for i := e.count - 1; i >= 0; i-- {
		if e.ord[i] == ord {
			return i
		}
	}
	return -1
}
