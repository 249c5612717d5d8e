package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
)

func newQuarantine(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "quarantine",
		Short: "Rows that did not fit, with the reasons",
	})
	c.AddCommand(newQuarantineList(a), newQuarantineExport(a))
	return c
}

// quarantinedJSON is a row in the quarantine.
type quarantinedJSON struct {
	Seq      uint64 `json:"seq"`
	Source   string `json:"source"`
	Line     uint64 `json:"line"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
	Raw      string `json:"raw"`
	Received string `json:"received"`
}

func quarantinedOf(r *query.QuarantinedRow) quarantinedJSON {
	return quarantinedJSON{r.Seq, r.Source, r.Line, r.Reason, r.Detail, r.Raw, rfc3339(r.Received)}
}

func newQuarantineList(a *app) *cobra.Command {
	var after uint64
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "The rows in the quarantine, oldest first",
		Long: `The rows in the quarantine, oldest first.

--json: {"rows":[{"seq","source","line","reason","detail","raw","received"}]}; the last seq
continues with --after.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				rows, err := s.Quarantine(c.Context(), after, limit)
				if err != nil {
					return err
				}
				if a.json {
					list := []quarantinedJSON{}
					for i := range rows {
						list = append(list, quarantinedOf(&rows[i]))
					}
					return a.printJSON(map[string]any{"rows": list})
				}
				t := a.newTable("#seq", "source", "#line", "reason", "detail", "row")
				for i := range rows {
					r := &rows[i]
					t.add(r.Seq, r.Source, r.Line, r.Reason, r.Detail, r.Raw)
				}
				if err := t.write(a.out); err != nil {
					return err
				}
				if len(rows) > 0 && len(rows) == limit {
					fmt.Fprintf(a.err, "there may be more: --after %d goes on, kanta quarantine export writes all\n", rows[len(rows)-1].Seq)
				}
				return nil
			})
		},
	}
	c.Flags().Uint64Var(&after, "after", 0, "list those behind the row with this seq")
	c.Flags().IntVar(&limit, "limit", 100, "how many to list")
	return c
}

func newQuarantineExport(a *app) *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the whole quarantine, as CSV or NDJSON",
		Long: `Write the whole quarantine, as CSV or NDJSON with the columns seq, source, line, reason,
detail, raw, received. With -o the file is there only when it is complete.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.json {
				format = "ndjson"
			}
			if format != "csv" && format != "ndjson" {
				return usagef("--format %s: it is csv or ndjson", format)
			}
			return a.withStore(func(s store) error {
				return a.toOutput(output, func(w io.Writer, _ bool) error { return exportQuarantine(c.Context(), s, format, w) })
			})
		},
	}
	c.Flags().StringVar(&format, "format", "csv", "csv or ndjson")
	completeWord(c, "format", "csv", "ndjson")
	c.Flags().StringVarP(&output, "output", "o", "", "write to a file")
	return c
}

// exportPage is how many rows of the quarantine are in memory at a time.
const exportPage = 1000

func exportQuarantine(ctx context.Context, s store, format string, w io.Writer) error {
	table, objects := csv.NewWriter(w), json.NewEncoder(w)
	objects.SetEscapeHTML(false)
	if format == "csv" {
		if err := table.Write([]string{"seq", "source", "line", "reason", "detail", "raw", "received"}); err != nil {
			return err
		}
	}
	var after uint64
	for {
		rows, err := s.Quarantine(ctx, after, exportPage)
		if err != nil {
			return err
		}
		for i := range rows {
			r := quarantinedOf(&rows[i])
			if format == "csv" {
				err = table.Write([]string{strconv.FormatUint(r.Seq, 10), r.Source, strconv.FormatUint(r.Line, 10), r.Reason, r.Detail, r.Raw, r.Received})
			} else {
				err = objects.Encode(r)
			}
			if err != nil {
				return err
			}
			after = r.Seq
		}
		if len(rows) == 0 {
			table.Flush()
			return table.Error()
		}
	}
}
