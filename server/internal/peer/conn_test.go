package peer

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// knocking comes and says nothing, from an address.
func knocking(t *testing.T, from string, y *Layer) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", y.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// TestStrangers fills the places of strangers: one more pushes out who came first, of those of the
// address that has most.
func TestStrangers(t *testing.T) {
	o := newTrust(t).options("n1")
	y := serve(t, o)
	other := "127.0.0.1"
	if runtime.GOOS == "linux" { // where all of 127 is the machine's
		other = "127.0.0.2"
	}
	var all []net.Conn
	come := func(from string) {
		all = append(all, knocking(t, from, y))
		eventually(t, "it came", func() bool { return y.Figures().Accepted == uint64(len(all)) })
	}
	come(other)
	for range o.limits.strangers - 1 {
		come("127.0.0.1")
	}
	if f := y.Figures(); f.Strangers != o.limits.strangers || f.Refused != [Reasons]uint64{} {
		t.Fatalf("at the limit: %+v", f)
	}
	come("127.0.0.1")
	first := all[1]
	if other == "127.0.0.1" {
		first = all[0]
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who came first is still there: %v", err)
	}
	if f := y.Figures(); f.Strangers != o.limits.strangers || f.Refused[ReasonCrowd] != 1 {
		t.Errorf("over the limit: %+v", f)
	}
}

// TestLate does not shake hands in time.
func TestLate(t *testing.T) {
	o := newTrust(t).options("n1")
	var told refusals
	o.Refused = told.add
	o.limits.handshake = 10 * time.Millisecond
	y := serve(t, o)
	if _, err := knocking(t, "127.0.0.1", y).Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v", err)
	}
	_ = knocking(t, "127.0.0.1", y).Close()
	var all []Refusal
	eventually(t, "both are told", func() bool { all = append(all, told.take()...); return len(all) == 2 })
	for _, r := range all {
		if r.Reason != ReasonLate && r.Reason != ReasonGone {
			t.Errorf("%+v", r)
		}
	}
	if y.Figures().Refused[ReasonLate] == 0 {
		t.Errorf("%+v", all)
	}
}

