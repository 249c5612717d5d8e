package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/cluster"
)

const benchClusterHelp = `Measure a cluster of three members, which are processes of this machine: on loopback and over TLS,
each with its own directory and real syncs, on the disk of --keep or of the temporary directory (TMPDIR;
one in memory says nothing).

A store of made-up people and events is loaded and measured in this process; then it becomes the cluster's,
and beside the same figures of the cluster stand: how far followers are behind at half of its rate, from
an acknowledgement until the answer of a follower that has seen it; the longest time in which nothing is
acknowledged while the leader makes a snapshot under full load, for which its member makes one after
little; how fast a member that has lost its disk has everything again, by the size of the snapshot that it
is sent: in all, from the start of its process until it has applied the log as well, and how long each
part of that takes, of which sending and installing the snapshot is one; and how long after kill -9 of
the leader a write is acknowledged that began then, while other writers write. That the cluster takes the
member in, before, is not counted. False elections are those in which no leader was stopped.

All share the processors of the machine, and three logs its disk. Goals are those of two cores;
missing one is no error. Exit code 1 if too little was done to say anything, or if an acknowledged
write is lost or was done twice. The memory budget of each store is ` + localMemory + `, or --memory.

--json: {"profiles":N,"events":N,"seed":N,"length_us":N,"trials":N,"figures":[{"name","unit",
"value","embedded","goal","goal_is":"least"|"most","met":BOOL}]}, units are per_second, us, ratio,
count, bytes and bytes_per_second; without embedded or goal where there is none.`

func newBenchCluster(a *app) *cobra.Command {
	o := bench.ClusterOptions{Data: bench.Options{WithAbsent: true}}
	var keep string
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Measure three members of a cluster, beside a store in this process",
		Long:  benchClusterHelp,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Data.Profiles == 0 || o.Data.Events == 0 || o.Length <= 0 || o.Trials <= 0 || o.Runs <= 0 {
				return usagef("--profiles, --events, --length, --trials and --runs: at least 1 of each, less says nothing")
			}
			if a.memory == "" {
				a.memory = localMemory
			}
			if o.Dir, err = benchDir(keep); err != nil {
				return err
			}
			if keep == "" {
				defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
			}
			return a.benchCluster(c.Context(), o)
		},
	}
	c.Flags().Uint64Var(&o.Data.Profiles, "profiles", 200_000, "how many people to make up")
	c.Flags().Uint64Var(&o.Data.Events, "events", 1_000_000, "how many events to make up")
	c.Flags().Uint64Var(&o.Data.Seed, "seed", 0, "another seed is other people")
	c.Flags().IntVar(&o.Runs, "runs", bench.DefaultRuns, "how often to ask the question")
	c.Flags().DurationVar(&o.Length, "length", 5*time.Second, "how long each kind of load goes on")
	c.Flags().IntVar(&o.Trials, "trials", 10, "how often to kill the leader")
	c.Flags().StringVar(&keep, "keep", "", "keep the members' directories and logs in this one, which must be empty or not exist")
	return c
}

// benchCluster measures a cluster and prints what it has found.
func (a *app) benchCluster(ctx context.Context, o bench.ClusterOptions) (err error) {
	quiet := *a
	d := &localCluster{app: &quiet, dir: o.Dir}
	defer func() { err = errors.Join(err, d.end()) }()
	o.Open = func(dir string) (bench.Store, error) { return a.openDir(dir, true) }
	o.Found = d.benched
	if !a.json {
		o.Progress = func(what string) { fmt.Fprintln(a.err, what) }
	}
	r, err := bench.RunCluster(ctx, o)
	if a.json {
		return errors.Join(err, a.printBenchClusterJSON(&o, &r))
	}
	return errors.Join(err, a.printBenchCluster(&r))
}

