package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

const (
	upkeepEvery   = time.Second      // how often a member looks after itself
	snapshotPause = 10 * time.Second // after a snapshot that could not be made
	spread        = 4                // members that miss their leader stand one after the other, within this part of Heartbeat: at the same time none would be elected
	neededLogs    = 8                // of what the log may grow to, while another member needs it: a snapshot of 10 GB takes minutes, and a member that never gets ready must not fill the disk
)

// upkeep cuts the log when it has grown, and notices when the member is one no more.
func (n *Node) upkeep(ctx context.Context) {
	t := time.NewTicker(upkeepEvery)
	defer t.Stop()
	var not time.Time // no snapshot before
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		case <-n.stopped:
			return
		}
		if n.members.belongs.removed.Load() {
			n.fail(&query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s was removed from the cluster %s", n.id.ID, n.id.Cluster),
				Hint: "delete its directory; kanta cluster join makes a new one"})
			return
		}
		if !n.snapshotDue() || time.Now().Before(not) {
			continue
		}
		if err := n.Snapshot(); err != nil {
			n.cfg.Log.Warn("no snapshot could be made", "error", err)
			not = time.Now().Add(snapshotPause)
		}
	}
}

// snapshotDue reports whether the log has grown so much that it is to be cut. While a snapshot
// is sent it may grow to more: cut, it would lack what the other member reads next, which would
// have to begin with another snapshot.
func (n *Node) snapshotDue() bool {
	most := n.cfg.SnapshotBytes + n.cfg.TrailingBytes
	if n.snaps.LogNeeded() {
		most *= neededLogs
	}
	return n.logs.Bytes() >= most
}

// belonging is whether a member is one, by what is committed.
type belonging struct {
	once    atomic.Bool // it was
	removed atomic.Bool // and is no more
}

// committed is told of each configuration that is committed, in their order. A member that was in one and is not
// in the next has been removed. What Raft has in force does not say so: it may not be committed, and then the member
// may have what was acknowledged and most others have not.
func (n *Node) committed(c raft.Configuration) {
	is := has(c.Servers, n.id.server())
	if is {
		n.members.belongs.once.Store(true)
	}
	n.members.belongs.removed.Store(!is && n.members.belongs.once.Load())
}

// Snapshot makes a snapshot of the store and cuts the log behind it, but for what
// [Config.TrailingBytes] keeps. The node does so by itself when the log has grown.
func (n *Node) Snapshot() error { return n.snapshot(0) }

// snapshot makes a snapshot and cuts the log behind it, at least up to an index that was applied.
func (n *Node) snapshot(atLeast uint64) error {
	n.purging.cutting.Lock()
	defer n.purging.cutting.Unlock()
	if err := n.reload(func(c *raft.ReloadableConfig) { c.TrailingLogs = n.trailing(atLeast) }); err != nil {
		return err
	}
	return n.raft.Snapshot().Error()
}

// trailing is how many entries TrailingBytes are, if those that come are as large as those there are, and
// none up to an index.
func (n *Node) trailing(cut uint64) uint64 {
	keep := uint64(n.cfg.TrailingBytes / n.entryBytes())
	if cut > 0 {
		last := n.raft.LastIndex()
		keep = min(keep, last-min(cut, last))
	}
	return keep
}

// reload changes Raft's configuration.
func (n *Node) reload(change func(*raft.ReloadableConfig)) error {
	n.duties.reloading.Lock()
	defer n.duties.reloading.Unlock()
	c := n.raft.ReloadableConfig()
	change(&c)
	return n.raft.ReloadConfig(c)
}

// listen has a member that follows stand for election soon after it has not heard its leader for as long as
// Heartbeat. Raft looks at times of its own, each one to two Heartbeats after the one before, and who is asked for
// his vote before he has looked refuses: together that takes twice as long. Who stands, and who gets votes, Raft
// decides as before.
func (n *Node) listen(ctx context.Context) {
	begun := time.Now()
	for {
		patience := n.cfg.Timing.Heartbeat
		patience += rand.N(patience / spread)
		heard := n.raft.LastContact()
		if heard.Before(begun) {
			heard = begun
		}
		silent := time.Since(heard)
		if silent >= patience {
			if n.raft.State() == raft.Follower {
				n.lookNow()
			}
			silent = 0
		}
		select {
		case <-time.After(patience - silent):
		case <-ctx.Done():
			return
		case <-n.stopped:
			return
		}
	}
}

// lookNow has Raft look now whether it has heard its leader: it does so when its patience is made shorter.
func (n *Node) lookNow() {
	for _, more := range []time.Duration{1, -1} {
		if err := n.reload(func(c *raft.ReloadableConfig) {
			c.HeartbeatTimeout += more
			c.ElectionTimeout += more
		}); err != nil {
			n.cfg.Log.Warn("raft is not told to look for its leader", "error", err)
		}
	}
}
