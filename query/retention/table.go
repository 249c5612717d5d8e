package retention

import (
	"slices"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// table makes the report's table.
func (r *retention) table(t *tally) (query.ReportTable, error) {
	out := cohorts
	out.Columns = slices.Clone(out.Columns)
	if r.brackets != nil {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "until", Unit: query.UnitDuration})
	}
	if r.amount {
		out.Columns = append(out.Columns, query.ReportColumn{Name: "amount", Unit: query.UnitNumber}, query.ReportColumn{Name: "per person", Unit: query.UnitNumber})
	}
	for cohort, label := range r.labels {
		people := t.people[cohort]
		sums := r.sumsOf(t, cohort)
		for period := 0; period <= r.last(cohort); period++ {
			row := query.ReportRow{Cells: []string{r.name(cell{cohort, period})}}
			if period == 0 {
				row.Cells = append(row.Cells, r.name(cell{cohort, -1}))
			}
			returned := t.returned[cohort*r.width()+period]
			row.Values = []schema.Value{schema.StringValue(label), schema.IntValue(int64(people)), schema.IntValue(int64(period)),
				schema.IntValue(int64(returned)), query.Share(returned, people), schema.BoolValue(r.incomplete(cohort, period))}
			if r.brackets != nil {
				row.Values = append(row.Values, schema.IntValue(r.brackets[period]))
			}
			if r.amount {
				sum, ok := sums.Value(period)
				if !ok {
					return out, &query.Error{Code: query.CodeLimit, Message: "the amount of " + row.Cells[0] + " is too large for the kind " + r.back.Kind.String(), Hint: "shorter periods, or fewer cohorts"}
				}
				row.Values = append(row.Values, sum, sums.Per(period, people))
			}
			out.Rows = append(out.Rows, row)
		}
	}
	out.Rows = slices.Clip(out.Rows)
	return out, nil
}

// sumsOf returns the amounts of a cohort by period, as the kind has them.
func (r *retention) sumsOf(t *tally, cohort int) *query.Sums {
	if !r.amount {
		return nil
	}
	out := query.NewSums(r.width(), r.back.Kind, r.back.Scale)
	for period := range r.last(cohort) + 1 {
		from, to := period, period
		switch r.kind {
		case "on-or-after":
			to = r.last(cohort)
		case "on-or-before":
			from = 0
		}
		for ; from <= to; from++ {
			out.AddSum(period, t.amounts, cohort*r.width()+from)
		}
	}
	return out
}
