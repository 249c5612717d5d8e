package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestClusterDemo runs the demonstration, with processes that are killed, and then the commands about the cluster that
// it has made.
func TestClusterDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it starts and kills processes, and runs in make test")
	}
	c := newCLI(t)
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &out, env: func(string) string { return "" }}
	d := &clusterDemo{localCluster{app: a, dir: c.dir}}
	defer func() {
		if err := d.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, m := range d.members {
				text, _ := os.ReadFile(m.log)
				t.Logf("%s:\n%s", m.id, text)
			}
		}
	}()
	if err := d.run(t.Context(), 1000); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	contains(t, out.String(), "three members", "n3 counts", "leader", "is killed", "leads now", "acknowledged writes 0 are lost and 0 were done twice", "all three have the same")
	d.commands(c)
	if err := d.all.Close(); err != nil {
		t.Error(err)
	}
	d.all = nil
}

// commands runs the commands about the cluster.
func (d *clusterDemo) commands(c *cli) {
	t := c.t
	t.Helper()
	c.env["KANTA_DB"] = d.addresses()
	c.env["KANTA_CA"], c.env["KANTA_CERT"], c.env["KANTA_CERT_KEY"] = c.path("ca.crt"), c.path("client.crt"), c.path("client.key")
	status := func() (s clusterJSON) {
		t.Helper()
		if err := json.Unmarshal([]byte(c.must("cluster", "status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := status()
	if len(before.Members) != localMembers || before.Cluster != "demo" || before.Node != before.Leader {
		t.Fatalf("%+v", before)
	}
	contains(t, c.must("count", "writes > 0", "--consistency", "linearizable"), "count\t4\n")
	contains(t, c.must("count", "writes > 0", "--consistency", "1m"), "count\t4\n")
	if _, stderr, code := c.run("count", "true", "--consistency", "strict"); code != exitUsage || !strings.Contains(stderr, "linearizable") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	d.mistakes(c, before.Leader)
	next := before.Members[0].ID
	if next == before.Leader {
		next = before.Members[1].ID
	}
	contains(t, c.must("cluster", "transfer", next, "--json"), `"to":"`+next)
	if err := d.until(t.Context(), next+" leads", func() (bool, error) { return status().Leader == next, nil }); err != nil {
		t.Error(err)
	}
	contains(t, c.must("__complete", "cluster", "remove", ""), "n1", "n2", "n3")
	contains(t, c.must("cluster", "remove", before.Leader, "--json"), `"removed":"`+before.Leader)
	for _, m := range status().Members {
		if m.ID == before.Leader {
			t.Errorf("%s is a member still", m.ID)
		}
	}
	if _, stderr, code := c.run("cluster", "remove", "n9"); code != exitQuestion || !strings.Contains(stderr, `no member "n9"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, m := range d.members {
		if m.id != before.Leader {
			continue
		}
		<-m.ended // it has been removed, and serves nobody
		m.cmd = nil
		text, err := os.ReadFile(m.log)
		if err != nil || !strings.Contains(string(text), "removed") {
			t.Errorf("%s, which was removed, says %s (%v)", m.id, text, err)
		}
	}
}

// mistakes asks the cluster, which has three members, for what cannot be.
func (d *clusterDemo) mistakes(c *cli, leader string) {
	t := c.t
	t.Helper()
	if err := os.Mkdir(c.path("taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.file("taken/people.csv", "")
	join := func(dir, id, address, raft string) []string {
		return []string{"cluster", "join", c.path(dir), "--to", d.addresses(), "--id", id, "--address", address, "--raft-address", raft}
	}
	other := d.members[0]
	if other.id == leader {
		other = d.members[1]
	}
	const free, freeToo = "127.0.0.1:1", "127.0.0.1:2"
	for _, x := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"cluster", "remove", leader}, exitQuestion, "the member " + leader + " leads (have another one lead first"},
		{[]string{"cluster", "remove", "../n1"}, exitQuestion, `there is no member "../n1"`},
		{[]string{"cluster", "remove", ""}, exitQuestion, `there is no member ""`},
		{[]string{"cluster", "remove"}, exitUsage, "kanta cluster remove"},
		{[]string{"cluster", "transfer", "a b"}, exitQuestion, `there is no member "a b"`},
		{[]string{"cluster", "transfer", "n1", "n2"}, exitUsage, "kanta cluster transfer"},
		{join("j1", other.id, free, freeToo), exitQuestion, "there is a member " + other.id + ", and it answers"},
		{join("j2", leader, free, freeToo), exitQuestion, "there is a member " + leader + ", and it answers"},
		{join("j3", "n9", other.address, free), exitQuestion, "the member " + other.id + " has the address " + other.address + " already"},
		{join("j4", "n9", free, other.raft), exitQuestion, "the member " + other.id + " has the address " + other.raft + " already"},
		{join("j5", "n9", free, free), exitUsage, "clients and members would both come to " + free},
		{join("j6", "..", free, freeToo), exitUsage, `the member ".." is no name`},
		{join("j7", "n9", free, "0.0.0.0:7710"), exitUsage, "nobody is reached at"},
		{join("n1", "n9", free, freeToo), exitQuestion, "n1 is not empty"},
		{join("taken", "n9", free, freeToo), exitQuestion, "taken is not empty (name a new directory)"},
		{join("taken/people.csv", "n9", free, freeToo), exitInternal, "not a directory"},
	} {
		stdout, stderr, code := c.run(x.args...)
		if code != x.code || stdout != "" || !strings.Contains(stderr, x.want) {
			t.Errorf("kanta %s: exit %d, want %d\n%s%s", strings.Join(x.args, " "), code, x.code, stdout, stderr)
		}
	}
	var s clusterJSON
	if err := json.Unmarshal([]byte(c.must("cluster", "status", "--json")), &s); err != nil || len(s.Members) != localMembers {
		t.Errorf("after that the members are %+v (%v)", s.Members, err)
	}
	for _, m := range s.Members {
		if m.Lag == nil || m.Contact == nil {
			t.Errorf("the leader does not know how far %s is", m.ID)
		}
	}
	c.must(append(join("reader", "n9", free, freeToo), "--read-only")...)
	contains(t, c.must("cluster", "status"), "n9", "read-only", free, freeToo, "it has not answered yet")
	if _, stderr, code := c.run("cluster", "transfer", "n9"); code != exitQuestion || !strings.Contains(stderr, "the member n9 is read-only, and never leads") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := c.run(join("reader", "n9", free, freeToo)...); code != exitQuestion || !strings.Contains(stderr, "reader is not empty") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	c.must("cluster", "remove", "n9")
}
