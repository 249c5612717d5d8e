package main

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// localMember is a member of a localCluster, a process of its own.
type localMember struct {
	id            string
	dir, log      string
	address, raft string // for clients, and for members
	program       string // the build that it runs; "": this one

	cmd   *exec.Cmd // nil: it does not run
	ended chan error
}

// start starts it, with more flags than it needs. What it says goes to its log.
func (m *localMember) start(d *localCluster, more ...string) error {
	self, err := m.program, error(nil)
	if self == "" {
		self, err = os.Executable()
	}
	if err != nil {
		return err
	}
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own
	node := d.file(m.id)
	args := append([]string{"serve", "--db", m.dir, "--memory", localMemory, "--node-cert", node + ".crt", "--node-key", node + ".key", "--node-ca", d.file("ca.crt"),
		"--tls-cert", d.file("server.crt"), "--tls-key", d.file("server.key"), "--client-ca", d.file("ca.crt")}, more...)
	m.cmd = exec.Command(self, args...)
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.cmd.Start(); err != nil {
		m.cmd = nil
		return err
	}
	m.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(m.cmd, m.ended)
	return nil
}

// kill ends it as a crash does.
func (m *localMember) kill() error {
	err := m.cmd.Process.Kill()
	<-m.ended // with that it was killed
	m.cmd = nil
	return err
}

// stopTime is how long a member may take to stop.
const stopTime = 20 * time.Second

// stop ends it in good order, if it runs.
func (m *localMember) stop() error {
	if m.cmd == nil {
		return nil
	}
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil { // where there is no such signal
		return m.kill()
	}
	select {
	case <-m.ended: // it says in its log what went wrong, if something did
		m.cmd = nil
		return nil
	case <-time.After(stopTime):
		return m.kill()
	}
}
