package rfm

import (
	"context"
	"fmt"
	"math"
	"math/big"
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
// order of the number.
func (a *rfm) score(ctx context.Context, p *people, d int) ([]schema.Value, error) {
	w, u := &a.ways[d], &a.units[d]
	if w.byRank {
		return a.ranked(ctx, p, d)
	}
	cuts := w.edges
	if cuts == nil {
		o := order{rfm: a, ctx: ctx, who: p.who}
		at := all(len(p.who))
		if err := o.sort(at, p.values[d], false); err != nil {
			return nil, err
		}
		cuts = quantiles(len(at), a.bins, func(i int) *big.Rat { return u.exact(p.values[d][at[i]]) })
	}
	below := make([]int64, len(cuts)) // the greatest number on the lower side of each cut
	values := make([]schema.Value, a.bins-1)
	for k, cut := range cuts {
		if w.plus {
			cut = new(big.Rat).Add(cut, big.NewRat(1, 1))
		}
		x, same := u.floor(cut)
		if same && (w.plus || w.edges != nil) {
			x--
		}
		below[k], values[k] = x, value(cut)
		if d == recency {
			values[k] = a.span(cut)
		}
	}
	for i, x := range p.values[d] {
		above := uint8(0)
		for _, b := range below {
			if x > b {
				above++
			}
		}
		p.scores[d][i] = above + 1
		if d == recency { // the most recent is the best
			p.scores[d][i] = uint8(a.bins) - above
		}
	}
	return values, nil
}

// span returns a recency in ms, rounded down.
func (a *rfm) span(units *big.Rat) schema.Value {
	ms := new(big.Rat).Mul(units, new(big.Rat).SetInt64(a.round))
	return schema.IntValue(new(big.Int).Div(ms.Num(), ms.Denom()).Int64())
}

// quantiles returns the quantiles of type 7 (Hyndman and Fan 1996, the one of R and NumPy)
// between equal parts of n sorted numbers; nil of none.
func quantiles(n, parts int, of func(i int) *big.Rat) (out []*big.Rat) {
	if n == 0 {
		return nil
	}
	for k := 1; k < parts; k++ {
		at, rest := (n-1)*k/parts, int64((n-1)*k%parts)
		q := of(at)
		if rest > 0 {
			step := new(big.Rat).Sub(of(at+1), q)
			q.Add(q, step.Mul(step, big.NewRat(rest, int64(parts))))
		}
		out = append(out, q)
	}
	return out
}

// ranked scores by rank.
func (a *rfm) ranked(ctx context.Context, p *people, d int) ([]schema.Value, error) {
	n, u := len(p.who), &a.units[d]
	cuts := make([]int, a.bins-1) // where the parts begin, but for the first
	for k := range cuts {
		cuts[k] = (k+1)*(n/a.bins) + min(k+1, n%a.bins)
	}
	o := order{rfm: a, ctx: ctx, who: p.who, levels: [][]int64{p.values[d]}, desc: d == recency}
	if d == frequency && a.has > amount {
		o.levels = append(o.levels, p.values[amount])
	}
	at := all(n)
	if err := o.split(at, 0, cuts); err != nil {
		return nil, err
	}
	score, next := uint8(1), 0
	values := make([]schema.Value, len(cuts))
	for pos, i := range at {
		for next < len(cuts) && pos == cuts[next] {
			score++
			next++
		}
		p.scores[d][i] = score
	}
	for k, c := range cuts {
		switch {
		case c >= n:
		case d == recency: // from the oldest: the cuts ascend the other way
			values[len(cuts)-1-k] = a.span(u.exact(p.values[d][at[c-1]]))
		default:
			values[k] = value(u.exact(p.values[d][at[c]]))
		}
	}
	return values, nil
}

func all(n int) []uint32 {
	at := make([]uint32, n)
	for i := range at {
		at[i] = uint32(i)
	}
	return at
}
