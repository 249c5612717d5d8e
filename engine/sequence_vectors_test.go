package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// vectorStore is a store in memory with what people of a test vector did: events of one type
// that have a name and, if that is a number, a number.
type vectorStore struct {
	t  *testing.T
	db *DB
}

// vectorAct is one of them.
type vectorAct struct {
	who  string
	at   time.Time
	name any
}

func newVectorStore(t *testing.T, acts []vectorAct) vectorStore {
	t.Helper()
	db, err := Open("vectors", &Options{FS: vfs.NewMem(), Clock: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddEvent, Event: "step"})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "step", Name: "name", Attribute: schema.Attribute{Kind: schema.String}})
	b.Change(schema.Change{Op: schema.AddProperty, Event: "step", Name: "n", Attribute: schema.Attribute{Kind: schema.Int}})
	events := b.Events([]batch.Column{{Name: "name", Kind: schema.String}, {Name: "n", Kind: schema.Int}})
	for _, act := range acts {
		events.Row([]byte(act.who), []byte("step"), act.at.UnixMilli())
		events.Str(0, []byte(fmt.Sprint(act.name)))
		if n, ok := act.name.(float64); ok {
			events.Int(1, int64(n))
		}
	}
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := db.Apply(t.Context(), raw); err != nil || r.Accepted != uint64(len(acts)) {
		t.Fatalf("%+v, %v", r, err)
	}
	return vectorStore{t, db}
}

// level returns how many of the steps a person took one after the other within seconds.
func (s vectorStore) level(who string, steps []any, seconds int64) (level int) {
	s.t.Helper()
	const longest = 100 * 365 * 86400 // a duration has an end
	lists := s.lists(steps)
	defer func() { s.asFunnel(who, lists, min(seconds, longest), level) }()
	for i := range lists {
		text := lists[0] + ".any()"
		if i > 0 {
			text = fmt.Sprintf("sequence(duration(\"%ds\"), [%s]).any()", min(seconds, longest), strings.Join(lists[:i+1], ", "))
		}
		if !s.members(text)[who] {
			return i
		}
	}
	return len(steps)
}

// asFunnel makes sure that the analysis says the same.
func (s vectorStore) asFunnel(who string, lists []string, seconds int64, level int) {
	s.t.Helper()
	if len(lists) < 2 {
		return
	}
	if got := s.funnelLevel(who, lists, seconds, "sequence"); got != level {
		s.t.Errorf("as a funnel of %q within %d s, %s comes to step %d; as sequences to step %d", lists, seconds, who, got, level)
	}
}

// funnelLevel returns to which step of a funnel a person comes.
func (s vectorStore) funnelLevel(who string, lists []string, seconds int64, order string) (level int) {
	s.t.Helper()
	args := query.Arguments{"step": lists, "within": {fmt.Sprintf("%ds", seconds)}, "order": {order}}
	for k := range lists {
		m, err := s.db.AnalysisMembers(s.t.Context(), "funnel", "", args, fmt.Sprint(k+1), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		for row, err := range m.Rows {
			if err != nil {
				s.t.Fatal(err)
			}
			if row.Key == who {
				level = k + 1
			}
		}
	}
	return level
}

// lists writes the steps of a case as event lists.
func (vectorStore) lists(steps []any) (lists []string) {
	for _, step := range steps {
		condition := fmt.Sprintf("e.name == %q", fmt.Sprint(step))
		if text, ok := step.(string); ok && (text[0] == '<' || text[0] == '>') {
			condition = "e.n " + text
		}
		lists = append(lists, "step.filter(e, "+condition+")")
	}
	return lists
}

func (s vectorStore) members(text string) map[string]bool {
	s.t.Helper()
	found, err := s.db.Members(s.t.Context(), text, nil)
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	out := map[string]bool{}
	for m, err := range found.Rows {
		if err != nil {
			s.t.Fatal(err)
		}
		out[m.Key] = true
	}
	return out
}

// readVectors reads a file of published test vectors.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(publishedText(t, "funnel_vectors", name), into); err != nil {
		t.Fatal(err)
	}
}

