package engine

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestTrendPublished measures the months of the CDNOW sample (Fader and Hardie): what they add
// up to is published, each is compared with a loop over the file.
func TestTrendPublished(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(string(publishedText(t, "cdnow", "CDNOW_sample.txt"))), "\n")
	m := &actModel{t: t}
	m.set(time.Date(1998, 7, 1, 0, 0, 0, 0, time.UTC))
	var err error
	if m.db, err = Open("store", &Options{FS: vfs.NewMem(), Clock: m.clock}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.db.Close() }()
	type month struct {
		buys, discs int64
		spent       *big.Rat
		people      map[string]bool
	}
	months := map[string]*month{}
	m.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
		for _, a := range []schema.Attribute{{Name: "discs", Kind: schema.Int}, {Name: "spent", Kind: schema.Decimal, Scale: 2}} {
			b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: a.Name, Attribute: a})
		}
		table := b.Events([]batch.Column{{Name: "discs", Kind: schema.Int}, {Name: "spent", Kind: schema.Decimal, Scale: 2}})
		for _, line := range lines {
			cells := strings.Fields(line) // customer, sample, day, discs, dollars
			day, err := time.Parse("20060102", cells[2])
			if err != nil {
				t.Fatal(err)
			}
			label := day.Format("2006-01") + "-01"
			if months[label] == nil {
				months[label] = &month{spent: new(big.Rat), people: map[string]bool{}}
			}
			discs, _ := schema.ParseOrdered(schema.Int, 0, []byte(cells[3]), nil)
			cents, err := schema.ParseOrdered(schema.Decimal, 2, []byte(cells[4]), nil)
			if err != nil {
				t.Fatal(err)
			}
			table.Row([]byte(cells[0]), []byte("buy"), day.UnixMilli())
			table.Int(0, discs)
			table.Int(1, cents)
			in := months[label]
			in.buys, in.discs, in.people[cells[0]] = in.buys+1, in.discs+discs, true
			in.spent.Add(in.spent, big.NewRat(cents, 100))
		}
	})
	for _, x := range []struct {
		measure, of, total string // published
		each               func(in *month) *big.Rat
	}{
		{"count", "", "6919", func(in *month) *big.Rat { return big.NewRat(in.buys, 1) }},
		{"sum", "e.discs", "16479", func(in *month) *big.Rat { return big.NewRat(in.discs, 1) }},
		{"sum", "e.spent", "244091.94", func(in *month) *big.Rat { return in.spent }},
		{"people", "", "", func(in *month) *big.Rat { return big.NewRat(int64(len(in.people)), 1) }},
	} {
		args := query.Arguments{"event": {"buy"}, "measure": {x.measure}, "per": {"month"}, "from": {"1997-01-01"}, "to": {"1998-06-30"}}
		if x.of != "" {
			args["of"] = []string{x.of}
		}
		r, err := m.db.Analyze(t.Context(), "trend", "", args, nil)
		if err != nil {
			t.Fatal(err)
		}
		total := new(big.Rat)
		for _, row := range r.Tables[0].Rows {
			got, ok := new(big.Rat).SetString(row.Values[1].String())
			if want := x.each(months[row.Values[0].Str()]); !ok || got.Cmp(want) != 0 {
				t.Fatalf("%s %s of %s: %v, want %v", x.measure, x.of, row.Values[0].Str(), row.Values[1], want)
			}
			total.Add(total, got)
		}
		if want, ok := new(big.Rat).SetString(x.total); len(r.Tables[0].Rows) != 18 || ok && total.Cmp(want) != 0 {
			t.Errorf("%s %s: %d months add up to %s, want %s", x.measure, x.of, len(r.Tables[0].Rows), total.FloatString(2), x.total)
		}
	}
}
