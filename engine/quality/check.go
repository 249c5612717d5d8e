package quality

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// Verdict says that stage 1 of a write does not let a row through.
type Verdict struct {
	Row    int // as package batch counts
	Reason batch.Reason
	Detail string // attribute and value, for people; at most batch.MaxDetail bytes
}

// maxShown bounds what a detail shows of a value.
const maxShown = 48

// CheckAt is stage 1 of a write: what can be told from a batch, a schema and the time at
// which the batch was received, in milliseconds UTC, alone. It returns one verdict for each
// row that must not be applied, the first by order of columns, ascending by row. It checks
//
//   - that each attribute, event type and property exists and has the column's kind and
//     scale. Nothing is converted here, not even an int to a decimal: that is the
//     loader's work;
//   - that no event's time is more than [MaxAhead] after received, and that the event has
//     the properties that are required;
//   - that all text is UTF-8 in NFC. Nothing is normalised here: the batch's Builder
//     normalises what it is given, so that a row which is not NFC was made by something else;
//   - the lengths of strings and, of what a cell sets or adds, the bounds, the allowed
//     values, the format, and the number of elements.
//
// A schema change in the batch holds for the rows behind it, if it is possible; if it
// is not, stage 2 says so. Values of personal attributes are not in the details.
// It is a pure function and keeps nothing of its arguments.
func CheckAt(d *batch.Decoded, s *schema.Schema, received int64) []Verdict {
	c := checker{rows: d.Rows}
	for i := range d.Ops {
		op := &d.Ops[i]
		c.first = op.FirstRow
		if op.Code == batch.OpSchemaChange {
			if next, err := s.Apply(op.Change); err == nil {
				s = next
			}
			continue
		}
		switch {
		case op.Block != nil:
			c.keys(op.Block.Keys)
			for j := range op.Block.Columns {
				col := &op.Block.Columns[j]
				c.column(col, s.Lookup(col.Name), op.Block.N)
			}
		case op.Events != nil:
			c.events(op.Events, s, received)
		default:
			c.keys(op.Keys)
		}
	}
	slices.SortFunc(c.out, func(a, b Verdict) int { return cmp.Compare(a.Row, b.Row) })
	return c.out
}

// checker collects verdicts, one per row.
type checker struct {
	rows  int      // of the batch
	first int      // the number of the op's first row
	seen  []uint64 // bit per row of the batch that has a verdict; nil: none has
	out   []Verdict
	bad   []badCell // of the column at hand, ascending by cell
}

// badCell is a cell that breaks a rule.
type badCell struct {
	cell   int
	reason batch.Reason
	detail string
}

func (c *checker) reject(row int, reason batch.Reason, detail string) {
	row += c.first
	if c.seen == nil {
		c.seen = make([]uint64, (c.rows+63)/64)
	}
	if c.seen[row/64]>>(row%64)&1 != 0 {
		return
	}
	c.seen[row/64] |= 1 << (row % 64)
	c.out = append(c.out, Verdict{row, reason, detail})
}

func (c *checker) keys(keys batch.Strings) {
	if keys.ASCII() {
		return // the decoder has seen to the lengths
	}
	for i := range keys.Len() {
		if problem := textProblem(keys.At(i)); problem != "" {
			c.reject(i, batch.ReasonEncoding, "key: "+problem)
		}
	}
}

// column checks a column of an upsert of n rows.
func (c *checker) column(col *batch.BlockColumn, a *schema.Attribute, n int) {
	switch {
	case a == nil:
		c.all(col, n, batch.ReasonUnknownColumn, unknownAttribute(col.Name))
	case col.Kind == schema.Absent:
	case col.Kind != a.Kind || col.Scale != a.Scale:
		c.all(col, n, batch.ReasonKind, fmt.Sprintf("%s: %s given, the attribute is %s", a.Name, kindWords(col.Kind, col.Scale), kindWords(a.Kind, a.Scale)))
	default:
		c.cells(col, a)
		c.rejectCells(col, n, nil)
	}
}

