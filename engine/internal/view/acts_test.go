package view

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

const (
	buy     schema.EventID = 40
	look    schema.EventID = 41
	buyCode schema.AttrID  = 50 + iota
	buyInt
	buyText
	buySet
)

func actSchema() *schema.Schema {
	return schema.New(1, 60, nil, schema.Event{ID: buy, Name: "buy", Retention: 90, Properties: []schema.Attribute{
		{ID: buyCode, Name: "c", Kind: schema.String}, {ID: buyInt, Name: "i", Kind: schema.Int},
		{ID: buyText, Name: "t", Kind: schema.String, Storage: schema.StorageInline}, {ID: buySet, Name: "s", Kind: schema.Set}}},
		schema.Event{ID: look, Name: "look"})
}

// plainAct is an event as the slow obvious list has it.
type plainAct struct {
	event  schema.EventID
	ord    uint32
	time   int64
	hash   int64
	code   uint32
	number int64
	some   bool // there is a number
	text   string
	codes  []uint32
}

// acts is a state with events in all tiers, and the list of what there is.
type acts struct {
	*tiers
	list []plainAct
	dead map[uint32]bool
	at   uint64

	checked int // units whose sums were compared
	days    int // answers that presence had a part in
	cut     int // of these, by a day that the window cuts
	maybe   int // people who were looked up for that
	members int // of days
	told    int // people of whom facts told

	asks *rand.Rand // for questions about facts
}

// TestActs appends events at random, freezes, settles and folds at random, and reads them
// with all kinds of scans, also out of a state that was kept from before.
func TestActs(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	x := &acts{tiers: newTiers(t, rand.New(rand.NewPCG(seed, 1))), dead: map[uint32]bool{}, asks: rand.New(rand.NewPCG(seed, 2))}
	x.s.Schema, x.s.Acts = actSchema(), map[schema.EventID][]*base.ActUnit{}
	x.s.Received = 100 * 86_400_000
	x.begin()
	x.live(func(o uint32) bool { return true })
	var kept State
	var keptList []plainAct
	keptDead := map[uint32]bool{}
	rounds := 150
	if testing.Short() {
		rounds = 60
	}
	for i := range rounds {
		switch k := x.r.IntN(12); {
		case k < 6:
			x.write()
		case k < 8:
			x.freeze()
		case k == 8:
			x.settle()
		case k == 9:
			x.fold()
		case k == 10:
			x.die()
		default:
			kept, keptList = x.s, slices.Clone(x.list)
			keptDead = map[uint32]bool{}
			for o := range x.dead {
				keptDead[o] = true
			}
		}
		x.compare(fmt.Sprint("step ", i), &x.s, x.list, x.dead)
		if kept.Schema != nil {
			x.compare(fmt.Sprint("kept, step ", i), &kept, keptList, keptDead)
		}
	}
	x.freeze()
	x.settle()
	x.checked = 0
	for x.checked < 4 { // each type and shard, when all of it is stored
		x.fold()
		x.compare("folded", &x.s, x.list, x.dead)
	}
	for range 10 { // there are facts of each type and shard now
		x.write()
		x.freeze()
		x.settle()
		x.fold()
		x.compare("folded again", &x.s, x.list, x.dead)
	}
	if n := x.parts(); n < 20 {
		t.Errorf("only %d parts were made", n)
	}
	t.Logf("presence answered %d times, %d times of a day in part, %d people were looked up; facts told of %d", x.days, x.cut, x.maybe, x.told)
	if x.days < 50 || x.cut < 20 || x.maybe < 20 || x.members < 100 || x.told < 1000 {
		t.Error("that is too rare")
	}
}

func (x *acts) parts() (n int) {
	for _, units := range x.s.Acts {
		for _, u := range units {
			if u != nil {
				n += int(u.Next) - 1
			}
		}
	}
	return n
}

func (x *acts) begin() {
	var tables []*head.EventTable
	for i := range x.s.Schema.Events {
		tables = append(tables, head.TableOf(&x.s.Schema.Events[i]))
	}
	x.s.Tiers.Active, x.stamp, x.s.Tiers.Cut = head.NewL0(1, []schema.AttrID{LiveAttr}, tables, 20), 0, 0
}

func (x *acts) append(o *effect.Outcome) {
	x.stamp++
	x.at++
	x.s.Tiers.Active.Append(x.stamp, o, nil, nil, x.at)
	x.s.Tiers.Cut = x.stamp
}

