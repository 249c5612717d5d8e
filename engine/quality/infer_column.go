package quality

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// form is what all cells of a column may look like.
type form int

const (
	formBool  form = iota // true, false, yes, no
	formDigit             // 1, 0
	formInt
	formDecimal // of the same number of places
	formFloat   // also an int or a decimal
	formDate
	formTimestamp // also a date
	forms
)

var formKinds = [forms]schema.Kind{schema.Bool, schema.Bool, schema.Int, schema.Decimal, schema.Float, schema.Date, schema.Timestamp}

// column collects what is seen of one column.
type column struct {
	name     string
	seen     int
	absent   int
	distinct map[uint64]struct{}
	examples []string
	bars     int            // cells with a set separator between texts
	places   int            // of the first decimal
	fits     [forms]int     // cells of each form
	min, max [forms]int64   // of those cells, in ordered form
	misfit   [forms]example // the first cell that is not of the form
	zeros    int            // cells that would be numbers but for a leading zero
	zero     example        // the first of them
}

// example is a cell and where it stands.
type example struct {
	text string
	line int
}

func newColumn(name string, absent int) *column {
	return &column{name: name, absent: absent, places: -1, distinct: map[uint64]struct{}{}}
}

func (c *column) add(cell []byte, line int) {
	if len(cell) == 0 {
		c.absent++
		return
	}
	c.seen++
	if len(c.distinct) <= maxDistinct {
		before := len(c.distinct)
		c.distinct[xxhash.Sum64(cell)] = struct{}{}
		if len(c.distinct) > before && len(c.examples) < maxExamples {
			c.examples = append(c.examples, excerpt(cell))
		}
	}
	if i := bytes.IndexByte(cell, schema.SetSeparator[0]); i > 0 && i < len(cell)-1 {
		c.bars++
	}
	zero := leadingZero(cell)
	if zero {
		if c.zeros++; c.zeros == 1 {
			c.zero = example{excerpt(cell), line}
		}
	}
	for f := range forms {
		n, ok := c.parse(f, cell)
		if !ok || zero && f >= formInt && f <= formFloat {
			if c.misfit[f].line == 0 {
				c.misfit[f] = example{excerpt(cell), line}
			}
			continue
		}
		if c.fits[f] == 0 || n < c.min[f] {
			c.min[f] = n
		}
		if c.fits[f] == 0 || n > c.max[f] {
			c.max[f] = n
		}
		c.fits[f]++
	}
}

// parse reports whether a cell has a form, and its ordered value.
func (c *column) parse(f form, cell []byte) (int64, bool) {
	start := cell[0]
	digit := start-'0' <= 9 || start == '-' || start == '.'
	var scale uint8
	switch f {
	case formBool:
		if digit {
			return 0, false
		}
	case formDigit:
		return int64(start - '0'), len(cell) == 1 && (start == '0' || start == '1')
	case formDecimal:
		point := bytes.IndexByte(cell, '.')
		places := len(cell) - point - 1
		if !digit || point < 0 || places < 1 || places > maxPlaces || c.places >= 0 && places != c.places {
			return 0, false
		}
		scale = uint8(places)
	case formFloat:
		// A whole number past the exact ones of a float is an identifier.
		if !digit || len(cell) > 16 && !bytes.ContainsAny(cell, ".eE") {
			return 0, false
		}
	default:
		if !digit {
			return 0, false
		}
	}
	n, err := schema.ParseOrdered(formKinds[f], scale, cell, nil)
	if err == nil && f == formDecimal {
		c.places = int(scale)
	}
	return n, err == nil
}

// leadingZero reports whether a cell is digits that a number would lose: 007, -01.5.
func leadingZero(cell []byte) bool {
	if cell[0] == '-' {
		cell = cell[1:]
	}
	return len(cell) > 1 && cell[0] == '0' && cell[1]-'0' <= 9 && len(bytes.Trim(cell, "0123456789.")) == 0
}

// excerpt cuts a text for people, at a character.
func excerpt(cell []byte) string {
	const limit = 64
	if len(cell) <= limit {
		return string(cell)
	}
	cell = cell[:limit]
	for len(cell) > 0 && !utf8.Valid(cell) {
		cell = cell[:len(cell)-1]
	}
	return string(cell) + "..."
}

