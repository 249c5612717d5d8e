package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Rounds is how long a random test goes on: whole, or short in the short form of the tests, which
// is that of the race detector. What it makes ten times slower is mostly the test's own oracle,
// which runs by itself; what runs side by side does so in every round.
func Rounds(whole, short int) int {
	if testing.Short() {
		return short
	}
	return whole
}

// Residence says where a store keeps the values of one attribute in one chunk.
type Residence struct{ Base, Head bool }

// ResidenceOf tells, for tests, what a chunk of an attribute would be read from now: of the
// base, whether anybody has a value there; of the head, whether it has a word to say.
// schema.KeyAttr stands for who lives.
func ResidenceOf(db *DB, attr schema.AttrID, chunk int) (Residence, error) {
	s := db.acquire()
	defer s.era.release()
	if attr == schema.KeyAttr {
		attr = view.LiveAttr
	}
	var r Residence
	if u, shard := s.Units[attr], chunk/bitmap.ShardChunks; shard < len(u) && u[shard] != nil {
		f, err := u[shard].Exists()
		if err != nil {
			return r, err
		}
		r.Base = f != nil && !f.Chunk(chunk%bitmap.ShardChunks).IsEmpty()
	}
	var o head.Overlay
	h := s.Tiers.Of(attr)
	r.Head = o.Load(&h, chunk)
	return r, nil
}

// ApplyTogether applies batches and freezes the L0 in one commit group. It returns of how
// many attributes the base has units then, how many have an index, and what was refused.
func ApplyTogether(ctx context.Context, db *DB, batches ...batch.Batch) (units, indexes int, refused, err error) {
	release := make(chan struct{})
	if err := db.enqueue(&request{ctx: ctx, done: make(chan struct{}), task: func() { <-release }}); err != nil {
		return 0, 0, nil, err
	}
	var waits []func() (batch.Result, error)
	for _, b := range batches {
		wait, err := db.Submit(ctx, b)
		if err != nil {
			return 0, 0, nil, err
		}
		waits = append(waits, wait)
	}
	w := db.writer
	r := &request{ctx: ctx, done: make(chan struct{}), task: func() {
		w.freeze(w.pos.Applied + 1)
		w.publish()
	}}
	if err := db.enqueue(r); err != nil {
		return 0, 0, nil, err
	}
	close(release)
	for _, wait := range waits {
		_, err := wait()
		refused = errors.Join(refused, err)
	}
	<-r.done
	s := db.current.Load()
	return len(s.Units), len(s.Indexes), refused, r.err
}

// Taken reports that the writer has taken everything that was submitted.
func Taken(db *DB) bool { return len(db.writer.requests) == 0 }

// WriteVersion has a closed replica's store go by another cluster version, which may be one that nobody knows.
func WriteVersion(files vfs.FS, dir string, v query.ClusterVersion) error {
	store, err := kv.Open(dir, kv.Config{FS: files, Cache: checkpointCache, MemTable: checkpointCache, MustExist: true})
	if err != nil {
		return err
	}
	at, _, err := readEntry(store)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	at.version = v
	kb := store.NewBatch()
	kb.Set(keys.Meta(metaEntry), kv.Seal(nil, appendLogPlace(nil, store.ID, at)))
	return errors.Join(kb.Commit(true), kb.Close(), store.Close())
}
