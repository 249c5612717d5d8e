package bench

import (
	"slices"
	"strings"
	"testing"
)

// TestKnownBehaviour asks the questions of acts made by hand, at the borders of windows.
func TestKnownBehaviour(t *testing.T) {
	g := New(Options{Seed: 1, Profiles: 5000})
	american, other := uint64(0), uint64(0)
	for number := range g.opt.Profiles { // one whom Q11 is about, and one whom it is not
		var p Profile
		if g.Profile(number, &p); min(p.is(Country, us), p.is(OS, ios), p.is(EmailOptIn, 1)) == yes {
			american = number
		} else {
			other = number
		}
	}
	const minute = hour / 60
	ago := func(kind EventType, ms int64) Event { return Event{Type: kind, Time: Now().UnixMilli() - ms} }
	paid := func(ms, amount int64) Event { e := ago(Purchase, ms); e.Amount = amount; return e }
	seen := func(ms int64, category uint16) Event { e := ago(ViewItem, ms); e.Category = category; return e }
	buys := []Event{paid(30*day-1, 5000), paid(20*day, 5000), paid(10*day, 1)}
	views := []Event{seen(14*day-1, 7), seen(5, 7), seen(4, 7), seen(3, 7), seen(0, 7)}
	chain := []Event{ago(ViewItem, 5*day), ago(AddToCart, 5*day-minute), ago(Purchase, 4*day)}
	with := func(acts []Event, at int, change func(e *Event)) []Event {
		acts = slices.Clone(acts)
		change(&acts[at])
		return acts
	}
	for _, c := range []struct {
		name   string
		person uint64
		acts   []Event
		want   string // the questions that are true
	}{
		{"nothing", american, nil, ""},
		{"bought now", other, []Event{ago(Purchase, 0)}, "Q8"},
		{"bought 7 days ago, less a moment", other, []Event{ago(Purchase, 7*day-1)}, "Q8"},
		{"bought 7 days ago", other, []Event{ago(Purchase, 7*day)}, ""},
		{"bought later", other, []Event{ago(Purchase, -1)}, ""},
		{"opened 3 days ago", other, []Event{ago(AppOpen, 3*day), ago(Purchase, 0)}, "Q8"},
		{"opened since", other, []Event{ago(AppOpen, 3*day-1), ago(Purchase, 0)}, ""},
		{"bought for 100.01", other, buys, "Q9"},
		{"an American for 100.01", american, buys, "Q9 Q11"},
		{"for 100.00", american, with(buys, 2, func(e *Event) { e.Amount = 0 }), ""},
		{"one too early", american, with(buys, 0, func(e *Event) { e.Time-- }), ""},
		{"only two", american, buys[:2], ""},
		{"five views", other, views, "Q10"},
		{"four views", other, views[1:], ""},
		{"one too early", other, with(views, 0, func(e *Event) { e.Time-- }), ""},
		{"one of another category", other, with(views, 2, func(e *Event) { e.Category = 8 }), ""},
		{"one a watch", other, with(views, 2, func(e *Event) { e.Type = Watch }), ""},
		{"a day from look to purchase", other, chain, "Q8 Q12"},
		{"a day and a moment", other, with(chain, 2, func(e *Event) { e.Time++ }), "Q8"},
		{"all in a moment", other, with(with(chain, 1, func(e *Event) { e.Time = chain[0].Time + 1 }), 2, func(e *Event) { e.Time = chain[0].Time + 2 }), "Q8 Q12"},
		{"cart while looking", other, with(chain, 1, func(e *Event) { e.Time = chain[0].Time }), "Q8"},
		{"cart while buying", other, with(chain, 1, func(e *Event) { e.Time = chain[2].Time }), "Q8"},
		{"no cart", other, []Event{chain[0], chain[2]}, "Q8"},
		{"looked too early", other, []Event{ago(ViewItem, 30*day), ago(AddToCart, 30*day-1), ago(Purchase, 30*day-2)}, ""},
		{"looked just in time", other, []Event{ago(ViewItem, 30*day-1), ago(AddToCart, 30*day-2), ago(Purchase, 30*day-3)}, "Q12"},
		{"a later look is the one", other, []Event{ago(ViewItem, 6*day), chain[0], chain[1], chain[2]}, "Q8 Q12"},
	} {
		var got []string
		for _, q := range EventQuestions() {
			if q.is(g, c.person, c.acts) {
				got = append(got, q.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestBehaviour finds the events of every profile a second time.
func TestBehaviour(t *testing.T) {
	g := New(Options{Profiles: 300, Events: 5000, Seed: 8})
	b := g.Behaviour()
	total, types := 0, map[EventType]int{}
	for profile := range g.opt.Profiles {
		var slow []Event
		for number := range g.opt.Events {
			var e Event
			if g.Event(number, &e); e.Profile == profile {
				slow = append(slow, e)
			}
		}
		if !slices.Equal(b.Of(profile), slow) {
			t.Fatalf("profile %d has %d events, want %d", profile, len(b.Of(profile)), len(slow))
		}
		for _, e := range slow {
			types[e.Type]++
		}
		total += len(slow)
	}
	if total != 5000 || len(types) != NumEventTypes {
		t.Errorf("%d events of %d types", total, len(types))
	}
}

// TestEventQuestions wants other constants each time, in both forms of the condition.
func TestEventQuestions(t *testing.T) {
	g := New(Options{Seed: 2})
	own := EventQuestions()
	distinct := map[string]bool{}
	for i := range uint64(200) {
		for k, q := range g.EventQuestions(i) {
			distinct[q.Text] = true
			if q.Name != []string{"Q8", "Q9", "Q10", "Q11", "Q12"}[k] || i == 0 && q.Condition != own[k].Condition {
				t.Fatalf("question %d is %+v", k, q)
			}
			if again := g.EventQuestions(i)[k]; again.Condition != q.Condition {
				t.Fatalf("%v, then %v", q.Condition, again.Condition)
			}
			if strings.Contains(q.SQL, `"`) || strings.Contains(q.SQL, "&&") || strings.Contains(q.SQL, "%!") || strings.Contains(q.Text, "%!") {
				t.Errorf("no SQL: %s", q.SQL)
			}
		}
	}
	if len(distinct) < 400 { // most of Q9 and Q11, all of the few others
		t.Errorf("%d distinct questions", len(distinct))
	}
	for k, text := range []string{
		`purchase.in_last(days(7)).any() && !app_open.in_last(days(3)).any()`,
		`purchase.in_last(days(30)).count() >= 3 && purchase.in_last(days(30)).sum(e, e.amount) > 100.00`,
		`view_item.in_last(days(14)).filter(e, e.category == "c7").count() >= 5`,
		own[1].Text + ` && country == "US" && os == "ios" && email_opt_in`,
		`sequence(hours(24), [view_item.in_last(days(30)), add_to_cart, purchase]).any()`,
	} {
		if own[k].Text != text {
			t.Errorf("%s is %s, in the workload %s", own[k].Name, own[k].Text, text)
		}
	}
}
