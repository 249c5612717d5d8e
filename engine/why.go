package engine

import (
	"context"
	"errors"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// Why says, part by part, what an expression is for one profile and what that was decided
// on, and when it changes if nothing is written. The profile is named by key, or by a unique
// attribute.
func (db *DB) Why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error) {
	return with(ctx, db, func(n *snapshot) (query.Why, error) { return n.Why(ctx, key, expr, o) })
}

// Why says, part by part, what an expression is for one profile.
func (n *snapshot) Why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error) {
	if o == nil {
		o = &query.WhyOptions{}
	}
	release, err := n.use()
	if err != nil {
		return query.Why{}, err
	}
	defer release()
	start, v := time.Now(), n.view(&o.Options)
	q := &whyQuestion{n: n, text: expr, env: query.Env{Now: n.db.now(&o.Options)}, acts: map[schema.EventID][]query.Act{}}
	if q.expr, err = n.db.compile(expr, n.s, q.env); err != nil {
		return query.Why{}, err
	}
	ordinal, err := n.ordinal(ctx, o.By, key)
	if err != nil {
		return query.Why{}, err
	}
	p, lists, err := query.ProfileOf(ctx, v, ordinal)
	if err != nil {
		return query.Why{}, err
	}
	q.who = query.NewPerson(v, &p, lists, q.env)
	out := query.Why{Key: p.Key, Ordinal: ordinal, Answer: query.Answer{Position: n.s.pos, Now: q.env.Now, Current: n.current(&o.Options, query.UsesOf(q.expr.Root))}}
	parts, err := n.db.compiler.Parts(q.expr, n.s.catalog(), q.env)
	if err != nil {
		return out, err
	}
	if out.Root, err = q.part(ctx, parts); err != nil {
		return out, err
	}
	// The whole is what counts are made of, not what its parts add up to.
	if out.Root.Verdict, err = q.who.Judge(ctx, q.expr.Root); err != nil {
		return out, err
	}
	if out.Next, err = q.next(ctx, out.Root.Verdict); err != nil {
		return out, err
	}
	out.BytesRead, out.Elapsed = p.BytesRead+q.who.BytesRead(), time.Since(start)
	return out, nil
}

// whyQuestion is one call of Why.
type whyQuestion struct {
	n    *snapshot
	text string
	env  query.Env
	expr *syntax.Expr
	who  *query.Person
	acts map[schema.EventID][]query.Act
}

// part evaluates a part and all parts of it.
func (q *whyQuestion) part(ctx context.Context, p *syntax.Part) (out query.WhyPart, err error) {
	out.Text, out.Op = p.Text, p.Op
	if out.Verdict, err = q.who.Judge(ctx, p.Root); err != nil {
		return out, err
	}
	if p.Op == "" {
		out.Values, out.Lists, err = q.who.Basis(ctx, p.Root)
		return out, err
	}
	for _, x := range p.Of {
		one, err := q.part(ctx, x)
		if err != nil {
			return out, err
		}
		out.Of = append(out.Of, one)
	}
	return out, nil
}

// next evaluates the expression at all later instants at which it may change, until it does.
func (q *whyQuestion) next(ctx context.Context, is query.Verdict) (query.NextChange, error) {
	if !q.expr.ReadsNow {
		return query.NextChange{}, nil
	}
	moments, err := q.n.db.compiler.Moments(ctx, q.expr, syntax.Facts{Value: q.who.Value,
		Acts: func(id schema.EventID) ([]query.Act, error) { return q.actsOf(ctx, id) }}, q.env)
	var cannot *syntax.NotDerivable
	if errors.As(err, &cannot) {
		return query.NextChange{NotDerivable: cannot.Cause}, nil
	}
	if err != nil {
		return query.NextChange{}, err
	}
	for _, t := range moments {
		if err := ctx.Err(); err != nil {
			return query.NextChange{}, err
		}
		at := time.UnixMilli(t).UTC()
		expr, err := q.n.db.compile(q.text, q.n.s, query.Env{Now: at})
		var refused *query.Error
		if errors.As(err, &refused) && refused.Code == query.CodeType {
			return query.NextChange{At: at, Refused: refused.Message}, nil
		}
		if err != nil {
			return query.NextChange{}, err
		}
		q.who.Move(at)
		to, err := q.who.Judge(ctx, expr.Root)
		if err != nil || to != is {
			return query.NextChange{At: at, To: to}, err
		}
	}
	return query.NextChange{}, nil
}

// actsOf reads the person's events of a type once.
func (q *whyQuestion) actsOf(ctx context.Context, id schema.EventID) ([]query.Act, error) {
	if acts, ok := q.acts[id]; ok {
		return acts, nil
	}
	acts, all, err := q.who.Acts(ctx, id)
	if err != nil {
		return nil, err
	}
	if !all {
		return nil, &syntax.NotDerivable{Cause: "there are too many events of " + q.n.s.Schema.EventByID(id).Name + " to look at"}
	}
	q.acts[id] = acts
	return acts, nil
}
