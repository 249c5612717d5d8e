package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/query"
)

// record is a published file of what people did, and figures that were published of it.
type record struct {
	what, file, key string
	events          quality.EventColumns
	rows            uint64 // those that become events
	figures         []figure
}

// figure is a question with the answer that was published.
type figure struct {
	what, text string
	published  uint64
	ours       uint64 // where it is another one
	why        string // it is
}

// The rows of Online Retail that are sales, as those who publish about it choose them, and two
// of its months.
const (
	retailSale  = `!e.InvoiceNo.startsWith("C") && e.Quantity > 0`
	retailFirst = `timestamp("2011-01-01T00:00:00Z")`
	retailNext  = `between(timestamp("2011-01-01T00:00:00Z"), timestamp("2011-02-01T00:00:00Z"))`
	retailFile  = "online_retail/online_retail.csv.zst"
)

func records() []record {
	sales := `purchase.filter(e, ` + retailSale + `)`
	funnel := func(steps string) string { return `sequence(days(365), [` + steps + `]).any()` }
	return []record{{
		what: "A year of a shop's invoices, published as Online Retail (UCI)", file: retailFile, key: "CustomerID",
		events: quality.EventColumns{Time: "InvoiceDate", Name: "purchase"}, rows: 406829,
		figures: []figure{
			{what: "customers", text: `purchase.any()`, published: 4372},
			{what: "customers with a sale that is no cancellation", text: sales + `.any()`, published: 4339},
			{what: "the cohort of December 2010", text: `purchase.first().ts < ` + retailFirst, published: 948},
			{what: "of them, back in January", text: `purchase.first().ts < ` + retailFirst + ` && purchase.` + retailNext + `.any()`, published: 362},
			{what: "the cohort by sales alone", text: sales + `.first().ts < ` + retailFirst, published: 885},
			{what: "of them, back in January", text: sales + `.first().ts < ` + retailFirst + ` && ` + sales + `.` + retailNext + `.any()`, published: 324},
		},
	}, {
		what: "Clicks in a web shop, published by Retentioneering", file: "ecom_clickstream/ecom.csv.gz", key: "user_id",
		events: quality.EventColumns{Time: "timestamp", Event: "event"}, rows: 31106,
		figures: []figure{
			{what: "users who saw the catalog", text: `catalog.any()`, published: 600},
			{what: "and then put something into the cart", text: funnel(`catalog, add_to_cart`), published: 511},
			{what: "and then looked at the cart", text: funnel(`catalog, add_to_cart, cart`), published: 431},
			{what: "and then bought", text: funnel(`catalog, add_to_cart, cart, purchase`), published: 225, ours: 224,
				why: "user_0522 did two of the steps in one second, and a sequence wants later times"},
			{what: "users who put something into the cart", text: `add_to_cart.any()`, published: 522},
			{what: "and then bought", text: funnel(`add_to_cart, purchase`), published: 297},
			{what: "users who bought", text: `purchase.any()`, published: 328},
		},
	}}
}

// shopFigures are those of Online Retail as a whole: a file in which all invoices are those of
// one customer is asked whether it has them, so the answer is 1.
func shopFigures() []figure {
	bought := `purchase.filter(e, has(e.CustomerID) && ` + retailSale + `)`
	is := func(what, text string) figure { return figure{what: what, text: text, published: 1} }
	return []figure{
		is("541,909 rows", `purchase.count() == 541909`),
		is("25,900 invoices", `purchase.distinct(e, e.InvoiceNo) == 25900`),
		is("4,070 articles, 38 countries", `purchase.distinct(e, e.StockCode) == 4070 && purchase.distinct(e, e.Country) == 38`),
		is("397,924 sales to customers who are known", bought+`.count() == 397924`),
		is("18,536 invoices of such sales", bought+`.distinct(e, e.InvoiceNo) == 18536`),
		is("8,911,407.90 earned with them", bought+`.sum(e, e.Quantity * e.UnitPrice) >= 8911407.895 && `+bought+`.sum(e, e.Quantity * e.UnitPrice) < 8911407.905`),
	}
}

