package head

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Tiers is the head as one snapshot sees it. It never changes.
type Tiers struct {
	Settled map[schema.AttrID][]*Settled // by chunk; shorter slices and nils have nothing
	Acts    map[schema.EventID]ActRuns   // settled events
	Frozen  []*L0                        // oldest first
	Active  *L0
	Cut     uint16 // the stamps of Active that are visible
}

// Attr is the head of one attribute: what a reader looks up once, not per chunk.
type Attr struct {
	settled []*Settled
	lists   [][]atomic.Pointer[list]
	cut     uint16 // of the last list, if active
	active  bool
}

// Of returns the head of one attribute.
func (t *Tiers) Of(attr schema.AttrID) Attr {
	a := Attr{settled: t.Settled[attr]}
	add := func(l *L0) bool {
		slot, ok := l.slots[attr]
		if ok {
			a.lists = append(a.lists, l.lists[slot])
		}
		return ok
	}
	for _, l := range t.Frozen {
		add(l)
	}
	if t.Active != nil && t.Cut > 0 && add(t.Active) {
		a.active, a.cut = true, t.Cut
	}
	return a
}

// Empty reports that no chunk has anything.
func (a *Attr) Empty() bool {
	for _, s := range a.settled {
		if s != nil {
			return false
		}
	}
	for i, lists := range a.lists {
		for c := range lists {
			if _, ok := a.entries(i, c); ok {
				return false
			}
		}
	}
	return true
}

func (a *Attr) entries(i, chunk int) (entries, bool) {
	if chunk >= len(a.lists[i]) {
		return entries{}, false
	}
	cut := uint16(MaxGroups)
	if a.active && i == len(a.lists)-1 {
		cut = a.cut
	}
	return view(a.lists[i][chunk].Load(), cut)
}

// Overlay is what the head says of one attribute in one chunk: a settled object and the
// entries of the L0s, oldest first. It is reused by one reader.
type Overlay struct {
	settled *Settled
	lists   []entries
}

// Load fills the overlay and reports whether the head has anything to say.
func (o *Overlay) Load(a *Attr, chunk int) bool {
	o.settled, o.lists = nil, o.lists[:0]
	if chunk < len(a.settled) {
		o.settled = a.settled[chunk]
	}
	for i := range a.lists {
		if e, ok := a.entries(i, chunk); ok {
			o.lists = append(o.lists, e)
		}
	}
	return o.settled != nil || len(o.lists) > 0
}

// Len is the number of entries, an upper bound of the ordinals touched.
func (o *Overlay) Len() int {
	n := 0
	if o.settled != nil {
		n = len(o.settled.Ords)
	}
	for _, e := range o.lists {
		n += e.count
	}
	return n
}

func set(w *bitmap.Words, o uint16)   { w[o>>6] |= 1 << (o & 63) }
func unset(w *bitmap.Words, o uint16) { w[o>>6] &^= 1 << (o & 63) }

func put(w *bitmap.Words, o uint16, in bool) {
	bit := uint64(0)
	if in {
		bit = 1
	}
	w[o>>6] = w[o>>6]&^(1<<(o&63)) | bit<<(o&63)
}

// clearTouched takes the settled ordinals out of w.
func (s *Settled) clearTouched(w *bitmap.Words) {
	if s.touched != nil {
		w.AndNot(bitmap.Set{Form: bitmap.Dense, Words: s.touched})
		return
	}
	for _, o := range s.Ords {
		unset(w, o)
	}
}

// setTouched puts the settled ordinals into w.
func (s *Settled) setTouched(w *bitmap.Words) {
	if s.touched != nil {
		w.Or(bitmap.Set{Form: bitmap.Dense, Words: s.touched})
		return
	}
	for _, o := range s.Ords {
		set(w, o)
	}
}

