package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

// What TestClusterNet is told.
const (
	netVariable       = "KANTA_NET"        // scenes, by name and with commas; "all"; or "" for the first one
	netPointsVariable = "KANTA_NET_POINTS" // how often a receiver of snapshots is killed; 100 if it is not set
	netSeedVariable   = "KANTA_SEED"       // repeats what a run does
	netLogsVariable   = "KANTA_NET_LOGS"   // a directory for what members have said, as SCENE-MEMBER.log
	netInsideVariable = "KANTA_TEST_NET"   // it is in namespaces of its own
)

// netWait bounds what takes a second or two, on a machine with much else to do.
const netWait = 2 * time.Minute

// TestClusterNet runs a cluster whose members are processes in network namespaces of their own, behind a bridge, with
// file systems of their own. Each scene does something to them while others write and read, and then compares:
// nothing acknowledged is lost or was done twice, no linearizable read was stale, and all members have the same.
//
// The test runs itself in namespaces of networks, mounts and processes, in which all of that is, so nothing is left
// over, however it ends.
func TestClusterNet(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it starts and kills processes, and runs in make test")
	}
	if os.Getenv(netInsideVariable) != "" {
		t.Fatal("the scenes are of TestClusterNetInside")
	}
	if os.Geteuid() != 0 {
		lacks(t, "namespaces of networks need root")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks(t, tool+" (of iproute2) is missing")
		}
	}
	seed := os.Getenv(netSeedVariable)
	if seed == "" {
		seed = strconv.FormatUint(uint64(time.Now().UnixNano()), 10)
	}
	t.Logf("%s=%s repeats it", netSeedVariable, seed)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClusterNetInside$", "-test.v", "-test.timeout=0")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, childVariable+"=") { // it is no kanta, but its members are
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, netInsideVariable+"=1", netSeedVariable+"="+seed)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		lacks(t, fmt.Sprintf("namespaces cannot be made here: %v", err))
	} else if err != nil {
		t.Fatal(err)
	}
	passed, why := false, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
		passed = passed || strings.HasPrefix(lines.Text(), "--- PASS: TestClusterNetInside")
		if _, missing, ok := strings.Cut(lines.Text(), netMissing); ok {
			why = missing
		}
	}
	switch err := cmd.Wait(); {
	case why != "":
		lacks(t, why)
	case err != nil || !passed:
		t.Errorf("the scenes failed: %v", err)
	}
}

// lacks skips a test that this machine cannot run, unless it was asked for by name.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(netVariable) != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// netMissing begins what the machine lacks.
const netMissing = "missing here: "

// TestClusterNetInside is what TestClusterNet runs in namespaces of its own.
func TestClusterNetInside(t *testing.T) {
	if os.Getenv(netInsideVariable) == "" {
		t.Skip("TestClusterNet runs it")
	}
	seed, err := strconv.ParseUint(os.Getenv(netSeedVariable), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, ""),
		os.MkdirAll("/run/netns", 0o755),
		syscall.Mount("netns", "/run/netns", "tmpfs", 0, ""), // names of namespaces are files there
	} {
		if err != nil {
			t.Skip(netMissing + "mounts of its own: " + err.Error())
		}
	}
	netBridge(t)
	wanted := strings.Split(os.Getenv(netVariable), ",")
	ran := 0
	for i := range netScenes {
		s := &netScenes[i]
		if !slices.Contains(wanted, s.name) && os.Getenv(netVariable) != "all" && (os.Getenv(netVariable) != "" || i > 0) {
			continue
		}
		ran++
		if !t.Run(s.name, func(t *testing.T) { playNet(t, s, seed) }) {
			break
		}
	}
	if ran == 0 {
		t.Errorf("%s=%s names no scene", netVariable, os.Getenv(netVariable))
	}
}

// netHost returns the address of a member, from 1; 254 is that of who asks, on the bridge.
func netHost(i int) string { return fmt.Sprintf("10.77.0.%d", i) }

// netMAC returns the hardware address of a member; nobody has the one that is not real.
func netMAC(i int, real bool) string {
	if real {
		return fmt.Sprintf("02:6b:00:00:00:%02x", i)
	}
	return fmt.Sprintf("02:6b:ff:00:00:%02x", i)
}

// netBridge makes the bridge, and its address.
func netBridge(t *testing.T) {
	for _, args := range []string{"link set lo up", "link add hub type bridge", "addr add " + netHost(254) + "/24 dev hub", "link set hub up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("%sip %s: %s", netMissing, args, out)
		}
	}
}

// netMember is a member: a process in a network namespace, with a file system.
type netMember struct {
	number  int // from 1
	id      string
	mounted string // its file system
	dir     string // its directory
	log     string
	flags   []string // beside those that every member has

	cmd    *exec.Cmd // nil: it does not run
	ended  chan error
	client *client.Client // asks this one alone
}

