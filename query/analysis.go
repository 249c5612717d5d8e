package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// Analysis is a question about the people of an expression and their events whose answer
// is tables. All analyses stand in the table of package query/analysis; none knows another.
type Analysis struct {
	Name       string
	Short      string // one line
	Parameters []Parameter
	Tables     []ReportTable // what a report has, without rows
	Run        func(ctx context.Context, s *Study, args Arguments) (Report, error)
	Lends      *Lender // what it lends to expressions; nil: nothing
}

// Lender is how an analysis lends to expressions what it knows of each person. Its arguments
// have been checked against the parameters.
type Lender struct {
	Fields func(args Arguments) ([]Lent, error)                                                  // what is lent follows from the arguments alone
	Check  func(s *Study, args Arguments) error                                                  // makes everything ready that Lend does, and reads nobody
	Lend   func(ctx context.Context, s *Study, args Arguments, to []*LentValues) (Answer, error) // to stands in the order of Fields
}

// Parameter is one thing that an analysis can be told. Flags, JSON and the wire form are
// made of it.
type Parameter struct {
	Name     string // as a flag is: lower case, words joined by "-"
	Kind     ParameterKind
	Repeated bool     // it may be given several times, in an order that matters
	Required bool     // at least once
	Default  string   // what it is if it is not given
	Choices  []string // of a ParameterChoice
	Help     string
	With     []string // what it says something of: without any of these it would do nothing
	Beside   bool     // it adds to the report, and changes nothing of what the analysis lends
}

// ParameterKind says how the text of an argument is read.
type ParameterKind uint8

// The kinds of parameters.
const (
	ParameterList       ParameterKind = iota // an event list: purchase.filter(e, e.amount > 100.0); several of one step are joined by "|"
	ParameterExpression                      // a condition on a person
	ParameterChoice                          // one of Choices
	ParameterInt                             // a whole number above zero
	ParameterDuration                        // see ParseSpan
	ParameterProperty                        // the name of a property of an event type
	ParameterText                            // what the analysis says of it
	ParameterMeasure                         // an expression over one event e: e.amount * e.quantity
	ParameterField                           // e.NAME, a property of the event; or an attribute or expression of a person
	ParameterDate                            // 2026-12-31
	ParameterZone                            // a time zone by its IANA name: Europe/Rome
	ParameterInstant                         // see ParseInstant
	ParameterNumber                          // a number, zero or more: 0.05
)

// Arguments are the texts of parameters, in the order in which they were given.
type Arguments map[string][]string

// Report is the answer of an analysis.
type Report struct {
	Analysis string
	Tables   []ReportTable
	Answer
}

// ReportTable is rows of values, one for each column.
type ReportTable struct {
	Name    string
	Columns []ReportColumn
	Rows    []ReportRow
}

// ReportColumn is what a column says.
type ReportColumn struct {
	Name string
	Unit ReportUnit
}

// ReportUnit says how a value is meant.
type ReportUnit uint8

// The units.
const (
	UnitText     ReportUnit = iota
	UnitNumber              // an int, a decimal, a float
	UnitShare               // a float, 1 is all
	UnitDuration            // an int: milliseconds
	UnitBool                // true or false
)

// ReportRow is one row. A value may be absent: there is none.
type ReportRow struct {
	Cells  []string // the names of sets of people it tells of, by which they are asked for; the first is the row's own
	Values []schema.Value
}

// One returns the text of a parameter that is given once, "" if it is not.
func (a Arguments) One(name string) string {
	if len(a[name]) == 0 {
		return ""
	}
	return a[name][0]
}

// Span returns a duration; see [ParseSpan].
func (a Arguments) Span(name string) (time.Duration, error) {
	d, err := ParseSpan(a.One(name))
	if err != nil {
		err.Message = "--" + name + ": " + err.Message
		return 0, err
	}
	return d, nil
}

// Number returns a number, 0 if it is not given.
func (a Arguments) Number(name string) float64 {
	x, _ := strconv.ParseFloat(a.One(name), 64) // it was checked
	return x
}

// Int returns a whole number above zero that is at most most, 0 if it is not given.
func (a Arguments) Int(name string, most int) (int, error) {
	text := a.One(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > most {
		return 0, Errorf(CodeLimit, "--%s %s: the most is %d", name, text, most)
	}
	return n, nil
}

// Different refuses a text that is given twice.
func (a Arguments) Different(name string) error {
	for i, text := range a[name] {
		if slices.Contains(a[name][:i], text) {
			return Errorf(CodeInvalid, "--%s %s is given twice", name, text)
		}
	}
	return nil
}

// MaxSpan bounds a duration: a hundred years are longer than anything that is looked back at.
const MaxSpan = 100 * 366 * 24 * time.Hour

// ParseSpan reads a duration above zero: whole numbers of w (weeks), d (days of 24 hours),
// h, m, s and ms, such as 90m, 7d or 1d12h.
func ParseSpan(text string) (time.Duration, *Error) {
	units := []struct {
		name string
		of   time.Duration
	}{{"ms", time.Millisecond}, {"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	wrong := &Error{Code: CodeInvalid, Message: fmt.Sprintf("%q is no duration", text), Hint: "such as 30m, 24h, 7d, 2w or 1d12h"}
	var sum time.Duration
	for rest := text; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, wrong
		}
		rest = rest[digits:]
		found := false
		for _, u := range units {
			if after, ok := strings.CutPrefix(rest, u.name); ok {
				if n > int64((MaxSpan-sum)/u.of) {
					wrong.Message = fmt.Sprintf("%s is longer than a hundred years", text)
					return 0, wrong
				}
				sum, rest, found = sum+time.Duration(n)*u.of, after, true
				break
			}
		}
		if !found {
			return 0, wrong
		}
		if rest == "" {
			break
		}
	}
	if sum <= 0 {
		return 0, wrong
	}
	return sum, nil
}

// ParseInstant reads a time of the years 1 to 9999 as RFC 3339 has it, or a date: its start in UTC.
func ParseInstant(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%q is no time", text), Hint: "such as 2026-01-31 or 2026-01-31T12:00:00Z"}
}

// LookupProperty returns a property of an event type by its name, or an error that says what
// may have been meant.
func LookupProperty(event *schema.Event, name string) (*schema.Attribute, error) {
	if p := event.Lookup(name); p != nil {
		return p, nil
	}
	var known []string
	for i := range event.Properties {
		known = append(known, event.Properties[i].Name)
	}
	e := Errorf(CodeUnknownName, "the event %q has no property %q", event.Name, name)
	e.Hint = DidYouMean(name, known)
	return nil, e
}

// CountValue returns a number of people, of events, as a value of a report.
func CountValue(n uint64) schema.Value { return schema.IntValue(int64(n)) }

// Share returns n of all as a value of a report, an absent one if there is nothing to be a
// share of.
func Share(n, all uint64) schema.Value {
	if all == 0 {
		return schema.Value{}
	}
	return schema.FloatValue(float64(n) / float64(all))
}
