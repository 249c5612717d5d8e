package syntax

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file is what CEL itself cannot say of events: the functions behind the verbs, and
// events as the interpreter sees them. Lists are in order of time.

// act is one event as CEL's interpreter sees it.
type act struct{ query.Act }

// events returns the profile's events of a type, none after now.
func (r *row) events(id schema.EventID) ref.Val {
	var out []ref.Val
	if r.acts != nil {
		for _, a := range r.acts(id) {
			if a.Time <= r.env.Now.UnixMilli() {
				out = append(out, act{a})
			}
		}
	}
	return listOf(out)
}

func listOf(of []ref.Val) ref.Val { return types.NewRefValList(types.DefaultTypeAdapter, of) }

// elements returns the values of a list.
func elements(list ref.Val) []ref.Val {
	l := list.(traits.Lister)
	out := make([]ref.Val, l.Size().(types.Int))
	for i := range out {
		out[i] = l.Get(types.Int(i))
	}
	return out
}

// instant returns the time of an event.
func instant(event ref.Val) time.Time { return time.UnixMilli(event.(act).Time).UTC() }

// kept returns the events of a list that pass a test.
func kept(list ref.Val, test func(t time.Time) bool) ref.Val {
	return listOf(slices.DeleteFunc(elements(list), func(e ref.Val) bool { return !test(instant(e)) }))
}

// eventFunctions declares the functions behind the verbs of event lists.
func eventFunctions(z *zones) []cel.EnvOption {
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	as, bs, strs := cel.ListType(a), cel.ListType(b), cel.ListType(cel.StringType)
	one := func(name string, of, to *cel.Type, f func(ref.Val) ref.Val, opts ...cel.OverloadOpt) cel.EnvOption {
		id := "kanta" + name + of.String()
		return cel.Function(name, cel.Overload(id, []*cel.Type{of}, to, append(opts, cel.UnaryBinding(f))...))
	}
	more := func(name string, to *cel.Type, f func(args ...ref.Val) ref.Val, of ...*cel.Type) cel.EnvOption {
		return cel.Function(name, cel.Overload("kanta"+name, of, to, cel.FunctionBinding(f)))
	}
	out := []cel.EnvOption{
		more(fnInLast, as, inLast, as, cel.TimestampType, cel.DurationType),
		more(fnBetween, as, between, as, cel.TimestampType, cel.TimestampType),
		more(fnHours, as, z.atHours, as, cel.IntType, cel.IntType, cel.StringType),
		more(fnWeekdays, as, z.onWeekdays, as, strs, cel.StringType),
		more(fnThen, bs, then, as, bs, cel.DurationType),
		cel.Function(fnSequence, cel.Overload("kanta"+fnSequence, []*cel.Type{cel.DurationType, cel.ListType(cel.DynType)}, cel.BoolType,
			cel.BinaryBinding(sequence))),
		one(fnFirst, as, a, func(l ref.Val) ref.Val { return end(l, 0) }),
		one(fnLast, as, a, func(l ref.Val) ref.Val { return end(l, -1) }),
		one(fnKnown, a, cel.BoolType, known, cel.OverloadIsNonStrict()),
		one(fnMin, as, a, func(l ref.Val) ref.Val { return extreme(l, types.IntNegOne) }),
		one(fnMax, as, a, func(l ref.Val) ref.Val { return extreme(l, types.IntOne) }),
		one(fnDistinct, as, cel.IntType, distinct),
		cel.Function(fnDistinctDays, cel.Overload("kanta"+fnDistinctDays, []*cel.Type{as, cel.StringType}, cel.IntType,
			cel.BinaryBinding(z.distinctDays))),
		cel.Function(fnSum, cel.Overload("kanta_sum_decimal", []*cel.Type{cel.ListType(decimalType), cel.IntType}, decimalType,
			cel.BinaryBinding(func(l, scale ref.Val) ref.Val { return sumExact(l, int(scale.(types.Int))) }))),
		one(fnAverage, cel.ListType(decimalType), decimalType, averageExact),
		one(fnAverage, cel.ListType(cel.IntType), decimalType, averageExact),
		one(fnAverage, cel.ListType(cel.DoubleType), cel.DoubleType, averageFloat),
		one(fnSum, cel.ListType(cel.DoubleType), cel.DoubleType, func(l ref.Val) ref.Val { return types.Double(sumFloats(l)) }),
		one(fnSum, cel.ListType(cel.IntType), cel.IntType, func(l ref.Val) ref.Val {
			if n := exactSum(elements(l)).unscaled; n.IsInt64() {
				return types.Int(n.Int64())
			}
			return types.WrapErr(errOverflow)
		}),
	}
	return out
}

