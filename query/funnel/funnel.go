package funnel

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of a funnel.
const (
	MinSteps = 2
	MaxSteps = 20 // a longer one is a path; every step reads lists for everybody
	MaxLists = 60 // alternatives and exclusions of all steps together
)

const name = "funnel"

// steps is the report's table.
var steps = query.ReportTable{Name: "steps", Columns: []query.ReportColumn{ //tidy:constant
	{Name: "step", Unit: query.UnitNumber}, {Name: "events", Unit: query.UnitText}, {Name: "people", Unit: query.UnitNumber},
	{Name: "of first", Unit: query.UnitShare}, {Name: "of before", Unit: query.UnitShare}, {Name: "dropped", Unit: query.UnitNumber},
	{Name: "average", Unit: query.UnitDuration}, {Name: "median", Unit: query.UnitDuration}, {Name: "p90", Unit: query.UnitDuration}}}

// Analysis is the funnel.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "How many people go from step to step, and how long it takes them",
	Parameters: []query.Parameter{
		{Name: "step", Kind: query.ParameterList, Repeated: true, Required: true, Help: `an event list, such as 'purchase.filter(e, e.amount > 10.0)'; alternatives are joined by " | "; 2 to 20 steps, in their order`},
		{Name: "within", Kind: query.ParameterDuration, Default: "7d", Help: "the time from the first step to the last, such as 90m, 24h, 7d"},
		{Name: "order", Kind: query.ParameterChoice, Choices: []string{"sequence", "any"}, Default: "sequence", Help: "sequence: one step after the other; any: in any order"},
		{Name: "exclude", Kind: query.ParameterList, Repeated: true, Help: "K:LIST: an event of the list between step K and the next ends what has come to step K"},
		{Name: "hold", Kind: query.ParameterProperty, Help: "a property that is the same in all events of an entry, such as order_id"},
	},
	Tables: []query.ReportTable{steps},
	Run:    run,
}

// funnel is a funnel made ready.
type funnel struct {
	texts  []string // of the steps
	within int64    // ms
	any    bool
	lists  []*query.StudyList // of all steps and exclusions
	values []schema.AttrID    // by list: of hold; nil: none is held
	coded  bool               // the held values are codes, of a dictionary for each event type
	step   []int              // by list: its step, from 0
	ends   []bool             // by list: it is an exclusion after its step
	onward query.Onward       // to the second step
	cell   int                // the step whose people are wanted, -1: nobody's
	stay   bool               // those of them who went no further
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	f, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	total := newTally(len(f.texts))
	var tallies []*tally
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{funnel: f, tally: newTally(len(f.texts)), study: s, held: held{map[heldCode]int64{}, map[string]int64{}}}
		tallies = append(tallies, v.tally)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	for _, t := range tallies {
		total.add(t)
	}
	return query.Report{Analysis: name, Tables: []query.ReportTable{f.table(total)}, Answer: answer}, nil
}

func prepare(s *query.Study, args query.Arguments) (*funnel, error) {
	within, err := args.Span("within")
	if err != nil {
		return nil, err
	}
	f := &funnel{texts: args["step"], within: within.Milliseconds(), any: args.One("order") == "any", cell: -1}
	if n := len(f.texts); n < MinSteps || n > MaxSteps {
		return nil, query.Errorf(query.CodeLimit, "a funnel has %d to %d steps, this one has %d", MinSteps, MaxSteps, n)
	}
	for i, text := range f.texts {
		for _, alternative := range splitAlternatives(text) {
			if err := f.add(s, alternative, i, false); err != nil {
				return nil, fmt.Errorf("step %d: %w", i+1, err)
			}
		}
	}
	for _, text := range args["exclude"] {
		if err := f.exclude(s, text); err != nil {
			return nil, err
		}
	}
	f.onward = query.Onward{Within: f.within, Whole: slices.Contains(f.ends, true)}
	for i, k := range f.step {
		switch {
		case k == 0 && !f.ends[i]:
			f.onward.First = append(f.onward.First, i)
		case k == 1 && !f.ends[i]:
			f.onward.Next = append(f.onward.Next, i)
		case k == 2 && !f.onward.Whole:
			f.onward.Then = append(f.onward.Then, i)
		}
	}
	if len(f.lists) > MaxLists {
		return nil, query.Errorf(query.CodeLimit, "a funnel has at most %d event lists, this one has %d", MaxLists, len(f.lists))
	}
	if name := args.One("hold"); name != "" {
		if err := f.hold(name); err != nil {
			return nil, err
		}
	}
	return f, f.wanted(s.Cell)
}

// splitAlternatives splits a text at " | " outside quotes and brackets.
func splitAlternatives(text string) (out []string) {
	depth, quote, from := 0, byte(0), 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == '|' && depth == 0:
			out = append(out, strings.TrimSpace(text[from:i]))
			from = i + 1
		}
	}
	return append(out, strings.TrimSpace(text[from:]))
}

