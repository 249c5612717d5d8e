// Package trend is an analysis: a measure of events over time.
//
// An event list is cut into periods of a calendar. What the list lets through counts, its
// windows too; nothing after now does, so that the last period may be incomplete. With several
// events each is a trend of its own, with top values of its own; their rows stand together by
// period, and the column event says whose a row is.
//
// # Periods
//
// Days, weeks and months are those of a zone's calendar, weeks from monday or sunday. A
// period is from <= time < to: an event at midnight is of the day that begins. A day begins
// at the first instant at which the local date is that day or later, so that it has 23 or 25
// hours when clocks change, and where they go back over midnight it begins once. A date that
// a zone left out is no period. An hour begins when a day does, and whenever the clock on the
// wall shows a full hour: the hour that comes twice in autumn is two rows, the one left out
// in spring none.
//
// The rows go from the period that has the date "from" to the one that has the date "to",
// both whole. Without "to" the last is the one of now, without "from" there are 30. Every
// period has its rows, be it without events. It is called by the date of its first day, an
// hour by the local time at which it begins.
//
// # Measures
//
// Of the events of the list in a period, from the people who are asked about:
//
//	count               how many there are
//	people              of how many different people they are
//	people7, people28   of how many the events of the 7 or 28 days up to and with the day are
//	stickiness          the share that people of the day are of people28, absent if these are nobody
//	sum, avg, min, max  of a number made of each event ("of")
//	median, p10 to p99  percentiles, the least number that half, or 10, 25, 75, 90, 95, 99 of a
//	                    hundred, are not above (nearest rank)
//	distinct            how many different values a property ("of") has
//
// An event without the number or the property does not count; nor does one whose arithmetic
// fails. Of no numbers the sum is 0 and the others are absent. Ints and decimals are added up
// in 128 bits; a sum beyond their kind is an error. Floats are added exactly and rounded once.
// An average is the float nearest to the sum, divided by the float of how many there are.
//
// # By
//
// Numbers are split by at most two: an attribute of the person, or anything else that an
// expression makes of a person, as it is at now; or a property of the event, written e.NAME.
// Of each the "top" values are shown that have the most events in the periods shown, of
// equal ones the first in order; all others together are "(other)", and events without a
// value "(none)", which is none of the top. A group has rows if it has an event, in any
// period that was read. Each measure is of the group's events: the people of "(other)" are
// as many different people as there are, not a sum.
//
// # Further columns
//
// previous (with compare): the measure as many periods before as are shown: of June's first
// ten days the ten days before them. average: the mean of the measure over the last N
// periods shown, absent for the first N-1 and where one of them has no measure.
//
// # Cells
//
// "2026-06-13" are the people who have an event of the list in that period (of people7 and
// people28: in the days up to it), whatever is measured; with by, "2026-06-13|FI|(none)",
// those who have one in that group. A value that has a " or | in it or begins with ( is
// quoted, as Go does. Of several events the number of the event stands in front,
// "2:2026-06-13". With compare the second cell of a row is that of the period before.
//
// # Memory
//
// Taken from the store's budget: 32 bytes for each period and group, of people 8 KiB more; of
// percentiles 24 bytes for each number, of distinct 36 for each value of a row, of a sum
// of floats 600 for each row; all on each core. With by the values are counted first, 66 bytes
// each and those of strings that have no code; then everything is read again.
//
// # Worked example
//
// It is 2026-06-15, noon in Greenwich. Three people buy:
//
//	anna  FI  13 June 10:00 tea 10.00, 13 June 11:00 cup 5.50, 15 June 00:00 tea 2.00
//	bob   SE  13 June 23:59:59.999 tea 4.00, 15 June 11:00 tea
//	cleo      15 June 12:00 cup 1.00
//
// From 13 June, by day in UTC:
//
//	period      count  people  people7  stickiness  sum    avg  min   max    median  p90    distinct items
//	2026-06-13  3      2       2        100 %       19.50  6.5  4.00  10.00  5.50    10.00  2
//	2026-06-14  0      0       2        0 %         0.00                                    0
//	2026-06-15  3      3       3        100 %       3.00   1.5  1.00  2.00   1.00    2.00   2
//
// Bob's first purchase is the last millisecond of 13 June; in Rome, two hours ahead, it is of
// 14 June. Anna's at midnight is of 15 June, and cleo's is now, which counts. Bob's second
// has no amount: the average of 15 June is 3.00 / 2, the median of 1.00 and 2.00 the first.
//
// New people and those who come back, by period, are told by the analysis retention: its
// lifecycle.
package trend
