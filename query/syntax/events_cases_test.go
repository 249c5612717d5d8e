package syntax

import (
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// parseActs reads acts of the test world: "purchase 2026-06-15T12:00:00Z amount=1.50; ...".
func parseActs(t testing.TB, s *schema.Schema, text string) map[schema.EventID][]query.Act {
	t.Helper()
	out := map[schema.EventID][]query.Act{}
	for _, line := range strings.Split(text, ";") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		v := s.LookupEvent(words[0])
		at, err := time.Parse(time.RFC3339, words[1])
		if err != nil {
			t.Fatal(err)
		}
		a := query.Act{Time: at.UnixMilli(), Values: make([]schema.Value, len(v.Properties))}
		for _, w := range words[2:] {
			name, value, _ := strings.Cut(w, "=")
			for i := range v.Properties {
				if p := &v.Properties[i]; p.Name == name {
					if a.Values[i], err = schema.ParseValue(p, value, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		out[v.ID] = append(out[v.ID], a)
	}
	return out
}

// TestEventCases holds cases worked out by hand: plan and interpreter give the truth that
// stands there (F, T, U for unknown, E for unknown and failed).
func TestEventCases(t *testing.T) {
	w := testWorld()
	f := func(text, acts, want string) {
		t.Helper()
		e, err := testCompiler.Compile(text, w, testNow)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		signup := schema.TimestampValue(testNow.Now.AddDate(0, 0, -14).UnixMilli()) // 2026-06-01T12:00:00Z
		p := person{schema: w.schema, env: testNow, acts: parseActs(t, w.schema, acts),
			values: map[schema.AttrID]schema.Value{w.schema.Lookup("signup").ID: signup}}
		letter := func(t query.Truth, failed bool) string {
			if failed {
				return "E"
			}
			return [...]string{"F", "T", "U"}[t]
		}
		got, interpreted := letter(evaluate(e.Root, p)), letter(e.Interpret(p.value, p.act, p.inList, testNow))
		if got != want || interpreted != want {
			t.Errorf("%s of %s: plan %s, interpreter %s, want %s", text, acts, got, interpreted, want)
		}
	}
	t.Run("windows", func(*testing.T) { windowCases(f) })
	t.Run("local time", func(*testing.T) { localTimeCases(f) })
	t.Run("three values", func(*testing.T) { threeValueCases(f) })
	t.Run("numbers", func(*testing.T) { numberCases(f) })
	t.Run("order", func(*testing.T) { orderCases(f) })
}

func windowCases(f func(text, acts, want string)) {
	// now is 2026-06-15T12:00:00Z. A window ends with now and begins after now - d.
	f("purchase.in_last(days(7)).any()", "purchase 2026-06-08T12:00:00Z", "F")
	f("purchase.in_last(days(7)).any()", "purchase 2026-06-08T12:00:00.001Z", "T")
	f("purchase.in_last(days(7)).any()", "purchase 2026-06-15T12:00:00Z", "T")
	f("purchase.in_last(days(7)).any()", "purchase 2026-06-15T12:00:00.001Z", "F")
	f("purchase.any()", "purchase 2026-06-15T12:00:00.001Z", "F")
	f("purchase.last().ts > now", "purchase 2026-06-14T12:00:00Z; purchase 2026-06-16T12:00:00Z", "F")
	f("purchase.in_last(days(1)).in_last(days(7)).any()", "purchase 2026-06-13T12:00:00Z", "F")
	between := `purchase.between(timestamp("2026-01-01T00:00:00Z"), timestamp("2026-02-01T00:00:00Z")).any()`
	f(between, "purchase 2025-12-31T23:59:59.999Z", "F")
	f(between, "purchase 2026-01-01T00:00:00Z", "T")
	f(between, "purchase 2026-01-31T23:59:59.999Z", "T")
	f(between, "purchase 2026-02-01T00:00:00Z", "F")
	f(`purchase.between(now - days(1), now + days(1)).any()`, "purchase 2026-06-15T12:00:00.001Z", "F")
	// Times before 1970 and at the ends of time.
	f(`purchase.between(timestamp("0001-01-01T00:00:00Z"), timestamp("1970-01-01T00:00:00Z")).count() == 2`, "purchase 0001-01-01T00:00:00Z; purchase 1969-12-31T23:59:59.999Z; purchase 1970-01-01T00:00:00Z", "T")
	f("purchase.any()", "purchase 9999-12-31T23:59:59.999Z", "F")
}

func localTimeCases(f func(text, acts, want string)) {
	day := `purchase.at_hours(8, 20, "Europe/Rome").any()`
	f(day, "purchase 2026-06-10T05:59:59.999Z", "F")
	f(day, "purchase 2026-06-10T06:00:00Z", "T")
	f(day, "purchase 2026-06-10T17:59:59.999Z", "T")
	f(day, "purchase 2026-06-10T18:00:00Z", "F")
	// Summer time began on 2026-03-29 in Rome: eight o'clock came an hour earlier.
	f(day, "purchase 2026-03-28T06:00:00Z", "F")
	f(day, "purchase 2026-03-29T06:00:00Z", "T")
	night := `purchase.at_hours(22, 6, "UTC").count() == 3`
	f(night, "purchase 2026-06-10T05:59:59.999Z; purchase 2026-06-10T06:00:00Z; purchase 2026-06-10T21:59:59Z; purchase 2026-06-10T22:00:00Z; purchase 2026-06-11T00:00:00Z", "T")
	f(`purchase.at_hours(20, 0, "UTC").count() == 1`, "purchase 2026-06-10T23:59:59Z; purchase 2026-06-11T00:00:00Z", "T")
	f(`purchase.at_hours(0, 24, "UTC").count() == 2`, "purchase 2026-06-10T23:59:59Z; purchase 2026-06-11T00:00:00Z", "T")
	// Two o'clock came twice on 2025-10-26 in Rome and not at all on 2026-03-29.
	two := `purchase.at_hours(2, 3, "Europe/Rome").count() == `
	f(two+"2", "purchase 2025-10-26T00:30:00Z; purchase 2025-10-26T01:30:00Z; purchase 2025-10-26T02:00:00Z", "T")
	f(two+"0", "purchase 2026-03-29T00:59:59.999Z; purchase 2026-03-29T01:00:00Z; purchase 2026-03-29T01:30:00Z", "T")
	// Monday 2026-06-15 began at 10:00Z on Sunday in UTC+14 and at 11:00Z on Monday in UTC-11.
	f(`purchase.on_weekdays(["MON"], "Pacific/Kiritimati").any()`, "purchase 2026-06-14T09:59:59.999Z", "F")
	f(`purchase.on_weekdays(["Monday"], "Pacific/Kiritimati").any()`, "purchase 2026-06-14T10:00:00Z", "T")
	f(`purchase.on_weekdays(["mon"], "Pacific/Pago_Pago").any()`, "purchase 2026-06-15T10:59:59.999Z", "F")
	f(`purchase.on_weekdays(["mon", "tue"], "Pacific/Pago_Pago").any()`, "purchase 2026-06-15T11:00:00Z", "T")
	f(`purchase.distinct_days("Europe/Rome") == 2`, "purchase 2026-03-28T22:59:59.999Z; purchase 2026-03-28T23:00:00Z; purchase 2026-03-29T21:59:59.999Z", "T")
	f(`purchase.distinct_days("UTC") == 3`, "purchase 1969-12-31T23:59:59.999Z; purchase 1970-01-01T00:00:00Z; purchase 1970-01-02T00:00:00Z", "T")
}

func threeValueCases(f func(text, acts, want string)) {
	const absent, other = "purchase 2026-06-01T00:00:00Z", "; purchase 2026-06-02T00:00:00Z category=b amount=1.00"
	// An unknown condition lets nothing through, and is not against all.
	f(`purchase.filter(e, e.category == "a").any()`, absent, "F")
	f(`purchase.filter(e, e.category != "a").any()`, absent, "F")
	f(`purchase.filter(e, !(e.category == "a")).count() == 1`, absent+other, "T")
	f(`purchase.exists(e, e.category != "a")`, absent, "F")
	f(`purchase.all(e, e.category == "a")`, absent, "T")
	f(`purchase.all(e, e.category == "a")`, absent+other, "F")
	f(`purchase.all(e, e.category == "b")`, absent+other, "T")
	f(`purchase.exists(e, e.items / 0 == 1)`, "purchase 2026-06-01T00:00:00Z items=1", "F")
	f(`purchase.exists(e, has(e.category)) && purchase.exists(e, !has(e.category))`, absent+other, "T")
	// Of nothing: count and sum are 0, the others absent.
	f("purchase.count() == 0 && purchase.sum(e, e.amount) == 0 && purchase.distinct(e, e.category) == 0", "", "T")
	f("purchase.min(e, e.amount) < 5", "", "U")
	f("purchase.max(e, e.ts) <= now", "", "U")
	f("purchase.avg(e, e.amount) > 5", "", "U")
	f("purchase.avg(e, e.weight) > 5.0", "", "U")
	f("purchase.all(e, e.amount > 5) && !purchase.any()", "", "T")
	f("has(purchase.first().category)", "", "U")
	f(`purchase.last().category == "a"`, "", "U")
	f("now - app_open.last().ts > days(14)", "", "U")
	f("now - app_open.last().ts > days(14)", "app_open 2026-06-01T12:00:00Z", "F")
	f("now - app_open.last().ts > days(14)", "app_open 2026-06-01T11:59:59.999Z", "T")
	// Of events without the property.
	f("purchase.count() == 1 && purchase.sum(e, e.amount) == 0 && purchase.distinct(e, e.category) == 0", absent, "T")
	f("purchase.min(e, e.amount) < 5", absent, "U")
	f("purchase.min(e, e.amount) < 5", absent+other, "T")
	f("purchase.first().amount < 5", absent+other, "U")
	f("purchase.last().amount < 5", absent+other, "T")
	f("has(purchase.first().category)", absent+other, "F")
	f("purchase.avg(e, e.amount) == 1", absent+other, "T")
	// A set is never absent.
	f(`purchase.first().tags.hasAny(["a"])`, absent, "F")
	f(`purchase.all(e, "a" in e.tags)`, absent, "F")
	// A window that differs from profile to profile, and one that is absent. All sign up at noon.
	f("purchase.between(signup, signup + days(1)).any()", "purchase 2026-06-01T11:59:59.999Z", "F")
	f("purchase.between(signup, signup + days(1)).any()", "purchase 2026-06-01T12:00:00Z", "T")
	f("purchase.between(last_seen, last_seen + days(30)).any()", absent, "U")
	f("purchase.filter(e, e.ts >= last_seen).any()", absent, "F")
	f("(purchase.at_hours(8, 20, zone).any() ? 1 : 2) > 3", absent, "U")
	f(`purchase.filter(e, in_segment("early") && e.category == "a").any()`, "purchase 2026-06-01T12:00:00Z category=a", "T")
	f(`purchase.filter(e, in_segment("adults")).any()`, absent, "F")
	f(`in_segment("early") && !purchase.filter(e, e.ts > signup + days(1)).any()`, "purchase 2026-06-01T12:00:00Z", "T")
}

func numberCases(f func(text, acts, want string)) {
	amounts := "purchase 2026-06-01T00:00:00Z amount=0.10; purchase 2026-06-01T00:00:00Z amount=0.11"
	f("purchase.avg(e, e.amount) == 0.105", amounts, "T")
	f("purchase.avg(e, e.amount) > 0.105", amounts, "F")
	f("purchase.avg(e, e.amount) >= 0.1050000000000000001", amounts, "F")
	f("purchase.sum(e, e.amount) == 0.21", amounts, "T")
	f("purchase.sum(e, e.amount * 2) == 0.42", amounts, "T")
	f("purchase.sum(e, e.amount) == 0.2 + 0.01", amounts, "T")
	f("purchase.max(e, e.amount) - purchase.min(e, e.amount) == 0.01", amounts, "T")
	f("purchase.sum(e, 2) == 4", amounts, "T")
	big := "purchase 2026-06-01T00:00:00Z items=9223372036854775807; purchase 2026-06-01T00:00:00Z items=1"
	f("purchase.sum(e, e.items) > 0", big, "E")
	f("purchase.sum(e, e.items) > 0", big+"; purchase 2026-06-01T00:00:00Z items=-1", "T")
	f("purchase.sum(e, e.items * 2) == 2", big, "T")
	f("purchase.avg(e, e.items) == 4611686018427387904", big, "T")
	weights := "purchase 2026-06-01T00:00:00Z weight=1e16; purchase 2026-06-01T00:00:00Z weight=1; purchase 2026-06-01T00:00:00Z weight=-1e16"
	f("purchase.sum(e, e.weight) == 1.0", weights, "T")
	f("purchase.sum(e, e.weight * 1e280) == 1e280", weights, "T")
	f("purchase.sum(e, e.weight / 0.0) < 0.0", weights, "F")          // infinities of both signs
	f("purchase.sum(e, 0.0 / (e.weight - 1.0)) != 0.0", weights, "T") // 0/0 is NaN
	f("purchase.min(e, 0.0 / (e.weight - 1.0)) <= 0.0", weights, "F")
	f("1.0 / purchase.min(e, -0.0 * e.weight) < 0.0", "purchase 2026-06-01T00:00:00Z weight=1; purchase 2026-06-01T00:00:00Z weight=-1", "T")
	f("1.0 / purchase.max(e, -0.0 * e.weight) > 0.0", "purchase 2026-06-01T00:00:00Z weight=1; purchase 2026-06-01T00:00:00Z weight=-1", "T")
	f("purchase.distinct(e, e.category) == 2", "purchase 2026-06-01T00:00:00Z category=a; purchase 2026-06-01T00:00:00Z category=b; purchase 2026-06-02T00:00:00Z category=a", "T")
}

func orderCases(f func(text, acts, want string)) {
	const view = "view_item 2026-06-01T00:00:00Z"
	f("view_item.then(purchase, hours(1)).any()", view+"; purchase 2026-06-01T00:00:00Z", "F")
	f("view_item.then(purchase, hours(1)).any()", view+"; purchase 2026-06-01T00:00:00.001Z", "T")
	f("view_item.then(purchase, hours(1)).any()", view+"; purchase 2026-06-01T01:00:00Z", "T")
	f("view_item.then(purchase, hours(1)).any()", view+"; purchase 2026-06-01T01:00:00.001Z", "F")
	f("view_item.then(purchase, hours(1)).any()", view+"; view_item 2026-06-01T00:30:00Z; purchase 2026-06-01T01:30:00Z", "T")
	f("purchase.then(purchase, hours(1)).count() == 1", "purchase 2026-06-01T00:00:00Z; purchase 2026-06-01T00:00:00Z; purchase 2026-06-01T00:00:01Z", "T")
	pair := "sequence(hours(1), [view_item, purchase]).any()"
	f(pair, view+"; purchase 2026-06-01T00:00:00Z", "F")
	f(pair, view+"; purchase 2026-06-01T01:00:00Z", "T")
	f(pair, view+"; purchase 2026-06-01T01:00:00.001Z", "F")
	f(pair, "purchase 2026-05-31T23:59:59Z; "+view, "F")
	three := "sequence(hours(1), [purchase, purchase, purchase]).any()"
	f(three, "purchase 2026-06-01T00:00:00Z; purchase 2026-06-01T00:00:00Z; purchase 2026-06-01T00:00:01Z", "F")
	f(three, "purchase 2026-05-31T00:00:00Z; purchase 2026-06-01T00:00:00Z; purchase 2026-06-01T00:30:00Z; purchase 2026-06-01T01:00:00Z", "T")
	// Equal times stay in the order that they are given in.
	f(`purchase.first().category == "a" && purchase.last().category == "b"`, "purchase 2026-06-01T00:00:00Z category=a; purchase 2026-06-01T00:00:00Z category=b", "T")
}
