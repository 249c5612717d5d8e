package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// What the demonstration does.
const (
	demoWriters = 4
	demoBefore  = 200 // writes that are acknowledged before the leader is killed, and after it
)

func newClusterDemo(a *app) *cobra.Command {
	var profiles uint64
	c := &cobra.Command{
		Use:   "demo",
		Short: "Three members on this machine, of which the leader is killed: nothing is lost",
		Long: `Start three members of a cluster as processes on loopback, with certificates made for it, in a temporary
directory. Load made-up people, have four writers write, kill the one that leads (SIGKILL) in the middle of it, and go
on. Then count: everything that was acknowledged is there, once; the killed member comes back and all three have the
same. The exit code is 1 if anything was lost, or was done twice.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if a.json {
				return usagef("the demonstration is for people")
			}
			dir, err := os.MkdirTemp("", "kanta-cluster-")
			if err != nil {
				return err
			}
			d := &clusterDemo{localCluster{app: a, dir: dir}}
			defer func() { err = errors.Join(err, d.end(), os.RemoveAll(dir)) }()
			return d.run(c.Context(), profiles)
		},
	}
	c.Flags().Uint64Var(&profiles, "profiles", 20_000, "how many people to make up")
	return c
}

// clusterDemo is one run of the demonstration.
type clusterDemo struct{ localCluster }

func (d *clusterDemo) tell(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *clusterDemo) run(ctx context.Context, profiles uint64) error {
	if err := d.certify(); err != nil {
		return err
	}
	start := time.Now()
	if err := d.found(ctx); err != nil {
		return err
	}
	d.tell("three members on loopback, over TLS, in %s: %s", shortDuration(time.Since(start)), d.addresses())
	if err := d.load(ctx, profiles); err != nil {
		return err
	}
	if err := d.status(ctx); err != nil {
		return err
	}
	if err := d.failover(ctx); err != nil {
		return err
	}
	return d.status(ctx)
}

// load loads people of the generator through the cluster, and counts them at each member.
func (d *clusterDemo) load(ctx context.Context, profiles uint64) error {
	file := d.file("customers.csv")
	g := bench.New(bench.Options{Profiles: profiles, WithAbsent: true})
	expected, err := g.WriteCSVFile(ctx, file)
	if err != nil {
		return err
	}
	start := time.Now()
	quiet := *d.app
	quiet.out, quiet.err = discard{}, discard{}
	if err := (&demo{app: &quiet}).load(ctx, d.all, file, "key"); err != nil {
		return err
	}
	d.tell("%s people loaded through the cluster in %s", count(profiles), shortDuration(time.Since(start)))
	q, _ := expected.Answer("Q2")
	for _, m := range d.members {
		at, err := d.open(ctx, m.address)
		if err != nil {
			return d.why(m, err)
		}
		at.See(d.all.Written())
		n, err := at.Count(ctx, question("Q2"), &query.Options{Now: bench.Now()})
		if err = errors.Join(err, at.Close()); err != nil {
			return err
		}
		d.tell("  %s counts %s for %s", m.id, count(n.Count), question("Q2"))
		if n.Count != q.True {
			return fmt.Errorf("the generator has %d of them", q.True)
		}
	}
	return nil
}

type discard struct{}

// Write implements [io.Writer].
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// failover kills the leader while writers write.
func (d *clusterDemo) failover(ctx context.Context) error {
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "writes", Kind: schema.Int}})
	if err := d.apply(ctx, b); err != nil {
		return err
	}
	w := &demoWork{d: d, last: time.Now()}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	writing := make(chan error, demoWriters)
	for i := range demoWriters {
		go func() { writing <- w.write(ctx, i) }()
	}
	wait := func(what string, n int64) error {
		return d.until(ctx, what, func() (bool, error) {
			select {
			case err := <-writing:
				return false, errors.Join(errors.New("a writer has stopped"), err)
			default:
				return w.done.Load() >= n, nil
			}
		})
	}
	err := wait("writes before", demoBefore)
	if err != nil {
		return err
	}
	victim, err := d.leader(ctx)
	if err != nil {
		return err
	}
	before := w.done.Load()
	if err := victim.kill(); err != nil {
		return err
	}
	d.tell("%d writers have had %s writes acknowledged; %s, which leads, is killed", demoWriters, count(uint64(before)), victim.id)
	if err := wait("writes after", before+demoBefore); err != nil {
		return err
	}
	w.stop.Store(true)
	for range demoWriters {
		if err := <-writing; err != nil {
			return err
		}
	}
	next, err := d.leader(ctx)
	if err != nil {
		return err
	}
	d.tell("%s leads now; for %s no write was acknowledged, and no writer had an error", next.id, shortDuration(w.longest))
	if err := w.check(ctx); err != nil {
		return err
	}
	return d.comeBack(ctx, victim)
}

func (d *clusterDemo) apply(ctx context.Context, b *batch.Builder) error {
	raw, err := b.Encode()
	if err == nil {
		_, err = d.all.Apply(ctx, raw)
	}
	return err
}

// demoWork is what the writers do: each makes a number of a person of its own one more, again and again.
type demoWork struct {
	d    *clusterDemo
	stop atomic.Bool
	done atomic.Int64              // writes that were acknowledged
	each [demoWriters]atomic.Int64 // of each writer

	mu      sync.Mutex
	last    time.Time     // when one was, of whichever writer
	longest time.Duration // between two of them
}

// acknowledged takes note of a write.
func (w *demoWork) acknowledged(i int) {
	w.each[i].Add(1)
	w.done.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.longest, w.last = max(w.longest, now.Sub(w.last)), now
}

// person is whose number a writer counts.
func (w *demoWork) person(i int) string { return fmt.Sprintf("writer-%d", i+1) }

func (w *demoWork) write(ctx context.Context, i int) error {
	for !w.stop.Load() {
		b := batch.New()
		b.Source(w.person(i), 1, uint64(w.each[i].Load())+1)
		b.Upsert(w.person(i)).Increment("writes", schema.IntValue(1))
		if err := w.d.apply(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", w.person(i), err)
		}
		w.acknowledged(i)
	}
	return nil
}

// check counts what is there, as the new leader has it.
func (w *demoWork) check(ctx context.Context) error {
	o := w.d.secure
	o.Consistency = client.Linearizable
	strict, err := client.Open(ctx, w.d.addresses(), &o)
	if err != nil {
		return err
	}
	defer strict.Close()
	var lost, twice int64
	for i := range demoWriters {
		p, err := strict.Profile(ctx, w.person(i), nil)
		if err != nil {
			return err
		}
		have := int64(0)
		for j := range p.Values {
			if p.Values[j].Name == "writes" {
				have = p.Values[j].Value.Ordered()
			}
		}
		want := w.each[i].Load()
		lost, twice = lost+max(0, want-have), twice+max(0, have-want)
	}
	w.d.tell("of %s acknowledged writes %d are lost and %d were done twice", count(uint64(w.done.Load())), lost, twice)
	if lost+twice > 0 {
		return errors.New("the cluster has lost writes or done some twice")
	}
	return nil
}

// comeBack starts the member that was killed, and compares what all have.
func (d *clusterDemo) comeBack(ctx context.Context, victim *localMember) error {
	start := time.Now()
	if err := victim.start(&d.localCluster); err != nil {
		return err
	}
	var same query.Digests
	for i, m := range d.members {
		at, err := d.open(ctx, m.address)
		if err != nil {
			return d.why(m, err)
		}
		at.See(d.all.Written())
		err = d.until(ctx, m.id+" has everything", func() (bool, error) {
			digests, err := at.Digests(ctx)
			if i == 0 && err == nil {
				same = digests
			}
			return err == nil && digests == same, err
		})
		if err = errors.Join(err, at.Close()); err != nil {
			return err
		}
	}
	d.tell("%s is back, and %s after its start all three have the same, digest %x", victim.id, shortDuration(time.Since(start)), same.Content)
	return nil
}

// status shows the members.
func (d *clusterDemo) status(ctx context.Context) error {
	if _, err := d.leader(ctx); err != nil {
		return err
	}
	s, err := d.all.ClusterStatus(ctx)
	if err != nil {
		return err
	}
	shown := *d.app
	shown.outTerminal = true
	d.tell("")
	return errors.Join(shown.printCluster(&s), d.blank())
}

func (d *clusterDemo) blank() error {
	_, err := fmt.Fprintln(d.out)
	return err
}
