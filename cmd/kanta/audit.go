package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/client"
)

const auditHelp = `What was changed at a server, and which personal data was read, when and by whom: the
records that kanta serve --audit writes. They have no values: where a value or a key stood is
a keyed hash of it.

Ask a server with --db kanta://HOST:PORT, or read the directory with --dir, on its machine,
also while the server runs.`

func newAudit(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "audit", Short: "Who changed what, and who looked at whom", Long: auditHelp})
	c.AddCommand(newAuditList(a), newAuditVerify(a))
	return c
}

// auditJSON is a record.
type auditJSON struct {
	Number   uint64   `json:"number"`
	Time     string   `json:"time"`
	Caller   string   `json:"caller"`
	Name     string   `json:"name"`
	Role     string   `json:"role"`
	Address  string   `json:"address"`
	Call     string   `json:"call"`
	Outcome  string   `json:"outcome"`
	Code     uint16   `json:"code,omitempty"`
	What     string   `json:"what"`
	People   []string `json:"people"`
	Count    uint64   `json:"count"`
	Position string   `json:"position"`
}

const auditListHelp = `The records, the oldest first.

A change is "asked": its record is written before it is made. A read of personal data is "done"
or "failed", and what a caller may not do "denied". "kept" says something of the audit itself.
--key finds the records of one person: the reads, the writes of up to 64 people at once, and
the expressions that name the key.

--json: one object per line with number, time, caller, name, role, address, call, outcome,
code, what, people (hashes of keys), count, position.`

// auditFlags are the flags of a list.
type auditFlags struct {
	dir, from, to string
	client.AuditFilter
}

func newAuditList(a *app) *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the records",
		Long:  auditListHelp,
		Example: `  kanta audit list --db kanta://127.0.0.1:7700 --from 2026-03-01
  kanta audit list --dir ./kanta-audit --key c-1042`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if f.From, err = parseInstant("--from", f.from); err != nil {
				return err
			}
			if f.To, err = parseInstant("--to", f.to); err != nil {
				return err
			}
			if _, ok := audit.ParseOutcome(f.Outcome); f.Outcome != "" && !ok {
				return usagef("--outcome %s: it is asked, done, denied, failed or kept", f.Outcome)
			}
			return a.auditList(c.Context(), &f)
		},
	}
	c.Flags().StringVar(&f.dir, "dir", "", "the directory of an audit, in place of a server")
	c.Flags().StringVar(&f.from, "from", "", "from this instant on: RFC 3339, or a date")
	c.Flags().StringVar(&f.to, "to", "", "before this instant")
	c.Flags().StringVar(&f.Caller, "caller", "", "of the caller with this id or name")
	c.Flags().StringVar(&f.Call, "call", "", "of this call, such as Profile")
	c.Flags().StringVar(&f.Key, "key", "", "of the person with this key")
	c.Flags().StringVar(&f.Outcome, "outcome", "", "asked, done, denied, failed or kept")
	completeWord(c, "outcome", "asked", "done", "denied", "failed", "kept")
	c.Flags().Uint64Var(&f.After, "after", 0, "behind the record with this number")
	c.Flags().Uint64Var(&f.Limit, "limit", 1000, "how many to list, 0 for all")
	return c
}

// auditList writes the records of a directory or a server.
func (a *app) auditList(ctx context.Context, f *auditFlags) error {
	t := a.newTable("#number", "time", "caller", "address", "call", "outcome", "#count", "people", "what")
	var last, n uint64
	add := func(r *auditJSON) error {
		last, n = r.Number, n+1
		if a.json {
			return a.printJSON(r)
		}
		outcome := r.Outcome
		if r.Code != 0 {
			outcome += " " + query.Code(r.Code).Word()
		}
		t.add(r.Number, r.Time, cmp.Or(r.Name, r.Caller), r.Address, r.Call, outcome, r.Count, shortHashes(r.People), r.What)
		return nil
	}
	err := a.withAudit(f.dir, func(s *audit.Store) error { return listStore(ctx, s, f, add) },
		func(c *client.Client) error {
			return c.Audit(ctx, &f.AuditFilter, func(r client.AuditRecord) error {
				return add(&auditJSON{Number: r.Number, Time: rfc3339(r.Time), Caller: r.Caller, Name: r.Name, Role: r.Role, Address: r.Address, Call: r.Call,
					Outcome: r.Outcome, Code: uint16(r.Code), What: r.What, People: append([]string{}, r.People...), Count: r.Count, Position: positionText(r.Position)})
			})
		})
	if err := errors.Join(t.write(a.out), err); err != nil {
		return err
	}
	if f.Limit > 0 && n == f.Limit {
		fmt.Fprintf(a.err, "there may be more: --after %d goes on\n", last)
	}
	return nil
}

// withAudit opens the directory of an audit, or asks the server of --db.
func (a *app) withAudit(dir string, here func(*audit.Store) error, there func(*client.Client) error) (err error) {
	if dir != "" {
		s, err := audit.Open(dir, &audit.Options{ReadOnly: true})
		if err != nil {
			return err
		}
		return errors.Join(here(s), s.Close())
	}
	if !a.isRemote() {
		return usagef("name the directory of the audit with --dir, or a server with --db %sHOST:PORT", serverScheme)
	}
	return a.withStore(func(s store) error {
		c, ok := s.(*client.Client)
		if !ok {
			return query.Errorf(query.CodeInternal, "a server was opened as %T", s)
		}
		return there(c)
	})
}

