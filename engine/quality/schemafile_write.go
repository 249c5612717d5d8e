package quality

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// WriteSchemaFile writes a schema as a schema file, which [ReadSchemaFile] reads back the
// same but for ids. It is TOML: one [[attribute]] table for each attribute, in the order
// of their ids, then one [[event]] table for each event type, behind each of which its
// properties stand as [[event.property]] tables, and one [[computed]] table for each computed
// attribute. An attribute and a property have these keys, of which name and kind must be there:
//
//	name        text, at most 128 bytes
//	kind        "bool", "int", "float", "decimal", "string", "date", "timestamp", "set<string>"
//	scale       places of a decimal, 0 to 18; must be there for a decimal
//	storage     of a string: "dictionary" (default), "inline" (default if pii or unique)
//	class       "acquisition", "demographic", "technographic", "psychographic", "activity",
//	            "transaction", "correspondence"
//	allowed     list of the only values there may be; of a set, its elements
//	min, max    inclusive bounds of int, float, decimal, date, timestamp
//	format      name of a format of strings
//	required    true or false (default), as are the following
//	unique      not of a property
//	pii
//	history     not of a property
//	deprecated
//
// An event type has
//
//	name            text, at most 128 bytes; must be there
//	class           as above
//	retention_days  for how many days its acts are seen; without it, for ever
//	deprecated      true or false (default)
//
// A computed attribute has both of
//
//	name        text, at most 128 bytes, that no attribute has
//	expression  text, what it stands for
//
// A value is a TOML value of its kind or a text as a CSV cell has it; decimals, dates and
// timestamps are written as texts.
func WriteSchemaFile(w io.Writer, s *schema.Schema) error {
	return (&Definitions{s.Attributes, s.Events, s.Computed}).Write(w)
}

// WriteAttributes writes attributes as [WriteSchemaFile] does, in their order.
func WriteAttributes(w io.Writer, attributes []schema.Attribute) error {
	return (&Definitions{Attributes: attributes}).Write(w)
}

// Write writes definitions as [WriteSchemaFile] does, in their order.
func (d *Definitions) Write(w io.Writer) error {
	var b bytes.Buffer
	header := func(table string) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[[%s]]\n", table)
	}
	for i := range d.Attributes {
		header(attributeTable)
		writeAttribute(&b, &d.Attributes[i])
	}
	for i := range d.Events {
		e := &d.Events[i]
		header(eventTable)
		fmt.Fprintf(&b, "name = %s\n", tomlText(e.Name))
		writeClass(&b, e.Class)
		if e.Retention > 0 {
			fmt.Fprintf(&b, "retention_days = %d\n", e.Retention)
		}
		if e.Deprecated {
			b.WriteString("deprecated = true\n")
		}
		for j := range e.Properties {
			header(propertyTable)
			writeAttribute(&b, &e.Properties[j])
		}
	}
	for _, c := range d.Computed {
		header(computedTable)
		fmt.Fprintf(&b, "name = %s\nexpression = %s\n", tomlText(c.Name), tomlText(c.Text))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeClass(b *bytes.Buffer, class schema.DataClass) {
	if class != schema.ClassNone {
		fmt.Fprintf(b, "class = %s\n", tomlText(class.String()))
	}
}

func writeAttribute(b *bytes.Buffer, a *schema.Attribute) {
	fmt.Fprintf(b, "name = %s\nkind = %s\n", tomlText(a.Name), tomlText(a.Kind.String()))
	if a.Kind == schema.Decimal {
		fmt.Fprintf(b, "scale = %d\n", a.Scale)
	}
	if a.Storage == schema.StorageInline {
		fmt.Fprintf(b, "storage = %s\n", tomlText(storageNames[a.Storage]))
	}
	writeClass(b, a.Class)
	if len(a.Allowed) > 0 {
		list := make([]string, len(a.Allowed))
		for i, v := range a.Allowed {
			list[i] = tomlValue(v)
		}
		fmt.Fprintf(b, "allowed = [%s]\n", strings.Join(list, ", "))
	}
	if !a.Min.IsAbsent() {
		fmt.Fprintf(b, "min = %s\n", tomlValue(a.Min))
	}
	if !a.Max.IsAbsent() {
		fmt.Fprintf(b, "max = %s\n", tomlValue(a.Max))
	}
	if a.Format != "" {
		fmt.Fprintf(b, "format = %s\n", tomlText(a.Format))
	}
	for _, flag := range [...]struct {
		key string
		on  bool
	}{{"required", a.Required}, {"unique", a.Unique}, {"pii", a.PII}, {"history", a.History}, {"deprecated", a.Deprecated}} {
		if flag.on {
			fmt.Fprintf(b, "%s = true\n", flag.key)
		}
	}
}

func tomlValue(v schema.Value) string {
	switch v.Kind() {
	case schema.Bool, schema.Int:
		return v.String()
	case schema.Float:
		text := strconv.FormatFloat(v.Float(), 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0" // else it would be an integer, and one past 64 bits is none
		}
		return text
	}
	return tomlText(v.String())
}

// tomlText returns a TOML basic string.
func tomlText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
