package query

import (
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// Events is a list of a profile's events of one type, in order of (time, hash of the
// properties). It holds those with From <= time < To for which every condition is true;
// an event for which a condition is unknown is not in it. From and To say everything that
// windows and now have said: no list reaches past now, and none before the event type's
// retention horizon, which the view sees to.
type Events struct {
	Place
	Event  schema.EventID
	From   int64 // milliseconds UTC, inclusive
	To     int64 // exclusive
	When   []Clock
	Filter []Node // over the event's properties and schema.TimeProperty, as if they were attributes
	Then   *Then  // nil: none
}

// Clock lets events through by their local time in a zone.
type Clock struct {
	Zone     *time.Location
	Weekdays uint8         // bit time.Weekday; 0: every day
	From, To time.Duration // since local midnight, half open; To <= From wraps midnight; both 0: the whole day
}

// Then lets an event through if the profile has one of After at most Within before it,
// and not at the same time: a time in [t - Within, t), in milliseconds.
type Then struct {
	After  *Events
	Within int64
}

type (
	// Any is true where the list is not empty; it is never unknown.
	Any struct {
		Place
		List *Events
	}

	// Sequence is true where the profile has events of Of[0], Of[1] ... at strictly
	// ascending times, the last at most Within milliseconds after the first; it is never
	// unknown. It has at least two lists.
	Sequence struct {
		Place
		Within int64
		Of     []*Events
	}

	// OneIs is what Test, over properties, says of the first or the last event of a
	// list; it is unknown where the list is empty.
	OneIs struct {
		Place
		List *Events
		Last bool
		Test Node
	}

	// AverageIs compares sum(Of) with With * count, which is exact: the average of Of over
	// the events that have it. It is unknown where no event has. Of is of kind int or
	// decimal, With an int or decimal; other averages are a Fold.
	AverageIs struct {
		Place
		Op   CompareOp
		List *Events
		Of   Arith
		With schema.Value
	}
)

func (*Any) node()       {}
func (*Sequence) node()  {}
func (*OneIs) node()     {}
func (*AverageIs) node() {}

// FoldOp makes one number of a list of events.
type FoldOp uint8

// The folds. An event for which Of has no value (a property is absent, or the arithmetic
// failed) does not count. Count, sum and the distinct counts of nothing are 0; the others
// of nothing are absent.
const (
	FoldCount        FoldOp = iota // an int
	FoldSum                        // of Of's kind; in 128 bits inside, a result beyond the kind is an error; floats exactly, rounded once
	FoldMin                        // of Of's kind
	FoldMax                        // of Of's kind
	FoldAverage                    // a float
	FoldDistinct                   // how many different values Property has
	FoldDistinctDays               // how many different local dates in Zone
	FoldFirst                      // Of of the first event; absent if that one has none
	FoldLast                       // Of of the last event
)

// Fold is a number made of a profile's events, wherever arithmetic may stand.
type Fold struct {
	Op       FoldOp
	List     *Events
	Of       Arith          // over properties: sum, min, max, average, first, last
	Property schema.AttrID  // distinct
	Zone     *time.Location // distinct days
	Kind     schema.Kind    // of the result
	Scale    uint8
}

func (*Fold) arith() {}

// Act is one event as a residual sees it.
type Act struct {
	Time   int64          // milliseconds UTC
	Values []schema.Value // in the order of the event type's properties; absent ones the zero Value
}
