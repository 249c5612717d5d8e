package quality

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// describeEvents writes event types as "name(rows): property kind seen/absent, ...".
func describeEvents(report *InferEventsReport) string {
	var out []string
	for i := range report.Events {
		e := &report.Events[i]
		var properties []string
		for j := range e.Columns {
			c := &e.Columns[j]
			properties = append(properties, fmt.Sprintf("%s %s %d/%d", c.Attribute.Name, describe(&c.Attribute), c.Seen, c.Absent))
		}
		out = append(out, fmt.Sprintf("%s(%d): %s", e.Event.Name, e.Rows, strings.Join(properties, ", ")))
	}
	return strings.Join(out, "; ")
}

// inferEvents infers and adds what was inferred to a schema.
func inferEvents(t *testing.T, rows Rows, c EventColumns) *InferEventsReport {
	t.Helper()
	events, report, err := InferEvents(rows, "user", c, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := Definitions{Events: events}
	if _, err := d.Diff(schema.New(0, 0, nil)); err != nil {
		t.Fatalf("what was inferred cannot be added: %v", err)
	}
	for i := range events {
		requireSame(t, events[i].Properties, report.Events[i].Event.Properties)
	}
	return report
}

func TestInferEvents(t *testing.T) {
	byName := EventColumns{Time: "when", Event: "what", ID: "id"}
	head := "user,what,when,id,"
	for _, c := range []struct{ name, text, want string }{
		{"only where filled", head + "amount,screen\nu,buy,1,,2.50,\nu,view,1,,,home\nu,buy,1,,3.00,\n", "buy(2): amount decimal(2) 2/0; view(1): screen string 1/0"},
		{"nothing filled", head + "x\nu,buy,1,,\n", "buy(1): "},
		{"one kind for all", head + "x\nu,buy,1,,2.50\nu,back,1,,5\nu,view,1,,\n", "buy(1): x float 1/0; back(1): x float 1/0; view(1): "},
		{"a kind of its own where all are text", head + "x\nu,buy,1,,2\nu,buy,1,,\nu,click,1,,blue\n", "buy(2): x int 1/1; click(1): x string 1/0"},
		{"codes are codes everywhere", head + "x\nu,buy,1,,007\nu,view,1,,12\n", "buy(1): x string 1/0; view(1): x string 1/0"},
		{"personal", head + "email\nu,buy,1,,a@b.de\nu,view,1,,c@d.e\n", "buy(1): email string inline pii 1/0; view(1): email string inline pii 1/0"},
		{"unnamed", head + "x\nu,,1,,1\nu,\"a\nb\",1,,1\nu,buy,1,,1\n", "buy(1): x int 1/0"},
		{"normal form", head + "x\nu,e\u0301,1,,1\nu,é,1,,2\n", "é(2): x int 2/0"},
		{"sets", head + "x\nu,buy,1,,a|b\nu,view,1,,c\n", "buy(1): x set<string> 1/0; view(1): x set<string> 1/0"},
	} {
		report := inferEvents(t, open(t, c.text, &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}}), byName)
		if got := describeEvents(report); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if c.name == "unnamed" && report.Unnamed != 2 {
			t.Errorf("%d without a name", report.Unnamed)
		}
	}
}

func TestInferEventsReport(t *testing.T) {
	text := "user,when,ts,amount,flag\nu,2024-01-01,x,2,1\nu,2024-01-02,,9,0\nv,2024-01-02,,1,1,extra\n"
	report := inferEvents(t, open(t, text, nil), EventColumns{Time: "when", Name: "buy"})
	if got := describeEvents(report); got != "buy(2): amount int 2/0, flag int 2/0" || fmt.Sprint(report.Skipped) != "[ts]" || report.Rows != 3 || report.Bad != 1 || report.BadRow.Line != 4 {
		t.Errorf("got %s, %+v", got, report)
	}
	if c := report.Events[0].Columns[0]; c.Min.String() != "2" || c.Max.String() != "9" || c.Why != "all are whole numbers" || c.Distinct != 2 {
		t.Errorf("got %+v", c)
	}
	// Where one kind holds for all, what is reported of a type is in that kind.
	report = inferEvents(t, open(t, "user,when,what,x\nu,1,buy,2\nu,1,back,0.5\n", nil), EventColumns{Time: "when", Event: "what"})
	if c := report.Events[0].Columns[0]; c.Min.String() != "2" || c.Min.Kind() != schema.Float {
		t.Errorf("got %+v", c)
	}
	for _, c := range []struct {
		columns EventColumns
		want    string
	}{
		{EventColumns{Time: "at", Name: "buy"}, `no column "at" for the time: the columns are user, when`},
		{EventColumns{Time: "when", Event: "what"}, `no column "what" for the event types`},
		{EventColumns{Time: "when", Name: "buy", ID: "id"}, `no column "id" for the ids`},
	} {
		if _, _, err := InferEvents(open(t, text, nil), "user", c.columns, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.columns, err)
		}
	}
	if _, _, err := InferEvents(open(t, text, nil), "usr", EventColumns{Time: "when", Name: "buy"}, 0); err == nil || !strings.Contains(err.Error(), `no column "usr" for the key`) {
		t.Error(err)
	}
	var many strings.Builder
	many.WriteString("user,what,when\n")
	for i := range schema.MaxEvents + 1 {
		fmt.Fprintf(&many, "u,e%d,2024-01-01\n", i)
	}
	if _, _, err := InferEvents(open(t, many.String(), nil), "user", EventColumns{Time: "when", Event: "what"}, 0); err == nil || !strings.Contains(err.Error(), "more than 1024 different event types in column \"what\"") {
		t.Error(err)
	}
}

func TestInferOrders(t *testing.T) {
	text := `{"order":"o1","user":"ann","type":"buy","at":1700000000,"lines":[{"sku":"a","n":1},{"sku":"b"}],"total":9}
{"order":"v1","user":"bob","type":"view","at":1700000000,"lines":[]}
`
	report := inferEvents(t, open(t, text, &RowsOptions{Unnest: true}), EventColumns{Time: "at", Event: "type", ID: "order"})
	if got := describeEvents(report); got != "buy(2): total int 2/0, lines.sku string 2/0, lines.n int 1/1, order string inline 0/0; view(1): " {
		t.Errorf("got %s", got)
	}
}
