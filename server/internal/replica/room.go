package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// What a disk must have left, in three steps, so that whoever is refused first is who writes, and
// what is on its way has room: for an entry to be applied, what the store asks for; for one to come
// into the log, logRoom and what is committed and not yet applied more; for one to be proposed
// here, what may have been proposed before that more.
const (
	logRoom  = 128 << 20 // eight memtables of the log, as of a store
	takeMore = logRoom + maxBacklog
	leadMore = takeMore + maxPending

	roomEvery  = 50 * time.Millisecond  // how often the disks are looked at, at most: of what comes meanwhile there is a multiple in each step
	applyAgain = 200 * time.Millisecond // between two looks whether there is room for what is committed
	yieldEvery = 250 * time.Millisecond // how often a leader looks whether another one should lead, as it has no room
	yieldPause = 5 * time.Second        // after one that could not take over
)

// disk is how much room there is on the disks of a member.
type disk struct {
	files   vfs.FS
	dirs    []string // each may be on another disk
	reserve uint64   // of the store
	closing chan struct{}

	mu     sync.Mutex
	at     time.Time // of the last look
	left   uint64    // on the fullest
	where  string
	known  bool // the file system can tell
	behind bool // something is committed and there is no room to apply it
}

func newDisk(c *Config) (*disk, error) {
	reserve, err := c.Engine.DiskReserve()
	d := &disk{files: c.FS, reserve: reserve, closing: make(chan struct{})}
	for _, name := range []string{storeName, raftName, snapshotsName} {
		d.dirs = append(d.dirs, c.FS.PathJoin(c.Dir, name))
	}
	return d, err
}

// short returns an error if there is less room than the store's reserve and so much more. d may be
// nil: there is room.
func (d *disk) short(more uint64) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.at.IsZero() || now.Sub(d.at) >= roomEvery {
		d.at, d.known = now, false
		for _, dir := range d.dirs {
			use, err := d.files.GetDiskUsage(dir)
			if err == nil && (!d.known || use.AvailBytes < d.left) {
				d.left, d.where, d.known = use.AvailBytes, dir, true
			}
		}
	}
	if !d.known || d.left >= d.reserve+more {
		return nil
	}
	return &query.Error{Code: query.CodeIO, Message: fmt.Sprintf("the disk of %s has %d MiB left, and a member needs %d MiB", d.where, d.left>>20, (d.reserve+more)>>20),
		Hint: "make room on the disk: the member goes on by itself"}
}

// close has nobody wait for room any more.
func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.closing:
	default:
		close(d.closing)
	}
}

// wait notes whether what is committed waits for room.
func (d *disk) wait(is bool) (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, d.behind = d.behind, is
	return was
}

// Room returns why this member takes nothing that is written, though it may answer: its disk is
// nearly full. nil: it takes.
func (n *Node) Room() error { return n.disk.short(takeMore) }

// takes returns why entries cannot come into the log for want of room. Those of Raft and control entries are
// small, and without them nobody could lead: they can.
func (n *Node) takes(entries []*raft.Log) error {
	for _, e := range entries {
		if e.Type == raft.LogCommand && len(e.Data) > 0 {
			return n.Room()
		}
	}
	return nil
}

// nearlyFull reports whether this member should not lead, as it would have to refuse what is written.
func (n *Node) nearlyFull() bool { return n.disk.short(leadMore) != nil }

// mayPropose refuses what there is no room for, here or at a majority, before it comes into the log.
func (n *Node) mayPropose() error {
	short := n.disk.short(leadMore)
	switch {
	case short != nil && n.successor() != "":
		return &query.Error{Code: query.CodeNotLeader, Message: "the disk of this member of the cluster is nearly full, and another one is to lead; nothing was written",
			Hint: "try again soon", RetryAfter: retryAfter}
	case short == nil && n.crowded():
		short = &query.Error{Code: query.CodeIO, Message: "the disks of so many members of the cluster are nearly full that no majority can take what is written; nothing was written",
			Hint: "make room on them: kanta cluster status says which"}
	case short != nil:
		short = &query.Error{Code: query.CodeIO, Message: short.Error() + "; nothing was written", Hint: "no other member of the cluster has more", Err: short}
	}
	return short
}

