//go:build !canary_position

package engine

import "github.com/kantadb/kanta/engine/internal/kv"

// storeState stores the position with the group that comes to it.
func (w *writer) storeState(group *kv.Batch) { w.writeState(group) }
