package query

import (
	"context"
	"iter"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// MembersOf lists the members of p. fields are what to return with each; order is the
// field to order by (nil: by ordinal), of any kind but a set: of equal values the
// smaller ordinal comes first, absent values come last. o.Attributes and o.OrderBy are
// not read: the caller has resolved them. The members are found before MembersOf
// returns; keys and values are read while Rows is ranged over, from the caller's
// goroutine, and the view must stay open until then. hold, if not nil, is called before
// a batch of rows is read and its release after it, so that nothing is held while the
// caller looks at rows. Rows checks ctx.
//
// A cursor that is not one of this listing's fails with [CodeInvalid]; an AfterKey that
// no living profile has, with [CodeUnknownName].
func MembersOf(ctx context.Context, view View, p *Prepared, fields []Field, order *Field, o MembersOptions, hold func() (release func(), err error)) (Members, error) {
	return membersOf(ctx, view, fields, order, o, hold, func() (*people, error) { return collect(ctx, view, p, o.Options) })
}

func membersOf(ctx context.Context, view View, fields []Field, order *Field, o MembersOptions, hold func() (release func(), err error), find func() (*people, error)) (Members, error) {
	if order != nil && order.Kind == schema.Set {
		return Members{}, Errorf(CodeType, "a listing cannot be ordered by %q, which is a set", order.Name)
	}
	if order != nil && order.Formula != nil && order.Format == FormatDuration {
		err := Errorf(CodeType, "a listing cannot be ordered by %q, which is a duration", order.Name)
		err.Hint = "order by the time from which it is counted"
		return Members{}, err
	}
	if o.Limit < 0 {
		return Members{}, Errorf(CodeInvalid, "a limit of %d", o.Limit)
	}
	from, err := startOf(ctx, view, order, o)
	if err != nil {
		return Members{}, err
	}
	all, err := find()
	if err != nil {
		return Members{}, err
	}
	l := &listing{view: view, env: envOf(o.Options), fields: fields, people: all, order: order, desc: o.Desc, limit: o.Limit, from: from, after: o.After, hold: hold}
	attrs := make([]schema.Attribute, len(fields))
	for i := range fields {
		attrs[i] = fields[i].Attribute
	}
	return Members{Attributes: attrs, Total: all.count, Rows: l.rows(ctx), Next: l.next, Answer: all.answer}, nil
}

// listing is the state of a Members.
type listing struct {
	view   View
	env    Env
	fields []Field
	people *people
	order  *Field
	desc   bool
	limit  int
	from   place // continue behind it
	after  string

	hold    func() (release func(), err error)
	release func() // of the hold that is on, or nil

	last  place // the last member yielded
	more  bool  // ordered by value: there are members behind last
	ended bool  // Rows has reached its end
}

// reading makes sure that the view may be read.
func (l *listing) reading() (err error) {
	if l.hold != nil {
		l.release, err = l.hold()
	}
	return err
}

// pause ends what reading began.
func (l *listing) pause() {
	if l.release != nil {
		l.release()
		l.release = nil
	}
}

// next returns the cursor behind the last member yielded.
func (l *listing) next() string {
	switch {
	case !l.last.set && l.ended:
		return ""
	case !l.last.set:
		return l.after
	case l.order == nil && l.people.anyAfter(l.last.ordinal), l.order != nil && l.more:
		return cursorText(l.last, l.order.attribute(), l.desc)
	}
	return ""
}

// anyAfter reports whether a member has a larger ordinal.
func (p *people) anyAfter(ordinal uint32) bool {
	next := uint64(ordinal) + 1
	at := int(next / 64)
	if at >= len(p.words) {
		return false
	}
	if p.words[at]>>(next%64) != 0 {
		return true
	}
	for _, w := range p.words[at+1:] {
		if w != 0 {
			return true
		}
	}
	return false
}

// rows yields the members that come after l.from.
func (l *listing) rows(ctx context.Context) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		r := &rowReader{l: l, work: &worker{view: l.view, env: l.env, cur: l.view.Cursor()}, key: valueReader{view: l.view, attr: keyAttribute}}
		defer r.work.cur.Close()
		err := l.reading()
		if err == nil {
			err = r.open(ctx)
		}
		switch {
		case err != nil:
		case l.order == nil:
			err = l.byOrdinal(ctx, r, yield)
		default:
			err = l.byValue(ctx, r, yield)
		}
		l.pause()
		if err != nil {
			yield(Member{}, err)
		}
		l.ended = err == nil
	}
}

// keyAttribute is how the evaluator sees the profiles' keys.
var keyAttribute = schema.Attribute{ID: schema.KeyAttr, Name: "key", Kind: schema.String, Storage: schema.StorageInline} //tidy:constant

