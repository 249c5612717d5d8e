package quality

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// TestLoadUnknown: what the schema does not have is left out, put aside or refused, in
// profiles and in events, in both forms.
func TestLoadUnknown(t *testing.T) {
	people := "id,age,odd\nk1,1,\nk2,2,x\n"
	acts := "id,what,when,amount,odd\nu,buy,2024-01-01,1,\nu,view,2024-01-01,1,\nu,sell,2024-01-01,1,\nu,view,2024-01-01,,x\n"
	lines := func(table string) string { // as NDJSON
		all, err := csv.NewReader(strings.NewReader(table)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, row := range all[1:] {
			separator := "{"
			for i, cell := range row {
				fmt.Fprintf(&out, `%s%q:%q`, separator, all[0][i], cell)
				separator = ","
			}
			out.WriteString("}\n")
		}
		return out.String()
	}
	events := &EventColumns{Time: "when", Event: "what"}
	for _, c := range []struct {
		text     string
		events   *EventColumns
		unknown  Unknown
		good     int
		reasons  map[batch.Reason]uint64
		left     []string
		code     query.Code
		complain string
	}{
		{people, nil, IgnoreUnknown, 2, nil, []string{"odd"}, 0, ""},
		{people, nil, QuarantineUnknown, 1, map[batch.Reason]uint64{batch.ReasonUnknownColumn: 1}, nil, 0, ""},
		{people, nil, RefuseUnknown, 0, nil, nil, query.CodeUnknownName, `"odd", is not an attribute of the schema`},
		{people, nil, 3, 0, nil, nil, query.CodeInvalid, "there is no way 3"},
		{acts, events, IgnoreUnknown, 2, map[batch.Reason]uint64{batch.ReasonUnknownEvent: 1, batch.ReasonUnknownProperty: 1}, []string{"odd"}, 0, ""},
		{acts, events, QuarantineUnknown, 1, map[batch.Reason]uint64{batch.ReasonUnknownEvent: 1, batch.ReasonUnknownProperty: 2}, nil, 0, ""},
		{acts, events, RefuseUnknown, 0, nil, nil, query.CodeUnknownName, `"odd", is not a property of any event of the schema`},
		{"id,what,when,amount\nu,buy,2024-01-01,7\nu,view,2024-01-01,7\n", events, RefuseUnknown, 0, nil, nil, query.CodeUnknownName, `amount: the event "view" has no such property`},
		{"id,what,when\nu,view,2024-01-01\nu,sell,2024-01-01\n", events, RefuseUnknown, 0, nil, nil, query.CodeUnknownName, `event: there is no event "sell"`},
	} {
		for _, text := range []string{c.text, lines(c.text)} {
			s := eventSchema()
			if c.events == nil {
				s = loadSchema()
			}
			got, report, err := loadText(t, text, s, LoadOptions{Key: "id", Events: c.events, Unknown: c.unknown}, nil)
			if c.complain != "" {
				wantError(t, err, c.code, c.complain)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			good, _ := flatten(t, batchesOf(got))
			if len(good) != c.good || len(c.reasons) != len(report.Reasons) || !slices.Equal(report.Unknown, c.left) {
				t.Errorf("%s%d: %q, %+v", text, c.unknown, good, report)
			}
			for reason, n := range c.reasons {
				if report.Reasons[reason] != n {
					t.Errorf("%s%d: %v", text, c.unknown, report.Reasons)
				}
			}
		}
	}
}
