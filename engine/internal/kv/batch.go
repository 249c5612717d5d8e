package kv

import (
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/engine/internal/keys"
)

// Batch collects changes that become visible and durable together. The first error is
// kept and comes out of Commit. It belongs to one goroutine.
type Batch struct {
	b    *pebble.Batch
	halt *halt.Halt
	err  error
}

// NewBatch makes an empty batch; close it.
func (s *Store) NewBatch() *Batch { return &Batch{b: s.DB.NewBatch(), halt: s.halt} }

func (b *Batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Set sets a key.
func (b *Batch) Set(key, value []byte) { b.note(b.b.Set(key, value, nil)) }

// Delete deletes a key.
func (b *Batch) Delete(key []byte) { b.note(b.b.Delete(key, nil)) }

// DeleteRange deletes all keys of a span.
func (b *Batch) DeleteRange(s keys.Span) { b.note(b.b.DeleteRange(s.Start, s.End, nil)) }

// Empty reports that nothing would change.
func (b *Batch) Empty() bool { return b.b.Empty() }

// Commit makes the changes; with sync they are on disk when it returns.
func (b *Batch) Commit(sync bool) error {
	if b.err != nil {
		return b.err
	}
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	return b.halt.Guard(func() error { return b.b.Commit(o) })
}

// Close frees the batch, committed or not.
func (b *Batch) Close() error {
	if b.halt.Err() != nil {
		return nil // Pebble may be stuck in committing it
	}
	return b.b.Close()
}

// Excise deletes a span at once and for good, also for Pebble's own snapshots: nobody may
// read it any more. Unlike a range deletion it leaves no tombstone that would later lie
// across the spans of newer tables and make Pebble rewrite them.
func (s *Store) Excise(span keys.Span) error {
	if err := s.halt.Guard(func() error {
		return s.DB.Excise(context.Background(), pebble.KeyRange{Start: span.Start, End: span.End})
	}); err != nil {
		return fmt.Errorf("delete old data: %w", err)
	}
	return nil
}

// SyncLog makes everything committed so far durable.
func (s *Store) SyncLog() error {
	if err := s.halt.Guard(func() error { return s.DB.LogData(nil, pebble.Sync) }); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	return nil
}

// Metrics are what the store has written since it was opened, and what it takes of the
// memory, in bytes.
type Metrics struct {
	BlockCache, MemTables             int64
	WAL, Flushed, Compacted, Ingested int64
}

// Metrics returns the current figures.
func (s *Store) Metrics() Metrics {
	if s.halt.Err() != nil {
		return Metrics{} // Pebble may hold its locks for ever
	}
	m := s.DB.Metrics()
	total := m.Total() // its flushed bytes count the WAL and what was ingested again
	return Metrics{
		BlockCache: m.BlockCache.Size, MemTables: int64(m.MemTable.Size),
		WAL: int64(m.WAL.BytesWritten), Flushed: int64(total.TableBytesFlushed - m.WAL.BytesWritten - total.TableBytesIngested),
		Compacted: int64(total.TableBytesCompacted), Ingested: int64(total.TableBytesIngested),
	}
}

// Disk returns the bytes of the store's files: of all, and of these those of Pebble's log,
// of which some are empty and kept to be used again. The files are asked: Pebble's own
// figure counts tables that were ingested more than once.
func (s *Store) Disk() (all, log int64, err error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return 0, 0, fmt.Errorf("size of the store: %w", err)
	}
	for _, name := range names {
		info, err := s.fs.Stat(s.fs.PathJoin(s.dir, name))
		switch {
		case isNotExist(err): // deleted meanwhile
			continue
		case err != nil:
			return 0, 0, fmt.Errorf("size of the store: %w", err)
		}
		if all += info.Size(); strings.HasSuffix(name, ".log") {
			log += info.Size()
		}
	}
	return all, log, nil
}
