package head

import (
	"cmp"
	"math"
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// denseFrom is the number of ordinals from which a touched bitmap is kept: below it,
// clearing bits one by one costs less than a vector pass over 8 KiB (measured).
const denseFrom = 384

// Settled is the immutable second tier of one attribute and chunk: distinct ordinals in
// order with the last value written, for sets with the net change.
type Settled struct {
	Class   effect.Class
	Ords    []uint16
	codes   []uint32
	ints    []int64  // Int, where narrow is nil
	narrow  []uint32 // Int: offsets from low, where they fit: half the memory, and compared 16 at a time
	low     int64
	present []uint8  // Int, Bytes
	absent  []uint16 // not for sets: the ordinals whose value is none
	ends    []uint32
	data    []byte
	reset   []bool // Set: the stored elements do not count
	ops     []uint32
	touched *bitmap.Words
	byCode  groups // Code, Set: who gets a code
	removed groups // Set: who loses it
}

// groups lists ordinals by code.
type groups struct {
	codes []uint32
	start []uint32
	ords  []uint16
}

func (g *groups) of(code uint32) []uint16 {
	i, ok := slices.BinarySearch(g.codes, code)
	if !ok {
		return nil
	}
	return g.ords[g.start[i]:g.start[i+1]]
}

// makeGroups groups ordinals, which ascend, by their codes; those with schema.NoCode are in
// no group. It is a stable counting sort where codes are few, which they mostly are.
func makeGroups(codes []uint32, ords []uint16) groups {
	top, n := uint32(0), 0
	for _, c := range codes {
		if c != schema.NoCode {
			top = max(top, c)
			n++
		}
	}
	if n == 0 {
		return groups{start: []uint32{0}}
	}
	if top >= bitmap.ChunkSize {
		return sortGroups(codes, ords, n)
	}
	count := make([]uint32, top+2)
	for _, c := range codes {
		if c != schema.NoCode {
			count[c+1]++
		}
	}
	distinct := 0
	for _, k := range count {
		if k > 0 {
			distinct++
		}
	}
	g := groups{codes: make([]uint32, 0, distinct), start: make([]uint32, 0, distinct+1), ords: make([]uint16, n)}
	for c := uint32(0); c <= top; c++ {
		if count[c+1] > 0 {
			g.codes, g.start = append(g.codes, c), append(g.start, count[c])
		}
		count[c+1] += count[c]
	}
	g.start = append(g.start, uint32(n))
	for i, c := range codes {
		if c != schema.NoCode {
			g.ords[count[c]] = ords[i]
			count[c]++
		}
	}
	return g
}

func sortGroups(codes []uint32, ords []uint16, n int) groups {
	type codeOrd struct {
		code uint32
		ord  uint16
	}
	pairs := make([]codeOrd, 0, n)
	for i, c := range codes {
		if c != schema.NoCode {
			pairs = append(pairs, codeOrd{c, ords[i]})
		}
	}
	slices.SortFunc(pairs, func(a, b codeOrd) int {
		return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.ord, b.ord))
	})
	g := groups{ords: make([]uint16, n)}
	for i, p := range pairs {
		if i == 0 || p.code != pairs[i-1].code {
			g.codes, g.start = append(g.codes, p.code), append(g.start, uint32(i))
		}
		g.ords[i] = p.ord
	}
	g.start = append(g.start, uint32(n))
	return g
}

// Bytes is the memory of the object.
func (s *Settled) Bytes() int64 {
	if s == nil {
		return 0
	}
	n := 2*len(s.Ords) + 4*len(s.codes) + 8*len(s.ints) + 4*len(s.narrow) + 2*len(s.absent) + len(s.present) + 4*len(s.ends) + len(s.data) + len(s.reset) + 4*len(s.ops)
	n += 4*len(s.byCode.codes) + 4*len(s.byCode.start) + 2*len(s.byCode.ords)
	n += 4*len(s.removed.codes) + 4*len(s.removed.start) + 2*len(s.removed.ords)
	if s.touched != nil {
		n += 8192
	}
	return int64(n) + 256
}

// SettledOf returns the object of a column (Code, Int, Bytes) with one value for each of
// some ordinals, ascending.
func SettledOf(ords []uint16, c *effect.Column) *Settled {
	s := &Settled{Class: c.Class, Ords: ords}
	s.allocate(len(ords))
	for i := range ords {
		switch {
		case c.Class == effect.Code:
			s.codes[i] = c.Codes[i]
		case c.Class == effect.Int:
			if !c.IsAbsent(i) {
				s.ints[i], s.present[i] = c.Ints[i], 1
			}
		default:
			if !c.IsAbsent(i) {
				s.data, s.present[i] = append(s.data, c.Bytes(i)...), 1
			}
			s.ends[i] = uint32(len(s.data))
		}
	}
	s.finish()
	return s
}

