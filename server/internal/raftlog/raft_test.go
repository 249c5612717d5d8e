package raftlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
)

// machine is a state machine that keeps what it was given.
type machine struct {
	log *Log // nil: a log that knows nothing of snapshots

	mu       sync.Mutex
	state    applied
	restored []uint64    // the snapshots
	hook     func(n int) // when the n-th has been restored
}

type applied struct {
	Index, Term uint64
	Commands    []string
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Index, m.state.Term = l.Index, l.Term
	m.state.Commands = append(m.state.Commands, string(l.Data))
	return nil
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &applied{m.state.Index, m.state.Term, slices.Clone(m.state.Commands)}, nil
}

func (a *applied) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(a); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (a *applied) Release() {}

func (m *machine) Restore(r io.ReadCloser) error {
	var a applied
	if err := errors.Join(json.NewDecoder(r).Decode(&a), r.Close()); err != nil {
		return err
	}
	m.mu.Lock()
	m.state = a
	m.restored = append(m.restored, a.Index)
	n := len(m.restored)
	m.mu.Unlock()
	if m.hook != nil {
		m.hook(n)
	}
	if m.log == nil {
		return nil
	}
	return m.log.Installed(a.Index, a.Term)
}

func (m *machine) commands() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.state.Commands, " ")
}

func (m *machine) restores() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.restored)
}

// store is a log with what is stable.
type store interface {
	raft.LogStore
	raft.StableStore
}

// node is a member of a cluster of three.
type node struct {
	id      raft.ServerID
	store   store
	machine *machine
	snaps   *raft.InmemSnapshotStore
	trans   *raft.InmemTransport
	raft    *raft.Raft
}

var members = raft.Configuration{Servers: []raft.Server{
	{ID: "a", Address: "a"}, {ID: "b", Address: "b"}, {ID: "c", Address: "c"},
}}

func (n *node) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID, c.LogOutput = n.id, io.Discard
	c.TrailingLogs, c.SnapshotThreshold = 0, 1<<62
	return c
}

// newNode makes a node that has entries 1 to 10 of term 1.
func newNode(t *testing.T, id raft.ServerID, s store) *node {
	n := &node{id: id, store: s, machine: &machine{}, snaps: raft.NewInmemSnapshotStore()}
	n.machine.log, _ = s.(*Log)
	_, n.trans = raft.NewInmemTransport(raft.ServerAddress(id))
	must(t, raft.BootstrapCluster(n.config(), s, s, n.snaps, n.trans, members))
	must(t, s.StoreLogs(entries(2, 10, 1)))
	return n
}

func (n *node) start(t *testing.T) {
	var err error
	n.raft, err = raft.NewRaft(n.config(), n.machine, n.store, n.store, n.snaps, n.trans)
	must(t, err)
}

func (n *node) stop(t *testing.T) { must(t, n.raft.Shutdown().Error()) }

func connect(nodes ...*node) {
	for _, x := range nodes {
		for _, y := range nodes {
			if x != y {
				x.trans.Connect(y.trans.LocalAddr(), y.trans)
			}
		}
	}
}

func disconnect(n *node, from ...*node) {
	n.trans.DisconnectAll()
	for _, x := range from {
		x.trans.Disconnect(n.trans.LocalAddr())
	}
}

// eventually waits, in virtual time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		<-time.After(100 * time.Millisecond) // virtual
	}
	t.Fatalf("after a minute not: %s", what)
}

// leader returns who leads of some nodes.
func leader(t *testing.T, nodes ...*node) (l *node) {
	t.Helper()
	eventually(t, "a leader", func() bool {
		i := slices.IndexFunc(nodes, func(n *node) bool { return n.raft.State() == raft.Leader })
		if i >= 0 {
			l = nodes[i]
		}
		return i >= 0
	})
	return l
}

func (n *node) write(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		must(t, n.raft.Apply(fmt.Appendf(nil, "w%d", i), time.Minute).Error())
	}
}

// diverged returns two nodes that have gone on without the third, which was the leader of another
// term and has a tail that nobody else has; they have a snapshot, and no entry before it.
func diverged(t *testing.T, make func() store) (a, b, c *node) {
	a, b, c = newNode(t, "a", make()), newNode(t, "b", make()), newNode(t, "c", make())
	must(t, c.store.StoreLogs(entries(11, 60, 2)))
	must(t, c.store.SetUint64([]byte("CurrentTerm"), 2))
	for _, n := range []*node{a, b} {
		must(t, n.store.SetUint64([]byte("CurrentTerm"), 2))
	}
	connect(a, b)
	a.start(t)
	b.start(t)
	l := leader(t, a, b)
	l.write(t, 1, 20)
	for _, n := range []*node{a, b} {
		eventually(t, "20 commands", func() bool { return strings.HasSuffix(n.machine.commands(), "w20") })
		must(t, n.raft.Snapshot().Error())
		if first, _ := n.store.FirstIndex(); first > 0 && first <= 11 {
			t.Fatalf("node %s still has the entries from %d on", n.id, first)
		}
	}
	return a, b, c
}

