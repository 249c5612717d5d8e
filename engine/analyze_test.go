package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// analyses compares some random analyses.
func (m *actModel) analyses(name string) {
	m.t.Helper()
	defer func(r *rand.Rand) { m.r = r }(m.r) // what is written stays what it was without this
	m.r = rand.New(rand.NewPCG(uint64(m.asked), uint64(m.funnels)))
	if testing.Short() && m.r.IntN(4) > 0 {
		return
	}
	for range 3 {
		m.oneFunnel(name)
	}
	if m.r.IntN(6) == 0 {
		m.overlap(name)
	}
	if m.asked > 800 && m.funnels < 200 && !testing.Short() {
		m.t.Errorf("only %d people went on to a step of a funnel", m.funnels)
	}
}

// oneFunnel compares a random funnel with the sequences that it consists of, which another
// part of the engine evaluates; and what its rows count with who they list.
func (m *actModel) oneFunnel(name string) {
	m.t.Helper()
	ctx := m.t.Context()
	n, hours := 2+m.r.IntN(3), 1+m.r.IntN(400)
	args := query.Arguments{"within": {fmt.Sprintf("%dh", hours)}}
	for range n {
		text, _ := m.events()
		args["step"] = append(args["step"], text)
	}
	who := pickOne(m, "", "true", m.condition())
	what := fmt.Sprintf("%s: funnel %q %v", name, who, args)
	r, err := m.db.Analyze(ctx, "funnel", who, args, nil)
	if errors.Is(err, &query.Error{Code: query.CodeType}) && strings.Contains(err.Error(), "has no plan") {
		return // in expressions it is interpreted
	}
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	if who == "" {
		who = "true"
	}
	people := make([]int64, n+1)
	for k := range n {
		same := fmt.Sprintf("(%s) && %s.any()", who, args["step"][0])
		if k > 0 {
			same = fmt.Sprintf("(%s) && sequence(hours(%d), [%s]).any()", who, hours, strings.Join(args["step"][:k+1], ", "))
		}
		want := m.keysOf(m.db.Members(ctx, same, nil))
		row := r.Tables[0].Rows[k]
		if people[k] = row.Values[2].Ordered(); people[k] != int64(len(want)) {
			m.t.Fatalf("%s: step %d has %d people, want %q", what, k+1, people[k], want)
		}
		got := m.keysOf(m.db.AnalysisMembers(ctx, "funnel", who, args, row.Cells[0], nil))
		if !slices.Equal(got, want) {
			m.t.Fatalf("%s: cell %s is %q, want %q", what, row.Cells[0], got, want)
		}
		m.funnels += min(k, len(want))
	}
	for k, row := range r.Tables[0].Rows[:n-1] {
		dropped := m.keysOf(m.db.AnalysisMembers(ctx, "funnel", who, args, row.Cells[1], nil))
		if int64(len(dropped)) != people[k]-people[k+1] || row.Values[5].Ordered() != people[k]-people[k+1] {
			m.t.Fatalf("%s: %d of step %d dropped, %v say the row and %q the cell", what, people[k]-people[k+1], k+1, row.Values[5], dropped)
		}
	}
}

func (m *actModel) keysOf(l query.Members, err error) (keys []string) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	for row, err := range l.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		keys = append(keys, row.Key)
	}
	if uint64(len(keys)) != l.Total {
		m.t.Fatalf("%d keys of %d", len(keys), l.Total)
	}
	return keys
}

// TestListNote: where a list comes from is told until it is put anew, after a reopening too.
func TestListNote(t *testing.T) {
	s := newIDSender(t)
	note := func() string {
		t.Helper()
		all, err := s.db.Lists(t.Context())
		if err != nil || len(all) != 1 || all[0].People != 1 {
			t.Fatal(all, err)
		}
		return all[0].Note
	}
	s.apply(func(b *batch.Builder) {
		b.ListPut("best", "anna")
		b.ListNote("best", "rfm --cell champions")
	})
	for range 2 {
		if note() != "rfm --cell champions" {
			t.Errorf("it comes from %q", note())
		}
		s.reopen()
	}
	s.apply(func(b *batch.Builder) { b.ListAdd("best", "anna") })
	if note() == "" {
		t.Error("a list that is added to has lost its note")
	}
	s.apply(func(b *batch.Builder) { b.ListPut("best", "anna") })
	if note() != "" {
		t.Errorf("a list that was put by hand comes from %q", note())
	}
	b := batch.New()
	b.ListNote("worst", "nowhere")
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Apply(t.Context(), raw); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		t.Errorf("a note of no list: %v", err)
	}
}

// TestAnalyzeEnds: an analysis ends with its context, and with its snapshot.
func TestAnalyzeEnds(t *testing.T) {
	s := newIDSender(t)
	s.send("app", "id", 90, 1)
	args := query.Arguments{"step": {"buy", "look"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.db.Analyze(ctx, "funnel", "", args, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	n, err := s.db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := n.Analyze(t.Context(), "funnel", "", args, nil); err != nil || r.Tables[0].Rows[0].Values[2].Ordered() != 1 || r.Position != n.Position() {
		t.Errorf("%+v, %v", r, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Analyze(t.Context(), "funnel", "", args, nil); !errors.Is(err, &query.Error{Code: query.CodeSnapshotGone}) {
		t.Errorf("a closed snapshot: %v", err)
	}
	if _, err := s.db.AnalysisMembers(t.Context(), "funnel", "", args, "", nil); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("no cell: %v", err)
	}
}
