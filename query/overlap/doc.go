// Package overlap is an analysis: how sets of people lie over each other.
//
// It has 1 to 6 expressions, called A, B, C ... in their order. A person is in one if it is
// true of him; for whom it is unknown he is not.
//
// The table "sets" has a row for each expression: people; share of all who are asked about; and
// alone, how many are in no other. Its people are the cell "in:A", those alone the region "A".
//
// The table "regions" has a row for each combination: people who are in all of its expressions
// and in none of the others; "-" is those in none. So every person is in one region, and the
// regions add up to all who are asked about. Their names are cells: "AC" is in A and in C,
// and not in B.
//
// The table "pairs" has a row for each two: people in both, whatever else they are in; share of
// the first and of the second; and how much more often than by chance, shared * all / (first *
// second), 1 being as often. Its people are the cell "in:AB"; so those of any combination.
//
// # Worked example
//
// Of 6 people 1, 2, 3 are in A and 3, 4 in B.
//
//	sets     A 3 people, 50 %, 2 alone; B 2 people, 33 %, 1 alone
//	regions  A 2, B 1, AB 1, - 2
//	pairs    AB 1, 33 % of A, 50 % of B, 1.0 times as often as by chance
//
// # History
//
// How many were in each set at the end of some days: those of "at", and of the last "periods"
// periods of a calendar ("per"), days, weeks or months of the zone. A day ends with its last
// millisecond; today has not ended, it is read at now. The table "history" has a row for each
// day and set: people, and the share of all who are asked about, of whom the expression was
// true then. Its people are the cell "2026-06-14:A".
//
// A row is what a count with the same "now" says: windows end then, attributes with history
// are as they were, and all others, and lists, are as they are, which the answer says (as now).
// A person who came later is there, without what was told later.
//
// Of 4 people p1 ordered on 1 June 10:00, p2 on 8 June 23:59:59.999, p3 on 15 June 00:00, and p4
// on 15 June 12:00:00.001; now is 22 June 12:00. A is order.in_last(days(7)).any(), B is
// plan == "pro", which p1 and p2 became on 15 June; on 22 June p2 was free again and p3 pro. plan
// keeps its history.
//
//	2026-06-14  A 1 (p2), B 0
//	2026-06-15  A 2 (p3, p4), B 2 (p1, p2)
//	2026-06-22  A 1 (p4), B 2 (p1, p3)
//
// p2's order is of the seven days that end with 14 June, to the millisecond; of those that end
// with noon of 22 June p3's is no more.
//
// # Memory
//
// What an evaluation needs of a chunk on each worker; of a history the past values of attributes that keep
// theirs, chunk by chunk, in the cache. Nothing else is kept but counts: each day is one count
// of everybody.
package overlap
