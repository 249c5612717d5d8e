package query

import (
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// valueReader reads one attribute as values, for listings and residuals.
type valueReader struct {
	view  View
	attr  schema.Attribute
	codes []uint32
	ints  []int64
	has   []bool
	strs  [][]byte
	texts int64 // bytes of inline strings that were read last
	sets  Sets
	parts []string
}

// textBatch is how many inline strings are made values of at once, instead of batchSize: of
// the longest, 4 MiB.
const textBatch = 256

// batchOf returns of how many profiles some attributes are made values of at once.
func batchOf(attrs []schema.Attribute) int {
	texts := 0
	for i := range attrs {
		if attrs[i].Kind == schema.String && attrs[i].Inline() {
			texts++
		}
	}
	if texts == 0 {
		return batchSize
	}
	return max(textBatch/texts, 1)
}

// read writes the value of ords[i], or the zero Value, to dst[i*stride].
func (r *valueReader) read(cur Cursor, chunk int, ords []uint16, dst []schema.Value, stride int) error {
	switch {
	case r.attr.Kind == schema.Set:
		return r.readSets(cur, chunk, ords, dst, stride)
	case r.attr.Coded():
		return r.readCodes(cur, chunk, ords, dst, stride)
	case r.attr.Inline():
		return r.readStrings(cur, chunk, ords, dst, stride)
	}
	r.ints, r.has = grow(r.ints, len(ords)), grow(r.has, len(ords))
	if err := cur.GatherInts(r.attr.ID, chunk, ords, r.ints, r.has); err != nil {
		return err
	}
	for i, ok := range r.has {
		dst[i*stride] = schema.Value{}
		if ok {
			dst[i*stride] = schema.FromOrdered(r.attr.Kind, r.attr.Scale, r.ints[i])
		}
	}
	return nil
}

// grow returns a slice of length n, s itself if it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (r *valueReader) readCodes(cur Cursor, chunk int, ords []uint16, dst []schema.Value, stride int) error {
	r.codes = grow(r.codes, len(ords))
	if err := cur.GatherCodes(r.attr.ID, chunk, ords, r.codes); err != nil {
		return err
	}
	for i, c := range r.codes {
		v, err := codeValue(r.view, &r.attr, c)
		if err != nil {
			return err
		}
		dst[i*stride] = v
	}
	return nil
}

// codeValue returns the value that a code of a coded attribute stands for; of a set, an element.
func codeValue(view View, attr *schema.Attribute, code uint32) (schema.Value, error) {
	if code == schema.NoCode {
		return schema.Value{}, nil
	}
	if attr.Kind == schema.Bool {
		return schema.BoolValue(code != 0), nil
	}
	s, ok := view.Text(attr.ID, code)
	if !ok {
		return schema.Value{}, Errorf(CodeCorrupt, "the dictionary of %q has no code %d", attr.Name, code)
	}
	return schema.StringValue(s), nil
}

// readStrings makes one allocation for the bytes of all profiles.
func (r *valueReader) readStrings(cur Cursor, chunk int, ords []uint16, dst []schema.Value, stride int) error {
	if err := r.gatherStrings(cur, chunk, ords); err != nil {
		return err
	}
	all := joined(r.strs)
	r.texts = int64(len(all))
	defer clear(r.strs) // they would keep the block that they are of
	at := 0
	for i, s := range r.strs {
		dst[i*stride] = schema.Value{}
		if s != nil {
			dst[i*stride] = schema.StringValue(all[at : at+len(s)])
			at += len(s)
		}
	}
	return nil
}

func (r *valueReader) gatherStrings(cur Cursor, chunk int, ords []uint16) error {
	r.strs = grow(r.strs, len(ords))
	return cur.GatherStrings(r.attr.ID, chunk, ords, r.strs)
}

func joined(parts [][]byte) string {
	n := 0
	for _, s := range parts {
		n += len(s)
	}
	var all strings.Builder
	all.Grow(n)
	for _, s := range parts {
		all.Write(s)
	}
	return all.String()
}

func (r *valueReader) readSets(cur Cursor, chunk int, ords []uint16, dst []schema.Value, stride int) error {
	r.sets.Ends, r.sets.Codes = r.sets.Ends[:0], r.sets.Codes[:0]
	if err := cur.GatherSets(r.attr.ID, chunk, ords, &r.sets); err != nil {
		return err
	}
	from := uint32(0)
	for i, end := range r.sets.Ends {
		r.parts = r.parts[:0]
		for _, c := range r.sets.Codes[from:end] {
			v, err := codeValue(r.view, &r.attr, c)
			if err != nil {
				return err
			}
			r.parts = append(r.parts, v.Str())
		}
		dst[i*stride] = schema.SetValue(r.parts...)
		from = end
	}
	return nil
}
