package engine

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file has the questions that are asked of a snapshot under a policy and of a store that
// has nothing else. An answer is a text of all that it says.

// expression makes an expression that may name whatever there was, and some things that there
// never were.
func (s *policyStory) expression() string {
	switch s.r.IntN(10) {
	case 0:
		return "!(" + s.expression() + ")"
	case 1, 2:
		return "(" + s.expression() + pickOne(s.actModel, " && ", " || ") + s.expression() + ")"
	case 3:
		return s.named1()
	case 4, 5, 6:
		return s.condition()
	}
	return s.fact()
}

// named1 makes a condition by the name of something that is saved.
func (s *policyStory) named1() string {
	if len(s.named) == 0 || s.r.IntN(4) == 0 {
		return pickOne(s.actModel, `in_list("staff")`, `in_list("guests")`, `in_list("stuff")`, `in_segment("name 99")`, `contry == "country 1"`, `p["name 9"] == true`, "bye.any()")
	}
	switch x := pickOne(s.actModel, s.named...); x.kind {
	case "segment":
		return fmt.Sprintf("in_segment(%q)", x.name)
	case "attribute":
		return fmt.Sprintf("has(p[%q])", x.name)
	default:
		return fmt.Sprintf("rfm(%q)", x.name) + pickOne(s.actModel, `.segment == "some"`, ".r >= 2", ".f == 1")
	}
}

// fact makes a condition on an attribute.
func (s *policyStory) fact() string {
	a := pickOne(s.actModel, policyAttributes()...)
	if s.r.IntN(8) == 0 {
		return "has(p." + a.Name + ")"
	}
	v := s.draw(&a, s.key())
	compare := a.Name + pickOne(s.actModel, " == ", " != ", " < ", " >= ")
	switch a.Kind {
	case schema.Int, schema.Decimal, schema.Float:
		text := v.String()
		if a.Kind == schema.Float && !strings.Contains(text, ".") {
			text += ".0"
		}
		return pickOne(s.actModel, compare+text, a.Name+" + "+a.Name+" > "+text)
	case schema.Date:
		return fmt.Sprintf("%sdate(%q)", compare, v)
	case schema.Timestamp:
		return fmt.Sprintf("%stimestamp(%q)", compare, v)
	case schema.Bool:
		return pickOne(s.actModel, a.Name, "!"+a.Name)
	case schema.Set:
		return pickOne(s.actModel, `"t1" in likes`, `likes.hasAny(["t2", "z"])`, `likes.hasAll(["t0", "t1"])`, `size(likes) > 2`)
	}
	return pickOne(s.actModel, fmt.Sprintf("%s == %q", a.Name, v.Str()), fmt.Sprintf("%s in [%q, %q]", a.Name, v.Str(), s.draw(&a, s.key()).Str()),
		fmt.Sprintf("%s.startsWith(%q)", a.Name, v.Str()[:2]), fmt.Sprintf("%s.contains(%q)", a.Name, v.Str()[1:]), fmt.Sprintf("%s < %q", a.Name, v.Str()))
}

// column makes the name of something that a listing may show, or a breakdown count.
func (s *policyStory) column() string {
	if len(s.named) > 0 && s.r.IntN(4) == 0 {
		x := pickOne(s.actModel, s.named...)
		if x.kind == "definition" {
			return fmt.Sprintf("rfm(%q).", x.name) + pickOne(s.actModel, "segment", "r")
		}
		return x.name
	}
	if s.r.IntN(20) == 0 {
		return pickOne(s.actModel, "contry", "emails", "nonsense")
	}
	return pickOne(s.actModel, policyAttributes()...).Name
}

// options makes an instant: now, or before.
func (s *policyStory) pastOptions() query.Options {
	if s.r.IntN(2) == 0 {
		return query.Options{}
	}
	return query.Options{Now: s.now.Add(-time.Duration(s.r.IntN(25*24)) * time.Hour)}
}

// policyQuestion asks one thing. Whatever it draws it has drawn before.
type policyQuestion struct {
	kind, text string
	past       bool
	columns    []string // of a listing, or what a timeline is of
	ask        func(of query.Snapshot) (any, error)
}

