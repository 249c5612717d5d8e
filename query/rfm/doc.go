// Package rfm is an analysis: people are scored by how recently, how often and for how much
// they have acted, and named by the scores.
//
// # The numbers
//
// Who has an event of the list, with its window and conditions, is scored; others are not in
// the analysis. Nothing after now counts.
//
//	recency    from the last of these events to now, in whole days of 24 hours or whole
//	           ones of another --recency-unit
//	frequency  how many events, or how many different values of a property they have (who
//	           has none: 0)
//	amount     the sum of a number of each event; an event without it adds nothing
//
// They are what list.last().ts, list.count() or list.distinct(e, e.p), and list.sum(e, x) are
// in an expression. Whose sum does not fit its kind, or is no finite float, is unknown and
// not scored.
//
// # The scores
//
// Scores are 1 to 5, or to another number of bins from 3 to 10; the highest is the best: the
// most recent, the most frequent, the greatest amount. For each number one says how it is
// scored:
//
//	quantile         a score is 1 + how many cut points a number is above. With b bins and n
//	                 people sorted by x(0) <= ... <= x(n-1), cut point k is x at (n-1)*k/b,
//	                 between two people in proportion (type 7 of Hyndman and Fan, that of R
//	                 and NumPy), calculated exactly. Who is on a cut point is below it, so
//	                 that equal numbers have equal scores; a score may be nobody's
//	quantile+1       the cut points are one more (one recency unit, one event, 1.0 of the
//	                 amount), and who is on a cut point is above it: as the rfm package of R
//	edges:A,B,...    the cut points are these, one less than there are bins; who is on one
//	                 is above it. Of recency they are durations
//	rank             people are put in order and parted into b parts that are equal, the
//	                 first ones larger by one. Of equal frequencies the lower amount comes
//	                 first, of what is equal then the key that is less by its bytes
//
// Recency is cut the same way and its scores are turned round: above a cut point is an older,
// lower score. By rank the oldest come first, of equal ones the lesser key.
//
// # The tables
//
// "cells" is the grid of recency and frequency, "segments" the ten named parts of it,
// "amounts" the scores of the amount: people, the share of all that are scored, the sum of
// their amounts and its average. Sums are exact, of ints and decimals in 128 bits; one that
// its kind does not hold is shown as the nearest float, as an average is. "cuts" are the cut
// points, in ascending order of the number: the lowest recency cut parts the best score from
// the next. By rank a cut is the least number above it; equal ones may be below.
//
// The people of a row are the cell "r5f3", "m4", or the name of the segment.
//
// # Reach
//
// For each --reach, an attribute such as email_opt_in or another condition, each row of people
// has how many of them it is true of, now, and their share of the row's people. These are the
// cells "r5f3:email_opt_in", "m4:email_opt_in", "champions:email_opt_in".
//
// # Transitions
//
// With --since people are scored twice: now, and as at an earlier now. Then only the events up
// to there count, a window of the list ends there, recency is told from there, and the cuts are
// those of the people who were scored there. What is past its retention by now is missing
// there, too. Who is asked about is as of now, by whatever the expression says of them: of two
// dates it could be two crowds. So is reach.
//
// "transitions" counts people by the segment that they were in and the one that they are in;
// who was not scored is outside. The share is that of all who were in the first. Who is
// outside at both dates is not in the table: its sum is everybody who is scored at one of
// them, the sum over "to" is the table of segments as at the earlier date, that over "from" the
// one of now. The people of a row are the cell "champions>at risk", "outside>new".
//
// # Segments
//
// The map says which segment each cell is of: "r4-5f2-3=potential loyalists" is four cells.
// Each is there exactly once. A segment has no name that cells have: no : or >, and it is not
// outside. [StandardMap] is one of five by five: with b bins a score s is
// looked up there as 1 + (s-1)*4/(b-1), to the nearest, a half up. A map of one's own is of
// the grid as it is.
//
// # Worked example
//
// Five people, now 2026-06-15 00:00, 3 bins:
//
//	anna  05-26 50.00, 06-05 20.00, 06-14 30.00   1 day, 3 times, 100.00
//	bob   06-13 10.00                             2 days, once, 10.00
//	cleo  05-16 20.00, 05-26 40.00                20 days, twice, 60.00
//	dan   05-06 80.00                             40 days, once, 80.00
//	eve   04-16 5.00                              60 days, once, 5.00
//
// Recency by quantile: (5-1)*1/3 = 1 1/3 lies a third of the way from 2 days to 20: 8 days; 2
// 2/3 lies at 33 days 8 hours. So anna and bob have 3, cleo 2, dan and eve 1. The amount: cuts
// at 26.67 and 73.33; anna and dan have 3, cleo 2, bob and eve 1. Frequency by quantile: cuts
// at 1 and 1.67; bob, dan and eve have 1, cleo and anna 3, nobody 2. By rank: eve, bob | dan,
// cleo | anna, for of those who came once eve has spent the least; the cuts are 1 and 3.
//
// With frequency by rank anna is in r3f3, bob in r3f1, cleo in r2f2, dan in r1f2, eve in
// r1f1. The scores 1, 2, 3 are 1, 3, 5 of the standard map, and so anna is one of the
// champions, bob is new, cleo needs attention, dan is at risk and eve hibernates.
//
// Since 2026-06-01: then anna had come once, 6 days before, for 50.00; cleo twice, 6 days
// before, for 60.00; dan was 26 days away, eve 46, bob was outside. Of four people the cuts of
// recency are the second and the third of them, 6 and 26 days: anna and cleo had 3, dan 2, eve 1.
// By rank the frequencies part eve, anna | dan | cleo. So anna was new (r3f1) and has become one
// of the champions, cleo was one of them (r3f3), dan needed attention (r2f2) and is at risk, eve
// hibernated, and bob has come from outside to the new.
//
// # In expressions
//
// A definition, the analysis with its arguments and of whom it is, is saved under a name. Then
// rfm("name").segment is the segment of a person, rfm("name").r, .f and .m are the scores, at
// the instant of the question: the people of the cell "r5f3" are those for whom
// rfm("name").r == 5 && rfm("name").f == 3. Who is not scored has none of them. What it reaches
// and since when are of its report only.
//
// # Memory
//
// 30 bytes are kept for each who is scored, at each of two dates, taken from the store's budget, and 2 MiB for each
// worker; while people are scored by rank, 10 more for each who shares a number with others on
// both sides of a cut. Nobody is sorted: numbers are counted in buckets, and only what is in
// the bucket of a cut is looked at again.
// What expressions have is one byte for each person of a chunk and field, while the snapshot is
// held.
package rfm