// add adds an event list. What is not of the first step is wanted only when an entry may be
// under way.
func (f *funnel) add(s *query.Study, text string, step int, ends bool) error {
	e, err := s.Compiler().List(text)
	if err != nil {
		return err
	}
	from, to := query.Every()
	if step > 0 && !f.any {
		from, to = to, from
		for i, l := range f.lists {
			if first, last := l.Window(); f.step[i] == 0 && first < last {
				from, to = min(from, first), max(to, last+min(f.within, math.MaxInt64-last))
			}
		}
	}
	l, err := s.List(e, from, to)
	if err != nil {
		return err
	}
	f.lists, f.step, f.ends = append(f.lists, l), append(f.step, step), append(f.ends, ends)
	return nil
}

func (f *funnel) exclude(s *query.Study, text string) error {
	number, list, ok := strings.Cut(text, ":")
	k, err := strconv.Atoi(strings.TrimSpace(number))
	switch {
	case !ok || err != nil:
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("--exclude %q does not say between which steps", text), Hint: `such as '2: refund': between step 2 and step 3`}
	case f.any:
		return &query.Error{Code: query.CodeInvalid, Message: "there is nothing between steps that come in any order", Hint: "leave out --exclude, or --order any"}
	case k < 1 || k >= len(f.texts):
		return query.Errorf(query.CodeInvalid, "--exclude %q: there is no step after step %d of %d", text, k, len(f.texts))
	}
	if err := f.add(s, strings.TrimSpace(list), k-1, true); err != nil {
		return fmt.Errorf("--exclude after step %d: %w", k, err)
	}
	return nil
}

// hold reads a property of the events of all steps.
func (f *funnel) hold(name string) error {
	var kind *schema.Attribute
	for _, l := range f.lists {
		p, err := query.LookupProperty(l.Event, name)
		if err != nil {
			return fmt.Errorf("--hold: %w", err)
		}
		if kind != nil && (kind.Kind != p.Kind || kind.Scale != p.Scale || kind.Coded() != p.Coded()) {
			return query.Errorf(query.CodeType, "--hold: %q is a %s of one event and a %s of another", name, kind.Kind, p.Kind)
		}
		if err := l.Read(p.ID); err != nil {
			return err
		}
		kind = p
		f.values = append(f.values, p.ID)
	}
	f.coded = kind.Kind == schema.String
	return nil
}

// held tells the codes of a held property of several event types, which have a dictionary
// each, by those of the first. What that one never had gets a number below all codes.
type held struct {
	codes map[heldCode]int64
	texts map[string]int64 // that the first one never had
}

type heldCode struct {
	attr schema.AttrID
	code int64
}

func (h *held) of(s *query.Study, first schema.AttrID, of heldCode) int64 {
	if of.attr == first || of.code == query.NoValue {
		return of.code
	}
	code, ok := h.codes[of]
	if !ok {
		text := s.Text(of.attr, of.code)
		if code, ok = s.Code(first, text); !ok {
			if code, ok = h.texts[text]; !ok {
				code = -1 - int64(len(h.texts))
				h.texts[text] = code
			}
		}
		h.codes[of] = code
	}
	return code
}

// wanted reads the name of a cell.
func (f *funnel) wanted(cell string) error {
	if cell == "" {
		return nil
	}
	number, stay := strings.CutSuffix(cell, ":dropped")
	k, err := strconv.Atoi(number)
	if err != nil || k < 1 || k > len(f.texts) || stay && k == len(f.texts) { // whoever is at the end has not dropped
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("a funnel of %d steps has no cell %q", len(f.texts), cell), Hint: `"2" are the people of step 2, "2:dropped" those of them who went no further`}
	}
	f.cell, f.stay = k-1, stay
	return nil
}

// tally is what a worker has counted.
type tally struct {
	furthest []uint64  // by step: people who came so far and no further
	times    [][]int64 // by step: of those who came so far, the time from the first step
}

func newTally(steps int) *tally {
	return &tally{make([]uint64, steps), make([][]int64, steps)}
}

func (t *tally) add(o *tally) {
	for i := range t.furthest {
		t.furthest[i] += o.furthest[i]
		t.times[i] = append(t.times[i], o.times[i]...)
	}
}

// visitor counts the people of chunks.
type visitor struct {
	*funnel
	*tally
	study *query.Study
	path  path
	held  held
}

