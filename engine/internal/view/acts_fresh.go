package view

import (
	"math"
	"math/bits"
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// fresh hands out events of the head.
func (r *actReader) fresh(c *Cursor, e *schema.Event, scan *query.EventScan, from int64, who *bitmap.Words, a *head.Acts, n int, sorted bool, f func(b *query.EventBlock) error) error {
	some, all := a.In(from, scan.To)
	if !some {
		return nil
	}
	for first := 0; first < n; first += blockSize {
		end := min(first+blockSize, n)
		c.bytes += uint64(end-first) * 10
		if all && who == nil && len(scan.Zones) == 0 {
			r.ords, r.sel = a.Ords[first:end], everyEvent[:end-first]
		} else if r.selectFresh(scan, from, all, who, a, first, end); len(r.sel) == 0 {
			continue
		}
		r.block = query.EventBlock{Ords: r.ords, Sorted: sorted && !e.Reduced, Columns: r.block.Columns[:0]}
		if scan.Times {
			r.times = pick(r.times, a.Times[first:end], r.sel)
			r.block.Times = r.times
		}
		r.columns = grown(r.columns, len(scan.Properties))
		for i, id := range scan.Properties {
			p := e.ByID(id)
			if p == nil {
				return query.Errorf(query.CodeInternal, "event type %d has no property %d", e.ID, id)
			}
			r.columns[i].fresh(effect.ClassOf(p), a.Column(id), first, r.sel)
			r.block.Columns = append(r.block.Columns, r.columns[i].view())
		}
		if err := f(&r.block); err != nil {
			return err
		}
	}
	return nil
}

// everyEvent numbers the events of a block.
var everyEvent = func() (out [blockSize]uint16) { //tidy:constant
	for i := range out {
		out[i] = uint16(i)
	}
	return out
}()

// fill sets the first n bits.
func fill(in []uint64, n int) {
	for i := range in {
		in[i] = ^uint64(0)
	}
	if n&63 != 0 {
		in[n>>6] = 1<<(n&63) - 1
	}
}

// selectFresh fills ords and sel with those of the events first to end-1 of a list that are
// meant: those in time (all are, or from begins it), that have a value in all zones and are of
// who (nil: anybody). Most tests leave few, and are made of all events at once.
func (r *actReader) selectFresh(scan *query.EventScan, from int64, all bool, who *bitmap.Words, a *head.Acts, first, end int) {
	in := r.mask[:(end-first+63)/64]
	if all {
		fill(in, end-first)
	} else {
		bitmap.BetweenI64(a.Times[first:end], from, scan.To-1, in)
	}
	for _, z := range scan.Zones {
		inZone(in, a.Column(z.Property), first, end, z)
	}
	n := 0
	for i, w := range in {
		for ; w != 0; w &= w - 1 {
			k := i<<6 | bits.TrailingZeros64(w)
			ord, meant := a.Ords[first+k], 1
			if who != nil {
				meant = int(who[ord>>6] >> (ord & 63) & 1)
			}
			r.selBuffer[n&(blockSize-1)], r.ordBuffer[n&(blockSize-1)] = uint16(k), ord
			n += meant // if it is not, the next one takes its place
		}
	}
	r.sel, r.ords = r.selBuffer[:n], r.ordBuffer[:n]
}

// inZone keeps in the mask those of the events first to end-1 of the head whose value lies
// in a zone.
func inZone(in []uint64, col *head.ActColumn, first, end int, z query.ZoneMap) {
	var mask timeline.Mask
	some := mask[:len(in)]
	keep := func() {
		for i := range in {
			in[i] &= some[i]
		}
	}
	switch {
	case col == nil:
		clear(in)
	case col.Class == effect.Code: // absent is above all
		if z.Lo > math.MaxUint32 || z.Hi < 0 {
			clear(in)
			return
		}
		bitmap.BetweenU32(col.Codes[first:end], uint32(max(z.Lo, 0)), uint32(min(z.Hi, math.MaxUint32)), some)
		keep()
	default:
		bitmap.BetweenI64(col.Ints[first:end], z.Lo, z.Hi, some)
		keep()
		bitmap.BetweenU8(col.Present[first:end], 1, math.MaxUint8, some)
		keep()
	}
}

// fresh copies the selected values of a property of the head, nil if no event has any.
func (m *actColumn) fresh(class effect.Class, src *head.ActColumn, first int, sel []uint16) {
	has := func(i int) bool { return src != nil && src.Present[first+int(sel[i])] != 0 }
	switch class {
	case effect.Code:
		m.codes = slices.Grow(m.codes[:0], len(sel))[:len(sel)]
		for i, k := range sel {
			m.codes[i] = schema.NoCode
			if src != nil {
				m.codes[i] = src.Codes[first+int(k)]
			}
		}
		*m = actColumn{codes: m.codes}
	case effect.Int:
		m.ints = slices.Grow(m.ints[:0], len(sel))[:len(sel)]
		for i, k := range sel {
			m.ints[i] = 0
			if src != nil {
				m.ints[i] = src.Ints[first+int(k)]
			}
		}
		*m = actColumn{ints: m.ints, mask: m.mask}
		m.presence(len(sel), has)
	case effect.Bytes:
		m.texts = m.texts[:0]
		for i, k := range sel {
			var t []byte
			if has(i) {
				from, to := src.Span(first + int(k))
				if t = src.Data[from:to:to]; t == nil { // nobody writes where the events are
					t = []byte{}
				}
			}
			m.texts = append(m.texts, t)
		}
		*m = actColumn{texts: m.texts, mask: m.mask}
		m.presence(len(sel), has)
	case effect.Set:
		m.sets.Ends, m.sets.Codes = m.sets.Ends[:0], m.sets.Codes[:0]
		for _, k := range sel {
			if src != nil {
				from, to := src.Span(first + int(k))
				m.sets.Codes = append(m.sets.Codes, src.Codes[from:to]...)
			}
			m.sets.Ends = append(m.sets.Ends, uint32(len(m.sets.Codes)))
		}
		*m = actColumn{sets: m.sets}
	}
}
