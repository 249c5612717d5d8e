package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// with asks one question of the current state.
func with[T any](ctx context.Context, db *DB, f func(n *snapshot) (T, error)) (T, error) {
	n, err := db.snapshot(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer n.Close()
	return f(n)
}

// read is with for what reads data itself, not by a method of the snapshot.
func read[T any](ctx context.Context, db *DB, f func(n *snapshot) (T, error)) (T, error) {
	return with(ctx, db, func(n *snapshot) (T, error) {
		release, err := n.use()
		if err != nil {
			var none T
			return none, err
		}
		defer release()
		return f(n)
	})
}

// ID returns the id of the store, to which bitmaps are bound. It never changes.
func (db *DB) ID() string { return db.kv.ID }

// Received returns when the last record was received, which is what retention is counted from:
// the Unix epoch in a store without one. It costs no more than to read a variable.
func (db *DB) Received() time.Time { return time.UnixMilli(db.current.Load().Received).UTC() }

// Schema returns the current schema.
func (db *DB) Schema(ctx context.Context) (*schema.Schema, error) {
	return with(ctx, db, func(n *snapshot) (*schema.Schema, error) { return n.Schema(ctx) })
}

// Count counts the members of an expression.
func (db *DB) Count(ctx context.Context, expr string, o *query.Options) (query.Count, error) {
	return with(ctx, db, func(n *snapshot) (query.Count, error) { return n.Count(ctx, expr, o) })
}

// Bitmap returns the members as ordinals, bound to this store and epoch.
func (db *DB) Bitmap(ctx context.Context, expr string, o *query.Options) (query.Bitmap, error) {
	return with(ctx, db, func(n *snapshot) (query.Bitmap, error) { return n.Bitmap(ctx, expr, o) })
}

// Members lists the members of an expression. Read Rows to the end or break out of it:
// the state is held until then, at most for [Options.SnapshotMaxAge].
func (db *DB) Members(ctx context.Context, expr string, o *query.MembersOptions) (query.Members, error) {
	return db.listing(ctx, func(n *snapshot) (query.Members, error) { return n.Members(ctx, expr, o) })
}

// listing holds a snapshot until its listing has been read to the end.
func (db *DB) listing(ctx context.Context, list func(n *snapshot) (query.Members, error)) (query.Members, error) {
	n, err := db.snapshot(ctx)
	if err != nil {
		return query.Members{}, err
	}
	m, err := list(n)
	if err != nil {
		_ = n.Close() // it holds nothing but memory
		return m, err
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = n.Close() }) }
	timer := time.AfterFunc(db.opt.SnapshotMaxAge, end)
	rows := m.Rows
	m.Rows = func(yield func(query.Member, error) bool) {
		defer end()
		defer timer.Stop()
		rows(yield)
	}
	return m, nil
}

// Breakdown counts the members of an expression by the values of an attribute.
func (db *DB) Breakdown(ctx context.Context, expr, attribute string, o *query.BreakdownOptions) (query.Breakdown, error) {
	return with(ctx, db, func(n *snapshot) (query.Breakdown, error) { return n.Breakdown(ctx, expr, attribute, o) })
}

// Profile returns all that is known of the profile with a key.
func (db *DB) Profile(ctx context.Context, key string, o *query.ProfileOptions) (query.Profile, error) {
	return with(ctx, db, func(n *snapshot) (query.Profile, error) { return n.Profile(ctx, key, o) })
}

// ProfileBy returns the profile that has a value of a unique attribute.
func (db *DB) ProfileBy(ctx context.Context, attribute, value string, o *query.ProfileOptions) (query.Profile, error) {
	return with(ctx, db, func(n *snapshot) (query.Profile, error) { return n.ProfileBy(ctx, attribute, value, o) })
}

// Values lists the values of an attribute that begin with a prefix, with how many
// living profiles have each. limit 0 is 1,000.
func (db *DB) Values(ctx context.Context, attribute, prefix string, limit int) ([]query.ValueCount, error) {
	return with(ctx, db, func(n *snapshot) ([]query.ValueCount, error) { return n.Values(ctx, attribute, prefix, limit) })
}

// Plan counts and tells how: estimates, chunks and bytes read and skipped.
func (db *DB) Plan(ctx context.Context, expr string, o *query.Options) (query.Plan, error) {
	return with(ctx, db, func(n *snapshot) (query.Plan, error) { return n.Plan(ctx, expr, o) })
}

// Explain evaluates each part of an expression by itself over everybody.
func (db *DB) Explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error) {
	return with(ctx, db, func(n *snapshot) (query.Explanation, error) { return n.Explain(ctx, expr, o) })
}

// Lists lists the lists by name.
func (db *DB) Lists(ctx context.Context) ([]query.SavedList, error) {
	return with(ctx, db, func(n *snapshot) ([]query.SavedList, error) { return n.Lists(ctx) })
}

// Lists lists the lists by name.
func (n *snapshot) Lists(ctx context.Context) ([]query.SavedList, error) {
	release, err := n.use()
	if err != nil {
		return nil, err
	}
	defer release()
	var out []query.SavedList
	for _, name := range slices.Sorted(maps.Keys(n.s.lists)) {
		l := n.s.lists[name]
		in := &query.InList{Name: name, Code: l.code}
		people, err := n.countNode(ctx, in)
		if err != nil {
			return nil, err
		}
		e := query.SavedList{Name: name, Code: l.code, People: people, Saved: l.saved, Note: l.note}
		if n.policy != nil && n.policy.hides {
			e.Note = "" // it may name anything
		}
		if n.policy.allows(in, people, new(query.Answer)) != nil {
			e.People, e.Withheld = 0, true
		}
		out = append(out, e)
	}
	return out, nil
}

// maxQuarantinePage bounds a page of the quarantine.
const maxQuarantinePage = 10_000

// Quarantine lists quarantined rows with a number above after, oldest first; limit 0 is 1,000.
func (db *DB) Quarantine(ctx context.Context, after uint64, limit int) ([]query.QuarantinedRow, error) {
	if limit <= 0 {
		limit = 1000
	}
	limit = min(limit, maxQuarantinePage)
	return read(ctx, db, func(n *snapshot) ([]query.QuarantinedRow, error) {
		if err := db.known(); err != nil {
			return nil, err
		}
		var out []query.QuarantinedRow
		oldest := db.opt.Clock().UnixMilli() - quarantineMaxAge
		rows := keys.Span{Start: keys.Quarantine(max(after+1, n.s.badRows.first)), End: keys.Quarantine(n.s.badRows.next)}
		err := db.kv.Scan(ctx, rows, func(k, v []byte) (bool, error) {
			seq, _ := keys.ParseNumber(k)
			b, err := kv.Unseal(v)
			if err != nil {
				return false, err
			}
			row, received, err := readQuarantined(seq, b)
			if err != nil {
				return false, err
			}
			if row.Received = time.UnixMilli(received).UTC(); received >= oldest {
				out = append(out, row)
			}
			return len(out) < limit, nil
		})
		return out, err
	})
}
