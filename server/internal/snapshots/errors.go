package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/kantadb/kanta/query"
)

func corrupt(format string, args ...any) error {
	return query.Errorf(query.CodeCorrupt, format, args...)
}

func corruptly(err error) error {
	return &query.Error{Code: query.CodeCorrupt, Message: err.Error(), Err: err}
}

func limit(format string, args ...any) error { return query.Errorf(query.CodeLimit, format, args...) }

func newer(version uint64) error {
	return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("it has format %d, this is a reader of format %d", version, formatVersion), Hint: "use a newer version of Kanta"}
}

// about says what an error is about, and keeps its code; those of the system get one.
func about(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	message := fmt.Sprintf(format, args...) + ": "
	var coded *query.Error
	var system syscall.Errno
	switch {
	case errors.As(err, &coded):
		return &query.Error{Code: coded.Code, Message: message + coded.Message, Hint: coded.Hint, Err: err}
	case errors.As(err, &system), errors.Is(err, fs.ErrNotExist):
		return &query.Error{Code: query.CodeIO, Message: message + err.Error(), Hint: "see to the disk, then try again", Err: err}
	}
	return fmt.Errorf("%s%w", message, err)
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
