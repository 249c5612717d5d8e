// Package retention is an analysis: how many of those who began in a period come back in the
// periods after, and who is new, comes back or stays away in each.
//
// A person begins with the first event of the list "first", or at a time of their own,
// "since": an attribute, or any expression, that is a timestamp or a date, which stands for
// the beginning of that day in the zone. What the lists let through counts, the windows in
// them too. The first event is the first of all that the list has, however old; where the
// event type forgets what is older than its retention, it is the first that is kept. Nobody
// begins after now, and nothing after now counts.
//
// # Periods and cohorts
//
// By "calendar", periods are the days, the weeks or the months of a zone. A day begins at the
// first instant at which clocks there show its date or a later one: days on which the clocks
// change have 23 or 25 hours. The last period is the one that holds now. By "rolling", periods
// are 24 hours or 7 days of 24 hours, and the last ends with now: (now - length, now], as
// in_last has it. There are no rolling months.
//
// A cohort is the people who begin in one of the last periods, as many as "cohorts" says. It is
// named by the date on which the period begins, a month as 2026-06; rolling ones by the UTC
// date of now - length, now - 2 length and so on. Who begins earlier is in none.
//
// # Coming back
//
// A person comes back with an event of the list "return" that is later than the first event,
// even if that is of the same list; of those at the same time none is a return. With "since" an
// event at that very time is one too: to begin is no event then.
//
// By "calendar", period k of a cohort is the k-th after the one in which it began, and period 0
// what is left of that one. By "rolling", it is each person's own:
// [begin + k length, begin + (k+1) length). The kind says what is counted:
//
//	on            who came back in period k
//	on-or-after   who came back in period k or later, up to now
//	on-or-before  who came back in period k or earlier
//
// # Brackets
//
// With "brackets", such as 1d,7d,30d, each person's own periods are of these lengths, one after
// the other: [begin, begin + 1d), [begin + 1d, begin + 8d), [begin + 8d, begin + 38d). Cohorts
// stay what they are, of a calendar or rolling. What is after the last bracket counts nowhere,
// for on-or-after too. A cohort has those brackets that have begun for its first instant; one is
// incomplete if it is not over at now for its last. The column until says when it ends, in time
// since the beginning.
//
// # Amounts
//
// With "amount", a number made of an event, there are two columns more: the sum of it over the
// returning events that are counted, by the kind those of the period, of it or later, of it or
// earlier; and that divided by the people of the cohort, who came back or not, absent if these
// are nobody. An event without the number, or whose arithmetic fails, adds nothing. Sums are
// exact; one beyond its kind is an error. The first event itself is no return: for all that
// people have spent since the beginning, let them begin at its time, --since purchase.first().ts.
//
// # What is counted
//
// The rows, one for each cohort and period that has begun for some of it at now, the oldest
// cohort first: how many people the cohort is, how many of them came back, and their share of
// the cohort, which is absent if the cohort is nobody. A period is incomplete if it is not over
// at now for all of the cohort, that is the last of each cohort; of the kind on-or-after every
// period may still rise.
//
// The people of a cohort are the cell "2026-06-01", those of them who are counted in its
// period 2 are "2026-06-01:2".
//
// # Lifecycle
//
// With "show" lifecycle there is another table: what people are in each period. Somebody is
// active in one with an event of "return" in it, from the beginning on: at that very time too,
// so that the first event is an act as any other. Without "first" and "since" people begin with
// their first event of "return". Of a period
//
//	new          are active, and began in it
//	returning    are active, and were active in the one before
//	resurrected  are active, were not active in the one before, and began earlier, be it that
//	             they never were active
//	dormant      are not active, and were active in the one before
//
// So new, returning and resurrected are together the active ones. "cohorts" says how many
// periods there are; the one before the first is read too. Rolling ones are those that end with
// now, the same for all. The people are the cells "2026-06-01:active", "2026-06-01:new" and so
// on.
//
// # Worked example
//
// Orders, by calendar weeks that begin on Monday, UTC, three cohorts; now is Monday, June 15th
// 2026, 12:00:
//
//	anna  June 2nd 10:00, twice; June 10th; June 15th 09:00
//	bob   June 3rd, June 4th
//	cleo  May 31st, June 2nd
//	dora  June 14th 23:59:59.999, June 15th 00:00
//	erik  June 15th 11:00
//
// Cleo began before June 1st. Anna's two orders of June 2nd are of one time, so that neither is
// a return; bob came back in the week in which he began. Dora began in the week of the 8th, and
// came back in the one after, a millisecond later.
//
//	cohort      people  period  returned  share  incomplete
//	2026-06-01  2       0       1          50 %  false
//	2026-06-01  2       1       1          50 %  false
//	2026-06-01  2       2       1          50 %  true
//	2026-06-08  1       0       0           0 %  false
//	2026-06-08  1       1       1         100 %  true
//	2026-06-15  1       0       0           0 %  true
//
// With brackets 1d,7d,30d bob's second order is in the second, a day later to the millisecond;
// anna's are 7 days 22 hours and 12 days 23 hours later, in the second and the third:
//
//	2026-06-01  2       0       0           0 %  false  until  1d
//	2026-06-01  2       1       2         100 %  true          8d
//	2026-06-01  2       2       1          50 %  true         38d
//
// If an order is worth its number, 1 for a person's first, then 2, 3, 4 (of anna's first two one
// is 1, the other 2), the amount in calendar weeks of the cohort of June 1st is bob's 2, anna's
// 3, anna's 4; per person 1, 1.5 and 2.
//
// Lifecycles of the same orders: cleo's first is of the week before, and she stays away with
// bob in the second.
//
//	period      active  new  returning  resurrected  dormant
//	2026-06-01  3       2    1          0            0
//	2026-06-08  2       1    1          0            2
//	2026-06-15  3       1    2          0            0
//
// # Other systems
//
// retention(c1, c2, ...) of ClickHouse, StarRocks and Databend asks whether c1 and ck hold of a
// person's events, in any order; here what comes back is later. Amplitude cuts times to the hour
// before it counts days of 24 hours from a person's beginning; here they are read to the
// millisecond: from 17:59 to 17:00 of the next day is day 0 here and day 1 there.
//
// # Memory
//
// A worker has 18 bytes for each of the 65,536 people of a chunk, whatever their events. Since
// a date or a time, by "calendar", of all events of a type, who came back is known by days
// without reading events (but those of the period of the beginning, if it is a time); "rolling"
// too, since a date of a zone whose days are those of UTC: that takes 8 KiB more for every
// cohort, every period and each day of the longest month. An amount takes 16 bytes for every
// cohort and period on each worker, of floats 600 more; a lifecycle 16 KiB for each period.
package retention
