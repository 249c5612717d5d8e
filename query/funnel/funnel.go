package funnel

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of a funnel.
const (
	MinSteps = 2
	MaxSteps = 20 // a longer one is a path; every step reads lists for everybody
	MaxLists = 60 // alternatives and exclusions of all steps together

	// MaxBins is how many parts the time of a histogram has: more cannot be read.
	MaxBins = 100

	// MaxRows bounds the rows of a report: each has its numbers on each worker.
	MaxRows = 10_000
)

const name = "funnel"

// steps and times are the report's tables. A column for what --by says is added to both, and
// one for entries where these are counted.
var (
	steps = query.ReportTable{Name: "steps", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "step", Unit: query.UnitNumber}, {Name: "events", Unit: query.UnitText}, {Name: "people", Unit: query.UnitNumber},
		{Name: "of first", Unit: query.UnitShare}, {Name: "of before", Unit: query.UnitShare}, {Name: "dropped", Unit: query.UnitNumber},
		{Name: "average", Unit: query.UnitDuration}, {Name: "median", Unit: query.UnitDuration}, {Name: "p90", Unit: query.UnitDuration}}}
	times = query.ReportTable{Name: "times", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "step", Unit: query.UnitNumber}, {Name: "from", Unit: query.UnitDuration}, {Name: "to", Unit: query.UnitDuration},
		{Name: "people", Unit: query.UnitNumber}, {Name: "of step", Unit: query.UnitShare}}}
)

// Analysis is the funnel.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "How many people go from step to step, and how long it takes them",
	Parameters: []query.Parameter{
		{Name: "step", Kind: query.ParameterList, Repeated: true, Required: true, Help: `an event list, such as 'purchase.filter(e, e.amount > 10.0)'; alternatives are joined by " | "; 2 to 20 steps, in their order`},
		{Name: "within", Kind: query.ParameterDuration, Default: "7d", Help: "the time from the first step to the last, such as 90m, 24h, 7d"},
		{Name: "order", Kind: query.ParameterChoice, Choices: []string{"sequence", "strict", "any"}, Default: "sequence", Help: "sequence: one step after the other; strict: each is the very next thing somebody does; any: in any order"},
		{Name: "exclude", Kind: query.ParameterList, Repeated: true, Help: "K:LIST: an event of the list between step K and the next ends what has come to step K"},
		{Name: "hold", Kind: query.ParameterProperty, Help: "a property that is the same in all events of an entry, such as order_id"},
		{Name: "count", Kind: query.ParameterChoice, Choices: []string{"people", "entries"}, Default: "people", Help: "people: each once, as far as they ever came; entries: each time that somebody begins anew"},
		{Name: "by", Kind: query.ParameterField, Help: "split by an attribute, such as country, or by a property of an event, such as e.channel"},
		{Name: "touch", Kind: query.ParameterChoice, Choices: []string{"first", "last", "step"}, Default: "first", Help: "whose property --by e.NAME is: of the event of the first step, of the last one come to, or of each step"},
		{Name: "top", Kind: query.ParameterInt, Default: "10", With: []string{"by"}, Help: "how many values of --by are shown, those of the most people at the first step; the others add up to (other)"},
		{Name: "histogram", Kind: query.ParameterText, Help: "how many people take how long: 10 (parts of --within that are equal), or the borders of parts, 1m,10m,1h"},
	},
	Tables: []query.ReportTable{steps, times},
	Run:    run,
}

// order is how steps follow each other.
type order uint8

const (
	sequence order = iota
	strict
	anyOrder
)

// funnel is a funnel made ready.
type funnel struct {
	texts   []string // of the steps
	within  int64    // ms
	order   order
	entries bool // each counts, not each person

	lists  []*query.StudyList // of all steps and exclusions
	step   []int              // by list: its step, from 0; -1: strict, whatever else somebody does
	ends   []bool             // by list: it is an exclusion after its step
	values []schema.AttrID    // by list: of the property that is held or split by; nil: none is
	held   bool               // it is held
	coded  bool               // it is a string: there is a dictionary for each event type

	onward query.Onward // to the second step
	by     *split       // nil: it is not split
	edges  []int64      // of the histogram, ms; nil: there is none
	cell   *cell        // whose people are wanted; nil: nobody's
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	f, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	parts, answer, err := f.count(ctx, s)
	if err != nil {
		return query.Report{}, err
	}
	if f.by == nil {
		return f.report(f.sum(parts), answer), nil
	}
	groups, err := f.rank(parts)
	if err != nil {
		return query.Report{}, err
	}
	if f.cell != nil {
		if f.cell.group, err = f.by.find(f.cell.label, groups); err != nil {
			return query.Report{}, err
		}
	}
	if f.cell != nil || f.entries { // somebody's entries may be of several of the other values
		if parts, answer, err = f.count(ctx, s); err != nil {
			return query.Report{}, err
		}
		groups = f.sum(parts)
	}
	return f.report(groups, answer), nil
}

func prepare(s *query.Study, args query.Arguments) (*funnel, error) {
	within, err := args.Span("within")
	if err != nil {
		return nil, err
	}
	f := &funnel{texts: args["step"], within: within.Milliseconds(), entries: args.One("count") == "entries"}
	f.order = order(slices.Index([]string{"sequence", "strict", "any"}, args.One("order")))
	if n := len(f.texts); n < MinSteps || n > MaxSteps {
		return nil, query.Errorf(query.CodeLimit, "a funnel has %d to %d steps, this one has %d", MinSteps, MaxSteps, n)
	}
	for i, text := range f.texts {
		for _, alternative := range splitAlternatives(text) {
			if err := f.add(s, alternative, i, false); err != nil {
				return nil, fmt.Errorf("step %d: %w", i+1, err)
			}
		}
	}
	for _, text := range args["exclude"] {
		if err := f.exclude(s, text); err != nil {
			return nil, err
		}
	}
	if len(f.lists) > MaxLists {
		return nil, query.Errorf(query.CodeLimit, "a funnel has at most %d event lists, this one has %d", MaxLists, len(f.lists))
	}
	if err := f.hold(args.One("hold")); err != nil {
		return nil, err
	}
	if err := f.addOthers(s); err != nil {
		return nil, err
	}
	if err := f.splitBy(s, args); err != nil {
		return nil, err
	}
	if err := f.bins(args.One("histogram")); err != nil {
		return nil, err
	}
	f.goOnward()
	return f, f.wanted(s.Cell)
}

