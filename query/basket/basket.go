package basket

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of the analysis.
const (
	// MaxSize is the most items of a set: a rule with more than four things on its left is
	// read by nobody, and sets multiply with each item more.
	MaxSize = 5

	// MaxTop is how many rows a table has at most: more than anybody looks through.
	MaxTop = 10_000

	// MaxItems is how many different items there may be, as many as a dictionary holds: a
	// property of more tells events from each other, not things.
	MaxItems = schema.MaxDictionary

	// MaxSets bounds the sets that are kept where sets of more than two are asked for, some
	// 150 MiB: as many come of thresholds that are too low, not of people's habits.
	MaxSets = 1 << 20
)

const name = "basket"

// The tables of a report.
var (
	setTable = query.ReportTable{Name: "sets", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "items"}, {Name: "baskets", Unit: query.UnitNumber}, {Name: "people", Unit: query.UnitNumber},
		{Name: "support", Unit: query.UnitShare}, {Name: "lift", Unit: query.UnitNumber}}}
	ruleTable = query.ReportTable{Name: "rules", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "if"}, {Name: "then"}, {Name: "baskets", Unit: query.UnitNumber}, {Name: "people", Unit: query.UnitNumber}, {Name: "without", Unit: query.UnitNumber},
		{Name: "support", Unit: query.UnitShare}, {Name: "confidence", Unit: query.UnitShare}, {Name: "lift", Unit: query.UnitNumber},
		{Name: "leverage", Unit: query.UnitNumber}, {Name: "conviction", Unit: query.UnitNumber}}}
	totalTable = query.ReportTable{Name: "total", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "total"}, {Name: "all baskets", Unit: query.UnitNumber}, {Name: "people", Unit: query.UnitNumber}, {Name: "items", Unit: query.UnitNumber}}}
)

// Analysis is the analysis.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "What people buy together: pairs, larger sets, and rules such as who has tea has a cup",
	Parameters: []query.Parameter{
		{Name: "event", Kind: query.ParameterList, Required: true, Help: `an event list with its window, such as 'purchase.in_last(days(90))'`},
		{Name: "item", Kind: query.ParameterProperty, Required: true, Help: "the property of the event that is the item, such as product; each element of a set is one"},
		{Name: "order", Kind: query.ParameterProperty, Help: "a property that one person's events of one order share, such as order_id: each order is a basket, not each person"},
		{Name: "gap", Kind: query.ParameterDuration, Help: "one person's events of which each is at most so long after the one before are a basket, such as 30m"},
		{Name: "size", Kind: query.ParameterInt, Default: "2", Help: "the most items of a set, 2 to 5"},
		{Name: "for", Kind: query.ParameterText, Help: "an item: only what goes with it, sets with it and rules that begin with it"},
		{Name: "min-baskets", Kind: query.ParameterInt, Default: "1", Help: "the least baskets of a set"},
		{Name: "min-support", Kind: query.ParameterNumber, Help: "the least share of all baskets that have a set, such as 0.01"},
		{Name: "min-confidence", Kind: query.ParameterNumber, Help: "the least confidence of a rule, such as 0.2"},
		{Name: "min-lift", Kind: query.ParameterNumber, Help: "the least lift of a set or rule: above 1 they are together more often than by chance"},
		{Name: "sort", Kind: query.ParameterChoice, Choices: sorts(), Default: "baskets", Help: "the column by which rows are ordered, the greatest first; a table without it is ordered by baskets"},
		{Name: "top", Kind: query.ParameterInt, Default: "50", Help: "how many sets and rules are shown"},
	},
	Tables: []query.ReportTable{setTable, ruleTable, totalTable},
	Run:    run,
}

// sorting is a column to order by.
type sorting int

const (
	byBaskets sorting = iota
	byConfidence
	byLift
	byLeverage
	byConviction
)

func sorts() []string { return []string{"baskets", "confidence", "lift", "leverage", "conviction"} }