func unknownAttribute(name string) string { return name + ": there is no such attribute" }

// cells finds the bad cells of a column whose kind and scale are those of a.
func (c *checker) cells(col *batch.BlockColumn, a *schema.Attribute) {
	r := newRules(a, col.Verb)
	c.bad = c.bad[:0]
	switch {
	case col.Kind.Ordered():
		c.ordered(col, &r)
	case col.Kind == schema.Set:
		c.sets(col, &r)
	case col.Index != nil:
		c.dictionary(col, &r)
	default:
		c.plain(col, &r)
	}
}

// all rejects every row that has a cell.
func (c *checker) all(col *batch.BlockColumn, n int, reason batch.Reason, detail string) {
	for row := range n {
		if col.Has(row) {
			c.reject(row, reason, detail)
		}
	}
}

// rejectCells rejects the rows of the bad cells, of those that among admits (nil: all).
func (c *checker) rejectCells(col *batch.BlockColumn, n int, among func(row int) bool) {
	cell, next := 0, 0
	for row := 0; row < n && next < len(c.bad); row++ {
		if !col.Has(row) {
			continue
		}
		if b := c.bad[next]; b.cell == cell {
			if among == nil || among(row) {
				c.reject(row, b.reason, b.detail)
			}
			next++
		}
		cell++
	}
}

func (c *checker) ordered(col *batch.BlockColumn, r *rules) {
	if !r.bounded && r.ints == nil {
		return
	}
	for i, v := range col.Ints {
		if v >= r.lo && v <= r.hi && (r.ints == nil || contains(r.ints, v)) {
			continue
		}
		shown := schema.FromOrdered(col.Kind, col.Scale, v).String()
		if r.attr.PII {
			shown = "the value"
		}
		switch {
		case v < r.lo:
			c.bad = append(c.bad, badCell{i, batch.ReasonOutOfRange, r.detail("%s is below the minimum %s", shown, r.attr.Min)})
		case v > r.hi:
			c.bad = append(c.bad, badCell{i, batch.ReasonOutOfRange, r.detail("%s is above the maximum %s", shown, r.attr.Max)})
		default:
			c.bad = append(c.bad, badCell{i, batch.ReasonNotAllowed, r.detail("%s is not an allowed value", shown)})
		}
	}
}

func (c *checker) plain(col *batch.BlockColumn, r *rules) {
	if r.passes(col.Plain) {
		return
	}
	for i := range col.Plain.Len() {
		if reason, detail := r.text(col.Plain.At(i)); reason != batch.ReasonNone {
			c.bad = append(c.bad, badCell{i, reason, detail})
		}
	}
}

func (c *checker) dictionary(col *batch.BlockColumn, r *rules) {
	faults := r.faults(col.Dict)
	if faults == nil {
		return
	}
	for i, code := range col.Index {
		if f := faults[code]; f.reason != batch.ReasonNone {
			c.bad = append(c.bad, badCell{i, f.reason, f.detail})
		}
	}
}

func (c *checker) sets(col *batch.BlockColumn, r *rules) {
	faults := r.faults(col.Dict)
	if faults == nil && len(col.Index) <= schema.MaxSetElements {
		return
	}
	rest := col.Index
	for i, n := range col.Counts {
		elements := rest[:n]
		rest = rest[n:]
		if n > schema.MaxSetElements {
			c.bad = append(c.bad, badCell{i, batch.ReasonTooMany, r.detail("%d elements; a set has at most %d", n, schema.MaxSetElements)})
			continue
		}
		if faults == nil {
			continue
		}
		for _, code := range elements {
			if f := faults[code]; f.reason != batch.ReasonNone {
				c.bad = append(c.bad, badCell{i, f.reason, f.detail})
				break
			}
		}
	}
}