// publishedActs demonstrates with what people of published data sets did.
func (d *demo) publishedActs(ctx context.Context, folder string, number int) error {
	for i, r := range records() {
		if err := d.record(ctx, folder, number+i, &r); err != nil {
			return err
		}
	}
	return d.shop(ctx, folder)
}

func (d *demo) record(ctx context.Context, folder string, number int, r *record) error {
	file := filepath.Join(folder, filepath.FromSlash(r.file))
	if _, err := os.Stat(file); err != nil {
		fmt.Fprintf(d.out, "\n%s is not in %s: left out.\n", r.file, folder)
		return nil
	}
	event := "--event-name " + r.events.Name
	if r.events.Event != "" {
		event = "--event " + r.events.Event
	}
	d.title("%d. %s: kanta load events %s --profile %s %s --time %s", number, r.what, r.file, r.key, event, r.events.Time)
	s, err := d.openDir(filepath.Join(d.dir, fmt.Sprintf("published-acts-%d", number)), true)
	if err != nil {
		return err
	}
	defer s.Close()
	done, err := d.loadActs(ctx, s, file, r.key, r.events)
	if err != nil {
		return err
	}
	if done.Accepted != r.rows {
		return query.Errorf(query.CodeInternal, "%s: %d events; right is %d", r.file, done.Accepted, r.rows)
	}
	return d.compare(ctx, s, r.figures)
}

// loadActs loads a file of events and says in one line what became of it: what was inferred
// of many types of event would fill the screen.
func (d *demo) loadActs(ctx context.Context, s store, file, key string, events quality.EventColumns) (*loaded, error) {
	quiet := *d.app
	quiet.err, quiet.out = io.Discard, io.Discard
	f := &loadFlags{rowFlags: rowFlags{events: true, key: key, separator: "|"}, zone: "UTC"}
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	o.Events = &events
	l := &load{app: &quiet, store: s, flags: f, options: o}
	if err := l.files(ctx, []string{file}); err != nil {
		return nil, err
	}
	if err := s.Compact(ctx); err != nil {
		return nil, err
	}
	done := l.done[0]
	fmt.Fprintf(d.out, "%s rows: events %s, people %s, quarantined %s (kanta quarantine list says why)\n",
		count(done.Received), count(done.Accepted), count(done.Created), count(done.Quarantined))
	return done, nil
}

// compare asks for figures and compares them with those that were published.
func (d *demo) compare(ctx context.Context, s store, figures []figure) error {
	for i, f := range figures {
		want := f.published
		if f.why != "" {
			want = f.ours
		}
		n, took, err := median(ctx, s, f.text, &query.Options{})
		if err != nil {
			return err
		}
		if n.Count != want {
			return query.Errorf(query.CodeInternal, "%s: %s answers %d; published is %d", f.what, f.text, n.Count, f.published)
		}
		remark := "as published"
		switch {
		case f.why != "":
			remark = fmt.Sprintf("published is %s: %s", count(f.published), f.why)
		case f.published == 1:
			remark = "true, " + remark
		}
		fmt.Fprintf(d.out, "%2d. %s: %s\n      %12s   %s   %s\n", i+1, f.what, f.text, count(n.Count), shortDuration(took), remark)
	}
	return nil
}

// shop asks Online Retail for what was published of the shop as a whole.
func (d *demo) shop(ctx context.Context, folder string) error {
	from := filepath.Join(folder, filepath.FromSlash(retailFile))
	if _, err := os.Stat(from); err != nil {
		return nil
	}
	d.title("The same file with one more column, that makes one customer of all: what the shop did")
	file := filepath.Join(d.dir, "shop.csv")
	if err := writeShop(file, from); err != nil {
		return err
	}
	s, err := d.openDir(filepath.Join(d.dir, "published-shop"), true)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := d.loadActs(ctx, s, file, "Shop", quality.EventColumns{Time: "InvoiceDate", Name: "purchase"}); err != nil {
		return err
	}
	return errors.Join(d.compare(ctx, s, shopFigures()), os.Remove(file))
}

// writeShop copies a table with a column more.
func writeShop(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := zstd.NewReader(in, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return err
	}
	defer z.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	r, w := csv.NewReader(z), csv.NewWriter(out)
	r.ReuseRecord = true
	for cell := "Shop"; ; cell = "the shop" {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := w.Write(append(row, cell)); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
