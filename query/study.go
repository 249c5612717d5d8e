package query

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// StudyCompiler reads the texts of an analysis, at the study's now; whoever asks for an
// analysis has one.
type StudyCompiler interface {
	// List returns the list that a text stands for.
	List(text string) (*Events, error)
	// Node returns a condition on people.
	Node(text string) (Node, error)
	// Field returns what an expression of any kind has for each person: an attribute, a
	// number made of events. The name is the text.
	Field(text string) (Field, error)
	// Fold returns what "list.sum(e, of)" would be: the list and the measure of an event.
	Fold(list, of string) (*Fold, error)
	// Who returns the condition on the people of the study.
	Who() (Node, error)
	// At returns what reads texts at another instant, and the view in which what it returns
	// is read: in the study's own view attributes with history are those of the study's now.
	At(now time.Time) (StudyCompiler, View)
}

// Study is one run of an analysis: it hands out the people of an expression and their
// events, chunk by chunk, on all cores. Lists are made ready first, then Each is called.
type Study struct {
	Options
	Cell    string                  // whose people are wanted beside the report; "": nobody's
	Reserve func(bytes int64) error // takes memory from the store's budget until the report is made; nil: there is no budget

	ctx      context.Context
	view     View
	who      *Prepared
	compiler StudyCompiler
	planner  *planner
	people   *people    // of Cell; nil: not wanted
	mu       sync.Mutex // of Reserve
}

// NewStudy makes a study of the people of an expression that was prepared for the view.
func NewStudy(ctx context.Context, view View, who *Prepared, compiler StudyCompiler, o Options) *Study {
	p := &Prepared{schema: view.Schema()}
	p.living, p.isExact = view.ExistsCount(schema.KeyAttr)
	return &Study{Options: o, ctx: ctx, view: view, who: who, compiler: compiler, planner: &planner{ctx: ctx, view: view, p: p}}
}

// Schema returns the view's schema.
func (s *Study) Schema() *schema.Schema { return s.view.Schema() }

// Collect says whose people are wanted.
func (s *Study) Collect(cell string) {
	s.Cell, s.people = cell, &people{words: make([]uint64, s.view.Chunks()*bitmap.WordsPerSet)}
}

// StudyList is an event list that a study can read. Nothing of it changes once Each is called.
type StudyList struct {
	Event *schema.Event
	Kind  schema.Kind // of the measure, if it has one
	Scale uint8

	list    *eventList
	measure term
}

// List makes an event list ready of which events from <= time < to are wanted, in ms.
func (s *Study) List(e *Events, from, to int64) (*StudyList, error) {
	l, _, err := s.planner.list(e, window{from, to})
	if err != nil {
		return nil, err
	}
	return &StudyList{Event: l.view.event, list: l}, l.need(schema.TimeProperty)
}

// Text returns the string that a code of a dictionary stands for, Code the code of a string.
func (s *Study) Text(attr schema.AttrID, code int64) string {
	text, _ := s.view.Text(attr, uint32(code))
	return text
}

// Code is the inverse of Text; ok is false if nothing ever had that string.
func (s *Study) Code(attr schema.AttrID, text string) (code int64, ok bool) {
	c, ok := s.view.Code(attr, text)
	return int64(c), ok
}

// Compiler returns what reads the texts of arguments.
func (s *Study) Compiler() StudyCompiler { return s.compiler }

// Every is all times.
func Every() (from, to int64) { return math.MinInt64, math.MaxInt64 }

// Window returns the times that the list's events may have, from <= time < to, in ms.
func (l *StudyList) Window() (from, to int64) { return l.list.scan.From, l.list.scan.To }

// Read adds a property to what is read of the list's events. Its value is a number by which
// equal ones are told: the code of a string or a bool, the ordered form of another kind.
// Sets and inline strings have none.
func (l *StudyList) Read(id schema.AttrID) error {
	a, err := attribute(l.list.view.schema, id)
	if err != nil {
		return err
	}
	if a.Kind == schema.Set || a.Inline() {
		e := Errorf(CodeType, "the property %q of %q is a %s, which is not kept as a number or a code", a.Name, l.Event.Name, a.Kind)
		if a.Inline() {
			e.Message = fmt.Sprintf("the property %q of %q is kept inline, not as a code", a.Name, l.Event.Name)
			e.Hint = `a property of few values is declared with storage = "dictionary"`
		}
		return e
	}
	return l.list.need(id)
}

