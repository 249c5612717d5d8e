package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// Sink takes a snapshot: as a directory ([Sink.Adopt]) that was made here, or as the stream of
// a Reader elsewhere, by Write. Nobody sees it before Close returns nil; after anything else
// nothing is left of it. For one goroutine.
type Sink struct {
	store   *Store
	name    name
	conf    raft.Configuration
	at      uint64 // of the configuration
	dec     *decoder
	meta    *Meta // once all of the files are there
	text    []byte
	made    bool // the directory
	dirs    bool // those in it were made here, and have to be synced
	out     *newFile
	left    *leftOut // where files are taken from that are not sent; nil: all are
	moving  *transfer
	adopted bool
	ended   bool
	err     error
}

// Create begins a snapshot that stands for the log up to an entry. The caller ends it with
// Close or Cancel.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, query.Errorf(query.CodeInvalid, "raft's snapshots of version %d are not supported", version)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.number++
	k := &Sink{store: s, name: name{term, index, s.number}, conf: raft.Configuration{Servers: slices.Clone(c.Servers)}, at: at}
	k.dec = newDecoder(k)
	return k, nil
}

// ID returns the id that the snapshot has when it is finished.
func (k *Sink) ID() string { return k.name.String() }

func (k *Sink) dir() string { return k.store.fs.PathJoin(k.store.dir, tmpDir, k.ID()) }

func (k *Sink) data() string { return k.store.fs.PathJoin(k.dir(), dataDir) }

// make makes the directory.
func (k *Sink) make() error {
	k.made = true
	return k.store.fs.MkdirAll(k.dir(), 0o755)
}

// Adopt takes a directory, which must be durable, for the snapshot's files: it is moved, not
// copied, from a path of [Store.Scratch]. Of files that the newest snapshot has as well, by
// hard links, the checksums are taken from there and not read again: so what has been damaged
// since is found when it is read, and not given a new checksum. c is what the directory has.
// It must have all that the log has up to the index that raft gave to Create; then it may say
// less of itself, or more.
func (k *Sink) Adopt(ctx context.Context, dir string, c Checkpoint) error {
	if k.ended || k.made {
		return query.Errorf(query.CodeInvalid, "snapshot %s has its files", k.ID())
	}
	k.adopted = true
	k.err = about(k.adopt(ctx, dir, c), "snapshot %s of %s", k.ID(), dir)
	return k.err
}

func (k *Sink) adopt(ctx context.Context, dir string, c Checkpoint) error {
	s := k.store
	if err := k.make(); err != nil {
		return err
	}
	if err := s.fs.Rename(dir, k.data()); err != nil {
		return err
	}
	files, err := walk(s.fs, k.data())
	if err != nil {
		return err
	}
	m := &Meta{Index: k.name.index, Term: k.name.term, Configuration: k.conf, ConfigurationIndex: k.at, Checkpoint: c, Files: files}
	if err := m.check(); err != nil {
		return err
	}
	k.moving = s.begin(Making, k.ID())
	k.moving.total.Store(m.Bytes())
	if err := k.sums(ctx, m.Files); err != nil {
		return err
	}
	k.meta, k.text = m, m.append(nil)
	if len(k.text) > MaxMeta {
		return limit("a description of %d bytes, at most %d", len(k.text), MaxMeta)
	}
	return nil
}

// sums has the checksums of files.
func (k *Sink) sums(ctx context.Context, files []File) error {
	s := k.store
	known := map[string]*File{}
	var from string
	if _, id := s.Newest(); id != "" {
		if before, err := s.take(id); err == nil {
			defer s.give(before)
			from = s.fs.PathJoin(s.dir, id, dataDir)
			for i := range before.meta.Files {
				known[before.meta.Files[i].Name] = &before.meta.Files[i]
			}
		}
	}
	for i := range files {
		f := &files[i]
		name := path(s.fs, k.data(), f.Name)
		linked := false
		if o := known[f.Name]; o != nil && o.Size == f.Size && sealed(f.Name) {
			var err error
			if linked, err = sameFile(s.fs, name, path(s.fs, from, f.Name)); err != nil {
				return err
			}
			f.Sum = o.Sum
		}
		if !linked {
			var err error
			if f.Sum, err = digest(ctx, s.fs, name, f.Size); err != nil {
				return about(err, "file %s", f.Name)
			}
		}
		k.moving.done.Add(f.Size)
	}
	return nil
}

// sameFile reports whether two files of a name and a size are links to one: then they were
// changed at one time, to the nanosecond. Two that are not would have to be written in one
// tick of the clock, by two nodes or two lives of one.
func sameFile(files vfs.FS, a, b string) (bool, error) {
	x, err := files.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := files.Stat(b)
	if err != nil {
		return false, err
	}
	return x.ModTime().Equal(y.ModTime()), nil
}

