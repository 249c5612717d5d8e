package query

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// The slow, obvious definition: the truth of a node for one profile. failed says that an
// unknown is one because of an overflow or a division by zero.
func refEval(v *memView, n Node, p *memProfile) (t Truth, failed bool) {
	switch n := n.(type) {
	case *Const:
		return n.Value, n.Value == Unknown
	case *And:
		t = True
		for _, k := range n.Of {
			kt, kf := refEval(v, k, p)
			t, failed = min3(t, kt), failed || kf && kt == Unknown
		}
		return t, failed && t == Unknown
	case *Or:
		t = False
		for _, k := range n.Of {
			kt, kf := refEval(v, k, p)
			t, failed = max3(t, kt), failed || kf && kt == Unknown
		}
		return t, failed && t == Unknown
	case *Not:
		t, failed = refEval(v, n.Of, p)
		return not3(t), failed
	case *Segment:
		return refEval(v, n.Of, p)
	case *If:
		switch t, failed = refEval(v, n.Cond, p); t {
		case True:
			return refEval(v, n.Then, p)
		case False:
			return refEval(v, n.Else, p)
		}
		return t, failed
	case *InList:
		return truthOf(slices.Contains(p.lists, n.Code)), false
	case *Residual:
		var values []schema.Value
		for _, a := range n.Attrs {
			values = append(values, refValue(v, a, p))
		}
		var acts [][]Act
		for _, id := range n.Events {
			acts = append(acts, refActs(v, id, p))
		}
		t, failed = n.Eval(values, acts, Env{Now: time.UnixMilli(memNow).UTC()})
		if failed {
			t = Unknown
		}
		return t, failed
	case *Compare:
		return refCompare(v, n, p)
	case *Any, *Sequence, *OneIs, *AverageIs:
		return refEvent(v, n, p)
	}
	return refTest(v, n, p), false
}

// min3 is Kleene's "and": unknown stands between false and true.
func min3(a, b Truth) Truth {
	if a == False || b == False {
		return False
	}
	if a == Unknown || b == Unknown {
		return Unknown
	}
	return True
}

func max3(a, b Truth) Truth { return not3(min3(not3(a), not3(b))) }

func not3(t Truth) Truth {
	switch t {
	case True:
		return False
	case False:
		return True
	}
	return Unknown
}

func refValue(v *memView, id schema.AttrID, p *memProfile) schema.Value {
	if id == schema.KeyAttr {
		return schema.StringValue(p.key)
	}
	val := p.values[id]
	if a, _, _ := described(v.schema, id); val.IsAbsent() && a.Kind == schema.Set {
		return schema.SetValue()
	}
	return val
}

// refTest is refEval of the tests of one attribute.
func refTest(v *memView, n Node, p *memProfile) Truth {
	switch n := n.(type) {
	case *Has:
		val := refValue(v, n.Attr, p)
		return truthOf(!val.IsAbsent() && (val.Kind() != schema.Set || len(val.Elements()) > 0))
	case *SetHas:
		have := refValue(v, n.Attr, p).Elements()
		some, all := false, true
		for _, s := range n.Values {
			in := slices.Contains(have, s)
			some, all = some || in, all && in
		}
		if n.All {
			return truthOf(all)
		}
		return truthOf(some)
	case *In:
		val := refValue(v, n.Attr, p)
		if val.IsAbsent() {
			return Unknown
		}
		return truthOf(slices.ContainsFunc(n.Values, val.Equal))
	case *Range:
		val := refValue(v, n.Attr, p)
		if val.IsAbsent() {
			return Unknown
		}
		return truthOf(n.Lo <= val.Ordered() && val.Ordered() <= n.Hi)
	case *Match:
		val := refValue(v, n.Attr, p)
		if val.IsAbsent() {
			return Unknown
		}
		return truthOf(refMatch(n, val.Str()))
	}
	panic(fmt.Sprintf("no reference for %T", n))
}

func refMatch(n *Match, s string) bool {
	switch n.Op {
	case StartsWith:
		return strings.HasPrefix(s, n.Text)
	case EndsWith:
		return strings.HasSuffix(s, n.Text)
	case Contains:
		return strings.Contains(s, n.Text)
	case Matches:
		return regexp.MustCompile(n.Text).MatchString(s)
	case Less:
		return s < n.Text
	case LessEqual:
		return s <= n.Text
	case Greater:
		return s > n.Text
	}
	return s >= n.Text
}

