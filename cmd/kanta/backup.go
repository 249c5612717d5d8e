package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

func newBackup(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "backup",
		Short: "Backups of the store, in a folder or in S3",
	})
	c.AddCommand(newBackupCreate(a), newBackupList(a), newBackupVerify(a), newBackupPrune(a), newBackupLog(a))
	return c
}

// backupJSON is one backup.
type backupJSON struct {
	Name     string `json:"name"`
	Store    string `json:"store"`
	Position string `json:"position"`
	Received string `json:"received"`
	Created  string `json:"created"`
	Content  string `json:"content"`
	Parent   string `json:"parent,omitempty"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
}

func backupOf(b *query.Backup) backupJSON {
	return backupJSON{b.Name, b.Store, b.Position.String(), rfc3339(b.Received), rfc3339(b.Created), hex.EncodeToString(b.Content[:]), b.Parent, b.Files, b.Bytes}
}

// showBytes returns what shows how many bytes something has done.
func (p *progress) showBytes(doing string) query.BackupProgress {
	return func(done, total int64, _ string) {
		fraction := 0.0
		if total > 0 {
			fraction = float64(done) / float64(total)
		}
		p.show(fraction, fmt.Sprintf("%s %s of %s", doing, shortBytes(done), shortBytes(total)))
	}
}

func newBackupCreate(a *app) *cobra.Command {
	var target targetFlag
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a backup of the store as it is now",
		Long: `Make a backup of the store as it is now. What the target has already is not sent again, so
it costs what has changed since the last one, and one that was interrupted goes on where
it was when it is made again. Every file is read, and the new ones are verified. If the
log is kept for this target (kanta backup log), it is shipped, too.

--json: {"name":"...","store":"...","position":"E.N","received":"...","created":"...","content":"...",
"parent":"...","files":N,"bytes":N,"sent_objects":N,"sent_bytes":N,"sent_raw_bytes":N,"paused_us":N,"log_records":N}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := target.place(a); err != nil { // that can be told before the store is opened
				return err
			}
			return a.withStore(func(s store) error {
				return target.atStore(a, func(t query.BackupTarget) error {
					p := a.newProgress()
					r, err := s.Backup(c.Context(), t, &query.BackupOptions{Progress: p.showBytes("backing up:")})
					p.end()
					if err != nil {
						return err
					}
					return a.printBackup(&r)
				})
			})
		},
	}
	target.add(c)
	return c
}

func (a *app) printBackup(r *query.BackupReport) error {
	if a.json {
		return a.printJSON(struct {
			backupJSON
			SentObjects int    `json:"sent_objects"`
			SentBytes   int64  `json:"sent_bytes"`
			SentRaw     int64  `json:"sent_raw_bytes"`
			PausedUS    int64  `json:"paused_us"`
			LogRecords  uint64 `json:"log_records"`
		}{backupOf(&r.Backup), r.SentObjects, r.SentBytes, r.SentRaw, r.Paused.Microseconds(), r.Shipped.Records})
	}
	t := a.facts()
	t.add("backup", r.Name)
	t.add("position", r.Position.String())
	t.add("content", hex.EncodeToString(r.Content[:]))
	t.add("files", r.Files)
	t.add("bytes", t.bytes(r.Bytes))
	t.add("of these new", t.bytes(r.SentRaw))
	t.add("sent", t.bytes(r.SentBytes))
	if t.terminal {
		t.add("writers waited", r.Paused)
	} else {
		t.add("paused_us", r.Paused.Microseconds())
	}
	if r.Shipped.Kept.On {
		t.add("records of the log shipped", r.Shipped.Records)
	}
	return t.write(a.out)
}

