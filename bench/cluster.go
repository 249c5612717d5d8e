package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// ClusterOptions say what of a cluster is measured.
type ClusterOptions struct {
	Data     Options // Profiles, Events (both at least 1) and Seed of the store that the cluster begins with
	Dir      string  // an empty directory
	Open     func(dir string) (Store, error)
	Found    func(ctx context.Context, store string) (*Cluster, error) // makes a cluster, whose store becomes that of a directory
	Runs     int                                                       // measured askings of the question, at least 1; 0: DefaultRuns
	Length   time.Duration                                             // how long each kind of load goes on; 0: 5 s
	Trials   int                                                       // how often the leader is killed, at least 1; 0: 10
	Progress func(what string)                                         // what begins now; may be nil
}

// Cluster is one whose members are processes of their own.
type Cluster struct {
	Members []ClusterMember
	// Connect returns a client of one member by its place in Members, or of all: -1. It waits until that answers.
	Connect func(ctx context.Context, member int) (*client.Client, error)
}

// ClusterMember is a member, as who starts and kills it sees it.
type ClusterMember struct {
	ID    string
	Kill  func() error                                       // ends it as a crash does
	Stop  func() error                                       // in good order
	Start func(logBytes int64) error                         // logBytes: how much its log grows before it makes a snapshot; 0: what is usual
	Wipe  func(ctx context.Context, at *client.Client) error // deletes its directory, and has it join anew
	// Snapshot says how many bytes its snapshot has, and whether another one is being made.
	Snapshot func() (bytes int64, making bool, err error)
}

// ClusterUnit is what a figure counts.
type ClusterUnit uint8

// The units.
const (
	UnitPerSecond      ClusterUnit = iota // rows, or writes
	UnitTime                              // nanoseconds; the JSON has microseconds
	UnitRatio                             // of the cluster's figure to the embedded one
	UnitCount                             // times
	UnitBytes                             // bytes
	UnitBytesPerSecond                    // bytes
)

var clusterUnits = [...]string{"per_second", "us", "ratio", "count", "bytes", "bytes_per_second"}

// String returns the unit's name, as the JSON of kanta bench cluster has it.
func (u ClusterUnit) String() string { return clusterUnits[u] }

// ClusterFigure is one measure of a cluster.
type ClusterFigure struct {
	Name     string
	Unit     ClusterUnit
	Value    float64
	Embedded float64 // the same in this process, in the same run; 0: there is no such thing
	Goal     float64 // what is wanted, if HasGoal
	HasGoal  bool
	Most     bool // the goal is the most that it may be; else the least
}

// Met reports whether a figure is as wanted.
func (f *ClusterFigure) Met() bool {
	return !f.HasGoal || f.Most && f.Value <= f.Goal || !f.Most && f.Value >= f.Goal
}

// ClusterReport is what was measured.
type ClusterReport struct{ Figures []ClusterFigure }

// What is wanted of three members on one machine of two cores.
const (
	goalIngestShare = 0.2
	goalSingles     = 5000
	goalWrite       = 2 * time.Millisecond
	goalLag         = 500 * time.Millisecond
	goalFailover    = 2 * time.Second
	goalFailoverMax = 5 * time.Second
	goalCatchUp     = 100e6
	goalPause       = 200 * time.Millisecond
)

// How it is measured.
const (
	clusterClients  = 64 // of single writes
	clusterFew      = 8
	clusterQuestion = "Q2"
)

// clusterRun is one RunCluster.
type clusterRun struct {
	ClusterOptions
	g       *Generator
	report  *ClusterReport
	batches []batch.Batch // of events
	*Cluster
	all   *client.Client
	rate  float64 // events per second through the cluster
	terms uint64  // by how many the term has changed while nobody was killed

	embedded struct {
		ingest, singles float64
		p50, p99        time.Duration // of a single write by few clients
		question        time.Duration
	}
}

// RunCluster measures a cluster beside a store in this process. A run in which too little was done, or in which an
// acknowledged write was lost or done twice, is an error; a goal that was missed is none. The report holds what was
// measured until then.
func RunCluster(ctx context.Context, o ClusterOptions) (report ClusterReport, err error) {
	if o.Runs <= 0 {
		o.Runs = DefaultRuns
	}
	if o.Length <= 0 {
		o.Length = 5 * time.Second
	}
	if o.Trials <= 0 {
		o.Trials = 10
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := &clusterRun{ClusterOptions: o, g: New(o.Data), report: &report}
	if err := r.alone(ctx); err != nil {
		return report, fmt.Errorf("embedded: %w", err)
	}
	r.Progress("starting the members")
	if r.Cluster, err = o.Found(ctx, filepath.Join(o.Dir, "store")); err != nil {
		return report, err
	}
	if r.all, err = r.Connect(ctx, -1); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.all.Close()) }()
	return report, r.together(ctx)
}

// together measures the cluster.
func (r *clusterRun) together(ctx context.Context) error {
	if err := r.calm(ctx, r.reads, r.singles, r.ingests); err != nil {
		return err
	}
	if err := r.snapshot(ctx); err != nil {
		return fmt.Errorf("a snapshot under load: %w", err)
	}
	if err := r.calm(ctx, r.wiped); err != nil {
		return fmt.Errorf("a member that was wiped: %w", err)
	}
	r.most("false elections: changes of the term under load, no leader stopped", UnitCount, float64(r.terms), 0, 0)
	if err := r.failover(ctx); err != nil {
		return fmt.Errorf("failover: %w", err)
	}
	return nil
}

