package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
)

// planJSON is a node of a plan.
type planJSON struct {
	Label    string     `json:"label"`
	Method   string     `json:"method"`
	Estimate uint64     `json:"estimate"`
	Chunks   uint64     `json:"chunks"`
	Skipped  uint64     `json:"skipped"`
	Bytes    uint64     `json:"bytes"`
	Events   *readsJSON `json:"events,omitempty"`
	Computed []string   `json:"computed,omitempty"`
	Of       []planJSON `json:"of,omitempty"`
}

// readsJSON is how a node of a plan found events.
type readsJSON struct {
	Parts       uint64 `json:"parts"`
	OtherParts  uint64 `json:"other_parts"`
	Blocks      uint64 `json:"blocks"`
	OtherTimes  uint64 `json:"other_times"`
	OtherPeople uint64 `json:"other_people"`
	OtherValues uint64 `json:"other_values"`
	Facts       uint64 `json:"facts"`
}

func planOf(n *query.PlanNode) planJSON {
	j := planJSON{Label: n.Label, Method: n.Method, Estimate: n.Estimate, Chunks: n.Chunks, Skipped: n.Skipped, Bytes: n.Bytes, Computed: n.Computed}
	if n.Events != (query.EventReads{}) {
		j.Events = new(readsJSON(n.Events))
	}
	for i := range n.Of {
		j.Of = append(j.Of, planOf(&n.Of[i]))
	}
	return j
}

// lentJSON is an analysis that was run for a plan.
type lentJSON struct {
	Name    string `json:"name"`
	People  uint64 `json:"people"`
	Bytes   uint64 `json:"bytes"`
	Elapsed int64  `json:"elapsed_us"`
}

func lentOf(all []query.LentCost) []lentJSON {
	out := []lentJSON{}
	for _, l := range all {
		out = append(out, lentJSON{l.Name, l.People, l.BytesRead, l.Elapsed.Microseconds()})
	}
	return out
}

func newPlan(a *app) *cobra.Command {
	var ask questionFlags
	c := &cobra.Command{
		Use:   "plan EXPR",
		Short: "How an expression is answered, and what that read",
		Long: `How an expression is answered: its parts in the order of evaluation, how each is read,
how many people were expected to satisfy it, and which chunks of 65,536 people were read
or skipped. Of events it tells how many parts may have some in the window, and of their
blocks of 4,096 how many were read, and skipped for their times, for whose they are, and
for their values; and how many blocks were read of what all events of 4,096 people come
to, in their place. A part that comes of computed attributes has their names behind it.
The question is asked once, as kanta count would.

An analysis that was run for it, because the expression has rfm("name"), has a line of its own.

--json: {"plan":{"label","method","estimate","chunks","skipped","bytes","events":{"parts",
"other_parts","blocks","other_times","other_people","other_values","facts"},
"computed":[...],"of":[...]},"analyses":[{"name","people","bytes","elapsed_us"}],"count":N,
"bytes_read":N,...}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error {
				p, err := s.Plan(c.Context(), args[0], &o)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(struct {
						Plan  planJSON   `json:"plan"`
						Lent  []lentJSON `json:"analyses"`
						Count uint64     `json:"count"`
						Bytes uint64     `json:"bytes_read"`
						answerJSON
					}{planOf(&p.Root), lentOf(p.Lent), p.Count, p.BytesRead, answerOf(p.Answer)})
				}
				if err := a.printPlan(&p); err != nil {
					return err
				}
				t := a.facts()
				t.add("count", p.Count)
				t.add("bytes read", t.bytes(int64(p.BytesRead)))
				t.addAnswer(p.Answer)
				a.noteCurrent(p.Answer)
				return t.write(a.out)
			})
		},
	}
	ask.add(c)
	return c
}

func (a *app) printPlan(p *query.Plan) error {
	t := a.newTable("part", "method", "#expected", "#chunks", "#skipped", "#bytes", "events")
	walkPlan(&p.Root, 0, func(n *query.PlanNode, label string) {
		t.add(label, n.Method, n.Estimate, n.Chunks, n.Skipped, t.bytes(int64(n.Bytes)), t.reads(n.Events))
	})
	if err := t.write(a.out); err != nil || len(p.Lent) == 0 {
		return err
	}
	a.gap()
	t = a.newTable("analysis", "#people", "#bytes", "#time")
	for _, l := range p.Lent {
		elapsed := any(l.Elapsed.Microseconds())
		if t.terminal {
			elapsed = l.Elapsed
		}
		t.add(l.Name, l.People, t.bytes(int64(l.BytesRead)), elapsed)
	}
	return t.write(a.out)
}

// reads says how events were found.
func (t *table) reads(r query.EventReads) string {
	if r == (query.EventReads{}) {
		return ""
	}
	n := func(x uint64) string { return t.number(strconv.FormatUint(x, 10)) }
	facts := ""
	if r.Facts > 0 {
		facts = "facts " + n(r.Facts) + ", "
	}
	return facts + "parts " + n(r.Parts) + " of " + n(r.Parts+r.OtherParts) + ", blocks " + n(r.Blocks) + ", not for time " + n(r.OtherTimes) +
		", people " + n(r.OtherPeople) + ", values " + n(r.OtherValues)
}

// walkPlan calls do for each node with its label, indented by its depth.
func walkPlan(n *query.PlanNode, depth int, do func(n *query.PlanNode, label string)) {
	label := n.Label
	if len(n.Computed) > 0 {
		label += "  (" + strings.Join(n.Computed, ", ") + ")"
	}
	do(n, strings.Repeat("  ", depth)+label)
	for i := range n.Of {
		walkPlan(&n.Of[i], depth+1, do)
	}
}