// live writes who lives, of the ordinals that events are of.
func (x *acts) live(lives func(o uint32) bool) {
	c := effect.Column{Attr: LiveAttr, Class: effect.Code}
	b := effect.Block{}
	for o := range x.s.End {
		b.Ords = append(b.Ords, o)
		if lives(o) {
			c.Codes = append(c.Codes, Live)
		} else {
			c.AppendAbsent()
		}
	}
	b.Columns = []effect.Column{c}
	x.append(&effect.Outcome{Blocks: []effect.Block{b}})
}

func (x *acts) die() {
	o := x.ord()
	x.dead[o] = true
	x.append(&effect.Outcome{Blocks: []effect.Block{{Ords: []uint32{o}, Columns: []effect.Column{{Attr: LiveAttr, Class: effect.Code, Codes: []uint32{schema.NoCode}}}}}})
}

func (x *acts) write() {
	o := &effect.Outcome{}
	for _, event := range []schema.EventID{buy, look} {
		n := x.r.IntN(40)
		if x.r.IntN(8) == 0 {
			n = 6000
		}
		if n == 0 {
			continue
		}
		a := effect.Acts{Event: event, Block: effect.Block{Columns: []effect.Column{
			{Attr: effect.TimeColumn, Class: effect.Int}, {Attr: effect.HashColumn, Class: effect.Int}}}}
		code, number := effect.Column{Attr: buyCode, Class: effect.Code, Rows: []uint32{}}, effect.Column{Attr: buyInt, Class: effect.Int, Rows: []uint32{}}
		text, set := effect.Column{Attr: buyText, Class: effect.Bytes, Rows: []uint32{}}, effect.Column{Attr: buySet, Class: effect.Set, Rows: []uint32{}}
		for row := range uint32(n) {
			p := x.random(event)
			x.list = append(x.list, p)
			a.Ords = append(a.Ords, p.ord)
			a.Columns[0].Ints, a.Columns[1].Ints = append(a.Columns[0].Ints, p.time), append(a.Columns[1].Ints, p.hash)
			if p.code != schema.NoCode {
				code.Rows, code.Codes = append(code.Rows, row), append(code.Codes, p.code)
			}
			if p.some {
				number.Rows, number.Ints = append(number.Rows, row), append(number.Ints, p.number)
			}
			if p.text != "" {
				text.Rows = append(text.Rows, row)
				text.AppendBytes([]byte(p.text))
			}
			for _, c := range p.codes {
				set.Rows, set.Codes = append(set.Rows, row), append(set.Codes, c)
			}
		}
		if event == buy {
			a.Columns = append(a.Columns, code, number, text, set)
		}
		o.Acts = append(o.Acts, a)
	}
	x.append(o)
}

func (x *acts) random(event schema.EventID) plainAct {
	const day = 86_400_000
	p := plainAct{event: event, ord: x.ord(), time: x.r.Int64N(100) * day, hash: x.r.Int64() - math.MaxInt64/2, code: schema.NoCode}
	if x.r.IntN(2) == 0 {
		p.time = (85+x.r.Int64N(3))*day + x.r.Int64N(5)
	} else {
		p.time += x.r.Int64N(day)
	}
	if event == look {
		p.hash = 0
		return p
	}
	if x.r.IntN(4) > 0 {
		p.code = x.r.Uint32N(9)
	}
	if p.some = x.r.IntN(4) > 0; p.some {
		p.number = x.r.Int64N(1000) - 500
	}
	if x.r.IntN(4) > 0 {
		p.text = fmt.Sprint("text ", x.r.IntN(50))
	}
	for c := uint32(0); c < 5; c++ {
		if x.r.IntN(3) == 0 {
			p.codes = append(p.codes, c)
		}
	}
	return p
}

func (x *acts) freeze() {
	x.s.Tiers.Frozen = append(slices.Clone(x.s.Tiers.Frozen), x.s.Tiers.Active)
	x.begin()
}

func (x *acts) settle() {
	t := x.s.Tiers
	runs := map[schema.EventID]head.ActRuns{}
	for i := range x.s.Schema.Events {
		e := &x.s.Schema.Events[i]
		runs[e.ID] = head.SettleActs(head.TableOf(e), 20, t.Acts[e.ID], t.Frozen)
	}
	settled := map[schema.AttrID][]*head.Settled{LiveAttr: make([]*head.Settled, 20)}
	for chunk := range 20 {
		var old *head.Settled
		if list := t.Settled[LiveAttr]; list != nil {
			old = list[chunk]
		}
		settled[LiveAttr][chunk] = x.settler.Settle(LiveAttr, effect.Code, chunk, old, t.Frozen)
	}
	x.s.Tiers.Acts, x.s.Tiers.Settled, x.s.Tiers.Frozen = runs, settled, nil
}

