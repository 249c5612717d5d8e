package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestFunnelPublished asks the funnels that are published of the shop clickstream of
// retentioneering: how many of its users go from step to step, however long it takes them.
// One of 225 who come to the end there, user_0522, has an add_to_cart and a cart of the same
// second, which do not follow each other here.
func TestFunnelPublished(t *testing.T) {
	packed, err := gzip.NewReader(bytes.NewReader(publishedText(t, "ecom_clickstream", "ecom.csv.gz")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	m := &actModel{t: t}
	m.set(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if m.db, err = Open("store", &Options{FS: vfs.NewMem(), Clock: m.clock}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		seen := map[string]bool{}
		for _, line := range lines[1:] { // user, session, event, time, platform ...
			if event := line[2]; !seen[event] {
				seen[event] = true
				b.Change(schema.Change{Op: schema.AddEvent, Event: event})
				b.Change(schema.Change{Op: schema.AddProperty, Event: event, Name: "platform", Attribute: schema.Attribute{Name: "platform", Kind: schema.String}})
			}
		}
		table := b.Events([]batch.Column{{Name: "platform", Kind: schema.String}})
		for _, line := range lines[1:] {
			at, err := time.Parse(time.DateTime, line[3])
			if err != nil {
				t.Fatal(err)
			}
			table.Row([]byte(line[0]), []byte(line[2]), at.UnixMilli())
			table.Str(0, []byte(line[4]))
		}
	})
	for _, x := range []struct {
		steps []string
		want  []int64
	}{
		{[]string{"catalog", "add_to_cart", "cart", "purchase"}, []int64{600, 511, 431, 225 - 1}},
		{[]string{"add_to_cart", "purchase"}, []int64{522, 297}},
	} {
		for _, by := range []string{"", "e.platform"} {
			args := query.Arguments{"step": x.steps, "within": {"5000d"}}
			if by != "" {
				args["by"] = []string{by}
			}
			r, err := m.db.Analyze(t.Context(), "funnel", "", args, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, people := map[string]int64{}, 2
			if by != "" {
				people++
			}
			for _, row := range r.Tables[0].Rows {
				got[row.Values[0].String()] += row.Values[people].Ordered()
			}
			for k, want := range x.want {
				if n := got[fmt.Sprint(k+1)]; n != want {
					t.Errorf("%q by %q: %d people come to step %d, published are %d", x.steps, by, n, k+1, want)
				}
			}
		}
	}
	args := query.Arguments{"step": {"catalog", "add_to_cart", "cart", "purchase"}, "within": {"5000d"}}
	if dropped := m.keysOf(m.db.AnalysisMembers(t.Context(), "funnel", "", args, "3:dropped", nil)); !slices.Contains(dropped, "user_0522") {
		t.Error("user_0522 came no further than the cart, but is not among those who dropped there")
	}
}