// refNumber is a number of the reference: exact, or a float, or nothing.
type refNumber struct {
	st state
	n  *big.Int // unscaled
	f  float64
	t  arithType
}

func refCompare(v *memView, n *Compare, p *memProfile) (Truth, bool) {
	l, r := refArith(v, n.L, p), refArith(v, n.R, p)
	if st := max(l.st, r.st); st != stateOK {
		return Unknown, st == stateFailed
	}
	if l.t.kind == schema.Float {
		switch n.Op {
		case EQ:
			return truthOf(l.f == r.f), false
		case NE:
			return truthOf(l.f != r.f), false
		case LT:
			return truthOf(l.f < r.f), false
		case LE:
			return truthOf(l.f <= r.f), false
		case GT:
			return truthOf(l.f > r.f), false
		}
		return truthOf(l.f >= r.f), false
	}
	c := rat(l).Cmp(rat(r))
	return truthOf([]bool{c == 0, c != 0, c < 0, c <= 0, c > 0, c >= 0}[n.Op]), false
}

func rat(x refNumber) *big.Rat {
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(x.t.scale)), nil)
	return new(big.Rat).SetFrac(x.n, ten)
}

// fit fails what is no value of the kind.
func (x refNumber) fit() refNumber {
	lo, hi := kindRange(x.t.kind)
	if x.st == stateOK && (x.n.Cmp(big.NewInt(lo)) < 0 || x.n.Cmp(big.NewInt(hi)) > 0) {
		x.st = stateFailed
	}
	return x
}

func refArith(v *memView, n Arith, p *memProfile) refNumber {
	switch n := n.(type) {
	case *Column:
		return refLiteral(refValue(v, n.Attr, p))
	case *Literal:
		return refLiteral(n.Value)
	case *Negate:
		x := refArith(v, n.Of, p)
		if x.st != stateOK {
			return x
		}
		x.f, x.n = -x.f, new(big.Int).Neg(x.n)
		if x.t.kind == schema.Float {
			return x
		}
		return x.fit()
	case *Convert:
		return refConvert(refArith(v, n.Of, p), n)
	case *Binary:
		l, r := refArith(v, n.L, p), refArith(v, n.R, p)
		if st := max(l.st, r.st); st != stateOK {
			return refNumber{st: st}
		}
		if n.Kind == schema.Float {
			f := []float64{l.f + r.f, l.f - r.f, l.f * r.f, l.f / r.f}[n.Op]
			return refNumber{f: f, n: new(big.Int), t: arithType{kind: schema.Float}}
		}
		x := refNumber{n: new(big.Int), t: arithType{n.Kind, n.Scale}}
		switch n.Op {
		case Plus:
			x.n.Add(l.n, r.n)
		case Minus:
			x.n.Sub(l.n, r.n)
		case Times:
			x.n.Mul(l.n, r.n)
		default:
			if r.n.Sign() == 0 || l.n.Cmp(big.NewInt(math.MinInt64)) == 0 && r.n.Cmp(big.NewInt(-1)) == 0 {
				return refNumber{st: stateFailed}
			}
			if n.Op == Div {
				x.n.Quo(l.n, r.n)
			} else {
				x.n.Rem(l.n, r.n)
			}
		}
		return x.fit()
	case *Fold:
		return refFold(v, n, p)
	}
	panic(fmt.Sprintf("no reference for %T", n))
}

func refLiteral(v schema.Value) refNumber {
	if v.IsAbsent() {
		return refNumber{st: stateAbsent}
	}
	x := refNumber{n: big.NewInt(v.Ordered()), t: arithType{v.Kind(), v.Scale()}}
	if v.Kind() == schema.Float {
		x.f = v.Float()
	}
	return x
}

func refConvert(x refNumber, n *Convert) refNumber {
	if x.st != stateOK {
		return x
	}
	to := arithType{n.Kind, n.Scale}
	switch {
	case to == x.t:
		return x
	case to.kind == schema.Float:
		f, _ := rat(x).Float64()
		return refNumber{f: f, n: new(big.Int), t: to}
	case to.kind == schema.Date:
		day := new(big.Int).Div(x.n, big.NewInt(86400000)) // Euclidean: towards the past
		return refNumber{n: day, t: to}
	}
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(to.scale-x.t.scale)), nil)
	return refNumber{n: ten.Mul(ten, x.n), t: to}.fit()
}

