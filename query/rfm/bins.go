package rfm

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// unit says what the numbers of a dimension are.
type unit struct {
	float bool  // the ordered forms of floats
	scale uint8 // else ints of 10^-scale
}

func pow10(n uint8) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// exact returns the number that x stands for.
func (u *unit) exact(x int64) *big.Rat {
	if u.float {
		return new(big.Rat).SetFloat64(schema.FloatFromOrdered(x))
	}
	return big.NewRat(x, pow10(u.scale))
}

// floor returns the greatest x that is not above a number, and whether it is that number.
func (u *unit) floor(number *big.Rat) (x int64, same bool) {
	if u.float {
		f, _ := number.Float64()
		if math.IsInf(f, 0) { // a cut of floats lies between floats
			f = math.Copysign(math.MaxFloat64, f)
		}
		x = schema.OrderedFloat(f)
		if u.exact(x).Cmp(number) > 0 {
			x--
		}
		return x, u.exact(x).Cmp(number) == 0
	}
	scaled := new(big.Rat).Mul(number, new(big.Rat).SetInt64(pow10(u.scale)))
	down := new(big.Int).Div(scaled.Num(), scaled.Denom())
	if !down.IsInt64() { // one more than the greatest
		return math.MaxInt64, false
	}
	return down.Int64(), scaled.IsInt()
}

// value returns a number as a value: an int if it is one.
func value(number *big.Rat) schema.Value {
	if number.IsInt() && number.Num().IsInt64() {
		return schema.IntValue(number.Num().Int64())
	}
	f, _ := number.Float64()
	return schema.FloatValue(f)
}

// way is how a dimension is scored.
type way struct {
	byRank bool
	plus   bool       // quantiles, and one
	edges  []*big.Rat // nil: quantiles
}

// readWay reads the text of a way.
func (a *rfm) readWay(d int, parameter, text string) (way, error) {
	list, isEdges := strings.CutPrefix(text, "edges:")
	switch {
	case text == "" || text == "quantile":
		return way{}, nil
	case text == "quantile+1":
		return way{plus: true}, nil
	case text == "rank":
		return way{byRank: true}, nil
	case !isEdges:
		e := query.Errorf(query.CodeInvalid, "--%s %q is no way to score", parameter, text)
		e.Hint = "quantile, quantile+1, rank, or edges:A,B,..."
		return way{}, e
	}
	var out way
	for part := range strings.SplitSeq(list, ",") {
		edge, err := a.readEdge(d, parameter, strings.TrimSpace(part))
		if err != nil {
			return way{}, err
		}
		if n := len(out.edges); n > 0 && out.edges[n-1].Cmp(edge) >= 0 {
			return way{}, query.Errorf(query.CodeInvalid, "--%s: edges ascend, and %s does not", parameter, part)
		}
		out.edges = append(out.edges, edge)
	}
	if len(out.edges) != a.bins-1 {
		return way{}, query.Errorf(query.CodeInvalid, "--%s: %d scores have %d edges between them, not %d", parameter, a.bins, a.bins-1, len(out.edges))
	}
	return out, nil
}

// maxEdgeBytes bounds the text of an edge: no number that is kept has more digits.
const maxEdgeBytes = 40

func (a *rfm) readEdge(d int, parameter, text string) (*big.Rat, error) {
	if d == recency {
		span, err := query.ParseSpan(text)
		if err != nil {
			return nil, &query.Error{Code: err.Code, Message: "--" + parameter + ": " + err.Message, Hint: err.Hint}
		}
		return big.NewRat(span.Milliseconds(), a.round), nil
	}
	if len(text) <= maxEdgeBytes && strings.Trim(text, "-.0123456789") == "" {
		edge, ok := new(big.Rat).SetString(text)
		most := new(big.Rat).SetFrac64(math.MaxInt64, pow10(a.units[d].scale))
		if ok && (a.units[d].float || new(big.Rat).Abs(edge).Cmp(most) < 0) {
			return edge, nil
		}
	}
	return nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("--%s: the edge %q is no number that can be kept", parameter, text), Hint: "such as edges:50,100,250.5,1000"}
}

// score gives everybody the score of a dimension and returns the cut points, in ascending
// order of the number. A score is 1 and how many cuts are below, of recencies with a minus.
func (a *rfm) score(ctx context.Context, p *people, d int) ([]schema.Value, error) {
	w, u := &a.ways[d], &a.units[d]
	if w.byRank {
		return a.ranked(ctx, p, d)
	}
	cuts, err := a.cuts(ctx, p, d)
	if err != nil {
		return nil, err
	}
	isAbove := w.plus || w.edges != nil // whoever is on a cut
	limits := make([]int64, len(cuts))
	values := make([]schema.Value, a.bins-1)
	for k, cut := range cuts {
		values[k] = value(cut)
		if d == recency {
			values[k], cut = a.span(cut), new(big.Rat).Neg(cut)
		}
		x, same := u.floor(cut)
		if same && isAbove != (d == recency) {
			x--
		}
		limits[k] = x
	}
	return values, a.spread(ctx, len(p.parts), func() func(i int) error {
		return func(i int) error {
			scores := p.parts[i].scores[d]
			for k := range scores {
				scores[k] = 1
			}
			addAbove(scores, p.parts[i].values[d], limits)
			return nil
		}
	})
}

// cuts returns the cut points of a dimension that is not scored by rank.
func (a *rfm) cuts(ctx context.Context, p *people, d int) ([]*big.Rat, error) {
	w, u := &a.ways[d], &a.units[d]
	if w.edges != nil || p.count == 0 {
		return w.edges, nil
	}
	var at []int
	for k := 1; k < a.bins; k++ {
		i := (p.count - 1) * k / a.bins
		at = append(at, i, min(i+1, p.count-1))
	}
	found, err := a.statistics(ctx, p.columns(d), at)
	if err != nil {
		return nil, err
	}
	var out []*big.Rat
	for k := 1; k < a.bins; k++ {
		q, next := u.exact(found[2*k-2].value), u.exact(found[2*k-1].value)
		next.Sub(next, q).Mul(next, big.NewRat(int64((p.count-1)*k%a.bins), int64(a.bins)))
		out = append(out, q.Add(q, next))
	}
	if d == recency {
		slices.Reverse(out)
		for _, q := range out {
			q.Neg(q)
		}
	}
	if w.plus {
		for _, q := range out {
			q.Add(q, big.NewRat(1, 1))
		}
	}
	return out, nil
}

// span returns a recency in ms, rounded down.
func (a *rfm) span(units *big.Rat) schema.Value {
	ms := new(big.Rat).Mul(units, new(big.Rat).SetInt64(a.round))
	return schema.IntValue(new(big.Int).Div(ms.Num(), ms.Denom()).Int64())
}
