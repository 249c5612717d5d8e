package message

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// OfBreakdown writes a breakdown.
func OfBreakdown(b *query.Breakdown) *pb.BreakdownResponse {
	return &pb.BreakdownResponse{Attribute: OfAttribute(&b.Attribute), Other: b.Other, OtherValues: b.OtherValues, People: b.People,
		Memberships: b.Memberships, Withheld: b.Withheld, Answer: OfAnswer(&b.Answer),
		Rows: each(b.Rows, func(r *query.BreakdownRow) *pb.BreakdownRow {
			return &pb.BreakdownRow{Value: OfValue(r.Value), Count: r.Count}
		})}
}

// Breakdown reads a breakdown.
func (r *Reader) Breakdown(m *pb.BreakdownResponse) query.Breakdown {
	return query.Breakdown{Attribute: r.Attribute(m.GetAttribute()), Other: m.GetOther(), OtherValues: m.GetOtherValues(), People: m.GetPeople(),
		Memberships: m.GetMemberships(), Withheld: m.GetWithheld(), Answer: r.Answer(m.GetAnswer()),
		Rows: every(m.GetRows(), func(b *pb.BreakdownRow) query.BreakdownRow {
			return query.BreakdownRow{Value: r.Value(b.GetValue()), Count: b.GetCount()}
		})}
}

// OfProfile writes what is known of one customer.
func OfProfile(p *query.Profile) *pb.ProfileResponse {
	return &pb.ProfileResponse{Key: p.Key, Ordinal: p.Ordinal, Values: OfNamed(p.Values), Computed: OfNamed(p.Computed), Lent: OfNamed(p.Lent),
		Lists: p.Lists, Segments: p.Segments, Events: ofEvents(p.Events), Answer: OfAnswer(&p.Answer),
		Lifetime: each(p.Lifetime, func(l *query.Lifetime) *pb.Lifetime {
			return &pb.Lifetime{Event: l.Event, Count: l.Count, First: OfTime(l.First), Last: OfTime(l.Last),
				Properties: each(l.Properties, func(p *query.LifetimeProperty) *pb.LifetimeProperty {
					return &pb.LifetimeProperty{Name: p.Name, Sum: OfValue(p.Sum), Min: OfValue(p.Min), Max: OfValue(p.Max)}
				})}
		})}
}

// Profile reads what is known of one customer.
func (r *Reader) Profile(m *pb.ProfileResponse) query.Profile {
	return query.Profile{Key: m.GetKey(), Ordinal: m.GetOrdinal(), Values: r.Named(m.GetValues()), Computed: r.Named(m.GetComputed()), Lent: r.Named(m.GetLent()),
		Lists: m.GetLists(), Segments: m.GetSegments(), Events: r.events(m.GetEvents()), Answer: r.Answer(m.GetAnswer()),
		Lifetime: every(m.GetLifetime(), func(l *pb.Lifetime) query.Lifetime {
			return query.Lifetime{Event: l.GetEvent(), Count: l.GetCount(), First: r.Time(l.GetFirst()), Last: r.Time(l.GetLast()),
				Properties: every(l.GetProperties(), func(p *pb.LifetimeProperty) query.LifetimeProperty {
					return query.LifetimeProperty{Name: p.GetName(), Sum: r.Value(p.GetSum()), Min: r.Value(p.GetMin()), Max: r.Value(p.GetMax())}
				})}
		})}
}

func ofEvents(list []query.TimelineEvent) []*pb.TimelineEvent {
	return each(list, func(e *query.TimelineEvent) *pb.TimelineEvent {
		out := &pb.TimelineEvent{Event: e.Event, Time: OfTime(e.Time), Properties: OfNamed(e.Properties)}
		if e.Change != nil {
			out.Change = &pb.Change{From: OfValue(e.Change.From), To: OfValue(e.Change.To)}
		}
		return out
	})
}

func (r *Reader) events(list []*pb.TimelineEvent) []query.TimelineEvent {
	return every(list, func(e *pb.TimelineEvent) query.TimelineEvent {
		out := query.TimelineEvent{Event: e.GetEvent(), Time: r.Time(e.GetTime()), Properties: r.Named(e.GetProperties())}
		if c := e.GetChange(); c != nil {
			out.Change = &query.Change{From: r.Value(c.GetFrom()), To: r.Value(c.GetTo())}
		}
		return out
	})
}

// OfTimeline writes a timeline.
func OfTimeline(t *query.Timeline) *pb.TimelineResponse {
	return &pb.TimelineResponse{Events: ofEvents(t.Events), Next: t.Next, Answer: OfAnswer(&t.Answer)}
}

// Timeline reads a timeline.
func (r *Reader) Timeline(m *pb.TimelineResponse) query.Timeline {
	return query.Timeline{Events: r.events(m.GetEvents()), Next: m.GetNext(), Answer: r.Answer(m.GetAnswer())}
}

