package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// maxFindings is how many marks a member remembers: a leader asks about one at a time, and
// another leader may begin with its own.
const maxFindings = 4

// checks compare what the members have: see the package comment.
type checks struct {
	n  *Node
	mu sync.Mutex

	found  []*finding // the latest last
	ending bool
	busy   sync.WaitGroup
	cancel map[*finding]context.CancelFunc

	disputed string // what members differ in, of whom nobody knows which are right
}

// finding is what this member has at a mark.
type finding struct {
	mark uint64
	done chan struct{} // closed when the rest is known
	have query.Digests
	err  error
}

// holding is what it has found, for others.
func (f *finding) holding() *holding {
	return &holding{mark: f.mark, position: f.have.Position, chain: f.have.Chain, replica: f.have.Replica}
}

// given takes a control entry that was committed. Raft's goroutine of the state machine calls
// it, when all entries before it have been applied and none behind it.
func (c *checks) given(l *raft.Log, db *engine.DB) {
	x, err := decodeControl(l.Extensions)
	if err != nil {
		c.n.fail(fmt.Errorf("entry %d of the log: %w", l.Index, err))
		return
	}
	switch x.kind {
	case controlMark:
		if applied, _ := db.AppliedEntry(); applied <= l.Index { // else it is given again, and the store is past it
			c.look(l.Index, db)
		}
	case controlVerdict:
		c.compare(x.verdict)
	}
}

// look begins to compute the digests of the store as it is.
func (c *checks) look(mark uint64, db *engine.DB) {
	s, err := db.Snapshot(context.Background())
	if err != nil {
		return // it is closed, or will be asked again
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &finding{mark: mark, done: make(chan struct{})}
	c.mu.Lock()
	if c.ending || len(c.cancel) > 0 { // the one before is not done: this member is asked again soon
		c.mu.Unlock()
		cancel()
		_ = s.Close() // it holds nothing but memory
		return
	}
	if c.cancel == nil {
		c.cancel = map[*finding]context.CancelFunc{}
	}
	c.cancel[f] = cancel
	c.found = append(c.found, f)
	if len(c.found) > maxFindings {
		c.found = c.found[1:]
	}
	c.busy.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.busy.Done()
		f.have, f.err = db.SnapshotDigests(ctx, s)
		f.err = errors.Join(f.err, s.Close())
		c.mu.Lock()
		delete(c.cancel, f)
		c.mu.Unlock()
		cancel()
		if f.err == nil {
			c.n.wire.report(f.holding())
		}
		close(f.done)
	}()
}

// at returns what was found at a mark, nil if nothing was.
func (c *checks) at(mark uint64) *finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.found {
		if f.mark == mark {
			return f
		}
	}
	return nil
}

// compare compares what a majority has found with what this member has, when that is known.
func (c *checks) compare(v *verdict) {
	right, ok := v.majority()
	switch {
	case ok:
		c.dispute("")
	case v.differ():
		c.dispute(fmt.Sprintf("members have different stores, and no majority has the same: %s", v))
		return
	default:
		return // too few have answered
	}
	f := c.at(v.mark)
	if f == nil {
		return // it was not running then, or has got a snapshot since
	}
	c.mu.Lock()
	if c.ending {
		c.mu.Unlock()
		return
	}
	c.busy.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.busy.Done()
		<-f.done
		if f.err == nil && *f.holding() != right {
			go c.n.diverged(f.holding(), &right)
		}
	}()
}

// dispute notes what members differ in, "" if a majority agrees.
func (c *checks) dispute(what string) {
	c.mu.Lock()
	before := c.disputed
	c.disputed = what
	c.mu.Unlock()
	if what != "" && before == "" {
		c.n.cfg.Log.Error(what, "hint", disputeHint)
	}
}

const disputeHint = "delete nothing; stop the members and compare what they have with a backup or with where it came from"

// problem returns what members differ in, "" if they do not as far as is known.
func (c *checks) problem() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disputed
}

