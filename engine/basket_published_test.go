package engine

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// bought is an item of an order.
type bought struct {
	who, order, item string
	at               time.Time
}

func newBought(t *testing.T, all []bought) *DB {
	t.Helper()
	db, err := Open("bought", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	columns := []batch.Column{{Name: "item", Kind: schema.String}, {Name: "order", Kind: schema.String}}
	for first := true; len(all) > 0; first = false {
		b := batch.New()
		if first {
			b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
			b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "item", Attribute: schema.Attribute{Name: "item", Kind: schema.String}})
			b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: "order", Attribute: schema.Attribute{Name: "order", Kind: schema.String, Storage: schema.StorageInline}})
		}
		part := all[:min(len(all), 30_000)]
		all = all[len(part):]
		events := b.Events(columns)
		for _, x := range part {
			events.Row([]byte(x.who), []byte("buy"), x.at.UnixMilli())
			events.Str(0, []byte(x.item))
			events.Str(1, []byte(x.order))
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

// compareBought compares the sets of up to three items that enough baskets have with a count
// of all that there are in each basket, and how many baskets there are with what is published.
func compareBought(t *testing.T, db *DB, all []bought, perOrder bool, least, baskets, people int) {
	t.Helper()
	args := query.Arguments{"event": {"buy"}, "item": {"item"}, "size": {"3"}, "top": {"10000"}, "min-baskets": {strconv.Itoa(least)}}
	if perOrder {
		args["order"] = []string{"order"}
	}
	r, err := db.Analyze(t.Context(), "basket", "", args, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Tables[2].Rows[0].Values; v[1].Ordered() != int64(baskets) || v[2].Ordered() != int64(people) {
		t.Errorf("%v baskets of %v people, want %d of %d", v[1], v[2], baskets, people)
	}
	counts, items := countBought(all, perOrder, least)
	var want []string
	for s, n := range counts {
		if n >= least {
			want = append(want, s)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), slices.Compare(strings.Split(a, " + "), strings.Split(b, " + ")))
	})
	rows := r.Tables[0].Rows
	if len(rows) != len(want) || len(rows) < 50 {
		t.Fatalf("%d sets, want %d", len(rows), len(want))
	}
	for i, row := range rows {
		if row.Cells[0] != want[i] || row.Values[1].Ordered() != int64(counts[want[i]]) {
			t.Fatalf("row %d is %v, want %s, %d", i, row.Values, want[i], counts[want[i]])
		}
	}
	for i, row := range r.Tables[1].Rows { // their rules follow from their counts
		given := counts[row.Values[0].Str()] + items[row.Values[0].Str()]
		if n := row.Values[2].Ordered(); row.Values[6].Float() != float64(n)/float64(given) || int(n) != counts[row.Cells[0]] {
			t.Fatalf("rule %d is %v", i, row.Values)
		}
	}
	t.Logf("%d sets, %d rules", len(rows), len(r.Tables[1].Rows))
}

// countBought counts the sets of two and three items, and items.
func countBought(all []bought, perOrder bool, least int) (counts, items map[string]int) {
	contents := map[string]map[string]bool{}
	items, counts = map[string]int{}, map[string]int{}
	for _, x := range all {
		basket := x.who
		if perOrder {
			basket += "|" + x.order
		}
		if contents[basket] == nil {
			contents[basket] = map[string]bool{}
		}
		if !contents[basket][x.item] {
			contents[basket][x.item] = true
			items[x.item]++
		}
	}
	for range 2 { // pairs, then those of three whose pairs are not too few
		before := maps.Clone(counts)
		for _, b := range contents {
			own := slices.DeleteFunc(slices.Sorted(maps.Keys(b)), func(item string) bool { return items[item] < least })
			for i, x := range own {
				for k, y := range own[i+1:] {
					if len(before) == 0 {
						counts[x+" + "+y]++
						continue
					}
					if before[x+" + "+y] < least {
						continue
					}
					for _, z := range own[i+k+2:] {
						if before[x+" + "+z] >= least && before[y+" + "+z] >= least {
							counts[x+" + "+y+" + "+z]++
						}
					}
				}
			}
		}
	}
	return counts, items
}

// TestBasketJourney compares the baskets of Complete Journey (84.51).
func TestBasketJourney(t *testing.T) {
	notRaced(t)
	z, err := gzip.NewReader(bytes.NewReader(publishedText(t, "completejourney", "transactions_sample.csv.gz")))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []bought
	for _, row := range rows[1:] { // household, store, basket, product ... transaction_timestamp
		at, err := time.Parse(time.DateTime, row[10])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bought{row[0], row[2], row[3], at})
	}
	db := newBought(t, all)
	compareBought(t, db, all, true, 2, 47243, 2377)
	compareBought(t, db, all, false, 20, 2377, 2377)
}

// TestBasketRetail compares the invoices of Online Retail.
func TestBasketRetail(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it loads half a million rows, and runs in make test")
	}
	t.Parallel()
	var all []bought
	for _, row := range readPublished(t, "online_retail/online_retail.csv.zst") {
		at, err := time.Parse(time.DateTime, row["InvoiceDate"])
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(row["Quantity"]); err != nil || n <= 0 || row["CustomerID"] == "" || strings.HasPrefix(row["InvoiceNo"], "C") {
			continue
		}
		all = append(all, bought{fmt.Sprint("c", row["CustomerID"]), row["InvoiceNo"], row["StockCode"], at})
	}
	compareBought(t, newBought(t, all), all, true, 200, 18536, 4339)
}