// OfValues writes values of an attribute.
func OfValues(list []query.ValueCount) []*pb.ValueCount {
	return each(list, func(v *query.ValueCount) *pb.ValueCount { return &pb.ValueCount{Value: v.Value, Count: v.Count} })
}

// Values reads values of an attribute.
func (r *Reader) Values(list []*pb.ValueCount) []query.ValueCount {
	return every(list, func(v *pb.ValueCount) query.ValueCount {
		return query.ValueCount{Value: v.GetValue(), Count: v.GetCount()}
	})
}

// OfPlan writes a plan.
func OfPlan(p *query.Plan) *pb.PlanResponse {
	return &pb.PlanResponse{Root: ofNode(&p.Root), Count: p.Count, Answer: OfAnswer(&p.Answer), Lent: each(p.Lent, func(l *query.LentCost) *pb.LentCost {
		return &pb.LentCost{Name: l.Name, People: l.People, BytesRead: l.BytesRead, Elapsed: durationpb.New(l.Elapsed)}
	})}
}

// Plan reads a plan.
func (r *Reader) Plan(m *pb.PlanResponse) query.Plan {
	return query.Plan{Root: r.node(m.GetRoot()), Count: m.GetCount(), Answer: r.Answer(m.GetAnswer()), Lent: every(m.GetLent(), func(l *pb.LentCost) query.LentCost {
		return query.LentCost{Name: l.GetName(), People: l.GetPeople(), BytesRead: l.GetBytesRead(), Elapsed: r.Duration(l.GetElapsed())}
	})}
}

// OfExplanation writes an explanation.
func OfExplanation(e *query.Explanation) *pb.ExplainResponse {
	return &pb.ExplainResponse{Root: ofNode(&e.Root), Count: e.Count, Answer: OfAnswer(&e.Answer)}
}

// Explanation reads an explanation.
func (r *Reader) Explanation(m *pb.ExplainResponse) query.Explanation {
	return query.Explanation{Root: r.node(m.GetRoot()), Count: m.GetCount(), Answer: r.Answer(m.GetAnswer())}
}

func ofNode(n *query.PlanNode) *pb.PlanNode {
	e := &n.Events
	return &pb.PlanNode{Label: n.Label, Method: n.Method, Estimate: n.Estimate, Chunks: n.Chunks, Skipped: n.Skipped, Yes: n.True, Unknown: n.Unknown,
		Bytes: n.Bytes, UnknownEvents: n.UnknownEvents, Start: uint32(n.Span.Start), End: uint32(n.Span.End), Computed: n.Computed, Of: each(n.Of, ofNode),
		Events: &pb.EventReads{Parts: e.Parts, OtherParts: e.OtherParts, Blocks: e.Blocks, OtherTimes: e.OtherTimes, OtherPeople: e.OtherPeople,
			OtherValues: e.OtherValues, Facts: e.Facts}}
}

func (r *Reader) node(n *pb.PlanNode) query.PlanNode {
	e := n.GetEvents()
	return query.PlanNode{Label: n.GetLabel(), Method: n.GetMethod(), Estimate: n.GetEstimate(), Chunks: n.GetChunks(), Skipped: n.GetSkipped(), True: n.GetYes(),
		Unknown: n.GetUnknown(), Bytes: n.GetBytes(), UnknownEvents: n.GetUnknownEvents(), Span: query.Span{Start: int(n.GetStart()), End: int(n.GetEnd())},
		Computed: n.GetComputed(), Of: every(n.GetOf(), r.node),
		Events: query.EventReads{Parts: e.GetParts(), OtherParts: e.GetOtherParts(), Blocks: e.GetBlocks(), OtherTimes: e.GetOtherTimes(), OtherPeople: e.GetOtherPeople(),
			OtherValues: e.GetOtherValues(), Facts: e.GetFacts()}}
}

// OfWhy writes what an expression is for one customer.
func OfWhy(w *query.Why) *pb.WhyResponse {
	n := &w.Next
	return &pb.WhyResponse{Key: w.Key, Ordinal: w.Ordinal, Root: ofPart(&w.Root), Answer: OfAnswer(&w.Answer),
		Next: &pb.NextChange{At: OfTime(n.At), To: ofVerdict(n.To), Refused: n.Refused, NotDerivable: n.NotDerivable}}
}

// Why reads what an expression is for one customer.
func (r *Reader) Why(m *pb.WhyResponse) query.Why {
	n := m.GetNext()
	return query.Why{Key: m.GetKey(), Ordinal: m.GetOrdinal(), Root: r.part(m.GetRoot()), Answer: r.Answer(m.GetAnswer()),
		Next: query.NextChange{At: r.Time(n.GetAt()), To: r.verdict(n.GetTo()), Refused: n.GetRefused(), NotDerivable: n.GetNotDerivable()}}
}