// randomTree draws an expression.
func randomTree(r *rand.Rand, s *schema.Schema, depth int) Node {
	if depth > 0 && r.IntN(10) < 7 {
		switch r.IntN(9) {
		case 8:
			at := Place{Span: Span{r.IntN(20) + 1, r.IntN(20) + 30}}
			return &If{at, randomTree(r, s, depth-1), randomTree(r, s, depth-1), randomTree(r, s, depth-1)}
		case 0, 1, 2:
			return &And{randomTrees(r, s, depth-1)}
		case 3, 4, 5:
			return &Or{randomTrees(r, s, depth-1)}
		case 6:
			return &Not{randomTree(r, s, depth-1)}
		}
		return &Segment{Name: "seg", Of: randomTree(r, s, depth-1)}
	}
	return randomLeaf(r, s)
}

func randomTrees(r *rand.Rand, s *schema.Schema, depth int) []Node {
	n := 2 + r.IntN(3)
	if r.IntN(25) == 0 {
		n = 14 // more than one pass of the kernels
	}
	var out []Node
	for range n {
		out = append(out, randomTree(r, s, depth))
	}
	return out
}

func randomLeaf(r *rand.Rand, s *schema.Schema) Node {
	a := s.Attributes[r.IntN(len(s.Attributes))]
	at := Place{Span: Span{r.IntN(20) + 1, r.IntN(20) + 30}}
	switch r.IntN(22) {
	case 16, 17, 18, 19, 20, 21:
		return randomEventNode(r, s, at)
	case 0:
		if r.IntN(3) > 0 {
			return &Const{Truth(r.IntN(3))}
		}
		return &Has{at, schema.KeyAttr}
	case 1:
		return &Has{at, a.ID}
	case 2:
		return &InList{at, "l", uint32(r.IntN(4))}
	case 3, 4:
		return &SetHas{at, aTags, r.IntN(2) == 0, randomTags(r)}
	case 5, 6:
		return randomMatch(r, at)
	case 7, 8:
		return randomCompare(r, s, at)
	case 9:
		return randomResidual(r, s, at)
	case 10, 11:
		return randomRange(r, s, at)
	}
	if a.Kind == schema.Set {
		return &SetHas{at, aTags, false, randomTags(r)}
	}
	n := r.IntN(5)
	if r.IntN(6) == 0 {
		n, a = 300, *s.ByID([]schema.AttrID{aMany, aMany, a.ID}[r.IntN(3)])
	}
	var values []schema.Value
	for range n {
		values = append(values, memValue(r, a))
	}
	if a.ID == aPlan {
		values = append(values, schema.StringValue("nobody has that"))
	}
	return &In{at, a.ID, values}
}

func randomTags(r *rand.Rand) []string {
	var out []string
	for range r.IntN(4) {
		out = append(out, fmt.Sprintf("t%d", r.IntN(8)))
	}
	return out
}

func randomMatch(r *rand.Rand, at Place) Node {
	attr := []schema.AttrID{aPlan, aCity, aMail, aMany, schema.KeyAttr}[r.IntN(5)]
	texts := []string{"p", "city1", "user3", "m2", "k", ".com", "1", "", "e"}
	m := &Match{at, attr, MatchOp(r.IntN(8)), texts[r.IntN(len(texts))]}
	if m.Op == Matches {
		m.Text = []string{"^[a-m]", "[0-4]$", "um", "(u|i)"}[r.IntN(4)]
	}
	return m
}

func randomRange(r *rand.Rand, s *schema.Schema, at Place) Node {
	for {
		a := s.Attributes[r.IntN(len(s.Attributes))]
		if !a.Kind.Ordered() {
			continue
		}
		lo, hi := memValue(r, a).Ordered(), memValue(r, a).Ordered()
		if lo > hi && r.IntN(10) > 0 {
			lo, hi = hi, lo
		}
		if r.IntN(4) == 0 {
			lo = math.MinInt64
		}
		if r.IntN(4) == 0 {
			hi = math.MaxInt64
		}
		return &Range{at, a.ID, lo, hi}
	}
}

