package quality

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
)

// maxSchemaFile bounds a schema file: a schema of the most attributes fits.
const maxSchemaFile = 16 << 20

// attributeKeys are the keys of an [[attribute]] table, in the order they are written.
var attributeKeys = [...]string{"name", "kind", "scale", "storage", "class", "allowed", "min", "max",
	"format", "required", "unique", "pii", "history", "deprecated"}

// eventKeys are the keys of an [[event]] table.
var eventKeys = [...]string{"name", "class", "retention_days", "deprecated", "property"}

// computedKeys are the keys of a [[computed]] table.
var computedKeys = [...]string{"name", "expression"}

// The tables of a schema file.
const (
	attributeTable = "attribute"
	eventTable     = "event"
	propertyTable  = "event.property"
	computedTable  = "computed"
)

var storageNames = [...]string{"dictionary", "inline"}

// SchemaFileError is one thing that is wrong in a schema file.
type SchemaFileError struct {
	Line    int    // from 1; 0 if it is not known
	Event   string // the event type, or whose property it is
	Name    string // the attribute, property or computed attribute; "" if it has none
	Problem string
	Advice  string
	what    string // what Name is; "": an attribute or property
}

// Error returns one line.
func (e *SchemaFileError) Error() string {
	out := e.Problem
	switch {
	case e.Event != "" && e.Name != "":
		out = fmt.Sprintf("property %q of event %q: %s", e.Name, e.Event, out)
	case e.Event != "":
		out = fmt.Sprintf("event %q: %s", e.Event, out)
	case e.Name != "":
		out = fmt.Sprintf("%s %q: %s", cmp.Or(e.what, "attribute"), e.Name, out)
	}
	if e.Line > 0 {
		out = fmt.Sprintf("line %d: %s", e.Line, out)
	}
	if e.Advice != "" {
		out += " (" + e.Advice + ")"
	}
	return out
}

// Definitions are what a schema file says: attributes and event types, without ids, and
// computed attributes, whose expressions nobody has looked at.
type Definitions struct {
	Attributes []schema.Attribute
	Events     []schema.Event
	Computed   []schema.Computed
}

// ReadDefinitions reads a schema file. Everything that is wrong is reported, as joined
// [SchemaFileError]s. The definitions are valid, their names distinct and all texts NFC.
// The form stands at [WriteSchemaFile].
func ReadDefinitions(r io.Reader) (*Definitions, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSchemaFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(text) > maxSchemaFile {
		return nil, &SchemaFileError{Problem: "the file is larger than 16 MiB", Advice: "is it a schema file?"}
	}
	var doc map[string]any
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if err := toml.Unmarshal(text, &doc); err != nil {
		bad := &SchemaFileError{Problem: err.Error()}
		var parse toml.ParseError
		if errors.As(err, &parse) {
			at := parse.Position
			// Of a line that ends too early the next one is named.
			last := min(max(0, at.Start+at.Len-1), len(text))
			bad.Line, bad.Problem = min(at.Line, 1+bytes.Count(text[:last], []byte("\n"))), parse.Message
		}
		return nil, bad
	}
	f := fileReader{places: locate(text)}
	return f.read(doc)
}

// fileReader turns the tables of a schema file into definitions.
type fileReader struct {
	places []place
	at     place  // of the table that is read
	event  string // the event type that is read, or "" for an attribute
	name   string // of the attribute or property that is read
	reads  string // what is read, if it is neither
	errs   []error
}

func (f *fileReader) fail(key, advice, format string, args ...any) {
	f.errs = append(f.errs, &SchemaFileError{Line: f.at.line(key), Event: f.event, Name: f.name, what: f.reads,
		Problem: fmt.Sprintf(format, args...), Advice: advice})
}

func (f *fileReader) read(doc map[string]any) (*Definitions, error) {
	for _, key := range sortedKeys(doc) {
		if key != attributeTable && key != eventTable && key != computedTable {
			return nil, &SchemaFileError{Problem: fmt.Sprintf("unknown key %q", key), Advice: "a schema file has [[attribute]], [[event]] and [[computed]] tables only"}
		}
	}
	out := &Definitions{}
	out.Attributes = f.attributes(doc, attributeTable, tablesOf(f.places, attributeTable), func(a *schema.Attribute) error { return a.Validate() })
	events := f.tables(doc, eventTable)
	seen := map[string]bool{}
	for i, table := range events {
		places := eventPlaces(f.places, i)
		f.at, f.name = place{}, ""
		if len(places) > 0 {
			f.at = places[0]
		}
		e := f.eventType(table, seen)
		f.event = e.Name
		e.Properties = f.attributes(table, "property", tablesOf(places, propertyTable), func(p *schema.Attribute) error {
			return (&schema.Event{Name: "e", Properties: []schema.Attribute{*p}}).Validate()
		})
		out.Events = append(out.Events, e)
	}
	out.Computed = f.computed(doc, out.Attributes)
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	return out, nil
}

