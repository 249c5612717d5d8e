package syntax

import (
	"time"

	"github.com/kantadb/kanta/query"
)

// Zone returns a time zone by its IANA name from the database that expressions use, so
// that a file's times are read by the same rules on every machine. It fails for a name
// that is not in there.
func Zone(name string) (*time.Location, error) {
	z := new(zones)
	l, err := z.find(name)
	if err != nil {
		e := query.Errorf(query.CodeUnknownName, "%w", err)
		e.Hint = didYouMean(name, z.names())
		return nil, e
	}
	return l, nil
}

// DayBegins returns the first instant, in ms UTC, at which the local date in a zone is a day,
// given in days since 1970, or a later one.
func DayBegins(zone *time.Location, day int64) int64 { return instantsFrom(zone, date(day))[0].lo }
