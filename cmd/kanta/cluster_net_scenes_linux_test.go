package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
)

// netScene is something that is done to a cluster while others write and read.
type netScene struct {
	name    string
	members int
	log     string // how much the log grows before a snapshot; "": more than it grows here
	play    func(w *netWorld, l *netLedger)
}

// netScenes are all. The first is the one that runs by default.
var netScenes = []netScene{
	{"short", 3, "", sceneShort},
	{"cut", 3, "", sceneCut},
	{"five", 5, "", sceneFive},
	{"link", 3, "", sceneLink},
	{"kill", 3, "", sceneKill},
	{"pause", 3, "", scenePause},
	{"disk", 3, "", sceneDisk},
	{"install", 3, "64KiB", sceneInstall},
	{"two", 3, "64KiB", sceneTwo},
	{"tail", 3, "256KiB", sceneTail},
	{"loss", 3, "", sceneLoss},
}

// playNet plays a scene with a cluster of its own.
func playNet(t *testing.T, s *netScene, seed uint64) {
	start := time.Now()
	var flags []string
	if s.log != "" {
		flags = []string{"--member-log", s.log}
	}
	w := newNetWorld(t, s.members, seed, flags...)
	l := newNetLedger(w, seed)
	l.progress(50)
	s.play(w, l)
	l.progress(50)
	l.finish()
	t.Logf("%s: %v", s.name, time.Since(start).Round(time.Millisecond))
}

// sceneShort cuts the leader off, and then kills who leads.
func sceneShort(w *netWorld, l *netLedger) {
	l.cutLeader(true, true)
	m := w.leader()
	w.kill(m)
	l.progress(50)
	w.start(m)
}

// cutLeader cuts the one that leads off, until others have gone on without it.
func (l *netLedger) cutLeader(in, out bool) {
	w := l.w
	m := w.leader()
	w.cutOff(m, in, out)
	next := w.leader(m)
	l.progress(50)
	w.pass(w.between(0, time.Second))
	w.t.Logf("%s was cut off (in %v, out %v), and %s led", m.id, in, out, next.id)
	w.heal()
	l.progress(50)
}

// sceneCut cuts leaders off from other members, and not from clients: both ways, what they are sent, and what
// they send. Then from one member alone, which hears the third one.
func sceneCut(w *netWorld, l *netLedger) {
	for range 3 {
		l.cutLeader(true, true)
		l.cutLeader(true, false)
		l.cutLeader(false, true)
		m := w.leader()
		other := w.others(m)[w.random.IntN(2)]
		w.cut(m, other)
		if w.random.IntN(2) == 0 {
			w.cut(other, m)
		}
		w.pass(w.between(2*time.Second, 4*time.Second))
		l.progress(50)
		w.heal()
	}
}

// sceneFive cuts five members in two parts, with the leader in the smaller one.
func sceneFive(w *netWorld, l *netLedger) {
	for range 3 {
		m := w.leader()
		with := w.others(m)[w.random.IntN(4)]
		for _, o := range w.members {
			if o != m && o != with {
				w.cut(m, o)
				w.cut(o, m)
				w.cut(with, o)
				w.cut(o, with)
			}
		}
		next := w.leader(m, with)
		l.progress(50)
		w.pass(w.between(0, 2*time.Second))
		w.t.Logf("%s and %s were cut off, and %s led", m.id, with.id, next.id)
		w.heal()
		l.progress(50)
	}
}

// sceneLink takes the wire away from a follower, and from the leader.
func sceneLink(w *netWorld, l *netLedger) {
	for range 3 {
		leader := w.leader()
		m := w.others(leader)[w.random.IntN(2)]
		w.link(m, false)
		w.pass(w.between(500*time.Millisecond, 5*time.Second))
		l.progress(50)
		w.link(m, true)
		w.pass(w.between(0, time.Second))
		leader = w.leader()
		w.link(leader, false)
		next := w.leader(leader)
		l.progress(50)
		w.t.Logf("the wires of %s and then of %s, which led, were away; then %s led", m.id, leader.id, next.id)
		w.pass(w.between(0, 5*time.Second))
		w.link(leader, true)
		l.progress(50)
	}
}

// sceneKill kills the leader again and again, and then all at once.
func sceneKill(w *netWorld, l *netLedger) {
	for range 20 {
		m := w.leader()
		w.kill(m)
		w.leader()
		l.progress(1 + w.random.Int64N(50))
		w.start(m)
		l.progress(1 + w.random.Int64N(50))
	}
	for range 3 {
		for _, m := range w.members {
			w.signal(m, syscall.SIGKILL)
		}
		for _, m := range w.members {
			<-m.ended
			w.start(m)
		}
		l.progress(50)
	}
}

// scenePause stops the leader for longer than an election takes, and a follower. What was asked meanwhile is answered
// by one that does not know yet that time has gone by.
func scenePause(w *netWorld, l *netLedger) {
	for range 4 {
		m := w.leader()
		w.signal(m, syscall.SIGSTOP)
		next := w.leader(m)
		l.progress(50)
		w.pass(w.between(0, 2*time.Second))
		w.signal(m, syscall.SIGCONT)
		w.t.Logf("%s was stopped, and %s led", m.id, next.id)
		l.progress(50)
		m = w.others(w.leader())[w.random.IntN(2)]
		w.signal(m, syscall.SIGSTOP)
		w.pass(w.between(0, 8*time.Second))
		l.progress(50)
		w.signal(m, syscall.SIGCONT)
		l.progress(50)
	}
}

