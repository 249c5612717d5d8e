package view

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Past is how a state's attributes with history are read at an instant before its last
// record: the head has one more tier, of the values that later changes replaced. It is
// made chunk by chunk, when it is first read, of the changes after the instant, and hangs
// in the cache. Safe for concurrent use.
type Past struct {
	state State // without a past
	now   int64
	cache *base.Cache
	attrs map[schema.AttrID]*pastAttr
}

// pastAttr is an attribute with history.
type pastAttr struct {
	*schema.Attribute
	event  *schema.Event
	chunks []base.Slot[then]
}

// then is what the head of one attribute and chunk says at the instant.
type then struct {
	values *head.Settled // instead of all tiers of the head; nil: nothing has changed since
}

func (t *then) memory() int64 { return t.values.Bytes() + 16 }

// At returns the state as it is read at an instant, in milliseconds UTC. Forget it in the end.
func (s *State) At(now int64, cache *base.Cache) *State {
	p := &Past{state: *s, now: now, cache: cache, attrs: map[schema.AttrID]*pastAttr{}}
	chunks := View{S: s}.Chunks()
	for i := range s.Schema.Attributes {
		if a := &s.Schema.Attributes[i]; a.History {
			p.attrs[a.ID] = &pastAttr{a, s.Schema.StoredByID(a.Changes), make([]base.Slot[then], chunks)}
		}
	}
	out := *s
	out.Past = p
	return &out
}

// Forget lets go of what the cache has of it. Nobody may read the state any more.
func (p *Past) Forget() {
	for _, a := range p.attrs {
		base.ForgetSlots(p.cache, a.chunks)
	}
}

// of returns an attribute, nil if it is read as it is.
func (p *Past) of(id schema.AttrID) *pastAttr {
	if p == nil {
		return nil
	}
	return p.attrs[id]
}

// then returns what an attribute's head of a chunk says at the instant, as far as some
// ordinals (nil: all) are concerned; nil if it is what it says now.
func (c *Cursor) then(a *attrCursor, chunk int, ords []uint16) (*head.Settled, error) {
	if a.last != nil && a.chunk == chunk {
		return a.last.values, nil
	}
	slot := &a.past.chunks[chunk]
	t := slot.Get()
	if t == nil && len(ords) == 1 { // one person's changes are few
		one := bitmap.FromArray(ords)
		return c.readThen(a, chunk, &one)
	}
	if t == nil {
		values, err := c.readThen(a, chunk, nil)
		if err != nil {
			return nil, err
		}
		t = &then{values}
		slot.Keep(c.s.Past.cache, t, t.memory())
	}
	return t.values, c.pinThen(a, t, chunk)
}

// pinThen keeps what a chunk's head says until another chunk is read: the cache may have let
// it go.
func (c *Cursor) pinThen(a *attrCursor, t *then, chunk int) error {
	bytes := int64(0)
	if t.values != nil && t.values.Class == effect.Bytes {
		bytes = t.memory()
	}
	err := c.Take(bytes - a.pinned)
	if err == nil {
		a.last, a.chunk, a.pinned = t, chunk, bytes
	}
	return err
}

// readThen makes what then returns; of one profile, it says nothing of others.
func (c *Cursor) readThen(a *attrCursor, chunk int, one *bitmap.Set) (*head.Settled, error) {
	p := c.s.Past
	reader := View{S: &p.state}.newCursor() // the cursor's own buffers may be in use
	defer reader.Close()
	reader.scratch.Loan = c.scratch.Loan
	defer func() { reader.scratch.Loan = nil }() // it goes on
	f, _ := allFirstChanges.Get().(*firstChanges)
	defer allFirstChanges.Put(f)
	defer f.forget(c)
	err := f.read(reader, a.past, p.now, chunk, one)
	c.bytes += reader.BytesRead()
	if err != nil || len(f.ords) == 0 {
		return nil, err
	}
	var overlay head.Overlay
	if one == nil {
		overlay.Load(&a.head, chunk)
	}
	ords, column := f.column(effect.ClassOf(a.past.Attribute), a.past.ID)
	return f.settler.Overwrite(&overlay, ords, column), nil
}

// allFirstChanges keeps the scratch for other chunks: it takes half a MiB.
var allFirstChanges = sync.Pool{New: func() any { return new(firstChanges) }} //tidy:constant

// firstChanges collects each profile's first change after an instant. It is scratch for one goroutine.
type firstChanges struct {
	settler head.Settler
	place   [bitmap.ChunkSize]uint32 // of a profile's change in ords, plus one; 0: none
	touched bitmap.Words

	ords      []uint16
	positions []int64
	codes     []uint32
	ints      []int64
	present   []bool
	texts     [][]byte
	taken     int64 // on loan for the texts, and for what is made of them
	sets      [][]uint32
}

// forget lets go of the texts.
func (f *firstChanges) forget(c *Cursor) {
	clear(f.texts)
	_ = c.Take(-f.taken) // giving back does not fail
	f.taken = 0
}

