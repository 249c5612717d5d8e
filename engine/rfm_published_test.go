package engine

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// readPublished reads a published table, or skips.
func readPublished(t *testing.T, name string) (rows []map[string]string) {
	t.Helper()
	folder := os.Getenv("KANTA_REFDATA")
	if folder == "" && os.Getenv("CI") == "true" {
		t.Fatal("KANTA_REFDATA is not set: name the folder of reference data")
	}
	if folder == "" {
		t.Skip("KANTA_REFDATA names no folder of reference data")
	}
	f, err := os.Open(filepath.Join(folder, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		in = z
	}
	all, err := csv.NewReader(in).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range all[1:] {
		row := make(map[string]string, len(cells))
		for i, cell := range cells {
			row[all[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// sale is one event of a published table.
type sale struct {
	who, invoice  string
	at            time.Time
	number, price int64 // the price in thousandths
}

func newSales(t *testing.T, sales []sale) *DB {
	t.Helper()
	db, err := Open("sales", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	columns := []batch.Column{{Name: "invoice", Kind: schema.String}, {Name: "number", Kind: schema.Int}, {Name: "price", Kind: schema.Decimal, Scale: 3}}
	for first := true; len(sales) > 0; first = false {
		b := batch.New()
		if first {
			b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
			for _, c := range columns {
				a := schema.Attribute{Name: c.Name, Kind: c.Kind, Scale: c.Scale}
				b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: c.Name, Attribute: a})
			}
		}
		part := sales[:min(len(sales), 50_000)]
		sales = sales[len(part):]
		events := b.Events(columns)
		for _, s := range part {
			events.Row([]byte(s.who), []byte("buy"), s.at.UnixMilli())
			events.Str(0, []byte(s.invoice))
			events.Int(1, s.number)
			events.Int(2, s.price)
		}
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := db.Apply(t.Context(), raw); err != nil || r.Accepted != uint64(len(part)) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	return db
}

// scoresOf lists who is in the cells of an analysis: for each person the cells.
func scoresOf(t *testing.T, db *DB, args query.Arguments, o query.Options) (query.Report, map[string]string) {
	t.Helper()
	r, err := db.Analyze(t.Context(), "rfm", "", args, &o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			if table.Name != "cells" && table.Name != "amounts" {
				continue
			}
			m, err := db.AnalysisMembers(t.Context(), "rfm", "", args, row.Cells[0], &query.MembersOptions{Options: o})
			if err != nil {
				t.Fatal(err)
			}
			for row2, err := range m.Rows {
				if err != nil {
					t.Fatal(err)
				}
				out[row2.Key] += row.Cells[0]
			}
		}
	}
	return r, out
}

// TestRFMOrders compares scores and cut points with those that the rfm package of R says of
// its own data.
func TestRFMOrders(t *testing.T) {
	var sales []sale
	for _, row := range readPublished(t, "rfm_orders/rfm_data_orders.csv") {
		at, err := time.Parse(time.DateOnly, row["order_date"])
		if err != nil {
			t.Fatal(err)
		}
		price, err := strconv.ParseInt(row["revenue"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sales = append(sales, sale{who: row["customer_id"], at: at, number: 1, price: price * 1000})
	}
	db := newSales(t, sales)
	by := "quantile+1"
	args := query.Arguments{"event": {"buy"}, "amount": {"e.price"}, "recency-by": {by}, "frequency-by": {by}, "amount-by": {by}}
	o := query.Options{Now: time.Date(2006, 12, 31, 0, 0, 0, 0, time.UTC)}
	r, scores := scoresOf(t, db, args, o)
	if len(scores) != 995 || len(sales) != 4906 {
		t.Errorf("%d people, %d orders", len(scores), len(sales))
	}
	numbers := numbersOf(t, db, o, "buy.count()")
	for who, want := range map[string][2]string{
		"Abbey O'Reilly": {"r3f4m3", "205 6 472.00"},
		"Add Senger":     {"r4f1m2", "140 3 340.00"},
		"Aden Lesch":     {"r3f2m3", "194 4 405.00"},
		"Aden Murphy":    {"r5f4m4", "98 7 596.00"},
		"Admiral Senger": {"r4f3m3", "132 5 448.00"},
	} {
		if got := [2]string{scores[who], numbers[who]}; got != want {
			t.Errorf("%s has %s, want %s", who, got, want)
		}
	}
	const day = 86_400_000
	want := [3][4]float64{{115 * day, 181 * day, 297.4 * day, 482 * day}, {4, 5, 6, 8}, {255.8, 382, 506.4, 666}}
	for d := range want {
		for k, x := range want[d] {
			v := r.Tables[3].Rows[k].Values[1+d]
			got := float64(v.Ordered())
			if v.Kind() == schema.Float {
				got = v.Float()
			}
			if math.Abs(got-x) > 1e-9*x {
				t.Errorf("cut %d of number %d is %v, want %v", k+1, d, got, x)
			}
		}
	}
}

// TestRFMRetail compares the scores of everybody in Online Retail with published ones: four
// bins, recency and amount by quantiles, frequency by rank with ties in the order of the file.
func TestRFMRetail(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it loads half a million rows, and runs in make test")
	}
	t.Parallel()
	published := readPublished(t, "online_retail/published_rfm_segments.csv")
	key := map[string]string{} // ties are told by key, so keys are in the order of the file
	for i, row := range published {
		key[row["customer_id"]] = fmt.Sprintf("%05d %s", i, row["customer_id"])
	}
	var sales []sale
	var last time.Time
	for _, row := range readPublished(t, "online_retail/online_retail.csv.zst") {
		who := row["CustomerID"]
		if who == "" {
			who = "0"
		}
		at, err := time.Parse(time.DateTime, row["InvoiceDate"])
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.ParseInt(row["Quantity"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		price, err := strconv.ParseFloat(row["UnitPrice"], 64)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := strconv.Atoi(row["InvoiceNo"]); err != nil || number <= 0 {
			continue
		}
		if at.After(last) {
			last = at
		}
		sales = append(sales, sale{key[who], row["InvoiceNo"], at, number, int64(math.Round(price * 1000))})
	}
	db := newSales(t, sales)
	o := query.Options{Now: last.AddDate(0, 0, 1)}
	args := query.Arguments{"event": {"buy"}, "bins": {"4"}, "frequency": {"invoice"}, "frequency-by": {"rank"}}
	_, byKey := scoresOf(t, db, args, o) // without an amount ties of frequency are told by key
	args["amount"] = []string{"e.number * e.price"}
	_, byAmount := scoresOf(t, db, args, o)
	for _, row := range published {
		who := key[row["customer_id"]]
		if want := "r" + row["r_score"] + "f" + row["f_score"]; byKey[who] != want {
			t.Errorf("customer %s has %s, want %s", who, byKey[who], want)
		}
		got := byAmount[who]
		if want := "m" + row["m_score"]; len(got) != 6 || got[:2] != "r"+row["r_score"] || got[4:] != want {
			t.Errorf("customer %s has %s, want r%s and %s", who, got, row["r_score"], want)
		}
	}
	if len(byKey) != 4340 {
		t.Errorf("%d people", len(byKey))
	}
	numbers := numbersOf(t, db, o, "buy.distinct(e, e.invoice)")
	for _, row := range published {
		amount, err := strconv.ParseFloat(row["monetary"], 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := numbers[key[row["customer_id"]]], fmt.Sprintf("%s %s %.2f", row["recency"], row["frequency"], amount); got != want {
			t.Errorf("customer %s: %s, want %s", row["customer_id"], got, want)
		}
	}
}

// numbersOf returns the numbers that are scored, in days, times and money, which expressions
// say too.
func numbersOf(t *testing.T, db *DB, o query.Options, frequency string) map[string]string {
	t.Helper()
	b := batch.New()
	names := []string{"last", "frequency", "amount"}
	for i, text := range []string{"buy.last().ts", frequency, "buy.sum(e, e.number * e.price)"} {
		b.Change(schema.Change{Op: schema.AddComputed, Name: names[i], Text: text})
	}
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	m, err := db.Members(t.Context(), "true", &query.MembersOptions{Options: o, Attributes: names})
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]string{}
	for row, err := range m.Rows {
		if err != nil {
			t.Fatal(err)
		}
		days := o.Now.Sub(time.UnixMilli(row.Values[0].Ordered())) / (24 * time.Hour)
		numbers[row.Key] = fmt.Sprintf("%d %v %.2f", days, row.Values[1], float64(row.Values[2].Ordered())/1000)
	}
	return numbers
}
