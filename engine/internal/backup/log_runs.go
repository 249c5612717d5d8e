package backup

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kantadb/kanta/query"
)

// line is the pieces of one epoch of a store, which is one history.
func line(pieces []LogPiece, store string, epoch uint64) (out []LogPiece) {
	for i := range pieces {
		if pieces[i].Store == store && pieces[i].Epoch == epoch {
			out = append(out, pieces[i])
		}
	}
	return out
}

// following returns the piece with the record behind a position that goes furthest, or nil.
func following(line []LogPiece, at uint64) (best *LogPiece) {
	for i := range line {
		p := &line[i]
		if p.First > at+1 {
			break
		}
		if p.Last > at && (best == nil || p.Last > best.Last) {
			best = p
		}
	}
	return best
}

// LogRuns returns the runs of records that the target has, and the gaps between and behind
// them, by store and position.
func (t *Target) LogRuns(ctx context.Context) (out []query.LogRun, err error) {
	pieces, err := t.LogPieces(ctx, "")
	if err != nil || len(pieces) == 0 {
		return nil, err
	}
	backups := map[lineID][]query.Backup{}
	if err := t.Manifests(ctx, func(_ string, m *Manifest, err error) error {
		if err == nil {
			id := lineID{m.Store, m.Position.Epoch}
			backups[id] = append(backups[id], m.Backup)
		}
		return nil // of damaged ones the list of backups tells
	}); err != nil {
		return nil, err
	}
	r, err := t.NewLogReader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for len(pieces) > 0 {
		id := lineID{pieces[0].Store, pieces[0].Epoch}
		of := line(pieces, id.store, id.epoch)
		pieces = pieces[len(of):]
		runs, err := r.runs(ctx, of, backups[id])
		if err != nil {
			return nil, err
		}
		out = append(out, runs...)
	}
	return out, nil
}

// lineID names a history.
type lineID struct {
	store string
	epoch uint64
}

// runs are the runs and gaps of one line, from the last backup before it on.
func (r *LogReader) runs(ctx context.Context, of []LogPiece, backups []query.Backup) (out []query.LogRun, err error) {
	store, epoch := of[0].Store, of[0].Epoch
	at, end := uint64(0), of[0].First-1
	for i := range backups {
		if n := backups[i].Position.Applied; n <= end {
			at = max(at, n)
		}
	}
	if at == 0 {
		at = end
	}
	gap := func(to uint64, why string) {
		if to > at {
			out = append(out, query.LogRun{Store: store, From: query.Position{Epoch: epoch, Applied: at + 1}, To: query.Position{Epoch: epoch, Applied: to}, Gap: why})
		}
		at = max(at, to)
	}
	for i := 0; i < len(of); {
		p := &of[i]
		if p.First > at+1 || len(out) == 0 || out[len(out)-1].Gap != "" {
			if p.First > at+1 {
				why := "damaged"
				if l, err := r.Read(ctx, p); err == nil {
					why = cmp.Or(string(l.Broken), "missing")
				} else if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				gap(p.First-1, why)
			}
			out = append(out, query.LogRun{Store: store, From: query.Position{Epoch: epoch, Applied: p.First}, First: p.FirstTime})
		}
		run := &out[len(out)-1]
		run.Objects, run.Bytes = run.Objects+1, run.Bytes+p.Size
		if p.Last > at || run.To.Applied == 0 {
			run.To, run.Last = query.Position{Epoch: epoch, Applied: max(p.Last, at)}, p.LastTime
		}
		at = max(at, p.Last)
		i++
	}
	last := at
	for i := range backups {
		last = max(last, backups[i].Position.Applied)
	}
	gap(last, "not-shipped")
	return out, nil
}

// LogPlan is the pieces that lead from a backup to a later point, in order.
type LogPlan struct {
	Pieces []LogPiece
	Beyond query.Position // the last record of the line that the target has and that cannot be reached; zero: none
}

// LogBound is where a replay ends: at a position, before the first record that was received
// later than a time, or, if both are zero, where the log ends.
type LogBound struct {
	Applied uint64
	At      time.Time
}

func (b LogBound) none() bool { return b.Applied == 0 && b.At.IsZero() }

// past reports whether a record is behind the bound.
func (b LogBound) Past(applied uint64, received time.Time) bool {
	return b.Applied != 0 && applied > b.Applied || !b.At.IsZero() && received.After(b.At)
}

// PlanLog finds what leads from a backup to a bound. If the bound is in a gap of the log, or a
// position that no log reaches, it is an error with [query.CodeUnknownName] that names the
// nearest points. Between backups of a
// line that had no log until the later one, there is no gap: nobody expects one to be there.
func (t *Target) PlanLog(ctx context.Context, from *query.Backup, to LogBound) (out LogPlan, err error) {
	all, err := t.LogPieces(ctx, from.Store)
	if err != nil {
		return out, err
	}
	of := line(all, from.Store, from.Position.Epoch)
	at, end := from.Position.Applied, from.Received
	for {
		p := following(of, at)
		if to.Applied != 0 && to.Applied == at || p != nil && to.Past(at+1, p.FirstTime) && p.First == at+1 {
			return out, nil
		}
		if p == nil {
			break
		}
		out.Pieces, at, end = append(out.Pieces, *p), p.Last, p.LastTime
		if to.Past(p.Last, p.LastTime) {
			return out, nil
		}
	}
	next, err := t.nextBackup(ctx, from, at)
	if err != nil {
		return out, err
	}
	last := at
	for i := range of {
		last = max(last, of[i].Last)
	}
	switch {
	case to.none() && last > at:
		out.Beyond = query.Position{Epoch: from.Position.Epoch, Applied: last}
		return out, nil
	case to.none() || len(of) == 0 || next == nil && last == at && to.Applied == 0 || next != nil && of[0].First > next.Position.Applied:
		return out, nil
	}
	hint := "nothing later can be restored"
	if next != nil {
		hint = fmt.Sprintf("the nearest after it is %s, backup %s", pointOf(next.Position, next.Received), next.Name)
	}
	return out, &query.Error{Code: query.CodeUnknownName, Hint: "kanta backup list shows the gaps",
		Message: fmt.Sprintf("restore: the log does not reach from the backup before this point to it: there is a gap, or not so much was shipped. The nearest before it is %s; %s", pointOf(query.Position{Epoch: from.Position.Epoch, Applied: at}, end), hint)}
}

func pointOf(at query.Position, received time.Time) string {
	return fmt.Sprintf("%s, received %s", at, received.UTC().Format(time.RFC3339Nano))
}

// nextBackup finds the first backup of the same line that is later than a position, or nil.
func (t *Target) nextBackup(ctx context.Context, of *query.Backup, at uint64) (next *query.Backup, err error) {
	err = t.Manifests(ctx, func(_ string, m *Manifest, err error) error {
		if err == nil && m.Store == of.Store && m.Position.Epoch == of.Position.Epoch && m.Position.Applied > at && (next == nil || m.Position.Applied < next.Position.Applied) {
			next = &m.Backup
		}
		return nil // of damaged ones the list of backups tells
	})
	return next, err
}
