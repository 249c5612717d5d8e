package trend

import (
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// live says which groups have an event in any period; others have no rows.
func (t *trend) live(total *tally) []bool {
	out := make([]bool, t.groups())
	out[0] = len(t.by) == 0
	for slot, n := range total.events {
		if n > 0 {
			out[slot%len(out)] = true
		}
	}
	return out
}

// cell names the people of a period and group.
func (t *trend) cell(at, group int) string {
	_, names := t.names(group)
	return t.mark + strings.Join(append([]string{t.periods[at].label}, names...), "|")
}

// tableOf makes the report's table: of each period the rows of each event.
func tableOf(all []*trend) (query.ReportTable, error) {
	t := all[0]
	out := query.ReportTable{Name: "periods", Columns: []query.ReportColumn{{Name: "period", Unit: query.UnitText}}}
	if t.mark != "" {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "event", Unit: query.UnitText})
	}
	for _, by := range t.by {
		out.Columns = append(out.Columns, query.ReportColumn{Name: by.name, Unit: query.UnitText})
	}
	unit := query.UnitNumber
	if t.measure == stickiness {
		unit = query.UnitShare
	}
	out.Columns = append(out.Columns, query.ReportColumn{Name: "value", Unit: unit})
	if t.compare {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "previous", Unit: unit})
	}
	if t.average > 0 {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "average", Unit: unit})
	}
	values, live := make([][]schema.Value, len(all)), make([][]bool, len(all))
	for i, t := range all {
		live[i] = t.live(t.total)
		for slot := range t.slots() {
			v, err := t.total.result(slot)
			if err != nil {
				return out, err
			}
			values[i] = append(values[i], v)
		}
	}
	for at := len(t.periods) - t.shown; at < len(t.periods); at++ {
		for i, t := range all {
			for group := range t.groups() {
				if live[i][group] {
					out.Rows = append(out.Rows, t.row(values[i], at, group))
				}
			}
		}
	}
	return out, nil
}

// row returns the row of a period and group.
func (t *trend) row(values []schema.Value, at, group int) query.ReportRow {
	slot := at*t.groups() + group
	row := query.ReportRow{Cells: []string{t.cell(at, group)}, Values: []schema.Value{schema.StringValue(t.periods[at].label)}}
	if t.mark != "" {
		row.Values = append(row.Values, schema.StringValue(t.text))
	}
	texts, _ := t.names(group)
	for _, text := range texts {
		row.Values = append(row.Values, schema.StringValue(text))
	}
	row.Values = append(row.Values, values[slot])
	if t.compare {
		row.Cells = append(row.Cells, t.cell(at-t.shown, group))
		row.Values = append(row.Values, values[slot-t.shown*t.groups()])
	}
	if t.average > 0 {
		row.Values = append(row.Values, t.moving(values, at, group))
	}
	return row
}

// moving returns the average of a group over the periods shown up to one; absent if there
// are too few, or one has no value.
func (t *trend) moving(values []schema.Value, at, group int) schema.Value {
	first := at - t.average + 1
	if first < len(t.periods)-t.shown {
		return schema.Value{}
	}
	var exact timeline.Int128
	var float query.FloatSum
	scale := uint8(0)
	for ; first <= at; first++ {
		switch v := values[first*t.groups()+group]; v.Kind() {
		case schema.Absent:
			return v
		case schema.Float:
			float.Add(v.Float())
		default:
			exact, scale = exact.Add(v.Ordered()), v.Scale()
		}
	}
	if exact == (timeline.Int128{}) {
		return schema.FloatValue(float.Value() / float64(t.average))
	}
	return schema.FloatValue(query.Quotient(exact, scale, uint64(t.average)))
}

// result returns what was measured of a slot.
func (t *tally) result(slot int) (schema.Value, error) {
	of, n := t.trend, t.n[slot]
	switch of.measure {
	case count:
		return schema.IntValue(int64(t.events[slot])), nil
	case people, people7, people28:
		return schema.IntValue(int64(n)), nil
	case stickiness:
		return query.Share(t.own[slot], n), nil
	case distinct:
		return schema.IntValue(int64(len(t.sets[slot]))), nil
	case sum:
		return t.sum(slot)
	}
	if n == 0 {
		return schema.Value{}, nil
	}
	if of.measure == avg {
		return t.sums.Per(slot, n), nil
	}
	if part := of.measure.percent(); part > 0 {
		slices.Sort(t.lists[slot])
		return schema.FromOrdered(of.kind, of.scale, t.lists[slot][(part*n+99)/100-1]), nil
	}
	return schema.FromOrdered(of.kind, of.scale, t.ends[slot]), nil
}

func (t *tally) sum(slot int) (schema.Value, error) {
	of := t.trend
	v, ok := t.sums.Value(slot)
	if !ok {
		return schema.Value{}, &query.Error{Code: query.CodeLimit, Message: "the sum of " + of.cell(slot/of.groups(), slot%of.groups()) + " is beyond the range of " + of.kind.String(), Hint: "shorter periods, or --measure avg"}
	}
	return v, nil
}