// sceneDisk leaves little room on the disk of a follower, and of the leader: so much that a leader hands over, so little that
// nothing that is written is taken, and next to nothing. The others go on, and so does the member when there is room, by itself;
// only when next to nothing was left it may have ended, and is started again.
func sceneDisk(w *netWorld, l *netLedger) {
	for _, spare := range []int64{350 << 20, 64 << 20, 64 << 10} {
		for _, leads := range []bool{true, false} {
			m := w.leader()
			if !leads {
				m = w.others(m)[w.random.IntN(2)]
			}
			w.resize(m, netUsed(w.t, m)+spare)
			problem, ended := "", false
			w.until("another one leads than "+m.id+", which takes nothing if it has little room", func() bool {
				if ended = m.hasEnded(); ended {
					return w.leads(m) != nil
				}
				leader := w.leads()
				if leader == nil || leader == m {
					return false
				}
				s, err := w.status(leader)
				if i := slices.IndexFunc(s.Members, func(o query.ClusterMember) bool { return o.ID == m.id }); err == nil && i >= 0 {
					problem = s.Members[i].Problem
				}
				return strings.Contains(problem, "nearly full") || spare > 320<<20
			})
			l.progress(50)
			w.t.Logf("the disk of %s, which led %v, had %d KiB left: it ended %v, has the problem %q", m.id, leads, spare>>10, ended, problem)
			w.resize(m, 2<<30)
			if ended = m.hasEnded(); ended {
				w.start(m)
			}
			if ended && spare > 1<<20 {
				w.t.Errorf("%s has ended for want of room", m.id)
			}
			l.progress(50)
			w.until(m.id+" has what the others have", func() bool {
				leader := w.leads()
				if leader == nil {
					return false
				}
				s, err := w.status(leader)
				i := slices.IndexFunc(s.Members, func(o query.ClusterMember) bool { return o.ID == m.id })
				return err == nil && i >= 0 && s.Members[i].Problem == "" && s.Members[i].Lag < 100
			})
		}
	}
}

// netUsed returns the bytes that a member's file system holds.
func netUsed(t *testing.T, m *netMember) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(m.mounted, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Blocks-s.Bfree) * int64(s.Bsize)
}

// resize gives a member's file system another size.
func (w *netWorld) resize(m *netMember, size int64) {
	w.t.Helper()
	if err := syscall.Mount(m.id, m.mounted, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		w.t.Fatalf("%s: %v", m.id, err)
	}
}

// sceneLoss has the network lose, delay, reorder and repeat what members are sent. Where the kernel has no netem, a
// part is redirected to a device that is down, and another part to one that is slow: that loses, delays and reorders.
func sceneLoss(w *netWorld, l *netLedger) {
	netem := exec.Command("tc", "qdisc", "add", "dev", w.members[0].port(), "root", "netem", "delay", "1ms").Run() == nil
	if netem {
		w.run("tc qdisc del dev " + w.members[0].port() + " root")
	}
	for range 4 {
		lost, late := 1+w.random.IntN(8), 5+w.random.IntN(30) // percent
		for _, m := range w.members {
			if netem {
				w.run(fmt.Sprintf("tc qdisc add dev %s root netem delay 20ms 15ms loss %d%% reorder %d%% duplicate %d%%", m.port(), lost, late, lost))
				continue
			}
			in := "ip netns exec " + m.id + " "
			for _, line := range []string{
				"ip link add hole type ifb", "ip link add slow type ifb", "ip link set slow up",
				"tc qdisc add dev slow root tbf rate 2mbit burst 16kb latency 100ms", "tc qdisc add dev eth0 ingress",
				netChance(1, lost) + "hole", netChance(2, late) + "slow",
			} {
				w.run(in + line)
			}
		}
		l.progress(200)
		w.kill(w.leader())
		l.progress(50)
		for _, m := range w.members {
			if m.cmd == nil {
				w.start(m)
			}
		}
		l.progress(200)
		dropped := 0
		for _, m := range w.members {
			if netem {
				dropped += netLost(w.run("tc -s qdisc show dev "+m.port()), true)
				w.run("tc qdisc del dev " + m.port() + " root")
				continue
			}
			in := "ip netns exec " + m.id + " "
			dropped += netLost(w.run(in+"tc -s filter show dev eth0 ingress"), false)
			for _, line := range []string{"tc qdisc del dev eth0 ingress", "ip link del hole", "ip link del slow"} {
				w.run(in + line)
			}
		}
		w.t.Logf("netem %v: %d %% lost, %d %% late: %d packets lost", netem, lost, late, dropped)
		if dropped == 0 {
			w.t.Error("void: nothing was lost")
		}
		l.progress(50)
	}
}

// netChance redirects so many percent of what comes in: a program of classic BPF looks at a random number. A _ stands for a blank
// within an argument.
func netChance(priority, percent int) string {
	return fmt.Sprintf("tc filter add dev eth0 ingress protocol all prio %d bpf bytecode 4,32_0_0_4294963256,37_1_0_%d,6_0_0_4294967295,6_0_0_0 action mirred egress redirect dev ",
		priority, uint64(percent)*(1<<32)/100)
}

// netLost returns how many packets were lost, by what tc says: of a netem, or of the first of the filters above.
func netLost(text string, netem bool) (n int) {
	_, rest, _ := strings.Cut(text, map[bool]string{true: "dropped ", false: "overlimits "}[netem])
	_, _ = fmt.Sscanf(rest, "%d", &n) // none is 0
	return n
}
