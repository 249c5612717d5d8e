package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// trio are three servers of one store, of which a test says who leads: whatever one of them has applied the others
// have. The real cluster is tested in package server/cluster.
type trio struct {
	db    *engine.DB
	seats [3]*seat
	at    [3]*listening
	s     [3]*Server
}

func newTrio(t *testing.T) *trio {
	r := &trio{db: openStore(t)}
	for i := range r.seats {
		r.seats[i] = &seat{db: r.db}
		r.s[i] = limited(t, r.db, &Options{Cluster: r.seats[i]}, nil)
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.at[i] = &listening{Listener: inner}
		served := make(chan error, 1)
		go func() { served <- r.s[i].Serve(r.at[i]) }()
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = r.s[i].Shutdown(ctx)
			<-served // with an error, if it was killed
		})
	}
	return r
}

// lead has a member lead; -1 is none. Others hear of it.
func (r *trio) lead(which int) {
	for i, s := range r.seats {
		address := ""
		if which >= 0 {
			address = r.at[which].Addr().String()
		}
		s.set(address, i == which, 0)
	}
}

func (r *trio) address(which ...int) string {
	var all []string
	for _, i := range which {
		all = append(all, r.at[i].Addr().String())
	}
	return "kanta://" + strings.Join(all, ",")
}

// kill ends a member as a crash does: its connections, and its port.
func (r *trio) kill(i int) {
	_ = r.at[i].Close()
	r.at[i].cut()
}

// calls counts the calls of a kind that a member has answered without an error.
func (r *trio) calls(t *testing.T, i int, call string) (n float64) {
	t.Helper()
	families, err := r.s[i].watch.figures.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "kanta_calls_total" && l[0].GetValue() == call && l[1].GetValue() == "ok" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestFollowsLeader writes through one address of a member that does not lead, and goes on when another one does,
// or none for a while.
func TestFollowsLeader(t *testing.T) {
	r := newTrio(t)
	r.lead(1)
	c := dial(t, r.address(0), &client.Options{Attempts: 1})
	apply := func(ctx context.Context) error {
		_, err := c.Apply(ctx, increment(t, "a", 0))
		return err
	}
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.lead(2)
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.lead(-1)
	later := make(chan error, 1)
	before := r.s[2].lastCall.Load() + r.s[0].lastCall.Load()
	go func() { later <- apply(context.Background()) }()
	eventually(t, "it is tried again", func() bool { return r.s[2].lastCall.Load()+r.s[0].lastCall.Load() > before+2 })
	r.lead(0)
	if err := <-later; err != nil {
		t.Errorf("a batch while nobody led: %v", err)
	}
	r.lead(-1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := apply(ctx); !isCode(err, query.CodeNotLeader) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a batch that finds nobody in its time: %v", err)
	}
	valueOf(t, r.db, "a", 3)
}

// TestFailover kills members one after another. Whoever asks or writes notices nothing.
func TestFailover(t *testing.T) {
	r := newTrio(t)
	r.lead(0)
	c := dial(t, r.address(0, 1, 2), nil)
	strict := dial(t, r.address(2, 1, 0), &client.Options{Consistency: client.Linearizable})
	const rounds = 30
	ask := func(n int64) {
		t.Helper()
		for i := range int64(rounds) {
			if _, err := c.Apply(t.Context(), increment(t, "a", uint64(n+i+1))); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Count(t.Context(), fmt.Sprintf("n == %d", n+i+1), nil); err != nil || got.Count != 1 {
				t.Fatalf("%+v, %v", got, err)
			}
			if got, err := strict.Count(t.Context(), fmt.Sprintf("n == %d", n+i+1), nil); err != nil || got.Count != 1 {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
	ask(0)
	for i, least := range [...]float64{rounds, rounds / 4, rounds / 4} { // the leader has the strict ones too
		if n := r.calls(t, i, "Count"); n < least || i > 0 && n > rounds {
			t.Errorf("member %d has answered %v questions of %d and %d", i, n, rounds, rounds)
		}
	}
	if r.calls(t, 1, "Apply")+r.calls(t, 2, "Apply") > 0 {
		t.Error("a batch was applied by who does not lead")
	}
	n, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for range 10 {
		if _, err := n.Count(t.Context(), "true", nil); err != nil {
			t.Fatalf("a snapshot is asked of another member than has it: %v", err)
		}
	}
	r.kill(0)
	r.lead(1)
	ask(rounds)
	r.kill(1)
	r.lead(2)
	ask(2 * rounds)
	valueOf(t, r.db, "a", 3*rounds)
}

// TestIngestFailover submits batches while the leader is another one again and again, by a crash and by an
// election. Each is there once; those without a source too, when the leader only stops to lead.
func TestIngestFailover(t *testing.T) {
	for _, sources := range []bool{true, false} {
		t.Run(fmt.Sprint(sources), func(t *testing.T) {
			r := newTrio(t)
			leads := 0
			r.lead(leads)
			c := dial(t, r.address(0, 1, 2), nil)
			var waits []func() (batch.Result, error)
			const batches = 300
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
				if i%20 == 10 {
					leads = (leads + 1) % 3
					r.lead(leads)
					if sources {
						r.at[(leads+2)%3].cut()
					}
				}
			}
			for i, wait := range waits {
				if _, err := wait(); err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
			}
			valueOf(t, r.db, "a", batches)
		})
	}
}
