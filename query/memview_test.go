package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// memView is a View over plain maps of values. It hands out sets in every form that the
// contract allows, so that nothing relies on one.
type memView struct {
	schema   *schema.Schema
	profiles map[uint32]*memProfile // the living
	ords     []uint32               // of the living, ascending
	chunks   int
	dict     map[schema.AttrID][]string
	codes    map[schema.AttrID]map[string]uint32
	rows     map[memRow][]uint16
	exists   map[memRow][]uint16  // code 0
	counts   map[memRow]uint64    // chunk 0
	byText   map[memText][]uint32 // inline strings
	exact    bool
	salt     uint64 // chooses forms
	failAt   int64  // the read that fails; 0: none
	reads    atomic.Int64
	cursors  atomic.Int64 // open
	events   memEvents
}

type memProfile struct {
	key    string
	values map[schema.AttrID]schema.Value
	lists  []uint32
	events map[schema.EventID][]memAct // in any order
}

type memText struct {
	attr schema.AttrID
	text string
}

type memRow struct {
	attr  schema.AttrID
	code  uint32
	chunk int
}

// newMemView builds the view's rows from its profiles. chunks must hold all of them.
func newMemView(s *schema.Schema, profiles map[uint32]*memProfile, chunks int, exact bool, salt uint64) *memView {
	v := &memView{schema: s, profiles: profiles, chunks: chunks, exact: exact, salt: salt,
		dict: map[schema.AttrID][]string{}, codes: map[schema.AttrID]map[string]uint32{},
		rows: map[memRow][]uint16{}, exists: map[memRow][]uint16{}, counts: map[memRow]uint64{}, byText: map[memText][]uint32{}}
	for o := range profiles {
		v.ords = append(v.ords, o)
	}
	slices.Sort(v.ords)
	for _, a := range s.Attributes {
		v.codes[a.ID] = map[string]uint32{}
	}
	for _, e := range s.Events {
		for _, a := range e.Properties {
			v.codes[a.ID] = map[string]uint32{}
		}
	}
	for i := range 600 { // a dictionary keeps strings that nobody has any more
		v.codesOf(*s.ByID(aMany), schema.StringValue(fmt.Sprintf("m%03d", i*7%600)))
	}
	for _, o := range v.ords {
		v.index(o, profiles[o])
		v.indexActs(profiles[o])
	}
	return v
}

func (v *memView) index(o uint32, p *memProfile) {
	chunk, low := int(o>>bitmap.ChunkBits), uint16(o)
	has := func(attr schema.AttrID) {
		at := memRow{attr: attr, chunk: chunk}
		v.exists[at] = append(v.exists[at], low)
		v.counts[memRow{attr: attr, code: schema.NoCode}]++
	}
	row := func(attr schema.AttrID, code uint32) {
		at := memRow{attr, code, chunk}
		v.rows[at] = append(v.rows[at], low)
		v.counts[memRow{attr: attr, code: code}]++
	}
	text := func(attr schema.AttrID, s string) {
		at := memText{attr, s}
		v.byText[at] = append(v.byText[at], o)
	}
	has(schema.KeyAttr)
	text(schema.KeyAttr, p.key)
	for _, l := range p.lists {
		row(schema.ListsAttr, l)
	}
	if len(p.lists) > 0 {
		has(schema.ListsAttr)
	}
	for _, a := range v.schema.Attributes {
		val, ok := p.values[a.ID]
		if !ok || a.Kind == schema.Set && len(val.Elements()) == 0 {
			continue
		}
		has(a.ID)
		if a.Inline() {
			text(a.ID, val.Str())
		}
		for _, c := range v.codesOf(a, val) {
			row(a.ID, c)
		}
	}
}

