package listing

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/kantadb/kanta/query"
)

// Format is how a listing is written.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
)

// Members writes members in a format, as they come. It returns how many, also with an error,
// after which what was written is not whole. It fails with CodeInvalid on another format.
func Members(w io.Writer, format Format, m *query.Members) (rows uint64, err error) {
	switch format {
	case CSV:
		return membersCSV(w, m)
	case NDJSON:
		return membersNDJSON(w, m)
	case Parquet:
		return membersParquet(w, m)
	}
	return 0, query.Errorf(query.CodeInvalid, "there is no format %q of members: it is %s, %s or %s", string(format), CSV, NDJSON, Parquet)
}

func membersCSV(w io.Writer, m *query.Members) (rows uint64, err error) {
	out := csv.NewWriter(w)
	record := []string{"key"}
	for i := range m.Attributes {
		record = append(record, m.Attributes[i].Name)
	}
	if err := out.Write(record); err != nil {
		return 0, err
	}
	for row, err := range m.Rows {
		if err != nil {
			out.Flush() // an error of it is none that matters now
			return rows, err
		}
		record = append(record[:0], row.Key)
		for _, v := range row.Values {
			record = append(record, v.String())
		}
		if err := out.Write(record); err != nil {
			return rows, err
		}
		rows++
	}
	out.Flush()
	return rows, out.Error()
}

func membersNDJSON(w io.Writer, m *query.Members) (rows uint64, err error) {
	object := NewObject(m)
	for row, err := range m.Rows {
		if err != nil {
			return rows, err
		}
		if _, err := fmt.Fprintf(w, "%s\n", object.Text(&row)); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}

// Object writes members of one listing as JSON objects.
type Object struct {
	names []string // quoted, with what stands before a value
	buf   []byte
}

// NewObject returns what writes the members of a listing.
func NewObject(m *query.Members) *Object {
	o := &Object{}
	for i := range m.Attributes {
		o.names = append(o.names, ","+quote(m.Attributes[i].Name)+":")
	}
	return o
}

// Text returns a member; it lives until the next call.
func (o *Object) Text(row *query.Member) []byte {
	o.buf = append(append(o.buf[:0], `{"key":`...), quote(row.Key)...)
	for i, v := range row.Values {
		o.buf = append(append(o.buf, o.names[i]...), JSON(v)...)
	}
	o.buf = append(o.buf, '}')
	return o.buf
}

// SplitNames cuts names of attributes apart, which are separated by commas. A comma within quotes
// is part of a name: a name that has one stands in double quotes, rfm("a,b").segment has them
// already.
func SplitNames(text string) (names []string, err error) {
	start, quote := 0, rune(0)
	add := func(end int) {
		name := text[start:end]
		if len(name) > 1 && name[0] == '"' && name[len(name)-1] == '"' {
			name = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
		}
		names = append(names, name)
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
		return nil, fmt.Errorf("%q: a quotation mark is missing", text)
	}
	add(len(text))
	return names, nil
}
