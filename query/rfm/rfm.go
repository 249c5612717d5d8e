package rfm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Limits of the analysis.
const (
	MinBins = 3  // fewer tell the best from the rest, which an expression does too
	MaxBins = 10 // a grid of 10 x 10 is the largest that can be looked at
)

const name = "rfm"

// The tables of a report.
var (
	cellTable = query.ReportTable{Name: "cells", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "cell", Unit: query.UnitText}, {Name: "recency", Unit: query.UnitNumber}, {Name: "frequency", Unit: query.UnitNumber}}, measured[:]...)}
	segmentTable = query.ReportTable{Name: "segments", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "segment", Unit: query.UnitText}}, measured[:]...)}
	amountTable = query.ReportTable{Name: "amounts", Columns: append([]query.ReportColumn{ //tidy:constant
		{Name: "cell", Unit: query.UnitText}}, measured[:]...)}
	cutTable = query.ReportTable{Name: "cuts", Columns: []query.ReportColumn{ //tidy:constant
		{Name: "cut", Unit: query.UnitNumber}, {Name: "recency", Unit: query.UnitDuration},
		{Name: "frequency", Unit: query.UnitNumber}, {Name: "amount", Unit: query.UnitNumber}}}
)

// measured is what is told of the people of a row; the last two need an amount.
var measured = [...]query.ReportColumn{ //tidy:constant
	{Name: "people", Unit: query.UnitNumber}, {Name: "share", Unit: query.UnitShare},
	{Name: "sum", Unit: query.UnitNumber}, {Name: "average", Unit: query.UnitNumber}}

// Analysis is the analysis.
var Analysis = query.Analysis{ //tidy:constant
	Name:  name,
	Short: "Score people by recency, frequency and amount, and name them by the scores",
	Parameters: []query.Parameter{
		{Name: "event", Kind: query.ParameterList, Required: true, Help: `an event list with its window, such as 'purchase.in_last(days(90))'; who has no event of it is not scored`},
		{Name: "amount", Kind: query.ParameterText, Help: "what is added up of each event, such as e.amount or 'e.quantity * e.price'; without it there is no third score"},
		{Name: "frequency", Kind: query.ParameterText, Default: "events", Help: "events: how many they are; or a property, such as order_id: how many different values it has"},
		{Name: "bins", Kind: query.ParameterInt, Default: "5", Help: "how many scores there are, 3 to 10"},
		{Name: "recency-by", Kind: query.ParameterText, Default: "quantile", Help: "how recency is scored: quantile, quantile+1, rank, or edges:30d,60d,90d,180d"},
		{Name: "frequency-by", Kind: query.ParameterText, Default: "quantile", Help: "how frequency is scored: quantile, quantile+1, rank, or edges:2,3,5,10"},
		{Name: "amount-by", Kind: query.ParameterText, Help: "how the amount is scored: quantile (as it is if not given), quantile+1, rank, or edges:50,100,250,1000"},
		{Name: "recency-unit", Kind: query.ParameterDuration, Default: "1d", Help: "recency is told in whole ones of this"},
		{Name: "map", Kind: query.ParameterText, Repeated: true, Default: StandardMap, Help: "which segment each cell is of: r4-5f2-3=NAME,...; every cell once"},
	},
	Tables: []query.ReportTable{cellTable, segmentTable, amountTable, cutTable},
	Run:    run,
}

// The dimensions.
const (
	recency = iota // whole units from the last event to now
	frequency
	amount
	dimensions
)

// rfm is the analysis made ready.
type rfm struct {
	study    *query.Study
	keys     func(ctx context.Context, ordinals []uint32, f func(key []byte) error) error // of the study
	keep     func(bytes int64) error                                                      // of the study
	list     *query.StudyList                                                             // its measure is the amount, if that is an int or a decimal
	fields   [dimensions]*query.StudyField                                                // what events do not tell one by one: different values, sums of floats
	units    [dimensions]unit
	ways     [dimensions]way
	money    schema.Attribute // kind and scale of the amount
	has      int              // how many dimensions there are: without an amount two
	bins     int
	now      int64
	round    int64 // what recency is whole ones of, ms
	segments segments
	wanted   wanted
}

