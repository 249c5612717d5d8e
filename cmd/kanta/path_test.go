package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPublishedPaths compares paths through a web shop with two figures that were published of
// it, and with a loop over the file.
func TestPublishedPaths(t *testing.T) {
	path := filepath.Join(publishedFolder(t), "ecom_clickstream", "ecom.csv.gz")
	c := newCLI(t)
	c.must("load", "events", path, "--profile", "user_id", "--event", "event", "--time", "timestamp")
	contains(t, c.must("path", "--after", "add_to_cart", "--event", "purchase", "--steps", "1", "--within", "365d"),
		"0\tadd_to_cart\tadd_to_cart\t522\t1\t\n1\tadd_to_cart>purchase\tpurchase\t297\t0.568965517\t")
	contains(t, c.must("path", "--after", "catalog", "--event", "add_to_cart", "--steps", "1", "--within", "365d"),
		"0\tcatalog\tcatalog\t600\t1\t\n1\tcatalog>add_to_cart\tadd_to_cart\t511\t")

	type click struct {
		at   time.Time
		list int
		what string
	}
	lists := []string{"home", "catalog", "product_view", "search", "add_to_cart", "cart", "purchase"}
	users := map[string][]click{}
	for _, row := range readTable(t, path) {
		if list := slices.Index(lists, row["event"]); list >= 0 {
			at, err := time.Parse(time.DateTime, row["timestamp"])
			if err != nil {
				t.Fatal(err)
			}
			users[row["user_id"]] = append(users[row["user_id"]], click{at, list, row["event"]})
		}
	}
	want := map[string]int{}
	for _, clicks := range users {
		slices.SortFunc(clicks, func(a, b click) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.list, b.list)) })
		for i, first := range clicks {
			if first.what != "cart" {
				continue
			}
			cell, last, n := "cart", first, 0
			for _, next := range clicks[i:] {
				if next.at.Equal(first.at) || n == 2 {
					continue
				}
				if next.at.Sub(last.at) > 30*time.Minute {
					break
				}
				if next.what != last.what {
					n++
					cell += ">" + next.what
					want[cell]++
				}
				last = next
			}
			if n < 2 {
				want[cell+">(end)"]++
			}
			want["cart"]++
		}
	}
	args := []string{"path", "--after", "cart", "--steps", "2", "--within", "365d", "--gap", "30m", "--count", "every", "--top", "100"}
	for _, list := range lists {
		args = append(args, "--event", list)
	}
	for line := range strings.Lines(c.must(args...)) {
		if cells := strings.Split(line, "\t"); strings.HasPrefix(cells[1], "cart") && len(cells) == 6 {
			if got := cells[3]; got != fmt.Sprint(want[cells[1]]) {
				t.Errorf("%s: %s, want %d", cells[1], got, want[cells[1]])
			}
			delete(want, cells[1])
		}
	}
	if len(want) > 0 {
		t.Errorf("these are missing: %v", want)
	}
}
