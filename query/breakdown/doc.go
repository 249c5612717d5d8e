// Package breakdown is an analysis: people by the values of attributes, how many they are, and
// what a number of theirs comes to.
//
// # Groups
//
// People are broken down by up to three things, "by": an attribute, or anything else that an
// expression makes of a person, such as purchase.count() or rfm("orders").segment. Each
// combination of values that anybody has is a group, and a row.
//
// Of each the "top" values are told from each other that the most people have, of equal ones
// the first in order: numbers by size, texts by bytes. Who has another value is in "(other)",
// who has none in "(none)". Of a set, a person is in the group of each element, once in
// "(other)" however many others he has, and in "(none)" if it is empty. Without sets everybody
// is in one group: the rows add up to all.
//
// Rows stand in the order of the first thing's values, the most frequent first, then others,
// then none; among these of the second's, and so on. The last row is of all people, each once.
//
// # Columns
//
//	people   how many there are in the group
//	share    of all people who are asked about
//	sum      with "of": of a number, an attribute or what an expression makes of a person
//	average  the sum by how many of the group have the number; absent if nobody has it
//
// Who has no number adds nothing. Ints and decimals are added up in 128 bits, and a sum beyond
// their kind is an error; floats are added exactly and rounded once. An average is the float
// nearest to the sum, divided by the float of how many there are. In a group of a set's element
// the whole number of each person counts.
//
// # Cells
//
// The people of a row are the cell "FI", of several things "FI|premium|(none)", all of them
// "(all)". A value that is empty, has a " or | in it or begins with ( is quoted, as Go does.
//
// # Memory
//
// Taken from the store's budget: 112 bytes for each of the top values; 128 for each group, of
// sums of floats 600 more, on each core. There are at most 100,000 groups. First the values of
// each thing are counted, which takes 30 to 60 bytes for each, at most 262,144 of them.
//
// # Worked example
//
//	      country  plan     likes             age  bought for
//	anna  FI       free     tea, cake         30   10.00 and 2.50
//	bob   FI       premium  tea                    4.00
//	cleo  SE       free                       40
//	dan            premium  wine, cake, beer  30   (without an amount)
//
// By country, of purchase.sum(e, e.amount): FI 2 people, 50 %, 16.50, on average 8.25; SE 1, 25 %,
// 0.00, 0, as a sum of nothing is 0; (none) 1, 25 %, 0.00, 0; (all) 4, 100 %, 16.50, 4.125.
//
// By country and plan, of age: FI free 1 person, 30, 30; FI premium 1, 0 and no average, as
// bob's age is not known; SE free 1, 40, 40; (none) premium 1, 30, 30; (all) 4, 100, 33.33.
//
// By likes, the top 1: cake 2 people, anna and dan, as tea has 2 as well and comes later;
// (other) 3, 75 %: anna and bob for tea, dan once for wine and beer; (none) cleo; (all) 4.
package breakdown