// patchRange is PatchRange of the settled tier: numbers are compared as a vector, and
// only those that lie in the range are looked at one by one.
func (s *Settled) patchRange(lo, hi int64, w *bitmap.Words) {
	if s.narrow == nil {
		for i, ord := range s.Ords {
			v := s.ints[i]
			put(w, ord, s.present[i] != 0 && v >= lo && v <= hi)
		}
		return
	}
	s.clearTouched(w)
	top := s.low + math.MaxUint32
	if top < s.low {
		top = math.MaxInt64
	}
	if lo, hi = max(lo, s.low), min(hi, top); lo > hi {
		return
	}
	var hits bitmap.Words
	n := (len(s.narrow) + 63) / 64
	bitmap.BetweenU32(s.narrow, uint32(uint64(lo)-uint64(s.low)), uint32(uint64(hi)-uint64(s.low)), hits[:n])
	for i, word := range hits[:n] {
		for ; word != 0; word &= word - 1 {
			set(w, s.Ords[i*64+bits.TrailingZeros64(word)])
		}
	}
	for _, ord := range s.absent { // their offset is 0, which may lie in the range
		unset(w, ord)
	}
}

// PatchRow corrects the base's profiles with a code to the head's (Code, Set).
func (o *Overlay) PatchRow(code uint32, w *bitmap.Words) {
	if s := o.settled; s != nil {
		if s.Class == effect.Code {
			s.clearTouched(w)
		} else {
			for i, ord := range s.Ords {
				if s.reset[i] {
					unset(w, ord)
				}
			}
			for _, ord := range s.removed.of(code) {
				unset(w, ord)
			}
		}
		for _, ord := range s.byCode.of(code) {
			set(w, ord)
		}
	}
	for _, e := range o.lists {
		codes := e.code[:e.count]
		ords := e.ord[:len(codes)]
		if e.class == effect.Code {
			for i, v := range codes {
				put(w, ords[i], v == code)
			}
			continue
		}
		for i, v := range codes {
			switch {
			case v == code|effect.Add:
				set(w, ords[i])
			case v == code|effect.Remove || v&effect.OpMask == effect.Reset:
				unset(w, ords[i])
			}
		}
	}
}

// TakesAway reports whether some touched profile may have no value any more (not for sets).
func (o *Overlay) TakesAway() bool {
	if o.settled != nil && len(o.settled.absent) > 0 {
		return true
	}
	for _, e := range o.lists {
		if e.absences.Load() {
			return true
		}
	}
	return false
}

// PatchExists corrects the profiles that have a value (not for sets: see Touched).
func (o *Overlay) PatchExists(w *bitmap.Words) {
	if s := o.settled; s != nil {
		s.setTouched(w)
		for _, ord := range s.absent {
			unset(w, ord)
		}
	}
	for _, e := range o.lists {
		ords := e.ord[:e.count]
		if !e.absences.Load() {
			for _, ord := range ords {
				set(w, ord)
			}
			continue
		}
		for i, ord := range ords {
			put(w, ord, e.has(i))
		}
	}
}

func (s *Settled) has(i int) bool {
	if s.Class == effect.Code {
		return s.codes[i] != schema.NoCode
	}
	return s.present[i] != 0
}

func (li *list) has(i int) bool {
	if li.class == effect.Code {
		return li.code[i] != schema.NoCode
	}
	return li.present[i] != 0
}

// PatchRange corrects the profiles whose number lies in [lo, hi] (Int).
func (o *Overlay) PatchRange(lo, hi int64, w *bitmap.Words) {
	if s := o.settled; s != nil {
		s.patchRange(lo, hi, w)
	}
	for _, e := range o.lists {
		ords := e.ord[:e.count]
		ints, present := e.ints[:len(ords)], e.present[:len(ords)]
		for i, ord := range ords {
			v := ints[i]
			put(w, ord, present[i] != 0 && v >= lo && v <= hi)
		}
	}
}

// Touched adds to w the ordinals the head says anything about.
func (o *Overlay) Touched(w *bitmap.Words) {
	if s := o.settled; s != nil {
		for _, ord := range s.Ords {
			set(w, ord)
		}
	}
	for _, e := range o.lists {
		for _, ord := range e.ord[:e.count] {
			set(w, ord)
		}
	}
}

// each calls f for every (index into ords, tier entry) where the head has something for
// one of the ascending ords, oldest first, so that the last call per index is the truth.
func (o *Overlay) each(ords []uint16, fromSettled func(i, k int), fromList func(i int, e entries, k int)) {
	if len(ords) == 0 {
		return
	}
	if len(ords) <= 4 {
		for i, ord := range ords {
			o.one(i, ord, fromSettled, fromList)
		}
		return
	}
	run := int(ords[len(ords)-1])-int(ords[0])+1 == len(ords)
	find := func(ord uint16) (int, bool) {
		if run {
			i := int(ord) - int(ords[0])
			return i, i >= 0 && i < len(ords)
		}
		return slices.BinarySearch(ords, ord)
	}
	if s := o.settled; s != nil {
		if len(ords)*16 < len(s.Ords) {
			for i, ord := range ords {
				if k := s.index(ord); k >= 0 {
					fromSettled(i, k)
				}
			}
		} else {
			for k, ord := range s.Ords {
				if i, ok := find(ord); ok {
					fromSettled(i, k)
				}
			}
		}
	}
	for _, e := range o.lists {
		for k, ord := range e.ord[:e.count] {
			if i, ok := find(ord); ok {
				fromList(i, e, k)
			}
		}
	}
}

