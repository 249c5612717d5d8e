package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// flaky is a transport whose calls fail: before they begin, or after they have been done.
type flaky struct {
	connect.Transport
	before, after atomic.Int64 // so many calls from now on
	tried         atomic.Int64
}

var errDown = connect.NewError(connect.CodeUnavailable, "down")

// NewClientStream implements [connect.Transport].
func (f *flaky) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	f.tried.Add(1)
	if f.before.Add(-1) >= 0 {
		return nil, errDown.WithCause(&net.OpError{Op: "dial", Err: errors.New("refused")})
	}
	s, err := f.Transport.NewClientStream(ctx, spec)
	if err == nil && f.after.Add(-1) >= 0 {
		s = lostAnswer{s}
	}
	return s, err
}

// lostAnswer is a call that is done and whose answer is lost.
type lostAnswer struct{ connect.ClientStream }

// Receive implements [connect.ClientStream].
func (s lostAnswer) Receive(m any) error {
	if err := s.ClientStream.Receive(m); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errDown
}

// TestRetries loses calls and answers: nothing is done twice, and what can be tried again is.
func TestRetries(t *testing.T) {
	db := openStore(t)
	f := &flaky{Transport: connectinprocess.New(limited(t, db, nil, nil).RPC())}
	c := dial(t, "", &client.Options{Transport: f})
	f.before.Store(1)
	f.after.Store(1)
	if _, err := c.Count(t.Context(), "true", nil); err != nil {
		t.Errorf("a question that was lost once, and its answer once: %v", err)
	}
	f.before.Store(1)
	if r, err := c.Apply(t.Context(), increment(t, "a", 0)); err != nil || r.Accepted != 1 {
		t.Errorf("a batch that was not received: %+v, %v", r, err)
	}
	f.after.Store(1)
	if _, err := c.Apply(t.Context(), increment(t, "a", 0)); !isCode(err, query.CodeUnavailable) {
		t.Errorf("a batch without a source whose outcome was lost: %v", err)
	}
	f.after.Store(1)
	if r, err := c.Apply(t.Context(), increment(t, "a", 1)); err != nil || !r.Repeated {
		t.Errorf("a batch with a source whose outcome was lost: %+v, %v", r, err)
	}
	f.after.Store(1)
	if _, err := c.Erase(t.Context(), "", "b"); !isCode(err, query.CodeUnavailable) {
		t.Errorf("an erasure whose outcome was lost: %v", err)
	}
	valueOf(t, db, "a", 3)
}

// valueOf checks n of a person.
func valueOf(t *testing.T, db *engine.DB, key string, want int64) {
	t.Helper()
	p, err := db.Profile(context.Background(), key, nil)
	if err != nil || len(p.Values) != 1 || p.Values[0].Value.Ordered() != want {
		t.Errorf("n of %s is %v (%v), want %d", key, p.Values, err, want)
	}
}

// TestRetryBudget asks a server that is down: retries are few, and every call fails soon.
func TestRetryBudget(t *testing.T) {
	f := &flaky{Transport: connectinprocess.New(limited(t, openStore(t), nil, nil).RPC())}
	c := dial(t, "", &client.Options{Transport: f, Attempts: 2})
	f.before.Store(1 << 40)
	f.tried.Store(0)
	const calls = 200
	failed := make(chan error, calls)
	for range calls {
		go func() {
			_, err := c.Count(context.Background(), "true", nil)
			failed <- err
		}()
	}
	for range calls {
		if err := <-failed; !isCode(err, query.CodeUnavailable) {
			t.Fatal(err)
		}
	}
	if again := f.tried.Load() - calls; again < 5 || again > calls/10+20 {
		t.Errorf("%d calls were tried again %d times", calls, again)
	}
}