func ofVerdict(v query.Verdict) pb.Truth {
	switch {
	case v.Failed:
		return pb.Truth_TRUTH_ERROR
	case v.Truth == query.True:
		return pb.Truth_TRUTH_TRUE
	case v.Truth == query.False:
		return pb.Truth_TRUTH_FALSE
	}
	return pb.Truth_TRUTH_UNKNOWN
}

func (r *Reader) verdict(t pb.Truth) query.Verdict {
	switch t {
	case pb.Truth_TRUTH_FALSE:
		return query.Verdict{Truth: query.False}
	case pb.Truth_TRUTH_TRUE:
		return query.Verdict{Truth: query.True}
	case pb.Truth_TRUTH_ERROR:
		return query.Verdict{Truth: query.Unknown, Failed: true}
	case pb.Truth_TRUTH_UNKNOWN:
		return query.Verdict{Truth: query.Unknown}
	}
	r.fail("a truth of %d", t)
	return query.Verdict{}
}

func ofPart(p *query.WhyPart) *pb.WhyPart {
	return &pb.WhyPart{Text: p.Text, Op: p.Op, Truth: ofVerdict(p.Verdict), Values: OfNamed(p.Values), Of: each(p.Of, ofPart),
		Lists: each(p.Lists, func(l *query.WhyEvents) *pb.WhyEvents {
			return &pb.WhyEvents{List: l.List, Total: l.Total, Unknown: l.Unknown, Events: ofEvents(l.Events)}
		})}
}

func (r *Reader) part(p *pb.WhyPart) query.WhyPart {
	return query.WhyPart{Text: p.GetText(), Op: p.GetOp(), Verdict: r.verdict(p.GetTruth()), Values: r.Named(p.GetValues()), Of: every(p.GetOf(), r.part),
		Lists: every(p.GetLists(), func(l *pb.WhyEvents) query.WhyEvents {
			return query.WhyEvents{List: l.GetList(), Total: l.GetTotal(), Unknown: l.GetUnknown(), Events: r.events(l.GetEvents())}
		})}
}

// OfArguments writes the arguments of an analysis.
func OfArguments(args query.Arguments) map[string]*pb.Strings {
	if args == nil {
		return nil
	}
	out := make(map[string]*pb.Strings, len(args))
	for name, texts := range args {
		out[name] = &pb.Strings{Values: texts}
	}
	return out
}

// Arguments reads the arguments of an analysis.
func (r *Reader) Arguments(m map[string]*pb.Strings) query.Arguments {
	if m == nil {
		return nil
	}
	out := make(query.Arguments, len(m))
	for name, texts := range m {
		out[name] = texts.GetValues()
	}
	return out
}

// OfReport writes the answer of an analysis.
func OfReport(a *query.Report) *pb.AnalyzeResponse {
	return &pb.AnalyzeResponse{Analysis: a.Analysis, Answer: OfAnswer(&a.Answer), Tables: each(a.Tables, func(t *query.ReportTable) *pb.ReportTable {
		return &pb.ReportTable{Name: t.Name,
			Columns: each(t.Columns, func(c *query.ReportColumn) *pb.ReportColumn {
				return &pb.ReportColumn{Name: c.Name, Unit: pb.ReportUnit(c.Unit) + pb.ReportUnit_REPORT_UNIT_TEXT}
			}),
			Rows: each(t.Rows, func(w *query.ReportRow) *pb.ReportRow {
				row := &pb.ReportRow{Cells: w.Cells, Values: make([]*pb.Value, len(w.Values))}
				for i, v := range w.Values {
					row.Values[i] = OfValue(v)
				}
				return row
			})}
	})}
}

// Report reads the answer of an analysis.
func (r *Reader) Report(m *pb.AnalyzeResponse) query.Report {
	return query.Report{Analysis: m.GetAnalysis(), Answer: r.Answer(m.GetAnswer()), Tables: every(m.GetTables(), func(t *pb.ReportTable) query.ReportTable {
		return query.ReportTable{Name: t.GetName(), Columns: every(t.GetColumns(), r.column),
			Rows: every(t.GetRows(), func(w *pb.ReportRow) query.ReportRow {
				return query.ReportRow{Cells: w.GetCells(), Values: every(w.GetValues(), r.Value)}
			})}
	})}
}

func (r *Reader) column(c *pb.ReportColumn) query.ReportColumn {
	if c.GetUnit() < pb.ReportUnit_REPORT_UNIT_TEXT || c.GetUnit() > pb.ReportUnit_REPORT_UNIT_BOOL {
		r.fail("a column of a unit that this version does not know")
		return query.ReportColumn{}
	}
	return query.ReportColumn{Name: c.GetName(), Unit: query.ReportUnit(c.GetUnit() - pb.ReportUnit_REPORT_UNIT_TEXT)}
}
