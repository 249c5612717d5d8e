package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// shipping lets the log be shipped by one at a time.
type shipping struct {
	backups
	told map[string]uint64 // by id of a target: the changes of the ledger that it knows of; who has the turn has it
}

// ShipLog sends the records of the log that [DB.KeepLog] keeps to a target of backups, and
// then, once they have been read there again, deletes them here. Together with a backup made
// before they are every position up to now: [Restore] takes it to any of them. What was sent
// before an interruption is not sent again. It goes on while others read and write. The
// ledger of erased people goes before the records, if it has changed. Records of UTC days that
// are over are put together into larger objects. For who ships each minute a restore lacks
// the last minute at most.
func (db *DB) ShipLog(ctx context.Context, target query.BackupTarget, o *query.ShipOptions) (query.ShipReport, error) {
	if o == nil {
		o = &query.ShipOptions{}
	}
	if db.opt.ReadOnly {
		return query.ShipReport{}, query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	kept := db.KeptLog()
	if !kept.On {
		return query.ShipReport{}, &query.Error{Code: query.CodeInvalid, Message: "the log of the store is not kept: there is nothing to ship", Hint: "turn it on: kanta backup log on; then make a backup"}
	}
	if kept.Target != "" && !o.Move { // where a disk is not mounted nothing is begun
		_, err := backup.Open(ctx, target)
		if errors.Is(err, fs.ErrNotExist) {
			err = otherTarget(kept.Target)
		}
		if err != nil {
			return query.ShipReport{}, err
		}
	}
	t, err := backup.OpenFor(ctx, target, db.kv.Root)
	if err != nil {
		return query.ShipReport{}, err
	}
	return db.shipTo(ctx, t, o.Move)
}

func (db *DB) shipTo(ctx context.Context, t *backup.Target, move bool) (report query.ShipReport, err error) {
	ctx, end, err := db.shipping.begin(ctx)
	if err != nil {
		return report, err
	}
	defer end()
	s := &shipment{db: db, t: t}
	for _, step := range []func(context.Context) error{func(ctx context.Context) error { return s.bind(ctx, move) }, s.tell, s.send, s.seal} {
		if err == nil {
			err = step(ctx)
		}
	}
	if s.r != nil {
		s.r.Close()
	}
	s.report.Kept = db.KeptLog()
	return s.report, given(ctx, err)
}

// shipment is a shipping under way.
type shipment struct {
	db     *DB
	t      *backup.Target
	r      *backup.LogReader
	upTo   *state // what is shipped, at most: its position, time and chain hash are read
	there  []backup.LogPiece
	report query.ShipReport
}

// bind makes the target the one that the log goes to, if it has none.
func (s *shipment) bind(ctx context.Context, move bool) error {
	k := s.db.KeptLog()
	switch {
	case !k.On || k.Target == s.t.ID:
		return nil
	case k.Target != "" && !move:
		return otherTarget(k.Target)
	}
	return s.db.changeKeeping(ctx, func(k *keeping, _ *kv.Batch) {
		if k.target != "" {
			k.breaks(backup.BrokenMoved)
		}
		k.target = s.t.ID
	})
}

func otherTarget(id string) error {
	return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the log goes to another target, %s", id), Hint: "name that one; or have the log go here from now on: --move"}
}

// tell tells the target who was erased, if it may not know.
func (s *shipment) tell(ctx context.Context) error {
	s.upTo = s.db.current.Load() // an erasure that comes later is not shipped now
	told := s.upTo.told
	if last, known := s.db.shipping.told[s.t.ID]; known && last == told {
		return nil
	}
	if err := s.db.sendLedger(ctx, s.t); err != nil {
		return err
	}
	if s.db.shipping.told == nil {
		s.db.shipping.told = map[string]uint64{}
	}
	s.db.shipping.told[s.t.ID] = told
	return nil
}

// send sends what is durable and published, piece by piece.
func (s *shipment) send(ctx context.Context) (err error) {
	if err := s.db.syncLog(); err != nil { // what is at the target must not be lost here
		return err
	}
	if s.there, err = s.t.LogPieces(ctx, s.db.kv.ID); err == nil {
		s.r, err = s.t.NewLogReader()
	}
	for err == nil {
		k := s.db.current.Load().keep
		first := k.oldest().first
		if !k.on || k.target != s.t.ID || k.epoch != s.upTo.pos.Epoch || first > s.upTo.pos.Applied {
			return nil // done, or turned off meanwhile
		}
		p, sizes, failed := s.next(ctx, &k)
		if err = failed; err == nil && p == nil {
			continue // it was deleted meanwhile
		}
		if err == nil {
			err = s.forget(ctx, p, sizes)
		}
		if err == nil && p.Last == s.upTo.pos.Applied && p.After != s.upTo.chain {
			return s.damaged("the chain hash at " + s.upTo.pos.String() + " is not that of the log")
		}
	}
	return err
}

// shipped is what of the records at the target is deleted here.
type shipped struct {
	First, Last uint64
	After       [16]byte
}

// next brings the oldest records that are kept to the target, as many as go into a piece,
// and returns which, with the bytes of each; nil if they are not there any more.
func (s *shipment) next(ctx context.Context, k *keeping) (*shipped, []int, error) {
	first := k.oldest()
	l := &backup.Log{Store: s.db.kv.ID, Epoch: k.epoch, First: first.first, Before: first.before, Broken: k.broken}
	there, err := s.sent(first.first)
	if err != nil {
		return nil, nil, err
	}
	sizes, full, err := s.read(ctx, l, there)
	if err == nil && len(sizes) == 0 && s.db.current.Load().keep.oldest().first == l.First {
		err = s.damaged(fmt.Sprintf("record %d is missing", l.First))
	}
	if err != nil || len(sizes) == 0 {
		return nil, nil, err
	}
	out := &shipped{l.First, l.First + uint64(len(sizes)) - 1, l.After}
	if there != nil {
		same, err := s.same(ctx, there, l.After)
		if same || err != nil {
			return out, sizes, err
		}
		return s.next(ctx, k) // it was damaged, and is gone
	}
	p, err := s.r.Write(ctx, l, full)
	if err != nil {
		return nil, nil, err
	}
	s.there = append(s.there, p)
	r := &s.report
	if r.Records == 0 {
		r.From = query.Position{Epoch: k.epoch, Applied: out.First}
	}
	r.To = query.Position{Epoch: k.epoch, Applied: out.Last}
	r.Records, r.Objects, r.Bytes = r.Records+uint64(len(sizes)), r.Objects+1, r.Bytes+p.Size
	return out, sizes, nil
}

// sent finds the piece that has a record at the target already: it was sent, and then
// something kept it from being deleted here.
func (s *shipment) sent(at uint64) (*backup.LogPiece, error) {
	for i := range s.there {
		p := &s.there[i]
		if p.Epoch != s.upTo.pos.Epoch || at < p.First || at > p.Last {
			continue
		}
		if p.Last > s.upTo.pos.Applied {
			return nil, s.foreign(p)
		}
		return p, nil
	}
	return nil, nil
}

// foreign is the error of a target that has records of this store that are not its own.
func (s *shipment) foreign(p *backup.LogPiece) error {
	return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the target has other records of this store than it has itself, %s: one of the two is a copy that was made without a restore", p.Name()),
		Hint: "make a store of a backup, kanta restore: it has an id and an epoch of its own"}
}

