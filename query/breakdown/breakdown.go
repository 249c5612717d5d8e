package breakdown

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// Limits of a breakdown.
const (
	// MaxBy is how many things people are broken down by: a table of more cannot be read.
	MaxBy = 3

	// MaxRows bounds the groups that have anybody: each takes memory on each core.
	MaxRows = 100_000
)

const name = "breakdown"

// Analysis is the breakdown.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "People by the values of attributes, with sums and averages",
	Parameters: []query.Parameter{
		{Name: "by", Kind: query.ParameterField, Repeated: true, Required: true, Help: "an attribute, or an expression of a person, such as 'purchase.count()'; at most 3"},
		{Name: "of", Kind: query.ParameterField, Help: "a number that is added up and averaged: an attribute, or an expression such as 'purchase.sum(e, e.amount)'"},
		{Name: "top", Kind: query.ParameterInt, Default: strconv.Itoa(query.DefaultTop), Help: "how many values of each --by are shown, those of the most people; the others are (other)"},
	},
	Tables: []query.ReportTable{{Name: "groups", Columns: []query.ReportColumn{{Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare}}}},
	Run:    run,
}

// breakdown is a breakdown made ready.
type breakdown struct {
	by      []*dimension
	measure *query.StudyField // nil: nothing is added up
	top     int
	any     bool // a person may be in several groups
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	b, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	var total *tally
	var answer query.Answer
	for _, d := range b.by {
		rows, people, err := s.ValueCounts(ctx, d.field)
		if err != nil {
			return query.Report{}, err
		}
		if err := d.rank(s, rows, b.top); err != nil {
			return query.Report{}, err
		}
		answer = people.Answer
		if total, err = b.known(s, rows, people.Count); err != nil {
			return query.Report{}, err
		}
	}
	if total == nil {
		if total, answer, err = b.count(ctx, s); err != nil {
			return query.Report{}, err
		}
	}
	table, err := b.table(total)
	if err == nil && s.Cell != "" {
		err = b.collect(ctx, s, total)
	}
	return query.Report{Analysis: name, Tables: []query.ReportTable{table}, Answer: answer}, err
}

// known makes the tally of what was counted for the order of one thing's values, nil if that
// does not tell all.
func (b *breakdown) known(s *query.Study, rows []query.BreakdownRow, people uint64) (*tally, error) {
	if len(b.by) > 1 || b.measure != nil || b.any && len(rows) > b.top {
		return nil, nil
	}
	t := newTally(b)
	t.all.people = people
	for _, row := range rows {
		g, err := t.group(uint64(b.by[0].of(row.Value)))
		if err != nil {
			return nil, err
		}
		g.people += row.Count
	}
	return t, s.Keep(t.bytes)
}

// count counts the people of all groups.
func (b *breakdown) count(ctx context.Context, s *query.Study) (*tally, query.Answer, error) {
	var all []*visitor
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{breakdown: b, tally: newTally(b)}
		all = append(all, v)
		return v.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	total := all[0].tally
	for _, v := range all[1:] {
		if err := total.merge(v.tally); err != nil {
			return nil, answer, err
		}
	}
	for i := range total.groups {
		if !b.any { // else some are in several
			total.all.add(&total.groups[i])
		}
	}
	return total, answer, nil
}

func prepare(s *query.Study, args query.Arguments) (*breakdown, error) {
	b := &breakdown{}
	var err error
	if b.top, err = strconv.Atoi(args.One("top")); err != nil || b.top > MaxRows {
		return nil, query.Errorf(query.CodeLimit, "--top %s: the most is %d", args.One("top"), MaxRows)
	}
	if len(args["by"]) > MaxBy {
		return nil, query.Errorf(query.CodeLimit, "people are broken down by at most %d, not by %d", MaxBy, len(args["by"]))
	}
	for i, text := range args["by"] {
		if slices.Contains(args["by"][:i], text) {
			return nil, query.Errorf(query.CodeInvalid, "--by %s is given twice", text)
		}
		f, err := s.Compiler().Field(text)
		if err != nil {
			return nil, fmt.Errorf("--by: %w", err)
		}
		b.by = append(b.by, &dimension{name: text, field: f, study: s.Field(f)})
		b.any = b.any || f.Kind == schema.Set
	}
	if text := args.One("of"); text != "" {
		f, err := s.Compiler().Field(text)
		if err != nil {
			return nil, fmt.Errorf("--of: %w", err)
		}
		if f.Kind != schema.Int && f.Kind != schema.Float && f.Kind != schema.Decimal {
			return nil, query.Errorf(query.CodeType, "--of: %s is a %s, not a number", text, f.Kind)
		}
		b.measure = s.Field(f)
	}
	return b, nil
}

// group is what was counted of a group of people.
type group struct {
	people uint64
	n      uint64 // who has a number
	sum    timeline.Int128
	floats *query.FloatSum // of floats, once there is one
}

// groupBytes is what one takes, with its place.
const groupBytes = 2*40 + 4*(8+4)

func (g *group) add(o *group) {
	g.people += o.people
	g.n += o.n
	g.sum = g.sum.Plus(o.sum)
	if o.floats == nil {
		return
	}
	if g.floats == nil {
		g.floats = new(query.FloatSum)
	}
	g.floats.AddSum(o.floats)
}

