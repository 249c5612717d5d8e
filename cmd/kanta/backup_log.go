package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

func newBackupLog(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "log",
		Short: "The log between backups, for restores to any point in time",
	})
	c.AddCommand(newBackupLogOn(a), newBackupLogOff(a), newBackupLogStatus(a), newBackupLogShip(a))
	return c
}

const keptHelp = `--json: {"on":B,"target":"...","first":"E.N","records":N,"bytes":N,"gap":"..."}: the id of the target, the
oldest record that was not shipped, how many there are, their bytes, and why there will be a
gap before it.`

// keptJSON is what a store keeps of its log.
type keptJSON struct {
	On      bool   `json:"on"`
	Target  string `json:"target,omitempty"`
	First   string `json:"first,omitempty"`
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
	Gap     string `json:"gap,omitempty"`
}

func keptOf(k *query.KeptLog) keptJSON {
	if !k.On {
		return keptJSON{}
	}
	return keptJSON{true, k.Target, k.First.String(), k.Records, k.Bytes, k.Broken}
}

func (a *app) printKept(ctx context.Context, s store) error {
	st, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	k := st.KeptLog
	if a.json {
		return a.printJSON(keptOf(&k))
	}
	t := a.facts()
	t.add("log is kept", map[bool]string{true: "yes", false: "no"}[k.On])
	if k.On {
		t.add("target", k.Target)
		t.add("first record", k.First.String())
		t.add("records to be shipped", k.Records)
		t.add("bytes", t.bytes(k.Bytes))
		t.add("gap before it", k.Broken)
	}
	return t.write(a.out)
}

func newBackupLogOn(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "on",
		Short: "Keep the log from now on, until it is at a target",
		Long: `Keep the log from now on, until kanta backup log ship or the next backup has sent it to a
target. From the next backup on a restore reaches every point in time, not only those of
backups. Until it is sent every batch is stored twice; at most 1 GiB is kept, and less when
the disk gets full: then the oldest records go, and there is a gap. The setting is the
store's; a store that is restored has that of its backup.

` + keptHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.keepLog(c.Context(), true) },
	}
}

func newBackupLogOff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "off",
		Short: "Keep the log no longer",
		Long: `Keep the log no longer. What was not shipped is deleted. What is at the target stays there
until kanta backup prune.

` + keptHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.keepLog(c.Context(), false) },
	}
}

func (a *app) keepLog(ctx context.Context, on bool) error {
	return a.withStore(func(s store) error {
		if err := s.KeepLog(ctx, on); err != nil {
			return err
		}
		return a.printKept(ctx, s)
	})
}

func newBackupLogStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Whether the log is kept, and what waits to be shipped",
		Long: `Whether the log is kept, and what waits to be shipped. What is at a target is told by
kanta backup list. A gap before the first record is why the one before it is not at the
target: off, limit (too much was kept), room (the disk got full), purge (of erased people),
moved (to another target), epoch (the store was restored). A backup ends it.

` + keptHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error { return a.printKept(c.Context(), s) })
		},
	}
}

// leastEvery is the shortest time between two shippings: each lists what the target has.
const leastEvery = time.Second

func newBackupLogShip(a *app) *cobra.Command {
	var target targetFlag
	var o query.ShipOptions
	var every time.Duration
	c := &cobra.Command{
		Use:   "ship",
		Short: "Send what is kept of the log to a target",
		Long: `Send what is kept of the log to a target. It is read there again before it is deleted here.
What was sent before an interruption is not sent again. Objects of days that are over are
put together. A log goes to one target; backups may go to others, too.

With --every it goes on until it is interrupted, and opens the store for each round only:
when one fails, because another process has the store open or the target is away, it says
so and waits for the next. A program that has the store open itself calls ShipLog.

--json: {"from":"E.N","to":"E.N","records":N,"objects":N,"sent_bytes":N,"sealed":N,"kept":{...}}, with --every
on a line for each round; kept as kanta backup log status has it.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := target.place(a); err != nil {
				return err
			}
			if every != 0 && every < leastEvery {
				return usagef("--every %s: at least %s", every, leastEvery)
			}
			for round := 0; ; round++ {
				err := a.shipLog(c.Context(), &target, &o)
				if every == 0 || round == 0 && err != nil && c.Context().Err() == nil && !passes(err) {
					return err
				}
				if err != nil && c.Context().Err() == nil {
					fmt.Fprintln(a.err, printable(err.Error()))
				}
				select {
				case <-time.After(every):
				case <-c.Context().Done():
					return c.Context().Err()
				}
			}
		},
	}
	target.add(c)
	c.Flags().DurationVar(&every, "every", 0, "go on, with so much time between, such as 1m")
	c.Flags().BoolVar(&o.Move, "move", false, "have the log go to this target from now on; there is a gap")
	return c
}

// passes reports whether an error may be over by itself: somebody has the store, the target
// is away, the disk is full.
func passes(err error) bool {
	var q *query.Error
	return !errors.As(err, &q) || q.Code == query.CodeInUse || q.Code == query.CodeIO
}

func (a *app) shipLog(ctx context.Context, target *targetFlag, o *query.ShipOptions) error {
	return a.withStore(func(s store) error {
		ship := func(t query.BackupTarget) error {
			r, err := s.ShipLog(ctx, t, o)
			if err != nil {
				return err
			}
			return a.printShipped(&r)
		}
		if a.isRemote() {
			return target.atStore(a, ship)
		}
		st, err := s.Stats(ctx)
		if err != nil {
			return err
		}
		return target.with(a, o.Move || st.KeptLog.Target == "", ship)
	})
}

func (a *app) printShipped(r *query.ShipReport) error {
	from, to := "", ""
	if r.Records > 0 {
		from, to = r.From.String(), r.To.String()
	}
	if a.json {
		return a.printJSON(struct {
			From    string   `json:"from,omitempty"`
			To      string   `json:"to,omitempty"`
			Records uint64   `json:"records"`
			Objects int      `json:"objects"`
			Bytes   int64    `json:"sent_bytes"`
			Sealed  int      `json:"sealed"`
			Kept    keptJSON `json:"kept"`
		}{from, to, r.Records, r.Objects, r.Bytes, r.Sealed, keptOf(&r.Kept)})
	}
	t := a.facts()
	t.add("records shipped", r.Records)
	if r.Records > 0 {
		t.add("from", from)
		t.add("to", to)
	}
	t.add("objects", r.Objects)
	t.add("sent", t.bytes(r.Bytes))
	t.add("objects of days that are over", r.Sealed)
	return t.write(a.out)
}

// logJSON is a run of records at a target, or a gap.
type logJSON struct {
	Store   string `json:"store"`
	From    string `json:"from"`
	To      string `json:"to"`
	Gap     string `json:"gap,omitempty"`
	First   string `json:"first_received,omitempty"`
	Last    string `json:"last_received,omitempty"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

// listLogs adds to a list of backups what the target has of logs.
func (a *app) listLogs(ctx context.Context, from query.BackupTarget, t *table) ([]logJSON, error) {
	out := []logJSON{}
	runs, err := engine.BackupLogs(ctx, from)
	for i := range runs {
		r := &runs[i]
		j := logJSON{r.Store, r.From.String(), r.To.String(), r.Gap, "", "", r.Objects, r.Bytes}
		what := "gap: " + r.Gap
		if r.Gap == "" {
			what, j.First, j.Last = "log", rfc3339(r.First), rfc3339(r.Last)
		}
		t.add(what, j.From+".."+j.To, j.Last, r.Objects, t.bytes(r.Bytes), r.Store)
		out = append(out, j)
	}
	return out, err
}