// same reports whether a piece of the target has the records that are here. One that is
// damaged is deleted: they are here.
func (s *shipment) same(ctx context.Context, p *backup.LogPiece, after [16]byte) (bool, error) {
	l, err := s.r.Read(ctx, p)
	damaged := errors.Is(err, &query.Error{Code: query.CodeCorrupt})
	if err != nil && !damaged && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && l.After != after {
		return false, s.foreign(p)
	}
	if err == nil {
		return true, nil
	}
	name := p.Name()
	s.there = slices.DeleteFunc(s.there, func(o backup.LogPiece) bool { return o.Name() == name })
	return false, s.t.Delete(ctx, name)
}

// read takes records of one day into a piece, up to where a piece that is there ends, or as
// many as it has room for; full says that no more go in.
func (s *shipment) read(ctx context.Context, l *backup.Log, there *backup.LogPiece) (sizes []int, full bool, err error) {
	last, room := s.upTo.pos.Applied, s.db.opt.limits.logPiece-backup.LogHeader
	if there != nil {
		last = there.Last
	}
	l.After = l.Before
	var today int64
	err = s.db.kv.Scan(ctx, keys.KeptRecords(l.First, last+1), func(k, v []byte) (bool, error) {
		at, _ := keys.ParseKept(k)
		r, err := record.Decode(v)
		if err == nil && at != l.First+uint64(len(sizes)) {
			if s.db.current.Load().keep.oldest().first > l.First {
				sizes, l.Records = nil, nil
				return false, nil // deleted meanwhile
			}
			err = query.Errorf(query.CodeCorrupt, "it is %d that is there", at)
		}
		if err != nil {
			return false, s.damaged(fmt.Sprintf("record %d: %v", l.First+uint64(len(sizes)), err))
		}
		need := backup.LogLength + len(v)
		if there == nil && len(sizes) > 0 {
			if full = need > room; full || r.Received/dayMillis != today {
				return false, nil
			}
		}
		today, room = r.Received/dayMillis, room-need
		if there == nil {
			l.Records = append(l.Records, bytes.Clone(v))
		}
		l.After, sizes = record.Chain(l.After, v), append(sizes, len(v))
		return true, nil
	})
	if err == nil && there != nil && l.First+uint64(len(sizes)) != last+1 {
		sizes = nil
	}
	return sizes, full, err
}

