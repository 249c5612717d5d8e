package path

import (
	"context"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of paths.
const (
	MaxSteps = 10  // hardly two people have a longer path in common
	MaxTop   = 100 // a tree with more cannot be read, and a flow has the square of it
)

const name = "path"

// The tables of the report. Of every chosen event the column of people is one of paths.
var (
	tree = query.ReportTable{Name: "tree", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "step", Unit: query.UnitNumber}, {Name: "path"}, {Name: "label"}, {Name: "people", Unit: query.UnitNumber},
		{Name: "of first", Unit: query.UnitShare}, {Name: "of before", Unit: query.UnitShare}}}
	flow = query.ReportTable{Name: "flow", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "step", Unit: query.UnitNumber}, {Name: "from"}, {Name: "to"}, {Name: "people", Unit: query.UnitNumber},
		{Name: "of before", Unit: query.UnitShare}}}
)

// Analysis is the paths.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "What comes next after an event, or what came before it, step by step",
	Parameters: []query.Parameter{
		{Name: "after", Kind: query.ParameterList, Help: `what comes after these events: an event list, such as app_open or 'purchase.filter(e, e.amount > 10.0)'; or give --before`},
		{Name: "before", Kind: query.ParameterList, Help: "what came before these events, instead"},
		{Name: "event", Kind: query.ParameterList, Repeated: true, Help: "an event list whose events may be steps; without any, all events of every type"},
		{Name: "label", Kind: query.ParameterProperty, Repeated: true, Help: "call steps by a property: NAME, or EVENT.NAME, such as page_view.page; without it by their event type"},
		{Name: "steps", Kind: query.ParameterInt, Default: "3", Help: "how many steps, 1 to 10"},
		{Name: "within", Kind: query.ParameterDuration, Default: "7d", Help: "the time from the chosen event to the last step, such as 90m, 24h, 7d"},
		{Name: "gap", Kind: query.ParameterDuration, Help: "a path ends where the pause between two events is longer, such as 30m"},
		{Name: "repeats", Kind: query.ParameterChoice, Choices: []string{"collapse", "keep"}, Default: "collapse", Help: "collapse: what comes again and again is one step; keep: each is one"},
		{Name: "top", Kind: query.ParameterInt, Default: "10", Help: "how many paths of each length are shown, those of the most; the others add up to (other)"},
		{Name: "count", Kind: query.ParameterChoice, Choices: []string{"people", "every"}, Default: "people", Help: "people: each once, with the path of the first chosen event; every: every chosen event"},
	},
	Tables: []query.ReportTable{tree, flow},
	Run:    run,
}

// paths are paths made ready.
type paths struct {
	chosen   source   // of the chosen events
	sources  []source // of steps
	before   bool
	steps    int
	within   int64 // ms
	gap      int64 // ms; 0: none
	collapse bool
	every    bool
	top      int
}

// source is an event list and what its events are called.
type source struct {
	list     *query.StudyList
	name     string
	property *schema.Attribute // whose value is the label; nil: the name is
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	p, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	var all []*visitor
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := newVisitor(p, s)
		v.trie = newTrie()
		all = append(all, v)
		return v.chunk
	})
	if err != nil {
		return query.Report{}, err
	}
	total, err := merge(ctx, p, s, all)
	if err != nil {
		return query.Report{}, err
	}
	tables := newTables(p, total)
	r := query.Report{Analysis: name, Tables: []query.ReportTable{tables.tree, tables.flow}, Answer: answer}
	if s.Cell == "" {
		return r, nil
	}
	matches, err := tables.wanted(s.Cell)
	if err != nil {
		return r, err
	}
	_, err = s.Each(ctx, func() query.ChunkVisitor {
		v := newVisitor(p, s)
		v.total, v.matches = &total.labels, matches
		return v.chunk
	})
	return r, err
}