// TestIngestCut cuts all connections again and again while batches are submitted. With a source
// each is there exactly once; without one it may be that some fail, of which nobody knows, but
// none is there twice.
func TestIngestCut(t *testing.T) {
	for _, sources := range []bool{true, false} {
		t.Run(fmt.Sprint(sources), func(t *testing.T) {
			db := openStore(t)
			l := listen(t, limited(t, db, nil, nil))
			c := dial(t, "kanta://"+l.Addr().String(), &client.Options{Attempts: 10})
			var waits []func() (batch.Result, error)
			const batches = 400
			for i := range uint64(batches) {
				sequence := i + 1
				if !sources {
					sequence = 0
				}
				wait, err := c.Submit(t.Context(), increment(t, "a", sequence))
				if err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
				waits = append(waits, wait)
				// As often as the budget of retries bears, and when there is something to cut.
				if i%27 == 13 {
					eventually(t, "a connection to cut", func() bool { return l.cut() > 0 })
				}
			}
			unknown := int64(0)
			for i, wait := range waits {
				_, err := wait()
				if err != nil && (sources || !isCode(err, query.CodeUnavailable)) {
					t.Fatalf("batch %d: %v", i, err)
				}
				if err != nil {
					unknown++
				}
			}
			p, err := db.Profile(t.Context(), "a", nil)
			if err != nil || len(p.Values) != 1 {
				t.Fatal(p, err)
			}
			if n := p.Values[0].Value.Ordered(); n < batches-unknown || n > batches {
				t.Errorf("%d are there of %d batches, of %d it is not known", n, batches, unknown)
			}
		})
	}
}

// TestDrain stops a server while batches without a source are submitted: those that were
// acknowledged are there, and no others.
func TestDrain(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, nil)
	l := listen(t, s)
	c := dial(t, "kanta://"+l.Addr().String(), &client.Options{Attempts: 1})
	var waits []func() (batch.Result, error)
	stopped := make(chan error, 1)
	for i := range 200 {
		if i == 50 {
			go func() { stopped <- s.Shutdown(context.Background()) }()
		}
		wait, err := c.Submit(t.Context(), increment(t, "a", 0))
		if err != nil {
			if !isCode(err, query.CodeUnavailable) {
				t.Fatal(err)
			}
			break
		}
		waits = append(waits, wait)
	}
	acknowledged := int64(0)
	for _, wait := range waits {
		_, err := wait()
		switch {
		case err == nil:
			acknowledged++
		case !isCode(err, query.CodeUnavailable):
			t.Fatal(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if least := 50 - int64(s.limits.inFlight); acknowledged < least {
		t.Errorf("%d batches are acknowledged; %d were when the server began to stop", acknowledged, least)
	}
	valueOf(t, db, "a", acknowledged)
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeUnavailable) {
		t.Errorf("a question after the end: %v", err)
	}
}

// TestShutdownWaits stops a server while a question is under way, which is answered; one that
// takes longer than the patience of who stops it is given up.
func TestShutdownWaits(t *testing.T) {
	for _, patient := range []bool{true, false} {
		t.Run(fmt.Sprint(patient), func(t *testing.T) {
			db := openStore(t)
			s := limited(t, db, nil, func(l *limits) { l.behind = time.Hour })
			l := listen(t, s)
			c := dial(t, "kanta://"+l.Addr().String(), &client.Options{Attempts: 1})
			info, err := c.Ping(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			info.Position.Applied++
			c.See(info.Position)
			answered := make(chan error, 1)
			go func() {
				_, err := c.Count(context.Background(), "true", nil) // it waits for the position
				answered <- err
			}()
			eventually(t, "the question is there", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls > 0 })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(ctx) }()
			eventually(t, "the server stops", s.stopping)
			if !patient {
				cancel()
				if err := <-answered; err == nil {
					t.Error("a question that was given up is answered")
				}
				<-stopped
				return
			}
			if _, err := db.Apply(t.Context(), increment(t, "a", 0)); err != nil {
				t.Fatal(err)
			}
			if err := <-answered; err != nil {
				t.Errorf("a question that was under way: %v", err)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestClosedClient closes a client under its calls.
func TestClosedClient(t *testing.T) {
	db := openStore(t)
	c := dial(t, "kanta://"+listen(t, limited(t, db, nil, nil)).Addr().String(), nil)
	m, err := c.Members(t.Context(), "true", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	for range m.Rows {
	}
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeClosed) {
		t.Errorf("a question of a closed client: %v", err)
	}
	if _, err := c.Submit(t.Context(), increment(t, "a", 0)); !isCode(err, query.CodeClosed) {
		t.Errorf("a batch for a closed client: %v", err)
	}
}
