package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/faultnet"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// childEnv is set in a process of its own, in which a test may leave goroutines behind: Pebble
// has some that never return once a disk has failed.
const childEnv = "KANTA_TEST_CHILD"

// inChild runs a test of a cluster in a process of its own, in real time.
func inChild(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	if os.Getenv(childEnv) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")+"$", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), childEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	c := &cluster{t: t, rng: rand.New(rand.NewPCG(1, 2)), net: faultnet.New(1, answerWithin), timing: Timing{Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond, Lease: 150 * time.Millisecond, Commit: 10 * time.Millisecond}}
	defer c.close()
	f(t, c)
}

// cluster is one in this process: its members have file systems in memory and a network of
// package faultnet, and in a synctest bubble a clock that only goes when all of them wait.
type cluster struct {
	t       *testing.T
	rng     *rand.Rand
	members []*member
	mu      sync.Mutex // guards node of the members, where others than the test itself look at it
	net     *faultnet.Network
	cut     map[[2]string]bool // what the first sends does not reach the second
	change  func(c *Config)    // of each member that is opened; may be nil
	timing  Timing
	disks   bool // members have disks that may be full
	quiet   bool // its log is not shown
}

// member is one of them, running or not.
type member struct {
	c       *cluster
	id      string
	files   *vfs.MemFS
	disk    *enginetest.Disk // over files, with an end to it if the test wants one
	node    *Node
	network *faultnet.Transport
	alone   bool                          // nobody reaches it
	broken  atomic.Pointer[string]        // writing to files whose path has this fails
	held    atomic.Pointer[chan struct{}] // syncs of the log of Raft wait for its end; nil: they do not
	step    atomic.Int64                  // by how many nanoseconds its clock is wrong
	stopped atomic.Pointer[error]         // why it has stopped by itself; nil: it has not

	readOnly bool // it joins without a vote, for good
}

// inBubble runs a test of a cluster in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, rng: rand.New(rand.NewPCG(1, 2)), net: faultnet.New(1, answerWithin)}
		defer c.close()
		f(t, c)
	})
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

const (
	memberDir    = "node"
	answerWithin = 500 * time.Millisecond // on the network
)

// init makes the first member.
func (c *cluster) init() *member {
	c.t.Helper()
	m := c.add("n1")
	c.must(Init(m.config(), InitOptions{Cluster: "test", ID: m.id, RaftAddress: m.id + ":1", ClientAddress: m.id + ":2"}))
	m.open()
	c.eventually("a leader", m.node.IsLeader)
	return m
}

func (c *cluster) add(id string) *member {
	m := &member{c: c, id: id, files: vfs.NewCrashableMem()}
	if c.disks {
		m.disk = enginetest.DiskOver(m.files)
	}
	c.members = append(c.members, m)
	return m
}

// three makes a cluster of three members who vote, with the schema that the tests write by.
func (c *cluster) three() {
	c.t.Helper()
	c.init()
	c.must(c.apply(schemaBatch(c.t)))
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id))
	}
	c.eventually("three votes", func() bool { return c.votes() == 3 })
}

// votes counts the members who vote, once all that run know them. Until then Raft lets nobody
// be elected by who does not know of his vote, so the loss of a third member would be too much.
func (c *cluster) votes() (votes int) {
	l := c.leader()
	if l == nil {
		return 0
	}
	known := l.node.servers()
	for _, m := range c.members {
		if m.node != nil && !slices.Equal(m.node.servers(), known) {
			return 0
		}
	}
	for _, s := range known {
		if isVoter(s) {
			votes++
		}
	}
	return votes
}

// join makes a member's directory and has the leader take it in.
func (c *cluster) join(m *member) {
	c.t.Helper()
	incarnation, err := NewIncarnation()
	c.must(err)
	var of Identity
	c.eventually("the leader takes it in", func() bool {
		l := c.leader()
		if l == nil {
			return false
		}
		of = l.node.Identity()
		return l.node.Join(c.t.Context(), query.ClusterRecruit{ID: m.id, Address: m.id + ":2", RaftAddress: m.id + ":1", Incarnation: incarnation, ReadOnly: m.readOnly}) == nil
	})
	c.must(InitJoin(m.config(), Identity{Cluster: of.Cluster, Store: of.Store, ID: m.id, Incarnation: incarnation, Raft: m.id + ":1", Client: m.id + ":2"}))
	m.open()
}

func (m *member) config() Config {
	under := vfs.FS(m.files)
	if m.disk != nil {
		under = m.disk
	}
	disk := errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if what := m.broken.Load(); what != nil && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, *what) {
			return syscall.EIO
		}
		if held := m.held.Load(); held != nil && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && strings.Contains(op.Path, "/"+raftName+"/") {
			<-*held
		}
		return nil
	}))
	c := Config{Dir: memberDir, FS: disk, Transport: m.network, CheckEvery: -1, Timing: m.c.timing,
		Engine:  engine.Options{Memory: 64 << 20, PurgeAfter: -1, Parallelism: 1, Clock: m.clock},
		Stopped: func(err error) { m.stopped.Store(&err) }}
	if testing.Verbose() && !m.c.quiet {
		c.Log = slog.New(slog.NewTextHandler(m.c.t.Output(), nil)).With("on", m.id)
	}
	if m.c.change != nil {
		m.c.change(&c)
	}
	return c
}

