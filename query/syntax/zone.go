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
		e.Hint = query.DidYouMean(name, z.names())
		return nil, e
	}
	return l, nil
}