// splitAlternatives splits a text at " | " outside quotes and brackets.
func splitAlternatives(text string) (out []string) {
	depth, quote, from := 0, byte(0), 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == '|' && depth == 0:
			out = append(out, strings.TrimSpace(text[from:i]))
			from = i + 1
		}
	}
	return append(out, strings.TrimSpace(text[from:]))
}

// add adds an event list.
func (f *funnel) add(s *query.Study, text string, step int, ends bool) error {
	e, err := s.Compiler().List(text)
	if err != nil {
		return err
	}
	return f.addList(s, e, step, ends)
}

// addList adds an event list. What is not of the first step is wanted only when an entry may
// be under way.
func (f *funnel) addList(s *query.Study, e *query.Events, step int, ends bool) error {
	from, to := query.Every()
	if step != 0 && f.order != anyOrder {
		from, to = to, from
		for i, l := range f.lists {
			if first, last := l.Window(); f.step[i] == 0 && first < last {
				from, to = min(from, first), max(to, last+min(f.within, math.MaxInt64-last))
			}
		}
	}
	l, err := s.List(e, from, to)
	if err != nil {
		return err
	}
	f.lists, f.step, f.ends = append(f.lists, l), append(f.step, step), append(f.ends, ends)
	return nil
}

// addOthers adds all events of every type: of the order strict, where nothing else may lie
// between two steps.
func (f *funnel) addOthers(s *query.Study) error {
	if f.order != strict {
		return nil
	}
	from, _ := query.Every()
	for i := range s.Schema().Events {
		all := &query.Events{Event: s.Schema().Events[i].ID, From: from, To: s.Now.UnixMilli() + 1}
		if err := f.addList(s, all, -1, false); err != nil {
			return err
		}
	}
	return nil
}

func (f *funnel) exclude(s *query.Study, text string) error {
	number, list, ok := strings.Cut(text, ":")
	k, err := strconv.Atoi(strings.TrimSpace(number))
	switch {
	case !ok || err != nil:
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("--exclude %q does not say between which steps", text), Hint: `such as '2: refund': between step 2 and step 3`}
	case f.order == anyOrder:
		return &query.Error{Code: query.CodeInvalid, Message: "there is nothing between steps that come in any order", Hint: "leave out --exclude, or --order any"}
	case f.order == strict:
		return &query.Error{Code: query.CodeInvalid, Message: "nothing at all lies between the steps of a strict order", Hint: "leave out --exclude, or --order strict"}
	case k < 1 || k >= len(f.texts):
		return query.Errorf(query.CodeInvalid, "--exclude %q: there is no step after step %d of %d", text, k, len(f.texts))
	}
	if err := f.add(s, strings.TrimSpace(list), k-1, true); err != nil {
		return fmt.Errorf("--exclude after step %d: %w", k, err)
	}
	return nil
}

// hold reads the property that is held, if there is one.
func (f *funnel) hold(name string) error {
	switch {
	case name == "":
		return nil
	case f.order == strict:
		return &query.Error{Code: query.CodeInvalid, Message: "in a strict order no property can be held: what lies between two steps may not have it", Hint: "leave out --hold, or --order strict"}
	}
	f.held = true
	if _, err := f.read(name, func(int) bool { return true }); err != nil {
		return fmt.Errorf("--hold: %w", err)
	}
	return nil
}

// read adds a property to what is read of some lists' events, and returns what it is.
func (f *funnel) read(name string, wanted func(list int) bool) (*schema.Attribute, error) {
	var kind *schema.Attribute
	f.values = make([]schema.AttrID, len(f.lists))
	for i, l := range f.lists {
		if !wanted(i) {
			continue
		}
		p, err := query.LookupProperty(l.Event, name)
		if err != nil {
			return nil, err
		}
		if kind != nil && (kind.Kind != p.Kind || kind.Scale != p.Scale || kind.Coded() != p.Coded()) {
			return nil, query.Errorf(query.CodeType, "%q is a %s of one event and a %s of another", name, kind.Kind, p.Kind)
		}
		if err := l.Read(p.ID); err != nil {
			return nil, err
		}
		kind = p
		f.values[i] = p.ID
	}
	f.coded = kind.Kind == schema.String
	return kind, nil
}

// goOnward says who comes to the second step, and what is needed to tell how far they come.
func (f *funnel) goOnward() {
	f.onward = query.Onward{Within: f.within, Whole: f.order == strict || slices.Contains(f.ends, true)}
	for i, k := range f.step {
		switch {
		case f.ends[i]:
		case k == 0:
			f.onward.First = append(f.onward.First, i)
		case k == 1:
			f.onward.Next = append(f.onward.Next, i)
		case k == 2 && !f.onward.Whole:
			f.onward.Then = append(f.onward.Then, i)
		}
	}
}

// isOnward reports whether of those who do not come to the second step nothing is to be told
// but that they have come to the first.
func (f *funnel) isOnward() bool { return f.order != anyOrder && !f.entries && f.values == nil }
