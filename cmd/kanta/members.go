package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/query"
)

// membersFlags are the flags of kanta members.
type membersFlags struct {
	ask     questionFlags
	columns []string
	orderBy string
	desc    bool
	limit   int
	after   string
	cursor  string
	format  string
	output  string
}

func newMembers(a *app) *cobra.Command {
	var f membersFlags
	c := &cobra.Command{
		Use:   "members EXPR",
		Short: "Who satisfies an expression",
		Long: `Who satisfies an expression: the keys, with the values of --columns, in order of
arrival or of --order-by. With -o the file is there only when it is complete.

--json, or the formats csv, ndjson and parquet, stream any number of people; parquet needs -o.
Cells of csv are what is stored: a spreadsheet takes one that begins with =, +, - or @ for a
formula, so import such a file as text. --json:
{"total":N,"unknown":N,...,"members":[{"key":"...","a":...}],"next":"cursor"}; next
continues the listing with --cursor and is "" at its end.`,
		Example: `  kanta members 'plan == "premium"' --columns email,city --order-by signup_date --desc --limit 20
  kanta members 'has(p.email)' --columns email --format csv -o mail.csv`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a.json)
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error {
				m, err := s.Members(c.Context(), args[0], o)
				if err != nil {
					return err
				}
				return a.toOutput(f.output, func(w io.Writer, terminal bool) error {
					return f.write(c.Context(), a, &m, w, terminal)
				})
			})
		},
	}
	flags := c.Flags()
	flags.Var((*columnsFlag)(&f.columns), "columns", "attributes to show beside the key, separated by commas; also rfm(\"NAME\").segment")
	flags.StringVar(&f.orderBy, "order-by", "", "the attribute to order by; those without a value come last")
	flags.BoolVar(&f.desc, "desc", false, "descending")
	flags.IntVar(&f.limit, "limit", 0, "how many to list (default all)")
	flags.StringVar(&f.after, "after", "", "continue behind the person with this key")
	flags.StringVar(&f.cursor, "cursor", "", "continue where a listing with --json ended")
	flags.StringVar(&f.format, "format", "table", "table, csv, ndjson or parquet")
	flags.StringVarP(&f.output, "output", "o", "", "write to a file")
	f.ask.add(c)
	a.completeList(c, "columns", a.attributeNames)
	completeWord(c, "format", "table", "csv", "ndjson", "parquet")
	a.completeFlag(c, "order-by", a.attributeNames)
	return c
}

func (f *membersFlags) options(json bool) (*query.MembersOptions, error) {
	o, err := f.ask.options()
	if err != nil {
		return nil, err
	}
	switch f.format {
	case "table", "csv", "ndjson":
	case "parquet":
		if f.output == "" || json {
			return nil, usagef("--format parquet is written to a file: name it with -o, without --json")
		}
	default:
		return nil, usagef("--format is table, csv, ndjson or parquet, not %q", f.format)
	}
	if f.after != "" && f.cursor != "" {
		return nil, usagef("--after and --cursor both say where to continue: give one of them")
	}
	return &query.MembersOptions{Options: o, Attributes: f.columns, OrderBy: f.orderBy, Desc: f.desc, Limit: f.limit, AfterKey: f.after, After: f.cursor}, nil
}

func (f *membersFlags) write(ctx context.Context, a *app, m *query.Members, w io.Writer, terminal bool) error {
	switch {
	case a.json:
		return writeMembersJSON(m, w)
	case f.format != "table" && f.format != "":
		_, err := listing.Members(w, listing.Format(f.format), m)
		return err
	}
	return writeMembersTable(a, m, w, terminal)
}

// toOutput calls write with a buffered writer for a file, or standard output if there is
// no name. A file takes its name when it is complete; one that cannot be written is refused
// before write is called.
func (a *app) toOutput(name string, write func(w io.Writer, terminal bool) error) error {
	if name == "" {
		w := bufio.NewWriterSize(a.out, 1<<16)
		return errors.Join(write(w, a.outTerminal), w.Flush())
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return usagef("%s is a directory; name a file to write to", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return &inputError{name, err}
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = errors.Join(write(w, false), w.Flush(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// tableBlock is how many lines of a listing are aligned together.
const tableBlock = 1000

func writeMembersTable(a *app, m *query.Members, w io.Writer, terminal bool) error {
	a.noteCurrent(m.Answer)
	head := []string{"key"}
	for i := range m.Attributes {
		name := m.Attributes[i].Name
		if m.Attributes[i].Kind.Ordered() {
			name = "#" + name
		}
		head = append(head, name)
	}
	t := a.newTable(head...)
	t.terminal = terminal
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		cells := []any{row.Key}
		for _, v := range row.Values {
			cells = append(cells, v.String())
		}
		if t.add(cells...); len(t.rows) == tableBlock {
			if err := t.write(w); err != nil {
				return err
			}
			t.rows = t.rows[:0]
		}
	}
	return t.write(w)
}

func writeMembersJSON(m *query.Members, w io.Writer) error {
	answer, err := json.Marshal(struct {
		Total uint64 `json:"total"`
		answerJSON
	}{m.Total, answerOf(m.Answer)})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\"members\":[", answer[:len(answer)-1]); err != nil {
		return err
	}
	object, separator := listing.NewObject(m), ""
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n%s", separator, object.Text(&row)); err != nil {
			return err
		}
		separator = ","
	}
	next, err := json.Marshal(m.Next())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "],\"next\":%s}\n", next)
	return err
}

// columnsFlag is names separated by commas. A comma within quotes is part of a name: a name
// that has one stands in double quotes, rfm("a,b").segment has them already.
type columnsFlag []string

// String implements [pflag.Value].
func (f *columnsFlag) String() string { return strings.Join(*f, ",") }

// Type implements [pflag.Value].
func (f *columnsFlag) Type() string { return "strings" }

// Set implements [pflag.Value].
func (f *columnsFlag) Set(text string) error {
	names, err := listing.SplitNames(text)
	*f = append(*f, names...)
	return err
}
