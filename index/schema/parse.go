package schema

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SetSeparator stands between the elements of a set in one cell, unless told otherwise.
const SetSeparator = "|"

// ValueError says why a text is not a value. It is a code, so that a bulk loader
// pays nothing for a bad cell; what was read is known to the caller.
type ValueError uint8

// The reasons.
const (
	NotBool ValueError = iota + 1
	NotInt
	NotFloat
	NotDecimal
	NotDate
	NotTimestamp
	NotUTF8
	TooManyPlaces // more decimal places than the attribute's scale, and not zeros
	OutOfRange    // past the range of the kind
	NoSuchDay     // an impossible date or time of day, such as 2023-02-29 or 24:00
	TooLong       // a string over MaxStringBytes
	TooMany       // a set of more than MaxSetElements elements
	NoOrdered     // the kind has no ordered form
)

var valueErrors = [...]string{
	NotBool:       "not a bool: write true, false, yes, no, 1 or 0",
	NotInt:        "not an int: write digits with at most a minus sign",
	NotFloat:      "not a number: write digits with a decimal point",
	NotDecimal:    "not a decimal: write digits with a decimal point, without an exponent or thousands separators",
	NotDate:       "not a date: write YYYY-MM-DD",
	NotTimestamp:  "not a timestamp: write YYYY-MM-DD, YYYY-MM-DD HH:MM:SS or RFC 3339",
	NotUTF8:       "not UTF-8: convert the input or name its encoding",
	TooManyPlaces: "more decimal places than the attribute's scale: round it or load a new attribute with a larger scale",
	OutOfRange:    "past the range of the kind: correct the value",
	NoSuchDay:     "no such day or time: correct the value",
	TooLong:       "longer than 16 KiB: shorten it",
	TooMany:       "a set of more than 1,024 elements: make them events",
	NoOrdered:     "a string or a set has no ordered form",
}

// Error says what is wrong and what to do.
func (e ValueError) Error() string {
	if int(e) < len(valueErrors) && e != 0 {
		return valueErrors[e]
	}
	return "not a value"
}

// Range reports whether the text has the form of the kind but no value of it stands there.
func (e ValueError) Range() bool { return e == OutOfRange || e == NoSuchDay || e == TooManyPlaces }

// ParseValue parses a cell of text as a value of the attribute's kind. The empty text
// is absent (for a set: the empty set). zone is that of times that name none; nil is
// UTC. A set is split on [SetSeparator]. Only the kind is checked, not the
// attribute's bounds, allowed values and format. Strings are not normalised.
//
//	bool       true false yes no (any case) 1 0
//	int        digits, at most a minus sign; 64 bits
//	float      digits, point, exponent; not NaN, infinite, hexadecimal
//	decimal    digits, point; exact; more places than the scale only if they are 0
//	date       YYYY-MM-DD
//	timestamp  a date, or a date, a space or T, and HH:MM[:SS[.fraction]], then
//	           nothing, Z or an offset ±HH:MM; truncated to milliseconds. A time that the
//	           zone's clocks repeat is the first of the two; one that they skip is read by
//	           the clock from before: where 2:00 becomes 3:00, 2:30 is 3:30
//
// The error is a [ValueError].
func ParseValue(a *Attribute, text string, zone *time.Location) (Value, error) {
	switch {
	case a.Kind == Set:
		return ParseSet(text, SetSeparator)
	case text == "":
		return Value{}, nil
	case a.Kind == String:
		if e := checkString(text); e != 0 {
			return Value{}, e
		}
		return StringValue(text), nil
	}
	n, e := parseOrdered(a.Kind, a.Scale, text, zone)
	if e != 0 {
		return Value{}, e
	}
	return FromOrdered(a.Kind, a.Scale, n), nil
}

// ParseSet splits a text into the elements of a set. Empty elements do not count.
// The error is a [ValueError].
func ParseSet(text, separator string) (Value, error) {
	var elements []string
	for text != "" {
		element, rest, _ := strings.Cut(text, separator)
		text = rest
		if element == "" {
			continue
		}
		if e := checkString(element); e != 0 {
			return Value{}, e
		}
		elements = append(elements, element)
	}
	v := SetValue(elements...)
	if len(v.set) > MaxSetElements {
		return Value{}, TooMany
	}
	return v, nil
}

func checkString(s string) ValueError {
	if len(s) > MaxStringBytes {
		return TooLong
	}
	if !utf8.ValidString(s) {
		return NotUTF8
	}
	return 0
}

// ParseOrdered parses a cell as [ParseValue] does and returns the ordered form of the
// value. The empty text is an error here. It allocates nothing and keeps nothing of b.
// The error is a [ValueError].
func ParseOrdered(kind Kind, scale uint8, b []byte, zone *time.Location) (int64, error) {
	n, e := parseOrdered(kind, scale, b, zone)
	if e != 0 {
		return 0, e
	}
	return n, nil
}

