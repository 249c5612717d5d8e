package engine

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// What a store says of its events is held against CEL's interpreter over the model's list.

// ask compares the answers to some random expressions over the events.
func (m *actModel) ask(name string) {
	m.t.Helper()
	texts := [4]string{m.condition(), m.condition(), m.condition(), m.condition()}
	m.define("asked", texts[0])
	r := m.r
	m.r = rand.New(rand.NewPCG(uint64(m.asked), 5)) // the story of a seed stays what it is
	worked := m.value()
	m.r = r
	m.define("worked", worked)
	s := m.db.acquire()
	defer s.era.release()
	people := m.people(s)
	for i, text := range texts {
		env := query.Env{Now: m.now.Add(-time.Duration(m.r.IntN(20)) * 24 * time.Hour).Truncate(time.Millisecond)}
		expr, err := m.db.compiler.Compile(text, s.catalog(), env)
		if err != nil {
			m.t.Fatalf("%s: %s: %v", name, text, err)
		}
		yes, unknown, truths := []string{}, uint64(0), map[string]query.Truth{}
		for _, key := range slices.Sorted(maps.Keys(people)) {
			truth, _ := expr.Interpret(func(schema.AttrID) schema.Value { return schema.Value{} },
				func(id schema.EventID) []query.Act { return people[key][id] }, func(string) bool { return false }, env)
			truths[key] = truth
			switch truth {
			case query.True:
				yes = append(yes, key)
			case query.Unknown:
				unknown++
			}
		}
		if key := m.key(); people[key] != nil {
			m.why(s, text, key, people[key], env.Now)
			m.lifetime(s, key, people[key], env.Now)
			m.recent(s, key, env.Now)
		}
		if i == 0 {
			m.computed(name, text, truths, env)
			if !testing.Short() || m.asked%16 == 0 {
				m.worked(name, env)
				m.worked(name, query.Env{Now: env.Now.AddDate(0, 0, -9)})
			}
			text = "asked"
		}
		count, err := m.db.Count(m.t.Context(), text, &query.Options{Now: env.Now})
		if err != nil {
			m.t.Fatalf("%s: %s: %v", name, text, err)
		}
		members, err := m.db.Members(m.t.Context(), text, &query.MembersOptions{Options: query.Options{Now: env.Now}})
		if err != nil {
			m.t.Fatal(err)
		}
		got := []string{}
		for row, err := range members.Rows {
			if err != nil {
				m.t.Fatal(err)
			}
			got = append(got, row.Key)
		}
		slices.Sort(got)
		m.asked++
		if count.Count != uint64(len(yes)) || count.Unknown != unknown || !slices.Equal(got, yes) {
			m.t.Fatalf("%s, now %v: %s\n%d people, unknown for %d: %q\nthe interpreter: %d, unknown for %d: %q", name, env.Now, text, count.Count, count.Unknown, got, len(yes), unknown, yes)
		}
	}
}

// define makes a computed attribute, or gives it another expression.
func (m *actModel) define(name, text string) {
	m.t.Helper()
	sch, err := m.db.Schema(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	c := schema.Change{Op: schema.AddComputed, Name: name, Text: text}
	if was := sch.LookupComputed(name); was != nil && was.Text == text {
		return
	} else if was != nil {
		c.Op = schema.SetComputed
	}
	m.apply(func(b *batch.Builder) { b.Change(c) })
}

// computed compares the values of the computed attribute asked, in a listing and a breakdown.
func (m *actModel) computed(name, text string, want map[string]query.Truth, env query.Env) {
	m.t.Helper()
	o := query.Options{Now: env.Now}
	members, err := m.db.Members(m.t.Context(), "true", &query.MembersOptions{Options: o, Attributes: []string{"asked"}})
	if err != nil {
		m.t.Fatal(err)
	}
	counts := map[string]uint64{}
	for row, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		v := row.Values[0]
		is := query.Unknown
		if v.Kind() == schema.Bool && v.Bool() {
			is = query.True
		} else if v.Kind() == schema.Bool {
			is = query.False
		}
		if is != want[row.Key] {
			m.t.Fatalf("%s, now %v: %s is %v of %s, the interpreter says %d", name, env.Now, text, v, row.Key, want[row.Key])
		}
		counts[v.String()]++
	}
	b, err := m.db.Breakdown(m.t.Context(), "true", "asked", &query.BreakdownOptions{Options: o})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range b.Rows {
		if counts[r.Value.String()] != r.Count {
			m.t.Fatalf("%s, now %v: by %s: %+v, want %v", name, env.Now, text, b, counts)
		}
		delete(counts, r.Value.String())
	}
	if len(counts) > 0 {
		m.t.Fatalf("%s, now %v: by %s nobody has %v: %+v", name, env.Now, text, counts, b)
	}
}

