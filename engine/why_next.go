package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// next evaluates the expression at all later instants at which it may change, until it
// does. Asked about the past, these are also the times at which an attribute with history
// changed; between two of them its value stays.
func (q *whyQuestion) next(ctx context.Context, is query.Verdict) (query.NextChange, error) {
	changes, err := q.changes(ctx)
	if err != nil {
		return query.NextChange{}, err
	}
	if len(changes) > syntax.MaxMoments {
		return query.NextChange{NotDerivable: "its attributes have changed too often since"}, nil
	}
	for _, t := range append(changes, math.MaxInt64) {
		next, found, err := q.nextBefore(ctx, is, t)
		if err != nil || found || t == math.MaxInt64 {
			return next, err
		}
		at := time.UnixMilli(t).UTC()
		if _, err = q.move(ctx, at); err != nil {
			return refusedFrom(at, err)
		}
		to, err := q.who.Judge(ctx, q.expr.Root)
		if err != nil || to != is {
			return query.NextChange{At: at, To: to}, err
		}
	}
	return query.NextChange{}, nil // not reached: the last t ends the loop
}

// refusedFrom is the change of an expression that does not compile with a later now.
func refusedFrom(at time.Time, err error) (query.NextChange, error) {
	var refused *query.Error
	if errors.As(err, &refused) && refused.Code == query.CodeType {
		return query.NextChange{At: at, Refused: refused.Message}, nil
	}
	return query.NextChange{}, err
}

// nextBefore evaluates the expression at all instants before end at which it may change
// while attributes stay as they are. It has found something if there is more to say than
// that nothing changes.
func (q *whyQuestion) nextBefore(ctx context.Context, is query.Verdict, end int64) (next query.NextChange, found bool, err error) {
	if !q.expr.ReadsNow {
		return next, false, nil
	}
	moments, err := q.n.plans.compiler.Moments(ctx, q.expr, syntax.Facts{Value: q.who.Value,
		Acts: func(id schema.EventID) ([]query.Act, error) { return q.actsOf(ctx, id) }}, q.env)
	var cannot *syntax.NotDerivable
	if errors.As(err, &cannot) {
		return query.NextChange{NotDerivable: cannot.Cause}, true, nil
	}
	if err != nil {
		return next, false, err
	}
	for _, t := range moments {
		if err := ctx.Err(); err != nil || t >= end {
			return next, false, err
		}
		at := time.UnixMilli(t).UTC()
		expr, err := q.n.plans.compile(q.text, q.n.s, query.Env{Now: at})
		if err != nil {
			next, err = refusedFrom(at, err)
			return next, true, err
		}
		q.who.Move(at)
		to, err := q.who.Judge(ctx, expr.Root)
		if err != nil || to != is {
			return query.NextChange{At: at, To: to}, true, err
		}
	}
	return next, false, nil
}

// changes returns the instants after now, in order, at which attributes with history that
// the expression reads changed. There are none if it is not asked about the past.
func (q *whyQuestion) changes(ctx context.Context) ([]int64, error) {
	if !q.past {
		return nil, nil
	}
	var out []int64
	ord := uint16(q.ordinal)
	within := bitmap.FromArray([]uint16{ord})
	cur := q.n.view(nil).NewCursor()
	defer cur.Close()
	for _, id := range q.expr.Reads().Attributes {
		a := q.n.s.Schema.ByID(id)
		if a == nil || !a.History {
			continue
		}
		scan := &query.EventScan{Event: a.Changes, From: q.env.Now.UnixMilli() + 1, To: schema.MaxTimestamp + 1, Times: true}
		err := cur.Events(scan, int(q.ordinal>>bitmap.ChunkBits), &within, func(b *query.EventBlock) error {
			for i, o := range b.Ords {
				if o == ord {
					out = append(out, b.Times[i])
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