func (s *Settled) finish() {
	if len(s.Ords) > denseFrom {
		s.touched = new(bitmap.Words)
		for _, o := range s.Ords {
			s.touched[o>>6] |= 1 << (o & 63)
		}
	}
	switch s.Class {
	case effect.Code:
		s.noteAbsent()
		s.byCode = makeGroups(s.codes, s.Ords)
	case effect.Int:
		s.noteAbsent()
		s.narrowInts()
	case effect.Bytes:
		s.noteAbsent()
	case effect.Set:
		s.groupOps()
	}
}

// noteAbsent lists the ordinals without a value.
func (s *Settled) noteAbsent() {
	n := 0
	for i := range s.Ords {
		if !s.has(i) {
			n++
		}
	}
	if n == 0 {
		return
	}
	s.absent = make([]uint16, 0, n)
	for i, o := range s.Ords {
		if !s.has(i) {
			s.absent = append(s.absent, o)
		}
	}
}

// groupOps groups who gets an element, and who loses it.
func (s *Settled) groupOps() {
	added := make([]uint32, len(s.ops)) // the codes; schema.NoCode where the op is of the other kind
	removed := make([]uint32, len(s.ops))
	ords := make([]uint16, len(s.ops))
	from := uint32(0)
	for i, end := range s.ends {
		for k := from; k < end; k++ {
			op := s.ops[k]
			added[k], removed[k], ords[k] = op&effect.CodeMask, schema.NoCode, s.Ords[i]
			if op&effect.OpMask != effect.Add {
				added[k], removed[k] = removed[k], added[k]
			}
		}
		from = end
	}
	s.byCode, s.removed = makeGroups(added, ords), makeGroups(removed, ords)
}

// narrowInts keeps offsets from the smallest number instead of numbers where they fit.
func (s *Settled) narrowInts() {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i, v := range s.ints {
		if s.present[i] != 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		low, high = 0, 0
	}
	if uint64(high)-uint64(low) > math.MaxUint32 {
		return
	}
	s.low, s.narrow = low, make([]uint32, len(s.ints))
	for i, v := range s.ints {
		if s.present[i] != 0 {
			s.narrow[i] = uint32(uint64(v) - uint64(low))
		}
	}
	s.ints = nil
}

// number returns number i, whatever if it is absent.
func (s *Settled) number(i int) int64 {
	if s.narrow != nil {
		return s.low + int64(s.narrow[i])
	}
	return s.ints[i]
}

func (s *Settled) opsOf(i int) []uint32 {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.ops[start:s.ends[i]]
}

func (s *Settled) bytes(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.data[start:s.ends[i]:s.ends[i]]
}

// index returns the place of an ordinal, or -1.
func (s *Settled) index(ord uint16) int {
	if s.touched != nil && s.touched[ord>>6]>>(ord&63)&1 == 0 {
		return -1
	}
	if i, ok := slices.BinarySearch(s.Ords, ord); ok {
		return i
	}
	return -1
}

// Settler merges frozen lists into settled objects. It is scratch for one goroutine.
type Settler struct {
	seen  bitmap.Words
	where [bitmap.ChunkSize]uint32
}

// Settle returns the object that stands for old (may be nil) and then the frozen L0s in
// order, or nil if there is nothing; it returns old itself if the L0s add nothing.
func (st *Settler) Settle(attr schema.AttrID, class effect.Class, chunk int, old *Settled, frozen []*L0) *Settled {
	var lists []entries
	for _, l := range frozen {
		if e, ok := l.all(attr, chunk); ok {
			lists = append(lists, e)
		}
	}
	if len(lists) == 0 {
		return old
	}
	var out *Settled
	if class == effect.Set {
		out = settleSets(old, lists)
	} else {
		out = st.settleLast(class, old, lists)
	}
	out.finish()
	return out
}

// settleLast keeps the last value of each ordinal: where holds, per ordinal, the place
// of its newest entry, counting old's entries first and then each list's.
func (st *Settler) settleLast(class effect.Class, old *Settled, lists []entries) *Settled {
	if inOrder(old, lists) {
		return concatenate(class, old, lists)
	}
	st.seen = bitmap.Words{}
	at := uint32(0)
	if old != nil {
		for i, o := range old.Ords {
			st.where[o] = uint32(i)
			st.seen[o>>6] |= 1 << (o & 63)
		}
		at = uint32(len(old.Ords))
	}
	for _, e := range lists {
		for i, o := range e.ord[:e.count] {
			st.where[o] = at + uint32(i)
			st.seen[o>>6] |= 1 << (o & 63)
		}
		at += uint32(e.count)
	}
	out := &Settled{Class: class}
	out.Ords = bitmap.FromWords(&st.seen).AppendTo(make([]uint16, 0, at))
	out.allocate(len(out.Ords))
	for i, o := range out.Ords {
		w := st.where[o]
		if old != nil && w < uint32(len(old.Ords)) {
			out.take(i, old, int(w))
			continue
		}
		if old != nil {
			w -= uint32(len(old.Ords))
		}
		k := 0
		for w >= uint32(lists[k].count) {
			w -= uint32(lists[k].count)
			k++
		}
		out.takeEntry(i, lists[k], int(w))
	}
	return out
}

