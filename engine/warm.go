package engine

import (
	"context"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Limits of reading ahead.
const (
	warmFrom  = 1 << 20 // bytes of keys from which on it is worth while: fewer are read in a few milliseconds
	warmShare = 8       // of the memory budget the keys take one part at most, or they are not read ahead
	warmPause = 3       // times as long as it reads it pauses: whoever asks meanwhile has the disk and the cores
	warmPages = 16      // of the key table that are read between two pauses
)

// warm reads what finds profiles by their keys: else the first batches would read it, in
// random order, a block for each of their first rows (with 10 million profiles 0.7 s of
// work; at a quarter of a core this is done in 3 s). It ends with ctx, or when all is read.
// An error is for those to find who need what cannot be read.
func (db *DB) warm(ctx context.Context) {
	s := db.current.Load()
	size, units := int64(0), s.Units[schema.KeyAttr]
	for _, u := range units {
		if u != nil {
			size += u.Columns
		}
	}
	if size < warmFrom || size > db.opt.Memory/warmShare {
		return
	}
	x := s.Indexes[schema.KeyAttr]
	pages := x.Static.Pages()
	if 8*int64(x.Entries) > db.opt.Memory/indexShare {
		pages = 0
	}
	for page := 0; page < pages; page += warmPages {
		if !db.warmStep(ctx, func(s *state) error { return s.Indexes[schema.KeyAttr].Static.Load(page, warmPages) }) {
			return
		}
	}
	for shard := range units {
		for ord := 0; ord < bitmap.ShardSize; ord += base.BlockSize {
			if !db.warmStep(ctx, func(s *state) error {
				u := s.Units[schema.KeyAttr][shard]
				if u == nil {
					return nil
				}
				_, err := u.Strings(ord>>bitmap.ChunkBits, uint16(ord))
				return err
			}) {
				return
			}
		}
	}
}

// warmStep reads a piece of the state there is now, and pauses. It reports whether to go on.
func (db *DB) warmStep(ctx context.Context, read func(s *state) error) bool {
	start := time.Now()
	s := db.acquire()
	err := read(s)
	s.era.release()
	if err != nil {
		return false
	}
	pause := time.NewTimer(warmPause * time.Since(start))
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
		return true
	}
}
