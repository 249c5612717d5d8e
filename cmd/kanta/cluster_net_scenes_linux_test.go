package main

import (
	"syscall"
	"testing"
	"time"
)

// netScene is something that is done to a cluster while others write and read.
type netScene struct {
	name string
	log  string // how much the log grows before a snapshot; "": more than it grows here
	play func(w *netWorld, l *netLedger)
}

// netScenes are all. The first is the one that runs by default.
var netScenes = []netScene{
	{"short", "", sceneShort},
	{"cut", "", sceneCut},
	{"link", "", sceneLink},
	{"kill", "", sceneKill},
	{"pause", "", scenePause},
}

// playNet plays a scene with a cluster of its own.
func playNet(t *testing.T, s *netScene, seed uint64) {
	start := time.Now()
	var flags []string
	if s.log != "" {
		flags = []string{"--member-log", s.log}
	}
	w := newNetWorld(t, 3, seed, flags...)
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
// they send.
func sceneCut(_ *netWorld, l *netLedger) {
	for range 3 {
		l.cutLeader(true, true)
		l.cutLeader(true, false)
		l.cutLeader(false, true)
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
