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
	warmFrom    = 1 << 20              // bytes of keys from which on it is worth while: fewer are read in a few milliseconds
	warmShare   = 8                    // of the memory budget the keys take one part at most, or they are not read ahead
	warmSpell   = 2 * time.Millisecond // for which it reads, and then pauses
	warmBatches = 8                    // whose ids are taken in at once: of a thousand each, in 2 ms
	warmPause   = 2                    // times as long: whoever asks meanwhile has the disk and the cores
)

// warming is the reading ahead under way.
type warming struct {
	stop func()
	done chan struct{} // closed when nothing is read ahead any more
}

// warmer reads ahead what finds profiles by their keys. Else the first batches would read
// it, in random order, almost a block for each row (with 10 million profiles 0.7 s of work
// in all; here it is done in 2 s).
type warmer struct {
	db    *DB
	ctx   context.Context
	began time.Time // the spell
}

// run ends with ctx, or when all is read. An error is for those to find who need what
// cannot be read.
func (w *warmer) run() {
	w.began = time.Now()
	if !w.takeIn() {
		return
	}
	s := w.db.current.Load()
	size, shards := int64(0), s.Units[schema.KeyAttr]
	for _, u := range shards {
		if u != nil {
			size += u.Columns
		}
	}
	if size < warmFrom || size > w.db.opt.Memory/warmShare {
		return
	}
	x := s.Indexes[schema.KeyAttr]
	if 8*int64(x.Entries) <= w.db.opt.Memory/indexShare {
		for page := range x.Static.Pages() {
			if !w.step(func(s *state) error { return s.Indexes[schema.KeyAttr].Static.Load(page) }) {
				return
			}
		}
	}
	for shard := range shards {
		for ord := 0; ord < bitmap.ShardSize; ord += base.BlockSize {
			if !w.step(func(s *state) error { return loadKeys(s.Units[schema.KeyAttr][shard], ord) }) {
				return
			}
		}
	}
}

// takeIn has the writer take in the ids of events that the opening has read from the log,
// some at a time.
func (w *warmer) takeIn() bool {
	for left := 1; left > 0; {
		ids := &w.db.writer.ids
		r := &request{ctx: w.ctx, done: make(chan struct{}), task: func() {
			ids.takeIn(warmBatches)
			left = len(ids.read)
		}}
		if w.db.send(r) != nil || r.err != nil || left > 0 && !w.pause() {
			return false
		}
	}
	return true
}

func loadKeys(u *base.Unit, ord int) error {
	if u == nil {
		return nil
	}
	_, err := u.Strings(ord>>bitmap.ChunkBits, uint16(ord))
	return err
}

// step reads a piece of the state there is now, and pauses if it is time. It reports
// whether to go on.
func (w *warmer) step(read func(s *state) error) bool {
	s := w.db.acquire()
	err := read(s)
	s.era.release()
	if err != nil || w.ctx.Err() != nil {
		return false
	}
	return w.pause()
}

// pause pauses if the spell has been long, and reports whether to go on.
func (w *warmer) pause() bool {
	spell := time.Since(w.began)
	if spell < warmSpell {
		return true
	}
	pause := time.NewTimer(warmPause * spell)
	defer pause.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-pause.C:
		w.began = time.Now()
		return true
	}
}
