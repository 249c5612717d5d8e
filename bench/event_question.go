package bench

import "fmt"

// EventQuestion asks how many people have done something, about the instant [Now].
type EventQuestion struct {
	Name string
	Condition

	// is answers for one person in plain Go, slowly: number is the profile's, acts are all
	// its events in order. Behaviour is never unknown.
	is func(g *Generator, number uint64, acts []Event) bool
}

// eventConstants are what the questions are about.
type eventConstants struct {
	bought, opened int   // days, of Q8
	cents          int64 // of Q9 and Q11
	category       int   // of Q10
	hours          int   // of Q12
	scored         int   // days, of Q7
	cohorts        int   // weeks, of Q13
	daily          int   // days, of trend
}

// EventQuestions returns the questions about events, Q8 to Q12.
func EventQuestions() []EventQuestion { return eventQuestions(workloadConstants()) }

func workloadConstants() eventConstants {
	return eventConstants{bought: 7, opened: 3, cents: 100 * cents, category: 7, hours: 24, scored: 90, cohorts: 12, daily: eventDays}
}

// EventQuestions returns Q8 to Q12 with other constants around those of the workload, for
// each i others: whoever remembers answers has never heard the question. They are the
// workload's own for i = 0.
func (g *Generator) EventQuestions(i uint64) []EventQuestion { return eventQuestions(g.constants(i)) }

func (g *Generator) constants(i uint64) eventConstants {
	if i == 0 {
		return workloadConstants()
	}
	s := newStream(g.opt.Seed, domainQuestion, i)
	return eventConstants{
		bought:   5 + int(s.below(0, 5)),
		opened:   2 + int(s.below(1, 3)),
		cents:    50*cents + int64(s.below(2, 100*cents+1)),
		category: int(s.below(3, categories)),
		hours:    18 + int(s.below(4, 13)),
		scored:   86 + int(s.below(5, 5)),
		cohorts:  11 + int(s.below(6, 3)),
		daily:    eventDays - int(s.below(7, 5)),
	}
}

func eventQuestions(c eventConstants) []EventQuestion {
	buyer := func(_ *Generator, _ uint64, acts []Event) bool {
		n, sum := foldPurchases(acts)
		return n >= 3 && sum > c.cents
	}
	q9, where := conditionQ9(c.cents), Condition{`country == "US" && os == "ios" && email_opt_in`, `country = 'US' AND os = 'ios' AND email_opt_in`}
	return []EventQuestion{
		{"Q8", conditionQ8(c.bought, c.opened), func(_ *Generator, _ uint64, acts []Event) bool {
			return countLast(acts, Purchase, c.bought) > 0 && countLast(acts, AppOpen, c.opened) == 0
		}},
		{"Q9", q9, buyer},
		{"Q10", conditionQ10(c.category), func(_ *Generator, _ uint64, acts []Event) bool {
			n := 0
			for i := range acts {
				if acts[i].inLast(ViewItem, 14) && int(acts[i].Category) == c.category {
					n++
				}
			}
			return n >= 5
		}},
		{"Q11", Condition{q9.Text + " && " + where.Text, q9.SQL + " AND " + where.SQL}, func(g *Generator, number uint64, acts []Event) bool {
			var p Profile
			if !buyer(g, number, acts) {
				return false
			}
			g.Profile(number, &p)
			return min(p.is(Country, us), p.is(OS, ios), p.is(EmailOptIn, 1)) == yes
		}},
		{"Q12", conditionQ12(c.hours), func(_ *Generator, _ uint64, acts []Event) bool { return bought(acts, int64(c.hours)*hour) }},
	}
}

func conditionQ8(bought, opened int) Condition {
	return Condition{
		fmt.Sprintf(`purchase.in_last(days(%d)).any() && !app_open.in_last(days(%d)).any()`, bought, opened),
		fmt.Sprintf(`rowid IN (SELECT person FROM events WHERE %s) AND rowid NOT IN (SELECT person FROM events WHERE %s)`,
			lastSQL("purchase", bought), lastSQL("app_open", opened)),
	}
}

