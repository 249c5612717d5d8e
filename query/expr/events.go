package expr

import (
	"strconv"
	"strings"
	"time"
)

// Day is 24 hours.
const Day = 24 * time.Hour

// When is the time of the event that is looked at.
//
//tidy:constant
var When = Ordered[time.Time]{"e.ts", timeText, false}

// Events is a list of a person's events.
type Events struct{ text string }

// Event is all events of a type.
func Event(name string) Events { return Events{"ev[" + quote(name) + "]"} }

func (l Events) call(parts ...string) Events { return Events{l.text + strings.Join(parts, "")} }

// InLast leaves those of the time up to now that is so long.
func (l Events) InLast(d time.Duration) Events { return l.call(".in_last(", durationText(d), ")") }

// Between leaves those from a time, itself included, to a time, itself not.
func (l Events) Between(from, to time.Time) Events {
	return l.call(".between(", timeText(from), ", ", timeText(to), ")")
}

// AtHours leaves those at which a clock on the wall shows from or later, but not to yet; over
// midnight if to is less.
func (l Events) AtHours(from, to int, zone string) Events {
	return l.call(".at_hours(", strconv.Itoa(from), ", ", strconv.Itoa(to), ", ", quote(zone), ")")
}

// OnWeekdays leaves those on days of the week there.
func (l Events) OnWeekdays(zone string, days ...time.Weekday) Events {
	return l.call(".on_weekdays(", list(days, func(d time.Weekday) string { return quote(d.String()) }), ", ", quote(zone), ")")
}

// Where leaves those for which all conditions are true. They name properties with [E] and the
// time with [When], and attributes with [P].
func (l Events) Where(of ...Condition) Events {
	return l.call(".filter(e, ", All(of...).String(), ")")
}

// Then leaves those of next that have one of l in the time before them that is so long.
func (l Events) Then(next Events, within time.Duration) Events {
	return l.call(".then(", next.text, ", ", durationText(within), ")")
}

// Any is true where there is one.
func (l Events) Any() Condition { return atom(l.text, ".any()") }

// None is true where there is none.
func (l Events) None() Condition { return Not(l.Any()) }

// Every is true where there is none for which all conditions are false.
func (l Events) Every(of ...Condition) Condition {
	return atom(l.text, ".all(e, ", All(of...).String(), ")")
}

// Count is how many there are.
func (l Events) Count() Ordered[int64] { return Ordered[int64]{l.text + ".count()", intText, true} }

// DistinctDays is on how many different days there.
func (l Events) DistinctDays(zone string) Ordered[int64] {
	return Ordered[int64]{l.text + ".distinct_days(" + quote(zone) + ")", intText, true}
}

// First names the properties of the earliest event.
func (l Events) First() One { return One{Names{l.text + ".first()"}} }

// Last names the properties of the latest event.
func (l Events) Last() One { return One{Names{l.text + ".last()"}} }

// One is one event.
type One struct{ Names }

// When is its time.
func (o One) When() Ordered[time.Time] { return Ordered[time.Time]{o.of + ".ts", timeText, true} }

// Number is what can be summed up.
type Number interface{ int64 | float64 | Decimal }

// Sum is the sum of a property, 0 without events.
func Sum[T Number](l Events, of Ordered[T]) Ordered[T] { return folded(l, "sum", of) }

// Min is the least; absent without events.
func Min[T any](l Events, of Ordered[T]) Ordered[T] { return folded(l, "min", of) }

// Max is the greatest; absent without events.
func Max[T any](l Events, of Ordered[T]) Ordered[T] { return folded(l, "max", of) }

func folded[T any](l Events, by string, of Ordered[T]) Ordered[T] {
	return Ordered[T]{l.text + "." + by + "(e, " + of.text + ")", of.literal, true}
}

// Average is the average; absent without events.
func Average[T Number](l Events, of Ordered[T]) Ordered[float64] {
	return Ordered[float64]{l.text + ".avg(e, " + of.text + ")", floatText, true}
}

// Distinct is how many different values a property has.
func Distinct[T any](l Events, of Ordered[T]) Ordered[int64] {
	return Ordered[int64]{l.text + ".distinct(e, " + of.text + ")", intText, true}
}

// Sequence is true where there are events of the lists one after another, from the first to the
// last no longer than that; at most 20 lists.
func Sequence(within time.Duration, steps ...Events) Condition {
	texts := make([]string, len(steps))
	for i, l := range steps {
		texts[i] = l.text
	}
	return atom("sequence(", durationText(within), ", [", strings.Join(texts, ", "), "]).any()")
}

// durationText writes whole days as a person would.
func durationText(d time.Duration) string {
	if d > 0 && d%Day == 0 {
		return "days(" + strconv.FormatInt(int64(d/Day), 10) + ")"
	}
	return "duration(" + quote(d.String()) + ")"
}
