package main

import (
	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
)

// explainJSON is a node of an explanation.
type explainJSON struct {
	Label    string        `json:"label"`
	Method   string        `json:"method"`
	True     uint64        `json:"true"`
	Unknown  uint64        `json:"unknown"`
	Events   uint64        `json:"unknown_events"`
	Computed []string      `json:"computed,omitempty"`
	Of       []explainJSON `json:"of,omitempty"`
}

func explainOf(n *query.PlanNode) explainJSON {
	j := explainJSON{Label: n.Label, Method: n.Method, True: n.True, Unknown: n.Unknown, Events: n.UnknownEvents, Computed: n.Computed}
	for i := range n.Of {
		j.Of = append(j.Of, explainOf(&n.Of[i]))
	}
	return j
}

func newExplain(a *app) *cobra.Command {
	var ask questionFlags
	c := &cobra.Command{
		Use:   "explain EXPR",
		Short: "For how many each part of an expression is true, and for how many unknown",
		Long: `Each part of an expression evaluated by itself over everybody: for how many people it
is true, and for how many unknown; and how many events, of those in its windows, a part
left out because a condition on them, or what it adds up, is unknown. It takes longer than
the question itself.

--json: {"explanation":{"label","method","true","unknown","unknown_events","computed":[...],
"of":[...]},"count":N,...}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error {
				e, err := s.Explain(c.Context(), args[0], &o)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(struct {
						Explanation explainJSON `json:"explanation"`
						Count       uint64      `json:"count"`
						answerJSON
					}{explainOf(&e.Root), e.Count, answerOf(e.Answer)})
				}
				a.noteCurrent(e.Answer)
				t := a.newTable("part", "#true", "#unknown", "#unknown events", "method")
				walkPlan(&e.Root, 0, func(n *query.PlanNode, label string) { t.add(label, n.True, n.Unknown, n.UnknownEvents, n.Method) })
				return t.write(a.out)
			})
		},
	}
	ask.add(c)
	return c
}
