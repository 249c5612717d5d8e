package raftlog

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/query"
)

func newHalt() *halt.Halt {
	return halt.New(func(why string, cause error) error {
		return &query.Error{Code: query.CodeFailed, Message: "the Raft log cannot be written: " + why, Hint: "see to the disk, then start the node again", Err: cause}
	})
}

// newFS returns the file system that Pebble gets: whatever cannot be written ends writing.
func newFS(files vfs.FS, h *halt.Halt) *halt.FS {
	return &halt.FS{FS: files, Halt: h, Ends: func(operation, _ string) bool { return operation != "list" }}
}
