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
