package replica

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// unreliable is a network on which what is sent takes its time, is lost, is done though nobody
// hears of it, or comes once more later, behind what was sent since.
type unreliable struct {
	*raft.InmemTransport
	mu   sync.Mutex
	rng  *rand.Rand
	busy sync.WaitGroup // what comes once more
}

var errLost = errors.New("lost on the way")

// whims are what happens to one message.
type whims struct {
	before, after time.Duration
	lost, unheard bool
	again         time.Duration // 0: not
}

func (u *unreliable) draw() (w whims) {
	u.mu.Lock()
	defer u.mu.Unlock()
	upTo := func(most time.Duration) time.Duration { return time.Duration(u.rng.Int64N(int64(most))) }
	w.before, w.after = upTo(10*time.Millisecond), upTo(10*time.Millisecond)
	switch u.rng.IntN(40) {
	case 0:
		w.lost = true
	case 1:
		w.unheard = true
	case 2:
		w.again = upTo(500 * time.Millisecond)
	case 3:
		w.before = upTo(400 * time.Millisecond)
	}
	return w
}

// send sends a message; again does what send does where nobody hears of it.
func (u *unreliable) send(send func() error, again func()) error {
	w := u.draw()
	<-time.After(w.before)
	if w.lost {
		return errLost
	}
	err := send()
	if w.again > 0 {
		u.busy.Go(func() {
			<-time.After(w.again)
			again()
		})
	}
	<-time.After(w.after)
	if w.unheard {
		return errLost
	}
	return err
}

// AppendEntriesPipeline has Raft send one message after another.
func (u *unreliable) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends entries.
func (u *unreliable) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return u.send(func() error { return u.InmemTransport.AppendEntries(id, to, args, resp) }, func() {
		_ = u.InmemTransport.AppendEntries(id, to, args, new(raft.AppendEntriesResponse))
	})
}

// RequestVote asks for a vote.
func (u *unreliable) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return u.send(func() error { return u.InmemTransport.RequestVote(id, to, args, resp) }, func() {
		_ = u.InmemTransport.RequestVote(id, to, args, new(raft.RequestVoteResponse))
	})
}

// InstallSnapshot sends a snapshot, which may break off.
func (u *unreliable) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	w := u.draw()
	<-time.After(w.before)
	if w.lost {
		data = io.LimitReader(data, args.Size/2)
	}
	err := u.InmemTransport.InstallSnapshot(id, to, args, resp, data)
	if w.unheard {
		return errLost
	}
	return err
}

// Close waits for what is on its way.
func (u *unreliable) Close() error {
	err := u.InmemTransport.Close()
	u.busy.Wait()
	return err
}