func inLast(args ...ref.Val) ref.Val {
	now := args[1].(types.Timestamp).Time
	from := now.Add(-args[2].(types.Duration).Duration)
	return kept(args[0], func(t time.Time) bool { return t.After(from) && !t.After(now) })
}

func between(args ...ref.Val) ref.Val {
	from, to := args[1].(types.Timestamp).Time, args[2].(types.Timestamp).Time
	return kept(args[0], func(t time.Time) bool { return !t.Before(from) && t.Before(to) })
}

// atHours keeps the events at which a clock on a wall in the zone shows from <= hour < to.
func (z *zones) atHours(args ...ref.Val) ref.Val {
	zone, err := z.find(string(args[3].(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	from, to := int(args[1].(types.Int)), int(args[2].(types.Int))
	return kept(args[0], func(t time.Time) bool {
		h := t.In(zone).Hour()
		if from < to {
			return from <= h && h < to
		}
		return from <= h || h < to
	})
}

func (z *zones) onWeekdays(args ...ref.Val) ref.Val {
	zone, err := z.find(string(args[2].(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return kept(args[0], func(t time.Time) bool {
		today := t.In(zone).Weekday().String()
		return slices.ContainsFunc(elements(args[1]), func(d ref.Val) bool {
			return strings.EqualFold(string(d.(types.String))[:3], today[:3])
		})
	})
}

// then keeps the events b that have some a in [tb - d, tb). The last a before b is the
// nearest, so it is the one to look at.
func then(args ...ref.Val) ref.Val {
	first, d := elements(args[0]), args[2].(types.Duration).Duration
	return kept(args[1], func(t time.Time) bool {
		i := sort.Search(len(first), func(i int) bool { return !instant(first[i]).Before(t) })
		return i > 0 && !instant(first[i-1]).Before(t.Add(-d))
	})
}

// sequence tries every event of the first list: of each further list it takes the first
// event after the one taken before, because no later one lets more follow in time.
func sequence(within, lists ref.Val) ref.Val {
	var steps [][]ref.Val
	for _, l := range elements(lists) {
		steps = append(steps, elements(l))
	}
	for _, e := range steps[0] {
		last, found := instant(e), true
		for _, step := range steps[1:] {
			i := sort.Search(len(step), func(i int) bool { return instant(step[i]).After(last) })
			if found = i < len(step); !found {
				break
			}
			last = instant(step[i])
		}
		if found && last.Sub(instant(e)) <= within.(types.Duration).Duration {
			return types.True
		}
	}
	return types.False
}

// end returns the first (0) or last (-1) event of a list; there is none in an empty one.
func end(list ref.Val, i int) ref.Val {
	of := elements(list)
	if len(of) == 0 {
		return types.WrapErr(errAbsent)
	}
	return of[(i+len(of))%len(of)]
}

// known reports whether a calculation has a result.
func known(v ref.Val) ref.Val { return types.Bool(!types.IsUnknownOrError(v)) }

// extreme returns the least (-1) or greatest (1) value. Of floats, NaN is both where there
// is one, and -0 is less than 0.
func extreme(list ref.Val, sign types.Int) ref.Val {
	of := elements(list)
	if len(of) == 0 {
		return types.WrapErr(errAbsent)
	}
	best := of[0]
	for _, v := range of[1:] {
		x, isFloat := v.(types.Double)
		switch {
		case isFloat && sign < 0:
			best = min(best.(types.Double), x)
		case isFloat:
			best = max(best.(types.Double), x)
		case v.(traits.Comparer).Compare(best) == sign:
			best = v
		}
	}
	return best
}

// exactSum adds ints or decimals.
func exactSum(of []ref.Val) number {
	sum := intNumber(0)
	for _, v := range of {
		if n, ok := v.(types.Int); ok {
			sum = sum.add(intNumber(int64(n)))
		} else {
			sum = sum.add(v.(decimal).number)
		}
	}
	return sum
}

// sumExact adds decimals; the sum has the scale that the calculation has in the plan.
func sumExact(list ref.Val, scale int) ref.Val {
	sum := exactSum(elements(list))
	n, cut := sum.at(max(scale, sum.scale))
	if cut {
		return types.WrapErr(errOverflow)
	}
	return stored(number{unscaled: n, scale: max(scale, sum.scale)})
}

// floatBits is a precision at which no sum of floats is rounded: the largest has 1,024
// bits before the point, the smallest 1,074 behind it, and 100 more let 2^100 be added.
const floatBits = 1024 + 1074 + 100

// sumFloats adds floats exactly and rounds once.
func sumFloats(list ref.Val) float64 {
	sum, special := new(big.Float).SetPrec(floatBits), 0.0
	for _, v := range elements(list) {
		if f := float64(v.(types.Double)); math.IsInf(f, 0) || math.IsNaN(f) {
			special += f // infinities of both signs: NaN
		} else {
			sum.Add(sum, new(big.Float).SetFloat64(f))
		}
	}
	if special != 0 {
		return special
	}
	f, _ := sum.Float64()
	return f + 0 // a sum is not -0
}

func averageFloat(list ref.Val) ref.Val {
	n := list.(traits.Sizer).Size().(types.Int)
	if n == 0 {
		return types.WrapErr(errAbsent)
	}
	return types.Double(sumFloats(list) / float64(n))
}

// average is that of ints or decimals: exact where it is compared with a written number.
// For CEL's checker it is a decimal; it meets nothing but a literal, or becomes a float.
type average struct {
	decimal
	n int64
}

func averageExact(list ref.Val) ref.Val {
	of := elements(list)
	if len(of) == 0 {
		return types.WrapErr(errAbsent)
	}
	return average{decimal{number: exactSum(of)}, int64(len(of))}
}

// Compare implements traits.Comparer: sum cmp c * n.
func (a average) Compare(other ref.Val) ref.Val {
	o, ok := other.(decimal)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return types.Int(a.cmp(o.mul(intNumber(a.n))))
}

// Equal implements ref.Val.
func (a average) Equal(other ref.Val) ref.Val { return types.Bool(a.Compare(other) == types.IntZero) }

func (a average) float() float64 { return a.decimal.float() / float64(a.n) }

// distinct counts different values of one kind.
func distinct(list ref.Val) ref.Val {
	seen := map[any]bool{}
	for _, v := range elements(list) {
		switch x := v.(type) {
		case decimal:
			seen[x.reduce().String()] = true
		case types.Double:
			seen[float64(x+0)] = true
		case types.Timestamp:
			seen[x.UnixMilli()] = true
		default:
			seen[v.Value()] = true
		}
	}
	return types.Int(len(seen))
}

func (z *zones) distinctDays(list, zone ref.Val) ref.Val {
	l, err := z.find(string(zone.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	seen := map[date]bool{}
	for _, e := range elements(list) {
		seen[dateOf(instant(e), l)] = true
	}
	return types.Int(len(seen))
}

// ConvertToNative implements ref.Val.
func (a act) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("an event has no native type")
}

// ConvertToType implements ref.Val.
func (a act) ConvertToType(ref.Type) ref.Val { return types.NewErr("an event has no conversion") }

// Equal implements ref.Val; no text compares whole events.
func (a act) Equal(ref.Val) ref.Val { return types.False }

// Type implements ref.Val.
func (a act) Type() ref.Type { return eventsType }

// Value implements ref.Val.
func (a act) Value() any { return a }
