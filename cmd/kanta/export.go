package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/query"
)

// exportFlags are the flags of kanta export.
type exportFlags struct {
	all        string
	person     string
	output     string
	plain      bool
	quarantine bool
}

func newExport(a *app) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --all DIR|FILE | --person KEY",
		Short: "Write everything, or everything about one person, for other programs",
		Long: `With --all, write everything as lines of JSON that any program reads and of which kanta import
makes the same store again: the schema, people, lists, events, segments, definitions, and
the changes of attributes with history (kanta import leaves these out). It is one state;
writes may go on meanwhile. A name that ends in .ndjson or .ndjson.zst is one file, - is
standard output; anything else is a directory, which is made. The last thing written says
that all is there, and the digest of the content. Not in it are ids of events, of which the
store has hashes only: an event that was sent with an id before and is sent again
afterwards to the new store is taken for a new one.

With --person, write everything that is held about one person as one JSON object: attributes,
computed ones marked as such, what definitions of analyses say, lists, segments, all
events, changes of attributes with history, and rows in the quarantine that name the person.
(To list people: kanta members.)

go doc github.com/kantadb/kanta/engine/portable has the format. --json: {"position":"E.N",
"content":"digest","lines":{"profiles":N,...}} after --all to a file.`,
		Example: `  kanta export --all backup-2026-01/
  kanta export --all - | zstd > all.ndjson.zst
  kanta export --person user-00000042 -o user.json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case (f.all == "") == (f.person == ""):
				return usagef("give --all DIR|FILE for everything, or --person KEY for one person")
			case f.person != "" && (f.plain || f.quarantine):
				return usagef("--plain and --quarantine are for --all")
			case f.all != "" && f.output != "":
				return usagef("--all names where to write; -o is for --person")
			}
			return a.withStore(func(s store) error {
				if f.person != "" {
					return a.toOutput(f.output, func(w io.Writer, _ bool) error { return s.Export(c.Context(), f.person, w) })
				}
				return a.exportAll(c.Context(), s, &f)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.all, "all", "", "write everything: to a directory, a file, or - for standard output")
	flags.StringVar(&f.person, "person", "", "write what is held about the person with this key")
	flags.StringVarP(&f.output, "output", "o", "", "with --person: write to a file")
	flags.BoolVar(&f.plain, "plain", false, "do not compress the files in the directory")
	flags.BoolVar(&f.quarantine, "quarantine", false, "also the rows in the quarantine, which an import leaves out")
	return c
}

// isStream reports whether a name is that of an export in one file.
func isStream(name string) bool {
	return name == "-" || strings.HasSuffix(name, ".ndjson") || strings.HasSuffix(name, ".ndjson.zst")
}

func (a *app) exportAll(ctx context.Context, s store, f *exportFlags) error {
	p := a.newProgress()
	p.quiet = p.quiet || f.all == "-" && a.outTerminal
	o := &query.ExportOptions{Quarantine: f.quarantine, Progress: func(rows uint64, what string) {
		if p.due() {
			p.show(0, fmt.Sprintf("exporting %s: %s rows", what, count(rows)))
		}
	}}
	var done query.Exported
	write := func(create func(section string) (io.WriteCloser, error)) (err error) {
		done, err = s.ExportAll(ctx, create, o)
		p.end()
		return err
	}
	var err error
	switch {
	case f.all == "-":
		return a.toOutput("", func(w io.Writer, _ bool) error { return write(portable.ToStream(w)) })
	case isStream(f.all):
		err = a.toOutput(f.all, func(w io.Writer, _ bool) error { return writeStream(w, f.all, write) })
	default:
		var create func(section string) (io.WriteCloser, error)
		if create, err = portable.ToDirectory(f.all, !f.plain); err == nil {
			err = write(create)
		}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"position": done.Position.String(), "content": fmt.Sprintf("%x", done.Content), "lines": done.Lines})
	}
	t := a.facts()
	addLines(t, done.Lines)
	t.add("position", done.Position.String())
	t.add("content", fmt.Sprintf("%x", done.Content))
	return t.write(a.out)
}

// writeStream writes an export to one file, compressed if it is named so.
func writeStream(w io.Writer, name string, write func(create func(section string) (io.WriteCloser, error)) error) error {
	if !strings.HasSuffix(name, ".zst") {
		return write(portable.ToStream(w))
	}
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	return errors.Join(write(portable.ToStream(z)), z.Close())
}

// addLines adds how much of what there is.
func addLines(t *table, lines map[string]uint64) {
	for _, section := range slices.Sorted(maps.Keys(lines)) {
		if section != "export" && section != "schema" {
			t.add(section, lines[section])
		}
	}
}
