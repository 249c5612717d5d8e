package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
)

func newSchema(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "schema",
		Short: "Which attributes and events there are: infer, show, apply",
		Long: `Which attributes a person has, and which types of event there are. A schema is a TOML
file with an [[attribute]] table for each attribute, an [[event]] table for each type of event
and in it an [[event.property]] for each of its properties; kanta schema infer makes one from
data of people, to be read, corrected and applied. A [[computed]] table has a name for an
expression, to be used wherever an attribute is:

  [[computed]]
  name = "total_spent"
  expression = "purchase.sum(e, e.amount)"`,
	})
	c.AddCommand(newSchemaInfer(a), newSchemaShow(a), newSchemaApply(a))
	return c
}

// attributeJSON is an attribute as kanta schema show --json has it.
type attributeJSON struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Scale      *uint8   `json:"scale,omitempty"`
	Storage    string   `json:"storage,omitempty"`
	Allowed    []string `json:"allowed,omitempty"`
	Min        string   `json:"min,omitempty"`
	Max        string   `json:"max,omitempty"`
	Format     string   `json:"format,omitempty"`
	Required   bool     `json:"required"`
	Unique     bool     `json:"unique"`
	PII        bool     `json:"pii"`
	History    bool     `json:"history"`
	Deprecated bool     `json:"deprecated"`
	Why        string   `json:"why,omitempty"`
}

func attributeOf(at *schema.Attribute) attributeJSON {
	j := attributeJSON{Name: at.Name, Kind: at.Kind.String(), Min: at.Min.String(), Max: at.Max.String(), Format: at.Format,
		Required: at.Required, Unique: at.Unique, PII: at.PII, History: at.History, Deprecated: at.Deprecated}
	if at.Kind == schema.Decimal {
		j.Scale = &at.Scale
	}
	if at.Kind == schema.String {
		j.Storage = storageText(at.Storage)
	}
	for _, v := range at.Allowed {
		j.Allowed = append(j.Allowed, v.String())
	}
	return j
}

func storageText(s schema.Storage) string {
	return [...]string{schema.StorageDictionary: "dictionary", schema.StorageInline: "inline"}[s]
}

// kindText returns a kind as people write it, with a decimal's scale.
func kindText(at *schema.Attribute) string {
	switch {
	case at.Kind == schema.Decimal:
		return fmt.Sprintf("decimal(%d)", at.Scale)
	case at.Inline():
		return "string, inline"
	}
	return at.Kind.String()
}

func newSchemaInfer(a *app) *cobra.Command {
	var f rowFlags
	c := &cobra.Command{
		Use:   "infer FILE --key COLUMN",
		Short: "Propose a schema for a file of people",
		Long: `Propose a schema for a file of people. The TOML goes to standard output; what was seen
of each column, and why its kind was chosen, to standard error. The store is not asked.

--json: {"rows":N,"bad_rows":N,"attributes":[{name, kind, scale, storage, pii, why, ...}]}`,
		Example: "  kanta schema infer customers.csv --key id > schema.toml",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			in, err := a.openInput(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			if err := f.check(); err != nil {
				return err
			}
			if err := in.prepare(&f); err != nil {
				return err
			}
			attributes, report, err := in.infer(&f)
			if err != nil {
				return err
			}
			if a.json {
				return a.printInferred(report)
			}
			a.explainInferred(in.name, report, report.Columns)
			return quality.WriteAttributes(a.out, attributes)
		},
	}
	f.add(c)
	return c
}

// add adds the flags.
func (f *rowFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "the column that identifies a person (must be given)")
	f.addFormat(c)
}

// addFormat adds the flags that say how rows are written.
func (f *rowFlags) addFormat(c *cobra.Command) {
	c.Flags().StringVar(&f.separator, "set-separator", schema.SetSeparator, "what stands between the elements of a set")
	c.Flags().StringVar(&f.encoding, "encoding", "", "of the text, if it is not UTF-8: utf-16le, utf-16be, windows-1252 or iso-8859-1")
	completeWord(c, "encoding", "utf-16le", "utf-16be", "windows-1252", "iso-8859-1")
}

// keyFlag is the name of the flag of the key's column.
func (f *rowFlags) keyFlag() string {
	if f.events {
		return "profile"
	}
	return "key"
}

func (f *rowFlags) check() error {
	if f.key == "" {
		return usagef("--%s is missing: name the column that identifies a person, such as --%s id", f.keyFlag(), f.keyFlag())
	}
	if f.separator == "" {
		return usagef("--set-separator must not be empty")
	}
	return nil
}

// streamInferRows is how many rows of a stream inference looks at: they are kept in
// memory until they are read again as data.
const streamInferRows = 10_000

// inferRows is how many rows of the input inference looks at.
func (in *input) inferRows() int {
	if !in.resumable() {
		return streamInferRows
	}
	return quality.InferRows
}