// rules are what an attribute asks of the values of a column.
type rules struct {
	attr    *schema.Attribute
	bounded bool
	lo, hi  int64    // valid if bounded, else all there is
	ints    []int64  // allowed values in ordered form, ascending; nil: all are
	strs    []string // allowed strings, ascending; nil: all are
	format  string
	ascii   bool // the strings at hand are all ASCII; set by passes
}

// newRules returns the rules for the cells of a verb. What is expected, removed or
// added to a number is not stored as it stands, so only its text is checked.
func newRules(a *schema.Attribute, verb batch.Verb) rules {
	r := rules{attr: a, lo: math.MinInt64, hi: math.MaxInt64}
	if verb != batch.VerbSet && verb != batch.VerbAdd {
		return r
	}
	r.format = a.Format
	if !a.Min.IsAbsent() {
		r.bounded, r.lo = true, a.Min.Ordered()
	}
	if !a.Max.IsAbsent() {
		r.bounded, r.hi = true, a.Max.Ordered()
	}
	for _, v := range a.Allowed {
		if a.Kind.Ordered() {
			r.ints = append(r.ints, v.Ordered())
		} else {
			r.strs = append(r.strs, v.Str())
		}
	}
	slices.Sort(r.ints)
	slices.Sort(r.strs)
	return r
}

// passes reports whether all of list satisfy the rules, if that can be told at once.
func (r *rules) passes(list batch.Strings) bool {
	r.ascii = list.ASCII()
	return r.strs == nil && r.format == "" && r.ascii && list.Longest() <= schema.MaxStringBytes
}

// faults checks each string of a dictionary; nil means that all are good.
func (r *rules) faults(list batch.Strings) []badCell {
	if r.passes(list) {
		return nil
	}
	var out []badCell
	for i := range list.Len() {
		if reason, detail := r.text(list.At(i)); reason != batch.ReasonNone {
			if out == nil {
				out = make([]badCell, list.Len())
			}
			out[i].reason, out[i].detail = reason, detail
		}
	}
	return out
}

// text checks one string.
func (r *rules) text(s []byte) (batch.Reason, string) {
	if len(s) > schema.MaxStringBytes {
		return batch.ReasonTooLong, r.detail("%d bytes; a string has at most %d", len(s), schema.MaxStringBytes)
	}
	if !r.ascii {
		if problem := textProblem(s); problem != "" {
			return batch.ReasonEncoding, r.detail("%s %s", r.show(string(s)), problem)
		}
	}
	if r.strs != nil {
		if _, ok := slices.BinarySearchFunc(r.strs, s, compareText); !ok {
			return batch.ReasonNotAllowed, r.detail("%s is not an allowed value", r.show(string(s)))
		}
	}
	if r.format != "" && !hasFormat(r.format, string(s)) {
		return batch.ReasonFormat, r.detail("%s is not in the format %s", r.show(string(s)), r.format)
	}
	return batch.ReasonNone, ""
}

func compareText(a string, b []byte) int { return strings.Compare(a, string(b)) }

func (r *rules) detail(format string, args ...any) string {
	return shorten(r.attr.Name+": "+fmt.Sprintf(format, args...), batch.MaxDetail)
}

// show returns a value as it may stand in a detail.
func (r *rules) show(s string) string {
	if r.attr.PII {
		return "the value"
	}
	if len(s) > maxShown {
		return fmt.Sprintf("%q...", shorten(s, maxShown))
	}
	return fmt.Sprintf("%q", s)
}

// shorten cuts s at a character so that it has at most n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// textProblem says why s is no text of Kanta, or "".
func textProblem(s []byte) string {
	switch {
	case !utf8.Valid(s):
		return "is not UTF-8"
	case !norm.NFC.IsNormal(s):
		return "is not in normal form (NFC)"
	}
	return ""
}

func contains(sorted []int64, v int64) bool {
	_, ok := slices.BinarySearch(sorted, v)
	return ok
}

func kindWords(k schema.Kind, scale uint8) string {
	if k == schema.Decimal {
		return fmt.Sprintf("decimal(%d)", scale)
	}
	return k.String()
}
