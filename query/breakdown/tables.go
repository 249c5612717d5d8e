package breakdown

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func quote(text string) string { return strconv.Quote(text) }

// names returns what a group is called, and its cell.
func (b *breakdown) names(number uint64) (texts []string, cell string) {
	texts = make([]string, len(b.by))
	cells := make([]string, len(b.by))
	for i := len(b.by) - 1; i >= 0; i-- {
		size := uint64(b.by[i].size())
		texts[i], cells[i] = b.by[i].text(int32(number % size))
		number /= size
	}
	return texts, strings.Join(cells, "|")
}

// order returns the numbers of the groups that have anybody, in the order of rows: by the
// first of the values, then by the next.
func (b *breakdown) order(t *tally) []uint64 { return slices.Sorted(slices.Values(t.number[1:])) }

// table makes the report's table; its last row is of all people.
func (b *breakdown) table(t *tally) (query.ReportTable, error) {
	out := query.ReportTable{Name: "groups"}
	last := make([]string, len(b.by))
	for i, d := range b.by {
		last[i] = allCell
		out.Columns = append(out.Columns, query.ReportColumn{Name: d.name})
	}
	out.Columns = append(out.Columns, query.ReportColumn{Name: "people", Unit: query.UnitNumber}, query.ReportColumn{Name: "share", Unit: query.UnitShare})
	if b.measure != nil {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "sum", Unit: query.UnitNumber}, query.ReportColumn{Name: "average", Unit: query.UnitNumber})
	}
	add := func(place int, texts []string, cell string) error {
		row := query.ReportRow{Cells: []string{cell}}
		for _, text := range texts {
			row.Values = append(row.Values, schema.StringValue(text))
		}
		numbers, err := b.numbers(t, place, cell)
		row.Values = append(row.Values, numbers...)
		out.Rows = append(out.Rows, row)
		return err
	}
	for _, number := range b.order(t) {
		place, err := t.group(number)
		if err != nil {
			return out, err
		}
		texts, cell := b.names(number)
		if err := add(place, texts, cell); err != nil {
			return out, err
		}
	}
	return out, add(all, last, allCell)
}

// numbers are those of a group.
func (b *breakdown) numbers(t *tally, place int, cell string) ([]schema.Value, error) {
	out := []schema.Value{schema.IntValue(int64(t.people[place])), query.Share(t.people[place], t.people[all])}
	if b.measure == nil {
		return out, nil
	}
	sum, ok := t.sums.Value(place)
	if !ok {
		return nil, &query.Error{Code: query.CodeLimit, Message: "the sum of " + cell + " is beyond the range of " + b.measure.Kind.String(), Hint: "make it smaller, such as of thousands"}
	}
	return append(out, sum, t.sums.Per(place, t.n[place])), nil
}