// read collects the changes of a chunk, or those of one profile. The received times of records never go back, so
// the first change is the one of the lowest position.
func (f *firstChanges) read(c *Cursor, a *pastAttr, now int64, chunk int, one *bitmap.Set) error {
	for _, o := range f.ords {
		f.place[o] = 0
	}
	f.ords, f.positions, f.codes, f.ints = f.ords[:0], f.positions[:0], f.codes[:0], f.ints[:0]
	f.present, f.texts, f.sets = f.present[:0], f.texts[:0], f.sets[:0]
	class := effect.ClassOf(a.Attribute)
	scan := &query.EventScan{Event: a.event.ID, From: now + 1, To: schema.MaxTimestamp + 1, Properties: []schema.AttrID{schema.PositionProperty, a.ID}}
	return c.Events(scan, chunk, one, func(b *query.EventBlock) error {
		for i, o := range b.Ords {
			if one != nil && o != one.Array[0] {
				continue
			}
			position := b.Columns[0].Ints[i]
			k := int(f.place[o]) - 1
			if k < 0 {
				k = f.grow(class)
				f.place[o], f.ords[k] = uint32(k+1), o
			} else if position >= f.positions[k] {
				continue
			}
			f.positions[k] = position
			if class == effect.Bytes {
				bytes := 3 * int64(len(b.Columns[1].Texts[i]))
				if err := c.Take(bytes); err != nil {
					return err
				}
				f.taken += bytes
			}
			f.take(k, class, &b.Columns[1], i)
		}
		return nil
	})
}

// grow makes room for one more profile.
func (f *firstChanges) grow(class effect.Class) int {
	f.ords, f.positions = append(f.ords, 0), append(f.positions, 0)
	switch class {
	case effect.Code:
		f.codes = append(f.codes, schema.NoCode)
	case effect.Int:
		f.ints, f.present = append(f.ints, 0), append(f.present, false)
	case effect.Bytes:
		f.texts = append(f.texts, nil)
	case effect.Set:
		f.sets = append(f.sets, nil)
	}
	return len(f.ords) - 1
}

// take copies value i of a block's column.
func (f *firstChanges) take(k int, class effect.Class, c *query.EventColumn, i int) {
	has := c.Present == nil || c.Present[i>>6]>>(i&63)&1 != 0
	switch class {
	case effect.Code:
		f.codes[k] = c.Codes[i]
	case effect.Int:
		f.ints[k], f.present[k] = c.Ints[i], has
	case effect.Bytes:
		f.texts[k] = nil
		if has {
			f.texts[k] = append([]byte{}, c.Texts[i]...)
		}
	case effect.Set:
		from := uint32(0)
		if i > 0 {
			from = c.Sets.Ends[i-1]
		}
		f.sets[k] = slices.Clone(c.Sets.Codes[from:c.Sets.Ends[i]])
	}
}

// column returns what was collected, by ascending ordinal.
func (f *firstChanges) column(class effect.Class, id schema.AttrID) ([]uint16, *effect.Column) {
	f.touched.Clear()
	for _, o := range f.ords {
		f.touched.SetBit(o)
	}
	ords := bitmap.FromWords(&f.touched).AppendTo(make([]uint16, 0, len(f.ords)))
	c := &effect.Column{Attr: id, Class: class}
	for row, o := range ords {
		k := f.place[o] - 1
		switch class {
		case effect.Code:
			c.Codes = append(c.Codes, f.codes[k])
		case effect.Int:
			if !f.present[k] {
				c.AppendAbsent()
				continue
			}
			c.AppendInt(f.ints[k])
		case effect.Bytes:
			if f.texts[k] == nil {
				c.AppendAbsent()
				continue
			}
			c.AppendBytes(f.texts[k])
		case effect.Set:
			c.Rows, c.Codes = append(c.Rows, uint32(row)), append(c.Codes, effect.Reset)
			for _, code := range f.sets[k] {
				c.Rows, c.Codes = append(c.Rows, uint32(row)), append(c.Codes, code|effect.Add)
			}
		}
	}
	return ords, c
}

// findThen adds to the candidates who had a value at the instant: the index may know
// nothing of values that were replaced since.
func (c *Cursor) findThen(ctx context.Context, attr schema.AttrID, value []byte) error {
	if c.s.Past.of(attr) == nil {
		return nil
	}
	a := c.attr(attr)
	for chunk := range a.past.chunks {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		values, err := c.then(a, chunk, nil)
		if err != nil {
			return err
		}
		if values == nil {
			continue
		}
		for i, o := range values.Ords {
			var v []byte
			if values.Class == effect.Bytes {
				v = values.Value(i)
			} else if n, ok := values.Int(i); ok {
				v = numberBytes(n)
			}
			if v != nil && bytes.Equal(v, value) {
				c.cands = append(c.cands, uint32(chunk)<<bitmap.ChunkBits|uint32(o))
			}
		}
	}
	return nil
}
