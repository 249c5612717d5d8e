package timeline

import (
	"cmp"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// truth is one of three.
type truth int

const (
	unknown truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// question is a condition together with its obvious form.
type question struct {
	condition Condition
	id        schema.AttrID
	ranges    []Range
	not, has  bool
}

func (q question) ask(p *Part, e event) truth {
	v := e.values[q.id]
	if p.columnOf(q.id) < 0 {
		v = value{}
	}
	switch {
	case q.has:
		return truthOf(v.ok != q.not)
	case !v.ok:
		return unknown
	}
	return truthOf(slices.ContainsFunc(q.ranges, func(r Range) bool { return r.Lo <= v.n && v.n <= r.Hi }) != q.not)
}

// randomQuestion returns a condition on a Code or an Int of which the events have some values.
func randomQuestion(r *rand.Rand, sources []built) question {
	q := question{id: []schema.AttrID{16, 17, 20, 33, 1000, 5}[r.IntN(6)], not: r.IntN(3) == 0, has: r.IntN(5) == 0}
	if q.has && r.IntN(2) == 0 {
		q.id = []schema.AttrID{18, 19}[r.IntN(2)]
	}
	for range []int{0, 1, 1, 1, 3, 12, 40}[r.IntN(7)] {
		b := sources[r.IntN(len(sources))]
		at := int64(r.IntN(50))
		if len(b.events) > 0 {
			at = b.events[r.IntN(len(b.events))].values[q.id].n
		}
		x := Range{at - r.Int64N(3), at + r.Int64N(3)}
		if r.IntN(4) == 0 {
			x.Hi = at + int64(r.Uint64N(1<<40))
		}
		switch r.IntN(8) {
		case 0:
			x.Lo = math.MinInt64
		case 1:
			x.Hi = math.MaxInt64
		}
		q.ranges = append(q.ranges, x)
	}
	q.condition = In(q.id, q.ranges...)
	if q.has {
		q.condition = Has(q.id)
	}
	if q.not {
		q.condition = q.condition.Not()
	}
	return q
}

// search is a scan together with what it should find.
type search struct {
	sources   []built
	scan      Scan
	questions []question
}

func randomSearch(r *rand.Rand, sources []built) *search {
	s := &search{sources: sources}
	s.scan.Chunk = r.IntN(bitmap.ShardChunks)
	for _, b := range sources {
		if len(b.events) > 0 && r.IntN(3) > 0 {
			s.scan.Chunk = int(b.events[r.IntN(len(b.events))].profile >> bitmap.ChunkBits)
		}
	}
	s.scan.From, s.scan.To = s.border(r), s.border(r)
	if r.IntN(3) == 0 {
		s.scan.From, s.scan.To = math.MinInt64, math.MaxInt64
	}
	if r.IntN(2) == 0 {
		s.scan.Within = s.randomWithin(r)
	}
	if r.IntN(2) == 0 {
		all := All{}
		for range r.IntN(4) {
			q := randomQuestion(r, sources)
			s.questions, all = append(s.questions, q), append(all, q.condition)
		}
		s.scan.Where = all.Where
	}
	return s
}

// border returns a time that is one of an event or of a partition, or next to one.
func (s *search) border(r *rand.Rand) int64 {
	b := s.sources[r.IntN(len(s.sources))]
	near := r.Int64N(3) - 1
	switch p := b.Part.ID().Partition; {
	case r.IntN(4) == 0:
		return p.Start() + near
	case r.IntN(4) == 0:
		return p.End() + near
	case len(b.events) == 0:
		return near
	}
	return b.events[r.IntN(len(b.events))].time + near
}

func (s *search) randomWithin(r *rand.Rand) *bitmap.Words {
	w := &bitmap.Words{}
	switch r.IntN(3) {
	case 0: // a few, of whom there are events
		for range 1 + r.IntN(3) {
			if b := s.sources[r.IntN(len(s.sources))]; len(b.events) > 0 {
				w.SetBit(uint16(b.events[r.IntN(len(b.events))].profile))
			}
		}
	case 1:
		for i := range w {
			w[i] = r.Uint64()
		}
	default:
		for range r.IntN(200) {
			w.SetBit(uint16(r.Uint32()))
		}
	}
	return w
}

// found is an event that a search should find.
type found struct {
	event
	source, number int
}

// naive returns the events looked for, by source and place, and how many are unknown.
func (s *search) naive() (out []found, unknowns int) {
	for at, b := range s.sources {
		for i, e := range b.events {
			if int(e.profile>>bitmap.ChunkBits) != s.scan.Chunk || e.time < s.scan.From || e.time >= s.scan.To ||
				s.scan.Within != nil && !s.scan.Within.Has(uint16(e.profile)) {
				continue
			}
			answer := yes
			for _, q := range s.questions {
				switch a := q.ask(b.Part, e); {
				case a == no || answer == no:
					answer = no
				case a == unknown:
					answer = unknown
				}
			}
			switch answer {
			case yes:
				out = append(out, found{e, at, i})
			case unknown:
				unknowns++
			}
		}
	}
	return out, unknowns
}

func (s *search) list() []Source {
	var list []Source
	for _, b := range s.sources {
		list = append(list, b.Source)
	}
	return list
}

// less orders events of different sources as the model does.
func (s *search) less(a, b Ref) bool {
	return s.sources[a.Source].events[a.Event].hash < s.sources[b.Source].events[b.Event].hash
}

func randomSources(t testing.TB, r *rand.Rand) []built {
	span := Span(int32(r.IntN(20000)))
	var sources []built
	for range 1 + r.IntN(3) {
		p := span
		if r.IntN(2) == 0 {
			p = Day(span.First + r.Int32N(SpanDays))
		}
		properties := someProperties(r)
		events := randomEvents(r, p, properties, randomCount(r))
		if len(sources) > 0 && r.IntN(2) == 0 { // events equal in profile and time in two parts
			for i, e := range sources[0].events {
				if i < len(events) && e.time >= p.Start() && e.time < p.End() {
					events[i].profile, events[i].time = e.profile, e.time
				}
			}
			slices.SortFunc(events, compareEvents)
		}
		sources = append(sources, build(t, ID{Event: 5, Shard: 3, Partition: p}, properties, events))
	}
	return sources
}

func TestCursorAgainstModel(t *testing.T) {
	r := seeded(t)
	var c Cursor
	hits, unknowns, skipped := 0, 0, 0
	for range rounds(40) {
		sources := randomSources(t, r)
		for range 12 {
			s := randomSearch(r, sources)
			want, n := s.naive()
			checkCursor(t, &c, s, want, n)
			checkFolds(t, r, &c, s, want)
			hits, unknowns, skipped = hits+len(want), unknowns+n, skipped+c.Stats.Skipped
		}
	}
	if !testing.Short() && (hits == 0 || unknowns == 0 || skipped == 0) {
		t.Errorf("%d hits, %d unknown, %d blocks skipped", hits, unknowns, skipped)
	}
}

// checkCursor compares the batches themselves.
func checkCursor(t *testing.T, c *Cursor, s *search, want []found, unknowns int) {
	t.Helper()
	blocks := 0
	for c.Reset(s.list(), s.scan); c.Next(); {
		blocks++
		b := &c.Batch
		if len(b.Profiles) == 0 || len(b.Profiles) != len(b.Starts) || len(b.Profiles) != len(b.Ends) {
			t.Fatal("runs of different lengths, or none")
		}
		for i, p := range b.Profiles {
			if i > 0 && (p <= b.Profiles[i-1] || b.Starts[i] < b.Ends[i-1]) {
				t.Fatal("runs out of order")
			}
			n := 0
			for k := int(b.Starts[i]); k < int(b.Ends[i]); k++ {
				if b.Hits != nil && !b.Hits.Has(k) {
					if k == int(b.Starts[i]) || k == int(b.Ends[i])-1 {
						t.Fatal("a run begins or ends with an event that is not meant")
					}
					continue
				}
				if len(want) == 0 || want[0].source != b.At || want[0].number != b.Index*BlockSize+k || uint16(want[0].profile) != p {
					t.Fatalf("event %d of block %d of source %d, of profile %d, is not the next of %d wanted", k, b.Index, b.At, p, len(want))
				}
				want, n = want[1:], n+1
			}
			if n != b.Count(i) || n == 0 {
				t.Fatalf("a run counts %d events and has %d", b.Count(i), n)
			}
		}
	}
	if c.Err() != nil || len(want) > 0 || c.Stats.Unknown != unknowns || c.Stats.Blocks < blocks {
		t.Fatalf("%d events not found, %d unknown, want %d: %v", len(want), c.Stats.Unknown, unknowns, c.Err())
	}
}

// checkFolds compares everything that is folded from batches.
func checkFolds(t *testing.T, r *rand.Rand, c *Cursor, s *search, want []found) {
	t.Helper()
	var counts Counts
	var who, gotWho bitmap.Words
	var ends, moments = Ends{Less: s.less}, Moments{Less: s.less}
	var values Values
	id := []schema.AttrID{17, 20, 1000, 4}[r.IntN(4)]
	ends.Reset(s.scan.Within)
	moments.Reset(s.scan.Within)
	values.Reset(id, s.scan.Within)
	for c.Reset(s.list(), s.scan); c.Next(); {
		counts.Add(&c.Batch)
		c.AddTo(&gotWho)
		if err := cmp.Or(ends.Add(&c.Batch), moments.Add(&c.Batch), values.Add(&c.Batch)); err != nil {
			t.Fatal(err)
		}
	}
	moments.Sort()
	byProfile := map[uint16][]found{}
	for _, e := range want {
		byProfile[uint16(e.profile)] = append(byProfile[uint16(e.profile)], e)
	}
	for p, list := range byProfile {
		who.SetBit(p)
		slices.SortFunc(list, func(a, b found) int { return compareEvents(a.event, b.event) })
		checkProfile(t, s, list, ends.Bounds[ends.Slot(p)], moments.Of(moments.Slot(p)))
		checkValue(t, s, list, id, values.Values[values.Slot(p)])
		if int(counts[p]) != len(list) {
			t.Fatalf("%d events of profile %d, want %d", counts[p], p, len(list))
		}
	}
	if who != gotWho {
		t.Fatal("who has events differs")
	}
	total := 0
	for _, n := range counts {
		total += int(n)
	}
	if total != len(want) || len(moments.sorted) != len(want) {
		t.Fatalf("%d events counted, %d collected, want %d", total, len(moments.sorted), len(want))
	}
}

func checkProfile(t *testing.T, s *search, list []found, b Bounds, moments []Moment) {
	t.Helper()
	ref := func(f found) Ref { return Ref{uint32(f.source), uint32(f.number)} }
	first, last := list[0], list[len(list)-1]
	if want := (Bounds{uint32(len(list)), first.time, last.time, ref(first), ref(last)}); b != want {
		t.Fatalf("bounds %+v, want %+v", b, want)
	}
	if len(moments) != len(list) {
		t.Fatalf("%d moments, want %d", len(moments), len(list))
	}
	for i, m := range moments {
		if want := (Moment{list[i].time, ref(list[i])}); m != want {
			t.Fatalf("moment %+v, want %+v", m, want)
		}
	}
}

func checkValue(t *testing.T, s *search, list []found, id schema.AttrID, got Value) {
	t.Helper()
	var want Value
	sum := new(big.Int)
	for _, e := range list {
		v := e.values[id]
		if !v.ok || s.sources[e.source].Part.columnOf(id) < 0 {
			continue
		}
		if want.Count == 0 {
			want.Min, want.Max = v.n, v.n
		}
		want.Count++
		want.Min, want.Max = min(want.Min, v.n), max(want.Max, v.n)
		sum.Add(sum, big.NewInt(v.n))
	}
	if got.Count != want.Count || got.Min != want.Min || got.Max != want.Max || bigOf(got.Sum).Cmp(sum) != 0 {
		t.Fatalf("values %+v, want %+v and sum %v", got, want, sum)
	}
}

func bigOf(a Int128) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(a.Hi), 64)
	return n.Add(n, new(big.Int).SetUint64(a.Lo))
}