// fold folds one event type in one shard.
func (x *acts) fold() {
	e := &x.s.Schema.Events[x.r.IntN(2)]
	shard := x.r.IntN(2)
	runs := x.s.Tiers.Acts[e.ID]
	if len(runs) == 0 {
		return
	}
	from, to := shard*bitmap.ShardChunks, min((shard+1)*bitmap.ShardChunks, len(runs))
	units := slices.Clone(x.s.Acts[e.ID])
	for len(units) <= shard {
		units = append(units, nil)
	}
	x.folds++
	job := &base.ActJob{ID: keys.Acts{Event: uint32(e.ID), Shard: uint32(shard), Generation: x.folds}, Old: units[shard], Table: head.TableOf(e), Runs: runs[from:to],
		Closed: 75, FactsFrom: 100, Compact: x.folds%3 == 0, Who: func(ords []uint32, dst []uint64) error { clear(dst[:len(ords)]); return nil },
		Hash: func(s timeline.Source, events []uint32, dst []int64) error { return x.hashOf(s, events, dst) }}
	if e.ID == buy && x.folds/2%2 > 0 { // else there are none of the number, in one shard maybe
		job.Facts = []schema.AttrID{buyInt}
	}
	r, err := base.FoldActs(x.t.Context(), x.store, x.cache, job)
	if err != nil {
		x.t.Fatal(err)
	}
	// What is read from now on is what a store that was opened again would read.
	sealed, err := x.store.Get(r.Unit.ID.Key())
	if err != nil {
		x.t.Fatal(err)
	}
	if units[shard], err = base.OpenActUnit(r.Unit.ID, sealed, x.cache); err != nil {
		x.t.Fatal(err)
	}
	acts := map[schema.EventID][]*base.ActUnit{}
	for id, u := range x.s.Acts {
		acts[id] = u
	}
	acts[e.ID] = units
	left := slices.Clone(runs)
	for i := from; i < to; i++ {
		left[i] = nil
	}
	tiers := map[schema.EventID]head.ActRuns{}
	for id, runs := range x.s.Tiers.Acts {
		tiers[id] = runs
	}
	tiers[e.ID] = left
	x.s.Acts, x.s.Tiers.Acts = acts, tiers
	x.sums(e.ID, shard, units[shard])
}

// hashOf finds the hash of a stored event among the plain ones: those that are equal in
// all have different ones here, so the least will do.
func (x *acts) hashOf(s timeline.Source, events []uint32, dst []int64) error {
	var all timeline.Events
	for i, n := range events {
		if err := timeline.BlockOf(s, int(n>>timeline.BlockBits)).Events(&all); err != nil {
			return err
		}
		k := int(n & (timeline.BlockSize - 1))
		ord, event := s.Part.ID().Shard<<bitmap.ShardBits|all.Profiles[k], schema.EventID(s.Part.ID().Event)
		dst[i] = math.MaxInt64
		for j := range x.list {
			if p := &x.list[j]; p.event == event && p.ord == ord && p.time == all.Times[k] {
				dst[i] = min(dst[i], p.hash)
			}
		}
	}
	return nil
}

// sums compares the unit's sums with those of the list: everything in it is in the parts.
func (x *acts) sums(event schema.EventID, shard int, u *base.ActUnit) {
	var content, replica digest.Sum
	stored, all := uint64(0), 0
	for _, p := range u.Parts {
		stored += p.Events
	}
	for _, p := range x.list {
		if p.event == event && int(p.ord>>bitmap.ShardBits) == shard {
			all++
			content.Add(digest.Fact(0, base.ActFact(p.time, p.hash)))
			replica.Add(digest.Fact(uint64(p.ord), base.ActFact(p.time, p.hash)))
		}
	}
	if int(stored) == all {
		x.checked++
		if u.Content != content || u.Replica != replica {
			x.t.Fatalf("the sums of event %d, shard %d", event, shard)
		}
	}
	x.t.Logf("event %d, shard %d: %d parts, %d of %d events stored", event, shard, len(u.Parts), stored, all)
}

