package quality

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// loaderVersion is part of a source's name: it changes when the same rows make other batches.
const loaderVersion = 1

// SourceOf returns the name of a file as the source of a load: a digest of its bytes, which
// are read to the end as they are, and of all that shapes the batches: how the rows are
// read (nil: found out), the options, and what the schema has for the file's columns. (Were
// it all of the schema, a file loaded again after another one brought a new property would
// be another source, and its events would count twice.) Where the columns show only as rows
// are read, as those of NDJSON do, columns is nil and it is all of the schema. A load of the
// same name can be resumed: what has the same run and sequence has the same rows. It fails
// when input does, and as [Load] does on options out of range.
func SourceOf(input io.Reader, s *schema.Schema, columns []string, r *RowsOptions, o *LoadOptions) (string, error) {
	content := xxhash.New()
	size, err := io.CopyBuffer(content, readerOnly{input}, make([]byte, 256<<10))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", o.File, err)
	}
	options := *o
	if err := options.complete(); err != nil {
		return "", err
	}
	h := xxhash.New()
	text := func(list ...string) {
		for _, t := range list {
			h.Write(binary.AppendUvarint(nil, uint64(len(t))))
			h.WriteString(t)
		}
	}
	zone := "UTC"
	if options.Zone != nil {
		zone = options.Zone.String()
	}
	text(fmt.Sprint(loaderVersion, size, options.Unknown, options.EmptyUnsets, options.BatchRows),
		options.Key, options.SetSeparator, zone)
	for _, column := range slices.Sorted(maps.Keys(options.Columns)) {
		text(column, options.Columns[column])
	}
	if e := options.Events; e != nil {
		text("events", e.Time, e.Event, e.Name, e.ID, e.IDSource)
	}
	if r == nil {
		r = &RowsOptions{}
	}
	if r.Unnest {
		text("unnest", r.Lines)
	}
	text("rows", string(r.Encoding), r.SetSeparator)
	if d := r.Dialect; d != nil {
		text(string(d.Format), string(d.Encoding), fmt.Sprint(d.Delimiter, d.Header, d.Trim))
	}
	text(relevant(s, columns, &options)...)
	return fmt.Sprintf("file %016x %016x", content.Sum64(), h.Sum64()), nil
}

// relevant returns what a schema has for columns.
func relevant(s *schema.Schema, columns []string, o *LoadOptions) (out []string) {
	if columns == nil {
		return []string{string(schema.AppendSchema(nil, s))}
	}
	add := func(event string, a *schema.Attribute) {
		if a != nil {
			out = append(out, event, string(schema.AppendAttribute(nil, a)))
		}
	}
	for _, column := range columns {
		name, renamed := o.Columns[column]
		if !renamed {
			name = column
		}
		out = append(out, column)
		if o.Events == nil {
			add("", s.Lookup(name))
			continue
		}
		known := "no event has it"
		for i := range s.Events {
			e := &s.Events[i]
			if e.Lookup(name) != nil {
				known = "an event has it"
			}
			if o.Events.Name == "" || o.Events.Name == e.Name {
				add(e.Name, e.Lookup(name))
			}
		}
		out = append(out, known)
	}
	return out
}

// readerOnly hides the other methods of a reader, so that io.CopyBuffer uses the buffer.
type readerOnly struct{ io.Reader }