// MembersOf lists the people of the cell that was collected, after Each; see [MembersOf]. The
// view is the study's, or one of the same people in which values are masked.
func (s *Study) MembersOf(ctx context.Context, view View, answer Answer, fields []Field, order *Field, o MembersOptions, hold func() (release func(), err error)) (Members, error) {
	return membersOf(ctx, view, fields, order, o, hold, func() (*people, error) {
		p := s.people
		p.answer, p.count = answer, 0
		for i := range p.chunks() {
			p.count += uint64(p.set(i).Count())
		}
		return p, nil
	})
}

// ChunkVisitor does something with the people of one chunk. Each worker has its own.
type ChunkVisitor func(ctx context.Context, c *StudyChunk) error

// StudyChunk is one chunk of a study.
type StudyChunk struct {
	Number int        // ordinals begin at Number << 16
	People bitmap.Set // of the expression

	s *Study
	w *worker
	*stepRoom
}

// stepRoom is a worker's memory, kept for the next chunk.
type stepRoom struct {
	steps, sorted []Step
	ends, runs    []uint32
	fields        map[*StudyField]*fieldReader
	ords, who     []uint16
	values        []schema.Value
	ints          []int64
	counts        valueCounts
	acts          []uint32 // by person: of how many events; all 0 between lists
	persons       personEvents
}

// Each calls visit once per worker, one call after the other, and what it returned for each chunk
// that has any of the people. The answer's Unknown are those of the expression.
func (s *Study) Each(ctx context.Context, visit func() ChunkVisitor) (Answer, error) {
	t, err := runAll(ctx, s.view, s.who, s.Options, false, func() visitor {
		each, room := visit(), new(stepRoom)
		return func(ctx context.Context, w *worker) error {
			r, err := w.members(ctx, s.who)
			if err != nil || r.yes.IsEmpty() {
				return err
			}
			return each(ctx, &StudyChunk{Number: w.chunk, People: *w.hold(r.yes), s: s, w: w, stepRoom: room})
		}
	})
	return t.answer(), err
}

// HasAny returns who of within has an event of a list; the set is valid until the chunk's end.
func (c *StudyChunk) HasAny(ctx context.Context, l *StudyList, within *bitmap.Set) (bitmap.Set, error) {
	if l.list.none {
		return bitmap.Set{}, nil
	}
	p, err := (&anyOp{l.list}).eval(ctx, c.w, within)
	if err != nil {
		return bitmap.Set{}, err
	}
	return bitmap.And(p.yes, *within, c.w.grab()), nil
}