func stores(t *testing.T) func() store {
	return func() store {
		l, err := Open(t.Context(), "log", &Options{FS: enginetest.NewDisk()})
		must(t, err)
		return l
	}
}

func closeAll(t *testing.T, nodes ...*node) {
	for _, n := range nodes {
		n.stop(t)
		if l, ok := n.store.(*Log); ok {
			must(t, l.Close())
		}
	}
}

// TestIssue697 installs a snapshot over a wrong tail that goes on behind it: the node goes on with
// the others, has what they have, and has it after a restart.
func TestIssue697(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := diverged(t, stores(t))
		connect(a, b, c)
		c.start(t)
		l := leader(t, a, b, c)
		l.write(t, 21, 23)
		agree(t, a, b, c)
		if c.machine.restores() != 1 {
			t.Errorf("snapshots %v were installed", c.machine.restored)
		}
		c.stop(t)
		c.machine = &machine{log: c.machine.log}
		connect(a, b, c)
		c.start(t)
		leader(t, a, b, c).write(t, 24, 25)
		agree(t, a, b, c)
		closeAll(t, a, b, c)
	})
}

// agree waits until all have the same commands, of which none is missing or there twice, and
// their logs have the same entries.
func agree(t *testing.T, nodes ...*node) {
	t.Helper()
	last := nodes[0].machine
	eventually(t, "all have the same", func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool {
			i, _ := n.store.LastIndex()
			j, _ := nodes[0].store.LastIndex()
			return n.machine.commands() != last.commands() || i != j
		})
	})
	for i, command := range strings.Fields(strings.Join(regexp.MustCompile(`w[0-9]+`).FindAllString(last.commands(), -1), " ")) {
		if command != fmt.Sprintf("w%d", i+1) {
			t.Fatalf("the commands are %s", last.commands())
		}
	}
	end, _ := nodes[0].store.LastIndex()
	for _, n := range nodes[1:] {
		first, _ := n.store.FirstIndex()
		for i := first; i <= end && first > 0; i++ {
			var x, y raft.Log
			must(t, n.store.GetLog(i, &x))
			if nodes[0].store.GetLog(i, &y) == nil && y.Type != StandIn && (x.Term != y.Term || string(x.Data) != string(y.Data)) {
				t.Fatalf("entry %d of %s is %+v, of %s %+v", i, n.id, x, nodes[0].id, y)
			}
		}
	}
}

// TestTwoSnapshots installs one snapshot over a wrong tail, then another one before raft has heard
// of a single entry, and a third behind the tail's end.
func TestTwoSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := diverged(t, stores(t))
		connect(a, b, c)
		c.machine.hook = func(n int) {
			if n < 3 {
				disconnect(c, a, b)
			}
		}
		c.start(t)
		next := 21
		for _, more := range []int{5, 40} {
			restored := c.machine.restores() + 1
			eventually(t, "a snapshot is installed", func() bool { return c.machine.restores() == restored })
			l := leader(t, a, b)
			l.write(t, next, next+more-1)
			next += more
			must(t, l.raft.Snapshot().Error())
			connect(a, b, c)
		}
		leader(t, a, b, c).write(t, next, next+2)
		agree(t, a, b, c)
		if c.machine.restores() < 3 {
			t.Errorf("snapshots %v were installed", c.machine.restored)
		}
		closeAll(t, a, b, c)
	})
}

// TestIssue697Alone shows what raft does by itself: the node is sent the snapshot again and again.
// If this fails, the library has been mended.
func TestIssue697Alone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := diverged(t, func() store { return raft.NewInmemStore() })
		connect(a, b, c)
		c.machine.hook = func(n int) { // it does not even let virtual time pass
			if n == 10 {
				disconnect(c, a, b)
			}
		}
		c.start(t)
		leader(t, a, b).write(t, 21, 23)
		eventually(t, "ten snapshots", func() bool { return c.machine.restores() >= 10 })
		if strings.Contains(c.machine.commands(), "w23") {
			t.Errorf("it has caught up: %s", c.machine.commands())
		}
		closeAll(t, a, b, c)
	})
}
