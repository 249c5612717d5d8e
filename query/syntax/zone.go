package syntax

import "time"

// Zone returns a time zone by its IANA name from the database that expressions use, so
// that a file's times are read by the same rules on every machine. It fails for a name
// that is not in there.
func Zone(name string) (*time.Location, error) { return new(zones).find(name) }