// infer proposes a schema and goes back to the input's start.
func (in *input) infer(f *rowFlags) ([]schema.Attribute, *quality.InferReport, error) {
	rows, err := in.rows(f)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	attributes, report, err := quality.Infer(rows, f.key, in.inferRows())
	if err == nil && report.Rows == 0 {
		err = fmt.Errorf("there are no rows behind the header (columns: %s); nothing can be said of their kinds", strings.Join(rows.Columns(), ", "))
	}
	if err != nil {
		return nil, nil, &inputError{in.name, err}
	}
	return attributes, report, in.rewind()
}

func (a *app) printInferred(report *quality.InferReport) error {
	list := []attributeJSON{}
	for i := range report.Columns {
		j := attributeOf(&report.Columns[i].Attribute)
		j.Why = report.Columns[i].Why
		list = append(list, j)
	}
	return a.printJSON(struct {
		Rows       int             `json:"rows"`
		Bad        int             `json:"bad_rows"`
		Attributes []attributeJSON `json:"attributes"`
	}{report.Rows, report.Bad, list})
}

// explainInferred tells people, on standard error, what was seen of columns and why each kind was chosen.
func (a *app) explainInferred(name string, report *quality.InferReport, columns []quality.InferColumn) {
	if a.json {
		return
	}
	fmt.Fprintf(a.err, "%s: kinds inferred from %s rows", name, count(report.Rows))
	if report.Bad > 0 {
		fmt.Fprintf(a.err, ", of which %s cannot be read (the first: %v)", count(report.Bad), report.BadRow)
	}
	fmt.Fprintln(a.err)
	a.explainColumns(columns)
}

// explainColumns prints what was seen of columns.
func (a *app) explainColumns(columns []quality.InferColumn) {
	t := a.newTable("", "", "", "")
	t.terminal = true // aligned also in a log: it is for people only
	for i := range columns {
		c := &columns[i]
		text := c.Why
		if len(c.Examples) > 0 {
			text += "; such as " + strings.Join(c.Examples, ", ")
		}
		if c.Absent > 0 {
			text += fmt.Sprintf("; %s empty", count(c.Absent))
		}
		t.add(" ", c.Attribute.Name, kindText(&c.Attribute), text)
	}
	// What cannot be written to standard error cannot be told anywhere.
	_ = t.write(a.err)
}

func newSchemaShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "The schema of the store, as a TOML file",
		Long: `The schema of the store, in the form that kanta schema apply reads.

--json: {"version":N,"attributes":[{name, kind, scale, storage, allowed, min, max, format,
required, unique, pii, history, deprecated}],"events":[{"name":"...","retention_days":N,
"properties":[as attributes]}],"computed":[{"name":"...","expression":"..."}]}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				sch, err := s.Schema(c.Context())
				if err != nil {
					return err
				}
				if !a.json {
					return quality.WriteSchemaFile(a.out, sch)
				}
				list := []attributeJSON{}
				for i := range sch.Attributes {
					list = append(list, attributeOf(&sch.Attributes[i]))
				}
				return a.printJSON(struct {
					Version    uint64          `json:"version"`
					Attributes []attributeJSON `json:"attributes"`
					Events     []typeJSON      `json:"events"`
					Computed   []computedJSON  `json:"computed"`
				}{sch.Version, list, typesOf(sch), computedOf(sch)})
			})
		},
	}
}

// computedJSON is a computed attribute as --json prints it.
type computedJSON struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

func computedOf(sch *schema.Schema) []computedJSON {
	out := []computedJSON{}
	for _, c := range sch.Computed {
		out = append(out, computedJSON{c.Name, c.Text})
	}
	return out
}

// typeJSON is a type of event as --json prints it.
type typeJSON struct {
	Name       string          `json:"name"`
	Retention  uint32          `json:"retention_days,omitempty"`
	Deprecated bool            `json:"deprecated,omitempty"`
	Properties []attributeJSON `json:"properties"`
}

func typesOf(sch *schema.Schema) []typeJSON {
	out := []typeJSON{}
	for i := range sch.Events {
		e := &sch.Events[i]
		t := typeJSON{e.Name, e.Retention, e.Deprecated, []attributeJSON{}}
		for k := range e.Properties {
			t.Properties = append(t.Properties, attributeOf(&e.Properties[k]))
		}
		out = append(out, t)
	}
	return out
}

// warnClashes says which names an attribute and an event share since a change.
func (a *app) warnClashes(before, after *schema.Schema) {
	known := before.Clashes()
	for _, name := range after.Clashes() {
		if !slices.Contains(known, name) {
			fmt.Fprintf(a.err, "%q is an attribute and an event: in expressions write p[%q] and ev[%q]\n", name, name, name)
		}
	}
}

func newSchemaApply(a *app) *cobra.Command {
	var dry, drop bool
	c := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make the store's schema that of a TOML file",
		Long: `Make the store's schema that of a TOML file, and say what changes. What the file does
