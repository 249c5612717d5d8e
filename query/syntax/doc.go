// Package syntax turns the text of an expression into a checked tree of package
// query. The language is CEL, the Common Expression Language (https://cel.dev), parsed
// and checked by the cel-go library, with the names, types and functions of this
// page and nothing else; a name or function that is not here is an error that
// suggests the nearest one. Nothing else in Kanta parses expressions.
//
// # Names
//
//	country            an attribute whose name is a plain word that CEL does not use itself
//	p.country          the same
//	p["Order total"]   any attribute
//	purchase           the events of a type, whose name is a plain word that no attribute has
//	ev.purchase        the same
//	ev["Any name"]     the events of any type
//	now                the instant of the question, whole milliseconds, UTC
//
// country, p.country and p["Order total"] may be computed attributes too, see below.
//
// # Constructs
//
// An absent attribute has no value. A comparison with it is unknown, neither true nor
// false; && || ! pass unknown on as Kleene's logic does: false && unknown is false,
// true || unknown is true, all else with unknown is unknown.
//
//	construct                           meaning                                  absent
//	a == b  a != b                      equal, not equal                         unknown
//	a < b  a <= b  a > b  a >= b        numbers by size, dates and times by      unknown
//	                                    time, strings by their UTF-8 bytes
//	a in [x, y]                         a equals one of them                     unknown
//	opt_in   opt_in == false            a bool attribute is a condition          unknown
//	x && y   x || y   !x                and, or, not                             see above
//	c ? x : y                           x if c, else y                           unknown if c is
//	has(p.a)  has(p["any name"])        a has a value; a set: is not empty       false
//	has(a)
//	s.startsWith("x")  s.endsWith("x")  tests of a string's bytes                unknown
//	s.contains("x")
//	s.matches("re")                     some part matches (RE2), pattern in      unknown
//	                                    quotes
//	"x" in interests                    the set holds x                          false: a set is
//	interests.hasAny(["x", "y"])        the set holds one of them                never absent,
//	interests.hasAll(["x", "y"])        the set holds all of them                only empty
//	interests.exists(x, x.contains("")) some element satisfies the condition
//	interests.all(x, ...)               every element does; true if there is none
//	size(interests)  size(s)            elements of a set, characters of a       0; unknown
//	                                    string
//	a + b  a - b  a * b  a / b  a % b   arithmetic, see below; + joins strings   unknown
//	-a
//	double(a)  int(a)                   as a float; as an int, fraction cut off  unknown
//	date("2024-12-31")                  a date
//	date(t, "Europe/Rome")              the local date of a timestamp            unknown
//	today("Europe/Rome")                date(now, "Europe/Rome")
//	timestamp("2024-12-31T23:59:59Z")   an instant, RFC 3339
//	days(3)  hours(3)  minutes(3)       a duration; a day is 24 hours
//	duration("1h30m")                   a duration
//	t + d  t - d  t1 - t2               instants and durations; dates and whole  unknown
//	                                    days likewise
//	in_segment("name")                  the condition saved under the name,      as that one
//	                                    as if its text stood here in brackets
//	in_list("name")                     the profile is in the list               false
//	rfm("name").segment                 what a saved analysis says of the        unknown
//	rfm("name").r                       profile, see below; has() too            false
//
// Strings stand in "..." or '...', with CEL's escapes and raw strings; they are brought
// to Unicode's NFC, as stored ones are. // starts a comment.
//
// An operation that overflows, divides an int by zero or otherwise has no result makes
// its comparison unknown and is counted as an error of that profile.
//
// # Numbers
//
// A written number takes the kind of what it meets.
//
//	int with int           exact; / cuts off the fraction, % has the sign of the left
//	float with anything    the other becomes a float; IEEE 754, division by zero is an
//	but a decimal          infinity; with NaN only != is true
//	decimal with decimal   exact, also at different scales: + - keep the larger scale, * adds
//	or int                 them (at most 18); there is no / and no %: use double(ltv) / 3.0
//	decimal with a written the number's text is an exact decimal, and so is what + - * make of
//	number                 such numbers: ltv == 0.1 + 0.2 is ltv == 0.30, not 0.30000000000000004
//	int compared with a    exact too: age > 30.5 is age >= 31, age == 30.5 is nobody
//	written 30.5
//	decimal with float     an error: write double(ltv)
//
// # Dates, times, zones
//
// A date and a timestamp do not compare: date(signup, "Europe/Rome") says whose days are
// meant. Zones come from the database in zoneinfo.zip only (that of the Go release named
// in go.mod), never from the machine. now - x > days(14) is read as x < now - days(14), and
// likewise for every comparison of one attribute and durations with a constant, so that
// no difference overflows.
//
// # Events
//
// The name of an event is an event list: the profile's events of that type up to now, in
// order of (time, hash of the properties). No list reaches past now, none is true or false
// by itself. These make a list of a list; all of them may follow one another:
//
//	construct                           which events
//	l.in_last(d)                        later than now - d, up to now: (now - d, now]
//	l.between(t1, t2)                   from t1, itself included, to t2, itself not: [t1, t2)
//	l.at_hours(8, 20, "Europe/Rome")    while a clock on the wall shows 8:00 or later, but not
//	                                    20:00 yet; 22, 6 goes over midnight; 0 to 23, to 24
//	l.on_weekdays(["mon", "Sunday"],    on these days of the week there: English names, or
//	    "Europe/Rome")                  their first three letters, in any case
//	l.filter(e, condition)              for which the condition is true
//	a.then(b, d)                        those of b that have some event of a in [tb - d, tb),
//	                                    tb being the event's own time
//
// And these make a value of a list:
//
//	construct                           meaning                                  of no event
//	l.any()                             there is one                             false
//	l.exists(e, condition)              there is one for which it is true        false
//	l.all(e, condition)                 there is none for which it is false      true
//	l.count()                           how many                                 0
//	l.sum(e, number)                    of all                                   0
//	l.min(e, number)  l.max(e, number)  the least, the greatest; also of dates   absent
//	                                    and times
//	l.avg(e, number)                    the average                              absent
//	l.distinct(e, e.category)           how many different values                0
//	l.distinct_days("Europe/Rome")      on how many different days there         0
//	l.first().amount  l.last().ts       of the earliest, of the latest event     absent
//	has(l.first().coupon)               whether that event has a value           unknown
//	sequence(d, [a, b, c]).any()        there are events ta < tb < tc, with      false
//	                                    tc - ta <= d; up to 20 lists
//
// e is any name for the event that is looked at: e.amount and e["any name"] are its
// properties, which are what attributes are above, e.ts is its time. (A property that is
// called ts is e["ts"].) A condition and a number may read attributes too, but no other
// event list. A whole event has no value, only its parts have.
//
// An event for which a condition is unknown is not let through by filter and counts
// neither for exists nor against all: only known conditions decide. An event for which a
// number is absent, or its calculation has no result, does not count for sum, min, max,
// avg; one without the property not for distinct. So any, exists, all, count, distinct and
// sequence are never unknown, and now - app_open.last().ts > days(14) is unknown for who
// never opened.
//
// The sum of ints and of decimals is exact inside, and an error where the result leaves
// the kind; a decimal sum keeps the scale of the number. A sum of floats is exact inside
// and rounded once, so that no order changes it, and never -0; with a NaN it is NaN, and so
// are min and max, for which -0 is less than 0. The average of ints or decimals is exact
// where == != < <= > >= compare it with a written number: l.avg(e, e.amount) > 10.5 is
// sum > 10.5 * count. Else, and of floats always, it is the sum as a float divided by the
// count.
//
// Times are whole milliseconds. Windows and durations that are the same for everybody are
// computed at now and have to be longer than nothing, but where only one end of a window
// moves with now: that one is empty some day. Those that differ from profile to
// profile, such as l.between(signup, signup + days(30)) or a zone that is an attribute, are
// interpreted: one that ends before it begins lets nothing through, and where one is absent
// whatever is asked of the list is unknown. Hours and days of the week are those of the
// local time: the hour that the clocks skip never comes, the one that they repeat comes
// twice.
//
// # Computed attributes
//
// A computed attribute is a name for an expression of any kind but an event list or a
// [...]. Where it is named, it means what its expression would mean there in brackets:
// the same plan, the same kind, a written number exact as ever (with rate for 0.1 + 0.2,
// ltv == rate is ltv == 0.30). It is worked out at the question's now. Two things differ:
//
//	has(p.spent)        it has a value: true or false and never unknown, and false too
//	                    where its calculation has no result; of a set: it is not empty
//	written out         what has to be (hours, days of the week, patterns, the [...] of
//	                    hasAny, names of segments and lists) may have no name
//
// The variable of a macro means nothing in the expression of a computed attribute that is
// named in the macro's brackets, and one that reads events cannot stand there. Computed
// attributes and segments may name one another, but not in a circle.
//
// A listing shows a duration as duration("...") reads it, and an average as a float; a float
// that is no number, and a date or an instant outside of the years 1 to 9999, as no value.
//
// # Definitions of analyses
//
// An analysis that is saved under a name lends expressions what it says of each profile:
// rfm("orders").segment is a string, rfm("orders").r, .f and .m are ints (.m only if it has an
// amount); rfm("orders")["r"] is the same. They are read as attributes are, in every construct
// above, and are those of the analysis asked at the question's now, over all profiles that the
// definition is of. Who is not scored has none: has(rfm("orders").r) is false, a comparison
// unknown. Definitions, segments and computed attributes may name one another, but not in a
// circle. A text that names one always depends on now; when it changes cannot be said.
//
// # What becomes of it
//
// A test of one attribute against a constant becomes an indexed node (In, Range, Match,
// SetHas, Has), a comparison of calculations over numbers becomes Compare, a choice (c ? a : b,
// also one that is compared with a constant) If, and what is
// left becomes Residual, which CEL's interpreter evaluates for one profile at a time. All
// constants are computed first, at now. [Print] shows the tree. Compile's limits are the
// Max constants.
//
// Of events, any, exists, all and the comparison of a count with nothing become Any, a
// sequence Sequence, numbers Fold within Compare, an average compared with a written number
// AverageIs, other tests of the first or the last event OneIs. A condition that is not
// about the event alone, or that has no plan as an attribute's would have none, makes
// the whole comparison a Residual. A bound on e.ts within filter becomes the list's window.
// A text that reads events always depends on now.
package syntax