// crowded reports whether so many of those who vote have no room, or do not answer, that the others are no majority.
// As long as nobody has said that it has no room, nobody is counted who does not answer: then there is no hurry.
func (n *Node) crowded() bool {
	votes, full, silent := 0, 0, 0
	for _, s := range n.servers() {
		if !isVoter(s) {
			continue
		}
		votes++
		switch {
		case s.ID == n.id.server():
		case n.wire.contact(s.ID).full:
			full++
		case !n.answers(s.ID):
			silent++
		}
	}
	return full > 0 && votes-full-silent <= votes/2
}

// successor returns the name of the member that should lead in place of this one, whose disk is nearly
// full; "": there is none that has answered lately, votes and has room.
func (n *Node) successor() (id string) {
	most := uint64(0)
	for _, s := range n.servers() {
		c := n.wire.contact(s.ID)
		if s.ID == n.id.server() || !isVoter(s) || c.full || !n.answers(s.ID) || c.log < most {
			continue
		}
		id, _ = memberOf(s.ID)
		most = c.log
	}
	return id
}

// yield has another member lead when this one has no room, as long as ctx lasts.
func (n *Node) yield(ctx context.Context) {
	t := time.NewTicker(yieldEvery)
	defer t.Stop()
	var not time.Time // before
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if !n.nearlyFull() || time.Now().Before(not) {
			continue
		}
		if id := n.successor(); id != "" {
			n.cfg.Log.Warn("another member is to lead, because the disk of this one is nearly full", "member", n.id.ID, "other", id)
			if err := n.handTo(ctx, id); err != nil && ctx.Err() == nil {
				n.cfg.Log.Warn("the other member does not lead yet", "other", id, "error", err)
				not = time.Now().Add(yieldPause)
			}
		}
	}
}

// handTo has a member lead. Unlike [Node.Transfer] it waits for nothing that waits for room: neither for a change of the
// members, nor until this member has applied what it needs to lead.
func (n *Node) handTo(ctx context.Context, id string) error {
	for _, s := range n.servers() {
		if name, _ := memberOf(s.ID); name != id {
			continue
		}
		done := make(chan error, 1)
		go func() { done <- n.raft.LeadershipTransferToServer(s.ID, s.Address).Error() }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-n.stopped:
			return stopped(n.failure())
		}
	}
	return query.Errorf(query.CodeUnknownName, "there is no member %q", id)
}

// applyEntries has the store decide entries. Where it has no room they wait: they are committed, so the others
// go on with them, and this member when there is room.
func (n *Node) applyEntries(db *engine.DB, entries []engine.Entry) ([]engine.Outcome, error) {
	// What is committed is applied whatever becomes of those who wait for it.
	outcomes, err := db.ApplyEntries(context.Background(), entries)
	if !engine.NoRoom(err) {
		return outcomes, err
	}
	n.cfg.Log.Warn("nothing is applied until there is room", "member", n.id.ID, "error", err)
	n.disk.wait(true)
	defer n.disk.wait(false)
	for engine.NoRoom(err) {
		select {
		case <-time.After(applyAgain):
		case <-n.stopped:
			return nil, n.failure()
		case <-n.disk.closing:
			n.halt(errClosed())
			return nil, errClosed()
		}
		var more []engine.Outcome
		more, err = db.ApplyEntries(context.Background(), entries[len(outcomes):])
		outcomes = append(outcomes, more...)
	}
	if err == nil {
		n.cfg.Log.Info("there is room, and the member goes on", "member", n.id.ID)
	}
	return outcomes, err
}