func parseOrdered[T string | []byte](kind Kind, scale uint8, s T, zone *time.Location) (int64, ValueError) {
	switch kind {
	case Bool:
		return parseBool(s)
	case Int:
		return parseInt(s)
	case Float:
		return parseFloat(s)
	case Decimal:
		return parseDecimal(s, scale)
	case Date:
		if len(s) != len("2006-01-02") {
			return 0, NotDate
		}
		return parseDate(s)
	case Timestamp:
		return parseTimestamp(s, zone)
	}
	return 0, NoOrdered
}

func parseBool[T string | []byte](s T) (int64, ValueError) {
	switch len(s) {
	case 1:
		if s[0] == '0' || s[0] == '1' {
			return int64(s[0] - '0'), 0
		}
	case 2:
		if s[0]|0x20 == 'n' && s[1]|0x20 == 'o' {
			return 0, 0
		}
	case 3:
		if s[0]|0x20 == 'y' && s[1]|0x20 == 'e' && s[2]|0x20 == 's' {
			return 1, 0
		}
	case 4:
		if s[0]|0x20 == 't' && s[1]|0x20 == 'r' && s[2]|0x20 == 'u' && s[3]|0x20 == 'e' {
			return 1, 0
		}
	case 5:
		if s[0]|0x20 == 'f' && s[1]|0x20 == 'a' && s[2]|0x20 == 'l' && s[3]|0x20 == 's' && s[4]|0x20 == 'e' {
			return 0, 0
		}
	}
	return 0, NotBool
}

func parseInt[T string | []byte](s T) (int64, ValueError) {
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	if i == len(s) {
		return 0, NotInt
	}
	var n uint64
	short := len(s)-i <= 18 // no sum of 18 digits overflows
	for j := i; j < len(s); j++ {
		d := uint64(s[j] - '0')
		if d > 9 {
			return 0, NotInt
		}
		if !short && n > math.MaxInt64/10 {
			return 0, intTail(s[j:])
		}
		n = n*10 + d
	}
	return signed(n, i == 1)
}

// intTail says what is wrong with an overflowing number, given the digits that are left.
func intTail[T string | []byte](rest T) ValueError {
	for i := range len(rest) {
		if rest[i]-'0' > 9 {
			return NotInt
		}
	}
	return OutOfRange
}

// signed gives a magnitude its sign. -2^63 is a value.
func signed(n uint64, negative bool) (int64, ValueError) {
	if negative {
		if n > 1<<63 {
			return 0, OutOfRange
		}
		return -int64(n), 0
	}
	if n > math.MaxInt64 {
		return 0, OutOfRange
	}
	return int64(n), 0
}

func parseDecimal[T string | []byte](s T, scale uint8) (int64, ValueError) {
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	var n uint64
	digits, point, places := 0, false, 0
	problem := ValueError(0) // the first one of range; one of form wins over it
	for j := i; j < len(s); j++ {
		d := uint64(s[j] - '0')
		if d > 9 {
			if s[j] != '.' || point {
				return 0, NotDecimal
			}
			point = true
			continue
		}
		digits++
		if point {
			if places == int(scale) {
				if d != 0 {
					problem = max(problem, TooManyPlaces)
				}
				continue
			}
			places++
		}
		if n > math.MaxInt64/10 {
			problem, n = OutOfRange, 0
		}
		n = n*10 + d
	}
	if digits == 0 {
		return 0, NotDecimal
	}
	for ; places < int(scale) && problem == 0 && n != 0; places++ {
		if n > math.MaxInt64/10 {
			return 0, OutOfRange
		}
		n *= 10
	}
	if problem != 0 {
		return 0, problem
	}
	return signed(n, i == 1)
}

func parseFloat[T string | []byte](s T) (int64, ValueError) {
	digit := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c-'0' <= 9:
			digit = true
		case c == '.' || c|0x20 == 'e':
		case c == '-' && (i == 0 || s[i-1]|0x20 == 'e'):
		case c == '+' && i > 0 && s[i-1]|0x20 == 'e':
		default:
			return 0, NotFloat
		}
	}
	if !digit {
		return 0, NotFloat
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil {
		if math.IsInf(f, 0) {
			return 0, OutOfRange
		}
		return 0, NotFloat
	}
	return OrderedFloat(f), 0
}

// two reads two digits at i; anything else is above 99.
func two[T string | []byte](s T, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return 100
	}
	return int(a)*10 + int(b)
}