func prepare(s *query.Study, args query.Arguments) (*paths, error) {
	p := &paths{collapse: args.One("repeats") == "collapse", every: args.One("count") == "every"}
	text := args.One("after")
	if p.before = text == ""; p.before {
		text = args.One("before")
	} else if args.One("before") != "" {
		return nil, query.Errorf(query.CodeInvalid, "what comes --after events or what came --before them is asked for, not both")
	}
	if text == "" {
		return nil, &query.Error{Code: query.CodeInvalid, Message: "what comes after which events?", Hint: "such as --after app_open, or --before purchase"}
	}
	var err error
	if p.steps, err = args.Int("steps", MaxSteps); err != nil {
		return nil, err
	}
	if p.top, err = args.Int("top", MaxTop); err != nil {
		return nil, err
	}
	within, err := args.Span("within")
	if err != nil {
		return nil, err
	}
	p.within = within.Milliseconds()
	if args.One("gap") != "" {
		gap, err := args.Span("gap")
		if err != nil {
			return nil, err
		}
		p.gap = gap.Milliseconds()
	}
	if err := p.prepareChosen(s, text); err != nil {
		return nil, err
	}
	if err := args.Different("event"); err != nil {
		return nil, err
	}
	if err := p.prepareSteps(s, args["event"]); err != nil {
		return nil, err
	}
	return p, p.prepareLabels(args["label"])
}

// prepareChosen makes the chosen events ready.
func (p *paths) prepareChosen(s *query.Study, text string) error {
	which := "--after"
	if p.before {
		which = "--before"
	}
	e, err := s.Compiler().List(text)
	if err != nil {
		return fmt.Errorf("%s: %w", which, err)
	}
	from, to := query.Every()
	list, err := s.List(e, from, to)
	if err != nil {
		return fmt.Errorf("%s: %w", which, err)
	}
	p.chosen = source{list: list, name: list.Event.Name}
	return nil
}

// prepareSteps makes the lists of steps ready, of which only events near a chosen one are wanted.
func (p *paths) prepareSteps(s *query.Study, texts []string) error {
	from, to := p.chosen.list.Window()
	if from < to && p.before {
		from = max(from, math.MinInt64+p.within) - p.within
	} else if from < to {
		to = min(to, math.MaxInt64-p.within) + p.within
	}
	add := func(e *query.Events, name string) error {
		list, err := s.List(e, from, to)
		if err == nil && name == "" {
			name = list.Event.Name
		}
		p.sources = append(p.sources, source{list: list, name: name})
		return err
	}
	if len(texts) == 0 {
		events := s.Schema().Events
		for i := range events {
			if err := add(&query.Events{Event: events[i].ID, From: schema.MinTimestamp, To: s.Now.UnixMilli() + 1}, ""); err != nil {
				return err
			}
		}
		return nil
	}
	for _, text := range texts {
		e, err := s.Compiler().List(text)
		if err == nil {
			err = add(e, text)
		}
		if err != nil {
			return fmt.Errorf("--event: %w", err)
		}
	}
	return nil
}

// prepareLabels finds the properties that steps are called by.
func (p *paths) prepareLabels(names []string) error {
	all := []*source{&p.chosen}
	for i := range p.sources {
		all = append(all, &p.sources[i])
	}
	for _, name := range names {
		found := false
		var known []string
		for _, src := range all {
			event := src.list.Event
			for i := range event.Properties {
				property := &event.Properties[i]
				whole := event.Name + "." + property.Name
				known = append(known, property.Name, whole)
				if property.Name != name && whole != name {
					continue
				}
				found = true
				if src.property != nil {
					continue
				}
				if err := src.list.Read(property.ID); err != nil {
					return fmt.Errorf("--label: %w", err)
				}
				src.property = property
			}
		}
		if !found {
			err := query.Errorf(query.CodeUnknownName, "--label: no event of the path has a property %q", name)
			err.Hint = query.DidYouMean(name, known)
			return err
		}
	}
	return nil
}
