package raftlog

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

var (
	_ raft.CommitTrackingLogStore = (*Log)(nil)
	_ raft.MonotonicLogStore      = (*Log)(nil)
	_ raft.StableStore            = (*Log)(nil)
)

var errClosed = &query.Error{Code: query.CodeClosed, Message: "the Raft log is closed"} //tidy:constant

// get returns a copy of a value that must be there.
func (l *Log) get(key []byte) ([]byte, error) {
	v, closer, err := l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, damaged("the Raft log has no key %x", key)
	}
	if err != nil {
		return nil, failed("read the Raft log", err)
	}
	return slices.Clone(v), closer.Close()
}

// read reads an entry that must be there.
func (l *Log) read(index uint64) (raft.Log, link, error) {
	b, err := l.get(entryKey(nil, index))
	if err != nil {
		return raft.Log{}, link{}, err
	}
	return decodeEntry(index, b)
}

// IsMonotonic is false: see issue 697 in the comment of the package.
func (l *Log) IsMonotonic() bool { return false }

// FirstIndex returns the index of the first entry, 0 if there is none.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.state.empty() {
		return 0, nil
	}
	return l.state.base.index + 1, nil
}

// LastIndex returns the index of the last entry, 0 if there is none.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.state.empty() {
		return 0, nil
	}
	return l.state.last, nil
}

// Bytes returns how many bytes the entries have that are kept.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.bytes
}

// GetLog reads an entry and verifies it. What there is not is raft.ErrLogNotFound; a damaged
// one is an error that wraps [ErrLost]. The memory is the caller's. A [StandIn] is answered for
// the base, and for what raft still believes in after a snapshot was installed.
func (l *Log) GetLog(index uint64, log *raft.Log) (err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch s := &l.state; {
	case l.closed:
		return errClosed
	case index > s.base.index && index <= s.last:
		*log, _, err = l.read(index)
		return err
	case index == s.base.index && index > 1 && s.base.term > 0:
		*log = raft.Log{Index: index, Term: s.base.term, Type: StandIn}
		return nil
	case index > s.last && index <= l.ghost:
		*log = raft.Log{Index: index, Type: StandIn}
		return nil
	}
	return raft.ErrLogNotFound
}

// StoreLog appends one entry; see [Log.StoreLogs].
func (l *Log) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends entries, all of them or none, and the commit index that was staged; they
// are durable when it returns. Entries of these indexes and behind are deleted; if there is a
// gap before the first one, so is all before the gap.
func (l *Log) StoreLogs(logs []*raft.Log) error { return l.append(logs, false) }

// append is StoreLogs, or StoreLogsAhead.
func (l *Log) append(logs []*raft.Log, ahead bool) error {
	if len(logs) == 0 {
		return nil
	}
	if err := checkEntries(logs); err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	may := l.settled
	if ahead {
		may = l.usable
	}
	if err := may(); err != nil {
		return err
	}
	first, s := logs[0].Index, l.state
	if first <= s.base.index {
		return query.Errorf(query.CodeInvalid, "Raft log: entry %d is behind the entries that were deleted, which end at %d", first, s.base.index)
	}
	if first <= s.last {
		if err := l.truncate(first); err != nil {
			return err
		}
		s = l.state
	}
	b := l.db.NewBatch()
	if first > s.last+1 { // behind a snapshot
		if err := b.DeleteRange(entryKey(nil, 0), entryKey(nil, s.last+1), nil); err != nil {
			return failed("append to the Raft log", err)
		}
		s.base, s.last = s.joint(first-1), first-1
		l.publish(func() { l.state, l.sizes, l.bytes = s, nil, 0 }) // nobody looks for what is gone
	}
	sum := l.sum
	if s.empty() {
		sum = 0
	}
	sizes, sum, err := put(b, logs, sum)
	if err != nil {
		return err
	}
	s.last, s.edge = logs[len(logs)-1].Index, point{}
	s.commit = min(l.staged, s.last)
	if ahead {
		err = l.commitAhead(b, &s, sum)
	} else {
		err = l.commit(b, &s, true)
	}
	if err != nil {
		return err
	}
	l.sum = sum
	l.publish(func() {
		l.state, l.sizes = s, append(l.sizes, sizes...)
		for _, n := range sizes {
			l.bytes += int64(n)
		}
		if s.last >= l.ghost {
			l.ghost = 0
		}
	})
	if ahead {
		return nil
	}
	return l.note(false)
}