// value makes an expression with a value of some kind.
func (m *actModel) value() string {
	list, event := m.events()
	out := list + ".count()"
	if event == "buy" {
		out = pickOne(m, out, list+".sum(e, e.amount)", list+".avg(e, e.amount)", list+".last().amount", list+".last().ts", list+".first().item", "100 / "+out)
	}
	switch m.r.IntN(4) {
	case 0:
		return out
	case 1:
		return m.condition() + ` ? "many" : ` + m.condition() + ` ? "some" : "many"`
	case 2:
		return m.condition()
	}
	return "(" + m.condition() + " ? " + list + ".count() : -1)"
}

// worked compares the values of the computed attribute worked in a listing, its order and a
// breakdown with what profiles say, for which the interpreter works it out.
func (m *actModel) worked(name string, env query.Env) {
	m.t.Helper()
	o := query.Options{Now: env.Now}
	fatalf := func(format string, args ...any) {
		m.t.Helper()
		sch, _ := m.db.Schema(m.t.Context())
		m.t.Fatalf("%s, now %v: worked is %s: %s", name, env.Now, sch.LookupComputed("worked").Text, fmt.Sprintf(format, args...))
	}
	members, err := m.db.Members(m.t.Context(), "true", &query.MembersOptions{Options: o, Attributes: []string{"worked"}, OrderBy: "worked"})
	if err != nil {
		fatalf("%v", err)
	}
	counts, last := map[string]uint64{}, schema.Value{}
	for row, err := range members.Rows {
		if err != nil {
			fatalf("%v", err)
		}
		p, err := m.db.Profile(m.t.Context(), row.Key, &query.ProfileOptions{Options: o})
		if err != nil {
			fatalf("%v", err)
		}
		want := schema.Value{}
		for _, c := range p.Computed {
			if c.Name == "worked" {
				want = c.Value
			}
		}
		v := row.Values[0]
		if !v.Equal(want) {
			fatalf("%v for %s in the listing, %v in the profile", v, row.Key, want)
		}
		if !v.IsAbsent() && !last.IsAbsent() && cmp.Or(cmp.Compare(last.Ordered(), v.Ordered()), cmp.Compare(last.Str(), v.Str())) > 0 {
			fatalf("%v comes behind %v", v, last)
		}
		last = v
		counts[v.String()]++
	}
	b, err := m.db.Breakdown(m.t.Context(), "true", "worked", &query.BreakdownOptions{Options: o})
	if err != nil {
		fatalf("%v", err)
	}
	got := map[string]uint64{}
	for _, r := range b.Rows {
		got[r.Value.String()] = r.Count
	}
	if !maps.Equal(got, counts) {
		fatalf("%v in the breakdown, %v in the listing", got, counts)
	}
}

// people returns everybody's acts.
func (m *actModel) people(s *state) map[string]map[schema.EventID][]query.Act {
	out := map[string]map[schema.EventID][]query.Act{}
	members, err := m.db.Members(m.t.Context(), "true", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for row, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		out[row.Key] = map[schema.EventID][]query.Act{}
	}
	hash := func(e *schema.Event, a query.Act) uint64 {
		var h query.ActHash
		for i := range e.Properties {
			h.Value(e.Properties[i].ID, a.Values[i])
		}
		return h.Sum()
	}
	for _, a := range m.list {
		e := s.Schema.LookupEvent(a.event)
		out[a.key][e.ID] = append(out[a.key][e.ID], a.act(e))
	}
	for _, lists := range out {
		for id, list := range lists {
			e := s.Schema.EventByID(id)
			slices.SortFunc(list, func(a, b query.Act) int {
				return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(hash(e, a), hash(e, b)))
			})
		}
	}
	return out
}

// act makes the event that its text says.
func (a modelAct) act(e *schema.Event) query.Act {
	out := query.Act{Time: a.time, Values: make([]schema.Value, len(e.Properties))}
	for rest := a.props; rest != ""; {
		var name, value string
		name, value, rest = cutProperty(rest)
		i := slices.IndexFunc(e.Properties, func(p schema.Attribute) bool { return p.Name == name })
		v, err := schema.ParseValue(&e.Properties[i], value, time.UTC)
		if err != nil {
			panic(err)
		}
		out.Values[i] = v
	}
	return out
}