func (s *shipment) damaged(why string) error {
	return &query.Error{Code: query.CodeCorrupt, Message: "the log that is kept for backups is damaged: " + why, Hint: "turn it off and on again, kanta backup log off, then on, and make a backup: there will be a gap"}
}

// forget deletes records that are at the target.
func (s *shipment) forget(ctx context.Context, p *shipped, sizes []int) error {
	return s.db.changeKeeping(ctx, func(k *keeping, kb *kv.Batch) {
		first := k.oldest().first
		switch {
		case !k.on || k.epoch != s.upTo.pos.Epoch || first > p.Last+1:
			return
		case first == p.Last+1: // let go of meanwhile, which does no harm
			k.broken = backup.Unbroken
			return
		}
		kb.DeleteRange(keys.KeptRecords(p.First, p.Last+1))
		k.shipped(p, sizes)
	})
}

// shipped lets go of records that are at the target: sizes are theirs.
func (k *keeping) shipped(p *shipped, sizes []int) {
	k.broken = backup.Unbroken
	older := k.older
	part := k.newest
	for len(older) > 0 {
		next := k.newest.first
		if len(older) > 1 {
			next = older[1].first
		}
		if next > p.Last+1 {
			part = older[0]
			break
		}
		older = older[1:]
	}
	for at := max(part.first, p.First); at <= p.Last; at++ {
		part.bytes -= min(part.bytes, uint64(sizes[at-p.First]))
	}
	part.first, part.before = p.Last+1, p.After
	if len(older) == 0 {
		k.older, k.newest = nil, part
		return
	}
	k.older = append([]keptPart{part}, older[1:]...)
}

// seal puts together what was shipped on days that are over.
func (s *shipment) seal(ctx context.Context) (err error) {
	if s.r == nil {
		return nil
	}
	today := s.db.opt.Clock().UTC()
	if last := time.UnixMilli(s.upTo.Received).UTC(); last.Before(today) && s.db.KeptLog().First.Applied <= s.upTo.pos.Applied {
		today = last // not all of it is there
	}
	s.report.Sealed, err = s.r.SealLog(ctx, s.there, today, s.db.opt.limits.logPiece)
	return err
}
