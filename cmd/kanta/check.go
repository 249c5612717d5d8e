package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Verify everything that is stored",
		Long: `Verify everything that is stored: the checksum of each value, and each derived structure
against the columns it was made of. Exit code 6 if something is wrong.

--json: {"values":N,"derived":N,"problems":["..."]}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				p := a.newProgress()
				report, err := s.Check(c.Context(), func(done, total uint64, what string) {
					fraction := 0.0
					if total > 0 {
						fraction = float64(done) / float64(total)
					}
					p.show(fraction, "checking "+what)
				})
				p.end()
				if err != nil {
					return err
				}
				if a.json {
					err = a.printJSON(struct {
						Values   uint64   `json:"values"`
						Derived  uint64   `json:"derived"`
						Problems []string `json:"problems"`
					}{report.Values, report.Derived, append([]string{}, report.Problems...)})
				} else {
					t := a.facts()
					t.add("values verified", report.Values)
					t.add("derived structures recomputed", report.Derived)
					t.add("problems", len(report.Problems))
					err = t.write(a.out)
				}
				if err != nil || len(report.Problems) == 0 {
					return err
				}
				for _, text := range report.Problems {
					if !a.json {
						fmt.Fprintln(a.err, printable(text))
					}
				}
				return errCheckFailed
			})
		},
	}
}
