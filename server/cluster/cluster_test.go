package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a cluster in this process: real members over TLS on loopback, each with a server.
type town struct {
	t       *testing.T
	dir     string
	ca      *certs.Authority
	members []*member
	secure  bool   // its servers speak TLS, and so do its clients
	backups string // the directory of the target of backups "backups"
}

type member struct {
	town    *town
	id      string
	dir     string
	address string // for clients
	raft    string
	pair    string // where the files of its certificate are; "": beside dir

	node   *Node
	server *server.Server
	served chan error
}

// freeAddresses returns two addresses of loopback that nobody has.
func freeAddresses(t *testing.T) (out [2]string) {
	t.Helper()
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when the other is there
		out[i] = l.Addr().String()
	}
	return out
}

func (c *town) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func newTown(t *testing.T) *town {
	c := &town{t: t, dir: t.TempDir()}
	pair, err := certs.NewAuthority("ca", 1, time.Now())
	c.must(err)
	c.must(os.WriteFile(filepath.Join(c.dir, "ca.crt"), pair.Cert, 0o600))
	c.ca, err = certs.ReadAuthority(pair)
	c.must(err)
	t.Cleanup(func() {
		for _, m := range c.members {
			m.close()
		}
	})
	return c
}

// move makes a member, which is not in the cluster yet.
func (c *town) move() *member {
	c.t.Helper()
	id := fmt.Sprintf("n%d", len(c.members)+1)
	free := freeAddresses(c.t)
	m := &member{town: c, id: id, dir: filepath.Join(c.dir, id), address: free[0], raft: free[1]}
	p, err := c.ca.Node(id, "town", []string{"127.0.0.1"}, 1, time.Now())
	c.must(err)
	c.must(errors.Join(os.WriteFile(m.dir+".crt", p.Cert, 0o600), os.WriteFile(m.dir+".key", p.Key, 0o600)))
	c.members = append(c.members, m)
	return m
}

// open runs a member and serves it.
func (m *member) open() {
	c := m.town
	c.t.Helper()
	pair := cmp.Or(m.pair, m.dir)
	o := &Options{TLS: certs.Files{Cert: pair + ".crt", Key: pair + ".key", Authority: filepath.Join(c.dir, "ca.crt")},
		Engine: &engine.Options{Memory: 64 << 20, PurgeAfter: -1}}
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("on", m.id)
	}
	var err error
	m.node, err = Open(m.dir, o)
	c.must(err)
	m.server, err = server.New(nil, &server.Options{Cluster: m.node, Target: c.target, TLS: c.serverTLS()})
	c.must(err)
	m.node.Serve(m.server)
	l, err := net.Listen("tcp", m.address)
	c.must(err)
	m.served = make(chan error, 1)
	s, served := m.server, m.served
	go func() { served <- s.Serve(l) }()
}

// close stops a member in good order; it may be stopped already.
func (m *member) close() {
	m.town.t.Helper()
	if m.node == nil {
		return
	}
	m.node.HandOver()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = m.server.Shutdown(ctx)
	if err := errors.Join(<-m.served, m.node.Close()); err != nil {
		m.town.t.Errorf("%s: %v", m.id, err)
	}
	m.node = nil
}

func (c *town) address() string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.address)
	}
	return "kanta://" + strings.Join(all, ",")
}

func (c *town) client(o *client.Options) *client.Client {
	c.t.Helper()
	out, err := client.Open(c.t.Context(), c.address(), c.withTLS(o))
	c.must(err)
	c.t.Cleanup(func() { _ = out.Close() })
	return out
}

func (c *town) encode(b *batch.Builder) batch.Batch {
	c.t.Helper()
	raw, err := b.Encode()
	c.must(err)
	return raw
}

// more is a batch that makes n of somebody one more, once.
func (c *town) more(key string, sequence uint64) batch.Batch {
	b := batch.New()
	b.Source("test", 1, sequence)
	b.Upsert(key).Increment("n", schema.IntValue(1))
	return c.encode(b)
}

