package schema

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that no machine is without these zones
)

func TestParseCases(t *testing.T) {
	east := time.FixedZone("east", 2*3600)
	day := func(y int, m time.Month, d int) int64 { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400 }
	ms := func(s string) int64 {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMilli()
	}
	for _, c := range []struct {
		kind  Kind
		scale uint8
		text  string
		zone  *time.Location
		want  int64
		err   ValueError
	}{
		{kind: Bool, text: "TRUE", want: 1}, {kind: Bool, text: "yes", want: 1}, {kind: Bool, text: "1", want: 1},
		{kind: Bool, text: "No"}, {kind: Bool, text: "False"}, {kind: Bool, text: "0"},
		{kind: Bool, text: "t", err: NotBool}, {kind: Bool, text: "", err: NotBool}, {kind: Bool, text: "01", err: NotBool},
		{kind: Int, text: "-0"}, {kind: Int, text: "007", want: 7}, {kind: Int, text: "9223372036854775807", want: math.MaxInt64},
		{kind: Int, text: "-9223372036854775808", want: math.MinInt64}, {kind: Int, text: "9223372036854775808", err: OutOfRange},
		{kind: Int, text: "99999999999999999999999", err: OutOfRange}, {kind: Int, text: "99999999999999999999x", err: NotInt},
		{kind: Int, text: "+1", err: NotInt}, {kind: Int, text: "1.0", err: NotInt}, {kind: Int, text: "-", err: NotInt},
		{kind: Int, text: " 1", err: NotInt}, {kind: Int, text: "1_000", err: NotInt},
		{kind: Decimal, scale: 2, text: "12.3", want: 1230}, {kind: Decimal, scale: 2, text: "-0.05", want: -5},
		{kind: Decimal, scale: 2, text: "1.23000", want: 123}, {kind: Decimal, scale: 2, text: "1.239", err: TooManyPlaces},
		{kind: Decimal, scale: 2, text: ".5", want: 50}, {kind: Decimal, scale: 2, text: "5.", want: 500},
		{kind: Decimal, scale: 2, text: ".", err: NotDecimal}, {kind: Decimal, scale: 2, text: "1e3", err: NotDecimal},
		{kind: Decimal, scale: 2, text: "1,000.00", err: NotDecimal}, {kind: Decimal, scale: 2, text: "1.2.3", err: NotDecimal},
		{kind: Decimal, scale: 18, text: "9.223372036854775807", want: math.MaxInt64},
		{kind: Decimal, scale: 18, text: "-9.223372036854775808", want: math.MinInt64},
		{kind: Decimal, scale: 18, text: "9.3", err: OutOfRange}, {kind: Decimal, scale: 18, text: "1000", err: OutOfRange},
		{kind: Float, text: "1e3", want: OrderedFloat(1000)}, {kind: Float, text: "-0.0"}, {kind: Float, text: "1E+2", want: OrderedFloat(100)},
		{kind: Float, text: "NaN", err: NotFloat}, {kind: Float, text: "inf", err: NotFloat}, {kind: Float, text: "0x1p4", err: NotFloat},
		{kind: Float, text: "1e999", err: OutOfRange}, {kind: Float, text: "1_0", err: NotFloat}, {kind: Float, text: "", err: NotFloat},
		{kind: Date, text: "1970-01-01"}, {kind: Date, text: "0001-01-01", want: MinDate}, {kind: Date, text: "9999-12-31", want: MaxDate},
		{kind: Date, text: "2024-02-29", want: day(2024, 2, 29)}, {kind: Date, text: "2023-02-29", err: NoSuchDay},
		{kind: Date, text: "1900-02-29", err: NoSuchDay}, {kind: Date, text: "0000-01-01", err: NoSuchDay},
		{kind: Date, text: "2023-13-01", err: NoSuchDay}, {kind: Date, text: "2023-1-01", err: NotDate}, {kind: Date, text: "20230101", err: NotDate},
		{kind: Timestamp, text: "2024-05-06", want: ms("2024-05-06T00:00:00Z")},
		{kind: Timestamp, text: "2024-05-06", zone: east, want: ms("2024-05-05T22:00:00Z")},
		{kind: Timestamp, text: "2024-05-06 07:08", want: ms("2024-05-06T07:08:00Z")},
		{kind: Timestamp, text: "2024-05-06 07:08:09.123999", want: ms("2024-05-06T07:08:09.123Z")},
		{kind: Timestamp, text: "1969-12-31T23:59:59.9999Z", want: -1},
		{kind: Timestamp, text: "2024-05-06T07:08:09-03:30", zone: east, want: ms("2024-05-06T10:38:09Z")},
		{kind: Timestamp, text: "0001-01-01T00:00:00+01:00", err: OutOfRange}, {kind: Timestamp, text: "9999-12-31 23:59:59.999", want: MaxTimestamp},
		{kind: Timestamp, text: "2024-05-06 24:00", err: NoSuchDay}, {kind: Timestamp, text: "2024-02-30 07:00", err: NoSuchDay},
		{kind: Timestamp, text: "2024-05-06 07:08:60", err: NoSuchDay}, {kind: Timestamp, text: "2024-05-06T07", err: NotTimestamp},
		{kind: Timestamp, text: "2024-05-06 07:08:09.", err: NotTimestamp}, {kind: Timestamp, text: "2024-05-06 07:08:09+0100", err: NotTimestamp},
		{kind: Timestamp, text: "2024-02-30 xx:00", err: NotTimestamp}, {kind: String, text: "x", err: NoOrdered},
	} {
		got, err := ParseOrdered(c.kind, c.scale, []byte(c.text), c.zone)
		if c.err != 0 && err != c.err || c.err == 0 && (err != nil || got != c.want) {
			t.Errorf("%s(%d) %q: got %d, %v; want %d, %v", c.kind, c.scale, c.text, got, err, c.want, c.err)
		}
		v, err2 := ParseValue(&Attribute{Kind: c.kind, Scale: c.scale}, c.text, c.zone)
		if c.kind != String && c.text != "" && (v.Ordered() != got || err2 != err) {
			t.Errorf("%s %q: ParseValue gives %v, %v, ParseOrdered %d, %v", c.kind, c.text, v, err2, got, err)
		}
	}
}