not have stays; with --drop it goes, and the values and events of it are gone for good. A
definition becomes narrower only if every stored value fits.

--json: {"dry_run":B,"version":N,"changes":[{"change":"...","attribute":"..."}],"only_in_store":["..."]}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			want, err := a.readSchema(args[0])
			if err != nil {
				return err
			}
			return a.withDryStore(dry, func(s store) error { return a.applySchema(c.Context(), s, want, dry, drop) })
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "decide and tell, change nothing")
	c.Flags().BoolVar(&drop, "drop", false, "drop what the file does not have, with its data")
	return c
}

func (a *app) readSchema(name string) (*quality.Definitions, error) {
	in, err := a.openInput(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	want, err := quality.ReadDefinitions(in)
	if err != nil {
		return nil, &inputError{in.name, err}
	}
	return want, nil
}

func (a *app) applySchema(ctx context.Context, s store, want *quality.Definitions, dry, drop bool) error {
	before, err := s.Schema(ctx)
	if err != nil {
		return err
	}
	changes, err := want.Diff(before)
	if err != nil {
		return err
	}
	only := want.Drops(before)
	if drop && len(want.Attributes)+len(want.Events)+len(want.Computed) == 0 && len(only) > 0 {
		return usagef("the file defines nothing: --drop would drop all %d definitions of the store, with their data (is it the right file?)", len(only))
	}
	if drop {
		changes, only = append(changes, only...), nil
	}
	after, err := quality.Evolve(ctx, s, before, changes, dry)
	if err != nil {
		return err
	}
	a.warnClashes(before, after)
	if a.json {
		return a.printChanges(changes, only, after.Version, dry)
	}
	t := a.newTable("change", "name", "definition")
	for _, c := range changes {
		t.add(c.Op.String(), changed(c), definition(c))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	if len(only) > 0 {
		names := make([]string, len(only))
		for i, c := range only {
			names[i] = changed(c)
		}
		fmt.Fprintf(a.err, "not in the file, and stays: %s\n", strings.Join(names, ", "))
	}
	made, has := "changed", "has"
	if dry {
		made, has = "would change", "would have"
	}
	what := "definitions"
	if len(changes) == 1 {
		what = "definition"
	}
	fmt.Fprintf(a.err, "%d %s %s; the schema %s version %d\n", len(changes), what, made, has, after.Version)
	return nil
}

// definition says what something is from a change on.
func definition(c schema.Change) string {
	switch c.Op {
	case schema.AddAttribute, schema.Widen, schema.Narrow, schema.AddProperty, schema.WidenProperty, schema.NarrowProperty:
		return rulesText(&c.Attribute)
	case schema.SetStorage:
		return storageText(c.Attribute.Storage)
	case schema.AddComputed, schema.SetComputed:
		return c.Text
	case schema.AddEvent, schema.RedefineEvent:
		if c.Retention > 0 {
			return fmt.Sprintf("kept for %d days", c.Retention)
		}
	}
	return ""
}

// rulesText is a kind and what its values have to be.
func rulesText(at *schema.Attribute) string {
	text := kindText(at)
	if len(at.Allowed) > 0 {
		text += fmt.Sprintf(", %d values allowed", len(at.Allowed))
	}
	for _, rule := range []struct{ word, of string }{{"min", at.Min.String()}, {"max", at.Max.String()}, {"format", at.Format}} {
		if rule.of != "" {
			text += ", " + rule.word + " " + rule.of
		}
	}
	for _, mark := range []struct {
		word string
		on   bool
	}{{"required", at.Required}, {"unique", at.Unique}, {"pii", at.PII}, {"history", at.History}} {
		if mark.on {
			text += ", " + mark.word
		}
	}
	return text
}

// changed returns the name of what a change is about: an attribute, an event type, or
// event.property.
func changed(c schema.Change) string {
	switch {
	case c.Event != "" && c.Name != "":
		return c.Event + "." + c.Name
	case c.Event != "":
		return c.Event
	case c.Name != "":
		return c.Name
	}
	return c.Attribute.Name
}

func (a *app) printChanges(changes, only []schema.Change, version uint64, dry bool) error {
	type changeJSON struct {
		Change    string `json:"change"`
		Attribute string `json:"attribute"`
	}
	out := struct {
		DryRun      bool         `json:"dry_run"`
		Version     uint64       `json:"version"`
		Changes     []changeJSON `json:"changes"`
		OnlyInStore []string     `json:"only_in_store"`
	}{dry, version, []changeJSON{}, []string{}}
	for _, c := range changes {
		out.Changes = append(out.Changes, changeJSON{c.Op.String(), changed(c)})
	}
	for _, c := range only {
		out.OnlyInStore = append(out.OnlyInStore, changed(c))
	}
	return a.printJSON(out)
}