// hold has the disk come to no end of the syncs of the log of Raft.
func (m *member) hold() {
	held := make(chan struct{})
	m.held.Store(&held)
}

// clock is what its clock shows, which is not what has passed when somebody sets it.
func (m *member) clock() time.Time { return time.Unix(0, time.Now().UnixNano()+m.step.Load()) }

// open starts a member and connects it with the others.
func (m *member) open() {
	m.c.t.Helper()
	m.network = m.c.net.Join(raft.ServerAddress(m.id + ":1"))
	n, err := Open(m.config())
	m.c.must(err)
	m.set(n)
	m.c.connect()
}

func (m *member) set(n *Node) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.node = n
}

// connect has everybody reach everybody who runs and is not alone.
func (c *cluster) connect() {
	c.net.Heal()
	for _, a := range c.members {
		for _, b := range c.members {
			if a != b && (a.node == nil || b.node == nil || a.alone || b.alone || c.cut[[2]string{a.id, b.id}]) {
				c.net.Cut(raft.ServerAddress(a.id+":1"), raft.ServerAddress(b.id+":1"))
			}
		}
	}
}

// isolate has nobody reach a member any more, or everybody again.
func (m *member) isolate(alone bool) {
	m.alone = alone
	m.c.connect()
}

// close stops a member in good order.
func (m *member) close() {
	m.c.t.Helper()
	if m.node != nil {
		n := m.node
		m.set(nil)
		m.c.connect()
		m.c.must(n.Close())
	}
}

// kill cuts the power: of what was not synced a part survives, in percent.
func (m *member) kill(unsynced int) {
	m.c.t.Helper()
	n := m.node
	m.set(nil)
	m.c.connect()
	left := m.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: m.c.rng})
	if held := m.held.Swap(nil); held != nil {
		close(*held)
	}
	_ = n.Close() // what it still writes goes nowhere
	m.files = left
}

func (c *cluster) close() {
	for _, m := range c.members {
		m.close()
	}
}

// leader returns the member that leads and has a majority behind it, nil while nobody does.
func (c *cluster) leader() *member {
	for _, m := range c.members {
		if m.node != nil && !m.alone && m.node.IsLeader() && m.node.lead.Load() != nil {
			return m
		}
	}
	return nil
}

// eventually waits for something, in the time of the bubble.
func (c *cluster) eventually(what string, ready func() bool) {
	c.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ready(); {
		if time.Now().After(end) {
			c.t.Fatalf("%s: not within 2 minutes of virtual time", what)
		}
		for pause := time.NewTimer(20 * time.Millisecond); ; {
			<-pause.C
			break
		}
	}
}

// apply applies a batch at the leader, and goes on when there is another one. It is for batches
// that may be applied twice, or know that they were.
func (c *cluster) apply(b batch.Batch) error {
	var err error
	for range 200 {
		if l := c.leader(); l != nil {
			if db := l.node.DB(); db != nil {
				if _, err = db.Apply(c.t.Context(), b); err == nil || !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) && !isUnknown(err) {
					return err
				}
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	return fmt.Errorf("nobody took it: %w", err)
}

func schemaBatch(t *testing.T) batch.Batch {
	t.Helper()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	return encode(t, b)
}

func encode(t *testing.T, b *batch.Builder) batch.Batch {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// increment is a batch that makes n of a person one more, exactly once.
func increment(t *testing.T, key string, sequence uint64) batch.Batch {
	t.Helper()
	return incrementOf(t, key, "test", sequence)
}

// incrementOf is increment of one source of several.
func incrementOf(t *testing.T, key, source string, sequence uint64) batch.Batch {
	t.Helper()
	b := batch.New()
	if sequence > 0 {
		b.Source(source, 1, sequence)
	}
	b.Upsert(key).Increment("n", schema.IntValue(1))
	return encode(t, b)
}

// value returns n of a person, 0 without one.
func value(t *testing.T, db *engine.DB, key string) int64 {
	t.Helper()
	n, err := valueIn(db, key)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func valueIn(db *engine.DB, key string) (int64, error) {
	p, err := db.Profile(context.Background(), key, nil)
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, v := range p.Values {
		if v.Name == "n" {
			return v.Value.Ordered(), nil
		}
	}
	return 0, nil
}

// agree waits until all members that run have the same, and returns it.
func (c *cluster) agree() (all query.Digests) {
	c.t.Helper()
	defer func() {
		if !c.t.Failed() {
			return
		}
		for _, m := range c.members {
			if m.node != nil {
				p, err := m.node.Position(context.Background())
				c.t.Logf("%s: at %s (%v), %v; applied %d, %v; members %v", m.id, p, err, m.node.Err(), m.node.applied.now(), m.node.raft.Stats(), m.node.servers())
			}
		}
	}()
	c.eventually("all have the same", func() bool {
		l := c.leader()
		if l == nil {
			return false
		}
		var err error
		all, err = l.node.DB().Digests(c.t.Context())
		c.must(err)
		for _, m := range c.members {
			if m.node == nil {
				continue
			}
			if m.node.DB() == nil {
				return false
			}
			p, err := m.node.Position(c.t.Context())
			c.must(err)
			if p != all.Position {
				return false
			}
		}
		return true
	})
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		d, err := m.node.DB().Digests(c.t.Context())
		c.must(err)
		if d != all {
			c.t.Errorf("digests: %s has %+v, the leader %+v", m.id, d, all)
		}
	}
	return all
}
