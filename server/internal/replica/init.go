package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/raftlog"
	"github.com/kantadb/kanta/server/internal/snapshots"
)

// InitOptions say what cluster is begun.
type InitOptions struct {
	Cluster       string // its name, as in the certificates of its members
	ID            string // the name of the first member
	RaftAddress   string // HOST:PORT where other members will reach it
	ClientAddress string // HOST:PORT where clients will
	From          string // the directory of a store that becomes the cluster's, and is moved; "": an empty one
}

// Init makes the directory of the first member of a cluster, with a snapshot: whoever joins
// begins with a copy of it. Dir must not be there or be empty, or have been left by an Init that
// did not end. Of the configuration only Dir, FS and Engine are used. Errors have the codes
// Invalid, Conflict (there is something already), InUse (From is open) and IO.
func Init(cfg Config, o InitOptions) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	id := &Identity{Cluster: o.Cluster, ID: o.ID, Raft: o.RaftAddress, Client: o.ClientAddress, Store: noStore, Incarnation: noIncarnation}
	if err = id.check(); err == nil {
		err = prepare(cfg.FS, cfg.Dir, o.From != "")
	}
	if err != nil {
		return err
	}
	store := cfg.FS.PathJoin(cfg.Dir, storeName)
	if o.From != "" {
		if err := move(&cfg, id, o.From, store); err != nil {
			return err
		}
	}
	_, err = begun(&cfg, id)
	return err
}

// What stands for what is not known yet.
const (
	noStore       = "00000000000000000000000000000000"
	noIncarnation = "0000000000000000"
)

// begun makes the directory of a first member, in which there is a store or none, completes its
// identity, and returns where its store is.
func begun(cfg *Config, id *Identity) (at query.Position, err error) {
	store := cfg.FS.PathJoin(cfg.Dir, storeName)
	if id.Incarnation, err = newIncarnation(); err != nil {
		return at, err
	}
	id.Store, err = firstMember(cfg, store, id)
	if errors.Is(err, &query.Error{Code: query.CodeReadOnly}) { // an attempt that did not end has made it a replica
		if _, err = engine.Fork(store, &engine.Options{FS: cfg.FS}); err == nil {
			id.Store, err = firstMember(cfg, store, id)
		}
	}
	if err == nil {
		at, err = bootstrap(cfg, store, id)
	}
	if err != nil {
		return at, fmt.Errorf("make the first member: %w", err)
	}
	return at, id.write(cfg.FS, cfg.Dir)
}

// NewIncarnation draws what tells a member's directory from every other one.
func NewIncarnation() (string, error) { return newIncarnation() }

// PrepareJoin makes the directory in which [InitJoin] then makes a member, and finds out whether
// anything can be written there: the cluster should not take in who cannot be made.
func PrepareJoin(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err == nil {
		err = prepare(cfg.FS, cfg.Dir, true)
	}
	if err != nil {
		return err
	}
	trial := cfg.FS.PathJoin(cfg.Dir, nodeFile+newSuffix)
	f, err := cfg.FS.Create(trial, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Close(), cfg.FS.Remove(trial))
	}
	if err != nil {
		return diskError("write "+trial, err)
	}
	return nil
}

// InitJoin makes the directory of a member that the leader has taken in ([Node.Join]): with the
// same identity, and not before. Its store comes as a snapshot.
func InitJoin(cfg Config, id Identity) error {
	cfg, err := cfg.withDefaults()
	if err == nil {
		err = id.check()
	}
	if err == nil {
		err = prepare(cfg.FS, cfg.Dir, true)
	}
	if err != nil {
		return err
	}
	logs, err := raftlog.Open(context.Background(), cfg.FS.PathJoin(cfg.Dir, raftName), &raftlog.Options{FS: cfg.FS})
	if err != nil {
		return err
	}
	if err := logs.Close(); err != nil {
		return err
	}
	return id.write(cfg.FS, cfg.Dir)
}

