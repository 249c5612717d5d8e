package compare

import (
	"context"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of a comparison.
const (
	// MaxTop is how many rows a table has at most: more than anybody reads.
	MaxTop = 10_000

	// MaxRanges is into how many ranges numbers are cut at most: each is a hundredth then.
	MaxRanges = 100
)

const name = "compare"

var (
	groupsTable = query.ReportTable{Name: "groups", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "group"}, {Name: "people", Unit: query.UnitNumber}}}
	valueColumns = []query.ReportColumn{ //tidy:constant
		{Name: "what"}, {Name: "value"}, {Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare},
		{Name: "base people", Unit: query.UnitNumber}, {Name: "base share", Unit: query.UnitShare}, {Name: "times", Unit: query.UnitNumber},
		{Name: "difference", Unit: query.UnitShare}, {Name: "effect", Unit: query.UnitNumber}, {Name: "p", Unit: query.UnitNumber}, {Name: "adjusted p", Unit: query.UnitNumber}}
	averagesTable = query.ReportTable{Name: "averages", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "what"}, {Name: "people", Unit: query.UnitNumber}, {Name: "average", Unit: query.UnitNumber},
		{Name: "base people", Unit: query.UnitNumber}, {Name: "base average", Unit: query.UnitNumber},
		{Name: "effect", Unit: query.UnitNumber}, {Name: "p", Unit: query.UnitNumber}, {Name: "adjusted p", Unit: query.UnitNumber}}}
)

// Analysis is the comparison.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "What makes people different: every attribute and event, against a base",
	Parameters: []query.Parameter{
		{Name: "base", Kind: query.ParameterExpression, Help: "whom they are compared with, such as 'plan == \"free\"'; without it that is everybody"},
		{Name: "of", Kind: query.ParameterText, Repeated: true, Help: "an attribute or a type of event; without it, all of them"},
		{Name: "within", Kind: query.ParameterDuration, Default: "90d", Help: "how long before now an event counts"},
		{Name: "ranges", Kind: query.ParameterInt, Default: "5", Help: "into how many ranges of equal size numbers and dates are cut"},
		{Name: "min-people", Kind: query.ParameterInt, Default: "10", Help: "how many people a value must have to be compared"},
		{Name: "each", Kind: query.ParameterInt, Default: "3", Help: "how many values of an attribute are shown in a table"},
		{Name: "top", Kind: query.ParameterInt, Default: "20", Help: "how many rows a table has"},
	},
	Tables: []query.ReportTable{groupsTable, {Name: "more", Columns: valueColumns}, {Name: "less", Columns: valueColumns}, averagesTable},
	Run:    run,
}

// The groups that people are counted in. No one is in two of them: the segment is the first
// two, the base the first and the last.
const (
	both    = iota // of the segment and the base
	outside        // of the segment, and not of the base
	rest           // of the base, and not of the segment
	groups
)

// perGroup is a number of people for each group.
type perGroup [groups]uint64

func (g *perGroup) segment() uint64 { return g[both] + g[outside] }
func (g *perGroup) base() uint64    { return g[both] + g[rest] }

func (g *perGroup) add(o *perGroup) {
	for i, n := range o {
		g[i] += n
	}
}

// comparison is a comparison made ready.
type comparison struct {
	base      *query.StudyTest // nil: everybody
	things    []thing
	within    string
	minPeople uint64
	ranges    int
	top, each int
}