// benched makes the cluster whose store is that of a directory, to be measured.
func (d *localCluster) benched(ctx context.Context, store string) (*bench.Cluster, error) {
	d.from = store
	if err := errors.Join(d.certify(), d.found(ctx)); err != nil {
		return nil, err
	}
	c := &bench.Cluster{Connect: func(ctx context.Context, member int) (*client.Client, error) {
		if member < 0 {
			return d.open(ctx, strings.TrimPrefix(d.addresses(), serverScheme))
		}
		m := d.members[member]
		at, err := d.open(ctx, m.address)
		if err != nil {
			return nil, d.why(m, err)
		}
		return at, nil
	}}
	for _, m := range d.members {
		c.Members = append(c.Members, bench.ClusterMember{ID: m.id, Kill: m.kill, Stop: m.stop, Snapshot: m.snapshot,
			Start: func(logBytes int64) error {
				if logBytes == 0 {
					return m.start(d)
				}
				return m.start(d, "--member-log", strconv.FormatInt(logBytes, 10))
			},
			Wipe: func(ctx context.Context, at *client.Client) error {
				if err := os.RemoveAll(m.dir); err != nil {
					return err
				}
				return d.until(ctx, m.id+" joins anew", func() (bool, error) { // it is refused for as long as the old one may be there
					_, err := cluster.Join(ctx, m.dir, at, &cluster.JoinOptions{ID: m.id, Address: m.address, RaftAddress: m.raft})
					return err == nil, err
				})
			}})
	}
	return c, nil
}

// snapshot says how many bytes the member's snapshot has, and whether another one is being made: of its directory,
// which package snapshots specifies.
func (m *localMember) snapshot() (size int64, making bool, err error) {
	dir := filepath.Join(m.dir, "snapshots")
	unfinished, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, false, err
	}
	for _, e := range unfinished {
		making = making || strings.HasPrefix(e.Name(), "checkpoint-")
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return 0, making, err
	}
	for _, e := range all { // one, and older ones while they are deleted: the largest
		if e.Name() == "tmp" {
			continue
		}
		n, err := bytesIn(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, making, err
		}
		size = max(size, n)
	}
	return size, making, nil
}

// bytesIn returns the bytes of the files in a directory, some of which may be deleted meanwhile.
func bytesIn(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var i fs.FileInfo
			if i, err = e.Info(); err == nil {
				size += i.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return size, err
}

func (a *app) printBenchCluster(r *bench.ClusterReport) error {
	t := a.newTable("three members", "#is", "#embedded", "", "#goal", "")
	for i := range r.Figures {
		f := &r.Figures[i]
		shown := func(v float64) any {
			switch f.Unit {
			case bench.UnitTime:
				return t.micros(time.Duration(v))
			case bench.UnitBytes:
				return t.bytes(int64(v))
			case bench.UnitBytesPerSecond:
				return fmt.Sprintf("%.1f MB/s", v/1e6)
			case bench.UnitRatio:
				return fmt.Sprintf("%.2f", v)
			default:
				return int64(v + 0.5)
			}
		}
		var embedded, bound, goal, met any = "", "", "", ""
		if f.Embedded > 0 {
			embedded = shown(f.Embedded)
		}
		if f.HasGoal {
			bound, goal, met = "at least", shown(f.Goal), "met"
			if f.Most {
				bound = "at most"
			}
			if !f.Met() {
				met = "MISSED"
			}
		}
		t.add(f.Name, shown(f.Value), embedded, bound, goal, met)
	}
	return t.write(a.out)
}

type benchClusterFigureJSON struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit"`
	Value    float64  `json:"value"`
	Embedded float64  `json:"embedded,omitempty"`
	Goal     *float64 `json:"goal,omitempty"`
	GoalIs   string   `json:"goal_is,omitempty"`
	Met      *bool    `json:"met,omitempty"`
}

func (a *app) printBenchClusterJSON(o *bench.ClusterOptions, r *bench.ClusterReport) error {
	out := struct {
		Profiles uint64                   `json:"profiles"`
		Events   uint64                   `json:"events"`
		Seed     uint64                   `json:"seed"`
		Length   int64                    `json:"length_us"`
		Trials   int                      `json:"trials"`
		Figures  []benchClusterFigureJSON `json:"figures"`
	}{o.Data.Profiles, o.Data.Events, o.Data.Seed, o.Length.Microseconds(), o.Trials, []benchClusterFigureJSON{}}
	for i := range r.Figures {
		f := &r.Figures[i]
		scale := 1.0
		if f.Unit == bench.UnitTime {
			scale = 1e3 // microseconds
		}
		j := benchClusterFigureJSON{Name: f.Name, Unit: f.Unit.String(), Value: f.Value / scale, Embedded: f.Embedded / scale}
		if f.HasGoal {
			goal, met := f.Goal/scale, f.Met()
			j.Goal, j.Met, j.GoalIs = &goal, &met, "least"
			if f.Most {
				j.GoalIs = "most"
			}
		}
		out.Figures = append(out.Figures, j)
	}
	return a.printJSON(out)
}
