package batch

import "github.com/kantadb/kanta/index/schema"

// Row is one profile of an upsert, to be filled before the builder is used for
// anything else. What is done to one attribute happens in the order of the calls.
type Row struct{ b *Builder }

// rowBlock is the block of single upserts: its columns appear as rows need them.
type rowBlock struct {
	block
	attrs map[string]*attrColumns
	spare []*column // of earlier blocks
	text  []byte
}

// attrColumns are the columns of one attribute, in the order in which they apply.
type attrColumns struct {
	places []int // in block.cols
	row    int   // the last row with a cell
	last   int   // the place in places of that row's last cell
}

// Upsert starts a profile: a new one, or changes to an existing one. The key has 1 to
// [MaxKeyBytes] bytes. Consecutive upserts go into one block.
func (b *Builder) Upsert(key string) *Row {
	if b.open != &b.single.block {
		b.flush()
		b.single.begin()
		b.open = &b.single.block
	}
	key = b.checkKey(nfcString(key))
	b.single.text = append(b.single.text[:0], key...)
	b.single.keys.add(b.single.text)
	return &b.row
}

func (rb *rowBlock) begin() {
	if rb.attrs == nil {
		rb.attrs = make(map[string]*attrColumns)
	}
	clear(rb.attrs)
	rb.spare = append(rb.spare, rb.cols...)
	rb.cols = rb.cols[:0]
}

// column returns a column to fill, used or new.
func (rb *rowBlock) column() *column {
	n := len(rb.spare)
	if n == 0 {
		return new(column)
	}
	c := rb.spare[n-1]
	rb.spare = rb.spare[:n-1]
	return c
}

// cell returns the column for a cell of the current row, nil on misuse. A cell never
// goes to a column before the one of the row's preceding cell of the same attribute,
// so that the columns, applied in order, do what the row said.
func (r *Row) cell(attr string, verb Verb, kind schema.Kind, scale uint8) (c *column, row int) {
	b, rb := r.b, &r.b.single
	row = rb.rows() - 1
	if b.open != &rb.block || row < 0 {
		b.fail("a row was used after a later op")
		return nil, 0
	}
	fits := func(c *column) bool { return c.verb == verb && c.kind == kind && c.scale == scale }
	a := rb.attrs[attr]
	if a == nil {
		if name := b.checkName(attr); name != attr {
			return r.cell(name, verb, kind, scale)
		}
		a = &attrColumns{row: -1}
		rb.attrs[attr] = a
	}
	from := 0
	if a.row == row { // a further cell of the attribute in this row
		from = a.last
		switch c := rb.cols[a.places[from]]; {
		case c.verb == VerbSet && verb == VerbSet:
			c.pop()
		case !fits(c) || verb == VerbIncrement || verb == VerbExpect:
			from++
		}
	}
	for from < len(a.places) && !fits(rb.cols[a.places[from]]) {
		from++
	}
	if from == len(a.places) {
		a.places = append(a.places, len(rb.cols))
		rb.cols = append(rb.cols, b.newColumn(rb.column(), Column{Name: attr, Verb: verb, Kind: kind, Scale: scale}))
	}
	a.row, a.last = row, from
	return rb.cols[a.places[from]], row
}

// Set gives an attribute a value; an absent one clears it. Directly after another Set
// of the same attribute it replaces that one.
func (r *Row) Set(attr string, v schema.Value) *Row {
	if v.IsAbsent() {
		return r.Unset(attr)
	}
	return r.value(attr, VerbSet, v)
}

// Unset clears an attribute; a set becomes empty.
func (r *Row) Unset(attr string) *Row { return r.empty(attr, VerbUnset) }

// Add adds elements to a set.
func (r *Row) Add(attr string, elems ...string) *Row { return r.elements(attr, VerbAdd, elems) }

// Remove removes elements from a set.
func (r *Row) Remove(attr string, elems ...string) *Row { return r.elements(attr, VerbRemove, elems) }

// Increment adds v, an int, float or decimal, to the value; an absent one counts as 0.
func (r *Row) Increment(attr string, v schema.Value) *Row { return r.value(attr, VerbIncrement, v) }

// Expect makes the row refused unless the attribute has this value; an absent v
// expects that there is none.
func (r *Row) Expect(attr string, v schema.Value) *Row {
	if v.IsAbsent() {
		return r.empty(attr, VerbExpectAbsent)
	}
	return r.value(attr, VerbExpect, v)
}

func (r *Row) empty(attr string, verb Verb) *Row {
	if c, row := r.cell(attr, verb, schema.Absent, 0); c != nil && c.last != row {
		c.mark(row)
	}
	return r
}

func (r *Row) value(attr string, verb Verb, v schema.Value) *Row {
	if !verb.fits(v.Kind()) {
		r.b.fail("attribute %q: a %s cannot have verb %d", attr, v.Kind(), verb)
		return r
	}
	c, row := r.cell(attr, verb, v.Kind(), v.Scale())
	if c == nil {
		return r
	}
	text := &r.b.single.text
	switch v.Kind() {
	case schema.String:
		*text = append((*text)[:0], v.Str()...)
		c.addString(row, *text)
	case schema.Set:
		c.openSet(row)
		r.fill(c, v.Elements())
	default:
		c.addInt(row, v.Ordered())
	}
	return r
}

func (r *Row) elements(attr string, verb Verb, elems []string) *Row {
	if len(elems) == 0 {
		return r
	}
	if c, row := r.cell(attr, verb, schema.Set, 0); c != nil {
		if c.last != row {
			c.openSet(row)
		}
		r.fill(c, elems)
	}
	return r
}

func (r *Row) fill(c *column, elems []string) {
	for _, e := range elems {
		r.b.single.text = append(r.b.single.text[:0], e...)
		c.addElement(r.b.single.text)
	}
}
