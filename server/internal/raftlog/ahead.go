package raftlog

import (
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// maxAhead is how many appends may be on their way to the disk. Pebble syncs all that wait with one sync, so
// a few would do; more only wait.
const maxAhead = 64

// ahead are the appends that Pebble has and the disk may not have yet.
type ahead struct {
	queue chan appended
	done  chan struct{} // closed when nothing comes any more

	mu      sync.Mutex
	under   int           // that are on their way
	durable uint64        // the last index that the disk has, while any are
	changed chan struct{} // closed when that has changed, and made anew
}

// appended is one of them, and the mark that says so when the disk has it.
type appended struct {
	batch *pebble.Batch
	mark  mark
}

func (a *ahead) start(l *Log) {
	a.queue, a.done, a.changed = make(chan appended, maxAhead), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(a.done)
		for x := range a.queue {
			if l.synced(x) != nil {
				return // whoever waits is told by halt
			}
		}
	}()
}

// begin takes note that one more is on its way, behind what the disk has.
func (a *ahead) begin(last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under == 0 {
		a.durable = last
	}
	a.under++
}

// end takes note that the disk has one more.
func (a *ahead) end(last uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.under--
	a.durable = last
	close(a.changed)
	a.changed = make(chan struct{})
}

// StoreLogsAhead appends entries as [Log.StoreLogs] does, but returns before they are durable:
// [Log.Durable] and [Log.AwaitDurable] say when. An error comes back from these, too.
func (l *Log) StoreLogsAhead(logs []*raft.Log) error { return l.append(logs, true) }

// commitAhead writes a batch that ends with an entry of a sum; l.writing is held.
func (l *Log) commitAhead(b *pebble.Batch, s *state, sum uint32) error {
	if err := b.Set([]byte(stateKey), appendState(nil, s), nil); err != nil {
		return failed("write the Raft log", err)
	}
	l.ahead.begin(l.state.last)
	if err := l.halt.Guard(func() error { return l.db.ApplyNoSyncWait(b, pebble.Sync) }); err != nil {
		l.halt.GiveUp(err.Error(), err) // else who waits for it would wait for ever
		return failed("write the Raft log", err)
	}
	m := l.current()
	m.base, m.last, m.sum = s.base.index, s.last, sum
	select {
	case l.ahead.queue <- appended{b, m}:
		return nil
	case <-l.halt.Halted():
		return l.halt.Err()
	}
}

// synced waits until the disk has an append, and marks it.
func (l *Log) synced(x appended) error {
	if err := l.halt.Guard(x.batch.SyncWait); err != nil {
		l.halt.GiveUp(err.Error(), err)
		return err
	}
	if err := l.marks.set(x.mark); err != nil {
		return err
	}
	l.ahead.end(x.mark.last)
	return x.batch.Close()
}

// Durable returns the index of the last entry that is durable, with all before it: of one that was cut off behind a
// snapshot too, where nothing is left.
func (l *Log) Durable() uint64 {
	l.ahead.mu.Lock()
	defer l.ahead.mu.Unlock()
	if l.ahead.under > 0 {
		return l.ahead.durable
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return max(l.state.last, l.state.edge.index)
}

// AwaitDurable returns when an entry that has been appended is durable, with all before it; an error says that it may
// never be.
func (l *Log) AwaitDurable(index uint64) error {
	a := &l.ahead
	for {
		a.mu.Lock()
		reached, changed := a.under == 0 || a.durable >= index, a.changed
		a.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-l.halt.Halted():
			return l.halt.Err()
		}
	}
}

// Settle returns when all that has been appended is durable.
func (l *Log) Settle() error { return l.AwaitDurable(math.MaxUint64) }

// settled says why what is durable cannot be changed, when all that has been appended is; l.writing is held. Marks are
// set in the order of the appends, so whatever sets one begins with this.
func (l *Log) settled() error {
	if err := l.usable(); err != nil {
		return err
	}
	return l.Settle()
}