// put adds entries to a batch, behind one with a sum; it returns their sizes and the sum of the last.
func put(b *pebble.Batch, logs []*raft.Log, sum uint32) ([]uint32, uint32, error) {
	sizes := make([]uint32, 0, len(logs))
	for _, entry := range logs {
		size := entrySize(entry)
		op := b.SetDeferred(9, size)
		entryKey(op.Key[:0], entry.Index)
		_, sum = appendEntry(op.Value[:0], entry, sum)
		if err := op.Finish(); err != nil {
			return nil, 0, failed("append to the Raft log", err)
		}
		sizes = append(sizes, uint32(size))
	}
	return sizes, sum, nil
}

// joint returns what entries stand on that are appended behind a gap that ends at index.
func (s *state) joint(index uint64) point {
	for _, known := range []point{s.edge, s.base} {
		if known.index == index {
			return known
		}
	}
	return point{index: index}
}

// usable says why nothing can be written; l.writing is held.
func (l *Log) usable() error {
	if l.closed {
		return errClosed
	}
	return l.halt.Err()
}

// publish changes what readers see.
func (l *Log) publish(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// commit writes a batch and the state that comes with it; l.writing is held.
func (l *Log) commit(b *pebble.Batch, s *state, sync bool) error {
	err := b.Set([]byte(stateKey), appendState(nil, s), nil)
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	if err == nil {
		err = l.halt.Guard(func() error { return b.Commit(o) })
	}
	if err != nil {
		return failed("write the Raft log", err) // the batch may still be in use
	}
	return b.Close()
}

// current is the mark of what there is, which has been synced; l.writing is held.
func (l *Log) current() mark {
	m := mark{base: l.state.base.index, last: l.state.last, sum: l.sum, stable: l.stable.sequence, stableSum: l.stableSum()}
	if l.state.empty() {
		m.sum = 0
	}
	return m
}

// note marks what there is, which has been synced; l.writing is held.
func (l *Log) note(durable bool) error {
	err := l.marks.set(l.current())
	if err == nil && durable {
		err = l.marks.sync()
	}
	return err
}

// lower marks that the log need not have more than up to last, of what it has.
func (l *Log) lower(last uint64, sum uint32) error {
	m := l.marks.before()
	if m.last <= last {
		return nil
	}
	m.last, m.sum = last, sum
	if err := l.marks.set(m); err != nil {
		return err
	}
	return l.marks.sync()
}

// DeleteRange deletes the entries of two indexes and between, which are the first or the last
// ones there are, or all. After a crash they may be there again, until something is appended.
func (l *Log) DeleteRange(from, to uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	s := &l.state
	if from <= l.ghost && to >= l.ghost {
		l.publish(func() { l.ghost = max(from, 1) - 1 })
	}
	switch first := s.base.index + 1; {
	case s.empty() || from > to || to < first || from > s.last:
		return nil
	case from > first && to < s.last:
		return query.Errorf(query.CodeInvalid, "Raft log: to delete %d to %d would leave a gap between %d and %d", from, to, first, s.last)
	case from <= first && to < s.last:
		return l.drop(to)
	default:
		return l.truncate(max(from, first))
	}
}

// drop deletes the entries up to an index, which is not the last one.
func (l *Log) drop(index uint64) error {
	entry, _, err := l.read(index)
	if err != nil {
		return err
	}
	s := l.state
	n := int(index - s.base.index)
	s.base = point{index, entry.Term}
	return l.remove(entryKey(nil, 0), entryKey(nil, index+1), &s, func() {
		for _, size := range l.sizes[:n] {
			l.bytes -= int64(size)
		}
		l.sizes = slices.Clone(l.sizes[n:])
	})
}

// truncate deletes the entries from an index on. If these are all, nobody says whether they
// were wrong or a snapshot has them: the next append will tell.
func (l *Log) truncate(from uint64) error {
	if err := l.Settle(); err != nil {
		return err
	}
	s := l.state
	var sum uint32
	if from > s.base.index+1 {
		_, at, err := l.read(from - 1)
		if err != nil {
			return err
		}
		sum, s.edge = at.sum, point{}
	} else {
		entry, _, err := l.read(s.last)
		if err != nil {
			return err
		}
		s.edge = point{s.last, entry.Term}
	}
	s.last = from - 1
	s.commit = min(s.commit, s.last)
	if err := l.lower(s.last, sum); err != nil {
		return err
	}
	n := int(s.last - s.base.index)
	err := l.remove(entryKey(nil, from), entriesEnd(), &s, func() {
		for _, size := range l.sizes[n:] {
			l.bytes -= int64(size)
		}
		l.sizes = l.sizes[:n]
	})
	l.sum = sum
	return err
}

// remove deletes keys. Readers are told before, so that nobody looks for what is gone. It is
// not synced: what comes after it in the log is only durable with it, and before that it
// does no harm that the entries come back.
func (l *Log) remove(from, to []byte, s *state, change func()) error {
	l.publish(func() {
		l.state = *s
		change()
	})
	b := l.db.NewBatch()
	if err := b.DeleteRange(from, to, nil); err != nil {
		return failed("delete of the Raft log", err)
	}
	return l.commit(b, s, false)
}

// Installed tells the log of a snapshot that was installed and is durable: index and term of
// its last entry. To be called before raft goes on (in FSM.Restore), and of the newest snapshot
// before raft is started. A log that agrees with it is left as it is, any other is deleted; see
// issue 697 in the comment of the package. What is older than the log's beginning changes nothing.
func (l *Log) Installed(index, term uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.settled(); err != nil {
		return err
	}
	s := l.state
	if index < s.base.index || index == s.base.index && s.base.term != 0 {
		return nil
	}
	if index > s.base.index && index <= s.last {
		entry, _, err := l.read(index)
		if err != nil {
			return err
		}
		if entry.Term == term {
			return nil
		}
	}
	if index == s.base.index { // it stands on it, and now it is known on what
		s.base.term = term
		return l.removeSynced(&s, entryKey(nil, 0), entryKey(nil, index+1), func() {})
	}
	if err := l.lower(s.base.index, 0); err != nil {
		return err
	}
	tail := s.last
	s = state{id: s.id, base: point{index, term}, last: index, commit: min(s.commit, index)}
	l.sum = 0
	return l.removeSynced(&s, entryKey(nil, 0), entriesEnd(), func() {
		l.sizes, l.bytes = nil, 0
		if l.ghost = max(l.ghost, tail); l.ghost <= index {
			l.ghost = 0
		}
	})
}

// removeSynced is remove, durable when it returns.
func (l *Log) removeSynced(s *state, from, to []byte, change func()) error {
	if err := l.remove(from, to, s, change); err != nil {
		return err
	}
	if err := l.halt.Guard(func() error { return l.db.LogData(nil, pebble.Sync) }); err != nil {
		return failed("sync the Raft log", err)
	}
	return l.note(false)
}

// StageCommitIndex keeps a commit index for the next append, with which it becomes durable.
func (l *Log) StageCommitIndex(index uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.staged = index
	return nil
}

// GetCommitIndex returns the commit index that was durable with the last append, never more
// than the index of the last entry; 0 if there is none.
func (l *Log) GetCommitIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.state.empty() {
		return 0, nil
	}
	return l.state.commit, nil
}
