package snapshots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

const (
	metaFile = "META"
	dataDir  = "data"
	tmpDir   = "tmp"
)

// Options are those of a [Store]. nil is good.
type Options struct {
	// FS is the file system of the snapshots and of the stores that they are made of and
	// installed to. nil: the machine's.
	FS vfs.FS
	// SendRate is how many bytes a second each snapshot is sent at, at most; 0: as fast as it
	// is taken. Raft gives up a snapshot that takes longer than its transport's timeout for
	// each 256 KiB, so less than some MiB a second is of no use.
	SendRate int64
	// AcceptDamaged has a newest snapshot that is damaged count as none, instead of failing
	// the opening; it stays where it is. It is for who begins a new cluster of the store and
	// the log beside it, and not for a node that is to go on.
	AcceptDamaged bool
	// Leave is how many bytes a snapshot that is received must leave on the disk: else whatever
	// is written next has no room. 0: it may fill it.
	Leave uint64
	// Failed is told what has failed without consequence for the caller: an old snapshot that
	// could not be deleted (it is tried again with the next one). From any goroutine. May be nil.
	Failed func(err error)
}

// Store is a directory of snapshots, a [raft.SnapshotStore]. Safe for concurrent use.
type Store struct {
	fs  vfs.FS
	dir string
	opt Options

	mu     sync.Mutex
	kept   map[string]*kept
	doomed []string // directories that could not be deleted
	number uint64   // the highest that was given to a snapshot
	moving map[*transfer]struct{}
	needed time.Time // until then the log behind what was sent
	closed bool
	stop   chan struct{} // closed by Close
}

// kept is a finished snapshot.
type kept struct {
	name
	meta     *Meta
	text     []byte // of META
	readers  int
	doomed   bool // it goes with its last reader; nobody gets it any more
	verified bool // all bytes were read since the process began, and are what they must be
}

// name is what the id of a snapshot says.
type name struct{ term, index, number uint64 }

func (n name) String() string { return fmt.Sprintf("%d-%d-%d", n.term, n.index, n.number) }

func (n name) compare(o name) int {
	return cmp.Or(cmp.Compare(n.term, o.term), cmp.Compare(n.index, o.index), cmp.Compare(n.number, o.number))
}

func parseID(id string) (n name, ok bool) {
	parts := strings.Split(id, "-")
	if len(parts) != 3 {
		return n, false
	}
	for i, to := range []*uint64{&n.term, &n.index, &n.number} {
		var err error
		if *to, err = strconv.ParseUint(parts[i], 10, 64); err != nil {
			return n, false
		}
	}
	return n, n.String() == id
}

// Open opens the directory of snapshots, which nobody else may have open, and makes it if it
// is not there. What was not finished is deleted, and all snapshots but the newest one. If
// that is damaged it is an error, [query.CodeCorrupt]: an older one is not taken for it,
// because the log behind that may be gone.
func Open(dir string, o *Options) (*Store, error) {
	s := &Store{dir: dir, kept: map[string]*kept{}, moving: map[*transfer]struct{}{}, stop: make(chan struct{})}
	if o != nil {
		s.opt = *o
	}
	if s.fs = s.opt.FS; s.fs == nil {
		s.fs = vfs.Default
	}
	return s, about(s.open(), "snapshots in %s", dir)
}

func (s *Store) open() error {
	if s.opt.SendRate < 0 {
		return query.Errorf(query.CodeInvalid, "a rate of %d bytes a second", s.opt.SendRate)
	}
	tmp := s.fs.PathJoin(s.dir, tmpDir)
	if err := s.fs.RemoveAll(tmp); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := errors.Join(syncDir(s.fs, s.dir), syncDir(s.fs, s.fs.PathDir(s.dir))); err != nil {
		return err
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	var all []name
	for _, id := range names {
		if n, ok := parseID(id); ok {
			all = append(all, n)
			s.number = max(s.number, n.number)
		}
	}
	if len(all) == 0 {
		return nil
	}
	newest := slices.MaxFunc(all, name.compare)
	k, err := s.load(newest)
	switch {
	case err == nil:
		s.kept[newest.String()] = k
	case !s.opt.AcceptDamaged || !errors.Is(err, &query.Error{Code: query.CodeCorrupt}):
		return about(err, "snapshot %s", newest)
	}
	for _, n := range all {
		if n != newest {
			s.doomed = append(s.doomed, n.String())
		}
	}
	s.sweep()
	return nil
}

// wayOut is what to do about a newest snapshot that is damaged.
const wayOut = "what the node needs to start from is damaged: remove the node from the cluster, empty its directory and have it join again; if there is no other, kanta cluster recover begins with its store"

// load reads what a finished snapshot is, and whether its files are there.
func (s *Store) load(n name) (*kept, error) {
	damaged := func(format string, args ...any) error {
		return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf(format, args...), Hint: wayOut}
	}
	dir := s.fs.PathJoin(s.dir, n.String())
	text, err := s.readMeta(s.fs.PathJoin(dir, metaFile))
	if err != nil {
		return nil, err
	}
	m, err := parseMeta(text)
	if errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		return nil, err
	}
	if err != nil {
		return nil, damaged("the file %s is damaged: %v", metaFile, err)
	}
	if m.Index != n.index || m.Term != n.term {
		return nil, damaged("it says that it is of index %d, term %d", m.Index, m.Term)
	}
	for i := range m.Files {
		f := &m.Files[i]
		info, err := s.fs.Stat(path(s.fs, s.fs.PathJoin(dir, dataDir), f.Name))
		if err != nil && !isNotExist(err) {
			return nil, err
		}
		if err != nil || info.IsDir() || info.Size() != f.Size {
			return nil, damaged("the file %s is not there, or has not its %d bytes", f.Name, f.Size)
		}
	}
	return &kept{name: n, meta: m, text: text}, nil
}

