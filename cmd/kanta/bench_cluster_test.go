package main

import (
	"encoding/json"
	"testing"
)

// TestBenchCluster measures a small cluster of processes, and wants every figure.
func TestBenchCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it starts and kills processes, and runs in make test")
	}
	c := newCLI(t)
	var out struct {
		Profiles, Events uint64
		Figures          []struct {
			Name, Unit            string
			Value, Embedded, Goal *float64
			Met                   *bool
		}
	}
	if err := json.Unmarshal([]byte(c.must("bench", "cluster", "--profiles", "1000", "--events", "2000", "--length", "100ms", "--runs", "1", "--trials", "1", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	embedded, goals := 0, 0
	for _, f := range out.Figures {
		if f.Value == nil || *f.Value < 0 || *f.Value == 0 && f.Unit != "count" && f.Name != "longest time between two acknowledgements, none under way" {
			t.Errorf("%s: %v %s", f.Name, f.Value, f.Unit)
		}
		if f.Embedded != nil {
			embedded++
		}
		if f.Goal != nil && f.Met != nil {
			goals++
		}
	}
	if out.Profiles != 1000 || out.Events != 2000 || len(out.Figures) != 24 || embedded != 5 || goals != 9 {
		t.Errorf("%d figures, %d beside embedded ones, %d with goals: %+v", len(out.Figures), embedded, goals, out)
	}
	if _, _, code := c.run("bench", "cluster", "--events", "0"); code != exitUsage {
		t.Errorf("nothing was measured: exit %d", code)
	}
}
