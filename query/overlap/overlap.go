package overlap

import (
	"context"
	"fmt"
	"strings"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// MaxSets is how many expressions there may be: of six there are 64 regions, more than
// anybody looks at.
const MaxSets = 6

const (
	name = "overlap"
	none = "-" // the region of those who are in no set
	in   = "in:"
)

var (
	sets = query.ReportTable{Name: "sets", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "set"}, {Name: "expression"}, {Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}, {Name: "alone", Unit: query.UnitNumber}}}
	regions = query.ReportTable{Name: "regions", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "region"}, {Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}}}
	pairs = query.ReportTable{Name: "pairs", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "pair"}, {Name: "people", Unit: query.UnitNumber}, {Name: "of first", Unit: query.UnitShare}, {Name: "of second", Unit: query.UnitShare}, {Name: "times chance", Unit: query.UnitNumber}}}
)

// Analysis is the overlap.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "How segments and lists of people lie over each other",
	Parameters: []query.Parameter{
		{Name: "set", Kind: query.ParameterExpression, Repeated: true, Required: true, Help: `an expression, such as 'in_segment("loyal")' or 'plan == "premium"'; 1 to 6 of them`},
		{Name: "at", Kind: query.ParameterDate, Repeated: true, Help: "a day: how many were in each set at its end; the table history"},
		{Name: "per", Kind: query.ParameterChoice, Choices: []string{"day", "week", "month"}, Help: "how many were in each set at the end of each of the last --periods: day, week or month"},
		{Name: "periods", Kind: query.ParameterInt, Help: "how many of --per, the last is that of now; 100 at most"},
		{Name: "zone", Kind: query.ParameterZone, Default: "UTC", With: []string{"at", "per"}, Help: "the time zone of days, such as Europe/Rome"},
		{Name: "week-start", Kind: query.ParameterChoice, Choices: []string{"monday", "sunday"}, Default: "monday", With: []string{"per"}, Help: "monday or sunday"},
	},
	Tables: []query.ReportTable{sets, regions, pairs, history},
	Run:    run,
}

// overlap is an overlap made ready.
type overlap struct {
	texts   []string
	tests   []*query.StudyTest
	moments []moment // of the history
	cell    int      // the region whose people are wanted, one bit for each set; -1: none's
	whole   bool     // all who are in its sets, whatever else they are in
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	o, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	var tallies []*visitor
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{overlap: o, in: make([]bitmap.Set, len(o.tests))}
		tallies = append(tallies, v)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	var people [1 << MaxSets]uint64
	for _, v := range tallies {
		for i, n := range v.people {
			people[i] += n
		}
	}
	tables := o.tables(people[:1<<len(o.texts)])
	if len(o.moments) > 0 {
		past, err := o.past(ctx, s, &answer)
		if err != nil {
			return query.Report{}, err
		}
		tables = append(tables, past)
	}
	return query.Report{Analysis: name, Tables: tables, Answer: answer}, nil
}

func prepare(s *query.Study, args query.Arguments) (*overlap, error) {
	o := &overlap{texts: args["set"], cell: -1}
	if n := len(o.texts); n > MaxSets {
		return nil, query.Errorf(query.CodeLimit, "an overlap has at most %d sets, this one has %d", MaxSets, n)
	}
	var err error
	if o.tests, err = testsOf(s, o.texts); err != nil {
		return nil, err
	}
	if o.moments, err = moments(s.Now, args); err != nil {
		return nil, err
	}
	return o, o.wanted(s.Cell)
}

// testsOf makes the expressions ready.
func testsOf(s *query.Study, texts []string) ([]*query.StudyTest, error) {
	var tests []*query.StudyTest
	for i, text := range texts {
		t, err := s.Condition(text)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", letter(i), err)
		}
		tests = append(tests, t)
	}
	return tests, nil
}

func letter(i int) string { return string(rune('A' + i)) }

// region is the name of a combination.
func region(of int) string {
	text := ""
	for i := range MaxSets {
		if of>>i&1 != 0 {
			text += letter(i)
		}
	}
	if text == "" {
		return none
	}
	return text
}

// wanted reads the name of a cell.
func (o *overlap) wanted(cell string) error {
	if cell == "" {
		return nil
	}
	if _, _, ok := o.isHistory(cell); ok {
		return nil
	}
	text, whole := strings.CutPrefix(cell, in)
	for of := range 1 << len(o.texts) {
		if region(of) == text && (!whole || of != 0) {
			o.cell, o.whole = of, whole
			return nil
		}
	}
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("an overlap of %d sets has no cell %q", len(o.texts), cell), Hint: `"A" are those in A alone, "AB" those in A and B and no other, "in:A" all in A, "in:AB" all in both, "-" those in none`}
}

// visitor counts the people of chunks.
type visitor struct {
	*overlap
	people [1 << MaxSets]uint64 // by region
	in     []bitmap.Set
	at     *query.StudyChunk
}

func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	for i, t := range v.tests {
		var err error
		if v.in[i], err = c.True(ctx, t, c.People); err != nil {
			return err
		}
	}
	v.at = c
	v.split(c.People, 0, 0)
	return nil
}

// split parts people by set i and those behind it; of is the region so far.
func (v *visitor) split(who bitmap.Set, i, of int) {
	switch {
	case who.IsEmpty():
		return
	case i == len(v.in):
		v.people[of] += uint64(who.Count())
		if of == v.cell || v.whole && of&v.cell == v.cell {
			v.at.Put(who)
		}
		return
	}
	var room bitmap.Words
	v.split(bitmap.And(who, v.in[i], &room), i+1, of|1<<i)
	v.split(bitmap.AndNot(who, v.in[i], &room), i+1, of)
}

// tables makes the report.
func (o *overlap) tables(people []uint64) []query.ReportTable {
	all, within := uint64(0), make([]uint64, len(o.texts))
	both := func(a, b int) (n uint64) {
		for of, k := range people {
			if of&(1<<a) != 0 && of&(1<<b) != 0 {
				n += k
			}
		}
		return n
	}
	for _, n := range people {
		all += n
	}
	of, parts, two := sets, regions, pairs
	for i, text := range o.texts {
		within[i] = both(i, i)
		of.Rows = append(of.Rows, query.ReportRow{Cells: []string{in + letter(i)}, Values: []schema.Value{
			schema.StringValue(letter(i)), schema.StringValue(text), number(within[i]), query.Share(within[i], all), number(people[1<<i])}})
	}
	for k := range people {
		at := (k + 1) % len(people) // those in none come last
		parts.Rows = append(parts.Rows, query.ReportRow{Cells: []string{region(at)}, Values: []schema.Value{
			schema.StringValue(region(at)), number(people[at]), query.Share(people[at], all)}})
	}
	for b := range o.texts {
		for a := range b {
			n := both(a, b)
			two.Rows = append(two.Rows, query.ReportRow{Cells: []string{in + letter(a) + letter(b)}, Values: []schema.Value{schema.StringValue(letter(a) + letter(b)), number(n),
				query.Share(n, within[a]), query.Share(n, within[b]), chance(n, all, within[a], within[b])}})
		}
	}
	return []query.ReportTable{of, parts, two}
}

func number(n uint64) schema.Value { return schema.IntValue(int64(n)) }

// chance returns how much more often than by chance somebody is in both.
func chance(n, all, a, b uint64) schema.Value {
	if a == 0 || b == 0 {
		return schema.Value{}
	}
	return schema.FloatValue(float64(n) / float64(a) * (float64(all) / float64(b)))
}
