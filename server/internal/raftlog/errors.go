package raftlog

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kantadb/kanta/query"
)

// ErrLost is wrapped by the errors that say that the log does not have what this node has
// acknowledged, or cannot tell. The node must not vote with it: it has to leave the cluster
// and to join it again, empty and under another id.
var ErrLost = errors.New("the Raft log has lost what was acknowledged") //tidy:constant

// wayOut is what to do about it.
const wayOut = "do not start this node with it: remove it from the cluster, empty its directory, and let it join again as a new node"

// damaged is an [ErrLost] with code [query.CodeCorrupt].
func damaged(format string, args ...any) error {
	return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf(format, args...), Hint: wayOut, Err: ErrLost}
}

func damagedEntry(index uint64, format string, args ...any) error {
	return damaged("entry %d of the Raft log is damaged: %s", index, fmt.Sprintf(format, args...))
}

// failed gives an error of reading or writing its code.
func failed(what string, err error) error {
	var coded *query.Error
	var system syscall.Errno
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case errors.As(err, &system):
		return &query.Error{Code: query.CodeIO, Message: fmt.Sprintf("%s: %v", what, err), Hint: "see to the disk, then start the node again", Err: err}
	case pebble.IsCorruptionError(err):
		return damaged("%s: %v", what, err)
	}
	return &query.Error{Code: query.CodeFailed, Message: fmt.Sprintf("%s: %v", what, err), Hint: "see to the disk, then start the node again", Err: err}
}