// calm does what gives nobody a reason for an election, and counts those that there are.
func (r *clusterRun) calm(ctx context.Context, steps ...func(context.Context) error) error {
	before, err := r.status(ctx)
	if err != nil {
		return err
	}
	for _, do := range steps {
		if err := do(ctx); err != nil {
			return err
		}
	}
	after, err := r.status(ctx)
	r.terms += after.Term - before.Term
	return err
}

// alone loads the store and measures it in this process.
func (r *clusterRun) alone(ctx context.Context) (err error) {
	r.Progress("loading")
	s, err := r.Open(filepath.Join(r.Dir, "store"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := r.g.AddSchema(ctx, s); err != nil {
		return err
	}
	l := &runner{RunOptions: RunOptions{Data: r.Data}, g: r.g}
	if err := l.applyAll(ctx, s, 0, r.Data.Profiles, batchRows, l.g.profiles); err != nil {
		return err
	}
	if err := l.applyAll(ctx, s, 0, r.Data.Events, batchRows, r.g.eventFiller(false)); err != nil {
		return err
	}
	if err := s.Compact(ctx); err != nil {
		return err
	}
	if r.batches, err = r.eventBatches(); err != nil {
		return err
	}
	if r.embedded.question, err = r.ask(ctx, func(ctx context.Context, text string, o *query.Options) (query.Count, error) {
		return s.Count(ctx, text, o)
	}); err != nil {
		return err
	}
	r.Progress("writing events, embedded")
	f, err := r.stream(ctx, s.Submit, streamOptions{})
	if err != nil {
		return err
	}
	r.embedded.ingest = f.rate()
	r.Progress("writing single rows, embedded")
	many, err := r.writers(ctx, slices.Repeat([]applier{s.Apply}, clusterClients))
	if err != nil {
		return err
	}
	few, err := r.writers(ctx, slices.Repeat([]applier{s.Apply}, clusterFew))
	if err != nil {
		return err
	}
	r.embedded.singles, r.embedded.p50, r.embedded.p99 = many.PerSec, few.P50, few.P99
	return s.Compact(ctx)
}

// eventBatches makes events that arrive. They have no ids, so that they may come again and again.
func (r *clusterRun) eventBatches() (out []batch.Batch, err error) {
	b := batch.New()
	fill := r.g.NewEventFiller(b, false)
	var e Event
	for n := range uint64(wireBatches) {
		b.Reset()
		for i := range uint64(wireBatchRows) {
			r.g.LiveEvent(n*wireBatchRows+i, &e)
			fill.Add(&e)
		}
		encoded, err := b.Encode()
		if err != nil {
			return nil, err
		}
		out = append(out, encoded)
	}
	return out, nil
}

// ask asks the question again and again and returns the median.
func (r *clusterRun) ask(ctx context.Context, count func(context.Context, string, *query.Options) (query.Count, error)) (time.Duration, error) {
	o := Asker{}.options()
	took := make([]time.Duration, 0, WarmUps+r.Runs)
	for range WarmUps + r.Runs {
		start := time.Now()
		if _, err := count(ctx, questionNamed(clusterQuestion).Text, &o); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	p50, _ := Percentiles(took[WarmUps:])
	return p50, nil
}

// reads asks each kind of member by itself.
func (r *clusterRun) reads(ctx context.Context) error {
	r.Progress("asking " + clusterQuestion + " at a follower")
	followers, err := r.followers(ctx)
	if err != nil {
		return err
	}
	c, err := r.Connect(ctx, followers[0])
	if err != nil {
		return err
	}
	defer c.Close()
	p50, err := r.ask(ctx, c.Count)
	r.add(ClusterFigure{Name: clusterQuestion + " p50, local at a follower, over the wire", Unit: UnitTime, Value: float64(p50), Embedded: float64(r.embedded.question)})
	return err
}

// status waits until somebody leads and all are there.
func (r *clusterRun) status(ctx context.Context) (s query.ClusterStatus, err error) {
	err = eventually(ctx, "all members are there", func() (bool, error) {
		s, err = r.all.ClusterStatus(ctx)
		there := 0
		for i := range s.Members {
			if m := &s.Members[i]; m.Voter && m.Problem == "" {
				there++
			}
		}
		return err == nil && s.Leader != "" && there == len(r.Members), err
	})
	return s, err
}

// leader returns the place of the member that leads.
func (r *clusterRun) leader(ctx context.Context) (int, error) {
	s, err := r.status(ctx)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(r.Members, func(m ClusterMember) bool { return m.ID == s.Leader })
	if at < 0 {
		return 0, fmt.Errorf("%q leads, which is none of the members that were started", s.Leader)
	}
	return at, nil
}

// followers returns the places of the others.
func (r *clusterRun) followers(ctx context.Context) (out []int, err error) {
	leader, err := r.leader(ctx)
	for i := range r.Members {
		if i != leader {
			out = append(out, i)
		}
	}
	return out, err
}

func (r *clusterRun) add(f ClusterFigure) { r.report.Figures = append(r.report.Figures, f) }

func (r *clusterRun) least(name string, u ClusterUnit, value, embedded, goal float64) {
	r.add(ClusterFigure{Name: name, Unit: u, Value: value, Embedded: embedded, Goal: goal, HasGoal: true})
}

func (r *clusterRun) most(name string, u ClusterUnit, value, embedded, goal float64) {
	r.add(ClusterFigure{Name: name, Unit: u, Value: value, Embedded: embedded, Goal: goal, HasGoal: true, Most: true})
}

// clusterWait bounds what takes a second or two on an idle machine, and minutes where much is copied.
const clusterWait = 5 * time.Minute

// eventually waits until something holds.
func eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %v", what, clusterWait), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