// question makes a question of a kind.
func (s *policyStory) question(kind string) policyQuestion {
	ctx, o, expr := s.t.Context(), s.pastOptions(), s.expression()
	q := policyQuestion{kind: kind, text: fmt.Sprintf("%s at %v", expr, o.Now), past: !o.Now.IsZero()}
	switch kind {
	case "count":
		q.ask = func(of query.Snapshot) (any, error) { return answered(of.Count(ctx, expr, &o)) }
	case "bitmap":
		q.ask = func(of query.Snapshot) (any, error) { return bitmapKeys(s, of, expr, &o) }
	case "members":
		return s.membersQuestion(q, expr, o)
	case "breakdown":
		by, top := s.column(), s.r.IntN(4)
		q.text += " by " + by
		q.ask = func(of query.Snapshot) (any, error) {
			return answered(of.Breakdown(ctx, expr, by, &query.BreakdownOptions{Options: o, Top: top}))
		}
	case "values":
		name, prefix := s.column(), pickOne(s.actModel, "", "", "c", "t", "k1", "2")
		q.text = name + " " + prefix
		q.ask = func(of query.Snapshot) (any, error) { return answered(of.Values(ctx, name, prefix, 0)) }
	case "profile":
		key := s.key()
		q.text = fmt.Sprintf("%s at %v", key, o.Now)
		po := query.ProfileOptions{Options: o, Lifetime: true, Lent: s.r.IntN(2) == 0, Events: 1000}
		q.ask = func(of query.Snapshot) (any, error) { return answered(of.Profile(ctx, key, &po)) }
	case "profile by":
		a := pickOne(s.actModel, policyAttributes()...)
		for range 9 {
			if !a.Unique {
				a = pickOne(s.actModel, policyAttributes()...)
			}
		}
		v := s.draw(&a, s.key()).String()
		if a.Unique && s.r.IntN(4) > 0 {
			v = s.held(a.Name)
		}
		q.text = a.Name + " " + v
		q.ask = func(of query.Snapshot) (any, error) { return answered(of.ProfileBy(ctx, a.Name, v, nil)) }
	case "timeline":
		key, names, limit := s.key(), []string(nil), []int{2, 1000}[s.r.IntN(2)]
		if s.r.IntN(2) == 0 {
			names = []string{pickOne(s.actModel, "buy", "look", "country", "likes", "age", "bye")}
		}
		q.text, q.columns = fmt.Sprintf("%s %v %d at %v", key, names, limit, o.Now), names
		q.ask = func(of query.Snapshot) (any, error) { return wholeTimeline(s, of, key, names, limit, o) }
	case "why":
		wo, key := query.WhyOptions{Options: o}, s.key()
		q.text = key + " " + q.text
		q.ask = func(of query.Snapshot) (any, error) { return answered(of.Why(ctx, key, expr, &wo)) }
	case "schema":
		q.ask = func(of query.Snapshot) (any, error) {
			sch, err := of.Schema(ctx)
			return []any{sch.Names(), sch.Attributes, sch.Events, sch.Lent, sch.Computed}, err
		}
	default:
		return s.analysisQuestion(q, expr, o)
	}
	return q
}

// held returns a value that somebody has of an attribute.
func (s *policyStory) held(name string) string {
	s.t.Helper()
	m, err := s.db.Members(s.t.Context(), "has(p."+name+")", &query.MembersOptions{Attributes: []string{name}})
	if err != nil {
		s.t.Fatal(err)
	}
	rows, err := listed(m)
	if err != nil || len(rows) == 0 {
		s.t.Fatalf("nobody has an %s: %v", name, err)
	}
	values, _ := rows[2*s.r.IntN(len(rows)/2)+1].([]schema.Value)
	return values[0].String()
}

func (s *policyStory) membersQuestion(q policyQuestion, expr string, o query.Options) policyQuestion {
	mo := query.MembersOptions{Options: o, Desc: s.r.IntN(2) == 0}
	for range s.r.IntN(4) {
		mo.Attributes = append(mo.Attributes, s.column())
	}
	if s.r.IntN(2) == 0 {
		mo.OrderBy = s.column()
	}
	if s.r.IntN(5) == 0 {
		mo.AfterKey = s.key()
	}
	if s.r.IntN(2) == 0 {
		mo.Limit = 1 + s.r.IntN(12)
	}
	q.text, q.columns = fmt.Sprintf("%s %+v", expr, mo), mo.Attributes
	q.ask = func(of query.Snapshot) (any, error) { return wholeListing(s, of, expr, mo) }
	return q
}

