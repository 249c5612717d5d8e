package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

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

--json, or the formats csv and ndjson, stream any number of people. --json:
{"total":N,"unknown":N,...,"members":[{"key":"...","a":...}],"next":"cursor"}; next
continues the listing with --cursor and is "" at its end.`,
		Example: `  kanta members 'plan == "premium"' --columns email,city --order-by signup_date --desc --limit 20
  kanta members 'has(p.email)' --columns email --format csv -o mail.csv`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
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
	flags.StringVar(&f.format, "format", "table", "table, csv or ndjson")
	flags.StringVarP(&f.output, "output", "o", "", "write to a file")
	f.ask.add(c)
	a.completeList(c, "columns", a.attributeNames)
	completeWord(c, "format", "table", "csv", "ndjson")
	a.completeFlag(c, "order-by", a.attributeNames)
	return c
}

func (f *membersFlags) options() (*query.MembersOptions, error) {
	o, err := f.ask.options()
	if err != nil {
		return nil, err
	}
	switch f.format {
	case "table", "csv", "ndjson":
	default:
		return nil, usagef("--format is table, csv or ndjson, not %q", f.format)
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
	case f.format == "csv":
		return writeMembersCSV(m, w)
	case f.format == "ndjson":
		return writeMembersNDJSON(m, w)
	}
	return writeMembersTable(a, m, w, terminal)
}

// toOutput calls write with a buffered writer for a file, or standard output if there is
// no name. A file takes its name when it is complete.
func (a *app) toOutput(name string, write func(w io.Writer, terminal bool) error) error {
	if name == "" {
		w := bufio.NewWriterSize(a.out, 1<<16)
		return errors.Join(write(w, a.outTerminal), w.Flush())
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

func writeMembersCSV(m *query.Members, w io.Writer) error {
	out := csv.NewWriter(w)
	record := []string{"key"}
	for i := range m.Attributes {
		record = append(record, m.Attributes[i].Name)
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		record = append(record[:0], row.Key)
		for _, v := range row.Values {
			record = append(record, v.String())
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func writeMembersNDJSON(m *query.Members, w io.Writer) error {
	object := newMemberObject(m)
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n", object.text(&row)); err != nil {
			return err
		}
	}
	return nil
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
	object, separator := newMemberObject(m), ""
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n%s", separator, object.text(&row)); err != nil {
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

// memberObject writes members as JSON objects.
type memberObject struct {
	names []string // quoted, with what stands before a value
	buf   []byte
}

func newMemberObject(m *query.Members) *memberObject {
	o := &memberObject{}
	for i := range m.Attributes {
		o.names = append(o.names, ","+quoteJSON(m.Attributes[i].Name)+":")
	}
	return o
}

// text returns a member; it lives until the next call.
func (o *memberObject) text(row *query.Member) []byte {
	o.buf = append(append(o.buf[:0], `{"key":`...), quoteJSON(row.Key)...)
	for i, v := range row.Values {
		o.buf = append(append(o.buf, o.names[i]...), jsonValue(v)...)
	}
	o.buf = append(o.buf, '}')
	return o.buf
}

// quoteJSON returns a JSON string. Marshalling a string cannot fail.
func quoteJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(text)
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
	start, quote := 0, rune(0)
	add := func(end int) {
		name := text[start:end]
		if len(name) > 1 && name[0] == '"' && name[len(name)-1] == '"' {
			name = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
		}
		*f = append(*f, name)
	}
	for i, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == ',':
			add(i)
			start = i + 1
		}
	}
	if quote == '"' {
		return fmt.Errorf("%q: a quotation mark is missing", text)
	}
	add(len(text))
	return nil
}
