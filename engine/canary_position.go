//go:build canary_position

package engine

import "github.com/kantadb/kanta/engine/internal/kv"

// storeState is a planted bug, which make crash-canary must find: the position is stored
// beside the group, not with it.
func (w *writer) storeState(*kv.Batch) {
	b := w.db.kv.NewBatch()
	defer b.Close()
	w.writeState(b)
	_ = b.Commit(true)
}
