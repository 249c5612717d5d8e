package engine

import (
	"context"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/record"
)

// Contents calls f with everything that is in the files of a store: as it is, and tables
// row by row, and the batches of log records as they were before they were compressed.
func Contents(ctx context.Context, db *DB, overlap int, f func(file string, b []byte)) error {
	_, _, err := db.kv.Contents(ctx, overlap, func(file string, key, b []byte) error {
		f(file, b)
		if key == nil {
			return nil
		}
		f(file+", a key", key)
		if r, err := record.Decode(b); keys.IsRecord(key) && err == nil {
			payload, err := batch.Payload(r.Batch)
			f(file+", a batch", payload)
			return err
		}
		return nil
	})
	return err
}
