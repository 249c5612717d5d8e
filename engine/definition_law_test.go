package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestDefinitionLaws: what a definition lends to expressions is what its analysis says, cell by
// cell and person by person, and what is made of it is what CEL's interpreter makes of that.
func TestDefinitionLaws(t *testing.T) {
	t.Parallel()
	const seed = 5
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC()}
	m.open()
	defer func() { _ = m.db.Close() }()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
	})
	steps := 24
	if testing.Short() {
		steps = 10
	}
	l := &definitionLaw{rfmLaw: rfmLaw{actModel: m}, saved: map[string]batch.Definition{}}
	for step := range steps {
		l.step = fmt.Sprint("step ", step)
		if m.r.IntN(3) == 0 {
			m.set(m.now.Add(time.Duration(m.r.IntN(48)) * time.Hour))
		}
		switch m.r.IntN(10) {
		case 0:
			m.compact(l.step)
		case 1:
			m.remove()
		case 2:
			m.reopen()
		}
		for range 3 {
			m.write()()
		}
		if step%2 == 0 {
			l.save(pickOne(m, "one", "two"))
		}
		if len(l.saved) > 0 {
			l.check()
		}
	}
	t.Logf("%d values, %d true, %d false, %d unknown", l.values, l.truths[query.True], l.truths[query.False], l.truths[query.Unknown])
	if l.values < 60*steps || min(l.truths[query.True], l.truths[query.False], l.truths[query.Unknown]) < 15*steps {
		t.Error("too little was compared")
	}
}

// definitionLaw asks at a step of a story.
type definitionLaw struct {
	rfmLaw
	saved  map[string]batch.Definition
	at     time.Time
	lent   map[string]map[string]schema.Value // by field and key: what the cells of the analyses say
	values int
	truths [3]int
}

// save saves a definition, and sees to it that it is refused only if its analysis is.
func (l *definitionLaw) save(name string) {
	l.t.Helper()
	d := batch.Definition{Analysis: "rfm", Name: name}
	d.Who, _, d.Arguments = l.random()
	if len(l.saved) == 2 && name == "two" && l.r.IntN(2) == 0 {
		d.Who = pickOne(l.actModel, `rfm("one").r >= 2`, `has(rfm("one").segment) && `+l.condition())
	}
	for _, p := range []string{"recency-by", "frequency-by", "amount-by"} {
		if p != "amount-by" || d.Arguments["amount"] != nil {
			d.Arguments[p] = []string{pickOne(l.actModel, "quantile", "quantile+1", "rank")}
		}
	}
	_, ok := l.ask(d.Who, d.Arguments)
	b := batch.New()
	b.SaveDefinition(&d)
	raw, err := b.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err = l.db.Apply(l.t.Context(), raw); (err == nil) != ok {
		l.t.Fatalf("%s: %+v: it is saved: %v; it can be asked: %v", l.step, d, err, ok)
	}
	if ok {
		l.saved[name] = d
	}
}

// check compares all that is lent at some instant.
func (l *definitionLaw) check() {
	l.t.Helper()
	l.at = l.now.Add(-time.Duration(l.r.IntN(20)) * 24 * time.Hour).Truncate(time.Millisecond)
	l.lent = map[string]map[string]schema.Value{}
	for _, name := range slices.Sorted(maps.Keys(l.saved)) {
		l.cells(name)
	}
	s := l.db.acquire()
	defer s.era.release()
	people := l.people(s)
	l.columns(people)
	for range 6 {
		l.expression(s, people)
	}
	l.segment(s, people)
}

