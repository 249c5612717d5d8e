// Package view reads one state of a store: the base's units, corrected by the head. It
// implements query.View and query.Cursor.
package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/dict"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// LiveAttr is the attribute of the engine that tells who lives: class code, code
// [Live] or absent. Keys of the dead stay in the key column: ordinals are never reused.
const (
	LiveAttr schema.AttrID = 2
	Live     uint32        = 0
)

// State is what a view reads. It never changes once made.
type State struct {
	Schema   *schema.Schema
	End      uint32                             // the first ordinal not assigned
	Units    map[schema.AttrID][]*base.Unit     // by shard; nil where there is none
	Acts     map[schema.EventID][]*base.ActUnit // by shard; nil where there is none
	Received int64                              // time of the last record, in ms UTC
	Tiers    head.Tiers
	Dicts    map[schema.AttrID]*dict.Dict
	Indexes  map[schema.AttrID]*Index
	Seed     uint64 // of the hashes in the indexes
	Past     *Past  // what attributes with history are read as; nil: as they are
	Lent     *Lent  // what analyses lend to those who read it; nil: nothing
	Rows     *Rows  // who there is; nil: everybody

	Memory *base.Cache // the budget that questions take memory from; nil: it is not counted
}

// Index finds the ordinals of a string: keys and inline attributes have one.
type Index struct {
	Static     *keytable.Static
	Folded     uint64          // position up to which Static is complete
	Entries    int             // about how many there are in Static
	Generation uint64          // of Static's rows; 0: there are none
	Frozen     *keytable.Delta // being merged; may be nil
	Delta      *keytable.Delta
}

// Candidates appends the ordinals that may have the string with a hash.
func (x *Index) Candidates(hash uint64, dst []uint32) ([]uint32, error) {
	var buf [4]keytable.Candidate
	found, err := x.candidatesOf([]uint64{hash}, buf[:0])
	for _, c := range found {
		dst = append(dst, c.Ordinal)
	}
	return dst, err
}

// IndexDamaged gives an error of an attribute's index its code.
func IndexDamaged(attr schema.AttrID, err error) error {
	return kv.Damaged(fmt.Sprintf("index of attribute %d", attr), err, keytable.ErrCorrupt, keytable.ErrNewerFormat)
}

// Indexed reports whether an attribute has a value index: inline strings, and unique numbers.
func Indexed(a *schema.Attribute) bool { return a.Inline() || a.Unique && a.Kind.Ordered() }

// IndexBytes is the form in which a value stands in an index.
func IndexBytes(v schema.Value) []byte {
	if v.Kind() == schema.String {
		return []byte(v.Str())
	}
	return numberBytes(v.Ordered())
}

