package query

import (
	"context"
	"hash/fnv"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Field is what a listing shows or is ordered by, and what a breakdown counts by: an
// attribute, or a computed one.
type Field struct {
	schema.Attribute          // of a computed attribute its name, kind and scale
	Formula          *Formula // nil: the attribute's own values
}

// FormatDuration is the format of a computed attribute that is a duration: its values are
// texts as duration("...") reads them.
const FormatDuration = "duration"

// firstComputed is above the ids of attributes.
const firstComputed = 1 << 31

// Computed makes a field of a computed attribute. Its id is a number of its name, so that a
// cursor is known to be of a listing in this order.
func Computed(a schema.Attribute, f *Formula) Field {
	h := fnv.New32a()
	_, _ = h.Write([]byte(a.Name)) // a hash takes everything
	if a.ID = schema.AttrID(h.Sum32() | firstComputed); a.Kind == schema.String {
		a.Storage = schema.StorageInline // there is no dictionary
	}
	return Field{a, f}
}

// attribute returns the definition; a nil field has none.
func (f *Field) attribute() *schema.Attribute {
	if f == nil {
		return nil
	}
	return &f.Attribute
}

// fieldReader reads a field's values. It belongs to one worker.
type fieldReader struct {
	stored valueReader
	plan   *choicePlan // of a formula that has one, else
	in     *inputs     // of a formula
	eval   FormulaFunc
}

// computed reports whether the field is a formula.
func (r *fieldReader) computed() bool { return r.plan != nil || r.in != nil }

func newFieldReader(ctx context.Context, view View, f *Field) (*fieldReader, error) {
	r := &fieldReader{stored: valueReader{view: view, attr: f.Attribute}}
	if f.Formula == nil {
		return r, nil
	}
	r.eval = f.Formula.Eval
	p := &Prepared{schema: view.Schema()}
	p.living, p.isExact = view.ExistsCount(schema.KeyAttr)
	b := &planner{ctx: ctx, view: view, p: p}
	var err error
	if f.Formula.Plan != nil {
		r.plan, err = b.choice(ctx, f.Formula.Plan)
		return r, err
	}
	r.in, err = b.inputs(f.Formula.Attrs, f.Formula.Events, Span{})
	return r, err
}

// read writes the value of ords[i], or the zero Value, to dst[i*stride]. For a formula the
// worker must have begun the chunk.
func (r *fieldReader) read(ctx context.Context, w *worker, ords []uint16, dst []schema.Value, stride int) error {
	if r.plan != nil {
		return r.plan.each(ctx, w, bitmap.FromArray(ords), &column{ords: ords, dst: dst, stride: stride})
	}
	if r.in == nil {
		return r.stored.read(w.cur, w.chunk, ords, dst, stride)
	}
	i := 0
	return r.in.each(ctx, w, bitmap.FromArray(ords), func(_ uint16, values []schema.Value, acts [][]Act) error {
		dst[i*stride] = r.eval(values, acts, w.env)
		i++
		return nil
	})
}
