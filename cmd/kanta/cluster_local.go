package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/cluster"
)

const (
	localMembers = 3
	localName    = "demo"           // of the cluster
	localMemory  = "256MB"          // of each member's store
	localWait    = 60 * time.Second // for something that takes a second or two, on a machine with much else to do
)

// localCluster is a cluster whose members are processes of this machine, on loopback and over TLS, with certificates
// that are made for it. It is for one goroutine.
type localCluster struct {
	*app
	dir     string         // where everything is
	from    string         // a store that becomes the cluster's, and is moved; "": an empty one
	secure  client.Options // of who asks
	members []*localMember
	all     *client.Client // of all of them
}

// certify makes an authority, and certificates of members, their servers, and one client.
func (d *localCluster) certify() error {
	pair, err := certs.NewAuthority(localName, 1, time.Now())
	if err != nil {
		return err
	}
	ca, err := certs.ReadAuthority(pair)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file("ca.crt"), pair.Cert, 0o600); err != nil { // its key stays here
		return err
	}
	keep := func(name string, p certs.Pair, err error) error {
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(d.file(name+".crt"), p.Cert, 0o600), os.WriteFile(d.file(name+".key"), p.Key, 0o600))
	}
	hosts := []string{"127.0.0.1"}
	p, err := ca.Server(hosts, 1, time.Now())
	if err := keep("server", p, err); err != nil {
		return err
	}
	p, err = ca.Client(localName, "admin", 1, time.Now())
	if err := keep("client", p, err); err != nil {
		return err
	}
	addresses, err := freeAddresses(2 * localMembers)
	if err != nil {
		return err
	}
	for i := range localMembers {
		id := fmt.Sprintf("n%d", i+1)
		p, err := ca.Node(id, localName, hosts, 1, time.Now())
		if err := keep(id, p, err); err != nil {
			return err
		}
		d.members = append(d.members, &localMember{id: id, dir: d.file(id), log: d.file(id + ".log"), address: addresses[2*i], raft: addresses[2*i+1]})
	}
	d.secure.TLS, err = certs.Client(certs.Files{Cert: d.file("client.crt"), Key: d.file("client.key"), Authority: d.file("ca.crt")})
	return err
}

func (d *localCluster) file(name string) string { return filepath.Join(d.dir, name) }

// freeAddresses returns addresses of loopback that nobody has just now, each another one: they are
// held until all are there.
func freeAddresses(n int) (all []string, err error) {
	for range n {
		l, failed := net.Listen("tcp", "127.0.0.1:0")
		if failed != nil {
			return nil, errors.Join(err, failed)
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// found makes the cluster: the first member, and the others, which join it.
func (d *localCluster) found(ctx context.Context) error {
	var all []string
	for i, m := range d.members {
		all = append(all, m.address)
		if i == 0 {
			if err := cluster.Init(m.dir, &cluster.InitOptions{Cluster: localName, ID: m.id, Address: m.address, RaftAddress: m.raft, From: d.from}); err != nil {
				return err
			}
		} else if _, err := cluster.Join(ctx, m.dir, d.all, &cluster.JoinOptions{ID: m.id, Address: m.address, RaftAddress: m.raft}); err != nil {
			return err
		}
		if err := m.start(d); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		var err error
		if d.all, err = d.open(ctx, m.address); err != nil {
			return d.why(m, err)
		}
	}
	// From here on by all of their addresses.
	first := d.all
	var err error
	if d.all, err = d.open(ctx, strings.Join(all, ",")); err != nil {
		return err
	}
	if err := first.Close(); err != nil {
		return err
	}
	return d.until(ctx, "all members have a vote", func() (bool, error) {
		s, err := d.all.ClusterStatus(ctx)
		voters := 0
		for i := range s.Members {
			if s.Members[i].Voter {
				voters++
			}
		}
		return err == nil && voters == localMembers, err
	})
}

// open asks a server that may not be there yet.
func (d *localCluster) open(ctx context.Context, address string) (c *client.Client, err error) {
	o := d.secure
	waited := d.until(ctx, "a server at "+address, func() (bool, error) {
		c, err = client.Open(ctx, serverScheme+address, &o)
		return err == nil, err
	})
	return c, waited
}

// until waits for something.
func (d *localCluster) until(ctx context.Context, what string, holds func() (bool, error)) error {
	deadline := time.Now().Add(localWait)
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%s: not within %v", what, localWait), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leader returns the member that leads.
func (d *localCluster) leader(ctx context.Context) (leader *localMember, err error) {
	err = d.until(ctx, "somebody leads", func() (bool, error) {
		s, err := d.all.ClusterStatus(ctx)
		for _, m := range d.members {
			if m.id == s.Leader {
				leader = m
			}
		}
		return leader != nil, err
	})
	return leader, err
}

func (d *localCluster) addresses() string {
	var all []string
	for _, m := range d.members {
		all = append(all, m.address)
	}
	return serverScheme + strings.Join(all, ",")
}

// why adds to an error the last words of a member.
func (d *localCluster) why(m *localMember, err error) error {
	text, _ := os.ReadFile(m.log) // if there is none, there is nothing to say
	if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(lines) > 0 {
		return fmt.Errorf("%w; %s says at last: %s", err, m.id, lines[len(lines)-1])
	}
	return err
}

// end stops whatever runs.
func (d *localCluster) end() error {
	var errs []error
	if d.all != nil {
		errs = append(errs, d.all.Close())
	}
	for _, m := range d.members {
		errs = append(errs, m.stop())
	}
	return errors.Join(errs...)
}
