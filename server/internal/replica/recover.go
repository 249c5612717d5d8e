package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/raftlog"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// RecoverOptions say where a cluster begins anew.
type RecoverOptions struct {
	// Into is the directory of its first member, which is made. The old one stays as it is.
	Into string
	// WithoutLog takes the store as it is, for a log that cannot be opened any more: what the
	// store had not applied is lost.
	WithoutLog bool
	// RaftAddress and ClientAddress are those of the new member; "": those of the old one.
	RaftAddress, ClientAddress string
}

// RecoverReport says what a recovered cluster begins with.
type RecoverReport struct {
	Member   Identity
	Position query.Position // of a new epoch: positions of the old cluster are refused. One more than what it took over: who its member is
	Received time.Time      // when the last record that it has was received
	// Entries is how many entries of the log were applied only now. The member does not know
	// whether a majority ever had them: some may never have been acknowledged.
	Entries uint64
}

// applyAtATime is how many entries of a log are applied at a time.
const applyAtATime = 64

// Recover begins a cluster anew with what one member has, whose majority is lost for good. The
// member must not run; its directory, cfg.Dir, is not changed, but that its files may be linked.
// What was acknowledged by the others and never reached this member is lost, so take the one
// that has most. The new cluster has one member under the old names; the others join it with
// new directories, and never meet the old one: it has another store.
func Recover(ctx context.Context, cfg Config, o RecoverOptions) (report RecoverReport, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return report, err
	}
	id, err := ReadIdentity(cfg.FS, cfg.Dir)
	if err == nil {
		err = checkDiverged(cfg.FS, cfg.Dir)
	}
	if err == nil {
		err = prepare(cfg.FS, o.Into, true)
	}
	if err != nil {
		return report, fmt.Errorf("recover: %w", err)
	}
	into := cfg
	into.Dir = o.Into
	store := cfg.FS.PathJoin(o.Into, storeName)
	r := &recovering{cfg: &cfg, id: id, to: store, report: &report}
	if err := r.make(ctx, o.WithoutLog); err != nil {
		return report, errors.Join(fmt.Errorf("recover: %w", err), cfg.FS.RemoveAll(o.Into))
	}
	if o.RaftAddress != "" {
		id.Raft = o.RaftAddress
	}
	if o.ClientAddress != "" {
		id.Client = o.ClientAddress
	}
	if report.Position, err = begun(&into, id); err != nil {
		return report, errors.Join(fmt.Errorf("recover: %w", err), cfg.FS.RemoveAll(o.Into))
	}
	report.Member = *id
	return report, nil
}

// recovering is a recovery under way.
type recovering struct {
	cfg    *Config
	id     *Identity
	to     string
	report *RecoverReport
}

// make makes the store of the new cluster.
func (r *recovering) make(ctx context.Context, withoutLog bool) (err error) {
	files, dir := r.cfg.FS, r.cfg.Dir
	snaps, err := snapshots.Open(files.PathJoin(dir, snapshotsName), &snapshots.Options{FS: files, AcceptDamaged: true}) // the store has what it has, unless it is behind
	if err != nil {
		return err
	}
	defer snaps.Close()
	covered, err := r.copy(ctx, snaps)
	if err != nil {
		return err
	}
	db, err := openAlone(r.cfg, r.to)
	if err != nil {
		return err
	}
	if !withoutLog {
		err = r.apply(ctx, db, covered)
	}
	r.report.Received = db.Received()
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	_, err = engine.Fork(r.to, &engine.Options{FS: files})
	return err
}

// openAlone opens a store as a replica to which nobody proposes anything.
func openAlone(cfg *Config, dir string) (*engine.DB, error) {
	o := cfg.Engine
	o.FS, o.MustExist = cfg.FS, true
	o.Replica = &engine.ReplicaOptions{Propose: func(context.Context, []byte) (func() (engine.Outcome, error), error) { return nil, errClosed() }}
	return engine.Open(dir, &o)
}

// copy copies the member's store, or the one in its newest snapshot if that has more, and
// returns up to where it has the log.
func (r *recovering) copy(ctx context.Context, snaps *snapshots.Store) (covered uint64, err error) {
	m, name := snaps.Newest()
	store := r.cfg.FS.PathJoin(r.cfg.Dir, storeName)
	if err := snapshots.Recover(r.cfg.FS, store); err != nil {
		return 0, err
	}
	if _, err := r.cfg.FS.Stat(store); err == nil {
		done, covered, err := r.checkpoint(ctx, store, m)
		if done || err != nil {
			return covered, err
		}
	} else if !isNotExist(err) {
		return 0, diskError("look at "+store, err)
	}
	if m == nil {
		return 0, &query.Error{Code: query.CodeNotAStore, Message: "the member has neither a store nor a snapshot", Hint: "recover from another member"}
	}
	_, source, err := snaps.Open(name)
	if err != nil {
		return 0, err
	}
	reader, ok := snapshots.Of(source)
	if !ok {
		return 0, errors.Join(query.Errorf(query.CodeInternal, "a snapshot comes from %T", source), source.Close())
	}
	return m.Index, errors.Join(snapshots.Install(ctx, reader, r.to, nil), source.Close())
}

// checkpoint copies the member's store, unless a snapshot has more.
func (r *recovering) checkpoint(ctx context.Context, store string, m *snapshots.Meta) (done bool, covered uint64, err error) {
	db, err := openAlone(r.cfg, store)
	if err != nil {
		return false, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	covered, _ = db.AppliedEntry()
	if m != nil {
		if !m.HeldBy(covered) {
			return false, 0, nil
		}
		covered = max(covered, m.Index)
	}
	_, err = db.CheckpointTo(ctx, r.to)
	return true, covered, err
}

// apply applies what the log has behind the store.
func (r *recovering) apply(ctx context.Context, db *engine.DB, covered uint64) (err error) {
	logs, err := raftlog.Open(ctx, r.cfg.FS.PathJoin(r.cfg.Dir, raftName), &raftlog.Options{FS: r.cfg.FS, MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	for next := covered + 1; next <= last; {
		var entries []engine.Entry
		for ; next <= last && len(entries) < applyAtATime; next++ {
			var l raft.Log
			if err := logs.GetLog(next, &l); err != nil {
				return err
			}
			if l.Type == raft.LogCommand && len(l.Data) > 0 {
				entries = append(entries, engine.Entry{Index: l.Index, Term: l.Term, Data: l.Data})
			}
		}
		if _, err := db.ApplyEntries(ctx, entries); err != nil {
			return err
		}
		r.report.Entries += uint64(len(entries))
	}
	return nil
}
