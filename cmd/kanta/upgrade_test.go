package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// beforeVersions is the last commit that knows nothing of cluster versions.
const beforeVersions = "f6906b4"

// upgradeVariable has TestUpgrade run: it builds three programs, which takes minutes where nothing is cached. It may name
// a directory that has them: before, now and next.
const upgradeVariable = "KANTA_UPGRADE"

// upgrade is a cluster whose members run several builds, while others write and ask.
type upgrade struct {
	localCluster
	t                 *testing.T
	before, now, next string // the builds: of beforeVersions, of this tree, and of this tree with one version more

	work   *demoWork
	asked  atomic.Int64
	done   chan error // of each who works
	strict *client.Client
}

// TestUpgrade restarts the members of a cluster one after another, with builds that know other versions, while clients
// write and ask without a pause: every call succeeds, nothing is lost or done twice, the version rises when the last member
// knows it, and until then, but not after it, each can go back. make cluster-upgrade runs it.
func TestUpgrade(t *testing.T) {
	if os.Getenv(upgradeVariable) == "" {
		t.Skipf("%s is not set: it builds three programs, and runs in make cluster-upgrade", upgradeVariable)
	}
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &out, env: func(string) string { return "" }}
	u := &upgrade{localCluster: localCluster{app: a, dir: t.TempDir()}, t: t, done: make(chan error, demoWriters+2)}
	u.build()
	defer func() {
		if err := u.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, m := range u.members {
				text, _ := os.ReadFile(m.log)
				t.Logf("%s:\n%s", m.id, text[max(0, len(text)-8<<10):])
			}
		}
	}()
	u.foundBefore()
	u.begin()

	// Every member to the build of this tree, which decides as the one before: it can go back.
	for _, m := range u.members {
		u.restart(m, u.now)
	}
	u.restart(u.members[0], u.before)
	u.restart(u.members[0], u.now)
	u.version(1, false)

	u.upgrade()
	u.finish()
	t.Logf("%d writes and %d answers, none failed; between two writes %v at most", u.work.done.Load(), u.asked.Load(), u.work.longest.Round(time.Millisecond))
}

func (u *upgrade) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

// build builds the programs.
func (u *upgrade) build() {
	u.t.Helper()
	root, err := filepath.Abs("../..")
	u.must(err)
	if out, err := exec.CommandContext(u.t.Context(), "git", "-C", root, "rev-parse", "-q", "--verify", beforeVersions+"^{commit}").CombinedOutput(); err != nil {
		u.t.Fatalf("the commit %s, from which clusters are upgraded, is not here: %v %s", beforeVersions, err, out)
	}
	if built := os.Getenv(upgradeVariable); filepath.IsAbs(built) {
		u.before, u.now, u.next = filepath.Join(built, "before"), filepath.Join(built, "now"), filepath.Join(built, "next")
		return
	}
	old := u.file("before-source")
	u.must(os.Mkdir(old, 0o755))
	u.shell(root, fmt.Sprintf("git archive %s | tar -x -C '%s'", beforeVersions, old))
	u.before, u.now, u.next = u.file("before"), u.file("now"), u.file("next")
	for _, b := range []struct{ dir, flags, to string }{{old, "", u.before}, {root, "", u.now}, {root, "-tags trial", u.next}} {
		u.shell(b.dir, fmt.Sprintf("CGO_ENABLED=0 go build -trimpath -buildvcs=false %s -o '%s' ./cmd/kanta", b.flags, b.to))
	}
}

func (u *upgrade) shell(dir, command string) {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), "sh", "-c", command)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// seat has a build make the directory of a member.
func (u *upgrade) seat(program string, m *localMember, more ...string) (string, error) {
	args := append(more, m.dir, "--id", m.id, "--address", m.address, "--raft-address", m.raft)
	out, err := exec.CommandContext(u.t.Context(), program, append([]string{"cluster"}, args...)...).CombinedOutput()
	return string(out), err
}

// joining are the arguments of who joins.
func (u *upgrade) joining() []string {
	return []string{"join", "--to", u.addresses(), "--ca", u.file("ca.crt"), "--cert", u.file("client.crt"), "--cert-key", u.file("client.key")}
}

