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
package query
