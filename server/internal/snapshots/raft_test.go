package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// shelf is a state machine that is a directory: each command is a table in it, and MARK says
// the index of the last one. A command of nothing is refused and leaves no trace.
type shelf struct {
	files *enginetest.Disk
	snaps *Store

	mu       sync.Mutex
	applied  uint64 // the store's word; that of the last command that changed it
	given    uint64 // the last that raft gave, or a snapshot stands for
	failed   error
	restored int
}

const shelfDir = "node/store"

// load reads what is there.
func (x *shelf) load() error {
	text, err := get(x.files, shelfDir+"/MARK")
	if isNotExist(err) {
		return nil
	}
	if err == nil {
		x.applied, err = strconv.ParseUint(text, 10, 64)
	}
	x.given = x.applied
	return err
}

func (x *shelf) Apply(l *raft.Log) any {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(l.Data) > 0 && l.Index > x.applied && x.failed == nil {
		name := fmt.Sprintf("%s/db/%06d.sst", shelfDir, l.Index)
		err := put(x.files, name, string(l.Data))
		if err == nil {
			err = errors.Join(put(x.files, shelfDir+"/MARK.new", fmt.Sprint(l.Index)), x.files.Rename(shelfDir+"/MARK.new", shelfDir+"/MARK"), syncDir(x.files, shelfDir), syncDir(x.files, "node"))
		}
		if err != nil {
			x.failed = err
			return err
		}
		x.applied = l.Index
	}
	x.given = max(x.given, l.Index)
	return nil
}

func (x *shelf) Snapshot() (raft.FSMSnapshot, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := &pending{snaps: x.snaps, dir: x.snaps.Scratch(), of: Checkpoint{Index: x.applied, Position: query.Position{Epoch: 1, Applied: x.applied}}}
	return p, link(x.files, shelfDir, p.dir)
}