func (x *acts) compare(name string, s *State, list []plainAct, dead map[uint32]bool) {
	for range 4 {
		event := []schema.EventID{buy, look}[x.r.IntN(2)]
		scan := &query.EventScan{Event: event, From: x.time(), To: x.time(), Times: true}
		if event == buy {
			scan.Properties = [][]schema.AttrID{nil, {buyCode, buyInt, buyText, buySet}, {buySet, buyInt}}[x.r.IntN(3)]
			if x.r.IntN(3) == 0 {
				lo := x.r.Int64N(600) - 500
				scan.Zones = append(scan.Zones, query.ZoneMap{Property: buyInt, Lo: lo, Hi: lo + x.r.Int64N(300)})
			}
			if x.r.IntN(3) == 0 {
				lo := x.r.Int64N(9)
				scan.Zones = append(scan.Zones, query.ZoneMap{Property: buyCode, Lo: lo, Hi: lo + x.r.Int64N(3)})
			}
		}
		if x.r.IntN(3) == 0 {
			scan.Runs, scan.Times, scan.Properties = true, false, nil
		}
		chunk := []int{0, 1, 15, 16}[x.r.IntN(4)]
		var within *bitmap.Set
		if x.r.IntN(2) == 0 {
			var w bitmap.Words
			for o := range uint16(math.MaxUint16) {
				if x.r.IntN(3) == 0 {
					w.SetBit(o)
				}
			}
			set := bitmap.FromWords(&w)
			within = &set
		}
		who := x.found(name, s, list, dead, scan, chunk, within)
		one := bitmap.FromArray([]uint16{x.someone(list, chunk)})
		x.found(name, s, list, dead, scan, chunk, &one)
		x.has(name, s, scan, chunk, within, &who)
		x.daily(name, s, scan.Event, chunk, list, dead)
		x.facts(name, s, *scan, chunk, within, list, dead)
	}
}

// someone draws one of whom there is an event in a chunk, if it finds one. It leaves x.r as it
// is, which is the story.
func (x *acts) someone(list []plainAct, chunk int) uint16 {
	r := rand.New(rand.NewPCG(uint64(len(list)), x.at))
	for range min(len(list), 20) {
		if p := &list[r.IntN(len(list))]; int(p.ord>>bitmap.ChunkBits) == chunk {
			return uint16(p.ord)
		}
	}
	return uint16(r.IntN(bitmap.ChunkSize))
}

