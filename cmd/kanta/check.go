package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// checkFlags are the flags of check.
type checkFlags struct{ repair, acceptLoss bool }

// checkJSON is what check --json prints.
type checkJSON struct {
	Values   uint64   `json:"values"`
	Derived  uint64   `json:"derived"`
	Problems []string `json:"problems"`
	Mended   []string `json:"mended,omitempty"`
	Lost     *loss    `json:"lost,omitempty"`
}

type loss struct {
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
	Now     string `json:"now"`
}

func newCheck(a *app) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Verify everything that is stored, and mend what can be",
		Long: `Verify everything that is stored: the checksum of each value, and each derived structure
against the columns and events it was made of. Exit code 6 if something is wrong.

--repair makes anew what is derived and wrong, while the store is in use, then verifies
again: bitmaps, counts, digests, what is kept of days, lifetime facts, filters of ids,
indexes. What is not derived (columns, events, the log) is left as it is: restore it from a
backup. Ended early, it goes on where it was when it is run again.

--accept-loss, with --repair, opens a store that does not open because acknowledged batches
are missing, or because the file MARK is damaged, which would tell. It says what is lost, and
the store begins a new epoch.

--json: {"values":N,"derived":N,"problems":["..."],"mended":["..."],
"lost":{"from":"1.N","to":"1.N","unknown":BOOL,"now":"2.N"}}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out checkJSON
			if f.acceptLoss {
				if !f.repair {
					return usagef("--accept-loss goes with --repair")
				}
				if err := a.onlyHere("--accept-loss"); err != nil {
					return err
				}
				if err := a.acceptLoss(&out); err != nil {
					return err
				}
			}
			a.repair = f.repair
			return a.withStore(func(s store) error { return a.check(c, s, f.repair, &out) })
		},
	}
	c.Flags().BoolVar(&f.repair, "repair", false, "make anew what is derived and wrong")
	c.Flags().BoolVar(&f.acceptLoss, "accept-loss", false, "with --repair: have what is left where acknowledged batches are missing")
	return c
}

// acceptLoss has the store of --db open without what it has lost.
func (a *app) acceptLoss(out *checkJSON) error {
	o, err := a.options(a.dir, false)
	if err != nil {
		return err
	}
	lost, err := engine.AcceptLoss(a.dir, o)
	if err != nil || lost == (query.Loss{}) {
		return err
	}
	out.Lost = &loss{Unknown: lost.Unknown, Now: lost.Now.String()}
	if lost.To != (query.Position{}) {
		out.Lost.From, out.Lost.To = lost.From.String(), lost.To.String()
	}
	return nil
}

func (a *app) check(c *cobra.Command, s store, repair bool, out *checkJSON) error {
	p := a.newProgress()
	show := func(verb string) func(done, total uint64, what string) {
		return func(done, total uint64, what string) {
			fraction := 0.0
			if total > 0 {
				fraction = float64(done) / float64(total)
			}
			p.show(fraction, verb+" "+what)
		}
	}
	if repair {
		mended, err := s.Repair(c.Context(), show("repairing"))
		if err != nil {
			p.end()
			return err
		}
		out.Mended = mended.Mended
	}
	report, err := s.Check(c.Context(), show("checking"))
	p.end()
	if err != nil {
		return err
	}
	out.Values, out.Derived, out.Problems = report.Values, report.Derived, append([]string{}, report.Problems...)
	if a.json {
		err = a.printJSON(out)
	} else {
		err = a.printCheck(out, repair)
	}
	if err == nil && len(out.Problems) > 0 {
		err = errCheckFailed
	}
	return err
}

func (a *app) printCheck(out *checkJSON, repair bool) error {
	t := a.facts()
	if l := out.Lost; l != nil {
		if l.To != "" {
			t.add("acknowledged batches lost", fmt.Sprintf("%s to %s", l.From, l.To))
		} else {
			t.add("acknowledged batches lost", "unknown")
		}
		t.add("new epoch", l.Now)
	}
	if repair {
		t.add("mended", len(out.Mended))
	}
	t.add("values verified", out.Values)
	t.add("derived structures recomputed", out.Derived)
	t.add("problems", len(out.Problems))
	if err := t.write(a.out); err != nil {
		return err
	}
	for _, text := range out.Mended {
		fmt.Fprintln(a.err, "mended: "+printable(text))
	}
	for _, text := range out.Problems {
		fmt.Fprintln(a.err, printable(text))
	}
	return nil
}
