package breakdown

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// visitor counts the people of chunks.
type visitor struct {
	*breakdown
	*tally
	who    []uint16
	places [MaxBy]places
	values []int64 // by person: the number that is added up
	has    []bool

	in []uint64 // of a person: the numbers of his groups
}

// places are those of a chunk's people in one dimension, by the order of the people: place i,
// or, of a set, all from ends[i-1] to ends[i].
type places struct {
	place []int32
	ends  []uint32
}

// chunk counts the people of one chunk.
func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	if err := v.read(ctx, c); err != nil {
		return err
	}
	if err := v.readNumbers(ctx, c); err != nil {
		return err
	}
	err := v.each(func(i int, number uint64) error {
		place, err := v.group(number)
		if err == nil {
			v.count(place, i)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range v.who {
		if v.any {
			v.count(all, i)
		}
	}
	bytes := v.bytes
	v.bytes = 0
	return c.Keep(bytes)
}

// count counts a person.
func (v *visitor) count(place, i int) {
	v.people[place]++
	if v.measure == nil || !v.has[i] {
		return
	}
	v.n[place]++
	x := 0.0
	if v.measure.Kind == schema.Float {
		x = schema.FloatFromOrdered(v.values[i])
	}
	v.bytes += v.sums.Add(place, v.values[i], x)
}

// each calls f with the groups that each person is in.
func (v *visitor) each(f func(i int, number uint64) error) error {
	if !v.any {
		for i := range v.who {
			number := uint64(0)
			for k, d := range v.by {
				number = number*uint64(d.size()) + uint64(v.places[k].place[i])
			}
			if err := f(i, number); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range v.who {
		v.in = append(v.in[:0], 0)
		for k, d := range v.by {
			own := v.places[k].of(i)
			n := len(v.in)
			if n*len(own) > MaxRows { // each is a group
				return tooManyGroups()
			}
			for _, number := range v.in[:n] {
				for _, p := range own {
					v.in = append(v.in, number*uint64(d.size())+uint64(p))
				}
			}
			v.in = append(v.in[:0], v.in[n:]...)
		}
		for _, number := range v.in {
			if err := f(i, number); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *places) of(i int) []int32 {
	if p.ends == nil {
		return p.place[i : i+1]
	}
	from := uint32(0)
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.place[from:p.ends[i]]
}

// read finds the places of a chunk's people.
func (v *visitor) read(ctx context.Context, c *query.StudyChunk) error {
	v.who = c.Who(c.People)
	for k, d := range v.by {
		if err := d.read(ctx, c, v.who, &v.places[k]); err != nil {
			return err
		}
	}
	return nil
}

// read finds the places of people in a dimension.
func (d *dimension) read(ctx context.Context, c *query.StudyChunk, who []uint16, to *places) error {
	to.place = to.place[:0]
	switch {
	case d.field.Kind == schema.Set:
		return d.readSets(ctx, c, who, to)
	case d.stored() && d.field.Coded():
		return c.Codes(ctx, d.field.ID, who, func(codes []uint32) {
			for _, code := range codes {
				to.place = append(to.place, d.ofCode(code))
			}
		})
	case d.stored() && !d.field.Inline():
		return c.Ordered(ctx, d.field.ID, who, func(n []int64, ok []bool) {
			for i, x := range n {
				place := d.none()
				if ok[i] {
					place = d.ofInt(x)
				}
				to.place = append(to.place, place)
			}
		})
	}
	to.place = slices.Grow(to.place, len(who))[:len(who)]
	at := 0
	return c.All(ctx, d.study, c.People, func(o uint16, v schema.Value) error {
		if at == len(who) || who[at] != o { // they come in no order, but mostly in theirs
			at, _ = slices.BinarySearch(who, o)
		}
		to.place[at] = d.of(v)
		at++
		return nil
	})
}

// readSets finds the places of the elements of people. Others are one place, however many a
// person has.
func (d *dimension) readSets(ctx context.Context, c *query.StudyChunk, who []uint16, to *places) error {
	to.ends = to.ends[:0]
	end := func(from int) {
		if own := to.place[from:]; len(own) == 0 {
			to.place = append(to.place, d.none())
		} else {
			slices.Sort(own)
			to.place = to.place[:from+len(slices.Compact(own))]
		}
		to.ends = append(to.ends, uint32(len(to.place)))
	}
	if !d.stored() {
		return c.Values(ctx, d.study, c.People, func(_ uint16, v schema.Value) error {
			from := len(to.place)
			for _, text := range v.Elements() {
				to.place = append(to.place, d.ofText(text))
			}
			end(from)
			return nil
		})
	}
	return c.Sets(ctx, d.field.ID, who, func(sets *query.Sets) {
		at := uint32(0)
		for _, last := range sets.Ends {
			from := len(to.place)
			for _, code := range sets.Codes[at:last] {
				to.place = append(to.place, d.ofCode(code))
			}
			at = last
			end(from)
		}
	})
}

// readNumbers reads the numbers that are added up.
func (v *visitor) readNumbers(ctx context.Context, c *query.StudyChunk) error {
	of := v.measure
	if of == nil {
		return nil
	}
	v.values, v.has = v.values[:0], v.has[:0]
	if of.Formula == nil {
		return c.Ordered(ctx, of.ID, v.who, func(n []int64, ok []bool) {
			v.values, v.has = append(v.values, n...), append(v.has, ok...)
		})
	}
	n := len(v.who)
	v.values, v.has = slices.Grow(v.values, n)[:n], slices.Grow(v.has, n)[:n]
	at := 0
	return c.All(ctx, of, c.People, func(o uint16, x schema.Value) error {
		if at == n || v.who[at] != o {
			at, _ = slices.BinarySearch(v.who, o)
		}
		v.values[at], v.has[at] = x.Ordered(), !x.IsAbsent()
		at++
		return nil
	})
}

// collect puts the people of the cell that is wanted.
func (b *breakdown) collect(ctx context.Context, s *query.Study, total *tally) error {
	wanted, everybody := uint64(0), s.Cell == allCell
	if !everybody {
		at := slices.IndexFunc(total.number[1:], func(number uint64) bool { _, cell := b.names(number); return cell == s.Cell })
		if at < 0 {
			hint := "nobody is in any"
			if len(total.number) > 1 {
				_, cell := b.names(b.order(total)[0])
				hint = "such as " + cell
			}
			return &query.Error{Code: query.CodeInvalid, Message: "this breakdown has no cell " + quote(s.Cell), Hint: hint}
		}
		wanted = total.number[1+at]
	}
	_, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{breakdown: b}
		return func(ctx context.Context, c *query.StudyChunk) error {
			if everybody {
				c.Put(c.People)
				return nil
			}
			if err := v.read(ctx, c); err != nil {
				return err
			}
			room := new(bitmap.Words)
			err := v.each(func(i int, number uint64) error {
				if number == wanted {
					room.SetBit(v.who[i])
				}
				return nil
			})
			c.Put(bitmap.FromWords(room))
			return err
		}
	})
	return err
}
