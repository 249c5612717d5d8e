package schema

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of values.
const (
	MaxStringBytes = 16 << 10 // a cell longer than this is a document, not an attribute
	MaxScale       = 18       // 10^18 is the largest power of ten in an int64
	MaxSetElements = 1024     // a set is a handful of interests; thousands are events

	// MinDate and MaxDate are 0001-01-01 and 9999-12-31 in days since 1970-01-01.
	MinDate = -719162
	MaxDate = 2932896
	// MinTimestamp and MaxTimestamp bound a timestamp in milliseconds since 1970, years 1..9999.
	MinTimestamp = MinDate * 86400000
	MaxTimestamp = (MaxDate+1)*86400000 - 1
)

// Value is one typed value. The zero Value is absent. Values are immutable; a set
// value's elements are sorted and distinct.
type Value struct {
	kind  Kind
	scale uint8
	num   int64
	str   string
	set   []string
}

// BoolValue returns a bool.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, num: 1}
	}
	return Value{kind: Bool}
}

// IntValue returns an int.
func IntValue(n int64) Value { return Value{kind: Int, num: n} }

// FloatValue returns a float; -0 becomes 0. NaN is no value of Kanta: it returns an absent one.
func FloatValue(f float64) Value {
	if math.IsNaN(f) {
		return Value{}
	}
	return Value{kind: Float, num: OrderedFloat(f)}
}

// DecimalValue returns unscaled * 10^-scale; scale is 0..[MaxScale].
func DecimalValue(unscaled int64, scale uint8) Value {
	return Value{kind: Decimal, num: unscaled, scale: scale}
}

// StringValue returns a string. Callers that take input from outside normalise it to NFC first.
func StringValue(s string) Value { return Value{kind: String, str: s} }

// DateValue returns a date, given in days since 1970-01-01.
func DateValue(days int64) Value { return Value{kind: Date, num: days} }

// TimestampValue returns a timestamp, given in milliseconds since 1970-01-01T00:00:00Z.
func TimestampValue(ms int64) Value { return Value{kind: Timestamp, num: ms} }

// SetValue returns a set of strings; it sorts and de-duplicates a copy of the elements.
func SetValue(elements ...string) Value {
	s := slices.Clone(elements)
	slices.Sort(s)
	return Value{kind: Set, set: slices.Compact(s)}
}

// FromOrdered makes a value of an ordered kind from its ordered form (the inverse of
// [Value.Ordered]). scale is used for decimals only.
func FromOrdered(k Kind, scale uint8, n int64) Value {
	if k != Decimal {
		scale = 0
	}
	return Value{kind: k, scale: scale, num: n}
}

// Kind returns the value's kind, [Absent] for the zero value.
func (v Value) Kind() Kind { return v.kind }

// IsAbsent reports whether there is no value.
func (v Value) IsAbsent() bool { return v.kind == Absent }

// Scale returns the scale of a decimal, else 0.
func (v Value) Scale() uint8 { return v.scale }

// Ordered returns the ordered int64 form of a value of an ordered kind, else 0.
// Values of one kind (and scale) compare as their ordered forms do.
func (v Value) Ordered() int64 { return v.num }

// Bool returns the value of a bool.
func (v Value) Bool() bool { return v.num != 0 }

// Float returns the value of a float.
func (v Value) Float() float64 { return FloatFromOrdered(v.num) }

// Str returns the value of a string.
func (v Value) Str() string { return v.str }

// Elements returns the sorted elements of a set. The caller must not change them.
func (v Value) Elements() []string { return v.set }

// Equal reports whether two values are the same: kind, scale and content.
func (v Value) Equal(w Value) bool {
	return v.kind == w.kind && v.scale == w.scale && v.num == w.num && v.str == w.str && slices.Equal(v.set, w.set)
}

// String returns the value as people and CSV files write it: dates ISO, sets joined
// by "|", timestamps RFC 3339 in UTC, an absent value as "".
func (v Value) String() string {
	switch v.kind {
	case Bool:
		return strconv.FormatBool(v.num != 0)
	case Int:
		return strconv.FormatInt(v.num, 10)
	case Float:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case Decimal:
		return formatDecimal(v.num, v.scale)
	case String:
		return v.str
	case Date:
		return time.Unix(v.num*86400, 0).UTC().Format(time.DateOnly)
	case Timestamp:
		return time.UnixMilli(v.num).UTC().Format("2006-01-02T15:04:05.999Z")
	case Set:
		return strings.Join(v.set, "|")
	}
	return ""
}

func formatDecimal(n int64, scale uint8) string {
	if scale == 0 {
		return strconv.FormatInt(n, 10)
	}
	neg, mag := n < 0, uint64(n)
	if neg {
		mag = -mag
	}
	digits := strconv.FormatUint(mag, 10)
	if pad := int(scale) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	out := digits[:len(digits)-int(scale)] + "." + digits[len(digits)-int(scale):]
	if neg {
		return "-" + out
	}
	return out
}

// OrderedFloat maps a float (never NaN) to an int64 so that the integers compare as
// the floats do. -0 maps to the same number as 0.
func OrderedFloat(f float64) int64 {
	if f == 0 {
		return 0
	}
	n := int64(math.Float64bits(f))
	if n < 0 {
		n ^= math.MaxInt64
	}
	return n
}

// FloatFromOrdered is the inverse of [OrderedFloat].
func FloatFromOrdered(n int64) float64 {
	if n < 0 {
		n ^= math.MaxInt64
	}
	return math.Float64frombits(uint64(n))
}