// byOrdinal walks the bitmap.
func (l *listing) byOrdinal(ctx context.Context, r *rowReader, yield func(Member, error) bool) error {
	left := l.limit
	chunk, low := 0, 0 // the first ordinal to look at
	if l.from.set {
		first := uint64(l.from.ordinal) + 1
		chunk, low = int(first>>bitmap.ChunkBits), int(first&(bitmap.ChunkSize-1))
	}
	var ords []uint16
	for ; chunk < l.people.chunks(); chunk, low = chunk+1, 0 {
		ords = l.people.set(chunk).AppendTo(ords[:0])
		rest := ords
		for len(rest) > 0 && int(rest[0]) < low {
			rest = rest[1:]
		}
		for len(rest) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.begin()
			part := rest[:min(len(rest), r.batch)]
			if l.limit > 0 {
				part = part[:min(len(part), left)]
			}
			rest = rest[len(part):]
			if err := r.read(ctx, chunk, part); err != nil {
				return err
			}
			l.pause()
			for i, o := range part {
				ordinal := uint32(chunk)<<bitmap.ChunkBits | uint32(o)
				l.last = place{set: true, ordinal: ordinal}
				if !yield(r.member(i, ordinal), nil) {
					return nil
				}
			}
			if left -= len(part); l.limit > 0 && left == 0 {
				return nil
			}
			if err := l.reading(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A batch of a listing is what its reader holds while whoever takes the rows is slow: about
// batchBytes, but at least leastTexts texts, for of the longest a batch reads its whole block
// anew where there is no room to keep that. Of the longest texts, of 16 KiB, these are 512 KiB.
const (
	batchBytes = 64 << 10
	leastTexts = 32
	batchGrows = 4 // times, at most, from one batch to the next: those to come may be longer
)

// rowReader reads keys and values for a listing.
type rowReader struct {
	l        *listing
	work     *worker
	key      valueReader
	readers  []*fieldReader
	formulas bool // there are some among them
	least    int  // members of a batch
	most     int
	batch    int   // how many members the next batch has
	rows     int   // of the batch that was read
	bytes    int64 // that these hold
	taken    int64 // of the store's budget, for the texts of the batch
	keys     []schema.Value
	values   []schema.Value // len(readers) for each profile of the batch
}

// begin begins a batch: of the one before, the caller has what it wants.
func (r *rowReader) begin() {
	if r.rows > 0 {
		fit := int64(r.rows) * batchBytes / max(r.bytes, 1)
		r.batch = int(min(max(fit, int64(r.least)), int64(r.most), int64(r.batch)*batchGrows))
	}
	r.keys, r.values, r.rows, r.bytes = r.keys[:0], nil, 0, 0
	_ = take(r.work.cur, -r.taken) // giving back does not fail
	r.taken = 0
}

// open makes the readers of the fields.
func (r *rowReader) open(ctx context.Context) error {
	attrs := make([]schema.Attribute, len(r.l.fields))
	for i := range r.l.fields {
		attrs[i] = r.l.fields[i].Attribute
	}
	r.least, r.most = 1, batchOf(attrs)
	if r.most < batchSize { // there are texts
		r.least = max(r.most*leastTexts/textBatch, 1)
	}
	r.batch = max(min(leastTexts, batchBytes/((len(attrs)+2)*valueBytes)), r.least)
	for i := range r.l.fields {
		c, err := newFieldReader(ctx, r.l.view, &r.l.fields[i])
		if err != nil {
			return err
		}
		r.readers, r.formulas = append(r.readers, c), r.formulas || c.computed()
	}
	return nil
}

// read reads a batch of one chunk. Values stay valid: they are the members' own.
func (r *rowReader) read(ctx context.Context, chunk int, ords []uint16) error {
	defer r.work.cur.Release()
	if r.work.chunk = chunk; r.formulas {
		if err := r.work.begin(chunk); err != nil {
			return err
		}
	}
	r.keys = grow(r.keys, len(ords))
	if err := r.key.read(r.work.cur, chunk, ords, r.keys, 1); err != nil {
		return err
	}
	n := len(r.readers)
	r.values = make([]schema.Value, n*len(ords))
	r.rows += len(ords)
	r.bytes += int64(len(ords)*(n+2))*valueBytes + r.key.texts // a key, and a member
	for i := range r.readers {
		if err := r.readers[i].read(ctx, r.work, ords, r.values[i:], n); err != nil {
			return err
		}
		texts := r.readers[i].stored.texts
		if err := take(r.work.cur, texts); err != nil {
			return err
		}
		r.taken += texts
		r.bytes += texts
		if f := &r.l.fields[i]; f.Kind == schema.Set || f.Formula != nil { // what is in a dictionary is shared
			for k := range ords {
				v := &r.values[i+k*n]
				r.bytes += int64(textBytes(*v) + 16*len(v.Elements()))
			}
		}
	}
	return nil
}

// member returns profile i of the batch.
func (r *rowReader) member(i int, ordinal uint32) Member {
	n := len(r.readers)
	return Member{Ordinal: ordinal, Key: r.keys[i].Str(), Values: r.values[i*n : (i+1)*n : (i+1)*n]}
}
