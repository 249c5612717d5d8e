package engine

import (
	"context"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
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
	if err := n.showsPeople(); err != nil {
		return query.Why{}, err
	}
	release, err := n.useFor(&o.Options)
	if err != nil {
		return query.Why{}, err
	}
	defer release()
	start := time.Now()
	q := &whyQuestion{n: n, text: expr, memory: n.db.cache.Question(o.Memory), past: n.past(&o.Options), acts: map[schema.EventID][]query.Act{}}
	if q.ordinal, err = n.ordinal(ctx, o.By, key); err != nil {
		return query.Why{}, err
	}
	p, err := q.move(ctx, n.db.now(&o.Options))
	if err != nil {
		return query.Why{}, err
	}
	out := query.Why{Key: p.Key, Ordinal: q.ordinal, Answer: query.Answer{Position: n.s.pos, Now: q.env.Now, Current: n.current(&o.Options, q.expr.Reads())}}
	out.Current = union(out.Current, q.in.current)
	parts, err := n.plans.compiler.Parts(q.expr, n.s.catalog(), q.env)
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
	out.BytesRead, out.Elapsed = n.told(q.read+q.who.BytesRead()), time.Since(start)
	return out, nil
}

// whyQuestion is one call of Why.
type whyQuestion struct {
	n       *snapshot
	text    string
	memory  *base.Quota
	past    bool // it is about an instant before the last record
	ordinal uint32
	acts    map[schema.EventID][]query.Act
	read    uint64 // by the persons before who

	env  query.Env
	in   *reading
	expr *syntax.Expr
	who  *query.Person
}

// move makes the question one about an instant.
func (q *whyQuestion) move(ctx context.Context, now time.Time) (p query.Profile, err error) {
	q.env = query.Env{Now: now}
	if q.expr, err = q.n.plans.compile(q.text, q.n.s, q.env); err != nil {
		return p, err
	}
	var o *query.Options
	if q.past {
		o = &query.Options{Now: now}
	}
	q.in = q.n.readAt(o, now)
	q.in.takeFrom(q.memory)
	p, lists, err := query.ProfileOf(ctx, q.in.view, q.ordinal)
	if err != nil {
		return p, err
	}
	if q.who != nil {
		q.read += q.who.BytesRead()
	}
	q.read += p.BytesRead
	q.who = query.NewPerson(q.in.view, &p, q.n.known(lists), q.env)
	return p, q.in.usesOf(ctx, q.who, q.expr.Reads())
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