// inOrder reports whether each list's ordinals ascend and are above those before it: as
// new profiles have it.
func inOrder(old *Settled, lists []entries) bool {
	last := -1
	if old != nil && len(old.Ords) > 0 {
		last = int(old.Ords[len(old.Ords)-1])
	}
	for _, e := range lists {
		if e.unordered.Load() || int(e.ord[0]) <= last {
			return false
		}
		last = int(e.ord[e.count-1])
	}
	return true
}

// concatenate is settleLast of lists that are in order.
func concatenate(class effect.Class, old *Settled, lists []entries) *Settled {
	n := 0
	if old != nil {
		n = len(old.Ords)
	}
	for _, e := range lists {
		n += e.count
	}
	out := &Settled{Class: class, Ords: make([]uint16, 0, n)}
	out.allocate(n)
	if old != nil {
		out.Ords = append(out.Ords, old.Ords...)
		for k := range old.Ords {
			out.take(k, old, k)
		}
	}
	for _, e := range lists {
		at := len(out.Ords)
		out.Ords = append(out.Ords, e.ord[:e.count]...)
		if class == effect.Code {
			copy(out.codes[at:], e.code[:e.count])
			continue
		}
		for k := range e.count {
			out.takeEntry(at+k, e, k)
		}
	}
	return out
}

func (s *Settled) allocate(n int) {
	switch s.Class {
	case effect.Code:
		s.codes = make([]uint32, n)
	case effect.Int:
		s.ints, s.present = make([]int64, n), make([]uint8, n)
	case effect.Bytes:
		s.ends, s.present = make([]uint32, n), make([]uint8, n)
	}
}

func (s *Settled) take(i int, old *Settled, k int) {
	switch s.Class {
	case effect.Code:
		s.codes[i] = old.codes[k]
	case effect.Int:
		s.ints[i], s.present[i] = old.number(k), old.present[k]
	case effect.Bytes:
		s.data = append(s.data, old.bytes(k)...)
		s.ends[i], s.present[i] = uint32(len(s.data)), old.present[k]
	}
}

func (s *Settled) takeEntry(i int, e entries, k int) {
	switch s.Class {
	case effect.Code:
		s.codes[i] = e.code[k]
	case effect.Int:
		s.ints[i], s.present[i] = e.ints[k], e.present[k]
	case effect.Bytes:
		s.data = append(s.data, e.bytes(k)...)
		s.ends[i], s.present[i] = uint32(len(s.data)), e.present[k]
	}
}

// change is one profile's net change of a set while it is being worked out.
type change struct {
	reset bool
	ops   []uint32 // by code, one each
}

func (c *change) apply(op uint32) {
	if op&effect.OpMask == effect.Reset {
		c.reset, c.ops = true, c.ops[:0]
		return
	}
	code := op & effect.CodeMask
	if n := len(c.ops); n == 0 || c.ops[n-1]&effect.CodeMask < code {
		c.ops = append(c.ops, op)
		return
	}
	i, ok := slices.BinarySearchFunc(c.ops, code, func(have, want uint32) int { return int(have&effect.CodeMask) - int(want) })
	switch {
	case ok:
		c.ops[i] = op
	default:
		c.ops = slices.Insert(c.ops, i, op)
	}
}

func settleSets(old *Settled, lists []entries) *Settled {
	type ordOp struct {
		ord uint16
		op  uint32
	}
	n := 0
	if old != nil {
		n = len(old.Ords) + len(old.ops)
	}
	for _, e := range lists {
		n += e.count
	}
	all := make([]ordOp, 0, n)
	if old != nil {
		for i, o := range old.Ords {
			if old.reset[i] {
				all = append(all, ordOp{o, effect.Reset})
			}
			for _, op := range old.opsOf(i) {
				all = append(all, ordOp{o, op})
			}
		}
	}
	for _, e := range lists {
		for i := range e.count {
			all = append(all, ordOp{e.ord[i], e.code[i]})
		}
	}
	byOrd := func(a, b ordOp) int { return int(a.ord) - int(b.ord) }
	if !slices.IsSortedFunc(all, byOrd) {
		slices.SortStableFunc(all, byOrd)
	}
	n, ops := 0, 0
	for i := range all {
		if i == 0 || all[i].ord != all[i-1].ord {
			n++
		}
		if all[i].op&effect.OpMask != effect.Reset {
			ops++
		}
	}
	out := &Settled{Class: effect.Set, Ords: make([]uint16, 0, n), reset: make([]bool, 0, n), ends: make([]uint32, 0, n), ops: make([]uint32, 0, ops)}
	var c change
	for i := 0; i < len(all); {
		c.reset, c.ops = false, c.ops[:0]
		ord := all[i].ord
		for ; i < len(all) && all[i].ord == ord; i++ {
			c.apply(all[i].op)
		}
		out.Ords, out.reset = append(out.Ords, ord), append(out.reset, c.reset)
		for _, op := range c.ops {
			if c.reset && op&effect.OpMask == effect.Remove {
				continue // nothing there to remove
			}
			out.ops = append(out.ops, op)
		}
		out.ends = append(out.ends, uint32(len(out.ops)))
	}
	return out
}