// ask has the members compare, as long as this one leads and something is written.
func (c *checks) ask(ctx context.Context) {
	if c.n.cfg.CheckEvery < 0 {
		return
	}
	t := time.NewTicker(c.n.cfg.CheckEvery)
	defer t.Stop()
	var last query.Position
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now, err := c.n.Position(ctx)
		if err != nil || now == last {
			continue
		}
		if c.once(ctx) == nil {
			last = now
		}
	}
}

// once sets a mark and says what this member has found at it.
func (c *checks) once(ctx context.Context) error {
	x, err := c.n.enter(ctx, nil, control{kind: controlMark}.encode())
	if err != nil {
		return err
	}
	select {
	case <-x.answered:
	case <-c.n.stopped:
		return c.n.failure()
	}
	if x.err != nil {
		return x.err
	}
	f := c.at(x.index)
	if f == nil {
		return errors.New("the check before is not done")
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.err != nil {
		return f.err
	}
	return c.n.control(ctx, control{kind: controlVerdict, verdict: c.n.poll(ctx, f)})
}

// pollTime is for how long a leader waits for what others find: it is long enough for all who run, and one who does not
// must not keep the others from comparing.
const pollTime = 5 * time.Second

// poll collects what those who vote have found at a mark.
func (n *Node) poll(ctx context.Context, own *finding) *verdict {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	v := &verdict{mark: own.mark}
	_ = n.wire.acks.until(ctx, func(uint64) (bool, error) { // when the time is over it is what has come
		v.voters, v.votes = 0, nil
		for _, s := range n.servers() {
			if !isVoter(s) {
				continue
			}
			v.voters++
			found := own.holding()
			if s.ID != n.id.server() {
				found = n.wire.contact(s.ID).found
			}
			if found != nil && found.mark == own.mark && len(v.votes) < maxHoldings {
				v.votes = append(v.votes, vote{s.ID, *found})
			}
		}
		return len(v.votes) == min(v.voters, maxHoldings), n.failure()
	})
	return v
}

// forget drops what was found, because the store is replaced: nobody reads it any more when
// this returns.
func (c *checks) forget() {
	c.mu.Lock()
	for _, cancel := range c.cancel {
		cancel()
	}
	c.found = nil
	c.mu.Unlock()
	c.busy.Wait()
	if c.n.wire != nil {
		c.n.wire.report(nil)
	}
}

// end is forget for good.
func (c *checks) end() {
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	c.forget()
}

// divergedFile is a file in the directory of a member that has found that its store differs.
const divergedFile = "DIVERGED"

// diverged stops the member for good: nobody can tell since when its answers are wrong. If it leads, another one is
// asked to before.
func (n *Node) diverged(own, right *holding) {
	what := fmt.Sprintf("a majority has %s, and this member %s", right, own)
	err := errDiverged(what)
	err = errors.Join(err, writeFile(n.cfg.FS, n.cfg.Dir, divergedFile, what+"\n"))
	if n.IsLeader() {
		_ = n.raft.LeadershipTransfer().Error() // else there is an election
	}
	n.fail(err)
	n.withdraw()
}

// withdraw closes the store, so that nobody is answered from it any more.
func (n *Node) withdraw() {
	n.swap.lock()
	defer n.swap.mu.Unlock()
	if err := n.closeStore(); err != nil {
		n.cfg.Log.Warn("the store that differs cannot be closed", "error", err)
	}
}

func errDiverged(what string) error {
	return &query.Error{Code: query.CodeCorrupt, Message: "this member's store differs from the cluster's: " + what, Hint: joinAnew}
}

// checkDiverged reports a member that has found before that its store differs.
func checkDiverged(files vfs.FS, dir string) error {
	f, err := files.Open(files.PathJoin(dir, divergedFile))
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return diskError("open "+divergedFile, err)
	}
	what, err := io.ReadAll(io.LimitReader(f, 4096))
	if err = errors.Join(err, f.Close()); err != nil {
		return diskError("read "+divergedFile, err)
	}
	return errDiverged(string(what))
}
