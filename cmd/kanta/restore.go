package main

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// restoreFlags say which backup is restored, and how.
type restoreFlags struct {
	target  targetFlag
	backup  string
	at      string
	replace bool
	without bool
}

func newRestore(a *app) *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use:   "restore DIR",
		Short: "Make a store of a backup",
		Long: `Make a store of a backup and of the log that was shipped behind it (kanta backup log): of
the newest, or as it was at a time or a position. --at takes the newest backup that has
nothing later, and then the log's records up to there; a point in a gap of the log is
refused, and the nearest points are told. Where there is no log it is the backup alone.
--backup names a backup: alone it is restored as it is, with --at the log is applied to it.

The store is made beside DIR, everything is verified, its content is compared with what
was backed up, and then it is put in its place. If anything fails, DIR stays as it was.
The restored store has an id of its own and a new epoch. Who was erased since the backup
was made is erased in it, too, if a later backup or kanta erase has told the target.

--json: {"backup":"...","store":"...","position":"E.N","content":"...","files":N,"bytes":N,"fetched_bytes":N,
"received":"...","replayed":N,"beyond":"E.N","erased":N}, the content being that of the backup, received when the
last record in it was, replayed how many are of the log, and beyond, if it is there, the last record
that could not be reached because of a gap.`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.target.with(a, false, func(t query.BackupTarget) error { return a.restore(c.Context(), t, args[0], &f) })
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
	f.target.add(c)
	c.Flags().StringVar(&f.backup, "backup", "", "the backup's name")
	c.Flags().StringVar(&f.at, "at", "", "as it was then: a time (RFC 3339, or a date) or a position such as 1.500")
	c.Flags().BoolVar(&f.replace, "replace", false, "put it in place of the store in DIR, which is deleted")
	c.Flags().BoolVar(&f.without, "without-ledger", false, "do not ask the target who was erased since: they are back. For a target whose ledger is damaged")
	_ = c.RegisterFlagCompletionFunc("backup", f.target.complete(a)) // it fails only for a flag that does not exist
	return c
}

func (a *app) restore(ctx context.Context, t query.BackupTarget, dir string, f *restoreFlags) error {
	o := &engine.RestoreOptions{Name: f.backup, Replace: f.replace, WithoutLedger: f.without, FS: a.files, Clock: a.clock}
	var err error
	if position, ok := query.ParsePosition(f.at); ok {
		o.Position = position
	} else if o.At, err = parseInstant("--at", f.at); err != nil {
		return usagef("--at %s: it is a time (RFC 3339, or a date) or a position such as 1.500", f.at)
	}
	if o.Memory, err = a.budget(); err != nil {
		return err
	}
	p := a.newProgress()
	o.Progress = p.showBytes("restoring:")
	r, err := engine.Restore(ctx, dir, t, o)
	p.end()
	if err != nil {
		return err
	}
	beyond := ""
	if r.Beyond.Applied > 0 {
		beyond = r.Beyond.String()
	}
	if a.json {
		return a.printJSON(struct {
			Backup   string `json:"backup"`
			Store    string `json:"store"`
			Position string `json:"position"`
			Content  string `json:"content"`
			Files    int    `json:"files"`
			Bytes    int64  `json:"bytes"`
			Fetched  int64  `json:"fetched_bytes"`
			Received string `json:"received"`
			Replayed uint64 `json:"replayed"`
			Beyond   string `json:"beyond,omitempty"`
			Erased   uint64 `json:"erased"`
		}{r.Backup.Name, r.Store, r.Position.String(), hex.EncodeToString(r.Backup.Content[:]), r.Backup.Files, r.Backup.Bytes, r.Fetched,
			rfc3339(r.Received), r.Replayed, beyond, r.Erased})
	}
	s := a.facts()
	s.add("backup", r.Backup.Name)
	s.add("store", r.Store)
	s.add("position", r.Position.String())
	s.add("content", hex.EncodeToString(r.Backup.Content[:]))
	s.add("files", r.Backup.Files)
	s.add("bytes", s.bytes(r.Backup.Bytes))
	s.add("fetched", s.bytes(r.Fetched))
	s.add("last record received", rfc3339(r.Received))
	s.add("records of the log", r.Replayed)
	s.add("people erased since", r.Erased)
	if err := s.write(a.out); err != nil || beyond == "" {
		return err
	}
	_, err = fmt.Fprintf(a.err, "the log goes on to %s, but there is a gap in it before that: kanta backup list\n", beyond)
	return err
}
