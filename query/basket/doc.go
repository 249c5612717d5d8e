// Package basket is an analysis: what people buy together.
//
// An event list says which events count, with its window and filters; nothing after now
// does. A property of the event is the item. A basket is the different items of some events
// of one person: an item that is there twice counts once. Of a property that is a set, each
// element is an item. An event without the item, or without the order where there is one, is
// in no basket.
//
// # Baskets
//
//	nothing said  all events of a person are one basket
//	order         those with the same value of a property; two people never share an order
//	gap           those of which each is at most so long after the one before, be it of the
//	              same time; the borders of the list's window cut, too
//
// So the order of events of one time, and in which they were loaded, changes nothing.
//
// # Sets and rules
//
// A set is two to "size" items. With N baskets in all and n(S) that have all items of S,
// maybe beside others, of the people who are asked about:
//
//	baskets     n(S)
//	people      how many have such a basket
//	support     n(S) / N                              share of all baskets
//	lift        n(S)/N / (n(a)/N * n(b)/N * ...)      1 is what chance has
//
// A rule says of a set without one of its items (if) and that item (then) how often who has
// the first has the second as well. With I the items of if and t that of then:
//
//	without     people who have a basket with I, and none with I and t
//	confidence  n(I+t) / n(I)
//	lift        n(I+t)*N / (n(I)*n(t))                how many times more often than by chance
//	leverage    n(I+t)/N - n(I)/N * n(t)/N            the share of baskets that are more than by chance
//	conviction  n(I)*(N-n(t)) / (N*(n(I)-n(I+t)))     how many times more often it would fail by
//	                                                  chance; absent if it never fails
//
// Support and confidence are those of Agrawal, Imielinski and Swami (1993), whose rules have
// one item on the right as well; lift (there "interest") and conviction of Brin, Motwani,
// Ullman and Tsur (1997); leverage of Piatetsky-Shapiro (1991).
//
// Shown are the sets with at least "min-baskets" and "min-support", and their rules with
// "min-confidence"; "min-lift" is asked of each, of a set and of a rule, by the number that is
// shown. With "for" there are only sets that have an item, and rules that have it on the left:
// what goes with it.
//
// Rows are in order of "sort", the greatest first (no conviction is the greatest), then of
// baskets, the most first, then of their items: the texts of strings by their bytes, other
// values as they compare; of rules those of if before that of then. The table of sets has no
// confidence, leverage and conviction, and is in order of baskets then. The first "top" are shown.
//
// # Cells
//
// "cup + tea" are the people who have a basket with both, "cup + !tea" those who have one
// with the first and none with both, "(all)" those who have any. Every set of up to 5 items is
// a cell, shown or not, and every item. An item that has a " or + in it, begins with ( or !,
// or begins or ends with a space, is quoted, as Go does, in the tables too.
//
// # Memory
//
// Of baskets that may have a set 12 bytes for each item and 12 more, and 128 for each
// different item, on each core; where sets of more than two are asked for 152 for each set
// that is found, of at most 1,048,576, and up to 12 for each item again. All is taken from the store's budget. Nothing is kept
// of pairs, however many there are. With "for" only baskets that have the item are kept.
//
// # Worked example
//
// Five people and their orders, on one day:
//
//	anna  order 1: 10:00 tea, 10:20 cup, 10:40 honey; order 2: 18:00 tea, 18:00 tea
//	bob   order 3: 10:00 tea, 10:00 cup
//	cleo  order 4: 10:00 cup
//	dan   order 5: 10:00 tea, 10:10 honey; order 6: 15:00 cup
//	eve   order 7: 10:00 pot
//
// There are 7 orders; 4 have tea, 4 a cup, 2 honey, 1 a pot:
//
//	items        baskets  people  support  lift
//	cup + tea    2        2       2/7      2*7/(4*4) = 0.875
//	honey + tea  2        2       2/7      2*7/(2*4) = 1.75
//	cup + honey  1        1       1/7      1*7/(4*2) = 0.875
//
// If honey then tea: confidence 2/2, lift 1.75, leverage 2/7 - 2/7*4/7 = 6/49, and it never
// fails, so that it has no conviction. If tea then honey: confidence 2/4, the same lift and
// leverage, conviction 4*(7-2)/(7*(4-2)) = 20/14; anna and dan have such an order, bob, whose
// only one with tea has no honey, is the one without.
//
// Of people, who are 5, 3 have tea and a cup, for dan has them, if not in one order: anna,
// bob and dan. With a gap of 20 minutes the orders come out as they are; with one second
// less anna's first one falls apart.
//
// # Not yet
//
// Rules with several items on the right; how much such baskets are worth.
package basket