func numberBytes(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// Hash is the keyed hash of the indexes.
func Hash(seed uint64, b []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.Write(b)
	return d.Sum64()
}

// View is a state with the methods of query.View.
type View struct {
	S      *State
	Memory *base.Quota // of the question; nil: each cursor has one of its own
}

// Schema returns the schema.
func (v View) Schema() *schema.Schema { return v.S.Schema }

// Chunks returns how many chunks hold assigned ordinals.
func (v View) Chunks() int { return (int(v.S.End) + bitmap.ChunkSize - 1) / bitmap.ChunkSize }

// Code returns the dictionary code of a string.
func (v View) Code(attr schema.AttrID, s string) (uint32, bool) {
	if l := v.S.Lent.of(attr); l != nil {
		i := slices.Index(l.Texts, s)
		return uint32(i), i >= 0
	}
	d := v.S.Dicts[attr]
	if d == nil {
		return 0, false
	}
	return d.Code(s)
}

// Text returns the string of a dictionary code.
func (v View) Text(attr schema.AttrID, code uint32) (string, bool) {
	if l := v.S.Lent.of(attr); l != nil && int(code) < len(l.Texts) {
		return l.Texts[code], true
	}
	d := v.S.Dicts[attr]
	if d == nil || int(code) >= d.Len() {
		return "", false
	}
	return d.String(code), true
}

// Codes lists a dictionary.
func (v View) Codes(attr schema.AttrID, f func(code uint32, s string) bool) {
	var all []string
	if l := v.S.Lent.of(attr); l != nil {
		all = l.Texts
	} else if d := v.S.Dicts[attr]; d != nil {
		all = d.Strings()
	}
	for c, s := range all {
		if !f(uint32(c), s) {
			return
		}
	}
}

func (v View) rowCount(attr schema.AttrID, code uint32) (n uint64, exact bool) {
	if l := v.S.Lent.of(attr); l != nil {
		return l.Count(lentCode(code)), true
	}
	for _, u := range v.S.Units[attr] {
		if u != nil {
			n += uint64(u.Card(code))
		}
	}
	h := v.S.Tiers.Of(attr)
	return n, h.Empty() && v.S.Past.of(attr) == nil
}

func (v View) existsCount(attr schema.AttrID) (n uint64, exact bool) {
	if attr == schema.KeyAttr {
		attr = LiveAttr
	}
	if l := v.S.Lent.of(attr); l != nil {
		return l.People(), true
	}
	for _, u := range v.S.Units[attr] {
		if u != nil {
			n += uint64(u.Present)
		}
	}
	h := v.S.Tiers.Of(attr)
	return n, h.Empty() && v.S.Past.of(attr) == nil
}

// Find returns the living profiles whose inline attribute (or key) equals s.
func (v View) Find(ctx context.Context, attr schema.AttrID, s string) ([]uint32, error) {
	c := v.newCursor()
	defer c.Close()
	return c.Find(ctx, attr, []byte(s))
}

// Cursor opens a reader for one goroutine.
func (v View) Cursor() query.Cursor { return v.Counted("the question") }

// Counted is Cursor with the concrete type; what names the work in errors.
func (v View) Counted(what string) *Cursor {
	c := v.newCursor()
	memory := v.Memory
	if memory == nil {
		memory = v.S.Memory.Question(0)
	}
	c.scratch.Loan = memory.Lend(what)
	return c
}

// NewCursor opens a reader for the engine's own work, which must not be refused because
// others have the memory: what it reads in is not counted.
func (v View) NewCursor() *Cursor { return v.newCursor() }

func (v View) newCursor() *Cursor {
	return &Cursor{s: v.S, attrs: make(map[schema.AttrID]*attrCursor, 8)}
}

// Cursor reads a state. It belongs to one goroutine.
type Cursor struct {
	s       *State
	attrs   map[schema.AttrID]*attrCursor
	last    schema.AttrID // of current
	current *attrCursor
	overlay head.Overlay
	scratch base.Scratch
	ords    []uint16
	cands   []uint32
	bytes   uint64
	reads   query.EventReads
	acts    *actReader
	texts   int64 // on loan for the texts of a block of events
	lookup  lookup
}

// attrCursor is what is looked up once per attribute.
type attrCursor struct {
	units  []*base.Unit
	head   head.Attr
	past   *pastAttr // nil: the attribute is read as it is
	last   *then     // of past, in chunk
	chunk  int
	pinned int64 // bytes of last on loan
}

var (
	_ query.Cursor       = (*Cursor)(nil)
	_ query.MemoryCursor = (*Cursor)(nil)
)

// Reset makes the cursor read another state: the writer's, after each append.
func (c *Cursor) Reset(s *State) {
	c.s, c.current = s, nil
	for k := range c.attrs {
		delete(c.attrs, k)
	}
}

func (c *Cursor) attr(id schema.AttrID) *attrCursor {
	if c.current != nil && c.last == id {
		return c.current
	}
	a := c.attrs[id]
	if a == nil {
		a = &attrCursor{units: c.s.Units[id], head: c.s.Tiers.Of(id), past: c.s.Past.of(id)}
		c.attrs[id] = a
	}
	c.last, c.current = id, a
	return a
}

// load makes the overlay that of an attribute and chunk, as far as some ordinals (nil: all)
// are concerned, and reports whether it says anything.
func (c *Cursor) load(a *attrCursor, chunk int, ords []uint16) (bool, error) {
	if a.past != nil {
		values, err := c.then(a, chunk, ords)
		if err != nil || values != nil {
			c.overlay.Replace(values)
			return values != nil, err
		}
	}
	return c.overlay.Load(&a.head, chunk), nil
}

// unit returns the base of a chunk, nil if there is none.
func (a *attrCursor) unit(chunk int) *base.Unit {
	if s := chunk / bitmap.ShardChunks; s < len(a.units) {
		return a.units[s]
	}
	return nil
}

const chunkMask = bitmap.ShardChunks - 1

// corrected returns a base set with the overlay, which is loaded, applied by patch.
func corrected(set bitmap.Set, buf *bitmap.Words, patch func(w *bitmap.Words)) bitmap.Set {
	if w := set.ToWords(buf); w != buf {
		*buf = *w
	}
	patch(buf)
	return bitmap.Set{Form: bitmap.Dense, Words: buf}
}

func (c *Cursor) row(attr schema.AttrID, code uint32, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	if attr >= schema.FirstLent {
		return c.lentBetween(attr, lentCode(code), lentCode(code), chunk, buf)
	}
	a := c.attr(attr)
	var set bitmap.Set
	if u := a.unit(chunk); u != nil {
		f, err := u.Row(code)
		if err != nil {
			return set, err
		}
		if f != nil {
			set = f.Chunk(chunk & chunkMask)
			c.count(set)
		}
	}
	if says, err := c.load(a, chunk, nil); err != nil || !says {
		return set, err
	}
	return corrected(set, buf, func(w *bitmap.Words) { c.overlay.PatchRow(code, w) }), nil
}

func (c *Cursor) count(s bitmap.Set) {
	switch s.Form {
	case bitmap.Dense:
		c.bytes += 8192
	case bitmap.Sparse:
		c.bytes += uint64(2 * len(s.Array))
	}
}

func (c *Cursor) exists(attr schema.AttrID, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	if attr == schema.KeyAttr {
		attr = LiveAttr
	}
	if attr >= schema.FirstLent {
		return c.lentBetween(attr, 1, query.MaxLent, chunk, buf)
	}
	a := c.attr(attr)
	var set bitmap.Set
	if u := a.unit(chunk); u != nil {
		f, err := u.Exists()
		if err != nil {
			return set, err
		}
		if f != nil {
			set = f.Chunk(chunk & chunkMask)
			c.count(set)
		}
	}
	if says, err := c.load(a, chunk, nil); err != nil || !says {
		return set, err
	}
	if isSet(c.s.Schema, attr) {
		return c.existingSets(attr, set, chunk, buf)
	}
	if set.Form == bitmap.Full && !c.overlay.TakesAway() {
		return set, nil
	}
	return corrected(set, buf, c.overlay.PatchExists), nil
}

func isSet(s *schema.Schema, attr schema.AttrID) bool {
	if attr == schema.ListsAttr {
		return true
	}
	a := s.ByID(attr)
	return a != nil && a.Kind == schema.Set
}

// existingSets works out which touched sets are not empty.
func (c *Cursor) existingSets(attr schema.AttrID, set bitmap.Set, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	var touched bitmap.Words
	c.overlay.Touched(&touched)
	ords := bitmap.FromWords(&touched).AppendTo(nil)
	var sets query.Sets
	if err := c.GatherSets(attr, chunk, ords, &sets); err != nil {
		return set, err
	}
	return corrected(set, buf, func(w *bitmap.Words) {
		from := uint32(0)
		for i, o := range ords {
			if sets.Ends[i] > from {
				w.SetBit(o)
			} else {
				w.ClearBit(o)
			}
			from = sets.Ends[i]
		}
	}), nil
}

// probeBelow is the number of candidates in a chunk below which looking at each of them
// costs less than scanning the column: measured with vector kernels, see index/DESIGN.md.
const probeBelow = 1000

func (c *Cursor) between(attr schema.AttrID, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	if attr >= schema.FirstLent {
		return c.lentRange(attr, lo, hi, chunk, within, buf)
	}
	a := c.attr(attr)
	u := a.unit(chunk)
	patched, err := c.load(a, chunk, nil)
	if err != nil {
		return bitmap.Set{}, err
	}
	if within != nil && !patched {
		if n := within.Count(); n == 0 || u == nil {
			return bitmap.Set{}, nil
		} else if n < probeBelow {
			return c.probe(u, lo, hi, chunk, within, buf)
		}
	}
	if u == nil && !patched {
		return bitmap.Set{}, nil
	}
	if u == nil {
		buf.Clear()
	} else if err := u.Range(&c.scratch, lo, hi, chunk&chunkMask, buf); err != nil {
		return bitmap.Set{}, err
	}
	if patched {
		c.overlay.PatchRange(lo, hi, buf)
	}
	if within != nil {
		buf.And(*within)
	}
	return bitmap.Set{Form: bitmap.Dense, Words: buf}, nil
}

func (c *Cursor) probe(u *base.Unit, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	ords := within.Array
	if within.Form != bitmap.Sparse {
		c.ords = within.AppendTo(c.ords[:0])
		ords = c.ords
	}
	hits, err := u.RangeProbe(&c.scratch, lo, hi, chunk&chunkMask, ords)
	if err != nil || len(hits) == 0 {
		return bitmap.Set{}, err
	}
	out := (*[4 * bitmap.WordsPerSet]uint16)(bitmapMemory(buf))[:copy((*[4 * bitmap.WordsPerSet]uint16)(bitmapMemory(buf))[:], hits)]
	return bitmap.Set{Form: bitmap.Sparse, Array: out}, nil
}

// GatherCodes gathers codes.
func (c *Cursor) GatherCodes(attr schema.AttrID, chunk int, ords []uint16, dst []uint32) error {
	if attr >= schema.FirstLent {
		return c.lentCodes(attr, chunk, ords, dst)
	}
	a := c.attr(attr)
	if u := a.unit(chunk); u != nil {
		if err := u.GatherCodes(&c.scratch, chunk&chunkMask, ords, dst); err != nil {
			return err
		}
	} else {
		for i := range ords {
			dst[i] = schema.NoCode
		}
	}
	says, err := c.load(a, chunk, ords)
	if says {
		c.overlay.PatchCodes(ords, dst)
	}
	return err
}

// GatherInts gathers numbers.
func (c *Cursor) GatherInts(attr schema.AttrID, chunk int, ords []uint16, dst []int64, ok []bool) error {
	if attr >= schema.FirstLent {
		return c.lentInts(attr, chunk, ords, dst, ok)
	}
	a := c.attr(attr)
	if u := a.unit(chunk); u != nil {
		if err := u.GatherInts(&c.scratch, chunk&chunkMask, ords, dst, ok); err != nil {
			return err
		}
	} else {
		clear(ok[:len(ords)])
	}
	says, err := c.load(a, chunk, ords)
	if says {
		c.overlay.PatchInts(ords, dst, ok)
	}
	return err
}

// GatherStrings gathers inline strings and keys.
func (c *Cursor) GatherStrings(attr schema.AttrID, chunk int, ords []uint16, dst [][]byte) error {
	a := c.attr(attr)
	if u := a.unit(chunk); u != nil {
		if err := u.GatherBytes(&c.scratch, chunk&chunkMask, ords, dst); err != nil {
			return err
		}
	} else {
		clear(dst[:len(ords)])
	}
	says, err := c.load(a, chunk, ords)
	if says {
		c.overlay.PatchBytes(ords, dst)
	}
	return err
}

// GatherSets gathers sets.
func (c *Cursor) GatherSets(attr schema.AttrID, chunk int, ords []uint16, dst *query.Sets) error {
	a := c.attr(attr)
	var stored query.Sets // of the base, by index into ords
	if u := a.unit(chunk); u != nil {
		err := u.GatherSets(&c.scratch, chunk&chunkMask, ords, func(i int, codes []uint32) {
			for len(stored.Ends) < i {
				stored.Ends = append(stored.Ends, uint32(len(stored.Codes)))
			}
			stored.Codes = append(stored.Codes, codes...)
			stored.Ends = append(stored.Ends, uint32(len(stored.Codes)))
		})
		if err != nil {
			return err
		}
	}
	for len(stored.Ends) < len(ords) {
		stored.Ends = append(stored.Ends, uint32(len(stored.Codes)))
	}
	base := func(i int) []uint32 {
		from := uint32(0)
		if i > 0 {
			from = stored.Ends[i-1]
		}
		return stored.Codes[from:stored.Ends[i]]
	}
	emit := func(codes []uint32) {
		dst.Codes = append(dst.Codes, codes...)
		dst.Ends = append(dst.Ends, uint32(len(dst.Codes)))
	}
	if says, err := c.load(a, chunk, ords); err != nil {
		return err
	} else if says {
		c.overlay.PatchSets(ords, base, emit)
		return nil
	}
	for i := range ords {
		emit(base(i))
	}
	return nil
}

// Find returns the living profiles whose inline attribute (or key) equals s, ascending.
func (c *Cursor) Find(ctx context.Context, attr schema.AttrID, s []byte) ([]uint32, error) {
	x := c.s.Indexes[attr]
	if x == nil {
		return nil, query.Errorf(query.CodeInternal, "attribute %d has no value index", attr)
	}
	var err error
	if c.cands, err = x.Candidates(Hash(c.s.Seed, s), c.cands[:0]); err != nil {
		return nil, IndexDamaged(attr, err)
	}
	if err := c.findThen(ctx, attr, s); err != nil {
		return nil, err
	}
	slices.Sort(c.cands) // a value that many have may stand in each table
	c.cands = slices.Compact(c.cands)
	var out []uint32
	for i, ord := range c.cands {
		if i%findBatch == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if ok, err := c.Holds(attr, ord, s); err != nil {
			return nil, err
		} else if ok {
			out = append(out, ord)
		}
	}
	return out, ctx.Err()
}

// findBatch is after how many candidates Find looks at its context: each costs about a microsecond.
const findBatch = 1024

// Holds reports whether a profile lives, among the rows, and has the value s of an inline attribute (or key).
func (c *Cursor) Holds(attr schema.AttrID, ord uint32, s []byte) (bool, error) {
	if ord >= c.s.End || !c.s.Rows.has(ord) {
		return false, nil
	}
	chunk, one := int(ord>>bitmap.ChunkBits), [1]uint16{uint16(ord)}
	if a := c.s.Schema.ByID(attr); a != nil && !a.Inline() {
		var n [1]int64
		var ok [1]bool
		if err := c.GatherInts(attr, chunk, one[:], n[:], ok[:]); err != nil || !ok[0] || !bytes.Equal(s, numberBytes(n[0])) {
			return false, err
		}
	} else {
		var val [1][]byte
		if err := c.GatherStrings(attr, chunk, one[:], val[:]); err != nil || val[0] == nil || !bytes.Equal(val[0], s) {
			return false, err
		}
	}
	var code [1]uint32
	err := c.GatherCodes(LiveAttr, chunk, one[:], code[:])
	return code[0] == Live, err
}

// BytesRead is the total of bytes looked at.
func (c *Cursor) BytesRead() uint64 { return c.bytes + c.scratch.Bytes }

// Take takes memory from the store's budget; see [query.MemoryCursor].
func (c *Cursor) Take(bytes int64) error { return c.scratch.Loan.Take(bytes) }

// Release gives back what the cursor holds: the collector frees the cache's objects.
func (c *Cursor) Release() { c.scratch.Forget() }

// Close ends the cursor.
func (c *Cursor) Close() {
	c.scratch.Loan.Close()
	if r := c.acts; r != nil {
		c.acts = nil
		r.forget()
		actReaders.Put(r)
	}
}
