package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// This file draws the people of the oracle test: a random schema, and for every
// attribute a table of values and, per chunk, one of several layouts, so that the
// stored sets take every form.

// drawn is a seeded source of choices.
type drawn struct{ *rand.Rand }

func (d drawn) of(choices ...string) string { return choices[d.IntN(len(choices))] }
func (d drawn) chance(p float64) bool       { return d.Float64() < p }

// fact is one attribute of everybody: profile i has values[ids[i]]. values[0] is what
// an absent value is: the zero Value.
type fact struct {
	schema.Attribute
	ref    string // how expressions name it
	values []schema.Value
	ids    []uint32
}

func (f *fact) value(i int) schema.Value { return f.values[f.ids[i]] }

// people are n profiles; profile i has the ordinal first + i.
type people struct {
	drawn
	first  int
	n      int
	keys   []string
	dead   []bool // in the end
	gone   []int  // the dead that are deleted before the base is made
	early  []bool // the same, by profile
	late   []int  // those deleted when nothing is written any more
	reborn int    // the last so many profiles have the keys of such
	facts  []*fact
	lists  []*fact // bools, never absent
	schema *schema.Schema
	texts  []string // what strings are made of
	calm   int      // the chunk in which nobody dies, so that sets can be full
	living int
}

func (p *people) chunks() int       { return (p.first+p.n-1)>>bitmap.ChunkBits + 1 }
func (p *people) firstChunk() int   { return p.first >> bitmap.ChunkBits }
func (p *people) chunkOf(i int) int { return (p.first + i) >> bitmap.ChunkBits }

// span returns the profiles of a chunk.
func (p *people) span(chunk int) (from, to int) {
	return max(0, chunk<<bitmap.ChunkBits-p.first), min(p.n, (chunk+1)<<bitmap.ChunkBits-p.first)
}

// attributes are all kinds twice or more. The second of a kind has a name that only
// p["..."] can spell, sometimes.
func (p *people) attributes() []schema.Attribute {
	scale := func(of ...uint8) uint8 { return of[p.IntN(len(of))] }
	return []schema.Attribute{
		{Name: "opt_in", Kind: schema.Bool}, {Name: "is VIP?", Kind: schema.Bool},
		{Name: "age", Kind: schema.Int}, {Name: "visits", Kind: schema.Int}, {Name: "in", Kind: schema.Int},
		{Name: "score", Kind: schema.Float}, {Name: "risk-score", Kind: schema.Float},
		{Name: "ltv", Kind: schema.Decimal, Scale: scale(1, 2)}, {Name: "Order total", Kind: schema.Decimal, Scale: scale(0, 3, 4)},
		{Name: "rate", Kind: schema.Decimal, Scale: scale(6, 9, 18)},
		{Name: "country", Kind: schema.String}, {Name: "plan", Kind: schema.String}, {Name: "ville préférée", Kind: schema.String},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline}, {Name: "note", Kind: schema.String, Storage: schema.StorageInline},
		{Name: "born", Kind: schema.Date}, {Name: "expires", Kind: schema.Date},
		{Name: "signup", Kind: schema.Timestamp}, {Name: "last seen", Kind: schema.Timestamp},
		{Name: "interests", Kind: schema.Set}, {Name: "tags \"x\"", Kind: schema.Set},
	}
}

// drawPeople draws n profiles from a seed; profile 0 gets the ordinal first.
func drawPeople(seed uint64, first, n int) *people {
	p := &people{drawn: drawn{rand.New(rand.NewPCG(seed, 1))}, first: first, n: n}
	p.calm = p.firstChunk() + 1
	p.texts = []string{"", "a", "IT", "FI", "DE", "it", "Zoë", "Ω", "New York", "%_\\", "line\nbreak", "😀", "IT-Roma"}
	attrs := p.attributes()
	p.Shuffle(len(attrs), func(i, j int) { attrs[i], attrs[j] = attrs[j], attrs[i] })
	for i := range attrs {
		attrs[i].ID = schema.FirstUserAttr + schema.AttrID(i)
		p.facts = append(p.facts, p.fact(attrs[i]))
	}
	p.schema = schema.New(uint64(len(attrs)), schema.FirstUserAttr+schema.AttrID(len(attrs)), attrs)
	for _, name := range []string{"staff", "press list", "calm"} {
		l := &fact{Attribute: schema.Attribute{Name: name, Kind: schema.Bool}, values: []schema.Value{schema.BoolValue(false), schema.BoolValue(true)}, ids: make([]uint32, n)}
		for c := p.firstChunk(); c < p.chunks(); c++ {
			p.lay(l, c, []float64{0, 0.01, 0.4}[p.IntN(3)])
		}
		p.lists = append(p.lists, l)
	}
	from, to := p.span(p.calm)
	for i := from; i < to; i++ {
		p.lists[2].ids[i] = 1
	}
	p.drawDeaths()
	return p
}

// drawDeaths lets some profiles die, none in the calm chunk. The late ones are past it
// only, so that what was written before has chunks without their traces.
func (p *people) drawDeaths() {
	p.reborn = 50
	p.dead, p.early, p.keys, p.living = make([]bool, p.n), make([]bool, p.n), make([]string, p.n), p.n
	for i := range p.n - p.reborn {
		c := p.chunkOf(i)
		switch {
		case c == p.calm:
		case p.chance(0.01) || i < 40 || i > p.n-500 && i < p.n-400:
			p.gone, p.early[i] = append(p.gone, i), true
		case c > p.calm && p.chance(0.01):
			p.late = append(p.late, i)
		}
	}
	for i := range p.keys {
		p.keys[i] = fmt.Sprintf("k%d", i)
	}
	for i := range p.reborn {
		p.keys[p.n-p.reborn+i] = p.keys[p.gone[i]]
	}
	for _, gone := range [][]int{p.gone, p.late} {
		for _, i := range gone {
			p.dead[i] = true
			p.living--
		}
	}
}

