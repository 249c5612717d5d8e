package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

func newList(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "list",
		Short: "Lists of people, which expressions name with in_list(\"...\")",
	})
	c.AddCommand(
		newListChange(a, "put", "Make a list consist of exactly these people", func(b *batch.Builder, name string, keys []string, first bool) {
			if first {
				b.ListPut(name, keys...)
			} else {
				b.ListAdd(name, keys...)
			}
		}),
		newListChange(a, "add", "Add people to a list, which is made if need be", func(b *batch.Builder, name string, keys []string, _ bool) { b.ListAdd(name, keys...) }),
		newListChange(a, "remove", "Remove people from a list", func(b *batch.Builder, name string, keys []string, _ bool) { b.ListRemove(name, keys...) }),
		newListShow(a), newListDrop(a),
	)
	return c
}

// listChanged says what became of the keys.
type listChanged struct {
	List      string   `json:"list"`
	Received  uint64   `json:"received"`
	Accepted  uint64   `json:"accepted"`
	Unknown   uint64   `json:"unknown_keys"`
	Examples  []string `json:"examples"`
	Positions string   `json:"position"`
}

func newListChange(a *app, verb, short string, op func(b *batch.Builder, name string, keys []string, first bool)) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   verb + " NAME [KEY...]",
		Short: short,
		Long: short + `. Without keys as arguments they are read from --file, or from standard
input, one per line. Any number will do: many keys are applied in several steps, so who
asks in between sees a part of them. Keys that nobody has are left out and reported.

--json: {"list":"...","received":N,"accepted":N,"unknown_keys":N,"examples":["..."],"position":"E.N"}`,
		Args: rangeArgs(1, many),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 && file != "" {
				return usagef("keys are given as arguments or with --file, not both")
			}
			return a.withStore(func(s store) error {
				l := &listWriter{ctx: c.Context, store: s, op: op, first: true, b: batch.New(), result: listChanged{List: args[0], Examples: []string{}}}
				if err := l.all(a, args[1:], file); err != nil {
					return err
				}
				return a.printListChanged(&l.result)
			})
		},
		ValidArgsFunction: a.completeFirst(a.listNames),
	}
	c.Flags().StringVarP(&file, "file", "f", "", "a file of keys, one per line; - is standard input")
	return c
}

// listPart is how many bytes of keys go into one batch: it is never too large.
const listPart = batch.SafeRaw - 16<<10

// listWriter applies any number of keys in batches.
type listWriter struct {
	ctx    func() context.Context
	store  store
	op     func(b *batch.Builder, name string, keys []string, first bool)
	first  bool
	b      *batch.Builder
	keys   []string
	size   int
	result listChanged
}

func (l *listWriter) all(a *app, keys []string, file string) error {
	if len(keys) > 0 {
		for _, k := range keys {
			if err := l.add(k); err != nil {
				return err
			}
		}
		return l.flush()
	}
	if file == "" {
		file = "-"
	}
	in, err := a.openInput(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if in.stream != nil { // it is read once: nothing has to be kept
		in.src = in.stream
	}
	if err := eachKey(in, l.add); err != nil {
		return err
	}
	return l.flush()
}

// eachKey reads keys, one per line.
func eachKey(in *input, add func(key string) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), 64<<10)
	number := 0
	for lines.Scan() {
		number++
		key := strings.TrimSuffix(lines.Text(), "\r")
		if number == 1 {
			key = strings.TrimPrefix(key, "\ufeff")
		}
		if key == "" {
			continue
		}
		if len(key) > batch.MaxKeyBytes {
			return &inputError{in.name, fmt.Errorf("line %d: a key has at most %d bytes, not %d; is this a file of keys, one per line?", number, batch.MaxKeyBytes, len(key))}
		}
		if err := add(key); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("line %d: longer than any key; is this a file of keys, one per line?", number+1)
		}
		return &inputError{in.name, err}
	}
	return nil
}

func (l *listWriter) add(key string) error {
	l.keys = append(l.keys, key)
	if l.size += len(key) + 2; l.size < listPart {
		return nil
	}
	return l.flush()
}

// flush applies the keys so far. An empty put is one that empties the list.
func (l *listWriter) flush() error {
	if len(l.keys) == 0 && !l.first {
		return nil
	}
	l.b.Reset()
	l.op(l.b, l.result.List, l.keys, l.first)
	encoded, err := l.b.Encode()
	if err != nil {
		return err
	}
	res, err := l.store.Apply(l.ctx(), encoded)
	if err != nil {
		return err
	}
	r := &l.result
	r.Received += res.Received
	r.Accepted += res.Accepted
	r.Unknown += res.Quarantined + res.Refused
	r.Positions = res.Position.String()
	for _, rej := range res.Rejected {
		if len(r.Examples) < maxExamples && rej.Row < len(l.keys) {
			r.Examples = append(r.Examples, l.keys[rej.Row])
		}
	}
	l.keys, l.size, l.first = l.keys[:0], 0, false
	return nil
}

func (a *app) printListChanged(r *listChanged) error {
	if a.json {
		return a.printJSON(r)
	}
	t := a.facts()
	t.add("received", r.Received)
	t.add("accepted", r.Accepted)
	t.add("unknown keys", r.Unknown)
	if err := t.write(a.out); err != nil {
		return err
	}
	if len(r.Examples) > 0 {
		fmt.Fprintf(a.err, "nobody has the keys %s\n", printable(shorten(r.Examples)))
	}
	return nil
}

func newListShow(a *app) *cobra.Command {
	var f membersFlags
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "All lists, or who is in one",
		Long: `All lists with the number of people in each, or the keys of who is in one.

--json: {"lists":[{"name":"...","people":N,"saved":"E.N","note":"..."}]}, or of one as kanta
members has it. The note says which cell of which analysis a list was made of.`,
		Args: rangeArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				if len(args) == 0 {
					return a.showLists(c.Context(), s)
				}
				m, err := s.Members(c.Context(), "in_list("+strconv.Quote(args[0])+")", &query.MembersOptions{Limit: f.limit})
				var q *query.Error
				if errors.As(err, &q) && q.Code == query.CodeUnknownName {
					return a.noSuch(c.Context(), s, "list", args[0], a.listNames)
				}
				if err != nil {
					return err
				}
				return a.toOutput("", func(w io.Writer, terminal bool) error { return f.write(c.Context(), a, &m, w, terminal) })
			})
		},
		ValidArgsFunction: a.completeFirst(a.listNames),
	}
	c.Flags().IntVar(&f.limit, "limit", 0, "how many to list (default all)")
	return c
}

func (a *app) showLists(ctx context.Context, s store) error {
	all, err := s.Lists(ctx)
	if err != nil {
		return err
	}
	if !a.json {
		t := a.newTable("name", "#people", "from")
		for i := range all {
			t.add(all[i].Name, all[i].People, all[i].Note)
		}
		return t.write(a.out)
	}
	type listJSON struct {
		Name   string `json:"name"`
		People uint64 `json:"people"`
		Saved  string `json:"saved"`
		Note   string `json:"note,omitempty"`
	}
	lists := []listJSON{}
	for i := range all {
		lists = append(lists, listJSON{all[i].Name, all[i].People, all[i].Saved.String(), all[i].Note})
	}
	return a.printJSON(map[string]any{"lists": lists})
}

func newListDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drop NAME",
		Short: "Drop a list",
		Args:  exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				return a.applyOne(c.Context(), s, func(b *batch.Builder) { b.ListDrop(args[0]) })
			})
		},
		ValidArgsFunction: a.completeFirst(a.listNames),
	}
}