// parseDate reads the first ten bytes of s, which is that long.
func parseDate[T string | []byte](s T) (int64, ValueError) {
	c, y, m, d := two(s, 0), two(s, 2), two(s, 5), two(s, 8)
	if c > 99 || y > 99 || m > 99 || d > 99 || s[4] != '-' || s[7] != '-' {
		return 0, NotDate
	}
	year := c*100 + y
	if year == 0 || m == 0 || m > 12 || d == 0 || d > 28 && d > daysIn(year, m) {
		return 0, NoSuchDay
	}
	return daysOf(year, m, d), 0
}

func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	}
	return 30 + (month+month>>3)&1
}

// daysOf counts days since 1970-01-01 in the proleptic Gregorian calendar. Years
// begin in March, so that the leap day is the last of its year.
func daysOf(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	inYear := (153*(month-3)+2)/5 + day - 1
	return int64(year*365+year/4-year/100+year/400+inYear) - 719468
}

func parseTimestamp[T string | []byte](s T, zone *time.Location) (int64, ValueError) {
	if len(s) < 10 {
		return 0, NotTimestamp
	}
	days, e := parseDate(s)
	if e == NotDate {
		return 0, NotTimestamp
	}
	c := clock{}
	if f := parseClock(s, &c); f != 0 {
		return 0, f
	}
	if e != 0 {
		return 0, e
	}
	ms := days*86400000 + c.ms
	switch {
	case c.fixed:
		ms -= c.offset
	case zone != nil && zone != time.UTC:
		ms = inZone(ms, zone)
	}
	if ms < MinTimestamp || ms > MaxTimestamp {
		return 0, OutOfRange
	}
	return ms, 0
}

// inZone returns when the clocks of a zone show the time of day and date that UTC's show at
// local. Where they show it twice, or never, time.Date takes the one or the other, by the
// side of Greenwich that the zone is on.
func inZone(local int64, zone *time.Location) int64 {
	u := time.UnixMilli(local).UTC()
	t := time.Date(u.Year(), u.Month(), u.Day(), u.Hour(), u.Minute(), u.Second(), u.Nanosecond(), zone)
	offset := offsetAt(t)
	if t.UnixMilli()+offset < local { // skipped, and t is before the change
		return local - offset
	}
	if start, _ := t.ZoneBounds(); !start.IsZero() {
		if first := local - offsetAt(start.Add(-time.Millisecond)); first < start.UnixMilli() {
			return first
		}
	}
	return t.UnixMilli()
}

// offsetAt returns how far a zone is ahead of UTC, in milliseconds.
func offsetAt(t time.Time) int64 {
	_, seconds := t.Zone()
	return int64(seconds) * 1000
}

// clock is the time of day of a timestamp's text.
type clock struct {
	ms     int64 // since midnight
	offset int64 // ms east of UTC, if fixed
	fixed  bool  // the text names an offset
}

// parseClock reads what follows the ten bytes of the date.
func parseClock[T string | []byte](s T, c *clock) ValueError {
	if len(s) == 10 {
		return 0
	}
	if len(s) < 16 || s[10] != ' ' && s[10]|0x20 != 't' || s[13] != ':' {
		return NotTimestamp
	}
	h, m, sec := two(s, 11), two(s, 14), 0
	i := 16
	if i < len(s) && s[i] == ':' {
		if len(s) < 19 {
			return NotTimestamp
		}
		sec, i = two(s, 17), 19
	}
	if h > 99 || m > 99 || sec > 99 {
		return NotTimestamp
	}
	c.ms = int64(h*3600+m*60+sec) * 1000
	if i == 19 && i < len(s) && s[i] == '.' {
		from := i + 1
		unit := int64(100)
		for i = from; i < len(s) && s[i]-'0' <= 9; i++ {
			c.ms += int64(s[i]-'0') * unit
			unit /= 10
		}
		if i == from {
			return NotTimestamp
		}
	}
	if e := parseOffset(s, i, c); e != 0 {
		return e
	}
	if h > 23 || m > 59 || sec > 59 {
		return NoSuchDay
	}
	return 0
}

// parseOffset reads nothing, Z or ±HH:MM at i, to the end.
func parseOffset[T string | []byte](s T, i int, c *clock) ValueError {
	if i == len(s) {
		return 0
	}
	c.fixed = true
	if s[i]|0x20 == 'z' && i+1 == len(s) {
		return 0
	}
	if len(s) != i+6 || s[i] != '+' && s[i] != '-' || s[i+3] != ':' {
		return NotTimestamp
	}
	h, m := two(s, i+1), two(s, i+4)
	if h > 99 || m > 99 {
		return NotTimestamp
	}
	if h > 23 || m > 59 {
		return NoSuchDay
	}
	c.offset = int64(h*60+m) * 60000
	if s[i] == '-' {
		c.offset = -c.offset
	}
	return 0
}