func newBackupList(a *app) *cobra.Command {
	var target targetFlag
	c := &cobra.Command{
		Use:   "list",
		Short: "The backups of a target, oldest first",
		Long: `The backups of a target, oldest first: name, position, when the last record in it was
received, files, bytes, and the store's id. Behind them what there is of the log of each
store, and where it has a gap, with its reason: first and last position, when the last
record was received, objects, bytes, store. A restore reaches every position of a log
from the first backup on that is in it or next before it. Exit code 6 if the manifest of a
backup is damaged.

--json: {"backups":[{"name":"...","store":"...","position":"E.N","received":"...","created":"...",
"content":"...","parent":"...","files":N,"bytes":N}],"log":[{"store":"...","from":"E.N","to":"E.N",
"first_received":"...","last_received":"...","objects":N,"bytes":N}],"damaged":["..."]}; a gap in the log
has {"gap":"off"} or another reason in place of times.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return target.with(a, false, func(from query.BackupTarget) error {
				list, damaged := []backupJSON{}, []string{}
				t := a.newTable("name", "position", "received", "#files", "#bytes", "store")
				err := engine.Backups(c.Context(), from, func(b query.Backup, err error) error {
					if err != nil {
						damaged = append(damaged, err.Error())
						return nil
					}
					list = append(list, backupOf(&b))
					t.add(b.Name, b.Position.String(), rfc3339(b.Received), b.Files, t.bytes(b.Bytes), b.Store)
					return nil
				})
				if err != nil {
					return err
				}
				logs, err := a.listLogs(c.Context(), from, t)
				if err != nil {
					return err
				}
				if a.json {
					err = a.printJSON(map[string]any{"backups": list, "log": logs, "damaged": damaged})
				} else {
					err = t.write(a.out)
				}
				return a.problems(damaged, err)
			})
		},
	}
	target.add(c)
	return c
}

// problems tells what is damaged, and returns what the command ends with.
func (a *app) problems(texts []string, err error) error {
	if err != nil || len(texts) == 0 {
		return err
	}
	for _, text := range texts {
		if !a.json {
			fmt.Fprintln(a.err, printable(text))
		}
	}
	return errCheckFailed
}

func newBackupVerify(a *app) *cobra.Command {
	var target targetFlag
	c := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Read backups whole and compare every checksum",
		Long: `Read backups, all or those named, whole and compare every checksum. What they have in
common is read once. With all backups, logs are read, too. Exit code 6 if something is wrong.
A damaged object of a folder can be deleted: the next backup sends it again if the store
still has what it held.

--json: {"backups":N,"objects":N,"bytes":N,"log_objects":N,"unnamed_objects":N,"problems":["..."]}`,
		Args: rangeArgs(0, many),
		RunE: func(c *cobra.Command, args []string) error {
			return target.with(a, false, func(from query.BackupTarget) error {
				p := a.newProgress()
				r, err := engine.VerifyBackups(c.Context(), from, args, p.showBytes("verifying:"))
				p.end()
				if err != nil {
					return err
				}
				if a.json {
					err = a.printJSON(struct {
						Backups  int      `json:"backups"`
						Objects  int      `json:"objects"`
						Bytes    int64    `json:"bytes"`
						Logs     int      `json:"log_objects"`
						Unnamed  int      `json:"unnamed_objects"`
						Problems []string `json:"problems"`
					}{r.Backups, r.Objects, r.Bytes, r.LogObjects, r.Unnamed, append([]string{}, r.Problems...)})
				} else {
					t := a.facts()
					t.add("backups", r.Backups)
					t.add("objects", r.Objects)
					t.add("bytes", t.bytes(r.Bytes))
					if len(args) == 0 {
						t.add("objects of logs", r.LogObjects)
						t.add("objects that no backup names", r.Unnamed)
					}
					t.add("problems", len(r.Problems))
					err = t.write(a.out)
				}
				return a.problems(r.Problems, err)
			})
		},
		ValidArgsFunction: target.complete(a),
	}
	target.add(c)
	return c
}

// pruneFlags say what is kept.
type pruneFlags struct {
	last  int
	newer string
	dry   bool
}

func (f *pruneFlags) options(now time.Time) (*query.PruneOptions, error) {
	o := &query.PruneOptions{KeepLast: f.last, DryRun: f.dry}
	if f.last < 0 {
		return nil, usagef("--keep-last %d: it is a number of backups", f.last)
	}
	if f.last == 0 && f.newer == "" {
		return nil, usagef("say what is kept: --keep-last N, --keep-newer-than 30d, or both")
	}
	if days, ok := strings.CutSuffix(f.newer, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return nil, usagef("--keep-newer-than %s: it is a number of days such as 30d, or a time", f.newer)
		}
		o.KeepSince = now.Add(-time.Duration(n) * 24 * time.Hour)
		return o, nil
	}
	var err error
	o.KeepSince, err = parseInstant("--keep-newer-than", f.newer)
	return o, err
}

func newBackupPrune(a *app) *cobra.Command {
	var target targetFlag
	var f pruneFlags
	c := &cobra.Command{
		Use:   "prune",
		Short: "Delete old backups, and what only they needed",
		Long: `Delete old backups, and what only they needed. A backup stays if --keep-last or
--keep-newer-than keeps it; the newest always stays. --keep-last counts for each store:
one that was restored from a backup is another store than the one it was made of. Of logs
what no backup that stays leads to goes, and with it what it holds of people who were
erased. While somebody makes a backup nothing is deleted.

--json: {"dry_run":B,"kept":["..."],"deleted":["..."],"objects":N,"bytes":N,"log_objects":N,"log_bytes":N}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now
			if a.clock != nil {
				now = a.clock
			}
			o, err := f.options(now())
			if err != nil {
				return err
			}
			return target.with(a, false, func(from query.BackupTarget) error {
				r, err := engine.PruneBackups(c.Context(), from, o)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(struct {
						DryRun  bool     `json:"dry_run"`
						Kept    []string `json:"kept"`
						Deleted []string `json:"deleted"`
						Objects int      `json:"objects"`
						Bytes   int64    `json:"bytes"`
						Logs    int      `json:"log_objects"`
						LogSize int64    `json:"log_bytes"`
					}{f.dry, append([]string{}, r.Kept...), append([]string{}, r.Deleted...), r.Objects, r.Bytes, r.LogObjects, r.LogBytes})
				}
				t := a.facts()
				for _, name := range r.Deleted {
					t.add("deleted", name)
				}
				t.add("backups kept", len(r.Kept))
				t.add("backups deleted", len(r.Deleted))
				t.add("objects deleted", r.Objects)
				t.add("objects of logs deleted", r.LogObjects)
				t.add("bytes freed", t.bytes(r.Bytes+r.LogBytes))
				return t.write(a.out)
			})
		},
	}
	target.add(c)
	c.Flags().IntVar(&f.last, "keep-last", 0, "keep the last so many backups of each store")
	c.Flags().StringVar(&f.newer, "keep-newer-than", "", "keep backups made within so many days, such as 30d, or since a time: RFC 3339, or a date")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "tell what would be deleted, delete nothing")
	return c
}