// found compares what a scan finds with the list, and returns who has an event in its window.
func (x *acts) found(name string, s *State, list []plainAct, dead map[uint32]bool, scan *query.EventScan, chunk int, within *bitmap.Set) (who bitmap.Words) {
	got := x.read(s, scan, chunk, within)
	from := max(scan.From, s.Horizon(s.Schema.EventByID(scan.Event)))
	var want []string
	for _, p := range list {
		in := p.event == scan.Event && int(p.ord>>bitmap.ChunkBits) == chunk && p.time >= from && p.time < scan.To && !dead[p.ord] &&
			(within == nil || within.Contains(uint16(p.ord)))
		if in {
			who.SetBit(uint16(p.ord))
		}
		for _, z := range scan.Zones {
			v, has := p.number, p.some
			if z.Property == buyCode {
				v, has = int64(p.code), p.code != schema.NoCode
			}
			in = in && has && v >= z.Lo && v <= z.Hi
		}
		if in {
			want = append(want, p.text1(scan))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		x.t.Fatalf("%s: event %d, chunk %d, %+v: %d events, want %d\n%.600q\n%.600q", name, scan.Event, chunk, *scan, len(got), len(want), got, want)
	}
	return who
}

// daily asks who has an event on which day: everybody who lives, and nobody who has none.
func (x *acts) daily(name string, s *State, event schema.EventID, chunk int, list []plainAct, dead map[uint32]bool) {
	first := 70 + x.r.Int64N(20)
	got, all, living := make([]bitmap.Words, 1+x.r.IntN(40)), make([]bitmap.Words, 40), make([]bitmap.Words, 40)
	c := View{S: s}.NewCursor()
	if err := c.EventDays(event, first, chunk, got); err != nil {
		x.t.Fatal(err)
	}
	horizon := s.Horizon(s.Schema.EventByID(event))
	for _, p := range list {
		day := int64(timeline.DayOf(p.time)) - first
		if p.event != event || int(p.ord>>bitmap.ChunkBits) != chunk || day < 0 || day >= int64(len(got)) {
			continue
		}
		if all[day].SetBit(uint16(p.ord)); !dead[p.ord] && p.time >= horizon {
			living[day].SetBit(uint16(p.ord))
		}
	}
	for day := range got {
		more, less := got[day], living[day]
		more.AndNot(bitmap.FromWords(&all[day]))
		less.AndNot(bitmap.FromWords(&got[day]))
		if !more.IsEmpty() || !less.IsEmpty() {
			x.t.Fatalf("%s: event %d, chunk %d, day %d: %d people too many, %d too few", name, event, chunk, first+int64(day), more.Count(), less.Count())
		}
		x.members += got[day].Count()
	}
}

// has asks who has an event; who is right.
func (x *acts) has(name string, s *State, scan *query.EventScan, chunk int, within *bitmap.Set, who *bitmap.Words) {
	c := View{S: s}.NewCursor()
	var buf, got bitmap.Words
	set, err := c.HasEvent(scan.Event, scan.From, scan.To, chunk, within, &buf)
	if err != nil {
		x.t.Fatal(err)
	}
	got = *set.ToWords(&got)
	if within != nil {
		got.And(*within)
	}
	if got != *who {
		x.t.Fatalf("%s: event %d, chunk %d, from %d to %d: %d people have one, want %d", name, scan.Event, chunk, scan.From, scan.To, got.Count(), who.Count())
	}
	read := len(c.acts.sources)
	for _, p := range c.acts.parts {
		if source, err := p.Source(); err == nil && source.Part.Count(chunk&chunkMask) > 0 {
			read--
		}
	}
	if read < 0 {
		x.days++
	}
	if len(c.acts.edges) > 0 {
		x.cut++
		if len(c.acts.sources) == 0 { // else it was used for these
			x.maybe += c.acts.maybe.Count()
		}
	}
}

func (x *acts) time() int64 {
	const day = 86_400_000
	switch x.r.IntN(4) {
	case 0:
		return math.MinInt64
	case 1:
		return math.MaxInt64
	case 2:
		return (85+x.r.Int64N(3))*day + x.r.Int64N(5)
	}
	return x.r.Int64N(101 * day)
}

func (p *plainAct) text1(scan *query.EventScan) string {
	s := fmt.Sprint(uint16(p.ord))
	if scan.Times {
		s += fmt.Sprint(" ", p.time)
	}
	for _, id := range scan.Properties {
		switch id {
		case buyCode:
			s += fmt.Sprint(" c", p.code)
		case buyInt:
			s += " i"
			if p.some {
				s += fmt.Sprint(p.number)
			}
		case buyText:
			s += " t" + p.text
		case buySet:
			s += fmt.Sprint(" s", len(p.codes), p.codes)
		}
	}
	return s
}

// read returns what a scan finds, as sorted texts, and checks the order of sorted blocks.
func (x *acts) read(s *State, scan *query.EventScan, chunk int, within *bitmap.Set) []string {
	var out []string
	c := View{S: s}.NewCursor()
	err := c.Events(scan, chunk, within, func(b *query.EventBlock) error {
		for i, o := range b.Ords {
			if i > 0 && b.Sorted && scan.Times && cmp.Or(cmp.Compare(b.Ords[i-1], o), cmp.Compare(b.Times[i-1], b.Times[i])) > 0 {
				x.t.Fatalf("a sorted block is not: %d at %d before %d at %d", b.Ords[i-1], b.Times[i-1], o, b.Times[i])
			}
			p, count := plainAct{ord: uint32(o)}, uint16(1)
			if scan.Times {
				p.time = b.Times[i]
			}
			if b.Counts != nil {
				count = b.Counts[i]
			}
			for k, id := range scan.Properties {
				col := &b.Columns[k]
				has := col.Present == nil || col.Present[i>>6]>>(i&63)&1 != 0
				switch id {
				case buyCode:
					p.code = col.Codes[i]
				case buyInt:
					p.number, p.some = col.Ints[i], has
				case buyText:
					if has {
						p.text = string(col.Texts[i])
					}
				case buySet:
					from := uint32(0)
					if i > 0 {
						from = col.Sets.Ends[i-1]
					}
					p.codes = col.Sets.Codes[from:col.Sets.Ends[i]]
				}
			}
			for range count {
				out = append(out, p.text1(scan))
			}
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
