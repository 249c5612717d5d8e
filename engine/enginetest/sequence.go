package enginetest

import (
	"context"
	"errors"
	"sync"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// Log is the smallest log that replicas can share: a list in this process, in which every
// entry is committed as soon as it is there. Now and then it has one with nothing to apply, and
// leaves out a number, as other logs do.
type Log struct {
	mu      sync.Mutex
	entries []engine.Entry
	grown   chan struct{} // closed when there is another one
}

// NewLog makes an empty log.
func NewLog() *Log { return &Log{grown: make(chan struct{})} }

func (l *Log) append(data []byte) (index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.entries)
	if n > 0 {
		index = l.entries[n-1].Index
	}
	term := uint64(1 + n/50)
	if n%7 == 6 {
		index++
		l.entries = append(l.entries, engine.Entry{Index: index, Term: term})
	}
	index += 1 + uint64(n%5/4)
	l.entries = append(l.entries, engine.Entry{Index: index, Term: term, Data: data})
	close(l.grown)
	l.grown = make(chan struct{})
	return index
}

// Entries returns the entries behind an index, and a channel that is closed when there are more.
func (l *Log) Entries(after uint64) ([]engine.Entry, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.entries)
	for i > 0 && l.entries[i-1].Index > after {
		i--
	}
	return l.entries[i:len(l.entries):len(l.entries)], l.grown
}

// Last returns the index of the last entry.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return 0
	}
	return l.entries[len(l.entries)-1].Index
}

// Member is a replica's side of a log: it proposes, and gives a store what is there.
type Member struct {
	log *Log
	// Most is the number of entries that the store is given at a time; 0: all that there are.
	Most int

	mu      sync.Mutex
	waiting map[uint64]chan result // by index; nil: it does not run
	stop    context.CancelFunc
	done    chan struct{}
	failed  error
	at      uint64        // what the store was given
	moved   chan struct{} // closed when that moves
}

type result struct {
	out engine.Outcome
	err error
}

// Member makes another member, whose store is to be opened with its Options.
func (l *Log) Member() *Member { return &Member{log: l, moved: make(chan struct{})} }

// Options are those of the member's store.
func (m *Member) Options() *engine.ReplicaOptions { return &engine.ReplicaOptions{Propose: m.propose} }

func stopped() error {
	return query.Errorf(query.CodeUnavailable, "the replica stops: whether the batch is applied is known later")
}

func (m *Member) propose(_ context.Context, entry []byte) (func() (engine.Outcome, error), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == nil {
		return nil, query.Errorf(query.CodeUnavailable, "the replica does not run")
	}
	c := make(chan result, 1)
	m.waiting[m.log.append(entry)] = c
	return func() (engine.Outcome, error) {
		r := <-c
		return r.out, r.err
	}, nil
}

// Run begins to give a store what it does not have.
func (m *Member) Run(db *engine.DB) {
	ctx, cancel := context.WithCancel(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting, m.stop, m.done, m.failed = map[uint64]chan result{}, cancel, make(chan struct{}), nil
	m.at, _ = db.AppliedEntry()
	go m.run(ctx, db)
}

func (m *Member) run(ctx context.Context, db *engine.DB) {
	defer close(m.done)
	after := m.at
	for {
		entries, grown := m.log.Entries(after)
		if m.Most > 0 && len(entries) > m.Most {
			entries = entries[:m.Most]
		}
		if len(entries) == 0 {
			select {
			case <-grown:
				continue
			case <-ctx.Done():
				return
			}
		}
		out, err := db.ApplyEntries(ctx, entries)
		if err == nil && len(out) != len(entries) {
			err = errors.New("there are not as many outcomes as entries")
		}
		for i := range out {
			m.tell(entries[i].Index, out[i])
			after = entries[i].Index
		}
		if err != nil {
			m.mu.Lock()
			m.failed = err
			m.mu.Unlock()
			return
		}
	}
}

func (m *Member) tell(index uint64, out engine.Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.waiting[index]; c != nil {
		c <- result{out: out}
		delete(m.waiting, index)
	}
	m.at = index
	close(m.moved)
	m.moved = make(chan struct{})
}

// Wait waits until the store has an entry.
func (m *Member) Wait(ctx context.Context, index uint64) error {
	for {
		m.mu.Lock()
		at, moved, failed := m.at, m.moved, m.failed
		done := m.done
		m.mu.Unlock()
		switch {
		case at >= index:
			return nil
		case failed != nil:
			return failed
		}
		select {
		case <-moved:
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stop ends it: the outcomes that somebody waits for are not known. It returns why the store
// took no more entries, if it was given any that it did not take.
func (m *Member) Stop() error {
	m.stop()
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.waiting {
		c <- result{err: stopped()}
	}
	m.waiting = nil
	if errors.Is(m.failed, context.Canceled) || errors.Is(m.failed, &query.Error{Code: query.CodeClosed}) {
		return nil
	}
	return m.failed
}
