package batch

import "github.com/kantadb/kanta/index/schema"

// Column says what a column of a [Table] holds.
type Column struct {
	Name  string // the attribute
	Kind  schema.Kind
	Scale uint8 // decimals only
	Verb  Verb  // set, add, remove, increment or expect; 0 is set
}

// Table adds many profiles with the same columns, without allocating per row. Start
// each profile with [Table.Row], then give its cells by the number of the column; a
// cell that is not given leaves the stored value alone. A cell given twice: the last
// holds. What is passed is copied. A Table lives as long as its builder, over Reset too.
type Table struct {
	b     *Builder
	bl    block
	set   []*column // by number
	unset []*column // by number; nil where Unset has no meaning
}

// Table returns a table of these columns.
func (b *Builder) Table(columns []Column) *Table {
	t := &Table{b: b, bl: block{code: OpUpsert}}
	for _, def := range columns {
		if def.Verb == 0 {
			def.Verb = VerbSet
		}
		c := b.newColumn(new(column), def)
		if !def.Verb.in(OpUpsert) {
			b.fail("column %q: no column of an upsert has verb %d", def.Name, def.Verb)
		}
		if def.Kind == schema.Absent {
			b.fail("column %q has no kind", def.Name)
		}
		t.set = append(t.set, c)
		t.bl.cols = append(t.bl.cols, c)
		if def.Verb != VerbSet {
			t.unset = append(t.unset, nil)
			continue
		}
		u := b.newColumn(new(column), Column{Name: def.Name, Verb: VerbUnset})
		t.unset = append(t.unset, u)
		t.bl.cols = append(t.bl.cols, u)
	}
	return t
}

// newColumn makes c, new or used, an empty column.
func (b *Builder) newColumn(c *column, def Column) *column {
	c.name, c.verb, c.kind, c.scale = b.checkName(def.Name), def.Verb, def.Kind, def.Scale
	if !def.Verb.fits(def.Kind) || def.Scale > schema.MaxScale || def.Scale > 0 && def.Kind != schema.Decimal {
		b.fail("attribute %q: a column of kind %s with scale %d cannot have verb %d", def.Name, def.Kind, def.Scale, def.Verb)
	}
	c.reset()
	return c
}

// Row starts a profile. The key has 1 to [MaxKeyBytes] bytes.
func (t *Table) Row(key []byte) {
	t.b.use(&t.bl)
	key = nfc(key)
	if len(key) == 0 || len(key) > MaxKeyBytes {
		t.b.fail("a key has 1 to %d bytes, not %d", MaxKeyBytes, len(key))
	}
	t.bl.keys.add(key)
}

// cell returns the column for a cell of the current row, or nil on misuse.
func (t *Table) cell(col int, fits bool) (c *column, row int) {
	row = t.bl.rows() - 1
	if row < 0 || !fits {
		t.b.fail("a cell of column %d without a row, or not of the column's kind", col)
		return nil, 0
	}
	c = t.set[col]
	if c.last == row {
		c.pop()
	}
	if u := t.unset[col]; u != nil && u.last == row {
		u.pop()
	}
	return c, row
}

// Int gives a cell of an ordered kind, in ordered form ([schema.Value.Ordered]).
func (t *Table) Int(col int, ordered int64) {
	if c, row := t.cell(col, t.set[col].kind.Ordered()); c != nil {
		c.addInt(row, ordered)
	}
}

// Str gives a cell of a string column.
func (t *Table) Str(col int, s []byte) {
	if c, row := t.cell(col, t.set[col].kind == schema.String); c != nil {
		c.addString(row, s)
	}
}

// Elems gives a cell of a set column: the whole set, or the elements to add or to
// remove. Order and repetition of elements do not matter.
func (t *Table) Elems(col int, elems [][]byte) {
	if c, row := t.cell(col, t.set[col].kind == schema.Set); c != nil {
		c.openSet(row)
		for _, e := range elems {
			c.addElement(e)
		}
	}
}

// Unset gives a cell that clears the attribute. The column's verb is set.
func (t *Table) Unset(col int) {
	if c, row := t.cell(col, t.unset[col] != nil); c != nil {
		t.unset[col].mark(row)
	}
}