// foundBefore makes a cluster of members who know nothing of versions.
func (u *upgrade) foundBefore() {
	u.t.Helper()
	ctx := u.t.Context()
	u.must(u.certify())
	for i, m := range u.members {
		m.program = u.before
		how := u.joining()
		if i == 0 {
			how = []string{"init", "--cluster", localName}
		}
		if out, err := u.seat(u.before, m, how...); err != nil {
			u.t.Fatalf("%s: %v\n%s", m.id, err, out)
		}
		u.must(m.start(&u.localCluster))
		if i == 0 {
			at, err := u.open(ctx, m.address)
			u.must(errors.Join(err, at.Close()))
		}
	}
	var err error
	u.all, err = u.open(ctx, strings.TrimPrefix(u.addresses(), serverScheme))
	u.must(err)
	u.healthy()
}

// healthy waits until all members have a vote, are heard of, and lack nothing.
func (u *upgrade) healthy() {
	u.t.Helper()
	ctx := u.t.Context()
	var last query.ClusterStatus
	err := u.until(ctx, "all members are well", func() (bool, error) {
		leader, err := u.leader(ctx)
		if err != nil {
			return false, err
		}
		at, err := u.open(ctx, leader.address)
		if err != nil {
			return false, err
		}
		defer at.Close()
		if last, err = at.ClusterStatus(ctx); err != nil || last.Leader != last.Node || len(last.Members) != len(u.members) {
			return false, err
		}
		for i := range last.Members {
			if m := &last.Members[i]; !m.Voter || m.Problem != "" || m.LastContact < 0 || m.Lag > 1000 {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		u.t.Fatalf("%v; %+v", err, last)
	}
}

// begin has clients write and ask, until they are stopped.
func (u *upgrade) begin() {
	u.t.Helper()
	ctx := u.t.Context()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "writes", Kind: schema.Int}})
	u.must(u.apply(ctx, b))
	u.work = &demoWork{d: &clusterDemo{u.localCluster}, last: time.Now()}
	for i := range demoWriters {
		go func() { u.done <- u.work.write(ctx, i) }()
	}
	o := u.secure
	o.Consistency = client.Linearizable
	var err error
	u.strict, err = client.Open(ctx, u.addresses(), &o)
	u.must(err)
	for _, c := range []*client.Client{u.all, u.strict} {
		go func() { u.done <- u.ask(ctx, c) }()
	}
}

func (u *upgrade) apply(ctx context.Context, b *batch.Builder) error {
	return (&clusterDemo{u.localCluster}).apply(ctx, b)
}

// ask asks again and again: whoever was told that his write was done is counted. An answer that has seen all that
// was acknowledged to anybody never counts fewer than the one before; one that has seen what this client has
// written may, for another member may not have what was not acknowledged yet.
func (u *upgrade) ask(ctx context.Context, c *client.Client) error {
	seen := uint64(0)
	for !u.work.stop.Load() {
		if c != u.strict {
			seen = 0
		}
		told := uint64(0)
		for i := range u.work.each {
			if u.work.each[i].Load() > 0 {
				told++
			}
		}
		seen = max(seen, told)
		n, err := c.Count(ctx, "writes > 0", nil)
		if err == nil && n.Count < seen {
			err = fmt.Errorf("%d people, and %d were there (linearizable: %t)", n.Count, seen, c == u.strict)
		}
		if err != nil {
			return fmt.Errorf("a question: %w", err)
		}
		seen = n.Count
		u.asked.Add(1)
	}
	return nil
}

// busy waits until so much more was written and asked, by whatever members run.
func (u *upgrade) busy() {
	u.t.Helper()
	const some = 20
	writes, asked := u.work.done.Load()+some, u.asked.Load()+some
	u.must(u.until(u.t.Context(), "others write and ask", func() (bool, error) {
		select {
		case err := <-u.done:
			u.t.Fatalf("somebody has stopped: %v", err)
		default:
		}
		return u.work.done.Load() >= writes && u.asked.Load() >= asked, nil
	}))
}

// restart stops a member in good order, starts it with a build, and waits until all is well.
func (u *upgrade) restart(m *localMember, program string) {
	u.t.Helper()
	u.must(m.stop())
	u.busy()
	m.program = program
	u.must(m.start(&u.localCluster))
	u.healthy()
	u.busy()
}

// version waits until every member goes by a version.
func (u *upgrade) version(number uint64, held bool) (s query.ClusterStatus) {
	u.t.Helper()
	for _, m := range u.members {
		u.must(u.until(u.t.Context(), fmt.Sprintf("%s goes by version %d", m.id, number), func() (bool, error) {
			at, err := u.open(u.t.Context(), m.address)
			if err != nil {
				return false, err
			}
			defer at.Close()
			s, err = at.ClusterStatus(u.t.Context())
			if s.Version.Number > number {
				u.t.Fatalf("%s goes by version %s, and not by %d", m.id, s.Version, number)
			}
			return s.Version.Number == number && s.VersionHeld == held, err
		}))
	}
	return s
}