// wholeListing reads all pages.
func wholeListing(s *policyStory, of query.Snapshot, expr string, o query.MembersOptions) (any, error) {
	var out []any
	for {
		m, err := of.Members(s.t.Context(), expr, &o)
		if err != nil {
			return nil, err
		}
		rows, err := listed(m)
		out = append(out, rows, m.Total, m.Answer, m.Attributes)
		if o.After, o.AfterKey = m.Next(), ""; err != nil || o.After == "" {
			return out, err
		}
	}
}

// listed reads a listing; ordinals are of its store only.
func listed(m query.Members) (out []any, err error) {
	for row, err := range m.Rows {
		if err != nil {
			return nil, err
		}
		out = append(out, row.Key, row.Values)
	}
	return out, nil
}

func bitmapKeys(s *policyStory, of query.Snapshot, expr string, o *query.Options) (any, error) {
	b, err := of.Bitmap(s.t.Context(), expr, o)
	if err != nil {
		return nil, err
	}
	m, err := of.Members(s.t.Context(), "true", nil)
	if err != nil {
		return nil, err
	}
	var keys []string
	for row, err := range m.Rows {
		if err != nil {
			return nil, err
		}
		if b.Ordinals.Contains(row.Ordinal) {
			keys = append(keys, row.Key)
		}
	}
	if uint64(len(keys)) != b.Ordinals.GetCardinality() {
		return nil, errors.New("there are ordinals of nobody")
	}
	return keys, nil
}

// wholeTimeline reads all pages. Where they are cut depends on what is masked in them.
func wholeTimeline(s *policyStory, of query.Snapshot, key string, names []string, limit int, o query.Options) (any, error) {
	out := query.Timeline{}
	to := &query.TimelineOptions{Options: o, Events: names, Limit: limit}
	for {
		t, err := of.Timeline(s.t.Context(), key, to)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, t.Events...)
		if to.After = t.Next; to.After == "" {
			return out, nil
		}
	}
}

// policyAnalyses are the kinds of analyses, and what they are asked with.
func (s *policyStory) analysisArguments(name string) query.Arguments {
	list := func() string { l, _ := s.events(); return l }
	maybe := func(a query.Arguments, parameter string, texts ...string) query.Arguments {
		if s.r.IntN(2) == 0 {
			a[parameter] = texts
		}
		return a
	}
	switch name {
	case "trend":
		return maybe(maybe(query.Arguments{"event": {list()}, "measure": {pickOne(s.actModel, "count", "people")}}, "by", pickOne(s.actModel, "country", "e.item", "e.gift", "age")), "compare", "previous")
	case "breakdown":
		return maybe(query.Arguments{"by": {s.column(), pickOne(s.actModel, "active", "country", list()+".count()")}}, "of", pickOne(s.actModel, "age", "ltv", "score"))
	case "compare":
		return maybe(maybe(query.Arguments{"min-people": {"1"}, "ranges": {"2"}}, "base", s.expression()), "of", "country", pickOne(s.actModel, "likes", "age", "buy", "active"))
	case "rfm":
		return maybe(maybe(query.Arguments{"event": {list()}, "bins": {"3"}, "map": {`r1-3f1-3=some`}}, "amount", "e.amount"), "since", "1970-03-20")
	case "funnel":
		return maybe(maybe(query.Arguments{"step": {list(), list()}, "within": {"20d"}}, "by", pickOne(s.actModel, "country", "e.item")), "hold", "item")
	case "retention":
		return maybe(query.Arguments{pickOne(s.actModel, "first", "first", "since"): {list()}, "return": {list()}, "per": {"day"}, "cohorts": {"20"}}, "show", "lifecycle")
	case "path":
		return maybe(maybe(query.Arguments{"after": {list()}, "within": {"9d"}}, "label", "buy.item"), "count", "every")
	case "basket":
		return maybe(query.Arguments{"event": {list()}, "item": {pickOne(s.actModel, "item", "tags")}, "min-baskets": {"1"}}, "gap", "9d")
	}
	return maybe(query.Arguments{"set": {s.expression(), s.expression(), s.fact()}}, "at", "1970-04-01")
}

