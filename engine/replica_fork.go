package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Fork makes another store of one that nobody has open: of a copy that [DB.CheckpointTo] has
// made, or of a replica's closed store. It is no replica any more, has an id of its own and
// begins a new epoch, as a restored one does: what is written to it is another history than
// what the others write. It returns the position that it has then. A crash in between may
// leave what is no store, so it is for a directory that is being made. Of the options it takes
// FS only; nil is good.
func Fork(dir string, o *Options) (query.Position, error) {
	files := vfs.Default
	if o != nil && o.FS != nil {
		files = o.FS
	}
	p, err := fork(files, dir)
	if err != nil {
		return query.Position{}, fmt.Errorf("make another store of %s: %w", dir, kv.Coded(err, "the disk"))
	}
	return p, nil
}

func fork(files vfs.FS, dir string) (p query.Position, err error) {
	c, err := readCheckpoint(files, dir)
	if err != nil {
		return p, err
	}
	old, err := kv.ReadIdentity(files, dir)
	if err != nil {
		return p, err
	}
	id := kv.Identity{Root: old.Root}
	if id.ID, err = kv.NewID(); err != nil {
		return p, err
	}
	p = query.Position{Epoch: max(c.Position.Epoch, kv.LastEpoch(files, dir)) + 1, Applied: c.Position.Applied}
	id.Epoch = p.Epoch
	return p, errors.Join(kv.CreateMark(files, dir, id.ID, markOf(p, c.Chain)), kv.WriteIdentity(files, dir, id))
}