// knows waits until it is known what a member knows.
func (u *upgrade) knows(m *localMember, newest uint64) {
	u.t.Helper()
	u.must(u.until(u.t.Context(), fmt.Sprintf("%s knows version %d", m.id, newest), func() (bool, error) {
		s, err := u.all.ClusterStatus(u.t.Context())
		for i := range s.Members {
			if s.Members[i].ID == m.id {
				return s.Members[i].NewestVersion == newest, err
			}
		}
		return false, err
	}))
}

// upgrade brings the members to the next version.
func (u *upgrade) upgrade() {
	u.t.Helper()
	ctx := u.t.Context()
	first, second, third := u.members[0], u.members[1], u.members[2]
	if v, err := u.all.ClusterUpgrade(ctx, true); err != nil || v.Number != 1 {
		u.t.Fatalf("it is held at %s: %v", v, err)
	}
	u.restart(first, u.next)
	u.restart(second, u.next)
	u.knows(first, 2)
	u.restart(first, u.now) // as long as the version is not raised
	u.knows(first, 1)
	u.restart(first, u.next)
	u.knows(first, 2)
	u.version(1, true)
	if _, err := u.all.ClusterUpgrade(ctx, false); !errors.Is(err, &query.Error{Code: query.CodeConflict}) || !strings.Contains(err.Error(), third.id+" knows version 1 only") {
		u.t.Fatalf("a version that %s does not know: %v", third.id, err)
	}
	u.version(1, false)
	u.restart(third, u.next)
	s := u.version(2, false) // by itself
	u.busy()
	for i := range s.Members {
		if m := &s.Members[i]; m.LowestVersion != 1 || m.NewestVersion != 2 {
			u.t.Errorf("%s knows %d to %d", m.ID, m.LowestVersion, m.NewestVersion)
		}
	}
	u.must(first.stop())
	u.refused(first, u.now, "the cluster decides by version 2", "knows the versions 1 to 1", "does not go back")
	u.refused(first, u.before, "version 2, this is a reader of version 1")
	first.program = u.next
	u.must(first.start(&u.localCluster))
	u.healthy()
	u.busy()
	late := &localMember{id: "n4", dir: u.file("n4"), address: "127.0.0.1:1", raft: "127.0.0.1:2"}
	for _, program := range []string{u.now, u.before} {
		if out, err := u.seat(program, late, u.joining()...); err == nil || !strings.Contains(out, "decides by version 2") || !strings.Contains(out, "n4 knows version 1 only") {
			u.t.Errorf("%s joins: %v\n%s", filepath.Base(program), err, out)
		}
	}
}

// refused starts a member with a build that does not serve, and says why.
func (u *upgrade) refused(m *localMember, program string, words ...string) {
	u.t.Helper()
	old, err := os.ReadFile(m.log)
	u.must(err)
	m.program = program
	u.must(m.start(&u.localCluster))
	select {
	case <-m.ended:
	case <-time.After(localWait):
		u.t.Fatalf("%s serves with a build that does not know the version", m.id)
	}
	m.cmd = nil
	text, err := os.ReadFile(m.log)
	u.must(err)
	for _, w := range words {
		if said := string(text[len(old):]); !strings.Contains(said, w) {
			u.t.Errorf("%s, started with %s, does not say %q:\n%s", m.id, filepath.Base(program), w, said)
		}
	}
}

// finish stops those who work, and looks what is there.
func (u *upgrade) finish() {
	u.t.Helper()
	ctx := u.t.Context()
	u.work.stop.Store(true)
	for range demoWriters + 2 {
		u.must(<-u.done)
	}
	u.must(u.strict.Close())
	u.must(u.work.check(ctx))
	var same query.Digests
	for i, m := range u.members {
		at, err := u.open(ctx, m.address)
		u.must(err)
		at.See(u.all.Written())
		u.must(u.until(ctx, m.id+" has what the others have", func() (bool, error) {
			d, err := at.Digests(ctx)
			if i == 0 && err == nil {
				same = d
			}
			return err == nil && d == same, err
		}))
		u.must(at.Close())
	}
}