// cells reads who is in the cells of an analysis, and compares each cell with the expression
// that says the same.
func (l *definitionLaw) cells(name string) {
	l.t.Helper()
	d := l.saved[name]
	o := query.Options{Now: l.at}
	r, err := l.db.Analyze(l.t.Context(), "rfm", d.Who, d.Arguments, &o)
	if err != nil {
		l.t.Fatalf("%s: %v", l.step, err)
	}
	call := fmt.Sprintf("rfm(%q)", name)
	for _, table := range r.Tables[:len(r.Tables)-1] {
		for _, row := range table.Rows {
			cell := row.Cells[0]
			same, has := fmt.Sprintf("%s.segment == %q", call, cell), map[string]schema.Value{"segment": schema.StringValue(cell)}
			var x, y int64
			if n, _ := fmt.Sscanf(cell, "r%df%d", &x, &y); n == 2 {
				same, has = fmt.Sprintf("%s.r == %d && %s.f == %d", call, x, call, y), map[string]schema.Value{"r": schema.IntValue(x), "f": schema.IntValue(y)}
			} else if n, _ := fmt.Sscanf(cell, "m%d", &x); n == 1 {
				same, has = fmt.Sprintf("%s.m == %d", call, x), map[string]schema.Value{"m": schema.IntValue(x)}
			}
			in := l.keysOf(l.db.AnalysisMembers(l.t.Context(), "rfm", d.Who, d.Arguments, cell, &query.MembersOptions{Options: o}))
			got := l.keysOf(l.db.Members(l.t.Context(), same, &query.MembersOptions{Options: o}))
			count, err := l.db.Count(l.t.Context(), same, &o)
			if err != nil || !slices.Equal(in, got) || count.Count != uint64(len(in)) {
				l.t.Fatalf("%s, now %v: %+v: cell %s has %q, %s has %q and counts %d (%v)", l.step, l.at, d, cell, in, same, got, count.Count, err)
			}
			for field, v := range has {
				by := l.lent[call+"."+field]
				if by == nil {
					by = map[string]schema.Value{}
					l.lent[call+"."+field] = by
				}
				for _, key := range in {
					by[key] = v
				}
			}
		}
	}
}