// chunk counts the people of one chunk. Those who have nothing of the second step are told
// by the first alone.
func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	within := c.People
	trails := func(f func(who uint16, steps []query.Step) error) error {
		return c.Trails(ctx, v.lists, v.values, &within, f)
	}
	isOnward := !v.any && v.values == nil
	came := new(bitmap.Words)
	if isOnward {
		first, err := v.some(ctx, c, 0, within)
		if err != nil {
			return err
		}
		within = first
		trails = func(f func(who uint16, steps []query.Step) error) error {
			return c.OnwardTrails(ctx, v.lists, v.onward, &within, f)
		}
	}
	if within.IsEmpty() {
		return nil
	}
	kept := 0
	clear(v.held.codes) // there may be as many as events, and each person is in one chunk
	clear(v.held.texts)
	err := trails(func(who uint16, steps []query.Step) error {
		came.SetBit(who)
		if v.coded {
			for i := range steps {
				steps[i].Value = v.held.of(v.study, v.values[0], heldCode{v.values[steps[i].List], steps[i].Value})
			}
		}
		furthest := 1
		if isOnward && len(steps) == 2 && !v.onward.Whole {
			v.path.took = append(v.path.took[:0], 0, steps[1].Time-steps[0].Time)
		} else {
			furthest = v.furthestOf(steps)
		}
		if furthest >= 0 {
			v.furthest[furthest]++
			for k := 1; k <= furthest; k++ {
				v.times[k] = append(v.times[k], v.path.took[k])
			}
			kept += furthest
			if v.cell >= 0 && (furthest == v.cell || furthest > v.cell && !v.stay) {
				c.PutOne(who)
			}
		}
		return nil
	})
	if err == nil && isOnward {
		var buf bitmap.Words
		only := bitmap.AndNot(within, bitmap.FromWords(came), &buf)
		v.furthest[0] += uint64(only.Count())
		if v.cell == 0 {
			c.Put(only)
		}
	}
	if err == nil {
		err = c.Keep(int64(kept) * timeBytes)
	}
	return err
}

// timeBytes is what one time takes: itself, the room that lists grow by, and its place when
// all are put together.
const timeBytes = 3 * 8

// some returns who has an event of a step.
func (v *visitor) some(ctx context.Context, c *query.StudyChunk, step int, within bitmap.Set) (bitmap.Set, error) {
	out := new(bitmap.Words)
	for i, l := range v.lists {
		if v.step[i] != step || v.ends[i] {
			continue
		}
		who, err := c.HasAny(ctx, l, &within)
		if err != nil {
			return bitmap.Set{}, err
		}
		out.Or(who)
	}
	return bitmap.FromWords(out), nil
}

// table makes the report's table.
func (f *funnel) table(t *tally) query.ReportTable {
	out := steps
	people := make([]uint64, len(f.texts)+1)
	for k := len(f.texts) - 1; k >= 0; k-- {
		people[k] = people[k+1] + t.furthest[k]
	}
	for k, text := range f.texts {
		if f.any {
			text = fmt.Sprintf("any %d of %d", k+1, len(f.texts))
		}
		before := people[0]
		if k > 0 {
			before = people[k-1]
		}
		average, median, p90 := spread(t.times[k])
		number := strconv.Itoa(k + 1)
		out.Rows = append(out.Rows, query.ReportRow{Cells: []string{number, number + ":dropped"}, Values: []schema.Value{
			schema.IntValue(int64(k + 1)), schema.StringValue(text), schema.IntValue(int64(people[k])),
			query.Share(people[k], people[0]), query.Share(people[k], before), schema.IntValue(int64(t.furthest[k])), average, median, p90}})
	}
	if last := len(f.texts) - 1; last >= 0 { // whoever is at the end has not dropped
		out.Rows[last].Cells, out.Rows[last].Values[5] = out.Rows[last].Cells[:1], schema.IntValue(0)
	}
	return out
}

// spread returns the average and the nearest ranks of 50 and 90 %, absent of nothing.
func spread(times []int64) (average, median, p90 schema.Value) {
	n := len(times)
	if n == 0 {
		return average, median, p90
	}
	high, low := int64(0), int64(0) // of the sum, in units of n: a sum may not fit
	for _, t := range times {
		high += t / int64(n)
		low += t % int64(n)
	}
	return schema.IntValue(high + low/int64(n)), schema.IntValue(ranked(times, (n+1)/2-1)), schema.IntValue(ranked(times, (9*n+9)/10-1))
}

// ranked returns what would be at a place if the numbers were sorted. It sorts only those
// that are as large as that one by about a thousandth of their range.
func ranked(numbers []int64, place int) int64 {
	least, most := slices.Min(numbers), slices.Max(numbers)
	part := (most-least)/1024 + 1
	var counts [1024]int
	for _, n := range numbers {
		counts[(n-least)/part]++
	}
	at := 0
	for ; place >= counts[at]; at++ {
		place -= counts[at]
	}
	near := make([]int64, 0, counts[at])
	for _, n := range numbers {
		if (n-least)/part == int64(at) {
			near = append(near, n)
		}
	}
	slices.Sort(near)
	return near[place]
}
