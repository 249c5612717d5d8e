package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/bench"
)

// benchEcho sends back what comes to a port that it prints, until ctx ends.
func (a *app) benchEcho(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	fmt.Fprintf(a.err, "serving nothing at %s%s\n", serverScheme, l.Addr())
	return bench.Echo(l)
}

// serveElsewhere has other processes of this command serve a store, and send back what comes.
func (a *app) serveElsewhere(ctx context.Context, dir string) (out bench.Served, err error) {
	serve := []string{"serve", "--listen", "127.0.0.1:0", "--db", dir}
	if a.memory != "" {
		serve = append(serve, "--memory", a.memory)
	}
	server, address, err := startElsewhere(ctx, serve...)
	if err != nil {
		return out, err
	}
	echo, there, err := startElsewhere(ctx, "bench", "--echo")
	if err != nil {
		return out, errors.Join(err, stopElsewhere(server))
	}
	out = bench.Served{Address: address, Echo: there, Stop: func() error { return errors.Join(stopElsewhere(server), stopElsewhere(echo)) }}
	if _, err := residentOf(server.Process.Pid); err == nil {
		out.Memory = func() (int64, error) { return residentOf(server.Process.Pid) }
	}
	return out, nil
}

// startElsewhere starts this command and waits until it says where it listens.
func startElsewhere(ctx context.Context, args ...string) (c *exec.Cmd, address string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	c = exec.CommandContext(ctx, exe, args...)
	said, err := c.StderrPipe()
	if err != nil {
		return nil, "", err
	}
	if err := c.Start(); err != nil {
		return nil, "", err
	}
	lines, last := bufio.NewScanner(said), ""
	for lines.Scan() {
		last = lines.Text()
		if _, at, ok := strings.Cut(last, " at "+serverScheme); ok {
			go func() {
				for lines.Scan() { // nobody else empties the pipe
				}
			}()
			return c, at, nil
		}
	}
	return nil, "", fmt.Errorf("kanta %s: %w, after saying %q", args[0], errors.Join(c.Wait(), lines.Err()), last)
}

// stopElsewhere interrupts a process and waits for its end.
func stopElsewhere(c *exec.Cmd) error {
	if err := c.Process.Signal(os.Interrupt); err != nil {
		_ = c.Process.Kill() // where there are no interrupts; it has nothing to save
	}
	var ended *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &ended) {
		return err
	}
	return nil
}

// residentOf returns the resident memory of a process, where the system tells.
func residentOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the system does not say how much memory a process has")
}

func (a *app) printWire(r *bench.Report) error {
	if len(r.Wire) == 0 {
		return nil
	}
	t := a.newTable("over the wire", "#p50", "#p99", "#runs", "#per second", "#embedded p50", "#embedded per second")
	for _, w := range r.Wire {
		var p50, p99, per, embedded, embeddedPer any = "", "", "", "", ""
		if w.P50 > 0 {
			p50, p99 = t.micros(w.P50), t.micros(w.P99)
		}
		if w.PerSec > 0 {
			per = fmt.Sprintf("%.0f", w.PerSec)
		}
		if w.Embedded > 0 {
			embedded = t.micros(w.Embedded)
		}
		if w.EmbeddedPer > 0 {
			embeddedPer = fmt.Sprintf("%.0f", w.EmbeddedPer)
		}
		t.add(w.Name, p50, p99, w.Runs, per, embedded, embeddedPer)
	}
	if err := t.write(a.out); err != nil || r.Idle.Connections == 0 {
		return err
	}
	f := a.facts()
	f.add(fmt.Sprintf("memory of %s idle connections", count(r.Idle.Connections)), f.bytes(r.Idle.Bytes))
	return f.write(a.out)
}

type benchWireJSON struct {
	Name        string  `json:"name"`
	P50US       float64 `json:"p50_us"`
	P99US       float64 `json:"p99_us"`
	Runs        int     `json:"runs"`
	PerSec      float64 `json:"per_second"`
	EmbeddedUS  float64 `json:"embedded_p50_us"`
	EmbeddedPer float64 `json:"embedded_per_second"`
}

func wireJSON(figures []bench.WireFigure) []benchWireJSON {
	out := []benchWireJSON{}
	for _, w := range figures {
		out = append(out, benchWireJSON{w.Name, microseconds(w.P50), microseconds(w.P99), w.Runs, w.PerSec, microseconds(w.Embedded), w.EmbeddedPer})
	}
	return out
}