func randomResidual(r *rand.Rand, s *schema.Schema, at Place) Node {
	n := &Residual{Place: at}
	for range 1 + r.IntN(3) {
		n.Attrs = append(n.Attrs, s.Attributes[r.IntN(len(s.Attributes))].ID)
	}
	salt := byte(r.IntN(256))
	n.Eval = func(values []schema.Value, _ [][]Act, _ Env) (Truth, bool) {
		h := fnv.New64a()
		h.Write([]byte{salt})
		for _, v := range values {
			fmt.Fprintf(h, "%d:%s/", v.Kind(), v)
		}
		x := h.Sum64() >> 8 % 10
		if x == 9 {
			return Unknown, true
		}
		return []Truth{True, True, True, True, False, False, False, False, Unknown}[x], false
	}
	return n
}

func randomCompare(r *rand.Rand, s *schema.Schema, at Place) Node {
	kind := []schema.Kind{schema.Int, schema.Int, schema.Float, schema.Decimal, schema.Date, schema.Timestamp, schema.Bool}[r.IntN(7)]
	l, _ := randomArith(r, kind, 2)
	rr, _ := randomArith(r, kind, 1)
	return &Compare{at, CompareOp(r.IntN(6)), l, rr}
}

// randomArith draws arithmetic of a kind and returns its scale.
func randomArith(r *rand.Rand, k schema.Kind, depth int) (Arith, uint8) {
	s := memSchema()
	if depth == 0 || r.IntN(3) == 0 {
		id := map[schema.Kind][]schema.AttrID{schema.Int: {aAge, aWide}, schema.Float: {aScore}, schema.Decimal: {aMoney, aRate},
			schema.Date: {aBorn}, schema.Timestamp: {aSeen}, schema.Bool: {aBool}}[k]
		a := *s.ByID(id[r.IntN(len(id))])
		if r.IntN(3) == 0 {
			return &Literal{memValue(r, a)}, a.Scale
		}
		return &Column{a.ID, a.Kind, a.Scale}, a.Scale
	}
	l, ls := randomArith(r, k, depth-1)
	switch k {
	case schema.Int:
		if r.IntN(6) == 0 {
			x, _ := randomArith(r, schema.Timestamp, 0)
			y, _ := randomArith(r, schema.Timestamp, 0)
			return &Binary{Minus, x, y, schema.Int, 0}, 0
		}
		if r.IntN(6) == 0 {
			return &Negate{l}, 0
		}
		rr, _ := randomArith(r, k, depth-1)
		return &Binary{ArithOp(r.IntN(5)), l, rr, k, 0}, 0
	case schema.Float:
		if r.IntN(3) == 0 {
			x, _ := randomArith(r, []schema.Kind{schema.Int, schema.Decimal}[r.IntN(2)], depth-1)
			return &Convert{x, schema.Float, 0}, 0
		}
		rr, _ := randomArith(r, k, depth-1)
		return &Binary{ArithOp(r.IntN(4)), l, &Negate{rr}, k, 0}, 0
	case schema.Decimal:
		return randomDecimal(r, l, ls, depth)
	case schema.Date:
		if r.IntN(2) == 0 {
			x, _ := randomArith(r, schema.Timestamp, depth-1)
			return &Convert{x, schema.Date, 0}, 0
		}
	}
	if k == schema.Bool {
		return l, ls
	}
	days, _ := randomArith(r, schema.Int, 0)
	return &Binary{ArithOp(r.IntN(2)), l, days, k, 0}, 0
}

func randomDecimal(r *rand.Rand, l Arith, ls uint8, depth int) (Arith, uint8) {
	rr, rs := randomArith(r, schema.Decimal, depth-1)
	if r.IntN(3) == 0 {
		n, _ := randomArith(r, schema.Int, depth-1)
		rr, rs = &Convert{n, schema.Decimal, 3}, 3
	}
	if r.IntN(2) == 0 && ls+rs <= schema.MaxScale {
		return &Binary{Times, l, rr, schema.Decimal, ls + rs}, ls + rs
	}
	scale := max(ls, rs)
	return &Binary{ArithOp(r.IntN(2)), &Convert{l, schema.Decimal, scale}, &Convert{rr, schema.Decimal, scale}, schema.Decimal, scale}, scale
}