func (x *shelf) Restore(source io.ReadCloser) error {
	r, ok := Of(source)
	if !ok {
		return fmt.Errorf("a %T", source)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.restored++
	if err := Install(context.Background(), r, shelfDir, nil); err != nil {
		return err
	}
	err := x.load()
	if x.applied != r.Meta().Checkpoint.Index {
		err = errors.Join(err, fmt.Errorf("installed is %d, not %d", x.applied, r.Meta().Checkpoint.Index))
	}
	x.given = r.Meta().Index
	return err
}

// state returns the indexes, and whether something failed.
func (x *shelf) state() (applied, given uint64, failed error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.applied, x.given, x.failed
}

type pending struct {
	snaps *Store
	dir   string
	of    Checkpoint
}

func (p *pending) Persist(sink raft.SnapshotSink) error {
	return sink.(*Sink).Adopt(context.Background(), p.dir, p.of)
}

func (p *pending) Release() { _ = p.snaps.Discard(p.dir) }

// member is a node of a cluster.
type member struct {
	*raft.Raft
	id    raft.ServerID
	files *enginetest.Disk
	logs  *raft.InmemStore
	wires *raft.InmemTransport
	shelf *shelf
}

// cluster is three nodes, in a bubble of synctest.
type cluster struct {
	t       *testing.T
	members map[raft.ServerID]*member
}

// start starts a node on what it has on its disk.
func (c *cluster) start(m *member) error {
	if err := Recover(m.files, shelfDir); err != nil {
		return err
	}
	snaps, err := Open("node/snapshots", &Options{FS: m.files})
	if err != nil {
		return err
	}
	m.shelf = &shelf{files: m.files, snaps: snaps}
	if err := m.shelf.load(); err != nil {
		return err
	}
	o := raft.DefaultConfig()
	o.LocalID, o.LogOutput, o.LogLevel = m.id, io.Discard, "ERROR"
	o.SnapshotInterval, o.TrailingLogs = 24*time.Hour, 2
	newest, _ := snaps.Newest()
	o.NoSnapshotRestoreOnStart = newest == nil || newest.HeldBy(m.shelf.applied)
	_, m.wires = raft.NewInmemTransport(raft.ServerAddress(m.id))
	for _, other := range c.members {
		if other != m && other.Raft != nil {
			m.wires.Connect(raft.ServerAddress(other.id), other.wires)
			other.wires.Connect(raft.ServerAddress(m.id), m.wires)
		}
	}
	m.Raft, err = raft.NewRaft(o, m.shelf, m.logs, m.logs, snaps, m.wires)
	return err
}

// stop ends a node, but not its disk.
func (c *cluster) stop(m *member) {
	for _, other := range c.members {
		if other.wires != nil {
			other.wires.Disconnect(raft.ServerAddress(m.id))
		}
	}
	_ = m.wires.Close()
	m.shelf.snaps.Close()
	if err := m.Shutdown().Error(); err != nil {
		c.t.Error(err)
	}
	m.Raft, m.wires = nil, nil
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, members: map[raft.ServerID]*member{}}
	var all raft.Configuration
	for _, id := range []raft.ServerID{"a", "b", "c"} {
		c.members[id] = &member{id: id, files: enginetest.NewDisk(), logs: raft.NewInmemStore()}
		all.Servers = append(all.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	for _, id := range []raft.ServerID{"a", "b", "c"} {
		must(t, c.start(c.members[id]))
		must(t, c.members[id].BootstrapCluster(all).Error())
	}
	return c
}

func (c *cluster) close() {
	for _, m := range c.members {
		if m.Raft != nil {
			c.stop(m)
		}
	}
}

// await waits for something, in the bubble's time.
func (c *cluster) await(what string, is func() bool) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 60_000 {
		if is() {
			return
		}
		<-tick.C
	}
	c.t.Fatalf("ten minutes without %s", what)
}

// leader returns the one that leads, of those that are not cut off.
func (c *cluster) leader(without ...*member) (m *member) {
	c.t.Helper()
	c.await("a leader", func() bool {
		for _, m = range c.members {
			if m.Raft != nil && !slices.Contains(without, m) && m.State() == raft.Leader && m.VerifyLeader().Error() == nil {
				return true
			}
		}
		return false
	})
	return m
}

// follower returns one that does not lead.
func (c *cluster) follower() (out *member) {
	leader := c.leader()
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if m := c.members[id]; m != leader {
			out = m
		}
	}
	return out
}

// write has a leader apply so many commands, and then one that is refused.
func (c *cluster) write(n int, without ...*member) {
	c.t.Helper()
	m := c.leader(without...)
	for i := range n {
		must(c.t, m.Apply(fmt.Appendf(nil, "command %d of %d", i, n), time.Minute).Error())
	}
	must(c.t, m.Apply(nil, time.Minute).Error())
	must(c.t, m.Barrier(time.Minute).Error())
}

// same waits until all nodes have the same, and compares.
func (c *cluster) same() {
	c.t.Helper()
	leader := c.leader()
	applied, given, _ := leader.shelf.state()
	want := look(c.t, leader.files, shelfDir)
	if len(want) < 2 || applied == given {
		c.t.Fatalf("%d files, applied %d, given %d: nothing to compare", len(want), applied, given)
	}
	for _, m := range c.members {
		c.await("all to have the same", func() bool {
			a, g, failed := m.shelf.state()
			must(c.t, failed)
			return a >= applied && g >= given
		})
		if err := look(c.t, m.files, shelfDir).same(want); err != nil {
			c.t.Fatalf("%s and %s: %v", leader.id, m.id, err)
		}
	}
}

// cutOff ends the connections of a node, both ways; the result ends that.
func (c *cluster) cutOff(m *member) (back func()) {
	for _, o := range c.members {
		if o != m {
			o.wires.Disconnect(raft.ServerAddress(m.id))
			m.wires.Disconnect(raft.ServerAddress(o.id))
		}
	}
	return func() {
		for _, o := range c.members {
			if o != m && o.wires != nil && m.wires != nil {
				o.wires.Connect(raft.ServerAddress(m.id), m.wires)
				m.wires.Connect(raft.ServerAddress(o.id), o.wires)
			}
		}
	}
}

