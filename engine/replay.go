package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// replayAhead is how many records are on their way through the writer: they share commits,
// and of the largest ones this is 40 MiB.
const replayAhead = 64

// replay applies the log to the store that was made of a backup, up to the bound.
func (r *restoring) replay() error {
	db, err := Open(r.made, &Options{FS: r.o.FS, MustExist: true, Memory: r.o.Memory, Clock: r.o.Clock, PurgeAfter: -1, replaying: true})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	p := &replayer{db: db, ctx: r.ctx, at: r.m.Position.Applied, chain: r.m.Chain, received: r.m.Received}
	err = p.pieces(r)
	if err == nil {
		r.report.Position.Applied, r.chain, r.report.Received = p.at, p.chain, p.received
		r.report.Replayed = p.at - r.m.Position.Applied
		if s := db.current.Load(); s.pos.Applied != p.at || s.chain != p.chain {
			err = query.Errorf(query.CodeCorrupt, "the store is at %s, with another chain hash than the log has at %d", s.pos, p.at)
		}
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("restore: apply the log: %w", given(r.ctx, err))
	}
	return nil
}

// replayer applies records again.
type replayer struct {
	db       *DB
	ctx      context.Context
	at       uint64 // what is sent
	chain    [16]byte
	received time.Time
	waiting  []*request
}

func (p *replayer) pieces(r *restoring) (err error) {
	reader, err := r.t.NewLogReader()
	if err != nil {
		return err
	}
	defer reader.Close()
	for i := range r.plan.Pieces {
		piece := &r.plan.Pieces[i]
		l, err := reader.Read(r.ctx, piece)
		if errors.Is(err, fs.ErrNotExist) {
			err = query.Errorf(query.CodeConflict, "%s is gone: somebody prunes, or puts pieces together; begin again", piece.Name())
		}
		if err == nil {
			err = p.piece(l, piece, r.bound)
		}
		r.report.Fetched += piece.Size
		if err = errors.Join(err, p.wait(0)); err != nil { // the records are the reader's
			return err
		}
	}
	return nil
}

// piece applies the records of a piece that come next. Those that the store has already are
// only verified: that they lead to where it is.
func (p *replayer) piece(l *backup.Log, piece *backup.LogPiece, bound backup.LogBound) error {
	chain := l.Before
	for i, rec := range l.Records {
		at := l.First + uint64(i)
		if at == p.at+1 && chain != p.chain {
			return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("%s does not go on where the store is at record %d: it is the log of another history", piece.Name(), p.at), Hint: "restore a backup by its name: kanta restore --backup NAME"}
		}
		chain = record.Chain(chain, rec)
		if at <= p.at {
			continue
		}
		d, err := record.Decode(rec)
		if err != nil {
			return fmt.Errorf("record %d: %w", at, err)
		}
		if received := time.UnixMilli(d.Received).UTC(); bound.Past(at, received) {
			return nil
		} else if err := p.send(at, d); err != nil {
			return fmt.Errorf("record %d: %w", at, err)
		} else {
			p.received = received
		}
		p.at, p.chain = at, chain
	}
	if p.at < piece.Last {
		return query.Errorf(query.CodeCorrupt, "%s does not reach from record %d to %d", piece.Name(), p.at, piece.Last)
	}
	return nil
}

// send has the writer decide a record as it was decided: with the time and the verdicts that
// it has.
func (p *replayer) send(at uint64, d *record.Record) error {
	q, err := p.db.again(p.ctx, d)
	if err != nil {
		return err
	}
	if err := p.db.room(); err != nil {
		return err
	}
	if err := p.db.compactor.waitForRoom(p.ctx, valuesOf(q.decoded)); err != nil {
		return err
	}
	q.bench.lookAhead(p.db, q.decoded)
	if err := p.db.enqueue(q); err != nil {
		return err
	}
	p.waiting = append(p.waiting, q)
	return p.wait(replayAhead)
}

// wait waits until at most n records are on their way. Each must have become the record that
// it was: what was refused then is in no log.
func (p *replayer) wait(n int) error {
	var err error
	for len(p.waiting) > n {
		q := p.waiting[0]
		p.waiting = p.waiting[1:]
		result, failed := p.db.outcome(q, nil)
		if failed == nil && result.Repeated {
			failed = query.Errorf(query.CodeCorrupt, "a record of the log is there twice")
		}
		if err == nil {
			err = failed
		}
	}
	return err
}