// publishedText returns a file of the reference data.
func publishedText(t *testing.T, name ...string) []byte {
	t.Helper()
	folder := os.Getenv("KANTA_REFDATA")
	if folder == "" && os.Getenv("CI") == "true" {
		t.Fatal("KANTA_REFDATA is not set: name the folder of reference data")
	}
	if folder == "" {
		t.Skip("KANTA_REFDATA names no folder of reference data")
	}
	text, err := os.ReadFile(filepath.Join(append([]string{folder}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSequenceVectors asks the published cases of ClickHouse's sequence functions. Where
// sequence means something else, the case is named here with the reason, and must differ.
func TestSequenceVectors(t *testing.T) {
	differs := map[string]string{
		"sequenceMatch (?1)(?2) of [1 2 3]": "there, no event of the conditions may stand between two steps; here, whatever else a person did does not matter",
	}
	elsewhere := map[string]string{
		"histogram5": "it is no sequence but a histogram",
	}
	var file struct {
		Cases []struct {
			Name, Pattern string
			Rows          [][2]float64
			Conds         []any
			Expected      any
			Cases         []struct {
				Conds    []any
				Expected int
			}
		}
	}
	readVectors(t, "sequence_cases.json", &file)
	var found []string
	for _, c := range file.Cases {
		if elsewhere[c.Name] != "" {
			found = append(found, c.Name)
			continue
		}
		var acts []vectorAct
		for _, row := range c.Rows {
			acts = append(acts, vectorAct{"p", time.Unix(int64(row[0]), 0), row[1]})
		}
		s := newVectorStore(t, acts)
		check := func(conds []any, matches int) {
			name := fmt.Sprintf("%s %s of %v", c.Name, c.Pattern, conds)
			// A pattern of two steps; how often it matches is more than whether it does.
			same := (s.level("p", conds[:2], 1<<40) == 2) == (matches > 0)
			if reason := differs[name]; same != (reason == "") {
				t.Errorf("%s: there %d, the same here: %v (%s)", name, matches, same, reason)
			} else if !same {
				found = append(found, name)
			}
		}
		for _, sub := range c.Cases {
			check(sub.Conds, sub.Expected)
		}
		if len(c.Conds) > 0 {
			check(c.Conds, int(c.Expected.(float64)))
		}
	}
	if len(found) != len(differs)+len(elsewhere) {
		t.Errorf("of the named cases only %q are in the file", found)
	}
}

// TestFunnelVectors does the same with the published cases of windowFunnel: how far a person
// got is how many steps a sequence may have. What is called strict_increase there, that
// each step is later than the one before, always holds here; so the default there differs
// where steps have the same time, and the stricter modes forbid what is allowed here.
func TestFunnelVectors(t *testing.T) {
	notRaced(t)
	const (
		sameTime = "steps of the same time are no sequence here"
		oneEvent = "one event is several steps there"
		order    = "strict_order: no other event may stand between two steps there"
		dedup    = "strict_deduplication: a step that is repeated ends the funnel there"
		fixed    = "fixed: a step of another place ends the funnel there"
	)
	differs := map[string]string{
		"ch_dedup": dedup, "ch_issue27469": dedup, "sr_example2_mode1": dedup,
		"ch_order_strict": order, "ch_order_strict_dedup": order, "ch_strict_order_skip": order,
		"ch_reentry_off": order, "ch_reentry_on": order, "ch_reentry4_off": order, "ch_reentry4_on": order, "ch_reentry_dedup": order,
		"ch_ecom3": order, "ch_ecom4": order, "ch_ecom4_reentry": order,
		"ch_increase_off": sameTime, "sr_example4_mode0": sameTime, "ch_same_step_default": oneEvent, "sr_example3_mode2": fixed,
	}
	asked := 0
	for _, c := range readFunnelVectors(t) {
		s := c.store(t)
		var others []string
		for who, want := range c.Levels {
			asked++
			if got := s.level(who, c.Steps, c.Window); got != want {
				others = append(others, fmt.Sprintf("%s: %d, not %d", who, got, want))
			}
		}
		slices.Sort(others)
		if (differs[c.Name] != "") != (len(others) > 0) {
			t.Errorf("%s: %q (%s)", c.Name, others, differs[c.Name])
		}
		delete(differs, c.Name)
	}
	if asked < 80 || len(differs) > 0 {
		t.Errorf("%d people asked about; %v are in no case", asked, differs)
	}
}

// TestStrictFunnelVectors asks those of the cases that have the mode strict_order as funnels in
// a strict order. There a step that is repeated is passed over unless the mode
// strict_deduplication is on, and nothing begins anew.
func TestStrictFunnelVectors(t *testing.T) {
	const (
		repeated = "a step that is repeated is passed over there, here nothing may lie between"
		later    = "the first break ends the funnel there, here a later entry comes further"
		passed   = "allow_reentry: another event of the first step is passed over there, here nothing may lie between"
		twice    = "two steps of one name end the funnel there"
	)
	differs := map[string]string{
		"ch_order_strict 3": repeated, "ch_order_strict 4": repeated, "ch_reentry4_off 3": repeated, "ch_reentry4_on 3": repeated,
		"ch_reentry_off 2": later, "ch_reentry4_off 2": later, "ch_reentry4_off 5": later, "ch_reentry_dedup 2": later,
		"ch_reentry_on 1": passed, "ch_reentry4_on 1": passed, "ch_reentry_dedup 1": passed, "ch_ecom3_reentry 1": passed, "ch_ecom3_reentry 2": passed,
		"ch_ecom4 1": twice, "ch_ecom4 2": twice, "ch_ecom4 3": twice, "ch_ecom4_reentry 1": twice, "ch_ecom4_reentry 2": twice, "ch_ecom4_reentry 3": twice,
	}
	asked := 0
	for _, c := range readFunnelVectors(t) {
		if !slices.Contains(c.Modes, "strict_order") {
			continue
		}
		s := c.store(t)
		for who, want := range c.Levels {
			asked++
			name := c.Name + " " + who
			got := s.funnelLevel(who, s.lists(c.Steps), c.Window, "strict")
			if (got == want) != (differs[name] == "") {
				t.Errorf("%s: %d, there %d (%s)", name, got, want, differs[name])
			}
			delete(differs, name)
		}
	}
	if asked < 40 || len(differs) > 0 {
		t.Errorf("%d people asked about; %v are in no case", asked, differs)
	}
}

// funnelVector is a published case of windowFunnel.
type funnelVector struct {
	Name   string
	Events map[string][]struct{ T, E any } `json:"events_by_user"`
	Steps  []any
	Window int64
	Modes  []string
	Levels map[string]int `json:"expected_level"`
}

func readFunnelVectors(t *testing.T) []funnelVector {
	t.Helper()
	var file struct{ Cases []funnelVector }
	readVectors(t, "window_funnel_cases.json", &file)
	return file.Cases
}

// store returns a store with what the people of a case did.
func (c *funnelVector) store(t *testing.T) vectorStore {
	t.Helper()
	var acts []vectorAct
	for who, list := range c.Events {
		for _, e := range list {
			at := time.Time{}
			switch v := e.T.(type) {
			case float64:
				at = time.Unix(int64(v), 0)
			case string:
				var err error
				if at, err = time.Parse(time.DateTime, v); err != nil {
					t.Fatal(err)
				}
			}
			acts = append(acts, vectorAct{who, at, e.E})
		}
	}
	return newVectorStore(t, acts)
}
