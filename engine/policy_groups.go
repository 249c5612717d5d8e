package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/internal/view"
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
// is withheld is the difference of what is told; so more goes with it, the smallest first,
// until it is of several rows and of enough people.
func (u *underPolicy) withhold(b *query.Breakdown) {
	var withheld, kept []query.BreakdownRow
	sum := uint64(0)
	for _, r := range b.Rows {
		others := b.People - r.Count
		if r.Count < u.minGroup || u.living-r.Count < u.minGroup || b.Attribute.Kind == schema.Set && others > 0 && others < u.minGroup {
			withheld, sum = append(withheld, r), sum+r.Count
		} else {
			kept = append(kept, r)
		}
	}
	for n := len(kept); n > 0 && len(withheld) > 0 && (len(withheld) == 1 || sum < u.minGroup); n = len(kept) {
		withheld, sum = append(withheld, kept[n-1]), sum+kept[n-1].Count
		kept = kept[:n-1]
	}
	b.Rows, b.Withheld = kept, uint64(len(withheld))
}

// valuesOfGroups is Values where numbers must be of several people.
func (n *snapshot) valuesOfGroups(ctx context.Context, a schema.Attribute, prefix string, limit int) ([]query.ValueCount, error) {
	v := view.View{S: &n.s.State}
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
