package query

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// memAct is one event of a profile of a memView.
type memAct struct {
	time   int64
	values map[schema.AttrID]schema.Value
}

// The event types of the test schema, and their properties.
const (
	eBuy schema.EventID = 200 + iota
	eView
	eOpen
)

const (
	pAmount = aTotal + 1 + iota
	pQty
	pPrice
	pItem
	pNote
	pLabels
	pGift
	pDue
	pPaid
	pRate
	pCategory
	pPlace
	pEnd
)

func memEventTypes() []schema.Event {
	return []schema.Event{
		{ID: eBuy, Name: "buy", Properties: []schema.Attribute{
			{ID: pAmount, Name: "amount", Kind: schema.Decimal, Scale: 2},
			{ID: pQty, Name: "qty", Kind: schema.Int},
			{ID: pPrice, Name: "price", Kind: schema.Float},
			{ID: pItem, Name: "item", Kind: schema.String},
			{ID: pNote, Name: "my note", Kind: schema.String, Storage: schema.StorageInline},
			{ID: pLabels, Name: "labels", Kind: schema.Set},
			{ID: pGift, Name: "gift", Kind: schema.Bool},
			{ID: pDue, Name: "due", Kind: schema.Date},
			{ID: pPaid, Name: "paid", Kind: schema.Timestamp},
			{ID: pRate, Name: "rate", Kind: schema.Decimal, Scale: 4},
		}},
		{ID: eView, Name: "View Item", Properties: []schema.Attribute{
			{ID: pCategory, Name: "category", Kind: schema.String},
			{ID: pPlace, Name: "place", Kind: schema.Int},
		}},
		{ID: eOpen, Name: "app_open"},
	}
}

// memProperty draws a value of a property.
func memProperty(r *rand.Rand, id schema.AttrID) schema.Value {
	switch id {
	case pAmount:
		return schema.DecimalValue(pick(r, []int64{0, 1, -250, 999, 100000, math.MaxInt64, math.MinInt64}, 5), 2)
	case pQty:
		return schema.IntValue(pick(r, wideInts, 5))
	case pPrice:
		return schema.FloatValue(pick(r, []float64{0.1, 0.2, 0.3, -0.3, 0, 1e300, math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.Inf(-1)}, 5))
	case pItem:
		return schema.StringValue(fmt.Sprintf("i%d", r.IntN(4)))
	case pNote:
		return schema.StringValue([]string{"", "a note", "another", "x"}[r.IntN(4)])
	case pLabels:
		var labels []string
		for range r.IntN(3) {
			labels = append(labels, fmt.Sprintf("l%d", r.IntN(3)))
		}
		return schema.SetValue(labels...)
	case pGift:
		return schema.BoolValue(r.IntN(2) == 0)
	case pDue:
		return schema.DateValue(int64(r.IntN(9) - 4))
	case pPaid:
		return schema.TimestampValue(memTime(r))
	case pRate:
		return schema.DecimalValue(int64(r.IntN(7)-3), 4)
	case pCategory:
		return schema.StringValue(fmt.Sprintf("c%d", min(r.IntN(300), r.IntN(300), r.IntN(300))/2))
	}
	return schema.IntValue(int64(r.IntN(5)))
}

// pick draws one of some values, those beyond the first few rarely.
func pick[T any](r *rand.Rand, of []T, few int) T {
	if i := r.IntN(80); i < len(of) {
		return of[i]
	}
	return of[r.IntN(few)]
}

// memNow is when the tests ask.
const memNow = 3*msPerDay + 7

// memTime draws a time: on and beside midnights and full hours, many of them equal, some
// behind memNow, some when clocks change.
func memTime(r *rand.Rand) int64 {
	switch r.IntN(20) {
	case 0: // 2025-03-30 and 2025-10-26 at 01:00 UTC, when clocks in Rome change
		return []int64{1743296400000, 1761440400000}[r.IntN(2)] + int64(r.IntN(3)-1)
	case 1:
		return memNow + int64(r.IntN(3)-1)
	}
	return int64(r.IntN(17)-8)*msPerDay/2 + []int64{0, 0, 1, -1, 3600000, 7200001}[r.IntN(6)]
}

func randomActs(r *rand.Rand) map[schema.EventID][]memAct {
	out := map[schema.EventID][]memAct{}
	for _, e := range memEventTypes() {
		n := []int{0, 0, 1, 2, 5, 9}[r.IntN(6)]
		absent := []float64{0, 0.1, 0.5}[r.IntN(3)]
		for range n {
			a := memAct{memTime(r), map[schema.AttrID]schema.Value{}}
			if len(out[e.ID]) > 0 && r.IntN(4) == 0 {
				a.time = out[e.ID][r.IntN(len(out[e.ID]))].time
			}
			for _, p := range e.Properties {
				if r.Float64() >= absent {
					a.values[p.ID] = memProperty(r, p.ID)
				}
			}
			out[e.ID] = append(out[e.ID], a)
		}
	}
	return out
}

