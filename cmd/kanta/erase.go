package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

func newErase(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "erase",
		Short: "Erase people, for good, and show that nothing is left of them",
	})
	c.AddCommand(newErasePeople(a), newErasePurge(a), newEraseList(a), newEraseReceipts(a), newEraseReadmit(a))
	return c
}

const eraseHelp = `Erase people by their keys, known or not. They are gone from every answer at once, and rows
that come later with one of these keys are refused, until the key is readmitted. The files
of the store still hold what they were; a purge removes that, and looks for it everywhere.
It begins by itself in a program that has the store open an hour later; with --wait it is
done at once, and its receipt is printed; exit code 6 if something is left over, as kanta
erase purge says.

Without keys as arguments they are read from --file, one per line. A reference, such as the
number of a ticket, is kept for good with the hash of the key: it must not be personal.
Segments, definitions and lists whose texts name a key are reported and left as they are.
Backups, logs that were shipped and exports made before are files of their own: they go with
kanta backup prune, and a restore erases in its store who was erased since. What waits to be
shipped of the log is deleted by the purge, which is a gap: ship it before. With --target the ledger of erased
people is told where backups are kept, so that no restore brings them back; so does every
backup that is made later.

--json: {"people":N,"position":"E.N","named":["..."],"receipt":{...}}, the receipt as kanta
erase receipts has it, null without --wait.`

func newErasePeople(a *app) *cobra.Command {
	var file, reference string
	var wait bool
	var target targetFlag
	c := &cobra.Command{
		Use:   "people [KEY...]",
		Short: "Erase people",
		Long:  eraseHelp,
		Args:  rangeArgs(0, many),
		RunE: func(c *cobra.Command, keys []string) error {
			if (len(keys) > 0) == (file != "") {
				return usagef("keys are given as arguments or with --file: one of the two")
			}
			if file != "" {
				in, err := a.openInput(file)
				if err != nil {
					return err
				}
				defer in.Close()
				if in.stream != nil { // it is read once: nothing has to be kept
					in.src = in.stream
				}
				if err := eachKey(in, func(key string) error { keys = append(keys, key); return nil }); err != nil {
					return err
				}
			}
			return a.withStore(func(s store) error {
				gone, err := s.Erase(c.Context(), reference, keys...)
				if err != nil {
					return err
				}
				if _, err := target.place(a); err == nil {
					if err := target.atStore(a, func(t query.BackupTarget) error { return s.BackupLedger(c.Context(), t) }); err != nil {
						return fmt.Errorf("they are erased, but the target was not told; the next backup tells it: %w", err)
					}
				}
				var receipt *query.Receipt
				if wait {
					if receipt, err = a.purge(c.Context(), s); err != nil {
						return err
					}
				}
				if err := a.printErased(&gone, receipt); err != nil {
					return err
				}
				return unpurged(receipt)
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "a file of keys, one per line; - is standard input")
	c.Flags().StringVar(&reference, "reference", "", "why, such as the number of a ticket; nothing personal")
	target.add(c)
	c.Flags().BoolVar(&wait, "wait", false, "purge at once and wait for the receipt")
	return c
}

// purge shows what a purge does, which takes as long as it takes.
func (a *app) purge(ctx context.Context, s store) (*query.Receipt, error) {
	p := a.newProgress()
	defer p.end()
	return s.Purge(ctx, func(what string) { p.show(0, what) })
}

func (a *app) printErased(gone *query.Erasure, receipt *query.Receipt) error {
	if a.json {
		return a.printJSON(struct {
			People   uint64       `json:"people"`
			Position string       `json:"position"`
			Named    []string     `json:"named"`
			Receipt  *receiptJSON `json:"receipt"`
		}{gone.People, gone.Position.String(), append([]string{}, gone.Named...), receiptOf(receipt)})
	}
	t := a.facts()
	t.add("people erased", gone.People)
	if err := t.write(a.out); err != nil {
		return err
	}
	for _, name := range gone.Named {
		fmt.Fprintf(a.err, "%s names one of these keys and is left as it is\n", printable(name))
	}
	if receipt != nil {
		return a.printReceipts(*receipt)
	}
	fmt.Fprintln(a.err, "the files still hold them: kanta erase purge removes that")
	return nil
}

func newErasePurge(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "purge",
		Short: "Remove from the files what they hold of erased people",
		Long: `Remove from the files what they hold of erased people, and look for it in all of them. A
purge that was stopped goes on. Prints the receipt; exit code 6 if something was found.

In a cluster each member does so, in its store, its snapshots and its log, and the command waits for
all of them. Who does not answer is named in the receipt, exit code 6, and purges by itself when it
is back: kanta cluster status says up to where each has.

--json: {"receipts":[...]}, as kanta erase receipts has it, with "missing":["..."] if members are;
none if there was nothing to do.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				receipt, err := a.purge(c.Context(), s)
				if err != nil {
					return err
				}
				if receipt == nil {
					if a.json {
						return a.printReceipts()
					}
					fmt.Fprintln(a.out, "there is nothing to purge")
					return nil
				}
				if err := a.printReceipts(*receipt); err != nil {
					return err
				}
				return unpurged(receipt)
			})
		},
	}
}

// unpurged is the error of a purge that has left something over.
func unpurged(r *query.Receipt) error {
	if r == nil || r.Hits == 0 && len(r.Missing) == 0 {
		return nil
	}
	return errCheckFailed
}

// receiptJSON is a receipt.
type receiptJSON struct {
	Position    string   `json:"position"`
	Started     string   `json:"started"`
	Finished    string   `json:"finished"`
	People      uint64   `json:"people"`
	Names       []string `json:"names"`
	Profiles    uint64   `json:"profiles"`
	Events      uint64   `json:"events"`
	Quarantined uint64   `json:"quarantined"`
	Refused     uint64   `json:"refused"`
	Strings     uint64   `json:"strings"`
	Files       uint64   `json:"files"`
	Bytes       uint64   `json:"bytes"`
	Values      uint64   `json:"values"`
	Shared      uint64   `json:"shared"`
	Hits        uint64   `json:"hits"`
	Where       []string `json:"where"`
	Missing     []string `json:"missing,omitempty"` // members of a cluster
}

func receiptOf(r *query.Receipt) *receiptJSON {
	if r == nil {
		return nil
	}
	return &receiptJSON{r.Position.String(), rfc3339(r.Started), rfc3339(r.Finished), r.People, append([]string{}, r.Names...), r.Ordinals,
		r.Events, r.Quarantined, r.Refused, r.Strings, r.Files, r.Bytes, r.Values, r.Shared, r.Hits, append([]string{}, r.Where...), r.Missing}
}

func (a *app) printReceipts(all ...query.Receipt) error {
	if a.json {
		list := []*receiptJSON{}
		for i := range all {
			list = append(list, receiptOf(&all[i]))
		}
		return a.printJSON(map[string]any{"receipts": list})
	}
	for i := range all {
		r := &all[i]
		a.gap()
		t := a.facts()
		t.add("erasures up to", r.Position)
		t.add("purged at", rfc3339(r.Finished))
		t.add("people", r.People)
		t.add("profiles they had", r.Ordinals)
		t.add("events removed", r.Events)
		t.add("quarantined rows removed", r.Quarantined)
		t.add("rows refused since", r.Refused)
		t.add("strings of dictionaries removed", r.Strings)
		t.add("values looked for", r.Values)
		t.add("values that others have too", r.Shared)
		t.add("files looked through", r.Files)
		t.add("bytes of these", r.Bytes)
		t.add("hits", r.Hits)
		for _, file := range r.Where {
			t.add("hit in", file)
		}
		for _, member := range r.Missing {
			t.add("member that has not purged yet", member)
		}
		if err := t.write(a.out); err != nil {
			return err
		}
	}
	return nil
}

func newEraseReceipts(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "receipts",
		Short: "What purges have removed, where they looked, and what they found",
		Long: `What purges have removed, where they looked, and what they found: hits 0 says that nothing is
left. A receipt has nothing of anybody: its names are hashes, as in kanta erase list.

--json: {"receipts":[{"position","started","finished","people","names":["..."],"profiles","events",
"quarantined","refused","strings","files","bytes","values","shared","hits","where":["..."]}]}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				all, err := s.Receipts(c.Context())
				if err != nil {
					return err
				}
				return a.printReceipts(all...)
			})
		},
	}
}