func run(ctx context.Context, s *query.Study, args query.Arguments) (query.Report, error) {
	a, err := prepare(s, args)
	if err != nil {
		return query.Report{}, err
	}
	p, answer, err := a.read(ctx)
	if err != nil {
		return query.Report{}, err
	}
	var cuts [dimensions][]schema.Value
	var errs [dimensions]error
	var group sync.WaitGroup
	for d := range a.has {
		score := func() { cuts[d], errs[d] = a.score(ctx, p, d) }
		if s.Parallelism == 1 {
			score()
		} else {
			group.Go(score)
		}
	}
	group.Wait()
	if err := cmp.Or(errs[:]...); err != nil {
		return query.Report{}, err
	}
	return query.Report{Analysis: name, Tables: a.tables(p, cuts), Answer: answer}, nil
}

func prepare(s *query.Study, args query.Arguments) (*rfm, error) {
	a := &rfm{study: s, keys: s.Keys, keep: s.Keep, has: amount, now: s.Now.UTC().Truncate(time.Millisecond).UnixMilli()}
	round, err := args.Span("recency-unit")
	if err != nil {
		return nil, err
	}
	a.round = round.Milliseconds()
	a.bins, _ = strconv.Atoi(args.One("bins")) // it was checked
	if a.bins < MinBins || a.bins > MaxBins {
		return nil, query.Errorf(query.CodeLimit, "--bins %d: there are %d to %d scores", a.bins, MinBins, MaxBins)
	}
	if err := a.event(args.One("event"), args.One("frequency"), args.One("amount")); err != nil {
		return nil, err
	}
	a.units[amount] = unit{float: a.money.Kind == schema.Float, scale: a.money.Scale}
	for d, parameter := range [dimensions]string{"recency-by", "frequency-by", "amount-by"} {
		if a.ways[d], err = a.readWay(d, parameter, args.One(parameter)); err != nil {
			return nil, err
		}
	}
	if a.has == amount && args.One("amount-by") != "" {
		return nil, &query.Error{Code: query.CodeInvalid, Message: "--amount-by: there is no amount", Hint: "say what is added up with --amount"}
	}
	if a.segments, err = readSegments(args["map"], a.bins); err != nil {
		return nil, err
	}
	a.wanted, err = a.readWanted(s.Cell)
	return a, err
}

// event reads what is asked of each person: what the expressions of the language say.
func (a *rfm) event(list, how, of string) error {
	e, err := a.study.Compiler().List(list)
	if err != nil {
		return fmt.Errorf("--event: %w", err)
	}
	from, to := query.Every()
	if a.list, err = a.study.List(e, from, to); err != nil {
		return fmt.Errorf("--event: %w", err)
	}
	if how != "events" {
		property, err := a.property(how)
		if err != nil {
			return err
		}
		if err := a.field(frequency, list+".distinct(e, "+property+")"); err != nil {
			return err
		}
	}
	if of == "" {
		return nil
	}
	sum, err := a.study.Compiler().Fold(list, of)
	if err != nil {
		return fmt.Errorf("--amount: %w", err)
	}
	measured, err := a.study.Measure(sum, from, to)
	if err != nil {
		return fmt.Errorf("--amount: %w", err)
	}
	a.has, a.money.Kind, a.money.Scale = dimensions, measured.Kind, measured.Scale
	if measured.Kind == schema.Float { // an exact sum needs all of them at once
		return a.field(amount, list+".sum(e, "+of+")")
	}
	a.list = measured
	return nil
}

// field makes a dimension one that an expression says.
func (a *rfm) field(d int, text string) error {
	f, err := a.study.Compiler().Field(text)
	if err == nil {
		a.fields[d] = a.study.Field(f)
	}
	return err
}

// property returns how a property is written in an expression.
func (a *rfm) property(how string) (string, error) {
	if _, err := query.LookupProperty(a.list.Event, how); err != nil {
		return "", fmt.Errorf("--frequency: %w", err)
	}
	if schema.Usable(how) {
		return "e." + how, nil
	}
	return "e[" + strconv.Quote(how) + "]", nil
}

// people are those who are scored; those of one chunk stand together and ascend.
type people struct {
	who    []uint32
	values [dimensions][]int64
	scores [dimensions][]uint8
}

// personBytes is what one of them takes: as a part of a chunk, together with all, sorted by each number.
const personBytes = (4 + 8*dimensions) + (4 + 9*dimensions) + dimensions*(4+2*8)

// part is the people of one chunk.
type part struct {
	unknown uint64 // their amounts are no numbers that fit
	people
}

