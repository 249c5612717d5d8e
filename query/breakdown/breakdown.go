package breakdown

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
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
	t.people[all] = people
	for _, row := range rows {
		place, err := t.group(uint64(b.by[0].of(row.Value)))
		if err != nil {
			return nil, err
		}
		t.people[place] += row.Count
	}
	return t, s.Keep(t.bytes)
}

// count counts the people of all groups.
func (b *breakdown) count(ctx context.Context, s *query.Study) (*tally, query.Answer, error) {
	var tallies []*visitor
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{breakdown: b, tally: newTally(b)}
		tallies = append(tallies, v)
		return v.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	total := tallies[0].tally
	for _, v := range tallies[1:] {
		if err := total.merge(v.tally); err != nil {
			return nil, answer, err
		}
	}
	for place := 1; place < len(total.people) && !b.any; place++ { // else some are in several
		total.add(all, total, place)
	}
	return total, answer, s.Keep(total.bytes) // of the groups that others have met
}

func prepare(s *query.Study, args query.Arguments) (*breakdown, error) {
	b := &breakdown{}
	var err error
	if b.top, err = args.Int("top", MaxRows); err != nil {
		return nil, err
	}
	if len(args["by"]) > MaxBy {
		return nil, query.Errorf(query.CodeLimit, "people are broken down by at most %d, not by %d", MaxBy, len(args["by"]))
	}
	if err := args.Different("by"); err != nil {
		return nil, err
	}
	for _, text := range args["by"] {
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
			return nil, fmt.Errorf("--of: %w", &query.Error{Code: query.CodeType, Message: fmt.Sprintf("%s is a %s, not a number", text, f.Kind), Source: text, Span: query.Span{End: len(text)}})
		}
		b.measure = s.Field(f)
	}
	return b, nil
}

// tally is what a worker has counted, by the place of a group; the first is everybody's.
type tally struct {
	at     map[uint64]int32 // the place by the group's number
	few    []int32          // in place of at, where there are few numbers; 0: none
	number []uint64
	people []uint64
	n      []uint64    // who has a number
	sums   *query.Sums // nil: nothing is added up
	bytes  int64       // that are kept, and not yet taken from the store
}

// all is the place of everybody.
const all = 0

// groupBytes is what a group takes, with its place and the room that lists grow by.
const groupBytes = 2*(3*8+query.SumBytes) + 4*(8+4)

// maxFew is up to how many numbers groups are found without hashing: 256 KiB.
const maxFew = 1 << 16

func newTally(b *breakdown) *tally {
	t := &tally{number: []uint64{0}, people: []uint64{0}, n: []uint64{0}}
	if b.measure != nil {
		t.sums = query.NewSums(1, b.measure.Kind, b.measure.Scale)
	}
	n := uint64(1)
	for _, d := range b.by {
		n *= uint64(d.size()) // of three, less than 2^51
	}
	if n > maxFew {
		t.at = map[uint64]int32{}
	} else {
		t.few, t.bytes = make([]int32, n), 4*int64(n)
	}
	return t
}

// group returns the place of the group with a number.
func (t *tally) group(number uint64) (int, error) {
	if t.few != nil {
		if place := t.few[number]; place > 0 {
			return int(place), nil
		}
	} else if place, ok := t.at[number]; ok {
		return int(place), nil
	}
	place := len(t.number)
	if place > MaxRows {
		return 0, tooManyGroups()
	}
	if t.few != nil {
		t.few[number] = int32(place)
	} else {
		t.at[number] = int32(place)
	}
	t.number, t.people, t.n = append(t.number, number), append(t.people, 0), append(t.n, 0)
	if t.sums != nil {
		t.sums.More()
	}
	t.bytes += groupBytes
	return place, nil
}

func tooManyGroups() error {
	return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("there are more than %d groups of people", MaxRows), Hint: "fewer --by, or a smaller --top"}
}

// merge adds what another worker has counted.
func (t *tally) merge(o *tally) error {
	t.add(all, o, all)
	for at, number := range o.number {
		if at == all {
			continue
		}
		place, err := t.group(number)
		if err != nil {
			return err
		}
		t.add(place, o, at)
	}
	return nil
}

// add adds a group of a tally to one of this.
func (t *tally) add(place int, o *tally, at int) {
	t.people[place] += o.people[at]
	t.n[place] += o.n[at]
	if t.sums != nil {
		t.bytes += t.sums.AddSum(place, o.sums, at)
	}
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