// fact draws the table of values of an attribute and who has which.
func (p *people) fact(a schema.Attribute) *fact {
	f := &fact{Attribute: a, ref: a.Name, ids: make([]uint32, p.n), values: []schema.Value{{}}}
	if strings.ContainsAny(a.Name, ` ?-é"`) || a.Name == "in" {
		f.ref = fmt.Sprintf("p[%q]", a.Name)
	}
	distinct := []int{2, 3, 8, 40, 300, 20000}[p.IntN(6)]
	if a.Name == "email" {
		distinct = p.n
	}
	seen := map[string]bool{}
	for k := range distinct {
		v := p.draw(&a, k)
		if s := fmt.Sprint(v.Ordered(), v.Str(), v.Elements()); !seen[s] {
			seen[s] = true
			f.values = append(f.values, v)
		}
	}
	missing := []float64{0, 0.02, 0.3, 0.9}[p.IntN(4)]
	for c := p.firstChunk(); c < p.chunks(); c++ {
		p.lay(f, c, missing)
	}
	return f
}

// lay gives the profiles of a chunk their values, in one of several layouts. missing is
// the share that has none (of a list: that is in it).
func (p *people) lay(f *fact, chunk int, missing float64) {
	from, to := p.span(chunk)
	distinct := uint32(len(f.values) - 1)
	one := 1 + p.Uint32N(distinct)
	some := func() uint32 { // small ones are frequent
		if p.chance(missing) {
			return 0
		}
		return 1 + uint32(float64(distinct)*math.Pow(p.Float64(), 3))
	}
	layout := p.IntN(7)
	if chunk == p.calm && p.chance(0.5) {
		layout = 2
	}
	run, left := uint32(0), 0
	for i := from; i < to; i++ {
		switch layout {
		default: // scattered
			f.ids[i] = some()
		case 1: // long runs
			if left == 0 {
				run, left = some(), 1+int(math.Exp(p.Float64()*9))
			}
			f.ids[i], left = run, left-1
		case 2: // all the same
			f.ids[i] = one
		case 3: // nearly all the same
			if f.ids[i] = one; p.chance(0.002) {
				f.ids[i] = some()
			}
		case 4: // hardly anybody has one
			if p.chance(0.003) {
				f.ids[i] = some()
			}
		case 5: // near-unique: one after the other
			f.ids[i] = 1 + uint32(i)%distinct
		case 6: // nobody has one
			f.ids[i] = 0
		}
	}
}

// draw returns the k-th value of a table: extremes and neighbours first, then random ones.
func (p *people) draw(a *schema.Attribute, k int) schema.Value {
	edges := []int64{0, 1, -1, 100, math.MaxInt64, math.MinInt64, 99, 101, 9007199254740993, math.MaxInt64 - 1}
	n := p.Int64N(1000) - 200
	if k < len(edges) && p.chance(0.5) {
		n = edges[k]
	} else if p.chance(0.1) {
		n = int64(p.Uint64())
	} else if k > 300 {
		n = int64(k) * 7
	}
	switch a.Kind {
	case schema.Bool:
		return schema.BoolValue(k%2 == 0)
	case schema.Int:
		return schema.IntValue(n)
	case schema.Float:
		floats := []float64{0, 1, -1, 30.5, 0.1, 0.30000000000000004, math.MaxFloat64, -math.MaxFloat64, 5e-324, 1e30, 9007199254740992, 0.5}
		if k < len(floats) && p.chance(0.7) {
			return schema.FloatValue(floats[k])
		}
		return schema.FloatValue(float64(n) / 8)
	case schema.Decimal:
		return schema.DecimalValue(n, a.Scale)
	case schema.String:
		return schema.StringValue(p.text(k))
	case schema.Date:
		at := []int64{schema.MinDate, schema.MaxDate, 0, oracleDay, oracleDay - 1, oracleDay + 1, 19782 /* 2024-02-29 */}[p.IntN(7)] + p.near(k, 1)
		return schema.DateValue(min(max(at, schema.MinDate), schema.MaxDate))
	case schema.Timestamp:
		return schema.TimestampValue(p.instant(k))
	}
	var elems []string
	for range p.IntN(5) {
		elems = append(elems, p.text(p.IntN(20)))
	}
	return schema.SetValue(elems...)
}

// near returns an offset, 0 for the first values of a table.
func (p *people) near(k int, unit int64) int64 {
	if k < 6 {
		return 0
	}
	return unit * (p.Int64N(int64(k)) - int64(k)/2)
}

// instant returns milliseconds: around now and its midnights, and the ends of time.
func (p *people) instant(k int) int64 {
	at := []int64{schema.MinTimestamp, schema.MaxTimestamp, 0, oracleNow, oracleNow - 14*86400000, oracleNow + 3600000, 1711846800000 /* Rome's clocks */}[p.IntN(7)]
	at += p.near(k, []int64{1, 1000, 3600000, 86400000}[p.IntN(4)])
	return min(max(at, schema.MinTimestamp), schema.MaxTimestamp)
}

func (p *people) text(k int) string {
	if k < len(p.texts) {
		return p.texts[k]
	}
	if k > 300 {
		return fmt.Sprintf("user%d@example.%s", k, p.texts[2+k%3])
	}
	return fmt.Sprintf("%s-%d", p.texts[p.IntN(len(p.texts))], p.IntN(30))
}
