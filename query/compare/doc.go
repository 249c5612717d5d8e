// Package compare is an analysis: what makes people different. Every value of every
// attribute, every type of event and every average is compared between the people who are
// asked about, the segment, and a base.
//
// # Groups
//
// The base is everybody, the people of the segment among them, or those of an expression. The
// rest are those of the base who are not of the segment. The segment need not lie in the
// base: people with one plan can be compared with those with another.
//
// # Values
//
// Compared are, of people:
//
//	a string, bool    each value, and having none
//	a set             each element, and having none: who has two counts for both
//	a number, a date  each of some ranges, and having none
//	a text that is
//	kept inline       having any
//	an event          having one in the last days, "within"
//
// Ranges are cut where the base falls into parts of equal size (nearest rank): a part ends
// with the value at its rank, and equal values are of one part, so that there may be fewer.
// The first and the last have no end. Times are cut by days of UTC. Where the least and the
// greatest value, be it of the segment, are 65,536 or more apart (in units of the last
// decimal place; of floats in numbers between which there is no other), cuts are at the next
// multiple of a power of two: the 65,536th part of the distance, or twice as much.
//
// A value is left out that fewer than "min-people" have, of the segment and the rest
// together, or all. Shares are of all people of a group, those without a value among them.
//
//	times       share / base share
//	difference  share - base share
//	effect      Cohen's h: 2 asin sqrt(share) - 2 asin sqrt(base share)
//	p           two-sided, of z = (s - r) / sqrt(q (1-q) (1/n + 1/m)), where s is the share of
//	            the n people of the segment, r that of the m of the rest, q that of both together
//
// Effects of 0.2, 0.5 and 0.8 are called small, middling and large (Cohen, Statistical Power
// Analysis for the Behavioral Sciences, 1988, 6.2). p is the probability that groups who do
// not differ but by chance differ so much or more. It needs some five people of each kind to be
// near the truth, and is about the rest so that nobody is in both groups.
//
// The tables "more" and "less" have what the segment has more and less often, by the size of
// the effect; of equal ones, in the order of the schema and of values. "each" is how many rows
// of one attribute a table has at most, "top" how many of all.
//
// # Averages
//
// Of numbers, dates and times, over who has one, and of events in the last days, over
// everybody: who has none counts as 0. An average of dates or times is rounded down.
//
//	effect  (average - base average) / the standard deviation of the base (Glass's delta)
//	p       Welch's t test of the segment against the rest, two-sided: t = (a - b) / sqrt(v + w)
//	        with (v + w)^2 / (v^2/(n-1) + w^2/(m-1)) degrees of freedom, where v and w are the
//	        variances of samples, divided by n and m (Welch, Biometrika 34, 1947)
//
// Effect and p are absent where a group has fewer than two numbers, nothing varies, or a sum or
// the squares are beyond all floats. Sums and sums of squares are exact; of floats they are
// rounded once.
//
// # Many comparisons
//
// Of a hundred comparisons of what does not differ, five have a p below 0.05. The adjusted p
// is that of Benjamini and Hochberg (Journal of the Royal Statistical Society B 57, 1995), over all
// comparisons with a p, shown or not, of all tables: of the k-th least of K, the least p*K/j
// of all from the k-th on. Of the rows whose adjusted p is at most 0.05, 5 % are to be expected
// to be by chance, no more. With many people almost anything has a small p: the effect says
// whether it matters.
//
// Times, effects and p are rounded to six digits. A p of 0 is below 1e-300.
//
// # Cells
//
// "segment", "base" and "rest" are the groups. The people of the segment with a value are
// "country=FI", "age=26 to 33" or "country=(none)"; who has any, or an event, is "email". Of
// the base they are "base:country=FI". Every value that was compared has its cells, shown or
// not. A name that is not of letters, digits and _ is quoted as Go does, and so is a value
// that is empty, begins with ( or has a " in it.
//
// # Memory
//
// Taken from the store's budget, on each core: 8 bytes for each value that a string attribute
// or a set ever had, and for numbers 4 for each of at most 65,536 cells, both for each group;
// and 256 for each value that is compared.
//
// # Worked example
//
// Of 8 people, p1, p2 and p4 are members, and asked about.
//
//	    country  age  member  likes      email    buys of the last 90 days
//	p1  FI       20   true    tea, cake  p1@x.fi  2
//	p2  FI       30   true    tea                 1
//	p3  FI       40   false              p3@x.fi
//	p4  SE       30   true               p4@x.fi
//	p5  SE       50   false   tea                 1
//	p6  SE       60   false                       (one, 165 days ago)
//	p7  SE       70           cake
//	p8
//
// All 3 of the segment are members, and 3 of the base, 8 people: shares of 1 and 0.375. That
// is 2.67 times as often. The effect is 2 asin 1 - 2 asin 0.6124 = 3.1416 - 1.3181 = 1.8235.
// Of the rest, 5 people, none is: q is 3/8, z is 1 / sqrt(0.375 * 0.625 * (1/3 + 1/5)) = 2.8284,
// and p = 0.00468. With the ages in two ranges there are 16 comparisons, and this p is the least: the
// adjusted one is 0.0748.
//
// The fourth of 7 ages is 40: the ranges are "up to 40" and "from 41". The segment's average
// is 80 / 3 = 26.67, the base's 300 / 7 = 42.86 with a standard deviation of 17.99: the effect
// is -0.8997. The rest's average is 55. The variances are 33.33 and 166.67; t is
// 28.33 / sqrt(33.33/3 + 166.67/4) = 3.900 with 4.35 degrees of freedom, p 0.0149.
//
// # Not yet
//
// Computed attributes and other expressions of a person; the properties of events.
package compare
