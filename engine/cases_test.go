package engine_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

var rewrite = flag.Bool("rewrite", false, "write the answers of testdata/cases/*.txt anew")

// TestCases runs the files of testdata/cases; testdata/cases/README.txt explains them. Each
// file is run with everything as it was just written, after a compaction and reopening, and
// after one of these two: with KANTA_LONG after each. The answers must be the same.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/cases/*.txt")
	if err != nil || len(files) < 2 {
		t.Fatalf("no cases: %v", err)
	}
	for i, file := range files {
		if filepath.Base(file) == "README.txt" || i%engine.Rounds(1, 4) > 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := parseCases(string(raw))
			if *rewrite {
				if err := os.WriteFile(file, []byte(runCases(t, file, parts, "")), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			ways := []string{"", "compact", "reopen", "compact and reopen"}
			switch {
			case testing.Short():
				ways = ways[3:]
			case os.Getenv("KANTA_LONG") == "":
				ways = slices.Delete(ways, 1+i%2, 2+i%2)
			}
			for _, after := range ways {
				runCases(t, file, parts, after)
			}
		})
	}
}

// part is a comment, or a command with its input and the expected answer.
type part struct {
	line     int
	comment  string
	command  string
	input    string
	expected string
}

// parseCases cuts a file: a command runs to "----", its answer to the next empty line.
func parseCases(text string) []part {
	var parts []part
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" {
			continue
		}
		p := part{line: i + 1}
		if strings.HasPrefix(lines[i], "#") {
			for ; i < len(lines) && lines[i] != ""; i++ {
				p.comment += lines[i] + "\n"
			}
			parts = append(parts, p)
			continue
		}
		p.command = lines[i]
		for i++; i < len(lines) && lines[i] != "----"; i++ {
			p.input += lines[i] + "\n"
		}
		for i++; i < len(lines) && lines[i] != ""; i++ {
			p.expected += lines[i] + "\n"
		}
		parts = append(parts, p)
	}
	return parts
}