func TestParseStringsAndSets(t *testing.T) {
	str, set := &Attribute{Kind: String}, &Attribute{Kind: Set}
	long := strings.Repeat("x", MaxStringBytes)
	many := make([]string, MaxSetElements+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	for _, c := range []struct {
		a    *Attribute
		text string
		want Value
		err  error
	}{
		{str, "", Value{}, nil}, {str, long, StringValue(long), nil}, {str, long + "x", Value{}, TooLong}, {str, "\xff", Value{}, NotUTF8},
		{set, "", SetValue(), nil}, {set, "b|a||b|", SetValue("a", "b"), nil}, {set, "a|\xff", Value{}, NotUTF8},
		{set, strings.Join(many, "|"), Value{}, TooMany}, {set, strings.Join(many[1:], "|"), SetValue(many[1:]...), nil},
		{&Attribute{Kind: Int}, "", Value{}, nil},
	} {
		got, err := ParseValue(c.a, c.text, nil)
		if !got.Equal(c.want) || err != c.err {
			t.Errorf("%.20q: got %.20q, %v; want %.20q, %v", c.text, got, err, c.want, c.err)
		}
	}
	if v, err := ParseSet("a|b;;c", ";"); err != nil || !v.Equal(SetValue("a|b", "c")) {
		t.Errorf("another separator: %v, %v", v, err)
	}
}

// reference parses with the standard library, slowly and obviously.
func reference(kind Kind, scale uint8, text string, zone *time.Location) (int64, bool) {
	if zone == nil {
		zone = time.UTC
	}
	switch kind {
	case Bool:
		n, ok := map[string]int64{"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}[strings.ToLower(text)]
		return n, ok
	case Int:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil && !strings.HasPrefix(text, "+")
	case Float:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.HasPrefix(text, "+") || strings.ContainsAny(text, "xXpPiInN_") {
			return 0, false
		}
		return OrderedFloat(f), true
	case Decimal:
		if !regexp.MustCompile(`^-?([0-9]+\.?[0-9]*|\.[0-9]+)$`).MatchString(text) {
			return 0, false
		}
		x, _ := new(big.Rat).SetString(text)
		x.Mul(x, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		return x.Num().Int64(), x.IsInt() && x.Num().IsInt64()
	case Date:
		at, err := time.Parse("2006-01-02", text)
		return at.Unix() / 86400, err == nil && at.Year() >= 1
	}
	return referenceTime(text, zone)
}

func referenceTime(text string, zone *time.Location) (int64, bool) {
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\d([ Tt]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)?)?$`).MatchString(text) {
		return 0, false
	}
	text = strings.ToUpper(strings.Replace(text, " ", "T", 1))
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z07:00"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			ms := at.UnixMilli()
			// The years of the text and of the instant both count: the text's year 0 is refused.
			return ms, ms >= MinTimestamp && ms <= MaxTimestamp && text[:4] != "0000"
		}
	}
	return 0, false
}

func randomCell(r *rand.Rand, kind Kind) string {
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		return b.String()
	}
	sign := []string{"", "-"}[r.IntN(2)]
	text := ""
	switch kind {
	case Bool:
		text = []string{"true", "FALSE", "Yes", "no", "1", "0", "nO"}[r.IntN(7)]
	case Int:
		text = sign + digits(1+r.IntN(21))
	case Float, Decimal:
		text = sign + digits(r.IntN(20)) + []string{"", "."}[r.IntN(2)] + digits(r.IntN(6)) + strings.Repeat("0", r.IntN(4))
		if kind == Float && r.IntN(3) == 0 {
			text += "e" + sign + digits(r.IntN(4))
		}
	default:
		text = fmt.Sprintf("%04d-%02d-%02d", r.IntN(10001), r.IntN(14), r.IntN(33))
		if kind == Timestamp && r.IntN(5) > 0 {
			text += []string{" ", "T", "t"}[r.IntN(3)] + fmt.Sprintf("%02d:%02d", r.IntN(25), r.IntN(62))
			if r.IntN(3) > 0 {
				text += fmt.Sprintf(":%02d", r.IntN(61))
				if r.IntN(2) == 0 {
					text += "." + digits(r.IntN(10))
				}
			}
			text += []string{"", "Z", "z", "+01:00", "-23:59", "+24:00", "+1:00"}[r.IntN(7)]
		}
	}
	if r.IntN(8) == 0 && text != "" { // one byte wrong
		b := []byte(text)
		b[r.IntN(len(b))] = "0123456789-+:. TZexEX_"[r.IntN(22)]
		text = string(b)
	}
	return text
}

func TestParseDifferential(t *testing.T) {
	const seed = 12
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	zones := []*time.Location{nil, time.UTC, time.FixedZone("a", 3600*5+1800), time.FixedZone("b", -3600*11)}
	good := map[Kind]int{}
	for i := range 120000 {
		kind := []Kind{Bool, Int, Float, Decimal, Date, Timestamp}[i%6]
		scale, zone, text := uint8(r.IntN(19)), zones[r.IntN(4)], randomCell(r, kind)
		want, ok := reference(kind, scale, text, zone)
		got, err := ParseOrdered(kind, scale, []byte(text), zone)
		if ok != (err == nil) || ok && got != want {
			t.Fatalf("%s(%d) %q in %v: got %d, %v; want %d, %v", kind, scale, text, zone, got, err, want, ok)
		}
		if ok {
			good[kind]++
			v := FromOrdered(kind, scale, got)
			if back, err := ParseOrdered(kind, scale, []byte(v.String()), nil); err != nil || back != got {
				t.Fatalf("%s(%d) %q prints %q, which reads as %d, %v", kind, scale, text, v, back, err)
			}
		}
	}
	for kind, n := range good {
		if n < 3000 {
			t.Errorf("only %d good cells of kind %s: the generator is wrong", n, kind)
		}
	}
}

func TestDaysOfEveryDay(t *testing.T) {
	at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for want := int64(MinDate); want <= MaxDate; want++ {
		if got := daysOf(at.Year(), int(at.Month()), at.Day()); got != want {
			t.Fatalf("%s: got %d, want %d", at.Format(time.DateOnly), got, want)
		}
		next := at.AddDate(0, 0, 1)
		if last := next.Month() != at.Month(); last != (at.Day() == daysIn(at.Year(), int(at.Month()))) {
			t.Fatalf("%s is wrongly taken for the last of its month, or not for it", at.Format(time.DateOnly))
		}
		at = next
	}
	if at.Year() != 10000 {
		t.Fatalf("the last day is %v", at)
	}
}

func FuzzParseOrdered(f *testing.F) {
	for _, s := range []string{"true", "-12", "1.50", "2024-02-29", "2024-02-29T01:02:03.5+01:00", "1e5"} {
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, scale uint8) {
		for kind := Bool; kind <= Timestamp; kind++ {
			if kind == String {
				continue
			}
			want, ok := reference(kind, scale%19, text, nil)
			got, err := ParseOrdered(kind, scale%19, []byte(text), nil)
			if ok != (err == nil) || ok && got != want {
				t.Fatalf("%s %q: got %d, %v; want %d, %v", kind, text, got, err, want, ok)
			}
		}
	})
}

func BenchmarkParseOrdered(b *testing.B) {
	for _, c := range []struct {
		kind  Kind
		scale uint8
		text  string
	}{{Bool, 0, "true"}, {Int, 0, "-1234567"}, {Float, 0, "1234.5678"}, {Decimal, 2, "-12345.67"}, {Date, 0, "2024-02-29"},
		{Timestamp, 0, "2024-02-29T12:34:56.789Z"}, {Timestamp, 0, "2024-02-29 12:34:56"}} {
		b.Run(c.kind.String()+"/"+c.text, func(b *testing.B) {
			cell := []byte(c.text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseOrdered(c.kind, c.scale, cell, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestParseClockChanges: times that clocks skip or repeat have one meaning in every zone.
func TestParseClockChanges(t *testing.T) {
	for _, c := range []struct{ zone, text, want string }{
		{"Europe/Helsinki", "2024-03-31 02:59", "2024-03-31T00:59:00Z"},
		{"Europe/Helsinki", "2024-03-31 03:00", "2024-03-31T01:00:00Z"}, // skipped: the same as 4:00
		{"Europe/Helsinki", "2024-03-31 03:30", "2024-03-31T01:30:00Z"}, // skipped
		{"Europe/Helsinki", "2024-03-31 04:00", "2024-03-31T01:00:00Z"},
		{"Europe/Helsinki", "2024-10-27 02:59:59.999", "2024-10-26T23:59:59.999Z"},
		{"Europe/Helsinki", "2024-10-27 03:00", "2024-10-27T00:00:00Z"}, // again at 01:00Z
		{"Europe/Helsinki", "2024-10-27 03:59", "2024-10-27T00:59:00Z"},
		{"Europe/Helsinki", "2024-10-27 04:00", "2024-10-27T02:00:00Z"},
		{"America/New_York", "2024-03-10 02:30", "2024-03-10T07:30:00Z"},
		{"America/New_York", "2024-11-03 01:30", "2024-11-03T05:30:00Z"},
		{"America/New_York", "2024-11-03 02:00", "2024-11-03T07:00:00Z"},
		{"America/New_York", "2024-03-10T02:30Z", "2024-03-10T02:30:00Z"},
		{"Europe/London", "2024-10-27 01:30", "2024-10-27T00:30:00Z"},
		{"Australia/Lord_Howe", "2024-04-07 01:45", "2024-04-06T14:45:00Z"}, // half an hour
		{"Australia/Lord_Howe", "2024-10-06 02:15", "2024-10-05T15:45:00Z"},
		{"Pacific/Apia", "2011-12-30 12:00", "2011-12-30T22:00:00Z"}, // a day that never was
		{"Pacific/Apia", "2011-12-31 12:00", "2011-12-30T22:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseOrdered(Timestamp, 0, []byte(c.text), zone)
		if err != nil || TimestampValue(got).String() != c.want {
			t.Errorf("%s in %s: %s, %v, want %s", c.text, c.zone, TimestampValue(got), err, c.want)
		}
	}
}

// TestInZone compares with a walk over the instants around.
func TestInZone(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	const minute, day = 60_000, 86_400_000
	walk := func(local int64, zone *time.Location) int64 {
		shown := func(at int64) int64 { return at + offsetAt(time.UnixMilli(at).In(zone)) }
		for at := local - 2*day; ; at += minute {
			if shown(at) == local {
				return at
			}
			if shown(at) > local { // it was skipped since the minute before
				return local - (shown(at-minute) - (at - minute))
			}
		}
	}
	for _, name := range []string{"Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "America/St_Johns", "Europe/London", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			at := time.Date(1980+r.IntN(60), 1, 1, 0, r.IntN(525_600), 0, 0, time.UTC)
			if _, end := at.In(zone).ZoneBounds(); r.IntN(3) > 0 && !end.IsZero() {
				at = end.UTC() // near a change
			}
			local := at.UnixMilli() + int64(r.IntN(30*60)-15*60)*minute
			if got, want := inZone(local, zone), walk(local, zone); got != want {
				t.Fatalf("%s in %s: %s, want %s", TimestampValue(local), name, TimestampValue(got), TimestampValue(want))
			}
		}
	}
}