func TestInt128(t *testing.T) {
	r := seeded(t)
	edge := func() int64 {
		return []int64{math.MinInt64, math.MaxInt64, -1, 0, 1, int64(r.Uint64())}[r.IntN(6)]
	}
	for range 5000 {
		a, b := Int128{edge() >> 8, uint64(edge())}, Int128{edge() >> 8, uint64(edge())}
		v := edge()
		x, y := bigOf(a), bigOf(b)
		if bigOf(a.Plus(b)).Cmp(new(big.Int).Add(x, y)) != 0 || bigOf(a.Add(v)).Cmp(new(big.Int).Add(x, big.NewInt(v))) != 0 {
			t.Fatalf("%v + %v or %d", x, y, v)
		}
		if a.Cmp(b) != x.Cmp(y) {
			t.Fatalf("%v compared with %v is %d", x, y, a.Cmp(b))
		}
		if n, ok := a.Int64(); ok != x.IsInt64() || ok && n != x.Int64() {
			t.Fatalf("%v is %d, %v", x, n, ok)
		}
	}
}

// TestConcurrentCursors reads the same parts from several goroutines.
func TestConcurrentCursors(t *testing.T) {
	r := seeded(t)
	s := randomSearch(r, randomSources(t, r))
	want, _ := s.naive()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			var c Cursor
			n := 0
			for c.Reset(s.list(), s.scan); c.Next(); {
				for i := range c.Profiles {
					n += c.Count(i)
				}
			}
			if n != len(want) || c.Err() != nil {
				t.Errorf("%d events, want %d: %v", n, len(want), c.Err())
			}
		})
	}
	group.Wait()
}