// tables returns the list of tables that stands at a key.
func (f *fileReader) tables(doc map[string]any, key string) []map[string]any {
	tables, ok := doc[key].([]map[string]any)
	if _, some := doc[key]; some && !ok {
		header := key
		if key == "property" {
			header = propertyTable
		}
		f.fail(key, fmt.Sprintf("write [[%s]], with two brackets", header), "%s is not a list of tables", header)
	}
	return tables
}

// attributes reads the attributes, or the properties of an event type, that stand at a key.
func (f *fileReader) attributes(doc map[string]any, key string, places []place, validate func(*schema.Attribute) error) (out []schema.Attribute) {
	seen := map[string]bool{}
	for i, table := range f.tables(doc, key) {
		f.at, f.name = place{}, ""
		if i < len(places) {
			f.at = places[i]
		}
		before := len(f.errs)
		a := f.attribute(table)
		if seen[a.Name] && a.Name != "" {
			f.fail("name", "rename or remove one", "the name comes twice")
		}
		seen[a.Name] = true
		var bad *schema.ChangeError
		if len(f.errs) == before && errors.As(validate(&a), &bad) {
			f.fail("", bad.Advice, "%s", bad.Problem)
		}
		out = append(out, a)
	}
	return out
}

// computed reads the [[computed]] tables. They have no names that attributes have.
func (f *fileReader) computed(doc map[string]any, attributes []schema.Attribute) (out []schema.Computed) {
	seen := map[string]string{}
	for i := range attributes {
		seen[attributes[i].Name] = "an attribute has this name"
	}
	places := tablesOf(f.places, computedTable)
	f.event, f.reads = "", "computed attribute"
	for i, table := range f.tables(doc, computedTable) {
		f.at, f.name = place{}, ""
		if i < len(places) {
			f.at = places[i]
		}
		before := len(f.errs)
		f.name = norm.NFC.String(f.text(table, "name"))
		f.keys(table, computedKeys[:])
		c := schema.Computed{Name: f.name, Text: f.text(table, "expression")}
		if seen[c.Name] != "" && c.Name != "" {
			f.fail("name", "rename or remove one", "%s", seen[c.Name])
		}
		seen[c.Name] = "the name comes twice"
		var bad *schema.ChangeError
		if len(f.errs) == before && errors.As(c.Validate(), &bad) {
			f.fail("", bad.Advice, "%s", bad.Problem)
		}
		out = append(out, c)
	}
	return out
}

// eventType reads an [[event]] table without its properties.
func (f *fileReader) eventType(table map[string]any, seen map[string]bool) (e schema.Event) {
	before := len(f.errs)
	f.event = ""
	e.Name = norm.NFC.String(f.text(table, "name"))
	f.event = e.Name
	f.keys(table, eventKeys[:])
	if _, ok := table["name"]; !ok {
		f.fail("", `add name = "..."`, "the event has no name")
	}
	e.Class, e.Deprecated = f.class(table), f.bool(table, "deprecated")
	if days, ok := table["retention_days"]; ok {
		n, whole := days.(int64)
		if !whole || n < 1 || n > schema.MaxRetention {
			f.fail("retention_days", "write a number of days, or leave it out to keep its acts for ever", "a retention of %v days", days)
		}
		e.Retention = uint32(n)
	}
	if seen[e.Name] && e.Name != "" {
		f.fail("name", "rename or remove one", "the name comes twice")
	}
	seen[e.Name] = true
	var bad *schema.ChangeError
	if len(f.errs) == before && errors.As(e.Validate(), &bad) {
		f.fail("", bad.Advice, "%s", bad.Problem)
	}
	return e
}

// keys reports keys that a table does not have.
func (f *fileReader) keys(table map[string]any, known []string) {
	for _, key := range sortedKeys(table) {
		if !slices.Contains(known, key) {
			f.fail(key, nearest(key, known), "unknown key %q", key)
		}
	}
}

func (f *fileReader) class(table map[string]any) schema.DataClass {
	class, ok := table["class"]
	if !ok {
		return schema.ClassNone
	}
	i := slices.Index(schema.DataClassNames()[1:], f.text(table, "class"))
	if i < 0 {
		f.fail("class", nearest(fmt.Sprint(class), schema.DataClassNames()[1:]), "there is no class %q", fmt.Sprint(class))
	}
	return schema.DataClass(i + 1)
}

