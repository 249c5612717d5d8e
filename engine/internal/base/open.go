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
	err = store.Leap(ctx, keys.Base(), func(k, v []byte) ([]byte, error) {
		id, kind, _, ok := keys.ParseUnit(k)
		if last := len(units) - 1; ok && last >= 0 && units[last].ID.Attr == id.Attr && units[last].ID.Shard == id.Shard {
			older := keys.Span{Start: id.Span().Start, End: id.AfterShard()}
			old = append(old, older)
			return older.End, nil
		}
		if !ok || kind != keys.Manifest {
			return nil, query.Errorf(query.CodeCorrupt, "a base unit has no manifest")
		}
		u, err := OpenUnit(id, v, cache)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
		return id.Span().End, nil
	})
	return units, old, err
}

// Leftovers finds the parts, facts and runs of ids that no manifest names, which a crash
// kept from being deleted. It seeks once for each there is: that takes as long as all
// else of an opening together.
func Leftovers(ctx context.Context, store *kv.Store, units []*ActUnit, ids *IDs) ([]keys.Span, error) {
	known := map[string]bool{}
	for _, u := range units {
		for _, s := range u.Spans()[1:] {
			known[string(s.Start)] = true
		}
	}
	for _, r := range ids.Runs {
		known[string(r.ID.Span().Start)] = true
	}
	var left []keys.Span
	for _, in := range []struct {
		span   keys.Span
		object func(k []byte) (own keys.Span, ok bool) // whose key it is
	}{
		{keys.Parts(), func(k []byte) (keys.Span, bool) { p, _, _, ok := keys.ParsePart(k); return p.Span(), ok }},
		{keys.AllFacts(), func(k []byte) (keys.Span, bool) { f, _, _, ok := keys.ParseFacts(k); return f.Span(), ok }},
		{keys.Runs(), func(k []byte) (keys.Span, bool) { r, _, _, ok := keys.ParseRun(k); return r.Span(), ok }},
	} {
		err := store.Leap(ctx, in.span, func(k, _ []byte) ([]byte, error) {
			own, ok := in.object(k)
			if !ok {
				return nil, query.Errorf(query.CodeCorrupt, "a key among the parts, facts and ids of events is none")
			}
			if !known[string(own.Start)] {
				left = append(left, own)
			}
			return own.End, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}
