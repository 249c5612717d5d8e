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
// serves two steps.
//
// In the order "strict" nothing at all may lie between two steps, no event of any type, and
// so no other event of a step either: each step is the very next thing that somebody does.
// What else there is at the time of one of the two does not lie between them.
//
// In the order "any" an entry begins with an event of any step, and has come to step k when
// there are events of k different steps from t1 to t1 + window, both included; an event that
// the lists of two steps hold serves both.
//
// # Exclusion
//
// An exclusion "k:LIST" ends what has come to step k and not further: an event of LIST later
// than the event by which an entry has come to step k, and before the one by which it comes
// to step k+1, at which times it may lie. The entry may come to step k again with another
// event of that step, after that. There are exclusions in the order "sequence" only.
//
// # A property held constant
//
// With hold, all events of an entry have the same value of that property, and those without
// one are of no entry. Every event type of the funnel must have the property, of one kind.
// In the order "strict" there is no hold.
//
// # People, and every entry
//
// Of people each counts once, with the first of the entries that have come furthest: any
// event of the first step may have begun it. Of entries that begin at the same time, with
// other values of the held property, it is the one that came to its furthest step first; then
// to the step before, and so on; then the one with the first value.
//
// With "count entries" somebody counts whenever an entry begins, and entries do not overlap:
// one begins with the first event of the first step after the one before has ended. An entry
// ends when it comes to the last step, when an exclusion leaves nothing of it, or with its
// window, t1 + window; events up to then, that one included, begin none. In the order
// "strict" it ends with the event by which it came to its last step, so that what breaks it
// off may begin the next. With hold, the entries of each value are by themselves.
//
// # What is counted
//
// The table "steps" has a row for each step: entries, if these are counted; people, who have
// an entry that counts and has come to the step; of those of the first step, and of the step
// before; how many went no further (dropped); and of those who came to the step the average,
// median and 90th percentile of the time from t1 to when the entry first came to it. Shares,
// dropped and times are of entries where these are counted. What has come to step k has come
// to all before. The median of an even number is the lower one, the percentile the least time
// in which nine tenths have come (nearest rank).
//
// With histogram the table "times" has of each step but the first a row for each part of the
// window: those who came to the step in from <= time < to; the last part has its end in it. A
// number n makes n equal parts, borders that are no whole milliseconds are rounded down.
//
// # By
//
// With by there are rows for each value of what a person is at now, an attribute or anything
// else that an expression makes of a person; or of a property of an event of the entry that
// counts, written e.NAME. Touch says of which: of the one with which it begins (first), of
// the one by which it came to its furthest step (last), or of each row's step (step). Of
// several events of the step at that time, in the order "any" of all events at that time, it
// is the first value in order that there is. Of touch "step" shares are of those of all
// values, otherwise of the same.
//
// The "top" values are shown that have the most people, or entries, at the first step, of
// equal ones the first in order; all others together are "(other)", whoever has no value is
// "(none)". The groups are a partition of the people, of touch "step" of those of each step;
// of entries somebody may be in several.
//
// # Cells
//
// The people of a row are the cell "2", those who have an entry that went no further
// "2:dropped"; those of a part of the histogram "2:1m-10m". With by they are "2|FI",
// "2:dropped|(none)", "2:1m-10m|FI"; a value that has a " or | in it or begins with ( is
// quoted, as Go does.
//
// # Other systems
//
// People are counted as by Mixpanel with optimized re-entry, entries as its totals; and people
// as by ClickHouse's windowFunnel with strict_increase, in the order "strict" with strict_order
// and strict_deduplication, but that there the first break is the end where here a later entry
// may come further. Where published examples have other answers, the tests say why.
//
// # Memory
//
// For each entry that counts, 24 bytes are kept for each step behind the first that it has
// come to, and 16 for each row of either table on each core, taken from the store's budget;
// and while a chunk is read the events of its people, of the orders but "any" of those who
// have one of the first step, at most 32 MiB for each core, or some of the people at a time.
// Where people are counted, and neither split by a property nor one is held, only events of
// those are read who come to the second step.
//
// With by, all values are counted before the top ones are known, 114 bytes each and the rows of
// a group; then entries, and the people of a cell, are counted once more.
//
// # Not yet
//
// A property held in the order "strict", another one than the one held to split by, more than
// one thing to split by, sessions in place of a window.
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
//
// Counting entries it is the same: anna's a of 12:05 lies in the window of her first entry,
// which ends at 12:10. With "exclude 1: b", a b after the first step and before the second,
// nothing changes, for an exclusion at the time of the next step does not lie between. In a
// strict order anna's b is the next thing she does after her a, and then comes another a.
package funnel