// thing is an attribute or a type of event.
type thing struct {
	name   string
	attr   *schema.Attribute // nil: it is
	event  *query.Events     // of the window
	acts   *query.StudyList
	codes  *query.StudyCodes // of a coded attribute
	all    query.CodeTally   // of everybody
	isAll  bool              // everybody is the base, and all is known
	sorted bool              // its values have an order: it is a number, a date or a time
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	c, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	var all []*visitor
	answer, err := s.EachBeside(ctx, c.base, func() query.BesideVisitor {
		v := &visitor{comparison: c, tally: &tally{of: make([]thingTally, len(c.things))}}
		all = append(all, v)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	total := all[0].tally
	for _, v := range all[1:] {
		total.merge(v.tally)
	}
	found, err := c.compare(ctx, s, total)
	if err != nil {
		return query.Report{}, err
	}
	if s.Cell != "" {
		if err := c.collect(ctx, s, found); err != nil {
			return query.Report{}, err
		}
	}
	return query.Report{Analysis: name, Tables: c.tables(s, total, found), Answer: answer}, nil
}

func prepare(s *query.Study, args query.Arguments) (*comparison, error) {
	c := &comparison{within: args.One("within")}
	if text := args.One("base"); text != "" {
		var err error
		if c.base, err = s.Condition(text); err != nil {
			return nil, fmt.Errorf("--base: %w", err)
		}
	}
	for _, p := range []struct {
		name string
		most int
		to   *int
	}{{"ranges", MaxRanges, &c.ranges}, {"each", MaxTop, &c.each}, {"top", MaxTop, &c.top}} {
		var err error
		if *p.to, err = args.Int(p.name, p.most); err != nil {
			return nil, err
		}
	}
	least, err := args.Int("min-people", math.MaxInt)
	if err != nil {
		return nil, err
	}
	c.minPeople = uint64(least)
	if err := args.Different("of"); err != nil {
		return nil, err
	}
	within, err := args.Span("within")
	if err != nil {
		return nil, err
	}
	now := s.Now.UnixMilli()
	window := query.Events{From: now - within.Milliseconds() + 1, To: now + 1}
	return c, c.prepareThings(s, args["of"], window)
}

// prepareThings finds what is compared: what was named, or all there is.
func (c *comparison) prepareThings(s *query.Study, names []string, window query.Events) error {
	schema := s.Schema()
	all := names
	if len(names) == 0 {
		for i := range schema.Attributes {
			all = append(all, schema.Attributes[i].Name)
		}
		for i := range schema.Events {
			all = append(all, schema.Events[i].Name)
		}
	}
	for _, name := range all {
		t := thing{name: name}
		var err error
		if a := schema.Lookup(name); a != nil {
			err = t.prepareAttribute(s, a, c.base == nil)
		} else if e := schema.LookupEvent(name); e != nil {
			t.event = &query.Events{Event: e.ID, From: window.From, To: window.To}
			t.acts, err = s.Counted(t.event, window.From, window.To)
		} else {
			err = unknown(schema, name)
		}
		if err != nil {
			return err
		}
		c.things = append(c.things, t)
	}
	return nil
}

func unknown(s *schema.Schema, name string) error {
	if s.LookupComputed(name) != nil {
		return fmt.Errorf("--of: %w", &query.Error{Code: query.CodeType, Message: fmt.Sprintf("%s is a computed attribute, and these are not compared", name), Source: name, Span: query.Span{End: len(name)},
			Hint: "compare people by the attributes that it is made of, or of a condition of it"})
	}
	var known []string
	for i := range s.Attributes {
		known = append(known, s.Attributes[i].Name)
	}
	for i := range s.Events {
		known = append(known, s.Events[i].Name)
	}
	e := &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no attribute and no type of event %q", name), Source: name, Span: query.Span{End: len(name)}}
	e.Hint = query.DidYouMean(name, known)
	return fmt.Errorf("--of: %w", e)
}

func (t *thing) prepareAttribute(s *query.Study, a *schema.Attribute, everybody bool) (err error) {
	if _, err := s.Compiler().Field(a.Name); err != nil { // which notes that it is read
		return err
	}
	t.attr = a
	if t.sorted = !a.Coded() && !a.Inline(); !a.Coded() {
		return nil
	}
	if t.codes, err = s.Codes(a.ID); err == nil && everybody {
		t.all, t.isAll = s.Everybody(t.codes)
	}
	return err
}

// tally is what a worker has counted.
type tally struct {
	people perGroup
	of     []thingTally
}

// thingTally is what was counted of a thing. Which fields are used depends on it.
type thingTally struct {
	codes   [groups]query.CodeTally
	numbers [groups]numbers // those of who has one; of an event, how many each has who has any
	some    perGroup        // who has a value, or an event
}

func (t *tally) merge(o *tally) {
	t.people.add(&o.people)
	for i := range t.of {
		a, b := &t.of[i], &o.of[i]
		a.some.add(&b.some)
		for g := range groups {
			a.codes[g].Add(&b.codes[g])
			a.numbers[g].merge(&b.numbers[g])
		}
	}
}

// visitor counts the people of chunks.
type visitor struct {
	*comparison
	*tally
	in    [groups]bitmap.Set
	words [groups]bitmap.Words
	who   [groups][]uint16 // of in, once it was needed
	kept  int64            // bytes that are taken from the store
}

func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk, base bitmap.Set) error {
	v.in[both] = bitmap.And(c.People, base, &v.words[both])
	v.in[outside] = bitmap.AndNot(c.People, base, &v.words[outside])
	v.in[rest] = bitmap.AndNot(base, c.People, &v.words[rest])
	for g, set := range v.in {
		v.people[g] += uint64(set.Count())
		v.who[g] = v.who[g][:0]
	}
	for i := range v.things {
		if err := v.thing(ctx, c, &v.things[i], &v.of[i]); err != nil {
			return err
		}
	}
	had := v.kept
	v.kept = v.bytes()
	return c.Keep(v.kept - had)
}

// bytes returns what the tally takes.
func (t *tally) bytes() (n int64) {
	for i := range t.of {
		for g := range groups {
			n += t.of[i].numbers[g].bytes + 8*int64(cap(t.of[i].codes[g].ByCode))
		}
	}
	return n
}

func (v *visitor) thing(ctx context.Context, c *query.StudyChunk, t *thing, to *thingTally) error {
	switch {
	case t.codes != nil:
		groups := v.in[:]
		if t.isAll { // of the rest it is known
			groups = v.in[:rest]
		}
		return c.CountCodes(ctx, t.codes, groups, to.codes[:])
	case t.event != nil:
		return c.Counts(ctx, t.acts, v.in[:], func(g int, n []int64) {
			to.some[g] += uint64(len(n))
			to.numbers[g].add(n, nil)
		})
	}
	for g, set := range v.in {
		if set.IsEmpty() {
			continue
		}
		if !t.sorted {
			some, err := c.Present(t.attr.ID, set)
			if err != nil {
				return err
			}
			to.some[g] += uint64(some)
			continue
		}
		n, add := &to.numbers[g], (*numbers).add
		switch t.attr.Kind {
		case schema.Timestamp:
			add = (*numbers).addTimes
		case schema.Float:
			add = (*numbers).addFloats
		}
		if len(v.who[g]) == 0 {
			v.who[g] = set.AppendTo(v.who[g])
		}
		err := c.Ordered(ctx, t.attr.ID, v.who[g], func(values []int64, ok []bool) { to.some[g] += add(n, values, ok) })
		if err != nil {
			return err
		}
	}
	return nil
}