// TestIn has ranges as they are kept: in order, and joined where nothing is between them.
func TestIn(t *testing.T) {
	f := func(got Condition, want ...Range) {
		t.Helper()
		if !slices.Equal(got.ranges, want) {
			t.Errorf("%v, want %v", got.ranges, want)
		}
	}
	f(In(1))
	f(In(1, Range{5, 4}))
	f(InCodes(1, 7, 3, 2, 4, 9, 2), Range{2, 4}, Range{7, 7}, Range{9, 9})
	f(In(1, Range{10, 20}, Range{0, 5}, Range{6, 7}, Range{12, 14}, Range{9, 9}), Range{0, 7}, Range{9, 20})
	f(In(1, Range{math.MinInt64, 0}, Range{math.MaxInt64, math.MaxInt64}, Range{math.MinInt64, -5}), Range{math.MinInt64, 0}, Range{math.MaxInt64, math.MaxInt64})
}

// TestWrongClass compares what has no number.
func TestWrongClass(t *testing.T) {
	b := build(t, ID{Partition: Day(0)}, []Property{{18, Text}}, []event{{}})
	var c Cursor
	c.Reset([]Source{b.Source}, Scan{To: 1, Where: All{InCodes(18, 1)}.Where})
	if c.Next() || c.Err() == nil || errors.Is(c.Err(), ErrCorrupt) {
		t.Error(c.Err())
	}
	if c.Next() {
		t.Error("it goes on after an error")
	}
}

