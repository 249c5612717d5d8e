package replica

import (
	"errors"
	"runtime"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/server/internal/raftlog"
)

// Raft panics when it cannot read an entry that it is to apply, or save its term, and goes on
// when it cannot append; and a panic in one of its goroutines ends the whole process. So what
// fails here stops the member first, and where Raft would panic its goroutine ends instead
// (runtime.Goexit), as it does when Raft is shut down.

// log is the log as Raft gets it.
type log struct {
	*raftlog.Log
	n *Node
}

// GetLog reads an entry, or stops the member. That there is none is no failure: the leader
// sends a snapshot then.
func (l log) GetLog(index uint64, to *raft.Log) error {
	err := l.Log.GetLog(index, to)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) || !l.n.running.Load() { // who opens it is told
		return err
	}
	l.n.fail(err)
	runtime.Goexit()
	return nil
}

// StoreLog appends an entry.
func (l log) StoreLog(x *raft.Log) error { return l.StoreLogs([]*raft.Log{x}) }

// StoreLogs appends entries, or stops the member: nobody knows what the disk has kept of them. What a leader appends is
// durable later; see "A leader's disk" in the comment of the package.
func (l log) StoreLogs(all []*raft.Log) error {
	store := l.Log.StoreLogs
	if l.n.running.Load() && l.n.IsLeader() && !slices.ContainsFunc(all, func(x *raft.Log) bool { return x.Type == raft.LogConfiguration }) {
		store = l.StoreLogsAhead
	}
	err := store(all)
	if err != nil {
		l.n.fail(err)
	}
	return err
}

// DeleteRange deletes entries, or stops the member.
func (l log) DeleteRange(from, to uint64) error {
	err := l.Log.DeleteRange(from, to)
	if err != nil {
		l.n.fail(err)
	}
	return err
}

// stable is what Raft keeps of its votes.
type stable struct {
	*raftlog.Log
	n *Node
}

// Set keeps a value, or stops the member.
func (s stable) Set(key, value []byte) error {
	err := s.Log.Set(key, value)
	if err != nil {
		s.n.fail(err)
	}
	return err
}

// SetUint64 keeps a number, or stops the member.
func (s stable) SetUint64(key []byte, value uint64) error {
	err := s.Log.SetUint64(key, value)
	if err == nil || !s.n.running.Load() {
		return err
	}
	s.n.fail(err)
	runtime.Goexit()
	return nil
}