// basket is the analysis made ready.
type basket struct {
	study *query.Study
	list  *query.StudyList
	item  schema.Attribute
	key   schema.AttrID // by which events of one person are put together: the order, the time; 0: all are
	gap   int64         // ms, of the time

	size   int
	with   int64 // the item that sets are for
	isWith bool

	least      uint64 // baskets
	support    float64
	confidence float64
	lift       float64
	sort       sorting
	top        int
	cell       *cell // whose people are wanted; nil: nobody's
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	b, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	if b.cell != nil {
		answer, err := b.collect(ctx)
		return query.Report{Analysis: name, Answer: answer}, err
	}
	total, answer, err := b.read(ctx)
	if err != nil {
		return query.Report{}, err
	}
	found, err := total.mine(ctx)
	if err != nil {
		return query.Report{}, err
	}
	tables, err := found.tables(ctx)
	return query.Report{Analysis: name, Tables: tables, Answer: answer}, err
}

func prepare(s *query.Study, args query.Arguments) (*basket, error) {
	b := &basket{study: s, sort: sorting(slices.Index(sorts(), args.One("sort"))),
		support: args.Number("min-support"), confidence: args.Number("min-confidence"), lift: args.Number("min-lift")}
	e, err := s.Compiler().List(args.One("event"))
	if err != nil {
		return nil, fmt.Errorf("--event: %w", err)
	}
	from, to := query.Every()
	if b.list, err = s.List(e, from, to); err != nil {
		return nil, fmt.Errorf("--event: %w", err)
	}
	if err := b.readItem(args); err != nil {
		return nil, err
	}
	if err := b.readNumbers(args); err != nil {
		return nil, err
	}
	if err := b.list.ReadFor(b.key, b.item.ID); err != nil {
		return nil, err
	}
	b.cell, err = b.readCell(s.Cell)
	return b, err
}

// readItem reads what an item and what a basket is.
func (b *basket) readItem(args query.Arguments) error {
	item, err := query.LookupProperty(b.list.Event, args.One("item"))
	if err != nil {
		return fmt.Errorf("--item: %w", err)
	}
	if b.item = *item; item.Inline() {
		return &query.Error{Code: query.CodeType, Message: fmt.Sprintf("--item: %s is kept inline, as texts that hardly ever repeat", item.Name), Hint: "items are a property with a dictionary, a number or a set"}
	}
	gap, order := args.One("gap"), args.One("order")
	switch {
	case gap != "" && order != "":
		return &query.Error{Code: query.CodeInvalid, Message: "--order and --gap both say what a basket is", Hint: "leave out one of them"}
	case gap != "":
		d, err := args.Span("gap")
		if err != nil {
			return err
		}
		b.key, b.gap = schema.TimeProperty, d.Milliseconds()
	case order != "":
		p, err := query.LookupProperty(b.list.Event, order)
		if err != nil {
			return fmt.Errorf("--order: %w", err)
		}
		if p.Kind == schema.Set {
			return query.Errorf(query.CodeType, "--order: %s is a set: an event would be of several orders", p.Name)
		}
		b.key = p.ID
	}
	if text := args.One("for"); text != "" {
		b.isWith = true
		if b.with, err = b.parseItem(text); err != nil {
			return fmt.Errorf("--for: %w", err)
		}
	}
	return nil
}

// readNumbers reads the limits and thresholds.
func (b *basket) readNumbers(args query.Arguments) error {
	b.size, _ = strconv.Atoi(args.One("size")) // it was checked
	least, err := args.Int("min-baskets", math.MaxInt)
	if err != nil {
		return err
	}
	b.least = uint64(least)
	if b.size < 2 || b.size > MaxSize {
		return query.Errorf(query.CodeLimit, "--size %d: a set has 2 to %d items", b.size, MaxSize)
	}
	if b.top, err = args.Int("top", MaxTop); err != nil {
		return err
	}
	for _, name := range []string{"min-support", "min-confidence"} {
		if x := args.Number(name); x > 1 {
			return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("--%s %s: it is a share, 1 is all", name, args.One(name)), Hint: "0.05 is 5 %"}
		}
	}
	return nil
}

// leastOf returns the least number of baskets, of all there are, that a set that is shown has.
func (b *basket) leastOf(all uint64) uint64 {
	n := uint64(math.Ceil(b.support * float64(all)))
	for n > 0 && float64(n-1)/float64(all) >= b.support { // what is shown is what is compared
		n--
	}
	for float64(n)/float64(all) < b.support {
		n++
	}
	return max(b.least, n)
}
