// Package path is an analysis: what comes next after a chosen event, or what came before it.
//
// # A path
//
// A path begins with a chosen event: one of the list "after" or, to look back, of the list
// "before". Its steps are the next events of the step lists ("event"; without it all events of
// every type), 1 to 10 of them, each at most the window ("within") after the chosen event. What
// the lists let through counts, the windows in them too; nothing after now does, so that a path
// may be shorter because there has not been time. With a gap a path ends where the pause between
// two events of the step lists is longer, or that between the chosen event and the next.
//
// "before" is the same backwards: the first step is the last event before the chosen one.
//
// # Events of one time
//
// No step has the time of the chosen event: it is later or, looking back, earlier. Steps of one
// time come in the order of their lists, which is the one they are given in or that of the
// schema, and those of one list in the order of their labels' bytes; looking back, in the
// opposite order. An event that two of the lists hold is two steps.
//
// # Labels
//
// A step is called as its list is written, and without lists as its event type. With "label"
// it is called by the value of a property, NAME wherever an event type has that property, or
// EVENT.NAME; of several the first that an event type has. An event without a value is "(none)",
// one of a type without such a property is called as before. What is called the same is the same.
//
// With repeats "collapse" a step with the label of the one before it is left out. So is a first
// step that is called as the chosen event would be, were it a step: by its label, or by its type.
//
// # What is counted
//
// With count "people" each person counts once, with the path of the first chosen event. With
// "every" each chosen event counts: the numbers are paths, and one person may have many.
//
// The table "tree" has a row for each beginning of paths: how many there are, and what share
// of all paths, and of those that are one step shorter. A beginning stands before those it is
// continued by. Of each length the "top" beginnings are shown, those of the most paths whose
// shorter ones are shown; of equal ones, those whose shorter one comes first in that order, then
// by label. For each, "(other)" are all its other steps together and "(end)" the paths that
// have no further one, so that what stands under a beginning adds up to it.
//
// The table "flow" has a row for each two steps that follow each other, whatever came before:
// step k and the next. Of each step the "top" labels are shown, those of the most paths, of
// equal ones the first in order; the others are "(other)". What flows into a label is what flows
// out of it.
//
// # Cells
//
// "app_open>search>purchase" are the people who have a path that begins so, and
// "app_open>search>(other)" those whose path goes on with a step that is not shown. The chosen
// event is called by its type. "1:search>purchase" are those who have a path with search as its
// step 1 and purchase as the next. A label that is empty, or has one of " > : in it, or begins
// with ( is quoted, as Go does. With count "people" a cell's people are as many as its row says.
//
// # Memory
//
// Taken from the store's budget: 128 bytes for each different beginning, and for each label its
// text and some 176 bytes, on each core. While a chunk is read, 16 bytes for each event that may be
// a step: at most 32 MiB for each core, or some of the people at a time.
//
// # Worked example
//
// Four people on one day; after app_open, 2 steps:
//
//	anna  app_open 10:00, search 10:02, search 10:03, purchase 10:10
//	bob   app_open 10:00, search 10:01, view 10:05, app_open 10:30, purchase 10:31
//	cleo  app_open 10:00
//	dora  app_open 10:00, purchase 10:00, view 10:04
//
// Anna's second search is a repeat. Dora's purchase is not later than her app_open.
//
//	step  path                      people  of first  of before
//	0     app_open                  4       100 %
//	1     app_open>search           2       50 %      50 %
//	2     app_open>search>purchase  1       25 %      50 %
//	2     app_open>search>view      1       25 %      50 %
//	1     app_open>view             1       25 %      25 %
//	2     app_open>view>(end)       1       25 %      100 %
//	1     app_open>(end)            1       25 %      25 %
//
// Counting every app_open there are 5 paths, for bob has another one: app_open>purchase>(end).
// With a gap of 2 minutes anna and bob go on to search and end there, after which 7 and 4
// minutes pass; dora's path ends before her view.
//
// # Not yet
//
// Paths between two chosen events, the time between steps, and how much money a path brings.
package path