// Keep takes memory for what the analysis keeps beyond the chunk.
func (c *StudyChunk) Keep(bytes int64) error {
	if c.s.Reserve == nil || bytes == 0 {
		return nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.Reserve(bytes)
}

// Put adds people to those of the cell that is wanted.
func (c *StudyChunk) Put(who bitmap.Set) {
	if c.s.people != nil {
		c.s.people.chunk(c.Number).Or(who)
	}
}

// PutOne is Put of one.
func (c *StudyChunk) PutOne(who uint16) {
	if c.s.people != nil {
		c.s.people.chunk(c.Number).SetBit(who)
	}
}

// Step is one event of a trail.
type Step struct {
	Time  int64 // ms UTC
	Value int64 // of the property that was asked for; NoValue if there is none
	List  int32 // whose it is: its place among the lists
	who   uint16
}

// NoValue is the value of a step without one. The least int that there is, -2^63, is taken for
// none, too.
const NoValue = math.MinInt64

// stepBytes is what a trail keeps of an event.
const stepBytes = 2 * 24 // itself, and in order

// Trails calls f with the events of some lists, of each of within who has any, by person:
// in order of time, events of equal times in the order of their lists. values says for each
// list which property is wanted, 0: none; nil: of none. What f gets is valid during the call.
func (c *StudyChunk) Trails(ctx context.Context, lists []*StudyList, values []schema.AttrID, within *bitmap.Set, f func(who uint16, steps []Step) error) error {
	e := c.w.eventsOf(within)
	defer e.release(e.mark())
	return c.w.inParts(within, func(within *bitmap.Set) error {
		if err := c.gather(ctx, lists, values, within); err != nil {
			return err
		}
		return eachTrail(c.byPerson(), f)
	})
}

// eachTrail calls f with the steps of each person.
func eachTrail(steps []Step, f func(who uint16, steps []Step) error) error {
	for from := 0; from < len(steps); {
		to := from + 1
		for to < len(steps) && steps[to].who == steps[from].who {
			to++
		}
		if err := f(steps[from].who, steps[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// gather gathers the events of lists, of everybody in within.
func (c *StudyChunk) gather(ctx context.Context, lists []*StudyList, values []schema.AttrID, within *bitmap.Set) error {
	c.steps = c.steps[:0]
	for i := range lists {
		var of schema.AttrID
		if values != nil {
			of = values[i]
		}
		if err := c.add(ctx, lists, i, of, within); err != nil {
			return err
		}
	}
	return nil
}

// add adds the events of one of some lists, with the values of a property.
func (c *StudyChunk) add(ctx context.Context, lists []*StudyList, i int, of schema.AttrID, within *bitmap.Set) error {
	l := lists[i]
	return c.w.eachEvent(ctx, l.list, within, func(h *hits) error {
		had := len(c.steps)
		number, err := h.numbers(l, of)
		if err != nil {
			return err
		}
		for _, k := range h.at {
			c.steps = append(c.steps, Step{Time: h.Times[k], Value: number(int(k)), List: int32(i), who: h.Ords[k]})
		}
		return c.w.events.keep((len(c.steps) - had) * stepBytes)
	})
}

// byPerson sorts the steps: by the person, then each person's by time.
func (c *StudyChunk) byPerson() []Step {
	slots := &c.w.events.slots
	c.ends = append(c.ends[:0], make([]uint32, slots.n+1)...)
	for i := range c.steps {
		c.ends[slots.of(c.steps[i].who)+1]++
	}
	for i := range slots.n {
		c.ends[i+1] += c.ends[i]
	}
	c.sorted = grow(c.sorted, len(c.steps))
	for i := range c.steps {
		at := &c.ends[slots.of(c.steps[i].who)]
		c.sorted[*at] = c.steps[i]
		*at++
	}
	from := uint32(0)
	for _, to := range c.ends[:slots.n] { // each is where its person's end by now
		if to-from > 1 {
			c.runs = byTime(c.sorted[from:to], c.steps, c.runs)
		}
		from = to
	}
	return c.sorted
}

// byTime sorts by time; steps of one time stay in their order. They are some runs that are
// sorted already, one of each list and part at most, which are merged. It returns runs,
// whose memory it uses; room is for as many steps.
func byTime(steps, room []Step, runs []uint32) []uint32 {
	runs = append(runs[:0], 0)
	for i := 1; i < len(steps); i++ {
		if steps[i].Time < steps[i-1].Time {
			runs = append(runs, uint32(i))
		}
	}
	for runs = append(runs, uint32(len(steps))); len(runs) > 2; {
		kept := runs[:1]
		for i := 0; i+1 < len(runs); i += 2 {
			if i+2 < len(runs) {
				merge(steps[runs[i]:runs[i+2]], int(runs[i+1]-runs[i]), room)
				kept = append(kept, runs[i+2])
			} else {
				kept = append(kept, runs[i+1])
			}
		}
		runs = kept
	}
	return runs
}

// merge merges the first n steps with the others.
func merge(steps []Step, n int, room []Step) {
	a, b := room[:copy(room, steps[:n])], steps[n:]
	for i := 0; len(a) > 0; i++ {
		if len(b) == 0 || a[0].Time <= b[0].Time {
			steps[i], a = a[0], a[1:]
		} else {
			steps[i], b = b[0], b[1:]
		}
	}
}

// numbers returns what tells the value of a property by an event's place in the block.
func (h *hits) numbers(l *StudyList, id schema.AttrID) (func(k int) int64, error) {
	if id == 0 {
		return func(int) int64 { return NoValue }, nil
	}
	a, err := attribute(l.list.view.schema, id)
	if err != nil {
		return nil, err
	}
	cur, _ := h.sub.cur.(*blockCursor)
	if a.Coded() {
		col, err := cur.column(id, sizeOfCodes)
		if err != nil {
			return nil, err
		}
		return func(k int) int64 {
			if col.Codes[k] == schema.NoCode {
				return NoValue
			}
			return int64(col.Codes[k])
		}, nil
	}
	ints, present, err := cur.ints(id)
	return func(k int) int64 {
		if present != nil && present[k>>6]>>(k&63)&1 == 0 {
			return NoValue
		}
		return ints[k]
	}, err
}
