package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/portable"
)

func newImport(a *app) *cobra.Command {
	var o portable.ImportOptions
	c := &cobra.Command{
		Use:   "import DIR|FILE",
		Short: "Make a store of what kanta export --all has written",
		Long: `Make a store of what kanta export --all has written: a directory, a file, or - for
standard input. The store of --db must be new. What is written are ordinary batches, and at
the end the digest of the content is compared with that of the export. An import that was
killed is resumed by the same command.

Left out are rows of the quarantine, ids of events (what was sent with an id before and is sent
again is taken for a new event), and changes of attributes with history: if the export has
some, --without-history says that this is known.

--json: {"store":"...","position":"E.N","content":"digest","lines":{"profiles":N,...},"repeated":B,
"left":["..."]}, where store and position are those that were exported, and left names rules of
the schema that the data itself breaks: they are not in the new store.`,
		Example: `  kanta import backup-2026-01/ --db new-store
  zstdcat all.ndjson.zst | kanta import - --db new-store`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, end, err := a.openExport(args[0])
			if err != nil {
				return err
			}
			return errors.Join(a.with(true, func(s store) error { return a.importAll(c.Context(), s, r, o) }), end())
		},
	}
	c.Flags().BoolVar(&o.WithoutHistory, "without-history", false, "leave out the changes of attributes with history")
	return c
}

// openExport opens what --all has written.
func (a *app) openExport(name string) (r *portable.Reader, end func() error, err error) {
	if name == "-" {
		r, err = portable.OpenStream(a.in)
		return r, func() error { return r.Close() }, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, &inputError{name, errors.Unwrap(err)}
	}
	if info.IsDir() {
		r, err = portable.OpenDirectory(name)
		return r, func() error { return r.Close() }, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, &inputError{name, errors.Unwrap(err)}
	}
	if r, err = portable.OpenStream(bufio.NewReader(f)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return r, func() error { return errors.Join(r.Close(), f.Close()) }, nil
}

func (a *app) importAll(ctx context.Context, s store, r *portable.Reader, o portable.ImportOptions) error {
	p := a.newProgress()
	o.Progress = func(rows uint64, what string) {
		if p.due() {
			p.show(0, fmt.Sprintf("importing %s: %s rows", what, count(rows)))
		}
	}
	done, err := portable.Import(ctx, s, r, &o)
	p.end()
	if err != nil {
		if ctx.Err() != nil && !a.json {
			fmt.Fprintln(a.err, "the same command goes on where this one ended")
		}
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"store": done.Store, "position": done.Position, "content": fmt.Sprintf("%x", done.Content),
			"lines": done.Lines, "repeated": done.Repeated, "left": append([]string{}, done.Left...)})
	}
	if done.Repeated {
		fmt.Fprintln(a.err, "all of it was imported before: nothing is changed")
		return nil
	}
	t := a.facts()
	for _, left := range []string{"history", "quarantine"} {
		if n := done.Lines[left]; n > 0 {
			fmt.Fprintf(a.err, "left out: %s lines of %s\n", count(n), left)
		}
		delete(done.Lines, left)
	}
	addLines(t, done.Lines)
	t.add("content", fmt.Sprintf("%x, as in the export", done.Content))
	for _, text := range done.Left {
		fmt.Fprintln(a.err, "left out:", printable(text))
	}
	return t.write(a.out)
}
