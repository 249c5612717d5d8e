// Package query answers "who are the people such that ...".
//
// It holds the expression tree ([Node]), what a question and its answer look like,
// the errors that cross every door, and the evaluator, which runs a tree chunk by
// chunk against a [View]. It does not know where data comes from: the engine
// implements View. Text becomes a tree in package query/syntax.
//
// # Three values
//
// A comparison with an absent value is unknown, and unknown passes through "and",
// "or" and "not" as Kleene's logic says. The evaluator carries each node's result as
// two sets per chunk, yes and maybe, with yes a subset of maybe: yes holds the
// profiles for which the node is true, maybe those for which it is not false. So
//
//	and:  yes = yes1 & yes2          maybe = maybe1 & maybe2
//	or:   yes = yes1 | yes2          maybe = maybe1 | maybe2
//	not:  yes = live \ maybe1        maybe = live \ yes1
//
// and where nothing is unknown the two are one set, computed once. Members are the
// yes; unknown is maybe \ yes.
//
// A profile counts as an error if the whole expression is unknown for it and one of the
// unknown operands that made it so overflowed or divided by zero. An error that another
// operand decides away ("false && 1/0 == 1") is none. So the number does not depend on
// the order of evaluation, which follows cost.
//
// # Events
//
// A list of events ([Events]) is read chunk by chunk too: blocks of events come from the
// view's [EventCursor], and conditions on an event are planned and evaluated over a block
// as conditions on profiles are over a chunk, three values included. An event for which a
// condition is unknown is not in the list; what fails inside a condition, or inside the
// arithmetic of a fold, makes that event not count and is no error of the profile. Errors
// are: a sum that does not fit its kind, and what fails in comparing folds or in a test of
// the first or last event.
//
// Events of a profile are in order of (time, [ActHash]); the hash is looked at only where
// times are equal and it makes a difference.
//
// Sums of ints and decimals have 128 bits, sums of floats are exact and rounded once, so
// that no order of events, and no number of goroutines, changes a bit of an answer. Of
// floats, NaN is the least and the greatest where there is one, and -0 is less than 0.
//
// Memory: a worker holds 2 MiB per fold of a comparison and per list of a sequence, if
// everybody is a candidate, and 32 MiB of events that have to be seen together; where more
// would be, the chunk's candidates are taken in parts. Only the events of one profile may
// take more. Cancellation is looked at with each block.
package query
