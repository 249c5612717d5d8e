package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// groups reports whether numbers must be of several people.
func (u *underPolicy) groups() bool { return u != nil && u.minGroup > 1 }

func denied(format string, args ...any) error {
	return &query.Error{Code: query.CodeDenied, Message: "the policy of this snapshot " + fmt.Sprintf(format, args...)}
}

// showsPeople fails if nobody may be shown alone.
func (n *snapshot) showsPeople() error {
	if n.policy.groups() {
		return denied("allows only numbers of at least %d people, and shows nobody alone", n.policy.minGroup)
	}
	return nil
}

// showsTables fails if numbers must be of several people: what an analysis makes of them
// would have to be looked at table by table.
func (n *snapshot) showsTables() error {
	if n.policy.groups() {
		return denied("allows only numbers of at least %d people, and no analyses", n.policy.minGroup)
	}
	return nil
}

// showsEstimates fails if numbers that are made of everybody's may not be told.
func (n *snapshot) showsEstimates() error {
	if n.policy.groups() || n.policy != nil && n.policy.rows {
		return denied("does not allow plans and explanations, whose estimates are of everybody")
	}
	return nil
}

// allows fails if a count may not be told, and takes out of its answer what may not.
func (u *underPolicy) allows(root query.Node, count uint64, a *query.Answer) error {
	if !u.groups() {
		return nil
	}
	c, ok := root.(*query.Const)
	everybody := ok && c.Value == query.True
	if count < u.minGroup || u.living-count < u.minGroup && !everybody {
		return denied("does not tell of fewer than %d people, nor of all but fewer than %d", u.minGroup, u.minGroup)
	}
	if a.Errors = 0; !everybody && min(a.Unknown, u.living-count-a.Unknown) < u.minGroup {
		a.Unknown, a.Withheld = 0, true
	}
	return nil
}

// breakdown makes a breakdown, and withholds what may not be told.
func (n *snapshot) breakdown(ctx context.Context, q *question, by query.Field, o query.BreakdownOptions) (query.Breakdown, error) {
	if !n.policy.groups() {
		return query.BreakdownOf(ctx, q.view, q.p, by, o)
	}
	top := o.Top
	if top <= 0 {
		top = query.DefaultTop
	}
	o.Top = math.MaxInt // a row that is withheld may be among the others
	b, err := query.BreakdownOf(ctx, q.view, q.p, by, o)
	if err == nil {
		err = n.policy.allows(q.root, b.People, &b.Answer)
	}
	if err != nil {
		return query.Breakdown{}, err
	}
	n.policy.withhold(&b)
	if len(b.Rows) > top {
		for _, r := range b.Rows[top:] {
			b.Other += r.Count
		}
		b.OtherValues = uint64(len(b.Rows) - top)
		b.Rows = slices.Clone(b.Rows[:top])
	}
	return b, nil
}

// withhold takes out of a breakdown, which has all rows, those of too few people: those that
// a count would not tell either, and of sets those that all but a few of its people have. What
// is withheld adds up to what is told less the rows that are; so more goes with it, the
// smallest first, until it is of several rows and of enough people. Who has no element is in
// no such sum.
func (u *underPolicy) withhold(b *query.Breakdown) {
	set := b.Attribute.Kind == schema.Set
	summed := func(r *query.BreakdownRow) bool { return !set || !r.Value.IsAbsent() }
	gone, rows, sum := make([]bool, len(b.Rows)), 0, uint64(0)
	withhold := func(i int) {
		r := &b.Rows[i]
		if gone[i] = true; summed(r) {
			rows, sum = rows+1, sum+r.Count
		}
		b.Withheld++
	}
	for i := range b.Rows {
		n := b.Rows[i].Count
		others := b.People - n
		if n < u.minGroup || u.living-n < u.minGroup || set && others > 0 && others < u.minGroup {
			withhold(i)
		}
	}
	for i := len(b.Rows) - 1; i >= 0 && rows > 0 && (rows == 1 || sum < u.minGroup); i-- {
		if !gone[i] && summed(&b.Rows[i]) {
			withhold(i)
		}
	}
	i := -1
	b.Rows = slices.DeleteFunc(b.Rows, func(query.BreakdownRow) bool { i++; return gone[i] })
}

// valuesOfGroups is Values where numbers must be of several people.
func (n *snapshot) valuesOfGroups(ctx context.Context, a schema.Attribute, prefix string, limit int) ([]query.ValueCount, error) {
	v := n.plain(nil)
	everybody := &query.Const{Value: query.True}
	p, err := query.Prepare(ctx, everybody, v)
	if err != nil {
		return nil, err
	}
	b, err := query.BreakdownOf(ctx, v, p, query.Field{Attribute: a}, query.BreakdownOptions{Top: math.MaxInt})
	if err == nil {
		err = n.policy.allows(everybody, b.People, &b.Answer)
	}
	if err != nil {
		return nil, err
	}
	n.policy.withhold(&b)
	if limit <= 0 {
		limit = query.DefaultTop
	}
	var out []query.ValueCount
	for _, r := range b.Rows {
		if s := r.Value.String(); len(out) < limit && !r.Value.IsAbsent() && strings.HasPrefix(s, prefix) {
			out = append(out, query.ValueCount{Value: s, Count: r.Count})
		}
	}
	return out, nil
}
