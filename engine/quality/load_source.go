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
// are read to the end as they are, and of all that shapes the batches: the schema, how
// the rows are read (nil: found out), and the options. A load of the same name can be
// resumed: what has the same run and sequence has the same rows. It fails when input
// does, and as [Load] does on options out of range.
func SourceOf(input io.Reader, s *schema.Schema, r *RowsOptions, o *LoadOptions) (string, error) {
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
	text(string(schema.AppendSchema(nil, s)))
	return fmt.Sprintf("file %016x %016x", content.Sum64(), h.Sum64()), nil
}

// readerOnly hides the other methods of a reader, so that io.CopyBuffer uses the buffer.
type readerOnly struct{ io.Reader }
