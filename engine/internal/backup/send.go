package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/query"
)

// Source is the files that a backup is made of. They do not change.
type Source struct {
	FS       vfs.FS
	Dir      string
	Skip     string                                       // the name of a file that does not count
	Verify   func(ctx context.Context, path string) error // verifies a file that the last backup does not have
	Progress query.BackupProgress                         // may be nil
}

// sending is the making of a backup.
type sending struct {
	*Source
	t      *Target
	m      *Manifest
	parent *Manifest // or nil
	tally  tally

	mu     sync.Mutex
	have   map[Hash]int64 // what the target has, or will have if nothing fails
	report query.BackupReport
}

// Send makes a backup of which head says what it is of, at the time it says. What the
// target has is not sent again: a backup that is interrupted goes on where it was when it is
// made again. The manifest comes last, so there is a whole backup or none.
func (t *Target) Send(ctx context.Context, head query.Backup, storeFormat uint64, src *Source) (report query.BackupReport, err error) {
	s := &sending{Source: src, t: t, m: &Manifest{Backup: head, StoreFormat: storeFormat}}
	s.m.Root, s.m.Files, s.m.Bytes = t.Root, 0, 0
	mark, err := t.begin(ctx, making, head.Store, head.Created)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, mark.end(ctx)) }()
	if err := s.place(ctx); err != nil {
		return report, err
	}
	if s.have, err = t.Objects(ctx); err != nil {
		return report, err
	}
	if err := s.files(); err != nil {
		return report, err
	}
	if err := each(ctx, len(s.m.Entries), s.file); err != nil {
		return report, err
	}
	text := s.m.Append(nil)
	if len(text) > maxManifest {
		return report, query.Errorf(query.CodeLimit, "the store is too large for a backup: its manifest would have %d bytes, at most %d", len(text), maxManifest)
	}
	if err := mark.held(ctx); err != nil {
		return report, err
	}
	s.report.Backup = s.m.Backup
	return s.report, t.Put(ctx, manifestName(s.m.Name), text)
}

// place gives the backup its name and finds its parent: the newest backup of the same store
// whose manifest can be read; of the others kanta backup verify tells.
func (s *sending) place(ctx context.Context) error {
	names, err := s.t.Names(ctx)
	if err != nil {
		return err
	}
	for s.m.Name = nameOf(s.m.Created, s.m.Position); slices.Contains(names, s.m.Name); s.m.Name = nameOf(s.m.Created, s.m.Position) {
		s.m.Created = s.m.Created.Add(time.Millisecond) // a clock that stands still
	}
	for _, name := range slices.Backward(names) {
		m, failed := s.t.Manifest(ctx, name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if failed == nil && m.Store == s.m.Store {
			s.parent, s.m.Parent = m, m.Name
			break
		}
	}
	return nil
}

// files notes which files there are.
func (s *sending) files() error {
	names, err := s.FS.List(s.Dir)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == s.Skip {
			continue
		}
		if !ValidFile(name) {
			return query.Errorf(query.CodeInternal, "backup: a store has no file %q", name)
		}
		info, err := s.FS.Stat(s.FS.PathJoin(s.Dir, name))
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		s.m.Entries = append(s.m.Entries, File{Name: name, Size: info.Size()})
		s.m.Files, s.m.Bytes = s.m.Files+1, s.m.Bytes+info.Size()
	}
	s.tally = tally{tell: s.Progress, total: s.m.Bytes}
	return nil
}

// file reads a file and sends what the target does not have of it.
func (s *sending) file(ctx context.Context, c *codec, i int) (err error) {
	e := &s.m.Entries[i]
	path := s.FS.PathJoin(s.Dir, e.Name)
	var before *File
	if s.parent != nil {
		before = s.parent.file(e.Name)
	}
	if before != nil && canary.Is("backup") { // what has changed in a file is not sent
		e.Size, e.Pieces = before.Size, before.Pieces
		return nil
	}
	if before == nil && immutable(e.Name) {
		if err := s.Verify(ctx, path); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	f, err := s.FS.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e.Pieces = make([]Hash, pieces(e.Size))
	if c.piece == nil {
		c.piece = make([]byte, PieceSize)
	}
	for k := range e.Pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := c.piece[:e.pieceSize(k)]
		if _, err := io.ReadFull(f, piece); err != nil {
			return fmt.Errorf("backup: read %s: %w", path, err)
		}
		e.Pieces[k] = sha256.Sum256(piece)
		if before != nil && before.Size == e.Size && immutable(e.Name) && before.Pieces[k] != e.Pieces[k] {
			return &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("backup: %s has changed since backup %s, and such a file never does", path, s.parent.Name),
				Hint: "the disk has damaged it: restore that backup"}
		}
		if err := s.send(ctx, c, e.Pieces[k], piece); err != nil {
			return err
		}
		s.tally.add(len(piece), e.Name)
	}
	return nil
}

// send sends a piece that the target does not have.
func (s *sending) send(ctx context.Context, c *codec, h Hash, piece []byte) error {
	s.mu.Lock()
	_, there := s.have[h]
	s.have[h] = 0
	s.mu.Unlock()
	if there {
		return nil
	}
	object := c.encode(piece)
	if err := s.t.Put(ctx, objectName(h), object); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.SentObjects++
	s.report.SentBytes += int64(len(object))
	s.report.SentRaw += int64(len(piece))
	return nil
}
