package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// killsVariable says how often TestServeKilled kills; 4 times if it is not set.
const killsVariable = "KANTA_KILLS"

// victim is kanta serve in a process of its own, which is killed and started again at one address.
type victim struct {
	t       *testing.T
	c       *cli
	address string

	mu  sync.Mutex
	cmd *exec.Cmd
	up  chan struct{} // closed when it serves
}

func newVictim(t *testing.T, c *cli) *victim {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, c: c, address: l.Addr().String(), up: make(chan struct{})}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return v
}

// start starts the server and waits until it serves.
func (v *victim) start() {
	v.t.Helper()
	cmd := exec.Command(os.Args[0], "serve", "--db", v.c.path("db"), "--listen", v.address)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			v.t.Fatalf("the server ended: %q, %v", line, errors.Join(err, cmd.Wait()))
		}
		if strings.HasPrefix(line, "serving ") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cmd = cmd
	close(v.up)
}

// kill kills the server.
func (v *victim) kill() {
	v.mu.Lock()
	cmd := v.cmd
	v.up = make(chan struct{})
	v.mu.Unlock()
	if err := cmd.Process.Kill(); err != nil {
		v.t.Error(err)
	}
	_ = cmd.Wait() // it was killed
}

// serves waits until the server serves.
func (v *victim) serves(ctx context.Context) error {
	v.mu.Lock()
	up := v.up
	v.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counting is batch number i: it makes n of the person "all" one more, which done twice would be
// two, and brings a person of its own.
func counting(i uint64) (batch.Batch, error) {
	b := batch.New()
	b.Source("feed", 1, i)
	b.Upsert("all").Increment("n", schema.IntValue(1))
	b.Upsert(fmt.Sprintf("p%d", i)).Set("n", schema.IntValue(-1))
	return b.Encode()
}

// feeding is what has been fed to a server.
type feeding struct{ sent, acknowledged, again, repeated atomic.Uint64 }

// feed streams batches until ctx ends, some at a time. What its client has given up is sent again
// until it is acknowledged.
func (v *victim) feed(ctx context.Context, c *client.Client, f *feeding) error {
	type pending struct {
		b    batch.Batch
		wait func() (batch.Result, error)
	}
	var under []pending
	settle := func(n int) error {
		for len(under) > n {
			p := under[0]
			under = under[1:]
			var res batch.Result
			var err error = query.Errorf(query.CodeUnavailable, "it was not sent")
			if p.wait != nil {
				res, err = p.wait()
			}
			for err != nil {
				if !errors.Is(err, &query.Error{Code: query.CodeUnavailable}) {
					return err
				}
				f.again.Add(1)
				if err := v.serves(context.WithoutCancel(ctx)); err != nil {
					return err
				}
				res, err = c.Apply(context.WithoutCancel(ctx), p.b)
			}
			if res.Repeated {
				f.repeated.Add(1)
			}
			f.acknowledged.Add(1)
		}
		return nil
	}
	for ctx.Err() == nil {
		b, err := counting(f.sent.Add(1))
		if err != nil {
			return err
		}
		wait, err := c.Submit(context.WithoutCancel(ctx), b)
		if err != nil {
			wait = nil
		}
		under = append(under, pending{b, wait})
		if err := settle(15); err != nil {
			return err
		}
	}
	return settle(0)
}

// TestServeKilled kills a server again and again while batches stream to it: in the end each that
// was acknowledged is there, once.
func TestServeKilled(t *testing.T) {
	kills := 4
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	cli := newCLI(t)
	cli.must("schema", "apply", cli.file("schema.toml", "[[attribute]]\nname = \"n\"\nkind = \"int\"\n"))
	v := newVictim(t, cli)
	v.start()
	t.Cleanup(v.kill)
	c, err := client.Open(t.Context(), "kanta://"+v.address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	var f feeding
	fed := make(chan error, 1)
	go func() { fed <- v.feed(ctx, c, &f) }()
	underWay := uint64(0)
	for i := range kills {
		from := f.acknowledged.Load()
		for tick := time.NewTicker(time.Millisecond); f.acknowledged.Load() < from+uint64(20+7*i); {
			select {
			case err := <-fed:
				t.Fatalf("the feed ended: %v", err)
			case <-tick.C:
			}
		}
		v.kill()
		underWay += f.sent.Load() - f.acknowledged.Load()
		v.start()
	}
	stop()
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	sent := f.sent.Load()
	t.Logf("%d kills, %d batches, %d of them under way when the server was killed; %d were answered as repeated, %d sent again after the client had given up",
		kills, sent, underWay, f.repeated.Load(), f.again.Load())
	if n := f.acknowledged.Load(); n != sent || underWay == 0 {
		t.Errorf("%d of %d batches were acknowledged, %d were under way at a kill", n, sent, underWay)
	}
	for expr, want := range map[string]uint64{"true": sent + 1, "n == -1": sent, fmt.Sprintf("n == %d", sent): 1} {
		if n, err := c.Count(t.Context(), expr, nil); err != nil || n.Count != want {
			t.Errorf("%s: %d (%v), want %d", expr, n.Count, err, want)
		}
	}
}
