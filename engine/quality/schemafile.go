package quality

import (
	"bytes"
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

var storageNames = [...]string{"dictionary", "inline"}

var classNames = [...]string{"", "acquisition", "demographic", "technographic", "psychographic", "activity",
	"transaction", "correspondence"}

// SchemaFileError is one thing that is wrong in a schema file.
type SchemaFileError struct {
	Line    int    // from 1; 0 if it is not known
	Name    string // the attribute; "" if it has none
	Problem string
	Advice  string
}

// Error returns one line.
func (e *SchemaFileError) Error() string {
	out := e.Problem
	if e.Name != "" {
		out = fmt.Sprintf("attribute %q: %s", e.Name, out)
	}
	if e.Line > 0 {
		out = fmt.Sprintf("line %d: %s", e.Line, out)
	}
	if e.Advice != "" {
		out += " (" + e.Advice + ")"
	}
	return out
}

// ReadSchemaFile reads a schema file. Everything that is wrong is reported, as joined
// [SchemaFileError]s. The attributes are valid, their names distinct and all texts NFC;
// they have no ids. The form stands at [WriteSchemaFile].
func ReadSchemaFile(r io.Reader) ([]schema.Attribute, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSchemaFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(text) > maxSchemaFile {
		return nil, &SchemaFileError{Problem: "the file is larger than 16 MiB", Advice: "is it a schema file?"}
	}
	var doc map[string]any
	if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &doc); err != nil {
		bad := &SchemaFileError{Problem: err.Error()}
		var parse toml.ParseError
		if errors.As(err, &parse) {
			bad.Line, bad.Problem = parse.Position.Line, parse.Message
		}
		return nil, bad
	}
	f := fileReader{places: locate(text)}
	return f.read(doc)
}

// fileReader turns the tables of a schema file into attributes.
type fileReader struct {
	places []place
	table  int    // of the attribute that is read
	name   string // its name
	errs   []error
}

func (f *fileReader) fail(key, advice, format string, args ...any) {
	bad := &SchemaFileError{Name: f.name, Problem: fmt.Sprintf(format, args...), Advice: advice}
	if f.table < len(f.places) {
		bad.Line = f.places[f.table].line(key)
	}
	f.errs = append(f.errs, bad)
}

func (f *fileReader) read(doc map[string]any) ([]schema.Attribute, error) {
	var attributes []schema.Attribute
	for _, key := range sortedKeys(doc) {
		if key != "attribute" {
			return nil, &SchemaFileError{Problem: fmt.Sprintf("unknown key %q", key), Advice: "a schema file has [[attribute]] tables only"}
		}
	}
	tables, ok := doc["attribute"].([]map[string]any)
	if _, some := doc["attribute"]; some && !ok {
		return nil, &SchemaFileError{Problem: "attribute is not a list of tables", Advice: "write [[attribute]], with two brackets"}
	}
	seen := map[string]bool{}
	for i, table := range tables {
		f.table, f.name = i, ""
		before := len(f.errs)
		a := f.attribute(table)
		if seen[a.Name] && a.Name != "" {
			f.fail("name", "rename or remove one", "the name comes twice")
		}
		seen[a.Name] = true
		var bad *schema.ChangeError
		if len(f.errs) == before && errors.As(a.Validate(), &bad) {
			f.fail("", bad.Advice, "%s", bad.Problem)
		}
		attributes = append(attributes, a)
	}
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	return attributes, nil
}

func (f *fileReader) attribute(table map[string]any) (a schema.Attribute) {
	f.name = norm.NFC.String(f.text(table, "name"))
	a.Name = f.name
	for _, key := range sortedKeys(table) {
		if !slices.Contains(attributeKeys[:], key) {
			f.fail(key, nearest(key, attributeKeys[:]), "unknown key %q", key)
		}
	}
	if _, ok := table["name"]; !ok {
		f.fail("", `add name = "..."`, "the attribute has no name")
	}
	f.kind(&a, table)
	a.Format = norm.NFC.String(f.text(table, "format"))
	a.Required, a.Unique, a.PII = f.bool(table, "required"), f.bool(table, "unique"), f.bool(table, "pii")
	a.History, a.Deprecated = f.bool(table, "history"), f.bool(table, "deprecated")
	if class, ok := table["class"]; ok {
		i := slices.Index(classNames[1:], f.text(table, "class"))
		if i < 0 {
			f.fail("class", nearest(fmt.Sprint(class), classNames[1:]), "there is no class %q", fmt.Sprint(class))
		}
		a.Class = schema.DataClass(i + 1)
	}
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

func (f *fileReader) kind(a *schema.Attribute, table map[string]any) {
	name, ok := table["kind"]
	if !ok {
		f.fail("", `add kind = "..."`, "the attribute has no kind")
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