// indexActs fills the dictionaries of properties, and lets each event have its time as one.
func (v *memView) indexActs(p *memProfile) {
	for _, e := range v.schema.Events {
		for i := range p.events[e.ID] {
			a := &p.events[e.ID][i]
			if a.values == nil {
				a.values = map[schema.AttrID]schema.Value{}
			}
			a.values[schema.TimeProperty] = schema.TimestampValue(a.time)
			for _, property := range e.Properties {
				v.codesOf(property, a.values[property.ID])
			}
		}
	}
}

// memEvents is how the events of a view lie in blocks.
type memEvents struct {
	mu     sync.Mutex
	blocks map[memRow][]memBlock // by event and chunk
	seen   map[string]int        // what scans asked for
}

type memBlock struct {
	acts   []memOwned
	sorted bool
}

type memOwned struct {
	ord    uint16
	summed bool // it is in the facts
	memAct
}

func (v *memView) EventCount(event schema.EventID, from, to int64) uint64 {
	r := rand.New(rand.NewPCG(v.salt, uint64(event)<<32^uint64(from)^uint64(to))) // about, as the contract has it
	return uint64(r.IntN(5 * len(v.ords)))
}

// layout lays the events of a chunk out in several parts, of which some are not sorted.
func (v *memView) layout(e *schema.Event, chunk int) []memBlock {
	v.events.mu.Lock()
	defer v.events.mu.Unlock()
	at := memRow{code: uint32(e.ID), chunk: chunk}
	if b, ok := v.events.blocks[at]; ok {
		return b
	}
	r := rand.New(rand.NewPCG(v.salt, uint64(e.ID)<<32|uint64(chunk)))
	parts := make([][]memOwned, 1+r.IntN(3))
	for _, o := range v.ords {
		if int(o>>bitmap.ChunkBits) != chunk {
			continue
		}
		for _, a := range v.profiles[o].events[e.ID] {
			i := r.IntN(len(parts))
			parts[i] = append(parts[i], memOwned{uint16(o), r.IntN(3) > 0, a})
		}
	}
	var blocks []memBlock
	for _, part := range parts {
		sorted := r.IntN(3) > 0
		if sorted {
			slices.SortFunc(part, func(a, b memOwned) int {
				return cmp.Or(cmp.Compare(a.ord, b.ord), compareMemActs(e, a.memAct, b.memAct))
			})
		} else {
			r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		size := []int{1, 7, 64, 130, 4096, bitmap.ChunkSize}[r.IntN(6)]
		for len(part) > 0 {
			n := min(size, len(part))
			blocks = append(blocks, memBlock{part[:n], sorted})
			part = part[n:]
		}
	}
	if v.events.blocks == nil {
		v.events.blocks = map[memRow][]memBlock{}
		v.events.seen = map[string]int{}
	}
	v.events.blocks[at] = blocks
	return blocks
}

// compareMemActs is the order of events of one profile.
func compareMemActs(e *schema.Event, a, b memAct) int {
	hash := func(a memAct) uint64 {
		var h ActHash
		for _, p := range e.Properties {
			h.Value(p.ID, a.values[p.ID])
		}
		return h.Sum()
	}
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(hash(a), hash(b)))
}

func (c *memCursor) Events(scan *EventScan, chunk int, within *bitmap.Set, f func(b *EventBlock) error) error {
	e := c.v.schema.EventByID(scan.Event)
	if e == nil || !slices.IsSorted(scan.Properties) {
		return fmt.Errorf("a scan of event %d with properties %v", scan.Event, scan.Properties)
	}
	r := rand.New(rand.NewPCG(c.v.salt^77, uint64(scan.Event)<<32|uint64(chunk)))
	blocks := c.v.layout(e, chunk)
	c.v.events.count(scan, within)
	for _, b := range blocks {
		runs := scan.Runs && r.IntN(2) == 0
		var kept []memOwned
		for _, a := range b.acts {
			wanted := within == nil || within.Contains(a.ord)
			told := scan.Told != nil && a.summed && scan.Told.Has(a.ord)
			if scan.From <= a.time && a.time < scan.To && !told && wanted && c.v.fits(e, a.memAct, scan.Zones) {
				kept = append(kept, a)
			}
		}
		if len(kept) == 0 && r.IntN(2) == 0 {
			continue
		}
		c.bytes += uint64(10 * len(kept))
		block := c.v.block(e, scan, kept, b.sorted)
		if runs {
			block.count()
		}
		if err := cmpOr(c.v.fault(), func() error { return f(block) }); err != nil {
			return err
		}
		spoil(block)
	}
	return c.v.fault()
}

