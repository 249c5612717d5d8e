package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestPublishedRetention compares the monthly cohorts of Online Retail with two tables that
// were published of it, of different choices of its rows.
func TestPublishedRetention(t *testing.T) {
	folder := publishedFolder(t)
	if testing.Short() {
		t.Skip("-short: it loads half a million rows, and runs in make test")
	}
	c := newCLI(t)
	c.must("load", "events", filepath.Join(folder, filepath.FromSlash(retailFile)), "--profile", "CustomerID", "--time", "InvoiceDate", "--event-name", "purchase")
	months := func(list string) map[string][]string { // by cohort: its people, and who returned in period 1, 2 ...
		out := map[string][]string{}
		for line := range strings.Lines(c.must("retention", "--first", list, "--return", list, "--per", "month", "--cohorts", "13", "--now", "2011-12-31")) {
			cells := strings.Split(line, "\t")
			if cells[2] == "0" {
				out[cells[0]] = append(out[cells[0]], cells[1])
			} else {
				out[cells[0]] = append(out[cells[0]], cells[3])
			}
		}
		return out
	}
	expected, err := os.ReadFile(filepath.Join(folder, "EXPECTED.csv"))
	if err != nil {
		t.Fatal(err)
	}
	sales := "purchase.filter(e, " + retailSale + ")"
	contains(t, string(expected), "all rows with customer (incl. cancellations)\","+strings.Join(months("purchase")["2010-12"], " ")+",",
		"clean rows\","+strings.Join(months(sales)["2010-12"], " ")+",")

	file, err := os.Open(filepath.Join(folder, "online_retail", "published_cohort_retention.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got, compared := months("purchase.filter(e, "+retailSale+" && e.UnitPrice > 0.0)"), 0
	for _, row := range rows[2:] { // there, the first cohort has one person less, who never came back
		cohort := got[row[0][:len("2011-01")]]
		for k, share := range row[2:] {
			if share == "" {
				if k+1 < len(cohort) {
					t.Errorf("%s has a period %d", row[0], k+1)
				}
				continue
			}
			want, err := strconv.ParseFloat(share, 64)
			if err != nil {
				t.Fatal(err)
			}
			returned, _ := strconv.ParseFloat(cohort[k+1], 64)
			people, _ := strconv.ParseFloat(cohort[0], 64)
			if compared++; !(math.Abs(returned/people-want) <= 0.00051) {
				t.Errorf("%s, period %d: %v of %v; published is %v", row[0], k+1, returned, people, want)
			}
		}
	}
	if compared != 66 {
		t.Errorf("%d shares compared", compared)
	}
}

// TestRetentionPicture: on a terminal there is a line for each cohort, elsewhere one for each
// of its periods.
func TestRetentionPicture(t *testing.T) {
	c := newCLI(t)
	rows := "who,at\n"
	for i := range 8 {
		rows += fmt.Sprintf("p%d,2026-02-17T10:00:00Z\n", i)
		if i > 0 {
			rows += fmt.Sprintf("p%d,2026-02-24T10:00:00Z\n", i)
		}
	}
	c.must("load", "events", c.file("orders.csv", rows), "--profile", "who", "--event-name", "buy", "--time", "at")
	args := []string{"retention", "--first", "buy", "--return", "buy", "--cohorts", "2"}
	if got, want := c.must(args...), "2026-02-16\t8\t0\t0\t0\tfalse\n2026-02-16\t8\t1\t7\t0.875\ttrue\n2026-02-23\t0\t0\t0\t\ttrue\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	contains(t, c.must(append(args, "--json")...), `{"name":"incomplete","unit":"bool"}`, `"rows":[{"cells":["2026-02-16:0","2026-02-16"],"values":["2026-02-16",8,0,0,0,false]}`, `["2026-02-23",0,0,0,null,true]`)
	if got := strings.Fields(c.must(append(args, "--cell", "2026-02-16:1")...)); len(got) != 7 || got[0] != "p1" {
		t.Errorf("the cell is %q", got)
	}
	_, stderr, code := c.run(append(args, "--cell", "2026-02-16:2")...)
	contains(t, stderr, `retention has no cell "2026-02-16:2" here ("2026-02-16" are the people who began then, "2026-02-16:0" those`)
	if code == exitOK {
		t.Error("it went well")
	}
	c.terminal = true
	contains(t, c.must(args...), `cohort      people      0      1
2026-02-16       8     0   █ 88*
2026-02-23       0     -*
per cent of the cohort who came back; * the period is not over
`)
	contains(t, c.must(append(args, "--brackets", "36h,9d", "--amount", "2.5")...), `cohort      people  to 1d 12h  to 10d 12h
2026-02-16       8         0        █ 88*
2026-02-23       0         -*          -*
per cent of the cohort who came back; * the period is not over

cohort      people  to 1d 12h  to 10d 12h
2026-02-16       8      0.00        2.19*
2026-02-23       0         -*          -*
amount per person of the cohort; * the period is not over
`)
	contains(t, c.must("retention", "--return", "buy", "--show", "lifecycle", "--cohorts", "2"), `period      active  new  returning  resurrected  dormant  incomplete
2026-02-16       8    8          0            0        0       false
2026-02-23       7    0          7            0        1        true
`)
}
