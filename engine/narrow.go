package engine

import (
	"math"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// offenders counts the living profiles whose value of an attribute a narrower definition
// would not admit, those of the batch so far included. It looks at every profile:
// narrowing is rare and must be right.
func (d *decider) offenders(a, want *schema.Attribute) (n uint64, err error) {
	batch, err := d.written(a)
	if err != nil {
		return 0, err
	}
	for _, c := range d.created { //tidy:same they are counted
		if !admits(a, want, batch[c.ord]) {
			n++
		}
	}
	v := d.w.view()
	var live bitmap.Words
	for chunk := range v.Chunks() {
		if err := d.ctx.Err(); err != nil {
			return 0, err
		}
		set, err := d.w.cursor.Exists(schema.KeyAttr, chunk, &live)
		if err != nil {
			return 0, err
		}
		for _, o := range set.AppendTo(nil) {
			ord := uint32(chunk)<<bitmap.ChunkBits | uint32(o)
			val, changed := batch[ord]
			if !changed {
				if val, err = d.w.value(a, ord); err != nil {
					return 0, err
				}
			}
			if !d.gone[ord] && !admits(a, want, val) {
				n++
			}
		}
	}
	return n, nil
}

// offendingActs counts the events of a type whose property a narrower definition would not
// admit before the batch. Events past their retention are not seen.
func (d *decider) offendingActs(e *schema.Event, p, want *schema.Attribute) (n uint64, err error) {
	scan := &query.EventScan{Event: e.ID, From: math.MinInt64, To: math.MaxInt64, Properties: []schema.AttrID{p.ID}}
	for chunk := range d.w.view().Chunks() {
		if err := d.ctx.Err(); err != nil {
			return 0, err
		}
		err := d.w.cursor.Events(scan, chunk, nil, func(b *query.EventBlock) error {
			for i := range b.Ords {
				v, err := b.Columns[0].Value(d.w.view(), p, i)
				if err != nil {
					return err
				}
				if !admits(p, want, v) {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// admits reports whether a stored value fits a definition that takes the place of another.
// Who lacked what was required already may go on lacking it.
func admits(was, a *schema.Attribute, v schema.Value) bool {
	if v.IsAbsent() {
		return was.Required || !a.Required
	}
	if v.Kind() == schema.Set {
		for _, e := range v.Elements() {
			if !allowed(a, schema.StringValue(e)) {
				return false
			}
		}
		return true
	}
	if !a.Min.IsAbsent() && v.Ordered() < a.Min.Ordered() || !a.Max.IsAbsent() && v.Ordered() > a.Max.Ordered() {
		return false
	}
	return allowed(a, v)
}

func allowed(a *schema.Attribute, v schema.Value) bool {
	if len(a.Allowed) == 0 {
		return true
	}
	for _, x := range a.Allowed {
		if x.Equal(v) || x.Kind() == schema.Set && len(x.Elements()) == 1 && x.Elements()[0] == v.Str() {
			return true
		}
	}
	return false
}
