package base

import (
	"context"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// OpenAll finds the newest generation of every unit, and the spans of older ones, which
// a crash kept from being deleted. It seeks once per generation and reads manifests only.
func OpenAll(ctx context.Context, store *kv.Store, cache *Cache) (units []*Unit, old []keys.Span, err error) {
	span := keys.Base()
	for {
		var u *Unit
		err = store.Scan(ctx, span, func(k, v []byte) (bool, error) {
			id, kind, _, ok := keys.ParseUnit(k)
			if !ok || kind != keys.Manifest {
				return false, query.Errorf(query.CodeCorrupt, "a base unit has no manifest")
			}
			u, err = OpenUnit(id, v, cache)
			return false, err
		})
		if err != nil || u == nil {
			return units, old, err
		}
		units = append(units, u)
		span.Start = u.ID.AfterShard()
		if rest := (keys.Span{Start: u.ID.Span().End, End: span.Start}); len(rest.Start) > 0 {
			found := false
			err = store.Scan(ctx, rest, func(_, _ []byte) (bool, error) { found = true; return false, nil })
			if err != nil {
				return nil, nil, err
			}
			if found {
				old = append(old, rest)
			}
		}
	}
}