// held accepts all that are let in, and reads what they say.
func held(t *testing.T, y *Layer) {
	t.Helper()
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = y.Close() })
	all.Go(func() {
		for {
			c, err := y.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
}

// TestPlaces fills the places of a node, and those of all: the newest comes in, and who has been
// silent for longest goes.
func TestPlaces(t *testing.T) {
	tr := newTrust(t)
	o := tr.options("n0")
	y := serve(t, o)
	held(t, y)
	var mine []net.Conn
	come := func(from *Layer) net.Conn {
		t.Helper()
		before := y.hall.all()
		c, err := from.Dial(raft.ServerAddress(y.Addr().String()), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is let in", func() bool {
			return slices.ContainsFunc(y.hall.all(), func(c *inbound) bool { return !slices.Contains(before, c) })
		})
		return c
	}
	n1 := serve(t, tr.options("n1"))
	for range y.limits.perNode {
		mine = append(mine, come(n1))
	}
	ended := func(c net.Conn) error {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	if f := y.Figures(); f.Connections != y.limits.perNode || f.Refused != [Reasons]uint64{} {
		t.Fatalf("at a node's limit: %+v", f)
	}
	if _, err := mine[0].Write([]byte{1}); err != nil { // it is not silent
		t.Fatal(err)
	}
	eventually(t, "it is heard", func() bool {
		quiet := func() *inbound { y.hall.mu.Lock(); defer y.hall.mu.Unlock(); return y.hall.quietest("n1") }()
		return quiet.RemoteAddr().String() == mine[1].LocalAddr().String()
	})
	mine = append(mine, come(n1))
	if err := ended(mine[1]); err != io.EOF {
		t.Errorf("who is silent is still there: %v", err)
	}
	if f := y.Figures(); f.Connections != y.limits.perNode || f.Refused[ReasonFull] != 1 {
		t.Errorf("over a node's limit: %+v", f)
	}
	for i := 2; y.Figures().Connections < y.limits.connections; i++ {
		n := serve(t, tr.options(fmt.Sprintf("n%d", i)))
		for range y.limits.perNode {
			come(n)
		}
	}
	if f := y.Figures(); f.Connections != y.limits.connections || f.Refused[ReasonFull] != 1 {
		t.Fatalf("at the limit of all: %+v", f)
	}
	come(serve(t, tr.options("last")))
	if err := ended(mine[2]); err != io.EOF {
		t.Errorf("who is silent is still there: %v", err)
	}
	if f := y.Figures(); f.Connections != y.limits.connections || f.Refused[ReasonFull] != 2 {
		t.Errorf("over the limit of all: %+v", f)
	}
}

// all returns the connections that were let in.
func (h *hall) all() (all []*inbound) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.known {
		all = append(all, c)
	}
	return all
}

// shaken returns both ends of a connection in memory, in virtual time.
func shaken(t *testing.T, told *refusals) (near *tls.Conn, far *inbound) {
	t.Helper()
	m := newTrust(t).node("n1", "shop")
	y := &Layer{limits: defaultLimits(), called: map[*outbound]struct{}{}, ctx: t.Context()}
	y.o.Refused, y.hall = told.add, newHall(y.limits)
	a, b := net.Pipe()
	near = tls.Client(a, m.Calling("127.0.0.1"))
	done := make(chan error, 1)
	go func() { done <- near.Handshake() }()
	secure := tls.Server(b, m.Accepting())
	if err := errors.Join(secure.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return near, newInbound(y, secure, "n1")
}

// TestPace brings messages late, slowly and not at all.
func TestPace(t *testing.T) {
	// after returns what comes of reading all, and when; say is another's who speaks.
	after := func(t *testing.T, told *refusals, say func(near net.Conn), read func(far *inbound) error) (time.Duration, *Layer, error) {
		near, far := shaken(t, told)
		begun := time.Now()
		var saying sync.WaitGroup
		saying.Go(func() { say(near) })
		err := read(far)
		took := time.Since(begun)
		_ = far.Close()
		saying.Wait()
		return took, far.layer, err
	}
	all := func(far *inbound) error {
		_, err := io.Copy(io.Discard, far)
		return err
	}
	at := func(rate, seconds int) func(net.Conn) {
		return func(c net.Conn) {
			for range seconds * 10 {
				if _, err := c.Write(make([]byte, rate/10)); err != nil {
					return
				}
				<-time.After(100 * time.Millisecond)
			}
			_ = c.Close()
		}
	}
	l := defaultLimits()
	for what, test := range map[string]struct {
		say      func(net.Conn)
		read     func(far *inbound) error
		from, to time.Duration
		reason   Reason
		idle     uint64
	}{
		"nothing":             {func(net.Conn) {}, all, l.idle, l.idle, ReasonNone, 1},
		"a byte":              {func(c net.Conn) { _, _ = c.Write([]byte{1}) }, all, l.frame, l.frame, ReasonSlow, 0},
		"half the rate":       {at(l.rate/2, 100), all, 2*l.frame - time.Second, 2*l.frame + time.Second, ReasonSlow, 0},
		"the rate":            {at(l.rate, 100), all, 100 * time.Second, 100 * time.Second, ReasonNone, 0},
		"a byte, and another": {func(c net.Conn) { _, _ = c.Write([]byte{1}); <-time.After(l.frame - 1); _, _ = c.Write([]byte{1}) }, all, l.frame, l.frame + time.Second, ReasonSlow, 0},
		"an answer, and then nothing": {func(c net.Conn) { _, _ = c.Write([]byte{1}); _, _ = io.Copy(io.Discard, c) }, func(far *inbound) error {
			if _, err := far.Read(make([]byte, 9)); err != nil {
				return err
			}
			if _, err := far.Write([]byte{2}); err != nil {
				return err
			}
			return all(far)
		}, l.idle, l.idle, ReasonNone, 1},
		"who is not asked for more": {func(c net.Conn) { _, _ = c.Write([]byte{1}); _, _ = c.Write([]byte{2}); _ = c.Close() }, func(far *inbound) error {
			if _, err := far.Read(make([]byte, 9)); err != nil {
				return err
			}
			<-time.After(time.Hour) // such as a snapshot on a slow disk
			return all(far)
		}, time.Hour, time.Hour, ReasonNone, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			told := &refusals{}
			took, y, err := after(t, told, test.say, test.read)
			if took < test.from || took > test.to || (err == nil) != (test.reason == ReasonNone) {
				t.Errorf("%s: %v, %v", what, took, err)
			}
			if got := told.take(); y.Figures().Idle != test.idle || test.reason == ReasonNone && len(got) != 0 ||
				test.reason != ReasonNone && (len(got) != 1 || got[0].Reason != test.reason || got[0].Node != "n1") {
				t.Errorf("%s: %+v, %+v", what, got, y.Figures())
			}
		})
	}
}

// TestDeaf answers who does not listen.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, far := shaken(t, &refusals{})
		begun := time.Now()
		if _, err := far.Write(bytes.Repeat([]byte{1}, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != far.layer.limits.frame {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// TestStall sends to who takes nothing, with a deadline far away, as Raft has for a large snapshot.
func TestStall(t *testing.T) {
	for deadline, want := range map[time.Duration]time.Duration{time.Hour: defaultLimits().stall, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			near, far := shaken(t, &refusals{})
			c := newOutbound(far.layer, "n1")
			c.conn, c.used = near, time.Now()
			defer c.Close()
			begun := time.Now()
			_ = c.SetDeadline(begun.Add(deadline))
			if _, err := c.Write(bytes.Repeat([]byte{1}, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != want {
				t.Errorf("%v after %v, want after %v", err, time.Since(begun), want)
			}
		})
	}
}
