package raftlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kantadb/kanta/query"
)

// What raft calls the values of a vote.
const (
	keyVoteTerm      = "LastVoteTerm"
	keyVoteCandidate = "LastVoteCand"
)

// Set stores a value, durably.
func (l *Log) Set(key, value []byte) error {
	if len(key) > maxStableValue || len(value) > maxStableValue {
		return query.Errorf(query.CodeLimit, "Raft log: a stable value and its key have at most %d bytes each, not %d and %d", maxStableValue, len(value), len(key))
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.settled(); err != nil {
		return err
	}
	if old, ok := l.stable.values[string(key)]; ok && bytes.Equal(old, value) {
		return nil
	}
	if l.stable.sequence == math.MaxUint64-1 {
		return query.Errorf(query.CodeLimit, "Raft log: its stable values have been changed too often")
	}
	next := stable{l.stable.sequence + 1, maps.Clone(l.stable.values)}
	next.values[string(key)] = slices.Clone(value)
	if string(key) == keyVoteTerm {
		delete(next.values, keyVoteCandidate) // it was another term's
	}
	if len(next.values) > maxStable {
		return query.Errorf(query.CodeLimit, "Raft log: there are at most %d stable values", maxStable)
	}
	if err := l.halt.Guard(func() error { return l.db.Set([]byte(stableKey), appendStable(nil, &next), pebble.Sync) }); err != nil {
		return failed("write the Raft log", err)
	}
	l.publish(func() { l.stable = next })
	return l.note(true)
}

// Get returns a value, nil if there is none.
func (l *Log) Get(key []byte) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.stable.values[string(key)]), nil
}

// SetUint64 stores a number, durably. That of the term of a vote removes the candidate.
func (l *Log) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns a number, 0 if there is none.
func (l *Log) GetUint64(key []byte) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v, ok := l.stable.values[string(key)]
	if !ok {
		return 0, nil
	}
	if len(v) != 8 {
		return 0, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("Raft log: the stable value %q has %d bytes, it is not a number", key, len(v))}
	}
	return binary.BigEndian.Uint64(v), nil
}