// columns compares values in listings, profiles and breakdowns.
func (l *definitionLaw) columns(people map[string]map[schema.EventID][]query.Act) {
	l.t.Helper()
	o := query.Options{Now: l.at}
	fields := slices.Sorted(maps.Keys(l.lent))
	by := l.r.IntN(len(fields))
	m, err := l.db.Members(l.t.Context(), "true", &query.MembersOptions{Options: o, Attributes: fields, OrderBy: fields[by]})
	if err != nil {
		l.t.Fatal(err)
	}
	counts := make([]map[string]uint64, len(fields))
	one, last := l.key(), schema.Value{}
	for row, err := range m.Rows {
		if err != nil {
			l.t.Fatal(err)
		}
		v := row.Values[by]
		if last.IsAbsent() && !v.IsAbsent() && len(counts[by]) > 0 || !v.IsAbsent() && cmp.Or(cmp.Compare(last.Ordered(), v.Ordered()), cmp.Compare(last.Str(), v.Str())) > 0 {
			l.t.Fatalf("%s, now %v: by %s, %v comes behind %v", l.step, l.at, fields[by], v, last)
		}
		last = v
		var own []query.AttributeValue
		for i, field := range fields {
			v := row.Values[i]
			if want := l.lent[field][row.Key]; !v.Equal(want) {
				l.t.Fatalf("%s, now %v: %s has %s %v, want %v", l.step, l.at, row.Key, field, v, want)
			}
			if counts[i] == nil {
				counts[i] = map[string]uint64{}
			}
			if counts[i][v.String()]++; !v.IsAbsent() {
				l.values++
				own = append(own, query.AttributeValue{Name: field, Value: v})
			}
		}
		if row.Key == one {
			p, err := l.db.Profile(l.t.Context(), one, &query.ProfileOptions{Options: o, Lent: true})
			slices.SortFunc(p.Lent, func(a, b query.AttributeValue) int { return strings.Compare(a.Name, b.Name) })
			if err != nil || fmt.Sprint(p.Lent) != fmt.Sprint(own) {
				l.t.Fatalf("%s, now %v: the profile of %s says %v, the listing %v (%v)", l.step, l.at, one, p.Lent, own, err)
			}
		}
	}
	if len(people) == 0 {
		return
	}
	i := l.r.IntN(len(fields))
	b, err := l.db.Breakdown(l.t.Context(), "true", fields[i], &query.BreakdownOptions{Options: o})
	if err != nil {
		l.t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, row := range b.Rows {
		got[row.Value.String()] = row.Count
	}
	if !maps.Equal(got, counts[i]) || b.People != uint64(len(people)) {
		l.t.Fatalf("%s, now %v: by %s: %v, want %v", l.step, l.at, fields[i], got, counts[i])
	}
}

// lentCondition makes an expression over what is lent, and events.
func (l *definitionLaw) lentCondition(depth int) string {
	if depth > 0 && l.r.IntN(3) > 0 {
		a, b := l.lentCondition(depth-1), l.lentCondition(depth-1)
		return pickOne(l.actModel, "!("+a+")", "("+a+" && "+b+")", "("+a+" || "+b+")", "("+a+" ? "+b+" : "+l.lentCondition(depth-1)+")")
	}
	fields := slices.Sorted(maps.Keys(l.lent))
	field := pickOne(l.actModel, fields...)
	op := pickOne(l.actModel, " == ", " != ", " < ", " <= ", " > ", " >= ")
	if strings.HasSuffix(field, ".segment") {
		return pickOne(l.actModel, field+op+pickOne(l.actModel, `"one"`, `"two"`, `"nonsense"`), "has("+field+")", field+` in ["three", "one"]`,
			field+`.contains("e")`, `(`+field+` + "!") == "two!"`)
	}
	other := field
	for strings.HasSuffix(other, field) || strings.HasSuffix(other, ".segment") {
		if other = pickOne(l.actModel, fields...); other == field {
			break
		}
	}
	if strings.HasSuffix(other, ".segment") {
		other = field
	}
	return pickOne(l.actModel, field+op+pickOne(l.actModel, "0", "1", "2", "3", "2.5", "300"), "has("+field+")", field+" in [1, 3]", field+op+other,
		field+" + "+other+" > 4", "6 / ("+field+" - 1) >= "+other, "look.count() >= "+field, l.condition(), "look.filter(e, "+field+" > 1).any()")
}

// expression compares an expression with the interpreter.
func (l *definitionLaw) expression(s *state, people map[string]map[schema.EventID][]query.Act) {
	l.t.Helper()
	text := l.lentCondition(2)
	truths := l.interpreted(s, text, people)
	got := l.truthOf(text)
	for key := range people {
		l.truths[truths[key]]++
		if got[key] != truths[key] {
			l.t.Fatalf("%s, now %v: %s is %v of %s, the interpreter says %v", l.step, l.at, text, got[key], key, truths[key])
		}
	}
	if key := l.key(); people[key] != nil {
		w, err := l.db.Why(l.t.Context(), key, text, &query.WhyOptions{Options: query.Options{Now: l.at}})
		if err != nil || w.Root.Truth != truths[key] {
			l.t.Fatalf("%s, now %v: why %s of %s: %v (%v), the interpreter says %v", l.step, l.at, text, key, w.Root.Verdict, err, truths[key])
		}
		if strings.Contains(text, "rfm(") && w.Next.NotDerivable == "" && !w.Next.At.IsZero() {
			l.t.Fatalf("%s: %s of %s: it was said when it changes: %+v", l.step, text, key, w.Next)
		}
	}
}

// interpreted evaluates an expression with CEL's interpreter over what the cells say.
func (l *definitionLaw) interpreted(s *state, text string, people map[string]map[schema.EventID][]query.Act) map[string]query.Truth {
	l.t.Helper()
	env := query.Env{Now: l.at}
	expr, err := l.db.compiler.Compile(text, s.catalog(), env)
	if err != nil {
		l.t.Fatalf("%s: %s: %v", l.step, text, err)
	}
	out := map[string]query.Truth{}
	for key, acts := range people {
		out[key], _ = expr.Interpret(func(id schema.AttrID) schema.Value { return l.lent[s.Schema.ByID(id).Name][key] },
			func(id schema.EventID) []query.Act { return acts[id] }, func(string) bool { return false }, env)
	}
	return out
}

// truthOf asks the store for whom an expression is true, and for whom it is false.
func (l *definitionLaw) truthOf(text string) map[string]query.Truth {
	l.t.Helper()
	o := &query.MembersOptions{Options: query.Options{Now: l.at}}
	out := map[string]query.Truth{}
	for _, key := range l.keysOf(l.db.Members(l.t.Context(), "true", o)) {
		out[key] = query.Unknown
	}
	for _, key := range l.keysOf(l.db.Members(l.t.Context(), text, o)) {
		out[key] = query.True
	}
	for _, key := range l.keysOf(l.db.Members(l.t.Context(), "!("+text+")", o)) {
		out[key] = query.False
	}
	return out
}

// segment saves a condition as a segment and asks who is in it: all together, in a profile,
// and at another instant after it was asked at this one.
func (l *definitionLaw) segment(s *state, people map[string]map[schema.EventID][]query.Act) {
	l.t.Helper()
	text := fmt.Sprintf("rfm(%q).r >= %d || %s", pickOne(l.actModel, slices.Sorted(maps.Keys(l.saved))...), 1+l.r.IntN(3), l.condition())
	truths := l.interpreted(s, text, people)
	l.apply(func(b *batch.Builder) { b.SaveSegment("lent", text) })
	got := l.truthOf(`in_segment("lent")`)
	for key := range people {
		if got[key] != truths[key] {
			l.t.Fatalf("%s, now %v: segment %s is %v of %s, the interpreter says %v", l.step, l.at, text, got[key], key, truths[key])
		}
	}
	if key := l.key(); people[key] != nil {
		p, err := l.db.Profile(l.t.Context(), key, &query.ProfileOptions{Options: query.Options{Now: l.at}})
		if err != nil || slices.Contains(p.Segments, "lent") != (truths[key] == query.True) {
			l.t.Fatalf("%s, now %v: %s is in %q (%v), of %s the interpreter says %v", l.step, l.at, key, p.Segments, err, text, truths[key])
		}
	}
	l.apply(func(b *batch.Builder) { b.DropSegment("lent") })
}

// TestStoredDefinition: what is stored of a definition is read as it was written; what cannot be
// is damage, and what this version does not know comes from a newer one.
func TestStoredDefinition(t *testing.T) {
	of := batch.Definition{Analysis: "rfm", Name: "orders", Who: "vip", Arguments: query.Arguments{"event": {"buy"}, "bins": {"3"}}}
	d, err := newDefinition(&of, query.Position{Epoch: 2, Applied: 300})
	if err != nil {
		t.Fatal(err)
	}
	stored := appendDefinition(nil, d)
	got, err := readDefinition("rfm", "orders", stored)
	if err != nil || fmt.Sprintf("%+v", got.Definition) != fmt.Sprintf("%+v", of) || got.saved != d.saved || fmt.Sprint(got.args) != fmt.Sprint(d.args) || len(got.lent.Fields) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range stored {
		if _, err := readDefinition("rfm", "orders", stored[:n]); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for _, analysis := range []string{"nonsense", "trend"} {
		if _, err := readDefinition(analysis, "orders", stored); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
			t.Errorf("%s: %v", analysis, err)
		}
	}
	of.Arguments["later"] = []string{"x"}
	if _, err := readDefinition("rfm", "orders", of.AppendArguments(appendPosition(nil, d.saved))); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("a parameter of a later version: %v", err)
	}
}