// Write takes the next bytes of a stream. Each piece is verified before it is written, and
// what the stream has is what raft said to Create.
func (k *Sink) Write(p []byte) (int, error) {
	switch {
	case k.err != nil:
		return 0, k.err
	case k.ended || k.adopted:
		return 0, query.Errorf(query.CodeInvalid, "snapshot %s has its files", k.ID())
	case k.store.ended():
		k.err = errClosed
		return 0, k.err
	}
	if k.moving == nil {
		k.moving = k.store.begin(Receiving, k.ID())
	}
	n, err := k.dec.Write(p)
	k.moving.done.Add(int64(n))
	k.err = about(err, "receive snapshot %s", k.ID())
	return n, k.err
}

// begin makes room for what a stream has.
func (k *Sink) begin(m *Meta, text, without []byte) (err error) {
	if m.Index != k.name.index || m.Term != k.name.term || m.ConfigurationIndex != k.at || !slices.Equal(m.Configuration.Servers, k.conf.Servers) {
		return corrupt("it is another snapshot than raft said, of index %d, term %d", m.Index, m.Term)
	}
	fs, room, size := k.store.fs, m.Bytes(), m.streamBytes(len(text))
	if without != nil {
		if k.left, err = k.store.borrow(); err != nil {
			return err
		}
		room, size = m.deltaBytes(0, without), m.deltaBytes(len(text), without)
	}
	if use, err := fs.GetDiskUsage(k.store.dir); err == nil && use.TotalBytes > 0 && uint64(room)+k.store.opt.Leave > use.AvailBytes {
		return &query.Error{Code: query.CodeIO, Message: fmt.Sprintf("it has %d bytes, and there is room for %d beside %d that must stay free", room, use.AvailBytes-min(use.AvailBytes, k.store.opt.Leave), k.store.opt.Leave), Hint: "make room on the disk of " + k.store.dir}
	}
	k.moving.total.Store(size)
	k.meta, k.text, k.dirs = m, text, true
	if err := k.make(); err != nil {
		return err
	}
	return makeDirs(fs, k.data(), m.Files)
}

// piece writes a piece of a file.
func (k *Sink) piece(file int, data []byte, last bool) (err error) {
	f := &k.meta.Files[file]
	if k.out == nil {
		if k.out, err = create(k.store.fs, path(k.store.fs, k.data(), f.Name)); err != nil {
			return err
		}
	}
	if err := k.out.write(data); err != nil {
		return err
	}
	if last {
		out := k.out
		k.out = nil
		return about(out.finish(f.Sum), "file %s", f.Name)
	}
	return nil
}

// Close finishes the snapshot: when it returns nil it is durable, and those before it are
// deleted. Called again it returns what it has returned before.
func (k *Sink) Close() error {
	if k.ended {
		return k.err
	}
	if k.err == nil && !k.adopted {
		if k.err = k.dec.finish(); k.err == nil {
			k.err = k.have()
		}
		k.err = about(k.err, "receive snapshot %s", k.ID())
	}
	if k.err == nil {
		k.err = about(k.publish(), "finish snapshot %s", k.ID())
	}
	if k.err != nil {
		k.err = errors.Join(k.err, k.drop())
		return k.err
	}
	k.end()
	k.store.add(&kept{name: k.name, meta: k.meta, text: k.text, verified: true})
	return nil
}

// Cancel drops the snapshot, if it is not finished.
func (k *Sink) Cancel() error {
	if k.ended {
		return nil
	}
	if k.err == nil {
		k.err = query.Errorf(query.CodeClosed, "snapshot %s was given up", k.ID())
	}
	return k.drop()
}

func (k *Sink) end() {
	k.ended = true
	if k.left != nil {
		k.store.give(k.left.from)
		k.left = nil
	}
	if k.moving != nil {
		k.store.end(k.moving)
	}
}

// drop leaves nothing.
func (k *Sink) drop() (err error) {
	if k.out != nil {
		err, k.out = k.out.file.Close(), nil
	}
	if k.made {
		err = errors.Join(err, k.store.fs.RemoveAll(k.dir()))
	}
	k.end()
	return about(err, "drop snapshot %s", k.ID())
}

// publish makes all of it durable, then gives it its name.
func (k *Sink) publish() error {
	s := k.store
	if k.dirs {
		if err := syncDirs(s.fs, k.data(), k.meta.Files); err != nil {
			return err
		}
	}
	f, err := s.fs.Create(s.fs.PathJoin(k.dir(), metaFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(slices.Clone(k.text)) // which Write may change
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(s.fs, k.dir())); err != nil {
		return err
	}
	to := s.fs.PathJoin(s.dir, k.ID())
	if err := s.fs.Rename(k.dir(), to); err != nil {
		return err
	}
	if err := errors.Join(syncDir(s.fs, s.dir), syncDir(s.fs, s.fs.PathJoin(s.dir, tmpDir))); err != nil {
		return errors.Join(err, s.fs.Rename(to, k.dir())) // to be dropped; if it stays, it is whole
	}
	return nil
}

// add has a finished snapshot be seen, and the older ones go.
func (s *Store) add(k *kept) {
	s.mu.Lock()
	s.kept[k.String()] = k
	for _, o := range s.kept {
		if o.compare(k.name) < 0 {
			s.doom(o)
		}
	}
	s.mu.Unlock()
	s.sweep()
}
