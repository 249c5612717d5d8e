package engine

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
)

// retentionVector is a published case. retention(c1, c2, ...) there says of each person
// whether c1 holds, and whether c1 and ck hold, of any events in any order; of these cases
// what comes second is later, so that it is a return here too.
type retentionVector struct {
	Name   string
	Events []struct {
		Date string
		UID  int
	}
	Rows          [][3]any
	ExtraRow      *[3]any          `json:"extra_row"`
	ByUID         map[string][]int `json:"expected_by_uid"`
	ByUser        map[string][]int `json:"expected_by_user"`
	Start, Return string
	Day           int `json:"expected_day"`
}

// TestRetentionVectors asks the published cases of the retention functions of ClickHouse,
// StarRocks and Databend, and Amplitude's example of a day of 24 hours.
func TestRetentionVectors(t *testing.T) {
	var file struct{ Cases []retentionVector }
	readVectors(t, "retention_cases.json", &file)
	date := func(text any) time.Time {
		t.Helper()
		day, err := time.Parse(time.DateOnly, fmt.Sprint(text))
		if err != nil {
			t.Fatal(err)
		}
		return day
	}
	named := func(name string) string { return fmt.Sprintf("step.filter(e, e.name == %q)", name) }
	day := map[string]string{"per": "day", "cohorts": "3"}
	var orders []vectorAct // each StarRocks example goes on with the rows of the one before
	var asked []string
	for _, c := range file.Cases {
		var acts []vectorAct
		for _, e := range c.Events {
			acts = append(acts, vectorAct{fmt.Sprint(e.UID), date(e.Date), "visit"})
		}
		switch c.Name {
		case "ch_doc_retention":
			s := newVectorStore(t, acts)
			s.retains(c.Name, c.ByUID, date("2020-01-03"), day, "step", "2020-01-01", []string{"step", "step"}, []int{1, 2})
		case "sr_retention_ex3a", "sr_retention_ex3b", "sr_retention_ex3c":
			if c.ExtraRow != nil {
				c.Rows = append(c.Rows, *c.ExtraRow)
			}
			for _, row := range c.Rows { // those of later centuries come after now
				orders = append(orders, vectorAct{fmt.Sprintf("%.0f", row[2]), date(row[0]), row[1]})
			}
			s := newVectorStore(t, orders)
			s.retains(c.Name, c.ByUser, date("1022-11-21"), day, named("4-NOT SPECI"), "1022-11-20", []string{named("4-LONG")}, []int{1})
		case "databend_retention":
			for _, row := range c.Rows {
				acts = append(acts, vectorAct{fmt.Sprint(row[0]), date(row[1]), row[2]})
			}
			s := newVectorStore(t, acts)
			month := map[string]string{"per": "month", "cohorts": "1"}
			s.retains(c.Name, c.ByUser, date("2022-01-31"), month, named("signup"), "2022-01", []string{named("login"), named("purchase")}, []int{0, 0})
		case "amplitude_24h_window":
			amplitudeDay(t, c)
		default:
			t.Errorf("%s is not known here", c.Name)
		}
		asked = append(asked, c.Name)
	}
	if len(asked) != 6 {
		t.Errorf("only %q are in the file", asked)
	}
}

// retains compares what is said of each person with who is of a cohort, and who of it
// returned by some lists, each in a period.
func (s vectorStore) retains(name string, expected map[string][]int, now time.Time, size map[string]string, first, cohort string, lists []string, periods []int) {
	s.t.Helper()
	if len(expected) == 0 {
		s.t.Errorf("%s: nobody is asked about", name)
	}
	in := func(list, cell string) []string {
		s.t.Helper()
		args := query.Arguments{"first": {first}, "return": {list}}
		for k, v := range size {
			args[k] = []string{v}
		}
		m, err := s.db.AnalysisMembers(s.t.Context(), "retention", "", args, cell, &query.MembersOptions{Options: query.Options{Now: now}})
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		var keys []string
		for row, err := range m.Rows {
			if err != nil {
				s.t.Fatal(err)
			}
			keys = append(keys, row.Key)
		}
		return keys
	}
	holds := [][]string{in(lists[0], cohort)}
	for i, list := range lists {
		holds = append(holds, in(list, fmt.Sprintf("%s:%d", cohort, periods[i])))
	}
	for _, who := range slices.Sorted(maps.Keys(expected)) {
		for i, want := range expected[who] {
			if slices.Contains(holds[i], who) != (want == 1) {
				s.t.Errorf("%s: of %s condition %d is %d there; here it holds for %q", name, who, i+1, want, holds[i])
			}
		}
	}
}

// amplitudeDay: what is a day later there, where times are cut to the hour, is a minute less than
// a day later here; cut to the hour it is a day later here too.
func amplitudeDay(t *testing.T, c retentionVector) {
	t.Helper()
	at := func(text string) time.Time {
		at, err := time.Parse("01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at.AddDate(2020, 0, 0)
	}
	start, back := at(c.Start), at(c.Return)
	for i, hour := range []time.Duration{1, time.Hour} {
		s := newVectorStore(t, []vectorAct{{"p", start.Truncate(hour), "start"}, {"p", back.Truncate(hour), "return"}})
		args := query.Arguments{"first": {`step.filter(e, e.name == "start")`}, "return": {`step.filter(e, e.name == "return")`}, "by": {"rolling"}, "per": {"day"}, "cohorts": {"3"}}
		r, err := s.db.Analyze(t.Context(), "retention", "", args, &query.Options{Now: start.AddDate(0, 0, 2)})
		if err != nil {
			t.Fatal(err)
		}
		var days []int64
		for _, row := range r.Tables[0].Rows {
			if row.Values[3].Ordered() == 1 {
				days = append(days, row.Values[2].Ordered())
			}
		}
		if want := int64(c.Day - 1 + i); !slices.Equal(days, []int64{want}) {
			t.Errorf("cut to %v, it is a return on the days %v, want %d", hour, days, want)
		}
	}
}