// runCases runs a file against a new store. after is what happens to the store after every
// command that writes. It returns the file with the answers of today.
func runCases(t *testing.T, file string, parts []part, after string) string {
	t.Helper()
	c := &caseRun{t: t, clock: oracleClock(), options: engine.Options{FS: vfs.NewMem(), FirstOrdinal: 1<<20 - 3, Memory: 1 << 26}}
	c.options.Clock = func() time.Time { return c.clock }
	c.open()
	defer func() { _, _ = c.setPolicy("", ""); _ = c.Close() }()
	var out strings.Builder
	for _, p := range parts {
		if p.comment != "" {
			out.WriteString(p.comment + "\n")
			continue
		}
		name, rest, _ := strings.Cut(p.command, " ")
		wrote := c.position()
		got := strings.TrimRight(c.run(name, rest, p.input), "\n") + "\n"
		if got != p.expected && !*rewrite {
			t.Errorf("%s:%d (%s): %s\ngot\n%swant\n%s", file, p.line, after, p.command, got, p.expected)
		}
		if c.position() != wrote {
			c.disturb(after)
		}
		fmt.Fprintf(&out, "%s\n%s----\n%s\n", p.command, p.input, got)
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// caseRun is one run of a file.
type caseRun struct {
	*engine.DB
	t       *testing.T
	options engine.Options
	clock   time.Time
	asOf    time.Time // what questions are about; zero: the clock's
	policy  *query.Policy
	under   query.Snapshot // the last one with that policy
}

func (c *caseRun) about() query.Options { return query.Options{Now: c.asOf} }

func (c *caseRun) open() {
	c.t.Helper()
	var err error
	if c.DB, err = engine.Open("db", &c.options); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caseRun) position() query.Position {
	c.t.Helper()
	s, err := c.Snapshot(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	return s.Position()
}

func (c *caseRun) disturb(how string) {
	c.t.Helper()
	if strings.HasPrefix(how, "compact") {
		if err := c.Compact(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
	}
	if strings.HasSuffix(how, "reopen") {
		if err := c.Close(); err != nil {
			c.t.Fatal(err)
		}
		c.open()
	}
}

// run runs a command and returns its answer; an error is an answer too.
func (c *caseRun) run(name, rest, input string) string {
	c.t.Helper()
	commands := map[string]func(rest, input string) (string, error){
		"schema": c.schema, "drop": c.drop, "rename": c.rename, "compute": c.compute,
		"load": c.load, "events": c.events, "timeline": c.timeline, "delete": c.delete, "unset": c.unset, "add": c.add, "remove": c.add, "increment": c.increment,
		"list": c.list, "segment": c.segment, "define": c.define,
		"count": c.count, "truth": c.truth, "members": c.members, "breakdown": c.breakdown, "values": c.valuesOf,
		"profile": c.profile, "lists": c.lists, "segments": c.segments, "definitions": c.definitions, "quarantine": c.quarantine, "error": c.failure, "explain": c.explain, "analyze": c.analyze,
		"clock": c.setClock, "at": c.at, "policy": c.setPolicy, "why": c.why,
	}
	f := commands[name]
	if f == nil {
		return "there is no command " + name
	}
	if name == "remove" {
		rest = "-" + rest
	}
	out, err := f(rest, input)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return out
}

// clock: TIME
func (c *caseRun) setClock(rest, _ string) (string, error) {
	t, err := time.Parse(time.RFC3339Nano, rest)
	if err == nil {
		c.clock = t.UTC()
	}
	return "done\n", err
}

// at: TIME COMMAND
func (c *caseRun) at(rest, input string) (string, error) {
	at, command, _ := strings.Cut(rest, " ")
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return "", err
	}
	c.asOf = t
	defer func() { c.asOf = time.Time{} }()
	name, rest, _ := strings.Cut(command, " ")
	return c.run(name, rest, input), nil
}

// write applies a batch and tells the outcome.
func (c *caseRun) write(build func(b *batch.Builder)) (string, error) {
	b := batch.New()
	build(b)
	raw, err := b.Encode()
	if err != nil {
		return "", err
	}
	return c.outcome(raw)
}

func (c *caseRun) outcome(raw batch.Batch) (string, error) {
	r, err := c.Apply(c.t.Context(), raw)
	if err != nil {
		return "", err
	}
	if r.Received == 0 {
		return "done\n", nil
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d received: %d accepted (%d new)", r.Received, r.Accepted, r.Created)
	for _, n := range []struct {
		n    uint64
		what string
	}{{r.Quarantined, "quarantined"}, {r.Duplicates, "duplicates"}, {r.Refused, "refused"}} {
		if n.n > 0 {
			fmt.Fprintf(&out, ", %d %s", n.n, n.what)
		}
	}
	out.WriteString("\n")
	if r.Received != r.Accepted+r.Quarantined+r.Duplicates+r.Refused {
		c.t.Errorf("the counts do not add up: %+v", r)
	}
	for _, bad := range r.Rejected {
		fmt.Fprintf(&out, "  %v: %s\n", bad.Reason, bad.Detail)
	}
	return out.String(), nil
}

func (c *caseRun) schema(_, input string) (string, error) {
	want, err := quality.ReadDefinitions(strings.NewReader(input))
	if err != nil {
		return "", err
	}
	old, err := c.Schema(c.t.Context())
	if err != nil {
		return "", err
	}
	changes, err := want.Diff(old)
	if err != nil {
		return "", err
	}
	return c.write(func(b *batch.Builder) {
		for _, x := range changes {
			b.Change(x)
		}
	})
}

func (c *caseRun) drop(name, _ string) (string, error) {
	return c.write(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.Drop, Name: name}) })
}

// compute: NAME = EXPRESSION, drop NAME
func (c *caseRun) compute(rest, _ string) (string, error) {
	s, err := c.Schema(c.t.Context())
	if err != nil {
		return "", err
	}
	change := schema.Change{Op: schema.AddComputed}
	if name, ok := strings.CutPrefix(rest, "drop "); ok {
		change.Op, change.Name = schema.DropComputed, name
	} else if change.Name, change.Text, _ = strings.Cut(rest, " = "); s.LookupComputed(change.Name) != nil {
		change.Op = schema.SetComputed
	}
	return c.write(func(b *batch.Builder) { b.Change(change) })
}

// rename: OLD to NEW
func (c *caseRun) rename(rest, _ string) (string, error) {
	old, to, _ := strings.Cut(rest, " to ")
	return c.write(func(b *batch.Builder) { b.Change(schema.Change{Op: schema.Rename, Name: old, To: to}) })
}

// load: KEYCOLUMN [empty cells unset]
func (c *caseRun) load(rest, input string) (string, error) {
	key, option, _ := strings.Cut(rest, " ")
	s, err := c.Schema(c.t.Context())
	if err != nil {
		return "", err
	}
	d := quality.Dialect{Format: quality.CSV, Encoding: quality.UTF8, Delimiter: ',', Header: true}
	rows, _, err := quality.OpenRows(strings.NewReader(input), &quality.RowsOptions{Dialect: &d})
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	return c.loadRows(rows, s, quality.LoadOptions{File: "people.csv", Key: key, EmptyUnsets: option == "empty cells unset", Parallelism: 1})
}

// events: [ids]: rows of CSV with the columns who, event, time and, with ids, id
func (c *caseRun) events(rest, input string) (string, error) {
	s, err := c.Schema(c.t.Context())
	if err != nil {
		return "", err
	}
	d := quality.Dialect{Format: quality.CSV, Encoding: quality.UTF8, Delimiter: ',', Header: true}
	rows, _, err := quality.OpenRows(strings.NewReader(input), &quality.RowsOptions{Dialect: &d})
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	columns := &quality.EventColumns{Time: "time", Event: "event"}
	if rest == "ids" {
		columns.ID = "id"
	}
	return c.loadRows(rows, s, quality.LoadOptions{File: "acts.csv", Key: "who", Events: columns, Parallelism: 1})
}

// timeline: KEY [limit N]
func (c *caseRun) timeline(rest, _ string) (string, error) {
	key, limit, _ := strings.Cut(rest, " limit ")
	o := &query.TimelineOptions{Options: c.about()}
	if limit != "" {
		if _, err := fmt.Sscan(limit, &o.Limit); err != nil {
			return "", err
		}
	}
	var rows [][]string
	for {
		page, err := c.asked().Timeline(c.t.Context(), key, o)
		if err != nil {
			return "", err
		}
		for _, e := range page.Events {
			row := []string{e.Time.Format(time.RFC3339Nano), e.Event, ""}
			if x := e.Change; x != nil {
				row[2] = shown(x.From.String(), x.From.IsAbsent()) + " -> " + shown(x.To.String(), x.To.IsAbsent())
			}
			for _, p := range e.Properties {
				row[2] += p.Name + "=" + p.Value.String() + " "
			}
			row[2] = strings.TrimSpace(row[2])
			rows = append(rows, row)
		}
		if o.After = page.Next; o.After == "" && len(rows) == 0 {
			return "no events\n", nil
		} else if o.After == "" {
			return table(rows), nil
		}
		rows = append(rows, []string{"more:"})
	}
}

// loadRows loads rows and tells the outcome.
func (c *caseRun) loadRows(rows quality.Rows, s *schema.Schema, o quality.LoadOptions) (string, error) {
	var out string
	report, err := quality.Load(c.t.Context(), rows, s, o, func(l quality.Loaded) error {
		text, err := c.outcome(l.Batch)
		out += text
		return err
	})
	if report.Overwritten > 0 {
		out += fmt.Sprintf("  %d overwritten\n", report.Overwritten)
	}
	if len(report.Unknown) > 0 {
		out += fmt.Sprintf("  no attribute for: %s\n", strings.Join(report.Unknown, ", "))
	}
	return out, err
}

func (c *caseRun) delete(rest, _ string) (string, error) {
	return c.write(func(b *batch.Builder) { b.Delete(strings.Fields(rest)...) })
}

// unset: KEY ATTRIBUTE
func (c *caseRun) unset(rest, _ string) (string, error) {
	key, attr, _ := strings.Cut(rest, " ")
	return c.write(func(b *batch.Builder) { b.Upsert(key).Unset(attr) })
}

// add, remove: KEY ATTRIBUTE ELEMENT|ELEMENT
func (c *caseRun) add(rest, _ string) (string, error) {
	rest, minus := strings.CutPrefix(rest, "-")
	f := strings.SplitN(rest, " ", 3)
	return c.write(func(b *batch.Builder) {
		if minus {
			b.Upsert(f[0]).Remove(f[1], strings.Split(f[2], "|")...)
		} else {
			b.Upsert(f[0]).Add(f[1], strings.Split(f[2], "|")...)
		}
	})
}

// increment: KEY ATTRIBUTE BY
func (c *caseRun) increment(rest, _ string) (string, error) {
	f := strings.Fields(rest)
	s, err := c.Schema(c.t.Context())
	if err != nil {
		return "", err
	}
	v, err := schema.ParseValue(s.Lookup(f[1]), f[2], nil)
	if err != nil {
		return "", err
	}
	return c.write(func(b *batch.Builder) { b.Upsert(f[0]).Increment(f[1], v) })
}

// list: put|add|remove|drop NAME KEY...
func (c *caseRun) list(rest, _ string) (string, error) {
	f := strings.Fields(rest)
	return c.write(func(b *batch.Builder) {
		switch f[0] {
		case "put":
			b.ListPut(f[1], f[2:]...)
		case "add":
			b.ListAdd(f[1], f[2:]...)
		case "remove":
			b.ListRemove(f[1], f[2:]...)
		case "drop":
			b.ListDrop(f[1])
		}
	})
}

// segment: save NAME = EXPRESSION, share NAME, drop NAME
func (c *caseRun) segment(rest, _ string) (string, error) {
	verb, rest, _ := strings.Cut(rest, " ")
	name, text, _ := strings.Cut(rest, " = ")
	return c.write(func(b *batch.Builder) {
		switch verb {
		case "drop":
			b.DropSegment(name)
		case "share":
			b.ShareSegment(name)
		default:
			b.SaveSegment(name, text)
		}
	})
}

// define: ANALYSIS NAME [EXPRESSION], then lines as analyze has them; drop ANALYSIS NAME
func (c *caseRun) define(rest, input string) (string, error) {
	return c.write(func(b *batch.Builder) {
		if rest, ok := strings.CutPrefix(rest, "drop "); ok {
			analysis, name, _ := strings.Cut(rest, " ")
			b.DropDefinition(analysis, name)
			return
		}
		d := &batch.Definition{Arguments: arguments(input)}
		d.Analysis, rest, _ = strings.Cut(rest, " ")
		d.Name, d.Who, _ = strings.Cut(rest, " ")
		b.SaveDefinition(d)
	})
}

// arguments reads lines of a parameter and its text.
func arguments(input string) query.Arguments {
	args := query.Arguments{}
	for line := range strings.Lines(input) {
		parameter, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		args[parameter] = append(args[parameter], text)
	}
	return args
}

// pretty returns an error with the place, if it has one.
func pretty(err error) string {
	var q *query.Error
	if errors.As(err, &q) {
		return q.Pretty() + "\n"
	}
	return err.Error() + "\n"
}

func (c *caseRun) failure(rest, _ string) (string, error) {
	_, err := c.asked().Count(c.t.Context(), rest, nil)
	if err == nil {
		return "no error\n", nil
	}
	return pretty(err), nil
}

// clause takes "word value" off the end of a command.
func clause(rest *string, word string) (value string, ok bool) {
	i := strings.LastIndex(*rest, " "+word+" ")
	if i < 0 {
		return "", false
	}
	value = strings.TrimSpace((*rest)[i+len(word)+2:])
	*rest = (*rest)[:i]
	return value, true
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

func plural(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// table aligns columns.
func table(rows [][]string) string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var out bytes.Buffer
	for _, r := range rows {
		line := ""
		for i, cell := range r {
			line += cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}
