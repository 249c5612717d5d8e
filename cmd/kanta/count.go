package main

import (
	"github.com/spf13/cobra"
)

// countJSON is an answer of kanta count.
type countJSON struct {
	Count uint64 `json:"count"`
	answerJSON
}

func newCount(a *app) *cobra.Command {
	var ask questionFlags
	c := &cobra.Command{
		Use:   "count EXPR",
		Short: "How many people satisfy an expression",
		Long: `How many people satisfy an expression, and for how many it is unknown because a value
it needs is not there.

--json: {"count":N,"unknown":N,"errors":N,"position":"E.N","now":"...","elapsed_us":N}
errors are those of the unknown that overflowed or divided by zero.`,
		Example: `  kanta count 'country == "FI" && age >= 30'
  kanta count 'in_segment("newsletter") && !in_list("staff")' --json`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error {
				n, err := s.Count(c.Context(), args[0], &o)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(countJSON{n.Count, answerOf(n.Answer)})
				}
				t := a.facts()
				t.add("count", n.Count)
				t.addAnswer(n.Answer)
				a.noteCurrent(n.Answer)
				return t.write(a.out)
			})
		},
	}
	ask.add(c)
	return c
}