func (c *town) eventually(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// found makes a cluster of so many members, of which all have a vote, and an attribute n.
func found(t *testing.T, size int) *town { return newTown(t).found(size) }

func (c *town) found(size int) *town {
	t := c.t
	t.Helper()
	for i := range size {
		m := c.move()
		if i == 0 {
			c.must(Init(m.dir, &InitOptions{Cluster: "town", ID: m.id, Address: m.address, RaftAddress: m.raft}))
			m.open()
			b := batch.New()
			b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
			_, err := c.client(nil).Apply(t.Context(), c.encode(b))
			c.must(err)
			continue
		}
		c.join(m)
		m.open()
	}
	all := c.client(nil)
	c.eventually("all have a vote", func() bool {
		s, err := all.ClusterStatus(t.Context())
		voters := 0
		for _, m := range s.Members {
			if m.Voter {
				voters++
			}
		}
		return err == nil && voters == size
	})
	return c
}

func (c *town) join(m *member) {
	c.t.Helper()
	at := c.client(nil)
	id, err := Join(c.t.Context(), m.dir, at, &JoinOptions{ID: m.id, Address: m.address, RaftAddress: m.raft})
	c.must(err)
	if got, err := IdentityOf(m.dir); err != nil || got != id || !IsMember(m.dir) || IsMember(c.dir) {
		c.t.Errorf("%+v, %v, want %+v", got, err, id)
	}
}

// leader returns who leads, and the others.
func (c *town) leader() (leader *member, others []*member) {
	c.t.Helper()
	c.eventually("somebody leads", func() bool {
		leader, others = nil, nil
		for _, m := range c.members {
			if m.node == nil {
				continue
			}
			if _, self := m.node.Leader(); self {
				leader = m
			} else {
				others = append(others, m)
			}
		}
		return leader != nil
	})
	return leader, others
}

// have returns n of somebody, as the leader has it.
func (c *town) have(key string) int64 {
	c.t.Helper()
	strict := c.client(&client.Options{Consistency: client.Linearizable})
	p, err := strict.Profile(c.t.Context(), key, nil)
	if err != nil || len(p.Values) != 1 {
		c.t.Fatalf("n of %s is %v (%v)", key, p.Values, err)
	}
	return p.Values[0].Value.Ordered()
}

// is wants n of somebody to be so much.
func (c *town) is(key string, n int64) {
	c.t.Helper()
	if have := c.have(key); have != n {
		c.t.Errorf("n of %s is %d, want %d", key, have, n)
	}
}

// TestCluster writes to three members, asks all of them, and goes on when members stop one after another and come
// back: nobody who asks or writes hears of it.
func TestCluster(t *testing.T) {
	c := found(t, 3)
	all, ctx := c.client(nil), t.Context()
	sequence, said := uint64(0), int64(0)
	write := func() {
		t.Helper()
		for range 20 {
			sequence++
			if _, err := all.Apply(ctx, c.more("a", sequence)); err != nil {
				t.Fatal(err)
			}
			said++
			if got, err := all.Count(ctx, fmt.Sprintf("n == %d", said), nil); err != nil || got.Count != 1 {
				t.Fatalf("%d: %+v, %v", said, got, err)
			}
		}
	}
	write()
	for _, m := range c.members {
		m.close()
		write()
		m.open()
		write()
	}
	c.is("a", said)

	c.eventually("everybody knows how fresh it is", func() bool {
		for _, m := range c.members {
			if m.node.Staleness() < 0 {
				return false
			}
		}
		return true
	})

	// A follower refuses what the leader does, by name.
	leader, others := c.leader()
	b := c.more("b", 1)
	_, err := others[0].node.DB().Apply(ctx, b)
	var e *query.Error
	if !errors.As(err, &e) || e.Code != query.CodeNotLeader || e.Leader != leader.address {
		t.Errorf("a batch at a follower: %v", err)
	}
	alone, err := client.Open(ctx, "kanta://"+others[0].address, nil)
	c.must(err)
	defer alone.Close()
	if _, err := alone.Apply(ctx, b); err != nil {
		t.Errorf("a batch by one address: %v", err)
	}

	// A transfer, and a removal.
	c.must(all.ClusterTransfer(ctx, others[0].id))
	c.eventually("it leads", func() bool { l, _ := c.leader(); return l == others[0] })
	write()
	c.must(all.ClusterRemove(ctx, leader.id))
	c.eventually("it is no member", func() bool {
		s, err := alone.ClusterStatus(ctx)
		return err == nil && len(s.Members) == 2
	})
	leader.close()
	write()
	c.is("a", said)
}

// TestIngest submits batches while members are stopped and started one after another, and the leader is another one
// without being stopped. Each is there once. Of those without a source it may be that some fail, of which nobody knows,
// but none is there twice.
func TestIngest(t *testing.T) {
	c := found(t, 3)
	all, ctx := c.client(nil), t.Context()
	submit := func(round int, sources bool) {
		t.Helper()
		key := fmt.Sprint(sources, round)
		var waits []func() (batch.Result, error)
		const batches = 200
		for i := range uint64(batches) {
			b := c.more(key, uint64(round)*batches+i+1)
			if !sources {
				one := batch.New()
				one.Upsert(key).Increment("n", schema.IntValue(1))
				b = c.encode(one)
			}
			wait, err := all.Submit(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			if waits = append(waits, wait); i != batches/2 {
				continue
			}
			leader, _ := c.leader()
			if round > 0 {
				c.must(all.ClusterTransfer(ctx, ""))
				continue
			}
			leader.close()
			leader.open()
		}
		unknown := int64(0)
		for i, wait := range waits {
			_, err := wait()
			if err != nil && (sources || !errors.Is(err, &query.Error{Code: query.CodeUnavailable})) {
				t.Fatalf("%s, batch %d: %v", key, i, err)
			}
			if err != nil {
				unknown++
			}
		}
		if n := c.have(key); n < batches-unknown || n > batches {
			t.Errorf("%s: %d are there of %d batches, of %d it is not known", key, n, batches, unknown)
		}
	}
	for round := range 3 {
		submit(round, true)
		submit(round, false)
	}
}

// TestWiped has a member lose its directory and join under its old name. It has everything by a snapshot.
func TestWiped(t *testing.T) {
	c := found(t, 3)
	all := c.client(nil)
	for i := range uint64(20) {
		if _, err := all.Apply(t.Context(), c.more("a", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	_, others := c.leader()
	lost := others[0]
	lost.close()
	c.must(os.RemoveAll(lost.dir))
	c.eventually("it may come back", func() bool {
		_, err := Join(t.Context(), lost.dir, all, &JoinOptions{ID: lost.id, Address: lost.address, RaftAddress: lost.raft})
		if err != nil && !errors.Is(err, &query.Error{Code: query.CodeConflict}) { // the leader has heard of it just now
			t.Fatal(err)
		}
		return err == nil
	})
	lost.open()
	own, err := client.Open(t.Context(), "kanta://"+lost.address, &client.Options{Attempts: 10})
	for err != nil { // it has no store yet
		own, err = client.Open(t.Context(), "kanta://"+lost.address, &client.Options{Attempts: 10})
	}
	defer own.Close()
	c.eventually("it has everything", func() bool {
		n, err := own.Count(t.Context(), "n == 20", nil)
		return err == nil && n.Count == 1
	})
}

// TestStranger has a client of another authority and one without a certificate call at the members' port.
func TestStranger(t *testing.T) {
	c := found(t, 1)
	for _, o := range []*tls.Config{{InsecureSkipVerify: true}, {InsecureSkipVerify: true, NextProtos: []string{"kanta/node"}}} {
		conn, err := tls.Dial("tcp", c.members[0].raft, o)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if err == nil {
			t.Error("a stranger is heard at the members' port")
		}
	}
	if _, err := Open(c.members[0].dir, &Options{}); err == nil {
		t.Error("a member without a certificate runs")
	}
}
