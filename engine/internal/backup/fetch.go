package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// Fetch writes the files of a backup into a folder, which is empty. Each piece is verified
// before it is written. It returns the bytes that were fetched.
func (t *Target) Fetch(ctx context.Context, m *Manifest, files vfs.FS, dir string, progress query.BackupProgress) (int64, error) {
	told := &tally{tell: progress, total: m.Bytes}
	var fetched atomic.Int64
	err := each(ctx, len(m.Entries), func(ctx context.Context, c *codec, i int) (err error) {
		e := &m.Entries[i]
		path := files.PathJoin(dir, e.Name)
		f, err := files.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		for k, h := range e.Pieces {
			piece, n, err := t.piece(ctx, c, h, e.pieceSize(k))
			if err != nil {
				return fmt.Errorf("restore %s: %w", e.Name, err)
			}
			if _, err := f.Write(piece); err != nil {
				return fmt.Errorf("restore: write %s: %w", path, err)
			}
			fetched.Add(n)
			told.add(len(piece), e.Name)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("restore: sync %s: %w", path, err)
		}
		return nil
	})
	return fetched.Load(), err
}

// piece fetches a piece and verifies it. It is valid until the codec's next call.
func (t *Target) piece(ctx context.Context, c *codec, h Hash, size int) (piece []byte, fetched int64, err error) {
	object, err := t.Get(ctx, objectName(h), maxObject)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, query.Errorf(query.CodeCorrupt, "object %s is missing", h)
	}
	if err != nil {
		return nil, 0, err
	}
	piece, err = c.decode(h, size, object)
	return piece, int64(len(object)), err
}