func (s *Store) readMeta(path string) (text []byte, err error) {
	_, err = read(context.Background(), s.fs, path, MaxMeta+1, func(p []byte) error {
		text = append(text, p...)
		return nil
	})
	if isNotExist(err) {
		return nil, &query.Error{Code: query.CodeCorrupt, Message: "the file " + metaFile + " is not there", Hint: wayOut}
	}
	return text, err
}

// List returns the snapshots, the newest first. There is one, or none, but for the moment
// before the older one is deleted.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, k := range s.sorted() {
		out = append(out, k.raft())
	}
	return out, nil
}

// sorted returns the snapshots that can be had, the newest first; s.mu is held.
func (s *Store) sorted() (all []*kept) {
	for _, k := range s.kept {
		if !k.doomed {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b *kept) int { return b.compare(a.name) })
	return all
}

// Newest returns what the newest snapshot is, and its id; nil if there is none. It is not to
// be changed.
func (s *Store) Newest() (m *Meta, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.sorted(); len(all) > 0 {
		return all[0].meta, all[0].String()
	}
	return nil, ""
}

// raft returns what raft knows of a snapshot. Its size is that of the stream.
func (k *kept) raft() *raft.SnapshotMeta {
	c := raft.Configuration{Servers: slices.Clone(k.meta.Configuration.Servers)}
	return &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: k.String(), Index: k.index, Term: k.term,
		Configuration: c, ConfigurationIndex: k.meta.ConfigurationIndex, Size: k.meta.streamBytes(len(k.text))}
}

// Open opens a snapshot: what it returns is a [*Reader], until whose Close it is not deleted.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	k, err := s.take(id)
	if err != nil {
		return nil, nil, err
	}
	return k.raft(), newReader(s, k), nil
}

// take has a snapshot stay until it is given back.
func (s *Store) take(id string) (*kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[id]
	switch {
	case s.closed:
		return nil, errClosed
	case k == nil || k.doomed:
		return nil, query.Errorf(query.CodeUnknownName, "there is no snapshot %s", id)
	}
	k.readers++
	return k, nil
}

// errClosed is what is done after Close.
var errClosed = query.Errorf(query.CodeClosed, "the snapshots were closed")

// give gives back what take took.
func (s *Store) give(k *kept) {
	s.mu.Lock()
	k.readers--
	s.gone(k)
	s.mu.Unlock()
	s.sweep()
}

// doom has a snapshot deleted once nobody reads it; s.mu is held. The caller sweeps.
func (s *Store) doom(k *kept) {
	k.doomed = true
	s.gone(k)
}

func (s *Store) gone(k *kept) {
	if id := k.String(); k.doomed && k.readers == 0 && s.kept[id] == k {
		delete(s.kept, id) // nobody finds it from here on
		s.doomed = append(s.doomed, id)
	}
}

// sweep deletes what is to be deleted, durably: what is told to be gone does not come back.
func (s *Store) sweep() {
	s.mu.Lock()
	ids := s.doomed
	s.doomed = nil
	s.mu.Unlock()
	for _, id := range ids {
		if err := s.remove(id); err != nil {
			s.mu.Lock()
			s.doomed = append(s.doomed, id)
			s.mu.Unlock()
			if s.opt.Failed != nil {
				s.opt.Failed(about(err, "delete snapshot %s in %s", id, s.dir))
			}
		}
	}
}

// remove deletes a directory. A half of one may be left after a power cut: it is not the
// newest snapshot, and goes at the next opening.
func (s *Store) remove(id string) error {
	return errors.Join(s.fs.RemoveAll(s.fs.PathJoin(s.dir, id)), syncDir(s.fs, s.dir))
}

// Oldest deletes what is not needed and returns the least index that a snapshot on the disk
// stands for, 0 if there is none. An older one that is being read, or could not be deleted
// (which is tried again), counts: whoever has erased something by a log entry, and then had a
// snapshot made, calls it until it is not below that entry any more.
func (s *Store) Oldest() (index uint64) {
	s.mu.Lock()
	for i, k := range s.sorted() {
		if i > 0 { // one that came when there was a newer one
			s.doom(k)
		}
	}
	s.mu.Unlock()
	s.sweep()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []uint64
	for _, k := range s.kept {
		all = append(all, k.index)
	}
	for _, id := range s.doomed {
		if n, ok := parseID(id); ok {
			all = append(all, n.index)
		}
	}
	if len(all) == 0 {
		return 0
	}
	return slices.Min(all)
}

// Alone deletes what is not needed and reports whether a snapshot is the only one on the disk. Older ones that are being
// read, or could not be deleted (which is tried again), are there still; whoever has erased something, and then had a snapshot
// made, calls it until they are gone. [Store.Oldest] does not tell two of the same index from each other.
func (s *Store) Alone(id string) bool {
	s.Oldest()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept) == 1 && s.kept[id] != nil && len(s.doomed) == 0
}

// Scratch returns the path of a new directory for a checkpoint that [Sink.Adopt] is to take.
// It is not made, and what is there is deleted at the next opening. Nothing else may be next to
// it but what has its name and a suffix.
func (s *Store) Scratch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	return s.fs.PathJoin(s.dir, tmpDir, fmt.Sprintf("checkpoint-%d", s.number))
}

// Discard deletes what is in a path of Scratch; it need not be there.
func (s *Store) Discard(dir string) error {
	return about(s.fs.RemoveAll(dir), "delete %s", dir)
}

// Close ends what is being sent and received, which fails. Snapshots that are being read stay.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
}

func (s *Store) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