func newEraseList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "The ledger: who was erased, as hashes of their keys",
		Long: `The ledger: who was erased, as hashes of their keys, with the reference of the erasure, the
oldest first.

--json: {"erased":[{"name","erased","position","readmitted","reference"}]}; readmitted is "" for
who was not.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				var all []query.ErasedPerson
				err := s.Erased(c.Context(), func(p query.ErasedPerson) error { all = append(all, p); return nil })
				if err != nil {
					return err
				}
				slices.SortFunc(all, func(x, y query.ErasedPerson) int {
					return cmp.Or(cmp.Compare(x.Position.Epoch, y.Position.Epoch), cmp.Compare(x.Position.Applied, y.Position.Applied), strings.Compare(x.Name, y.Name))
				})
				return a.printLedger(all)
			})
		},
	}
}

func (a *app) printLedger(all []query.ErasedPerson) error {
	type entry struct {
		Name       string `json:"name"`
		Erased     string `json:"erased"`
		Position   string `json:"position"`
		Readmitted string `json:"readmitted"`
		Reference  string `json:"reference"`
	}
	list := []entry{}
	t := a.newTable("name", "erased", "position", "readmitted", "reference")
	for _, p := range all {
		e := entry{p.Name, rfc3339(p.Erased), p.Position.String(), since(p.Readmitted), p.Reference}
		list = append(list, e)
		t.add(e.Name, e.Erased, e.Position, e.Readmitted, e.Reference)
	}
	if a.json {
		return a.printJSON(map[string]any{"erased": list})
	}
	return t.write(a.out)
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return rfc3339(t)
}

func newEraseReadmit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "readmit KEY...",
		Short: "Let people return who were erased",
		Long: `Let people return who were erased: rows with their keys are taken again, but events that are
not later than the erasure. They begin anew. Who is not erased is left as it is.

--json: {"received":N,"accepted":N,"position":"E.N"}`,
		Args: rangeArgs(1, many),
		RunE: func(c *cobra.Command, keys []string) error {
			return a.withStore(func(s store) error {
				r, err := s.Readmit(c.Context(), keys...)
				if err != nil {
					return err
				}
				return a.printReadmitted(&r)
			})
		},
	}
}

func (a *app) printReadmitted(r *batch.Result) error {
	if a.json {
		return a.printJSON(struct {
			Received uint64 `json:"received"`
			Accepted uint64 `json:"accepted"`
			Position string `json:"position"`
		}{r.Received, r.Accepted, r.Position.String()})
	}
	t := a.facts()
	t.add("received", r.Received)
	t.add("readmitted", r.Accepted)
	return t.write(a.out)
}
