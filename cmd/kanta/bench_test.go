package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

// benchJSON is what the test reads of the JSON of kanta bench.
type benchJSON struct {
	Events   uint64
	PerEvent float64 `json:"bytes_per_event"`
	Loads    []struct {
		How  string
		Rows uint64
	}
	Questions []struct {
		Name    string
		Checked bool
	}
	Cold []struct {
		Name   string
		OpenUS float64 `json:"open_us"`
		P50US  float64 `json:"p50_us"`
	}
	Writes []struct {
		Half *struct {
			RowsPerSecond uint64 `json:"rows_per_second"`
			Questions     []struct{ Name string }
		}
	}
	Wire []struct {
		Name     string
		P50US    float64 `json:"p50_us"`
		PerSec   float64 `json:"per_second"`
		Embedded float64 `json:"embedded_p50_us"`
		There    float64 `json:"embedded_per_second"`
	}
	Idle      int    `json:"idle_connections"`
	Bandwidth uint64 `json:"bytes_per_second"`
	Budget    int64  `json:"memory_budget"`
}

// checkWire wants figures of everything that is asked over the wire.
func checkWire(t *testing.T, out *benchJSON) {
	t.Helper()
	if len(out.Wire) != 8 || runtime.GOOS == "linux" && out.Idle != 1000 {
		t.Errorf("over the wire: %+v, %d idle connections", out.Wire, out.Idle)
	}
	for _, w := range out.Wire {
		asked, written := strings.HasPrefix(w.Name, "Q"), strings.HasPrefix(w.Name, "durable")
		if w.P50US <= 0 && w.PerSec <= 0 || asked && w.Embedded <= 0 || written && w.There <= 0 {
			t.Errorf("over the wire: %+v", w)
		}
	}
}

// TestBenchCold makes events up and checks every answer about them, asks in processes of
// their own, and on a terminal explains the roofline.
func TestBenchCold(t *testing.T) {
	c := newCLI(t)
	small := []string{"bench", "--profiles", "2000", "--runs", "1", "--segments", "5", "--mix", "10ms"}
	var out benchJSON
	if err := json.Unmarshal([]byte(c.must(append(small, "--write", "20ms", "--cold", "--memory", "70MiB", "--json")...)), &out); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && (len(out.Cold) != 4 || out.Cold[0].Name != "Q2" || out.Cold[1].OpenUS <= 0 || out.Cold[1].P50US <= 0) {
		t.Errorf("cold: %+v", out.Cold)
	}
	if len(out.Writes) != 5 || out.Writes[1].Half == nil || out.Writes[1].Half.RowsPerSecond == 0 || len(out.Writes[1].Half.Questions) != 2 {
		t.Errorf("writes: %+v", out.Writes)
	}
	checkWire(t, &out)
	checked := map[string]bool{}
	for _, q := range out.Questions {
		checked[q.Name] = q.Checked
	}
	for _, name := range []string{"Q1", "Q8", "Q9", "Q10", "Q11", "Q12", "Q16"} {
		if !checked[name] {
			t.Errorf("%s was not checked: %v", name, checked)
		}
	}
	if last := out.Loads[len(out.Loads)-1]; out.Events != 20_000 || out.PerEvent <= 0 || last.How != "events, csv" || last.Rows != 20_000 {
		t.Errorf("%+v", out)
	}
	if out.Bandwidth == 0 || out.Budget != 70<<20 {
		t.Errorf("%d bytes per second, a budget of %d", out.Bandwidth, out.Budget)
	}
	c.terminal = true
	contains(t, c.must(append(small, "--write=-1s", "--events", "0")...), "roofline", "times it", "Q1", "right", "MIX8", "The roofline is", "GB/s", "memory budget")
	if _, _, code := c.run("bench", "--first", "Q99"); code == exitOK {
		t.Error("a question that does not exist was asked")
	}
}