func (m *netMember) address() string { return netHost(m.number) + ":7700" }

// port is its end of the wire at the bridge.
func (m *netMember) port() string { return "to-" + m.id }

// netWorld is a cluster and its network. It is for the goroutine of a test, but what says otherwise.
type netWorld struct {
	t       *testing.T
	cli     *cli
	random  *rand.Rand
	secure  client.Options
	members []*netMember
}

// run runs a command that must succeed. A _ in it is a blank within an argument.
func (w *netWorld) run(line string) string {
	w.t.Helper()
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "_", " ")
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// newNetWorld makes the network, and a cluster as README.md has it. Each member has a file system of 2 GiB, in memory,
// of which a store needs 128 MiB to be free.
func newNetWorld(t *testing.T, members int, seed uint64, flags ...string) *netWorld {
	w := &netWorld{t: t, cli: newCLI(t), random: rand.New(rand.NewPCG(seed, 0))}
	for i := 1; i <= members; i++ {
		id := fmt.Sprintf("n%d", i)
		m := &netMember{number: i, id: id, mounted: w.cli.path("disk-" + id), dir: filepath.Join(w.cli.path("disk-"+id), id), log: w.cli.path(id + ".log"), flags: flags}
		w.members = append(w.members, m)
		if err := errors.Join(os.Mkdir(m.mounted, 0o700), syscall.Mount(id, m.mounted, "tmpfs", 0, "size=2g")); err != nil {
			t.Skip(netMissing + "file systems of its own: " + err.Error())
		}
		w.run("ip netns add " + id)
		w.run(fmt.Sprintf("ip link add %s type veth peer name eth0 address %s netns %s", m.port(), netMAC(i, true), id))
		w.run("ip link set " + m.port() + " master hub up")
		w.run(fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", id, netHost(i)))
		w.run("ip -n " + id + " link set eth0 up")
		w.run("ip -n " + id + " link set lo up")
	}
	t.Cleanup(w.end)
	w.heal() // nobody asks who has an address
	w.certify()
	w.found()
	return w
}

func (w *netWorld) certify() {
	dir := []string{"--dir", w.cli.path("certs")}
	cert := func(args ...string) { w.cli.must(append(append([]string{"cert"}, args...), dir...)...) }
	cert("ca")
	server := []string{"server"}
	for _, m := range w.members {
		server = append(server, "--host", netHost(m.number))
		cert("node", "--name", m.id, "--cluster", "shop", "--host", netHost(m.number))
	}
	cert(server...)
	cert("client", "--name", "anna", "--role", "admin")
	var err error
	w.secure.TLS, err = certs.Client(certs.Files{Cert: w.cert("client-anna.crt"), Key: w.cert("client-anna.key"), Authority: w.cert("ca.crt")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.cli.env["KANTA_CA"], w.cli.env["KANTA_CERT"], w.cli.env["KANTA_CERT_KEY"] = w.cert("ca.crt"), w.cert("client-anna.crt"), w.cert("client-anna.key")
}

func (w *netWorld) cert(name string) string { return filepath.Join(w.cli.path("certs"), name) }

// found makes the cluster.
func (w *netWorld) found() {
	first := w.members[0]
	for _, m := range w.members {
		seat := []string{m.dir, "--id", m.id, "--address", m.address(), "--raft-address", netHost(m.number) + ":7710"}
		if m == first {
			w.cli.must(append([]string{"cluster", "init", "--cluster", "shop"}, seat...)...)
		} else {
			w.until("a cluster that "+m.id+" can join", func() bool {
				_, _, code := w.cli.run(append([]string{"cluster", "join", "--to", serverScheme + first.address()}, seat...)...)
				return code == exitOK
			})
		}
		w.start(m)
	}
	w.until("all members have a vote", func() bool {
		s, _ := w.status(first)
		return len(s.Members) == len(w.members) && !slices.ContainsFunc(s.Members, func(m query.ClusterMember) bool { return !m.Voter })
	})
}

// start starts a member.
func (w *netWorld) start(m *netMember) {
	w.t.Helper()
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close() // the process has its own
	args := append([]string{"netns", "exec", m.id, os.Args[0], "serve", "--db", m.dir, "--memory", localMemory,
		"--node-cert", w.cert("node-" + m.id + ".crt"), "--node-key", w.cert("node-" + m.id + ".key"), "--node-ca", w.cert("ca.crt"),
		"--tls-cert", w.cert("server.crt"), "--tls-key", w.cert("server.key"), "--client-ca", w.cert("ca.crt")}, m.flags...)
	m.cmd = exec.Command("ip", args...) // which becomes what it is told to
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	m.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(m.cmd, m.ended)
}

// signal sends a signal to a member.
func (w *netWorld) signal(m *netMember, s syscall.Signal) {
	w.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		w.t.Fatalf("%s: %v", m.id, err)
	}
}

// kill ends a member as a crash does.
func (w *netWorld) kill(m *netMember) {
	w.t.Helper()
	w.signal(m, syscall.SIGKILL)
	if err := <-m.ended; err == nil || m.cmd.ProcessState.Exited() {
		w.t.Fatalf("%s had ended by itself: %v", m.id, err)
	}
	m.cmd = nil
}

// hasEnded reports whether a member has ended by itself.
func (m *netMember) hasEnded() bool {
	select {
	case <-m.ended:
		m.cmd = nil
		return true
	default:
		return m.cmd == nil
	}
}

// end ends all members, and the network.
func (w *netWorld) end() {
	for _, m := range w.members {
		if m.client != nil {
			_ = m.client.Close() // it has asked only
		}
		if m.cmd != nil && !m.hasEnded() {
			_ = m.cmd.Process.Kill()
			<-m.ended
		}
		if to := os.Getenv(netLogsVariable); to != "" {
			if err := os.WriteFile(filepath.Join(to, filepath.Base(w.t.Name())+"-"+m.id+".log"), []byte(m.says()), 0o600); err != nil {
				w.t.Error(err)
			}
		}
		if w.t.Failed() {
			w.t.Logf("%s, at last:\n%s", m.id, netLastLines(m.log, 60))
		}
		for _, line := range []string{"ip link del " + m.port(), "ip netns del " + m.id} {
			if args := strings.Fields(line); exec.Command(args[0], args[1:]...).Run() != nil {
				w.t.Errorf("%s failed", line)
			}
		}
		if err := syscall.Unmount(m.mounted, syscall.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	}
}

func netLastLines(file string, n int) string {
	text, _ := os.ReadFile(file) // if there is none, there is nothing to say
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.Contains(line, `"a call failed"`) })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// cut has nothing of what one member sends reach another one. It is not told.
func (w *netWorld) cut(from, to *netMember) { w.neighbour(from, to, false) }

// cutOff cuts a member off from all others: from what they send, and from being heard.
func (w *netWorld) cutOff(m *netMember, in, out bool) {
	for _, other := range w.others(m) {
		if in {
			w.cut(other, m)
		}
		if out {
			w.cut(m, other)
		}
	}
}

// heal has all members reach each other.
func (w *netWorld) heal() {
	for _, from := range w.members {
		for _, to := range w.others(from) {
			w.neighbour(from, to, true)
		}
	}
}

// neighbour says where a member sends what is for another one.
func (w *netWorld) neighbour(from, to *netMember, there bool) {
	w.run(fmt.Sprintf("ip -n %s neigh replace %s lladdr %s nud permanent dev eth0", from.id, netHost(to.number), netMAC(to.number, there)))
}

// link takes a member's wire away, or gives it back.
func (w *netWorld) link(m *netMember, up bool) {
	w.run("ip link set " + m.port() + " " + map[bool]string{false: "down", true: "up"}[up])
}

func (w *netWorld) others(m *netMember) []*netMember {
	return slices.DeleteFunc(slices.Clone(w.members), func(o *netMember) bool { return o == m })
}

func (w *netWorld) addresses() string {
	var all []string
	for _, m := range w.members {
		all = append(all, m.address())
	}
	return serverScheme + strings.Join(all, ",")
}

// until waits for something.
func (w *netWorld) until(what string, holds func() bool) {
	w.t.Helper()
	if !w.within(netWait, holds) {
		w.t.Fatalf("%s: not within %v", what, netWait)
	}
}

// within reports whether something comes to hold in time.
func (w *netWorld) within(d time.Duration, holds func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// pass lets time go by, for which a fault lasts.
func (w *netWorld) pass(d time.Duration) {
	w.within(d, func() bool { return false })
}

// between returns a time that the seed decides.
func (w *netWorld) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// status asks one member alone, shortly.
func (w *netWorld) status(m *netMember) (s query.ClusterStatus, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	if m.client == nil {
		o := w.secure
		o.Attempts = 1
		if m.client, err = client.Open(ctx, serverScheme+m.address(), &o); err != nil {
			m.client = nil
			return s, err
		}
	}
	return m.client.ClusterStatus(ctx)
}

// leads returns the one that leads by what all say who can be asked and are not left out: the one of the
// newest term. nil: nobody does.
func (w *netWorld) leads(without ...*netMember) (leader *netMember) {
	var term uint64
	for _, m := range w.members {
		if slices.Contains(without, m) || m.cmd == nil {
			continue
		}
		if s, err := w.status(m); err == nil && s.Leader == m.id && s.Term > term {
			leader, term = m, s.Term
		}
	}
	return leader
}

// leader waits until somebody leads who is not left out.
func (w *netWorld) leader(without ...*netMember) (leader *netMember) {
	w.t.Helper()
	w.until("somebody leads", func() bool {
		leader = w.leads(without...)
		return leader != nil
	})
	return leader
}