// listStore lists a directory page by page.
func listStore(ctx context.Context, s *audit.Store, f *auditFlags, add func(*auditJSON) error) error {
	outcome, _ := audit.ParseOutcome(f.Outcome) // it was checked
	filter := &audit.Filter{From: f.From, To: f.To, Caller: f.Caller, Call: f.Call, Key: f.Key, Outcome: outcome}
	after, left := f.After, f.Limit
	for {
		most := audit.MaxList
		if f.Limit > 0 {
			most = int(min(left, audit.MaxList))
		}
		list, err := s.List(ctx, filter, after, most)
		if err != nil {
			return err
		}
		for i := range list {
			r := &list[i]
			out := &auditJSON{Number: r.Number, Time: rfc3339(r.Time), Caller: r.Who.ID, Name: r.Who.Name, Role: r.Who.Role, Address: r.Who.Address, Call: r.Call,
				Outcome: r.Outcome.String(), Code: uint16(r.Code), What: r.Told(), People: []string{}, Count: r.Count, Position: positionText(r.Position)}
			for _, k := range r.Keys {
				out.People = append(out.People, k.String())
			}
			if err := add(out); err != nil {
				return err
			}
			after = r.Number
		}
		if left -= uint64(len(list)); len(list) < most || f.Limit > 0 && left == 0 {
			return nil
		}
	}
}

// positionText writes a position, "" for none.
func positionText(p query.Position) string {
	if p == (query.Position{}) {
		return ""
	}
	return p.String()
}

// shortHashes shows the beginning of the first hash, which tells people apart, and how many follow.
func shortHashes(hashes []string) string {
	const shown = 8
	switch len(hashes) {
	case 0:
		return ""
	case 1:
		return hashes[0][:min(len(hashes[0]), shown)]
	}
	return fmt.Sprintf("%s +%d", hashes[0][:min(len(hashes[0]), shown)], len(hashes)-1)
}

const auditVerifyHelp = `Read all records and check the chain of their hashes from the beginning, and that what is
missing there was removed by retention.

It prints the head: the number and the hash of the last record. Note it elsewhere. --noted
compares: if a noted head is still in the chain, nothing up to it was changed since. Without
one it is not seen that the end is missing, or that somebody wrote everything anew.

--json: {"first","last","hash","trailing_bytes"}.`

func newAuditVerify(a *app) *cobra.Command {
	var dir, noted string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check the chain of the records",
		Long:  auditVerifyHelp,
		Example: `  kanta audit verify --db kanta://127.0.0.1:7700
  kanta audit verify --dir ./kanta-audit --noted 1204:9f3c...`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			head, err := parseHead(noted)
			if err != nil {
				return err
			}
			if noted != "" && dir == "" {
				return usagef("--noted is of a directory: name it with --dir")
			}
			return a.auditVerify(c.Context(), dir, head)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the directory of an audit, in place of a server")
	c.Flags().StringVar(&noted, "noted", "", "a head that was noted: NUMBER:HASH")
	return c
}

// parseHead reads NUMBER:HASH.
func parseHead(text string) (h audit.Head, err error) {
	if text == "" {
		return h, nil
	}
	number, digits, _ := strings.Cut(text, ":")
	h.Number, err = strconv.ParseUint(number, 10, 64)
	raw, err2 := hex.DecodeString(digits)
	if err != nil || err2 != nil || h.Number == 0 || copy(h.Hash[:], raw) != len(h.Hash) || len(raw) != len(h.Hash) {
		return h, usagef("--noted %s: write NUMBER:HASH as kanta audit verify prints them", text)
	}
	return h, nil
}

func (a *app) auditVerify(ctx context.Context, dir string, noted audit.Head) error {
	p := a.newProgress()
	var first, last uint64
	var hash []byte
	var behind int64
	err := a.withAudit(dir, func(s *audit.Store) error {
		h, err := s.Verify(ctx, &audit.VerifyOptions{Noted: noted, Progress: func(at audit.Progress) {
			p.show(float64(at.Segments)/float64(at.Of), fmt.Sprintf("%d records verified", at.Records))
		}})
		first, last, hash, behind = h.First, h.Number, h.Hash[:], h.Behind
		return err
	}, func(c *client.Client) error {
		h, err := c.VerifyAudit(ctx, func(done, total uint64, what string) {
			p.show(float64(done)/float64(max(total, 1)), fmt.Sprintf("%d of %d %s", done, total, what))
		})
		first, last, hash = h.First, h.Last, h.Hash
		return err
	})
	p.end()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"first": first, "last": last, "hash": hex.EncodeToString(hash), "trailing_bytes": behind})
	}
	if behind > 0 {
		fmt.Fprintf(a.err, "%s bytes behind them are no whole record: one is being written, or a crash or somebody cut it\n", count(uint64(behind)))
	}
	if last < first {
		_, err = fmt.Fprintln(a.out, "no records yet")
		return err
	}
	_, err = fmt.Fprintf(a.out, "records %d to %d are whole; note the head: %d:%x\n", first, last, last, hash)
	return err
}

// auditDir is where a server records.
type auditDir struct {
	dir  string
	days uint
}

// maxAuditDays is a hundred years: a time.Duration holds some three.
const maxAuditDays = 36_500

// open opens the audit, nil for none.
func (d *auditDir) open(a *app) (*audit.Store, error) {
	switch {
	case d.dir == "" && d.days > 0:
		return nil, usagef("--audit-days says how long records are kept: name their directory with --audit")
	case d.days > maxAuditDays:
		return nil, usagef("--audit-days %d: at most %d, or 0 for ever", d.days, maxAuditDays)
	case d.dir == "":
		return nil, nil
	}
	return audit.Open(d.dir, &audit.Options{Keep: time.Duration(d.days) * 24 * time.Hour, Clock: a.clock})
}