// snapshot has the leader make a snapshot; then its log does not have what it had before.
func (c *cluster) snapshot(without ...*member) {
	c.t.Helper()
	m := c.leader(without...)
	must(c.t, m.Snapshot().Error())
	is, _ := m.shelf.snaps.Newest()
	if is.Checkpoint.Index >= is.Index || is.Checkpoint.Index == 0 {
		c.t.Fatalf("the snapshot of index %d has a store of %d: nothing was refused behind it", is.Index, is.Checkpoint.Index)
	}
}

// TestRaft has a node fall behind what the log has, another wiped, and all started again.
func TestRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		c.write(10)
		c.same()
		behind := c.follower()
		back := c.cutOff(behind)
		c.write(10, behind)
		c.snapshot(behind)
		c.write(3, behind)
		c.snapshot(behind) // one right after the other
		back()
		c.write(2)
		c.same()
		if behind.shelf.restored == 0 {
			t.Fatal("it was caught up without a snapshot")
		}

		wiped := c.follower()
		c.stop(wiped)
		wiped.files, wiped.logs = enginetest.NewDisk(), raft.NewInmemStore()
		must(t, c.start(wiped))
		c.write(2)
		c.same()
		if wiped.shelf.restored == 0 {
			t.Fatal("it was filled without a snapshot")
		}

		for range 3 { // the leader, too, and whoever leads then
			m := c.leader()
			c.snapshot()
			c.write(2)
			c.stop(m)
			must(t, c.start(m))
			c.write(1)
			c.same()
			if m.shelf.restored > 0 {
				t.Fatal("what it had was installed")
			}
		}
		m := c.follower() // its store is gone, its log and its snapshots are not
		must(t, m.Snapshot().Error())
		c.stop(m)
		must(t, m.files.RemoveAll(shelfDir))
		must(t, c.start(m))
		if m.shelf.restored != 1 {
			t.Fatal("its own snapshot was not installed")
		}
		c.write(1)
		c.same()
	})
}

// TestRaftKilled has a node that is sent a snapshot lose its power, before each operation of
// receiving and installing, and be started on what is left.
func TestRaftKilled(t *testing.T) {
	killed, received, installed := 0, 0, 0
	for nth, ended := 1, false; !ended; nth++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			defer c.close()
			c.write(4)
			c.same()
			m := c.follower()
			back := c.cutOff(m)
			c.write(4, m)
			c.snapshot(m)
			fault := &enginetest.DiskFault{Nth: nth, Forever: true, Err: syscall.EIO}
			m.files.Before(fault.Before)
			_, given, _ := c.leader(m).shelf.state()
			back()
			c.await("a power cut, or all of it", func() bool {
				n, _ := fault.Fired()
				_, g, _ := m.shelf.state()
				return n > 0 || g >= given
			})
			if n, _ := fault.Fired(); n == 0 {
				ended = true
			} else {
				killed++
			}
			c.stop(m)
			m.files.Before(nil)
			var err error
			m.files, err = m.files.Crash(enginetest.PowerCut{Percent: []int{0, 50, 100}[nth%3], Seed: uint64(nth)})
			must(t, err)
			if err := c.start(m); err != nil {
				t.Fatalf("power cut at operation %d: %v", nth, err)
			}
			newest, _ := m.shelf.snaps.Newest()
			switch {
			case newest == nil:
			case m.shelf.restored > 0: // at the start: it had been received, and was not in its place
				received++
			default:
				installed++
			}
			c.write(1)
			c.same()
		})
		if t.Failed() {
			t.Fatalf("power cut at operation %d", nth)
		}
	}
	t.Logf("%d power cuts: %d times the snapshot was there, %d times in its place", killed, received, installed)
	if killed < 50 || received == 0 || installed == 0 {
		t.Fatalf("%d power cuts, %d and %d after the snapshot was received", killed, received, installed)
	}
}
