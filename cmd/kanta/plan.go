package main

import (
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
	Of       []planJSON `json:"of,omitempty"`
}

func planOf(n *query.PlanNode) planJSON {
	j := planJSON{Label: n.Label, Method: n.Method, Estimate: n.Estimate, Chunks: n.Chunks, Skipped: n.Skipped, Bytes: n.Bytes}
	for i := range n.Of {
		j.Of = append(j.Of, planOf(&n.Of[i]))
	}
	return j
}

func newPlan(a *app) *cobra.Command {
	var ask questionFlags
	c := &cobra.Command{
		Use:   "plan EXPR",
		Short: "How an expression is answered, and what that read",
		Long: `How an expression is answered: its parts in the order of evaluation, how each is read,
how many people were expected to satisfy it, and which chunks of 65,536 people were read
or skipped. The question is asked once, as kanta count would.

--json: {"plan":{"label","method","estimate","chunks","skipped","bytes","of":[...]},"count":N,"bytes_read":N,...}`,
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
						Plan  planJSON `json:"plan"`
						Count uint64   `json:"count"`
						Bytes uint64   `json:"bytes_read"`
						answerJSON
					}{planOf(&p.Root), p.Count, p.BytesRead, answerOf(p.Answer)})
				}
				if err := a.printPlan(&p); err != nil {
					return err
				}
				t := a.facts()
				t.add("count", p.Count)
				t.add("bytes read", t.bytes(int64(p.BytesRead)))
				t.addAnswer(p.Answer)
				return t.write(a.out)
			})
		},
	}
	ask.add(c)
	return c
}

func (a *app) printPlan(p *query.Plan) error {
	t := a.newTable("part", "method", "#expected", "#chunks", "#skipped", "#bytes")
	walkPlan(&p.Root, 0, func(n *query.PlanNode, label string) {
		t.add(label, n.Method, n.Estimate, n.Chunks, n.Skipped, t.bytes(int64(n.Bytes)))
	})
	return t.write(a.out)
}

// walkPlan calls do for each node with its label, indented by its depth.
func walkPlan(n *query.PlanNode, depth int, do func(n *query.PlanNode, label string)) {
	do(n, strings.Repeat("  ", depth)+n.Label)
	for i := range n.Of {
		walkPlan(&n.Of[i], depth+1, do)
	}
}