func (s *policyStory) analysisQuestion(q policyQuestion, expr string, o query.Options) policyQuestion {
	name, args, k := q.kind, s.analysisArguments(q.kind), s.r.IntN(1000)
	if s.r.IntN(3) > 0 {
		expr = ""
	}
	mo := query.MembersOptions{Options: o}
	for range s.r.IntN(3) {
		mo.Attributes = append(mo.Attributes, s.column())
	}
	q.text, q.columns, q.past = fmt.Sprintf("%s %v at %v", expr, args, o.Now), mo.Attributes, !o.Now.IsZero()
	q.ask = func(of query.Snapshot) (any, error) {
		r, err := of.Analyze(s.t.Context(), name, expr, args, &o)
		if err != nil {
			return nil, err
		}
		var cells []string
		for _, t := range r.Tables {
			for _, row := range t.Rows {
				cells = append(cells, row.Cells...)
			}
		}
		if len(cells) == 0 {
			return []any{r}, nil
		}
		m, err := of.AnalysisMembers(s.t.Context(), name, expr, args, cells[k%len(cells)], &mo)
		if err != nil {
			return []any{r, err.Error()}, nil
		}
		rows, err := listed(m)
		return []any{r, rows, m.Answer}, err
	}
	return q
}

func answered[T any](v T, err error) (any, error) { return v, err }

// say writes all that an answer says, but what is its store's own. hides says what is masked
// in one of two answers and not there in the other: names of attributes and events, and
// event and property with a dot between.
func say(v any, hides map[string]bool) string {
	var out strings.Builder
	(&sayer{&out, hides}).value(reflect.ValueOf(v))
	return out.String()
}

type sayer struct {
	out   *strings.Builder
	hides map[string]bool
}

func (s *sayer) value(v reflect.Value) {
	if !v.IsValid() {
		return
	}
	switch x := v.Interface().(type) {
	case schema.Value:
		fmt.Fprintf(s.out, "%v(%s)", x.Kind(), x)
		return
	case time.Time:
		s.out.WriteString(x.Format(time.RFC3339Nano))
		return
	case []query.AttributeValue:
		x = slices.DeleteFunc(slices.Clone(x), func(v query.AttributeValue) bool { return s.hides[v.Name] })
		v = reflect.ValueOf(x)
	case []query.TimelineEvent:
		s.timeline(x)
		return
	case query.Answer:
		x.Current = slices.DeleteFunc(slices.Clone(x.Current), func(name string) bool { return s.hides[name] })
		x.Position, x.Elapsed, x.BytesRead = query.Position{}, 0, 0
		fmt.Fprintf(s.out, "%+v", x)
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			s.value(v.Elem())
		}
	case reflect.Slice:
		s.out.WriteString("[")
		for i := range v.Len() {
			s.value(v.Index(i))
			s.out.WriteString(" ")
		}
		s.out.WriteString("]")
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Ordinal" && f.Type.Kind() != reflect.Func {
				s.out.WriteString(" " + f.Name + "=")
				s.value(v.Field(i))
			}
		}
	default:
		fmt.Fprintf(s.out, "%v", v.Interface())
	}
}

// timeline says events. If something is masked those of one time stand in another order.
func (s *sayer) timeline(events []query.TimelineEvent) {
	var lines []string
	for _, e := range events {
		if s.hides[e.Event] {
			continue
		}
		e.Properties = slices.DeleteFunc(slices.Clone(e.Properties), func(p query.AttributeValue) bool { return s.hides[e.Event+"."+p.Name] })
		line := fmt.Sprintf("%s %s", e.Time.Format(time.RFC3339Nano), e.Event)
		for _, p := range e.Properties {
			line += fmt.Sprintf(" %s=%s", p.Name, p.Value)
		}
		if e.Change != nil {
			line += fmt.Sprintf(" %s->%s", e.Change.From, e.Change.To)
		}
		lines = append(lines, line)
	}
	if len(s.hides) > 0 {
		slices.Sort(lines)
	}
	s.out.WriteString(strings.Join(lines, "\n"))
}
