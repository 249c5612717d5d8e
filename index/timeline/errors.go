package timeline

import (
	"errors"
	"fmt"
)

// What reading may fail with; test with errors.Is.
var (
	// ErrCorrupt means that the bytes are not what a writer wrote.
	ErrCorrupt = errors.New("timeline: corrupt")
	// ErrNewerFormat means that a newer version of this program wrote the bytes.
	ErrNewerFormat = errors.New("timeline: newer format")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
