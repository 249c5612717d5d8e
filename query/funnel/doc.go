// Package funnel is an analysis: how many people go from step to step, and how long it
// takes them.
//
// A funnel has 2 to 20 steps. A step is one event list, or several, of which an event of any
// will do. What the lists let through counts, the windows in them too; nothing after now
// does.
//
// # An entry
//
// An entry begins with an event of the first step, at t1. In the order "sequence" it goes
// on to step k with an event of that step that is later than the one by which it has come to
// step k-1 and at most the window after t1: t1 < t2 < ... < tk <= t1 + window. Other events
// may lie between. Events of one time are never one after the other, and so one event never
// serves two steps. In the order "any" an entry begins with an event of any step, and has
// come to step k when there are events of k different steps from t1 to t1 + window, both
// included; an event that the lists of two steps hold serves both.
//
// # Exclusion
//
// An exclusion "k:LIST" ends what has come to step k and not further: an event of LIST later
// than the event by which an entry has come to step k, and before the one by which it comes
// to step k+1, at which times it may lie. The entry may come to step k again with another
// event of that step, after that. There is none in the order "any".
//
// # A property held constant
//
// With hold, all events of an entry have the same value of that property, and those without
// one are of no entry. Every event type of the funnel must have the property, of one kind.
//
// # What is counted
//
// Each person counts once, with the furthest step that any entry has come to. A person who
// has come to step k has come to all before. Times are those of the first of a person's
// entries that has come furthest: of step k, from t1 to when it first came to step k. Of
// entries that begin at the same time, with other values of the held property, it is the one
// that came to its furthest step first; then to the step before, and so on.
//
// The rows, one for each step: people; of the people of the first step, of those of the step
// before; how many people went no further (dropped); and of those who came to the step the
// average, median and 90th percentile of the time from t1. The median of an even number is the
// lower one, the percentile the least time in which nine tenths have come (nearest rank).
//
// The people of a row are the cell "k"; those who went no further are "k:dropped".
//
// # Memory
//
// Of each person 24 bytes are kept for each step behind the first that he has come to, taken
// from the store's budget, and while a chunk is read the events of those of its people who come
// to the second step: at most 32 MiB for each core, or some of the people at a time.
//
// # Not yet
//
// The order in which nothing else may lie between two steps, breakdowns, every entry in place
// of every person, histograms of times.
//
// # Worked example
//
// Steps a, b, c; window 10 minutes; two people:
//
//	anna  a 12:00, b 12:04, a 12:05, c 12:12
//	bob   a 12:00, b 12:00, c 12:05
//
// Anna's entry of 12:00 comes to b at 12:04; c is 12 minutes after its a. That of 12:05 comes
// nowhere, for there is no b after it. So she has come to step 2, in 4 minutes. Bob's b is not
// later than his a: he has come to step 1.
//
//	step  people  of first  of before  dropped  average  median  p90
//	1     2       100 %     100 %      1
//	2     1       50 %      50 %       1        4 m      4 m     4 m
//	3     0       0 %       0 %        0
package funnel