func (f *fileReader) attribute(table map[string]any) (a schema.Attribute) {
	f.name = norm.NFC.String(f.text(table, "name"))
	a.Name = f.name
	f.keys(table, attributeKeys[:])
	if _, ok := table["name"]; !ok {
		f.fail("", `add name = "..."`, "the %s has no name", f.what())
	}
	f.kind(&a, table)
	a.Format = norm.NFC.String(f.text(table, "format"))
	a.Required, a.Unique, a.PII = f.bool(table, "required"), f.bool(table, "unique"), f.bool(table, "pii")
	a.History, a.Deprecated = f.bool(table, "history"), f.bool(table, "deprecated")
	a.Class = f.class(table)
	if storage, ok := table["storage"]; ok {
		i := slices.Index(storageNames[:], f.text(table, "storage"))
		if i < 0 {
			f.fail("storage", nearest(fmt.Sprint(storage), storageNames[:]), "there is no storage %q", fmt.Sprint(storage))
		}
		a.Storage = schema.Storage(max(i, 0))
	} else if a.Kind == schema.String && (a.PII || a.Unique) {
		a.Storage = schema.StorageInline // the only storage it can have
	}
	if !a.Kind.Valid() {
		return a
	}
	a.Min, a.Max = f.value(&a, table, "min"), f.value(&a, table, "max")
	if list, ok := table["allowed"].([]any); ok {
		for _, v := range list {
			a.Allowed = append(a.Allowed, f.parse(&a, "allowed", v))
		}
	} else if table["allowed"] != nil {
		f.fail("allowed", `write allowed = ["a", "b"]`, "allowed is not a list")
	}
	return a
}

// what says what is read, for people.
func (f *fileReader) what() string {
	if f.event != "" {
		return "property"
	}
	return "attribute"
}

func (f *fileReader) kind(a *schema.Attribute, table map[string]any) {
	name, ok := table["kind"]
	if !ok {
		f.fail("", `add kind = "..."`, "the %s has no kind", f.what())
		return
	}
	text := f.text(table, "kind")
	kind, ok := schema.ParseKind(text)
	switch {
	case strings.HasPrefix(text, "decimal("):
		f.fail("kind", `write kind = "decimal" and scale = ...`, "the scale is a key of its own")
		return
	case !ok:
		var kinds []string
		for k := schema.Bool; k.Valid(); k++ {
			kinds = append(kinds, k.String())
		}
		f.fail("kind", nearest(fmt.Sprint(name), kinds), "there is no kind %q", fmt.Sprint(name))
		return
	}
	a.Kind = kind
	scale, given := table["scale"]
	n, whole := scale.(int64)
	switch {
	case given && (!whole || n < 0 || n > schema.MaxScale):
		f.fail("scale", "a decimal has 0 to 18 places", "the scale is %v", scale)
	case !given && kind == schema.Decimal:
		f.fail("kind", "add scale = 2, or how many places it has", "the decimal has no scale")
	}
	a.Scale = uint8(n)
}

func (f *fileReader) text(table map[string]any, key string) string {
	v, ok := table[key]
	s, isText := v.(string)
	if ok && !isText {
		f.fail(key, "put it between quotes", "%s is not a text", key)
	}
	return s
}

func (f *fileReader) bool(table map[string]any, key string) bool {
	v, ok := table[key]
	b, isBool := v.(bool)
	if ok && !isBool {
		f.fail(key, "write true or false, without quotes", "%s is not a bool", key)
	}
	return b
}

func (f *fileReader) value(a *schema.Attribute, table map[string]any, key string) schema.Value {
	if v, ok := table[key]; ok {
		return f.parse(a, key, v)
	}
	return schema.Value{}
}

// parse makes a value of the attribute's kind from a TOML value.
func (f *fileReader) parse(a *schema.Attribute, key string, v any) schema.Value {
	text, problem := valueText(a, v)
	if problem == "" && (a.Kind == schema.String || a.Kind == schema.Set) {
		if _, ok := v.(string); ok {
			return schema.StringValue(norm.NFC.String(text)) // a set's allowed values are its elements
		}
		problem = "put it between quotes"
	}
	if problem != "" {
		f.fail(key, problem, "%v is not a value of %s", v, a.Kind)
		return schema.Value{}
	}
	out, err := schema.ParseValue(a, text, nil)
	if err == nil && out.IsAbsent() {
		err = errors.New("remove it if there is none")
	}
	if err != nil {
		f.fail(key, err.Error(), "%q is not a value of %s", text, a.Kind)
	}
	return out
}

// valueText returns a TOML value as a cell has it, or what to do about it.
func valueText(a *schema.Attribute, v any) (text, problem string) {
	switch v := v.(type) {
	case string:
		return v, ""
	case bool:
		return strconv.FormatBool(v), ""
	case int64:
		return strconv.FormatInt(v, 10), ""
	case float64:
		if a.Kind == schema.Decimal && math.Abs(v)*math.Pow10(int(a.Scale)) > 1<<50 {
			return "", "put it between quotes: a TOML number of so many digits is not exact"
		}
		format := byte('g')
		if a.Kind == schema.Decimal {
			format = 'f'
		}
		return strconv.FormatFloat(v, format, -1, 64), ""
	case time.Time:
		switch v.Location().String() { // the names that the TOML library gives to times without an offset
		case "date-local":
			return v.Format(time.DateOnly), ""
		case "datetime-local":
			return v.Format("2006-01-02 15:04:05.999999999"), ""
		case "time-local":
			return "", "a time of day needs its date"
		}
		return v.Format(time.RFC3339Nano), ""
	}
	return "", "write one value"
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