func conditionQ9(cents int64) Condition {
	amount := string(appendCents(nil, cents))
	return Condition{
		fmt.Sprintf(`purchase.in_last(days(30)).count() >= 3 && purchase.in_last(days(30)).sum(e, e.amount) > %s`, amount),
		fmt.Sprintf(`rowid IN (SELECT person FROM events WHERE %s GROUP BY person HAVING count(*) >= 3 AND sum(amount) > %s)`, lastSQL("purchase", 30), amount),
	}
}

func conditionQ10(category int) Condition {
	return Condition{
		fmt.Sprintf(`view_item.in_last(days(14)).filter(e, e.category == "c%d").count() >= 5`, category),
		fmt.Sprintf(`rowid IN (SELECT person FROM events WHERE %s AND category = 'c%d' GROUP BY person HAVING count(*) >= 5)`, lastSQL("view_item", 14), category),
	}
}

func conditionQ12(hours int) Condition {
	return Condition{
		fmt.Sprintf(`sequence(hours(%d), [view_item.in_last(days(30)), add_to_cart, purchase]).any()`, hours),
		// Each purchase with the latest cart before it, each of these with the latest look
		// before it: none of a sequence can come later. Of buyers only.
		fmt.Sprintf(`rowid IN (SELECT p.person FROM (SELECT person, time FROM events WHERE %[1]s) p`+
			` ASOF JOIN (SELECT c.person, c.time, v.time AS seen FROM (SELECT person, time FROM events WHERE %[2]s AND person IN (SELECT person FROM events WHERE %[1]s)) c`+
			` ASOF JOIN (SELECT person, time FROM events WHERE %[3]s AND person IN (SELECT person FROM events WHERE %[1]s)) v ON c.person = v.person AND v.time < c.time) cv`+
			` ON p.person = cv.person AND cv.time < p.time WHERE p.time - cv.seen <= INTERVAL %[4]d HOUR)`,
			lastSQL("purchase", 30), lastSQL("add_to_cart", 30), lastSQL("view_item", 30), hours),
	}
}

// lastSQL is in_last in SQL.
func lastSQL(event string, days int) string {
	return fmt.Sprintf(`event = '%s' AND time > TIMESTAMP '2026-01-01' - INTERVAL %d DAY AND time <= TIMESTAMP '2026-01-01'`, event, days)
}

// inLast reports whether an event is of a type, in (now - days, now].
func (e *Event) inLast(t EventType, days int) bool {
	now := Now().UnixMilli()
	return e.Type == t && e.Time > now-int64(days)*day && e.Time <= now
}

func countLast(acts []Event, t EventType, days int) (n int) {
	for i := range acts {
		if acts[i].inLast(t, days) {
			n++
		}
	}
	return n
}

// foldPurchases counts the purchases of 30 days and adds them up.
func foldPurchases(acts []Event) (n int, sum int64) {
	for i := range acts {
		if acts[i].inLast(Purchase, 30) {
			n, sum = n+1, sum+acts[i].Amount
		}
	}
	return n, sum
}

// bought reports whether someone has looked at something in the last 30 days, then put
// something into the cart, then bought, each later than the one before, all within so many
// milliseconds.
func bought(acts []Event, within int64) bool {
	for v := range acts {
		if !acts[v].inLast(ViewItem, 30) {
			continue
		}
		for c := range acts {
			if acts[c].Type != AddToCart || acts[c].Time <= acts[v].Time || acts[c].Time-acts[v].Time > within {
				continue
			}
			for p := range acts {
				if acts[p].Type == Purchase && acts[p].Time > acts[c].Time && acts[p].Time-acts[v].Time <= within {
					return true
				}
			}
		}
	}
	return false
}
