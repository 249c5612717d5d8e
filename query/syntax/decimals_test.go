package syntax

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestDecimalRewrite holds comparisons of decimals and ints with calculations over
// literals against math/big, which reads the same text.
func TestDecimalRewrite(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := writer{rand.New(rand.NewPCG(seed, 2))}
	w := testWorld()
	for range 4000 {
		a := w.schema.Lookup(r.of("ltv", "fee", "age"))
		text, c := r.exact(r.IntN(3))
		op := r.of("==", "!=", "<", "<=", ">", ">=")
		expr := fmt.Sprintf("%s %s %s", a.Name, op, text)
		if r.IntN(2) == 0 {
			op, expr = mirroredText(op), fmt.Sprintf("%s %s %s", text, op, a.Name)
		}
		e, err := testCompiler.Compile(expr, w, testNow)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if n := e.Root; !planned(n) {
			t.Fatalf("%s has no plan: %s", expr, Print(n, w.schema))
		}
		for _, n := range around5(c, a.Scale) {
			v := schema.FromOrdered(a.Kind, a.Scale, n)
			p := person{values: map[schema.AttrID]schema.Value{a.ID: v}}
			cmp := new(big.Rat).SetFrac(big.NewInt(n), pow10(int(a.Scale))).Cmp(c)
			want := truthOf(map[string]bool{"==": cmp == 0, "!=": cmp != 0, "<": cmp < 0, "<=": cmp <= 0, ">": cmp > 0, ">=": cmp >= 0}[op])
			if got, _ := evaluate(e.Root, p); got != want {
				t.Fatalf("seed %d: %s with %s is %v, want %v; plan %s", seed, expr, v, got, want, Print(e.Root, w.schema))
			}
			if got, _ := e.Interpret(p.value, p.act, p.inList, testNow); got != want {
				t.Fatalf("seed %d: %s with %s is interpreted as %v, want %v", seed, expr, v, got, want)
			}
		}
		if got, _ := evaluate(e.Root, person{}); got != query.Unknown {
			t.Fatalf("%s without a value is %v", expr, got)
		}
	}
}

func mirroredText(op string) string {
	return map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]
}

// planned reports whether a tree is one indexed test.
func planned(n query.Node) bool {
	switch n := n.(type) {
	case *query.Not:
		return planned(n.Of)
	case *query.In, *query.Range:
		return true
	}
	return false
}

// around5 returns unscaled values near a number, and the extremes.
func around5(c *big.Rat, scale uint8) []int64 {
	x := new(big.Rat).Mul(c, new(big.Rat).SetInt(pow10(int(scale))))
	out := []int64{0, 1<<63 - 1, -1 << 63}
	if n := new(big.Int).Div(x.Num(), x.Denom()); n.IsInt64() && n.BitLen() < 62 {
		for d := int64(-2); d <= 2; d++ {
			out = append(out, n.Int64()+d)
		}
	}
	return out
}

// exact writes a calculation of + - * over literals with its value. One of them has a
// point, so that an int attribute meets it exactly too.
func (w writer) exact(depth int) (string, *big.Rat) {
	if depth == 0 {
		text := w.of("0.1", "0.01", "50.005", "1e3", "2.50", "-0.004", ".5", "1.23456789e2", "9223372036854775807.0", "92233720368547758.07", "1e-9", "12.0")
		c, ok := new(big.Rat).SetString(text)
		if !ok {
			panic(text)
		}
		return text, c
	}
	a, x := w.exact(depth - 1)
	b, y := w.exact(depth - 1)
	switch w.IntN(4) {
	case 0:
		return "(" + a + " + " + b + ")", new(big.Rat).Add(x, y)
	case 1:
		return "(" + a + " - " + b + ")", new(big.Rat).Sub(x, y)
	case 2:
		return "(" + a + " * " + b + ")", new(big.Rat).Mul(x, y)
	}
	return "-(" + a + ")", new(big.Rat).Neg(x)
}
