package syntax

import (
	"errors"
	"math/big"
	"reflect"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/kantadb/kanta/index/schema"
)

var (
	decimalType = types.NewObjectType("decimal", traits.AdderType, traits.SubtractorType, traits.MultiplierType, //tidy:constant
		traits.NegatorType, traits.ComparerType)
	errOverflow = errors.New("decimal overflow")
)

// number is an exact decimal: unscaled * 10^-scale. It is immutable. scale may exceed
// what an attribute can have.
type number struct {
	unscaled *big.Int
	scale    int
}

func intNumber(n int64) number { return number{unscaled: big.NewInt(n)} }

// parseNumber reads a literal: digits with a point and an exponent, or hexadecimal.
func parseNumber(text string) (number, bool) {
	sign := ""
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		sign, text = "-", rest
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		n, ok := new(big.Int).SetString(sign+rest, 16)
		return number{unscaled: n}, ok
	}
	digits, exp := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		e, ok := new(big.Int).SetString(strings.TrimPrefix(text[i+1:], "+"), 10)
		if !ok || !e.IsInt64() || e.Int64() > maxExponent || e.Int64() < -maxExponent {
			return number{}, false
		}
		digits, exp = text[:i], int(e.Int64())
	}
	whole, frac, _ := strings.Cut(digits, ".")
	n, ok := new(big.Int).SetString(sign+whole+frac, 10)
	if !ok {
		return number{}, false
	}
	return number{unscaled: n, scale: len(frac) - exp}.reduce(), true
}

// reduce removes zeros at the end, so that 50.00 has scale 0.
func (a number) reduce() number {
	n, scale := new(big.Int).Set(a.unscaled), a.scale
	if scale < 0 {
		n.Mul(n, pow10(-scale))
		scale = 0
	}
	ten, rem, quo := big.NewInt(10), new(big.Int), new(big.Int)
	for scale > 0 {
		if quo.QuoRem(n, ten, rem); rem.Sign() != 0 {
			break
		}
		n.Set(quo)
		scale--
	}
	return number{unscaled: n, scale: scale}
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// at returns the number at a scale as floor and whether something was cut off.
func (a number) at(scale int) (floor *big.Int, cut bool) {
	if scale >= a.scale {
		return new(big.Int).Mul(a.unscaled, pow10(scale-a.scale)), false
	}
	rem := new(big.Int)
	floor, rem = new(big.Int).DivMod(a.unscaled, pow10(a.scale-scale), rem)
	return floor, rem.Sign() != 0
}

func (a number) cmp(b number) int {
	s := max(a.scale, b.scale)
	x, _ := a.at(s)
	y, _ := b.at(s)
	return x.Cmp(y)
}

func (a number) add(b number) number {
	s := max(a.scale, b.scale)
	x, _ := a.at(s)
	y, _ := b.at(s)
	return number{unscaled: x.Add(x, y), scale: s}
}

func (a number) neg() number { return number{unscaled: new(big.Int).Neg(a.unscaled), scale: a.scale} }

func (a number) mul(b number) number {
	return number{unscaled: new(big.Int).Mul(a.unscaled, b.unscaled), scale: a.scale + b.scale}
}

// value returns the number as a stored decimal of a scale, if it is one.
func (a number) value(scale int) (schema.Value, bool) {
	n, cut := a.at(scale)
	if cut || !n.IsInt64() || scale > schema.MaxScale {
		return schema.Value{}, false
	}
	return schema.DecimalValue(n.Int64(), uint8(scale)), true
}

// String writes the number plainly, without an exponent.
func (a number) String() string {
	n := new(big.Int).Abs(a.unscaled).String()
	if a.scale > 0 {
		if pad := a.scale + 1 - len(n); pad > 0 {
			n = strings.Repeat("0", pad) + n
		}
		n = n[:len(n)-a.scale] + "." + n[len(n)-a.scale:]
	}
	if a.unscaled.Sign() < 0 {
		return "-" + n
	}
	return n
}

// decimal is a number as CEL's interpreter sees it. A stored one (an attribute or
// what was calculated from one) must fit an int64 at every step, as the plan's
// arithmetic does; a literal is exact whatever its size.
type decimal struct {
	number
	literal bool
}

// fit returns the decimal rescaled, or the error that the plan's Convert gives.
func (d decimal) fit(scale int) (number, bool) {
	n, cut := d.at(scale)
	return number{unscaled: n, scale: scale}, !cut && n.IsInt64()
}

func stored(n number) ref.Val {
	if !n.unscaled.IsInt64() || n.scale > schema.MaxScale {
		return types.WrapErr(errOverflow)
	}
	return decimal{number: n}
}

// Add implements traits.Adder.
func (d decimal) Add(other ref.Val) ref.Val {
	return d.combine(other, func(a, b number) number { return a.add(b) })
}

// Subtract implements traits.Subtractor.
func (d decimal) Subtract(other ref.Val) ref.Val {
	return d.combine(other, func(a, b number) number { return a.add(b.neg()) })
}

func (d decimal) combine(other ref.Val, op func(a, b number) number) ref.Val {
	o, ok := other.(decimal)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	s := max(d.scale, o.scale)
	a, ok1 := d.fit(s)
	b, ok2 := o.fit(s)
	if !ok1 || !ok2 {
		return types.WrapErr(errOverflow)
	}
	return stored(op(a, b))
}

// Multiply implements traits.Multiplier.
func (d decimal) Multiply(other ref.Val) ref.Val {
	o, ok := other.(decimal)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return stored(d.mul(o.number))
}

// Negate implements traits.Negater.
func (d decimal) Negate() ref.Val { return stored(d.neg()) }

// Compare implements traits.Comparer; it is exact over scales.
func (d decimal) Compare(other ref.Val) ref.Val {
	switch o := other.(type) {
	case decimal:
		return types.Int(d.cmp(o.number))
	case average:
		return o.Compare(d).(types.Int).Negate()
	}
	return types.MaybeNoSuchOverloadErr(other)
}

// Equal implements ref.Val.
func (d decimal) Equal(other ref.Val) ref.Val {
	c := d.Compare(other)
	if types.IsUnknownOrError(c) {
		return c
	}
	return types.Bool(c == types.IntZero)
}

// float returns the nearest double.
func (d decimal) float() float64 {
	f, _ := new(big.Rat).SetFrac(d.unscaled, pow10(d.scale)).Float64()
	return f
}

// ConvertToNative implements ref.Val.
func (d decimal) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("a decimal has no native type")
}

// ConvertToType implements ref.Val.
func (d decimal) ConvertToType(ref.Type) ref.Val { return types.NewErr("a decimal has no conversion") }

// Type implements ref.Val.
func (d decimal) Type() ref.Type { return decimalType }

// Value implements ref.Val.
func (d decimal) Value() any { return d.number }