// one is each for a single ordinal: the newest entry only.
func (o *Overlay) one(i int, ord uint16, fromSettled func(i, k int), fromList func(i int, e entries, k int)) {
	for j := len(o.lists) - 1; j >= 0; j-- {
		if k := o.lists[j].last(ord); k >= 0 {
			fromList(i, o.lists[j], k)
			return
		}
	}
	if o.settled != nil {
		if k := o.settled.index(ord); k >= 0 {
			fromSettled(i, k)
		}
	}
}

// PatchCodes corrects gathered codes.
func (o *Overlay) PatchCodes(ords []uint16, dst []uint32) {
	o.each(ords,
		func(i, k int) { dst[i] = o.settled.codes[k] },
		func(i int, e entries, k int) { dst[i] = e.code[k] })
}

// PatchInts corrects gathered numbers.
func (o *Overlay) PatchInts(ords []uint16, dst []int64, ok []bool) {
	o.each(ords,
		func(i, k int) { dst[i], ok[i] = o.settled.number(k), o.settled.present[k] != 0 },
		func(i int, e entries, k int) { dst[i], ok[i] = e.ints[k], e.present[k] != 0 })
}

// PatchBytes corrects gathered bytes; nil is absent. The bytes are never changed.
func (o *Overlay) PatchBytes(ords []uint16, dst [][]byte) {
	o.each(ords,
		func(i, k int) { dst[i] = bytesOrNil(o.settled.bytes(k), o.settled.present[k]) },
		func(i int, e entries, k int) { dst[i] = bytesOrNil(e.bytes(k), e.present[k]) })
}

func bytesOrNil(b []byte, present uint8) []byte {
	if present == 0 {
		return nil
	}
	if b == nil {
		return []byte{}
	}
	return b
}

// PatchSets calls emit for each of the ascending ords in turn with the set after the
// head's changes; base(i) returns the stored codes of ords[i], ascending. What emit gets
// is valid during the call.
func (o *Overlay) PatchSets(ords []uint16, base func(i int) []uint32, emit func(codes []uint32)) {
	type pending struct {
		i  int
		op uint32
	}
	var ops []pending
	for _, e := range o.lists {
		for k, ord := range e.ord[:e.count] {
			if i, ok := slices.BinarySearch(ords, ord); ok {
				ops = append(ops, pending{i, e.code[k]})
			}
		}
	}
	byIndex := func(a, b pending) int { return a.i - b.i }
	if !slices.IsSortedFunc(ops, byIndex) {
		slices.SortStableFunc(ops, byIndex)
	}
	var c change
	var out []uint32
	for i, ord := range ords {
		c.reset, c.ops = false, c.ops[:0]
		if s := o.settled; s != nil {
			if k := s.index(ord); k >= 0 {
				c.reset = s.reset[k]
				c.ops = append(c.ops, s.opsOf(k)...)
			}
		}
		for ; len(ops) > 0 && ops[0].i == i; ops = ops[1:] {
			c.apply(ops[0].op)
		}
		var stored []uint32
		if !c.reset {
			stored = base(i)
		}
		if len(c.ops) == 0 {
			emit(stored)
			continue
		}
		out = c.merge(stored, out[:0])
		emit(out)
	}
}

// merge appends the stored codes with the change's ops applied, ascending.
func (c *change) merge(stored, out []uint32) []uint32 {
	i := 0
	for _, op := range c.ops {
		code := op & effect.CodeMask
		for ; i < len(stored) && stored[i] < code; i++ {
			out = append(out, stored[i])
		}
		if i < len(stored) && stored[i] == code {
			i++
		}
		if op&effect.OpMask == effect.Add {
			out = append(out, code)
		}
	}
	return append(out, stored[i:]...)
}
