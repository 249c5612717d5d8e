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
//	now                the instant of the question, whole milliseconds, UTC
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
//	interests.exists(e, e.contains("")) some element satisfies the condition
//	interests.all(e, ...)               every element does; true if there is none
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
// # What becomes of it
//
// A test of one attribute against a constant becomes an indexed node (In, Range, Match,
// SetHas, Has), a comparison of calculations over numbers becomes Compare, and what is
// left becomes Residual, which CEL's interpreter evaluates for one profile at a time. All
// constants are computed first, at now. [Print] shows the tree. Compile's limits are the
// Max constants.
package syntax
