package rfm

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// date is an instant at which people are scored: what is read up to then.
type date struct {
	now    int64
	list   *query.StudyList              // its measure is the amount, if that is an int or a decimal
	fields [dimensions]*query.StudyField // what events do not tell one by one: different values, sums of floats
}

// people are those who are scored at a date.
type people struct {
	parts []*part // by chunk, ascending
	count int
}

// part is the people of one chunk.
type part struct {
	chunk  int
	who    []uint16 // ascending
	values [dimensions][]int64
	scores [dimensions][]uint8
	reach  []uint8 // bit i: that of number i has them; nil: none was asked for
}

// ordinal returns that of who is at a place.
func (p *part) ordinal(place int) uint32 {
	return uint32(p.chunk)<<bitmap.ChunkBits | uint32(p.who[place])
}

// personBytes is what is kept of one of them at each date.
const personBytes = 2 + (8+1)*dimensions + 1

// read reads the numbers of all, at each date.
func (a *rfm) read(ctx context.Context) ([]*people, query.Answer, error) {
	var readers []*reader
	answer, err := a.study.Each(ctx, func() query.ChunkVisitor {
		r := &reader{rfm: a, parts: make([][]*part, len(a.dates))}
		readers = append(readers, r)
		return r.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	out := make([]*people, len(a.dates))
	for i := range out {
		p := &people{}
		for _, r := range readers {
			p.parts = append(p.parts, r.parts[i]...)
		}
		slices.SortFunc(p.parts, func(x, y *part) int { return x.chunk - y.chunk })
		for _, x := range p.parts {
			p.count += len(x.who)
		}
		out[i] = p
	}
	for _, r := range readers {
		answer.Unknown += r.unknown
		answer.Errors += r.unknown
	}
	return out, answer, nil
}

// reader reads the people of chunks.
type reader struct {
	*rfm
	parts   [][]*part // by date
	unknown uint64    // whose amount is not known at some date

	own   []acts // by person; of those who have been met
	met   bitmap.Words
	wrong bitmap.Words // whose amount is not known
	any   bitmap.Words // the same, at any date
	ords  []uint16
}

// acts are what the events of one person come to.
type acts struct {
	last  int64
	count int64
	sum   timeline.Int128
}

// chunkSize is how many ordinals a chunk has.
const chunkSize = bitmap.ChunkSize

// tableBytes is what a reader has for the people of a chunk.
const tableBytes = chunkSize * 32

func (r *reader) chunk(ctx context.Context, c *query.StudyChunk) error {
	if r.own == nil {
		if err := c.Keep(tableBytes); err != nil {
			return err
		}
		r.own = make([]acts, chunkSize)
	}
	r.any.Clear()
	for i := range r.dates {
		p, err := r.date(ctx, c, &r.dates[i], i == 0)
		if err != nil {
			return err
		}
		if p != nil {
			r.parts[i] = append(r.parts[i], p)
		}
	}
	unknown := bitmap.FromWords(&r.any)
	r.unknown += uint64(unknown.Count())
	return nil
}

// date reads a chunk up to a date.
func (r *reader) date(ctx context.Context, c *query.StudyChunk, at *date, reach bool) (*part, error) {
	if err := r.events(ctx, c, at); err != nil {
		return nil, err
	}
	who := bitmap.FromWords(&r.met)
	if who.IsEmpty() {
		return nil, nil
	}
	if err := r.readFields(ctx, c, at, who); err != nil {
		return nil, err
	}
	r.ords = who.AppendTo(r.ords[:0])
	if err := c.Keep(int64(len(r.ords)) * personBytes); err != nil {
		return nil, err
	}
	p := r.part(c.Number, at)
	if !reach || r.reach == nil {
		return p, nil
	}
	p.reach = make([]uint8, len(p.who))
	for i := range r.reach {
		has, err := c.True(ctx, r.reach[i].test, who)
		if err != nil {
			return nil, err
		}
		words := has.ToWords(&r.wrong) // which is of no use any more
		for k, o := range p.who {
			if words.Has(o) {
				p.reach[k] |= 1 << i
			}
		}
	}
	return p, nil
}

// events adds up the events of each person.
func (r *reader) events(ctx context.Context, c *query.StudyChunk, at *date) error {
	r.met.Clear()
	return c.Events(ctx, at.list, &c.People, func(e *query.StudyEvents) error {
		who, times, measures := e.Columns()
		for i, o := range who {
			t, own := times[i], &r.own[o]
			if !r.met.Has(o) {
				r.met.SetBit(o)
				*own = acts{last: t}
			}
			own.count++
			own.last = max(own.last, t)
			if measures != nil {
				own.sum = own.sum.Add(measures[i])
			}
		}
		if measures != nil || r.has == amount || at.fields[amount] != nil {
			return nil
		}
		return e.Measures(func(i int, n int64, _ float64) {
			own := &r.own[who[i]]
			own.sum = own.sum.Add(n)
		})
	})
}

// readFields reads what expressions say of people in place of their events.
func (r *reader) readFields(ctx context.Context, c *query.StudyChunk, at *date, who bitmap.Set) error {
	r.wrong.Clear()
	for d, field := range at.fields {
		if field == nil {
			continue
		}
		err := c.All(ctx, field, who, func(o uint16, v schema.Value) error {
			if own := &r.own[o]; d == frequency {
				own.count = v.Ordered()
			} else {
				own.sum = timeline.Int128{}.Add(v.Ordered())
			}
			if v.IsAbsent() || v.Kind() == schema.Float && v.Float()-v.Float() != 0 { // an infinity has no place among numbers
				r.wrong.SetBit(o)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// part makes a part of those who have been met and whose amount is known.
func (r *reader) part(chunk int, at *date) *part {
	if r.has > amount {
		for _, o := range r.ords {
			if _, ok := r.own[o].sum.Int64(); !ok {
				r.wrong.SetBit(o)
			}
		}
	}
	if wrong := bitmap.FromWords(&r.wrong); !wrong.IsEmpty() {
		r.any.Or(wrong)
		r.ords = slices.DeleteFunc(r.ords, r.wrong.Has)
	}
	n := len(r.ords)
	p := &part{chunk: chunk, who: slices.Clone(r.ords)}
	values, scores := make([]int64, n*r.has), make([]uint8, n*r.has)
	for d := range r.has {
		p.values[d], p.scores[d] = values[d*n:(d+1)*n], scores[d*n:(d+1)*n]
	}
	for i, o := range r.ords {
		own := &r.own[o]
		ago := own.last - at.now
		if r.round > 1 { // to divide takes longer than the rest
			ago /= r.round
		}
		p.values[recency][i], p.values[frequency][i] = ago, own.count
		if r.has > amount {
			p.values[amount][i] = int64(own.sum.Lo)
		}
	}
	return p
}
