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
// second), 1 being as often.
//
// # Worked example
//
// Of 6 people 1, 2, 3 are in A and 3, 4 in B.
//
//	sets     A 3 people, 50 %, 2 alone; B 2 people, 33 %, 1 alone
//	regions  A 2, B 1, AB 1, - 2
//	pairs    AB 1, 33 % of A, 50 % of B, 1.0 times as often as by chance
//
// Not yet: the sizes of a set at other times.
package overlap
