package main

import (
	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// none is how a breakdown names those without a value.
const none = "(none)"

// breakdownRowJSON is one value of a breakdown; null stands for no value.
type breakdownRowJSON struct {
	Value *string `json:"value"`
	Count uint64  `json:"count"`
}

func newBreakdown(a *app) *cobra.Command {
	var ask questionFlags
	var by string
	var top int
	c := &cobra.Command{
		Use:   "breakdown EXPR --by ATTRIBUTE",
		Short: "Those who satisfy an expression, by the values of an attribute",
		Long: `Those who satisfy an expression, by the values of an attribute, the most frequent ones
first. Of a set, a person counts once for each element: the rows add up to memberships.

--json: {"attribute":"...","rows":[{"value":"...","count":N}],"other":N,"other_values":N,
"people":N,"memberships":N,"unknown":N,...} where the value null is of those without one.`,
		Example: `  kanta breakdown 'plan == "premium"' --by city --top 20`,
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			if by == "" {
				return usagef("--by is missing: name an attribute")
			}
			return a.withStore(func(s store) error {
				b, err := s.Breakdown(c.Context(), args[0], by, &query.BreakdownOptions{Options: o, Top: top})
				if err != nil {
					return err
				}
				return a.printBreakdown(&b)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "the attribute (must be given)")
	c.Flags().IntVar(&top, "top", 0, "how many values to show; the rest is added up (default 1000)")
	ask.add(c)
	a.completeFlag(c, "by", a.attributeNames)
	return c
}

func (a *app) printBreakdown(b *query.Breakdown) error {
	if a.json {
		rows := []breakdownRowJSON{}
		for _, r := range b.Rows {
			row := breakdownRowJSON{Count: r.Count}
			if !r.Value.IsAbsent() {
				text := r.Value.String()
				row.Value = &text
			}
			rows = append(rows, row)
		}
		return a.printJSON(struct {
			Attribute   string             `json:"attribute"`
			Rows        []breakdownRowJSON `json:"rows"`
			Other       uint64             `json:"other"`
			OtherValues uint64             `json:"other_values"`
			People      uint64             `json:"people"`
			Memberships uint64             `json:"memberships"`
			answerJSON
		}{b.Attribute.Name, rows, b.Other, b.OtherValues, b.People, b.Memberships, answerOf(b.Answer)})
	}
	a.noteCurrent(b.Answer)
	t := a.newTable(b.Attribute.Name, "#count")
	for _, r := range b.Rows {
		t.add(breakdownValue(&r), r.Count)
	}
	if b.OtherValues > 0 || !a.outTerminal {
		t.add("(other)", b.Other)
	}
	if err := t.write(a.out); err != nil || !a.outTerminal {
		return err
	}
	f := a.facts()
	f.add("people", b.People)
	if b.Attribute.Kind == schema.Set {
		f.add("memberships", b.Memberships)
	}
	f.addAnswer(b.Answer)
	return f.write(a.out)
}

func breakdownValue(r *query.BreakdownRow) string {
	if r.Value.IsAbsent() || r.Value.Kind() == schema.Set && len(r.Value.Elements()) == 0 {
		return none
	}
	return r.Value.String()
}