// read reads the numbers of all.
func (a *rfm) read(ctx context.Context) (*people, query.Answer, error) {
	var readers []*reader
	answer, err := a.study.Each(ctx, func() query.ChunkVisitor {
		r := &reader{rfm: a}
		readers = append(readers, r)
		return r.chunk
	})
	if err != nil {
		return nil, answer, err
	}
	var parts []*part // in any order: what is equal is told by key at last
	for _, r := range readers {
		parts = append(parts, r.parts...)
	}
	n := 0
	for _, p := range parts {
		answer.Unknown += p.unknown
		answer.Errors += p.unknown
		n += len(p.who)
	}
	all := &people{who: make([]uint32, 0, n)}
	for d := range a.has {
		all.values[d], all.scores[d] = make([]int64, 0, n), make([]uint8, n)
	}
	for i, p := range parts {
		all.who = append(all.who, p.who...)
		for d := range a.has {
			all.values[d] = append(all.values[d], p.values[d]...)
		}
		parts[i] = nil
	}
	return all, answer, nil
}

// reader reads the people of chunks.
type reader struct {
	*rfm
	parts []*part
	own   []acts // by person
	met   bitmap.Words
	ords  []uint16
	place []int32 // by person: where in the part
	wrong []bool  // by place: the amount is not known
}

// acts are what the events of one person come to.
type acts struct {
	last  int64
	count int64
	sum   wide
}

func (r *reader) chunk(ctx context.Context, c *query.StudyChunk) error {
	if r.own == nil {
		r.own, r.place = make([]acts, chunkSize), make([]int32, chunkSize)
	}
	clear(r.own)
	r.met.Clear()
	err := c.Events(ctx, r.list, &c.People, func(e *query.StudyEvents) error {
		for i := range e.Len() {
			own := &r.own[e.Who(i)]
			if own.count++; own.count == 1 {
				r.met.SetBit(e.Who(i))
				own.last = e.Time(i)
			}
			own.last = max(own.last, e.Time(i))
		}
		if r.has == amount || r.fields[amount] != nil {
			return nil
		}
		return e.Measures(func(i int, n int64, _ float64) { r.own[e.Who(i)].sum.add(n) })
	})
	if err != nil {
		return err
	}
	set := bitmap.FromWords(&r.met)
	r.ords = set.AppendTo(r.ords[:0])
	n := len(r.ords)
	if n == 0 {
		return nil
	}
	if err := c.Keep(int64(n) * personBytes); err != nil {
		return err
	}
	p := &part{people: people{who: make([]uint32, n)}}
	for d := range r.has {
		p.values[d] = make([]int64, n)
	}
	r.wrong = append(r.wrong[:0], make([]bool, n)...)
	for i, o := range r.ords {
		own := &r.own[o]
		p.who[i], p.values[recency][i], p.values[frequency][i] = uint32(c.Number*chunkSize)+uint32(o), (r.now-own.last)/r.round, own.count
		if r.has > amount {
			p.values[amount][i] = int64(own.sum.low)
			r.wrong[i] = own.sum.high != int64(own.sum.low)>>63
		}
	}
	if err := r.readFields(ctx, c, p, set); err != nil {
		return err
	}
	r.drop(p)
	r.parts = append(r.parts, p)
	return nil
}

// readFields reads what expressions say of the people of a part.
func (r *reader) readFields(ctx context.Context, c *query.StudyChunk, p *part, who bitmap.Set) error {
	for i, o := range r.ords {
		r.place[o] = int32(i)
	}
	for d, field := range r.fields {
		if field == nil {
			continue
		}
		err := c.All(ctx, field, who, func(o uint16, v schema.Value) error {
			i := r.place[o]
			p.values[d][i] = v.Ordered()
			if v.IsAbsent() || v.Kind() == schema.Float && v.Float()-v.Float() != 0 { // an infinity has no place among numbers
				r.wrong[i] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunkSize is how many ordinals a chunk has.
const chunkSize = bitmap.ChunkSize

// drop removes those of a part whose amount is not known.
func (r *reader) drop(p *part) {
	if !slices.Contains(r.wrong, true) {
		return
	}
	n := 0
	for i, wrong := range r.wrong {
		if wrong {
			p.unknown++
			continue
		}
		p.who[n] = p.who[i]
		for d := range r.has {
			p.values[d][n] = p.values[d][i]
		}
		n++
	}
	p.who = p.who[:n]
	for d := range r.has {
		p.values[d] = p.values[d][:n]
	}
}
