package bitmap

import (
	"errors"
	"fmt"
)

// What decoding may fail with; test with errors.Is.
var (
	// ErrCorrupt: the bytes are not what a writer wrote.
	ErrCorrupt = errors.New("bitmap: corrupt")
	// ErrNewerFormat: the bytes were written by a newer version.
	ErrNewerFormat = errors.New("bitmap: newer format")
)

// corrupt returns an ErrCorrupt that says which object and what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// newer returns an ErrNewerFormat.
func newer(what string, version uint8) error {
	return fmt.Errorf("%w: %s version %d", ErrNewerFormat, what, version)
}