// tally is what a worker has counted, by the number of the group.
type tally struct {
	at     map[uint64]int32
	few    []int32 // in place of at, where there are few numbers: one more than the place, 0: none
	number []uint64
	groups []group
	all    group
	bytes  int64 // that are kept, and not yet taken from the store
}

// maxFew is up to how many numbers groups are found without hashing: 256 KiB.
const maxFew = 1 << 16

func newTally(b *breakdown) *tally {
	n := uint64(1)
	for _, d := range b.by {
		n *= uint64(d.size()) // of three, less than 2^51
	}
	if n > maxFew {
		return &tally{at: map[uint64]int32{}}
	}
	return &tally{few: make([]int32, n), bytes: 4 * int64(n)}
}

// group returns the one with a number.
func (t *tally) group(number uint64) (*group, error) {
	if t.few != nil {
		if at := t.few[number]; at > 0 {
			return &t.groups[at-1], nil
		}
	} else if at, ok := t.at[number]; ok {
		return &t.groups[at], nil
	}
	if len(t.groups) == MaxRows {
		return nil, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("there are more than %d groups of people", MaxRows), Hint: "fewer --by, or a smaller --top"}
	}
	if t.number, t.groups = append(t.number, number), append(t.groups, group{}); t.few != nil {
		t.few[number] = int32(len(t.groups))
	} else {
		t.at[number] = int32(len(t.groups) - 1)
	}
	t.bytes += groupBytes
	return &t.groups[len(t.groups)-1], nil
}

// merge adds what another worker has counted.
func (t *tally) merge(o *tally) error {
	for i := range o.groups {
		g, err := t.group(o.number[i])
		if err != nil {
			return err
		}
		g.add(&o.groups[i])
	}
	t.all.add(&o.all)
	return nil
}

// What stands for the values beyond the top ones, for no value, and for everybody.
const (
	otherText = "(other)"
	noneText  = "(none)"
	allCell   = "(all)"
)

// dimension is one of the things by which people are broken down.
type dimension struct {
	name  string
	field query.Field
	study *query.StudyField

	values []schema.Value // the top ones
	byCode []int32        // of a coded attribute: the place of a code; those behind the end are others
	byInt  map[int64]int32
	byText map[string]int32
}

// Places of a dimension: of the top values, then of the others, then of who has none.
func (d *dimension) other() int32 { return int32(len(d.values)) }
func (d *dimension) none() int32  { return int32(len(d.values)) + 1 }
func (d *dimension) size() int    { return len(d.values) + 2 }

// stored reports whether it is an attribute's own values.
func (d *dimension) stored() bool { return d.field.Formula == nil }

// rank takes the top values of all, which are those of the most people, of equal ones the first
// in order.
func (d *dimension) rank(s *query.Study, rows []query.BreakdownRow, top int) error {
	d.byInt, d.byText = map[int64]int32{}, map[string]int32{}
	for _, row := range rows {
		if row.Value.IsAbsent() || len(d.values) == top {
			continue
		}
		place := int32(len(d.values))
		d.values = append(d.values, row.Value)
		if row.Value.Kind() != schema.String {
			d.byInt[row.Value.Ordered()] = place
			continue
		}
		d.byText[row.Value.Str()] = place
		if d.stored() && d.field.Coded() {
			code, _ := s.Code(d.field.ID, row.Value.Str())
			d.place(code, place)
		}
	}
	if d.stored() && d.field.Kind == schema.Bool {
		for _, code := range []int64{0, 1} {
			if place, ok := d.byInt[code]; ok {
				d.place(code, place)
			}
		}
	}
	return s.Keep(int64(len(d.values))*placeBytes + 4*int64(len(d.byCode)))
}

// placeBytes is what a value takes in the list and in a map that is half full.
const placeBytes = 56 + 2*(24+4)

func (d *dimension) place(code int64, place int32) {
	for int(code) >= len(d.byCode) {
		d.byCode = append(d.byCode, -1)
	}
	d.byCode[code] = place
}

// ofCode returns the place of a code.
func (d *dimension) ofCode(code uint32) int32 {
	if code == schema.NoCode {
		return d.none()
	}
	if int(code) < len(d.byCode) && d.byCode[code] >= 0 {
		return d.byCode[code]
	}
	return d.other()
}

func (d *dimension) ofInt(n int64) int32 {
	if place, ok := d.byInt[n]; ok {
		return place
	}
	return d.other()
}

func (d *dimension) ofText(text string) int32 {
	if place, ok := d.byText[text]; ok {
		return place
	}
	return d.other()
}

// of returns the place of a value that is no set.
func (d *dimension) of(v schema.Value) int32 {
	switch v.Kind() {
	case schema.Absent:
		return d.none()
	case schema.String:
		return d.ofText(v.Str())
	}
	return d.ofInt(v.Ordered())
}

// text is what a place is called, in a row and in a cell's name: there nothing that somebody
// wrote is taken for what stands for others or none.
func (d *dimension) text(place int32) (text, cell string) {
	switch place {
	case d.other():
		return otherText, otherText
	case d.none():
		return noneText, noneText
	}
	text = d.values[place].String()
	if text == "" || strings.HasPrefix(text, "(") || strings.ContainsAny(text, `"|`) {
		return text, strconv.Quote(text)
	}
	return text, text
}
