package peer

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/server/certs"
)

// over makes raft's transport over a layer, as a node does.
func over(y *Layer) *raft.NetworkTransport {
	return raft.NewNetworkTransport(y, MaxPool, time.Minute, io.Discard)
}

// answering answers calls to a transport, as raft does, until the test ends.
func answering(t *testing.T, n *raft.NetworkTransport) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case rpc := <-n.Consumer():
				switch rpc.Command.(type) {
				case *raft.RequestVoteRequest:
					rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
				case *raft.AppendEntriesRequest:
					rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
				}
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { _ = n.Close(); close(stop); <-done })
}

// vote asks for a vote, of which none may be missing.
func vote(n *raft.NetworkTransport, address net.Addr) error {
	var got raft.RequestVoteResponse
	err := n.RequestVote("", raft.ServerAddress(address.String()), &raft.RequestVoteRequest{Term: 7}, &got)
	if err == nil && (!got.Granted || got.Term != 7) {
		err = fmt.Errorf("%+v", got)
	}
	return err
}

// pipelined sends entries one after the other without waiting.
func pipelined(t *testing.T, n *raft.NetworkTransport, address net.Addr) {
	t.Helper()
	p, err := n.AppendEntriesPipeline("", raft.ServerAddress(address.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range 5 {
		request := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1, Entries: []*raft.Log{{Index: uint64(i), Data: bytes.Repeat([]byte{1}, 300<<10)}}}
		if _, err := p.AppendEntries(request, &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
		if f := <-p.Consumer(); f.Error() != nil || !f.Response().Success {
			t.Fatalf("%+v, %v", f.Response(), f.Error())
		}
	}
}

// TestRenewed calls over what Raft has kept, after the other side has closed it, was restarted, or
// nobody has said anything for long: no call fails. If one does after a new version of raft, it tells no more
// when a call begins.
func TestRenewed(t *testing.T) {
	if !seesEnd {
		t.Skip("here nobody sees that the other side has closed")
	}
	tr := newTrust(t)
	other := tr.options("n2")
	y, b := serve(t, tr.options("n1")), serve(t, other)
	a := over(y)
	defer a.Close()
	served := over(b)
	answering(t, served)
	renewed := func(what string, want uint64, call func()) {
		t.Helper()
		call()
		if got := y.Figures().Renewed; got != want {
			t.Errorf("%s: %d renewed, want %d", what, got, want)
		}
	}
	ended := func() {
		t.Helper()
		eventually(t, "it has ended", func() bool {
			y.mu.Lock()
			defer y.mu.Unlock()
			for c := range y.called {
				if !hasEnded(c.now()) {
					return false
				}
			}
			return len(y.called) > 0
		})
	}
	voted := func() {
		t.Helper()
		if err := vote(a, b.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		renewed("at once", 0, voted)
	}
	hangUp := func() {
		for _, c := range b.hall.all() {
			_ = c.Close()
		}
		ended()
	}
	hangUp()
	renewed("closed", 1, voted)
	_ = served.Close()
	ended()
	b = serveAt(t, b.Addr().String(), other)
	answering(t, over(b))
	renewed("restarted", 2, voted)
	hangUp()
	renewed("closed, and a pipeline", 3, func() { pipelined(t, a, b.Addr()) })
	if f := y.Figures(); f.Dialed != 4 || f.DialFailed != 0 {
		t.Errorf("%+v", f)
	}
	_ = b.Close()
	if err := vote(a, b.Addr()); err == nil {
		t.Error("nobody has voted")
	}
}

// TestRest takes a new connection for each call that comes after a rest, and none within a pipeline.
func TestRest(t *testing.T) {
	tr := newTrust(t)
	o := tr.options("n1")
	o.limits.rest = 0
	y, b := serve(t, o), serve(t, tr.options("n2"))
	a := over(y)
	defer a.Close()
	answering(t, over(b))
	for range 3 {
		if err := vote(a, b.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	pipelined(t, a, b.Addr())
	if f := y.Figures(); f.Renewed != 4 || f.DialFailed != 0 {
		t.Errorf("%+v", f)
	}
}

// counting counts entries.
type counting struct{ n atomic.Int64 }

func (c *counting) Apply(*raft.Log) any                 { return c.n.Add(1) }
func (c *counting) Snapshot() (raft.FSMSnapshot, error) { return nil, os.ErrInvalid } // nobody asks for one
func (c *counting) Restore(r io.ReadCloser) error       { return r.Close() }

// member is a node with a log in memory.
type member struct {
	*raft.Raft
	layer     *Layer
	transport *raft.NetworkTransport
	fsm       *counting
}

// cluster makes a raft of three nodes.
func cluster(t *testing.T) (all []*member) {
	t.Helper()
	tr := newTrust(t)
	var servers []raft.Server
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		o := tr.options(name)
		o.limits = nil // as it is outside of tests
		o.NodeAt = func(address string) string {
			for _, s := range servers {
				if string(s.Address) == address {
					return string(s.ID)
				}
			}
			return "nobody"
		}
		m := &member{layer: serve(t, o), fsm: &counting{}}
		servers = append(servers, raft.Server{ID: raft.ServerID(name), Address: raft.ServerAddress(m.layer.Addr().String())})
		all = append(all, m)
	}
	for i, m := range all {
		c := raft.DefaultConfig()
		c.LocalID, c.LogOutput = servers[i].ID, io.Discard
		m.transport = raft.NewNetworkTransport(m.layer, MaxPool, 10*time.Second, io.Discard)
		store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, store, store, snapshots, m.transport, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
		var err error
		if m.Raft, err = raft.NewRaft(c, m.fsm, store, store, snapshots, m.transport); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Shutdown().Error(); _ = m.transport.Close() })
	}
	return all
}

// commit has so many entries committed, by whoever leads, and applied by all of the members.
func commit(t *testing.T, what string, n int, all ...*member) {
	t.Helper()
	before := make([]int64, len(all))
	for i, m := range all {
		before[i] = m.fsm.n.Load()
	}
	for done := 0; done < n; {
		eventually(t, what+": somebody leads, and commits", func() bool {
			for _, m := range all {
				if m.State() == raft.Leader && m.Apply([]byte(what), time.Minute).Error() == nil {
					done++
					return true
				}
			}
			return false
		})
	}
	eventually(t, what+": all have applied", func() bool {
		for i, m := range all {
			if m.fsm.n.Load()-before[i] < int64(n) {
				return false
			}
		}
		return true
	})
}

// TestFlood has three nodes commit while 2,000 connections to each have begun to shake hands and do not
// go on; also after all connections between the nodes were cut, and without the one that led.
func TestFlood(t *testing.T) {
	const crowd = 2000
	all := cluster(t)
	commit(t, "in peace", 10, all...)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	flood := func(m *member) {
		for range crowd {
			c, err := net.Dial("tcp", m.layer.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			_, _ = c.Write([]byte{22}) // the first byte of a handshake; fails if others have pushed it out
		}
	}
	for _, m := range all {
		flood(m)
	}
	for _, m := range all {
		eventually(t, "the crowd is there", func() bool { return m.layer.Figures().Accepted >= crowd })
		if f := m.layer.Figures(); f.Strangers > m.layer.limits.strangers {
			t.Errorf("%+v", f)
		}
	}
	commit(t, "among a crowd", 10, all...)
	for _, m := range all {
		for _, c := range m.layer.hall.all() {
			_ = c.Close()
		}
	}
	commit(t, "after a cut", 10, all...)
	var leader *member
	eventually(t, "somebody leads", func() bool {
		i := slices.IndexFunc(all, func(m *member) bool { return m.State() == raft.Leader })
		if i >= 0 {
			leader = all[i]
		}
		return i >= 0
	})
	_ = leader.Shutdown().Error()
	_ = leader.transport.Close()
	var rest []*member
	for _, m := range all {
		if m != leader {
			rest = append(rest, m)
		}
	}
	for _, m := range rest {
		flood(m)
	}
	commit(t, "without the leader", 10, rest...)
}

// caller asks for votes one after the other.
type caller struct {
	calls  atomic.Int64
	failed chan error
	stop   func()
}

func callers(t *testing.T, n *raft.NetworkTransport, address net.Addr) *caller {
	c := &caller{failed: make(chan error, 1)}
	stop, done := make(chan struct{}), make(chan struct{})
	c.stop = sync.OnceFunc(func() { close(stop); <-done })
	t.Cleanup(c.stop)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := vote(n, address); err != nil {
				c.failed <- err
				return
			}
			c.calls.Add(1)
		}
	}()
	return c
}

// TestRotation replaces certificates and then the authority, while each call shakes hands anew: none fails.
func TestRotation(t *testing.T) {
	tr, next := newTrust(t), newTrust(t)
	o := tr.options("n1")
	o.limits.rest = 0
	second := tr.options("n2")
	y, b := serve(t, o), serve(t, second)
	a := over(y)
	defer a.Close()
	answering(t, over(b))
	c := callers(t, a, b.Addr())
	ca, err := certs.Load(tr.dir, "ca")
	newCA, err2 := certs.Load(next.dir, "ca")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// settled waits until both nodes have what is new, and calls have been made with it.
	settled := func(what string, holds func(m *certs.Mutual) bool) {
		t.Helper()
		for _, m := range []*certs.Mutual{o.TLS, second.TLS} {
			eventually(t, what, func() bool { return holds(m) })
		}
		before := c.calls.Load()
		eventually(t, what+": calls", func() bool { return c.calls.Load() > before+10 || len(c.failed) > 0 })
	}
	trusts := func(all ...[]byte) func(m *certs.Mutual) bool {
		pool := x509.NewCertPool()
		for _, ca := range all {
			pool.AppendCertsFromPEM(ca)
		}
		return func(m *certs.Mutual) bool { return m.Accepting().ClientCAs.Equal(pool) }
	}
	authority := tr.files("n1-of-shop").Authority
	write(authority, slices.Concat(ca.Cert, []byte{'\n'}, newCA.Cert))
	settled("both authorities are believed", trusts(ca.Cert, newCA.Cert))
	for _, name := range []string{"n1", "n2"} {
		p, err := next.ca.Node(name, "shop", []string{"127.0.0.1", "localhost"}, 1, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		f, m := tr.files(name+"-of-shop"), map[string]*certs.Mutual{"n1": o.TLS, "n2": second.TLS}[name]
		block, _ := pem.Decode(p.Cert)
		write(f.Cert, p.Cert)
		write(f.Key, append(p.Key, '\n'))
		eventually(t, name+" has its new certificate", func() bool { return bytes.Equal(m.Accepting().Certificates[0].Certificate[0], block.Bytes) })
	}
	settled("new certificates", trusts(ca.Cert, newCA.Cert))
	write(authority, newCA.Cert)
	settled("the old authority is believed no more", trusts(newCA.Cert))
	c.stop()
	select {
	case err := <-c.failed:
		t.Errorf("after %d calls: %v", c.calls.Load(), err)
	default:
	}
}