func pickOne[T any](m *actModel, of ...T) T { return of[m.r.IntN(len(of))] }

// condition makes an expression over events.
func (m *actModel) condition() string {
	switch m.r.IntN(9) {
	case 0:
		return "!(" + m.condition() + ")"
	case 1:
		return "(" + m.condition() + pickOne(m, " && ", " || ") + m.condition() + ")"
	}
	list, event := m.events()
	compare := func(what string, to ...string) string {
		return what + pickOne(m, " == ", " != ", " < ", " <= ", " > ", " >= ") + pickOne(m, to...)
	}
	counts := []string{"0", "1", "2", "3", "5"}
	if event == "look" {
		return pickOne(m, list+".any()", compare(list+".count()", counts...), compare(list+".distinct(e, e.item)", counts...), list+`.last().item == "item 1"`)
	}
	switch m.r.IntN(13) {
	case 0:
		return list + ".any()"
	case 1:
		return compare(list+".count()", counts...)
	case 2:
		return compare(list+".sum(e, e.amount)", "0", "1.5", "3.00", "10")
	case 3:
		return compare(list+pickOne(m, ".min", ".max")+"(e, e.amount)", "0.5", "1.00", "2.5")
	case 4:
		return compare(list+".avg(e, e.amount)", "0.5", "1.00", "1.333")
	case 5:
		return compare(list+".distinct(e, e.item)", counts...)
	case 6:
		return compare(list+`.distinct_days("Pacific/Auckland")`, counts...)
	case 7:
		return compare(list+pickOne(m, ".first()", ".last()")+".amount", "0.5", "1.00", "2.5")
	case 8:
		return list + pickOne(m, ".first()", ".last()") + pickOne(m, `.item == "item 1"`, `.gift`, `.note.contains("1")`, `.tags.hasAny(["t1"])`)
	case 9:
		return compare(list+pickOne(m, ".first()", ".last()")+".ts", "now - days(20)", "now - days(3)")
	case 10:
		other, _ := m.events()
		return fmt.Sprintf("sequence(hours(%d), [%s, %s]).any()", 1+m.r.IntN(300), other, list)
	case 11:
		other, _ := m.events()
		return compare(fmt.Sprintf("%s.then(%s, hours(%d)).count()", other, list, 1+m.r.IntN(300)), counts...)
	}
	return compare(list+".count()", "look.count()", "buy.in_last(days(9)).count() * 2")
}

// events makes a list of events.
func (m *actModel) events() (text, event string) {
	event = pickOne(m, "buy", "buy", "look")
	text = event
	for m.r.IntN(2) == 0 && strings.Count(text, "(") < 8 {
		switch m.r.IntN(5) {
		case 0:
			text += fmt.Sprintf(".in_last(days(%d))", 1+m.r.IntN(60))
		case 1:
			from := int(m.now.UnixMilli()/actDay) - 40 + m.r.IntN(35)
			at := func(day int) string {
				return fmt.Sprintf("timestamp(%q)", time.UnixMilli(int64(day)*actDay).UTC().Format(time.RFC3339))
			}
			text += fmt.Sprintf(".between(%s, %s)", at(from), at(from+1+m.r.IntN(20)))
		case 2:
			from := m.r.IntN(24)
			text += fmt.Sprintf(".at_hours(%d, %d, %q)", from, (from+1+m.r.IntN(23))%24, pickOne(m, "UTC", "Europe/Rome", "Pacific/Kiritimati"))
		case 3:
			text += fmt.Sprintf(".on_weekdays([%q, %q], %q)", pickOne(m, "mon", "tue", "wed"), pickOne(m, "fri", "sat", "sun"), pickOne(m, "UTC", "America/New_York"))
		default:
			if event == "look" {
				text += fmt.Sprintf(`.filter(e, e.item == "item %d")`, m.r.IntN(6))
				continue
			}
			text += ".filter(e, " + pickOne(m, `e.item in ["item 1", "item 3"]`, `e.amount > 1.2`, `e.gift`, `!e.gift`, `has(e.note)`, `"t1" in e.tags`,
				`e.note == "note 1" || e.amount < 0.5`, `e.ts > now - days(15)`, `e.amount * 2 > 3.1`, `e.item != "nothing"`, `e.gift ? e.amount > 1.2 : has(e.note)`, `(e.amount < 2.0 ? e.item : "item 1") in ["item 1"]`, `e.item + "!" == "item 1!"`) + ")"
		}
	}
	return text, event
}