// prepare makes a directory in which there is no member. What an attempt has left that did not
// end is deleted, but for a store, which may have been somebody's before: with noStore that is
// an error.
func prepare(files vfs.FS, dir string, noStore bool) error {
	names, err := files.List(dir)
	if err != nil && !isNotExist(err) {
		return diskError("list "+dir, err)
	}
	for _, name := range names {
		switch {
		case name == raftName || name == snapshotsName || name == nodeFile+newSuffix:
		case name == storeName && !noStore:
		case name == storeName:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s has a store", dir), Hint: "if kanta cluster init has left it that did not end, it goes on without --from; else name a new directory"}
		default:
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("%s is not empty: it has %s", dir, name), Hint: "name a new directory"}
		}
	}
	for _, name := range []string{raftName, snapshotsName, nodeFile + newSuffix} {
		if err := files.RemoveAll(files.PathJoin(dir, name)); err != nil {
			return diskError("prepare "+dir, err)
		}
	}
	err = files.MkdirAll(dir, 0o755)
	if err == nil {
		err = syncDir(files, files.PathDir(dir))
	}
	if err != nil {
		return diskError("make "+dir, err)
	}
	return nil
}

// move moves a store that nobody has open, and that is no replica: who may write to it alone
// may give it to a cluster.
func move(cfg *Config, id *Identity, from, to string) error {
	if _, err := cfg.FS.Stat(from); err != nil {
		return diskError("open "+from, err)
	}
	if _, err := firstMember(cfg, from, id); err != nil {
		return err
	}
	err := cfg.FS.Rename(from, to)
	if err == nil {
		err = errors.Join(syncDir(cfg.FS, cfg.Dir), syncDir(cfg.FS, cfg.FS.PathDir(from)))
	}
	if err != nil {
		return diskError("move "+from+" to "+to, err)
	}
	return nil
}

// firstMember writes who the member is, and that nobody else is, while its store is nobody's
// but its own.
func firstMember(cfg *Config, store string, id *Identity) (storeID string, err error) {
	o := cfg.Engine
	o.FS, o.Replica = cfg.FS, nil
	db, err := engine.Open(store, &o)
	if err != nil {
		return "", err
	}
	others, err := db.Documents(context.Background(), clusterPrefix)
	var gone []string
	for _, d := range others {
		if d.Name != memberPrefix+id.ID && (strings.HasPrefix(d.Name, memberPrefix) || strings.HasPrefix(d.Name, removedPrefix)) {
			gone = append(gone, d.Name)
		}
	}
	var b batch.Batch
	if err == nil {
		b, err = putMember(id, false, ownSpan(), gone...)
	}
	if err == nil {
		_, err = db.Apply(context.Background(), b)
	}
	return db.ID(), errors.Join(err, db.Close())
}

// firstIndex is that of the entry which the first snapshot of a cluster stands for. Nobody has
// it, or the one before it, so who has nothing is sent the snapshot. It is not 1, because a
// leader begins at 1 without asking for what is before, and then who has the snapshot and more
// could not show that it fits.
const firstIndex = 2

// bootstrap makes log and snapshots, and returns where the store is: the log begins behind the
// snapshot.
func bootstrap(cfg *Config, store string, id *Identity) (at query.Position, err error) {
	files := cfg.FS
	db, err := openAlone(cfg, store)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	logs, err := raftlog.Open(context.Background(), files.PathJoin(cfg.Dir, raftName), &raftlog.Options{FS: files})
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	snaps, err := snapshots.Open(files.PathJoin(cfg.Dir, snapshotsName), &snapshots.Options{FS: files})
	if err != nil {
		return at, err
	}
	defer snaps.Close()
	first := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: id.server(), Address: raft.ServerAddress(id.Raft)}}}
	return begin(db, logs, snaps, first, firstIndex, 1)
}

// begin has a log begin behind a snapshot of a store, which stands for an entry of it, with the
// members that there are then, and returns where the store is.
func begin(db *engine.DB, logs *raftlog.Log, snaps *snapshots.Store, members raft.Configuration, index, term uint64) (at query.Position, err error) {
	dir := snaps.Scratch()
	c, err := db.CheckpointTo(context.Background(), dir)
	if err != nil {
		return at, errors.Join(err, snaps.Discard(dir))
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, members, index, nil)
	if err != nil {
		return at, errors.Join(err, snaps.Discard(dir))
	}
	s, ok := sink.(*snapshots.Sink)
	if !ok {
		return at, query.Errorf(query.CodeInternal, "a snapshot goes to %T", sink)
	}
	if err := s.Adopt(context.Background(), dir, snapshots.Checkpoint(c)); err != nil {
		return at, errors.Join(err, s.Cancel(), snaps.Discard(dir))
	}
	if err := s.Close(); err != nil {
		return at, err
	}
	if err := logs.SetUint64([]byte(raftTermKey), term); err != nil {
		return at, err
	}
	return c.Position, logs.Installed(index, term)
}

// raftTermKey is where Raft keeps its term.
const raftTermKey = "CurrentTerm"