// TestSkips has what the header alone decides: no row may be asked for.
func TestSkips(t *testing.T) {
	p := Day(20453)
	var events []event
	for i := range 3 * BlockSize {
		events = append(events, event{profile: uint32(i), time: p.Start() + int64(i), values: map[schema.AttrID]value{16: {ok: true, n: int64(i / BlockSize)}}})
	}
	b := build(t, ID{Partition: p}, []Property{{16, Code}}, events)
	var within bitmap.Words
	within.SetBit(2*BlockSize + 5)
	var asked []string
	source := Source{b.Part, func(i int) ([]byte, error) {
		asked = append(asked, "row")
		return b.rows[i], nil
	}}
	f := func(scan Scan, blocks, zoned, skipped, others, events, bytes int) {
		t.Helper()
		var c Cursor
		n := 0
		for c.Reset([]Source{source}, scan); c.Next(); {
			for i := range c.Profiles {
				n += c.Count(i)
			}
		}
		if c.Err() != nil || c.Stats.Blocks != blocks || c.Stats.Zoned != zoned || c.Stats.Skipped != skipped || c.Stats.Others != others || n != events || c.Stats.Bytes != bytes {
			t.Errorf("%+v, %d events, %v", c.Stats, n, c.Err())
		}
	}
	all := Scan{From: p.Start(), To: p.End()}
	f(all, 3, 0, 0, 0, 3*BlockSize, 0) // every block is one stretch of ordinals: the gaps have width 0
	f(Scan{From: p.End(), To: p.End() + 1}, 0, 0, 3, 0, 0, 0)
	f(Scan{From: p.Start(), To: p.Start() + BlockSize}, 1, 0, 2, 0, BlockSize, 0)
	f(Scan{From: p.Start() + 1, To: p.Start() + BlockSize}, 1, 0, 2, 0, BlockSize-1, BlockSize*12/8) // and its times
	f(Scan{From: all.From, To: all.To, Within: &within}, 1, 0, 2, 2, 1, 0)
	f(Scan{From: all.From, To: all.To, Where: All{InCodes(16, 1)}.Where}, 3, 2, 0, 0, BlockSize, 0)
	f(Scan{From: all.From, To: all.To, Chunk: 1}, 0, 0, 0, 0, 0, 0)
	asked = nil
	f(Scan{From: all.From, To: all.To, Where: All{InCodes(16, 4)}.Where}, 3, 3, 0, 0, 0, 0)
	f(Scan{From: all.From, To: all.To, Where: All{In(99)}.Where}, 3, 3, 0, 0, 0, 0)
	if asked != nil {
		t.Errorf("%d rows were asked for", len(asked))
	}
}