func cmpOr(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

// count notes what scans ask for, so that tests know that it happens.
func (m *memEvents) count(scan *EventScan, within *bitmap.Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	note := func(what string, is bool) {
		if is {
			m.seen[what]++
		}
	}
	note("zones", len(scan.Zones) > 0)
	note("times", scan.Times)
	note("no times", !scan.Times)
	note("runs", scan.Runs)
	note("within", within != nil)
	note("everybody", within == nil)
}

// fits reports whether an event fulfils all zone maps.
func (v *memView) fits(e *schema.Event, a memAct, zones []ZoneMap) bool {
	for _, z := range zones {
		p := propertyOf(e, z.Property)
		val := a.values[z.Property]
		if p == nil || p.Inline() || p.Kind == schema.Set {
			panic(fmt.Sprintf("a zone map of property %d", z.Property))
		}
		n := val.Ordered()
		if p.Coded() && !val.IsAbsent() {
			n = int64(v.codesOf(*p, val)[0])
		}
		if val.IsAbsent() || n < z.Lo || n > z.Hi {
			return false
		}
	}
	return true
}

func propertyOf(e *schema.Event, id schema.AttrID) *schema.Attribute {
	for i := range e.Properties {
		if e.Properties[i].ID == id {
			return &e.Properties[i]
		}
	}
	return nil
}

func (v *memView) block(e *schema.Event, scan *EventScan, acts []memOwned, sorted bool) *EventBlock {
	b := &EventBlock{Sorted: sorted}
	for _, a := range acts {
		b.Ords = append(b.Ords, a.ord)
		if scan.Times {
			b.Times = append(b.Times, a.time)
		}
	}
	for _, id := range scan.Properties {
		p := propertyOf(e, id)
		var c EventColumn
		present, all := make([]uint64, (len(acts)+63)/64), true
		for i, a := range acts {
			val := a.values[id]
			if all = all && !val.IsAbsent(); !val.IsAbsent() {
				present[i/64] |= 1 << (i % 64)
			}
			switch {
			case p.Kind == schema.Set:
				c.Sets.Codes = append(c.Sets.Codes, v.codesOf(*p, val)...)
				c.Sets.Ends = append(c.Sets.Ends, uint32(len(c.Sets.Codes)))
			case p.Coded() && val.IsAbsent():
				c.Codes = append(c.Codes, schema.NoCode)
			case p.Coded():
				c.Codes = append(c.Codes, v.codesOf(*p, val)...)
			case p.Inline() && val.IsAbsent() && v.salt&1 == 0:
				c.Texts = append(c.Texts, nil)
			case p.Inline():
				c.Texts = append(c.Texts, append([]byte{}, val.Str()...))
			default:
				c.Ints = append(c.Ints, val.Ordered())
			}
		}
		if !all && !p.Coded() {
			c.Present = present
		}
		b.Columns = append(b.Columns, c)
	}
	return b
}

// count makes one of several events of a profile that follow each other.
func (b *EventBlock) count() {
	ords := b.Ords
	b.Ords, b.Counts = nil, []uint16{}
	for i, o := range ords {
		if i > 0 && o == ords[i-1] {
			b.Counts[len(b.Counts)-1]++
			continue
		}
		b.Ords, b.Counts = append(b.Ords, o), append(b.Counts, 1)
	}
}

// spoil makes sure that nobody keeps what a block points to.
func spoil(b *EventBlock) {
	for i := range b.Ords {
		b.Ords[i] = 0xfff0
	}
	for i := range b.Times {
		b.Times[i] = -1
	}
	for i := range b.Counts {
		b.Counts[i] = 999
	}
	for _, c := range b.Columns {
		for i := range c.Codes {
			c.Codes[i] = 0xfffff0
		}
		for i := range c.Ints {
			c.Ints[i] = -1
		}
		for _, t := range c.Texts {
			for i := range t {
				t[i] = '#'
			}
		}
	}
}

// EventDays has others, now and then.
func (c *memCursor) EventDays(event schema.EventID, first int64, chunk int, days []bitmap.Words) error {
	for _, o := range c.v.ords {
		if int(o>>bitmap.ChunkBits) != chunk {
			continue
		}
		for _, a := range c.v.profiles[o].events[event] {
			if day := floorDay(a.time) - first; day >= 0 && day < int64(len(days)) {
				days[day].SetBit(uint16(o))
			}
		}
		if (c.v.salt^uint64(o))%16 == 0 {
			days[int(o)%len(days)].SetBit(uint16(o))
		}
	}
	return c.v.fault()
}

// HasEvent has others than are asked for among those it returns.
func (c *memCursor) HasEvent(event schema.EventID, from, to int64, chunk int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	at := memRow{attr: schema.AttrID(event), code: uint32(from) ^ uint32(to)<<7, chunk: chunk}
	others := (from^to^int64(chunk))&1 == 0
	var ords []uint16
	for _, o := range c.v.ords {
		if int(o>>bitmap.ChunkBits) == chunk && (others || within == nil || within.Contains(uint16(o))) && slices.ContainsFunc(c.v.profiles[o].events[event], func(a memAct) bool {
			return a.time >= from && a.time < to
		}) {
			ords = append(ords, uint16(o))
		}
	}
	return c.set(at, ords, buf), c.v.fault()
}