// conclude chooses the attribute; said has the kind that is known without the texts. The
// rules stand at Infer.
func (c *column) conclude(said schema.Attribute) InferColumn {
	out := InferColumn{Seen: c.seen, Absent: c.absent, Distinct: min(len(c.distinct), maxDistinct),
		More: len(c.distinct) > maxDistinct, Examples: c.examples}
	a := &out.Attribute
	a.Name, a.Kind = c.name, schema.String
	text := said.Kind == schema.String
	switch {
	case c.seen == 0 && (text || said.Kind == schema.Absent):
		out.Why = "no value was seen"
		return out
	case said.Kind != schema.Set && c.seen > 0 && c.personal():
		a.Storage, a.PII = schema.StorageInline, true
		out.Why = "the name says that it is personal"
		return out
	case said.Kind == schema.Set:
		a.Kind = schema.Set
		out.Why = "it came as arrays"
		return out
	case said.Kind.Ordered():
		c.takeSaid(&out, said)
		return out
	}
	if f, why, ok := c.form(); ok && !text {
		c.take(&out, f)
		out.Why = why
		return out
	}
	if c.bars*setShare >= c.seen && !text {
		a.Kind = schema.Set
		out.Why = fmt.Sprintf("%d of %d cells have a %q between texts", c.bars, c.seen, schema.SetSeparator)
		return out
	}
	out.Why = fmt.Sprintf("text with %d different values in %d", out.Distinct, c.seen)
	if c.seen > nearUniqueRows && (out.More || out.Distinct*2 > c.seen) {
		a.Storage = schema.StorageInline
		out.Why = "text that is nearly unique: " + out.Why
	}
	if !text {
		out.Why += c.almost()
	}
	return out
}

// takeSaid makes the attribute one of the kind that the file says it has.
func (c *column) takeSaid(out *InferColumn, said schema.Attribute) {
	for f := range forms {
		if formKinds[f] == said.Kind && c.seen > 0 && c.fits[f] == c.seen && (f != formDecimal || c.places == int(said.Scale)) {
			c.take(out, f)
		}
	}
	out.Attribute.Kind, out.Attribute.Scale = said.Kind, said.Scale
	out.Why = "the file says that it is " + said.Kind.String()
}

// take makes the attribute one of a form that all cells have.
func (c *column) take(out *InferColumn, f form) {
	a := &out.Attribute
	a.Kind, out.Min, out.Max = formKinds[f], schema.Value{}, schema.Value{}
	if f == formDecimal {
		a.Scale = uint8(c.places)
	}
	if a.Kind != schema.Bool {
		out.Min = schema.FromOrdered(a.Kind, a.Scale, c.min[f])
		out.Max = schema.FromOrdered(a.Kind, a.Scale, c.max[f])
	}
}

// padded reports whether all cells are numbers but some of them start with a zero, so
// that all are codes.
func (c *column) padded() bool { return c.zeros > 0 && c.fits[formFloat]+c.zeros == c.seen }

// personal reports whether the name is a person's and the cells can be: not all of them
// are true and false, dates or times.
func (c *column) personal() bool {
	return personal(c.name) && c.fits[formBool] != c.seen && c.fits[formTimestamp] != c.seen
}

// form returns the narrowest form that all cells have.
func (c *column) form() (f form, why string, ok bool) {
	all := func(f form) bool { return c.fits[f] == c.seen }
	switch {
	case all(formBool):
		return formBool, "all are true, false, yes or no", true
	case flag(c.name) && c.fits[formBool]+c.fits[formDigit] == c.seen:
		return formBool, "all are 1 or 0, and the name says that they are true and false", true
	case codes(c.name):
	case all(formInt):
		return formInt, "all are whole numbers", true
	case all(formDecimal):
		return formDecimal, fmt.Sprintf("all are numbers of %d places", c.places), true
	case all(formFloat):
		return formFloat, "all are numbers", true
	case all(formDate):
		return formDate, "all are dates", true
	case all(formTimestamp):
		return formTimestamp, "all are dates or times", true
	}
	return 0, "", false
}

// almost says which kind the column would have but for a few cells.
func (c *column) almost() string {
	if codes(c.name) {
		return "; the name says that its numbers are codes"
	}
	if c.padded() {
		return fmt.Sprintf("; %d numbers start with a zero, so they are codes (first %q, line %d)", c.zeros, c.zero.text, c.zero.line)
	}
	for f := range forms {
		if few := c.seen - c.fits[f]; f != formDigit && few > 0 && few*almostShare <= c.seen {
			return fmt.Sprintf("; it would be %s but for %d cells (first %q, line %d)",
				strings.TrimSuffix(formKinds[f].String(), "<string>"), few, c.misfit[f].text, c.misfit[f].line)
		}
	}
	return ""
}