// codesOf returns the codes of a value of a coded attribute, adding to the dictionary.
func (v *memView) codesOf(a schema.Attribute, val schema.Value) []uint32 {
	if !a.Coded() {
		return nil
	}
	if a.Kind == schema.Bool {
		return []uint32{uint32(val.Ordered())}
	}
	texts := val.Elements()
	if a.Kind == schema.String {
		texts = []string{val.Str()}
	}
	var out []uint32
	for _, s := range texts {
		c, ok := v.codes[a.ID][s]
		if !ok {
			c = uint32(len(v.dict[a.ID]))
			v.dict[a.ID] = append(v.dict[a.ID], s)
			v.codes[a.ID][s] = c
		}
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

func (v *memView) Schema() *schema.Schema { return v.schema }
func (v *memView) Chunks() int            { return v.chunks }

func (v *memView) Code(attr schema.AttrID, s string) (uint32, bool) {
	c, ok := v.codes[attr][s]
	return c, ok
}

func (v *memView) Text(attr schema.AttrID, code uint32) (string, bool) {
	if int(code) >= len(v.dict[attr]) {
		return "", false
	}
	return v.dict[attr][code], true
}

func (v *memView) Codes(attr schema.AttrID, f func(uint32, string) bool) {
	for c, s := range v.dict[attr] {
		if !f(uint32(c), s) {
			return
		}
	}
}

func (v *memView) RowCount(attr schema.AttrID, code uint32) (uint64, bool) {
	n := v.counts[memRow{attr: attr, code: code}]
	if v.exact {
		return n, true
	}
	return n*2/3 + 1, false
}

func (v *memView) ExistsCount(attr schema.AttrID) (uint64, bool) {
	return v.RowCount(attr, schema.NoCode)
}

func (v *memView) Find(ctx context.Context, attr schema.AttrID, s string) ([]uint32, error) {
	if err := v.fault(); err != nil {
		return nil, err
	}
	return v.byText[memText{attr, s}], ctx.Err()
}

// fault fails the read that the test has chosen.
func (v *memView) fault() error {
	if n := v.reads.Add(1); v.failAt != 0 && n == v.failAt {
		return Errorf(CodeCorrupt, "read %d is broken", n)
	}
	return nil
}

func (v *memView) Cursor() Cursor {
	v.cursors.Add(1)
	return &memCursor{v: v, cached: map[memRow]*bitmap.Words{}}
}

type memCursor struct {
	v      *memView
	cached map[memRow]*bitmap.Words
	bytes  uint64
	closed bool
}

// set returns a set in a form that depends on the place and the view's salt.
func (c *memCursor) set(at memRow, ords []uint16, buf *bitmap.Words) bitmap.Set {
	c.bytes += uint64(2 * len(ords))
	rnd := rand.New(rand.NewPCG(c.v.salt, uint64(at.attr)<<40|uint64(at.code)<<16|uint64(at.chunk)))
	form := rnd.IntN(4)
	switch {
	case len(ords) == 0 && form > 0:
		return bitmap.Set{}
	case len(ords) == bitmap.ChunkSize && form > 0:
		return bitmap.Set{Form: bitmap.Full}
	case form == 1 && len(ords) <= bitmap.MaxSparse && len(ords) > 0:
		return bitmap.Set{Form: bitmap.Sparse, Array: ords}
	case form == 2 && len(ords) <= bitmap.MaxSparse && len(ords) > 0:
		s := bitmap.And(bitmap.FromArray(ords), bitmap.FromArray(ords), buf) // an array in buf
		return s
	}
	to := buf
	if form == 3 { // the cache's
		to = new(bitmap.Words)
	}
	to.Clear()
	for _, o := range ords {
		to.SetBit(o)
	}
	return bitmap.Set{Form: bitmap.Dense, Words: to}
}

func (c *memCursor) Exists(attr schema.AttrID, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	at := memRow{attr: attr, chunk: chunk}
	return c.set(memRow{attr, schema.NoCode, chunk}, c.v.exists[at], buf), c.v.fault()
}

func (c *memCursor) Row(attr schema.AttrID, code uint32, chunk int, buf *bitmap.Words) (bitmap.Set, error) {
	at := memRow{attr, code, chunk}
	return c.set(at, c.v.rows[at], buf), c.v.fault()
}

func (c *memCursor) Range(attr schema.AttrID, lo, hi int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	var ords []uint16
	for _, low := range c.v.exists[memRow{attr: attr, chunk: chunk}] {
		if n := c.value(attr, chunk, low).Ordered(); (within == nil || within.Contains(low)) && lo <= n && n <= hi {
			ords = append(ords, low)
		}
	}
	if within != nil && len(ords) == within.Count() {
		return *within, c.v.fault() // the tempting shortcut: it must be allowed
	}
	return c.set(memRow{attr, uint32(lo), chunk}, ords, buf), c.v.fault()
}

// value returns the value of the profile, absent also where nobody lives.
func (c *memCursor) value(attr schema.AttrID, chunk int, low uint16) schema.Value {
	p := c.v.profiles[uint32(chunk)<<bitmap.ChunkBits|uint32(low)]
	switch {
	case p == nil:
		return schema.Value{}
	case attr == schema.KeyAttr:
		return schema.StringValue(p.key)
	}
	return p.values[attr]
}

func (c *memCursor) GatherCodes(attr schema.AttrID, chunk int, ords []uint16, dst []uint32) error {
	a := c.v.schema.ByID(attr)
	for i, o := range ords {
		dst[i] = schema.NoCode
		switch val := c.value(attr, chunk, o); {
		case val.IsAbsent():
		case a.Kind == schema.Bool:
			dst[i] = uint32(val.Ordered())
		default:
			dst[i] = c.v.codes[attr][val.Str()]
		}
	}
	return c.v.fault()
}

func (c *memCursor) GatherInts(attr schema.AttrID, chunk int, ords []uint16, dst []int64, ok []bool) error {
	for i, o := range ords {
		val := c.value(attr, chunk, o)
		dst[i], ok[i] = val.Ordered(), !val.IsAbsent()
	}
	return c.v.fault()
}

func (c *memCursor) GatherStrings(attr schema.AttrID, chunk int, ords []uint16, dst [][]byte) error {
	for i, o := range ords {
		dst[i] = nil
		if val := c.value(attr, chunk, o); !val.IsAbsent() {
			dst[i] = append([]byte{}, val.Str()...)
		}
	}
	return c.v.fault()
}

func (c *memCursor) GatherSets(attr schema.AttrID, chunk int, ords []uint16, dst *Sets) error {
	for _, o := range ords {
		p := c.v.profiles[uint32(chunk)<<bitmap.ChunkBits|uint32(o)]
		switch {
		case p == nil:
		case attr == schema.ListsAttr:
			dst.Codes = append(dst.Codes, p.lists...)
		default:
			dst.Codes = append(dst.Codes, c.v.codesOf(*c.v.schema.ByID(attr), p.values[attr])...)
		}
		dst.Ends = append(dst.Ends, uint32(len(dst.Codes)))
	}
	return c.v.fault()
}

func (c *memCursor) BytesRead() uint64 { return c.bytes }
func (c *memCursor) Release()          {}

func (c *memCursor) Close() {
	if c.closed {
		panic("a cursor is closed twice")
	}
	c.closed = true
	c.v.cursors.Add(-1)
}

// The attributes of the test schema.
const (
	aBool = schema.FirstUserAttr + iota
	aPlan
	aCity
	aMail
	aAge
	aWide
	aScore
	aMoney
	aRate
	aBorn
	aSeen
	aTags
	aMany
	aTotal
)

func memSchema() *schema.Schema {
	return schema.New(1, pEnd, []schema.Attribute{
		{ID: aBool, Name: "opt_in", Kind: schema.Bool},
		{ID: aPlan, Name: "plan", Kind: schema.String},
		{ID: aCity, Name: "Home city", Kind: schema.String},
		{ID: aMail, Name: "email", Kind: schema.String, Storage: schema.StorageInline},
		{ID: aAge, Name: "age", Kind: schema.Int},
		{ID: aWide, Name: "wide", Kind: schema.Int},
		{ID: aScore, Name: "score", Kind: schema.Float},
		{ID: aMoney, Name: "money", Kind: schema.Decimal, Scale: 2},
		{ID: aRate, Name: "rate", Kind: schema.Decimal, Scale: 4},
		{ID: aBorn, Name: "born", Kind: schema.Date},
		{ID: aSeen, Name: "seen", Kind: schema.Timestamp},
		{ID: aTags, Name: "tags", Kind: schema.Set},
		{ID: aMany, Name: "many", Kind: schema.String},
		{ID: aTotal, Name: "country", Kind: schema.String},
	}, memEventTypes()...)
}

var wideInts = []int64{0, 1, -1, 2, 3, 1 << 62, -1 << 62, 1<<63 - 1, -1 << 63, 3037000500, 1 << 32}

// memValue draws a value of an attribute.
func memValue(r *rand.Rand, a schema.Attribute) schema.Value {
	switch a.ID {
	case aBool:
		return schema.BoolValue(r.IntN(2) == 0)
	case aPlan:
		return schema.StringValue([]string{"free", "plus", "premium", "enterprise"}[r.IntN(4)])
	case aCity:
		return schema.StringValue(fmt.Sprintf("city%d", r.IntN(30)))
	case aMail:
		return schema.StringValue(fmt.Sprintf("user%d@example.%s", r.IntN(400), []string{"fi", "com"}[r.IntN(2)]))
	case aAge:
		return schema.IntValue(int64(r.IntN(90)))
	case aWide:
		return schema.IntValue(wideInts[r.IntN(len(wideInts))])
	case aScore:
		return schema.FloatValue([]float64{-1.5, 0, 0.1, 0.2, 1, 2, 1e300}[r.IntN(7)])
	case aMoney:
		return schema.DecimalValue(int64(r.IntN(2000)-1000), 2)
	case aRate:
		return schema.DecimalValue([]int64{0, 1, -2500, 12500, 1 << 62, -1 << 63}[r.IntN(6)], 4)
	case aBorn:
		return schema.DateValue(int64(r.IntN(40) - 20))
	case aSeen:
		return schema.TimestampValue(int64(r.IntN(20)-10)*msPerDay/2 + int64(r.IntN(2)))
	case aTags:
		var tags []string
		for range r.IntN(4) {
			tags = append(tags, fmt.Sprintf("t%d", r.IntN(6)))
		}
		return schema.SetValue(tags...)
	case aMany:
		return schema.StringValue(fmt.Sprintf("m%03d", r.IntN(600)))
	}
	return schema.StringValue([]string{"DE", "FI", "US", "NL"}[r.IntN(4)])
}

// randomView makes a population in stretches over several chunks and shards.
func randomView(r *rand.Rand, size int) *memView {
	s := memSchema()
	absent := map[schema.AttrID]float64{}
	for _, a := range s.Attributes {
		absent[a.ID] = []float64{0, 0, 0.02, 0.4, 0.97}[r.IntN(5)]
	}
	absent[aTotal] = 0
	profiles := map[uint32]*memProfile{}
	o := []uint32{0, 60000, bitmap.ShardSize - 70000, bitmap.ShardSize - 100}[r.IntN(4)]
	for len(profiles) < size {
		gap := []uint32{1, 3, 200, 50000}[r.IntN(4)]
		for range 1 + r.IntN(min(200, size)) {
			p := &memProfile{key: fmt.Sprintf("k%d", o*7919%1000003), values: map[schema.AttrID]schema.Value{}}
			for _, a := range s.Attributes {
				if r.Float64() >= absent[a.ID] {
					p.values[a.ID] = memValue(r, a)
				}
			}
			for l := range uint32(3) {
				if r.IntN(5) == 0 {
					p.lists = append(p.lists, l)
				}
			}
			p.events = randomActs(r)
			if r.IntN(20) > 0 { // else the ordinal is a deleted profile's
				profiles[o] = p
			}
			o += 1 + uint32(r.IntN(3))
		}
		o += gap
	}
	return newMemView(s, profiles, int(o>>bitmap.ChunkBits)+1, r.IntN(2) == 0, r.Uint64())
}

// denseView has a chunk in which everybody lives, and some profiles behind it, all like
// one of a few.
func denseView(r *rand.Rand) *memView {
	small := randomView(r, 90)
	for _, o := range small.ords[2:] { // some 1,500 have events, which is enough to be slow
		small.profiles[o].events = nil
	}
	profiles := map[uint32]*memProfile{}
	o := uint32(bitmap.ChunkSize)
	for o < 2*bitmap.ChunkSize+500 {
		p := small.profiles[small.ords[r.IntN(len(small.ords))]]
		for range 1 + r.IntN(300) {
			profiles[o] = p
			o++
		}
	}
	return newMemView(small.schema, profiles, 4, small.exact, r.Uint64())
}
