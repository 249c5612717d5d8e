package quality

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/mail"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func testSchema() *schema.Schema {
	str := func(v ...string) (out []schema.Value) {
		for _, s := range v {
			out = append(out, schema.StringValue(s))
		}
		return out
	}
	attrs := []schema.Attribute{
		{Name: "age", Kind: schema.Int, Min: schema.IntValue(0), Max: schema.IntValue(120)},
		{Name: "tickets", Kind: schema.Int, Allowed: []schema.Value{schema.IntValue(9), schema.IntValue(0), schema.IntValue(-3)}},
		{Name: "free", Kind: schema.Int},
		{Name: "ltv", Kind: schema.Decimal, Scale: 2, Min: schema.DecimalValue(0, 2)},
		{Name: "since", Kind: schema.Date, Max: schema.DateValue(20000)},
		{Name: "opt", Kind: schema.Bool},
		{Name: "plan", Kind: schema.String, Allowed: str("premium", "free", "basic")},
		{Name: "note", Kind: schema.String},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true, Format: FormatEmail},
		{Name: "phone", Kind: schema.String, Format: FormatPhone},
		{Name: "country", Kind: schema.String, Format: FormatCountry},
		{Name: "likes", Kind: schema.Set},
		{Name: "tags", Kind: schema.Set, Allowed: str("red", "green")},
		{Name: "speaks", Kind: schema.Set, Format: FormatLanguage},
	}
	for i := range attrs {
		attrs[i].ID = schema.FirstUserAttr + schema.AttrID(i)
		if err := attrs[i].Validate(); err != nil {
			panic(err)
		}
	}
	return schema.New(1, 0, attrs)
}

func check(t testing.TB, s *schema.Schema, build func(b *batch.Builder)) []Verdict {
	t.Helper()
	b := batch.New()
	build(b)
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := batch.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	return CheckAt(d, s, schema.MaxTimestamp)
}

func TestCheck(t *testing.T) {
	s := testSchema()
	text, num := schema.StringValue, schema.IntValue
	long := strings.Repeat("x", schema.MaxStringBytes+1)
	var many []string
	for i := range schema.MaxSetElements + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for _, tc := range []struct {
		attr   string
		value  schema.Value
		reason batch.Reason
		detail string
	}{
		{"age", num(0), 0, ""},
		{"age", num(120), 0, ""},
		{"age", num(121), batch.ReasonOutOfRange, "age: 121 is above the maximum 120"},
		{"age", num(-1), batch.ReasonOutOfRange, "age: -1 is below the minimum 0"},
		{"age", schema.DecimalValue(1, 0), batch.ReasonKind, "age: decimal(0) given, the attribute is int"},
		{"ltv", schema.DecimalValue(1, 3), batch.ReasonKind, "ltv: decimal(3) given, the attribute is decimal(2)"},
		{"ltv", num(1), batch.ReasonKind, "ltv: int given, the attribute is decimal(2)"},
		{"ltv", schema.DecimalValue(-1, 2), batch.ReasonOutOfRange, "ltv: -0.01 is below the minimum 0.00"},
		{"since", schema.DateValue(20001), batch.ReasonOutOfRange, "since: 2024-10-05 is above the maximum 2024-10-04"},
		{"tickets", num(-3), 0, ""},
		{"tickets", num(1), batch.ReasonNotAllowed, "tickets: 1 is not an allowed value"},
		{"plan", text("basic"), 0, ""},
		{"plan", text("Basic"), batch.ReasonNotAllowed, `plan: "Basic" is not an allowed value`},
		{"plan", text(""), batch.ReasonNotAllowed, `plan: "" is not an allowed value`},
		{"plan", schema.SetValue("basic"), batch.ReasonKind, "plan: set<string> given, the attribute is string"},
		{"note", text("日本 München"), 0, ""},
		{"note", text(long), batch.ReasonTooLong, "note: 16385 bytes; a string has at most 16384"},
		{"note", text(long[1:]), 0, ""},
		{"note", text("a\xff"), batch.ReasonEncoding, `note: "a\xff" is not UTF-8`},
		{"note", text(strings.Repeat("é", 40) + "\xff"), batch.ReasonEncoding, `note: "` + strings.Repeat("é", maxShown/2) + `"... is not UTF-8`},
		{"email", text("a@b.c"), 0, ""},
		{"email", text("a@b"), batch.ReasonFormat, "email: the value is not in the format email"},
		{"country", text("FI"), 0, ""},
		{"country", text("FX"), batch.ReasonFormat, `country: "FX" is not in the format country`},
		{"likes", schema.SetValue(), 0, ""},
		{"likes", schema.SetValue(many[1:]...), 0, ""},
		{"likes", schema.SetValue(many...), batch.ReasonTooMany, "likes: 1025 elements; a set has at most 1024"},
		{"likes", schema.SetValue("ok", long), batch.ReasonTooLong, "likes: 16385 bytes; a string has at most 16384"},
		{"tags", schema.SetValue("green"), 0, ""},
		{"tags", schema.SetValue("green", "blue"), batch.ReasonNotAllowed, `tags: "blue" is not an allowed value`},
		{"speaks", schema.SetValue("fi", "pt-BR"), 0, ""},
		{"speaks", schema.SetValue("fi", "xx-!"), batch.ReasonFormat, `speaks: "xx-!" is not in the format language`},
		{"nope", num(1), batch.ReasonUnknownColumn, "nope: there is no such attribute"},
		{"nope", schema.Value{}, batch.ReasonUnknownColumn, "nope: there is no such attribute"},
		{"age", schema.Value{}, 0, ""},
	} {
		got := check(t, s, func(b *batch.Builder) {
			b.Delete("gone")
			b.Upsert("good").Set("free", num(1))
			b.Upsert("row").Set(tc.attr, tc.value)
			b.Upsert("good").Set("note", text("b"))
		})
		var want []Verdict
		if tc.reason != 0 {
			want = []Verdict{{2, tc.reason, tc.detail}}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s %.40v: %v, want %v", tc.attr, tc.value, got, want)
		}
	}
}

func TestCheckVerbs(t *testing.T) {
	s := testSchema()
	got := check(t, s, func(b *batch.Builder) {
		// What is expected, removed or added to a number may be outside of the rules.
		b.Upsert("k").Expect("age", schema.IntValue(500)).Expect("plan", schema.StringValue("x")).Remove("tags", "blue").Increment("age", schema.IntValue(-200)).Unset("email").Expect("note", schema.Value{})
		b.Upsert("k").Add("tags", "red", "blue")
		b.Upsert("k").Increment("age", schema.DecimalValue(1, 1))
		b.Upsert("k").Set("age", schema.IntValue(-1)).Set("plan", schema.StringValue("x")) // one verdict
	})
	want := []Verdict{{1, batch.ReasonNotAllowed, `tags: "blue" is not an allowed value`},
		{2, batch.ReasonKind, "age: decimal(1) given, the attribute is int"},
		{3, batch.ReasonOutOfRange, "age: -1 is below the minimum 0"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestCheckKeys(t *testing.T) {
	got := check(t, testSchema(), func(b *batch.Builder) {
		b.Upsert("k\xff").Unset("note")
		b.ListAdd("vip", "ok", "München", "\xff")
		b.Quarantine("f", batch.BadRow{Line: 1, Reason: batch.ReasonRagged, Raw: "\xff"})
		b.Delete("a", "\xc0")
	})
	want := []Verdict{{0, batch.ReasonEncoding, "key: is not UTF-8"}, {3, batch.ReasonEncoding, "key: is not UTF-8"}, {6, batch.ReasonEncoding, "key: is not UTF-8"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

// TestCheckNFC feeds what no Builder makes: text that is not normalised, written into
// a finished batch.
func TestCheckNFC(t *testing.T) {
	s := testSchema()
	const loose = "A\u030a" // three bytes
	got := check(t, s, func(b *batch.Builder) { b.Upsert(loose).Set("note", schema.StringValue(loose)) })
	if got != nil {
		t.Errorf("the builder did not normalise: %v", got)
	}
	b := batch.New()
	b.Upsert("k").Set("note", schema.StringValue("XYZ"))
	b.Delete("XYZ")
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	enc = bytes.ReplaceAll(enc, []byte("XYZ"), []byte(loose))
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(enc[16:], crc32.Checksum(enc[24:], table))
	binary.LittleEndian.PutUint32(enc[20:], crc32.Checksum(enc[:20], table))
	d, err := batch.Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	want := []Verdict{{0, batch.ReasonEncoding, "note: \"A\u030a\" is not in normal form (NFC)"}, {1, batch.ReasonEncoding, "key: is not in normal form (NFC)"}}
	if got := CheckAt(d, s, schema.MaxTimestamp); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCheckSchemaChange(t *testing.T) {
	add := schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "new", Kind: schema.Int, Max: schema.IntValue(5)}}
	s := testSchema()
	got := check(t, s, func(b *batch.Builder) {
		b.Upsert("k").Set("new", schema.IntValue(1))
		b.Change(add)
		b.Change(add) // not possible twice: stage 2 says so
		b.Upsert("k").Set("new", schema.IntValue(5))
		b.Upsert("k").Set("new", schema.IntValue(6))
	})
	if len(got) != 2 || got[0].Row != 0 || got[0].Reason != batch.ReasonUnknownColumn || got[1].Row != 2 || got[1].Reason != batch.ReasonOutOfRange {
		t.Error(got)
	}
	if s.Lookup("new") != nil {
		t.Error("the schema changed")
	}
}

func TestFormats(t *testing.T) {
	label := strings.Repeat("a", maxLabel)
	for format, cases := range map[string][2][]string{
		FormatEmail: {
			{"a@b.co", "first.last+tag@mail.example.org", "o'neil@x.io", "müller@straße.de", "x@1.com", strings.Repeat("a", 64) + "@b.co", "a@" + label + ".de", "a@xn--strae-oqa.de"},
			{"", "a", "@b.co", "a@", "a@b", "a b@c.de", ".a@b.co", "a.@b.co", "a..b@c.de", "A <a@b.co>", "<a@b.co>", `"a b"@c.de`, "a@b..de", "a@-b.de", "a@b-.de", "a@b.co.", "a@127.0.0.1", "a@[127.0.0.1]",
				"a@b_c.de", strings.Repeat("a", 65) + "@b.co", "a@" + label + "a.de", "a@" + strings.Repeat(label+".", 4) + "de", "a@b.co ", "a,b@c.de", "a@b@c.de", "a(x)@b.de"},
		},
		FormatPhone: {
			{"+4917012345678", "+3581234567", "+123456789012345", "+2901234"},
			{"", "+", "0170123456", "+049170123", "+1234567890123456", "+123456", "+49 170 123456", "4917012345678", "+4917012345x78", "+٤٩١٧٠١٢٣"},
		},
		FormatURL: {
			{"https://example.org", "http://a/b?c=d#e", "https://münchen.de/ä", "http://[::1]:80/", "https://u:p@h/"},
			{"", "example.org", "//example.org", "ftp://example.org", "https://", "https:///x", "http://:80", "https://a b", "javascript:alert(1)", "https://a/<b>", "http://[::1", "mailto:a@b.de", "http://a/%zz"},
		},
		FormatCountry: {
			{"AD", "FI", "DE", "GB", "ZW", "US", "AX"},
			{"", "F", "fi", "UK", "EU", "ZZ", "AA", "DA", "FIN", "XK", "DD"},
		},
		FormatLanguage: {
			{"fi", "en-GB", "zh-Hant-TW", "de-1996", "sr-Latn", "FI", "x-private"},
			{"", "english", "en_GB", "qq", "-", "en-", "fi fi", strings.Repeat("a-", 40)},
		},
		"unknown": {{}, {"", "x"}},
	} {
		if KnownFormat(format) != (format != "unknown") {
			t.Errorf("KnownFormat(%q)", format)
		}
		for i, list := range cases {
			for _, s := range list {
				if hasFormat(format, s) != (i == 0) {
					t.Errorf("%s %q: %v", format, s, i == 1)
				}
			}
		}
	}
}

// TestCountries compares the table with the regions that x/text knows: all are
// countries there, and what x/text has beside them is retired or not of ISO 3166-1.
func TestCountries(t *testing.T) {
	if len(countries) != 2*249 {
		t.Fatalf("%d countries", len(countries)/2)
	}
	var beside []string
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string(a) + string(b)
			r, err := language.ParseRegion(code)
			known := err == nil && r.IsCountry() && r.String() == code
			switch {
			case isCountry(code) && !known:
				t.Errorf("%s is no country", code)
			case known && !isCountry(code):
				beside = append(beside, code)
			}
		}
	}
	t.Logf("x/text has also %s", beside)
	if !slices.IsSortedFunc(strings.Split(regexp.MustCompile("..").ReplaceAllString(countries, "$0 "), " ")[:249], strings.Compare) {
		t.Error("the table does not ascend")
	}
}

// TestEmailFast compares the short way with net/mail.
func TestEmailFast(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	accepted := 0
	for range 50000 {
		var b strings.Builder
		for range 1 + rnd.IntN(9) {
			b.WriteByte("ab1.-+_!@\"( \\,"[rnd.IntN(14)])
		}
		b.WriteString("@b.de")
		s := b.String()
		a, err := mail.ParseAddress(s)
		want := err == nil && a.Name == "" && a.Address == s && isDomain(s[strings.LastIndexByte(s, '@')+1:])
		if isEmail(s) != want {
			t.Fatalf("%q: %v, net/mail %v", s, !want, err)
		}
		if want {
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d were accepted", accepted)
	}
}

// naive is Check cell by cell, from the rules in its comment.
func naive(d *batch.Decoded, s *schema.Schema) map[int]batch.Reason {
	out := map[int]batch.Reason{}
	note := func(row int, r batch.Reason) {
		if _, there := out[row]; !there && r != batch.ReasonNone {
			out[row] = r
		}
	}
	for _, op := range d.Ops {
		for i := range op.Keys.Len() {
			note(op.FirstRow+i, naiveText(nil, string(op.Keys.At(i)), false))
		}
		if op.Block == nil {
			continue
		}
		for i := range op.Block.N {
			note(op.FirstRow+i, naiveText(nil, string(op.Block.Keys.At(i)), false))
		}
		for _, col := range op.Block.Columns {
			cell, element := 0, 0
			for i := range op.Block.N {
				if !col.Has(i) {
					continue
				}
				elements := 0
				if col.Kind == schema.Set {
					elements = int(col.Counts[cell])
				}
				note(op.FirstRow+i, naiveCell(s.Lookup(col.Name), &col, cell, col.Index[min(element, len(col.Index)):min(element+elements, len(col.Index))]))
				cell++
				element += elements
			}
		}
	}
	return out
}

func naiveCell(a *schema.Attribute, col *batch.BlockColumn, cell int, elements []uint32) batch.Reason {
	stored := col.Verb == batch.VerbSet || col.Verb == batch.VerbAdd
	switch {
	case a == nil:
		return batch.ReasonUnknownColumn
	case col.Kind == schema.Absent:
		return batch.ReasonNone
	case col.Kind != a.Kind || col.Scale != a.Scale:
		return batch.ReasonKind
	case col.Kind == schema.String && col.Index != nil:
		return naiveText(a, string(col.Dict.At(int(col.Index[cell]))), stored)
	case col.Kind == schema.String:
		return naiveText(a, string(col.Plain.At(cell)), stored)
	case col.Kind == schema.Set:
		if len(elements) > 1024 {
			return batch.ReasonTooMany
		}
		for _, e := range elements {
			if r := naiveText(a, string(col.Dict.At(int(e))), stored); r != 0 {
				return r
			}
		}
		return batch.ReasonNone
	}
	v := schema.FromOrdered(col.Kind, col.Scale, col.Ints[cell])
	switch {
	case stored && !a.Min.IsAbsent() && v.Ordered() < a.Min.Ordered(), stored && !a.Max.IsAbsent() && v.Ordered() > a.Max.Ordered():
		return batch.ReasonOutOfRange
	case stored && len(a.Allowed) > 0 && !slices.ContainsFunc(a.Allowed, v.Equal):
		return batch.ReasonNotAllowed
	}
	return batch.ReasonNone
}

func naiveText(a *schema.Attribute, s string, stored bool) batch.Reason {
	switch {
	case len(s) > 16384:
		return batch.ReasonTooLong
	case !utf8.ValidString(s) || norm.NFC.String(s) != s:
		return batch.ReasonEncoding
	case a == nil || !stored:
		return batch.ReasonNone
	case len(a.Allowed) > 0 && !slices.ContainsFunc(a.Allowed, schema.StringValue(s).Equal):
		return batch.ReasonNotAllowed
	case a.Format == FormatPhone && !regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`).MatchString(s):
		return batch.ReasonFormat
	case a.Format == FormatEmail && (strings.Count(s, "@") != 1 || strings.HasPrefix(s, "@")), a.Format == FormatCountry && !slices.Contains([]string{"FI", "DE"}, s),
		a.Format == FormatLanguage && !slices.Contains([]string{"fi", "sv"}, s):
		return batch.ReasonFormat
	}
	return batch.ReasonNone
}

func TestCheckRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := testSchema()
	words := map[string][]string{"email": {"a@b.de", "x", "@b.de"}, "phone": {"+49170123456", "0170"}, "country": {"FI", "DE", "de"}, "speaks": {"fi", "sv", "!"},
		"plan": {"free", "basic", "x"}, "tags": {"red", "green", "blue"}, "note": {"a", "b", "ä", "c\xff"}, "likes": {"i1", "i2", "日本", "\xff"}, "nope": {"x"}}
	bad := 0
	for round := range 300 {
		b := batch.New()
		rows := 1 + rnd.IntN(60)
		odds := 1 + rnd.IntN(40) // how rare bad values are
		for range rows {
			r := b.Upsert([]string{"k", "ä", "k\xff"}[rnd.IntN(50)/24])
			for i := range s.Attributes {
				a := &s.Attributes[i]
				if rnd.IntN(3) == 0 {
					continue
				}
				list := words[a.Name]
				pick := func() string {
					if rnd.IntN(odds) > 0 && len(list) > 1 {
						return list[rnd.IntN(2)]
					}
					return list[rnd.IntN(len(list))]
				}
				fillCell(rnd, r, a, pick, odds)
			}
			if rnd.IntN(30) == 0 {
				r.Set("nope", schema.IntValue(1))
			}
		}
		b.Delete("x", "\xff")
		enc, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := batch.Decode(enc)
		if err != nil {
			t.Fatal(err)
		}
		got, want := CheckAt(d, s, schema.MaxTimestamp), naive(d, s)
		last := -1
		for _, v := range got {
			if v.Row <= last || want[v.Row] != v.Reason || v.Detail == "" {
				t.Fatalf("round %d: %+v, want reason %d", round, v, want[v.Row])
			}
			last = v.Row
		}
		if len(got) != len(want) {
			t.Fatalf("round %d: %d verdicts, want %d", round, len(got), len(want))
		}
		bad += len(got)
		wire, err := AppendVerdicts(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeVerdicts(wire, d.Rows); err != nil || !slices.Equal(back, got) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if bad < 300 {
		t.Errorf("only %d bad rows", bad)
	}
}

func fillCell(rnd *rand.Rand, r *batch.Row, a *schema.Attribute, pick func() string, odds int) {
	switch {
	case rnd.IntN(20) == 0:
		r.Unset(a.Name)
	case a.Kind == schema.String && rnd.IntN(10) == 0:
		r.Expect(a.Name, schema.StringValue(pick()))
	case a.Kind == schema.String:
		r.Set(a.Name, schema.StringValue(pick()))
	case a.Kind == schema.Set && rnd.IntN(4) == 0:
		r.Add(a.Name, pick(), pick())
	case a.Kind == schema.Set && rnd.IntN(4) == 0:
		r.Remove(a.Name, pick())
	case a.Kind == schema.Set:
		r.Set(a.Name, schema.SetValue(pick(), pick()))
	case a.Kind == schema.Bool:
		r.Set(a.Name, schema.BoolValue(rnd.IntN(2) == 0))
	default:
		n := int64(9 * rnd.IntN(2))
		if rnd.IntN(odds) == 0 {
			n = rnd.Int64N(40000) - 20000
		}
		v := schema.FromOrdered(a.Kind, a.Scale, n)
		if a.Kind == schema.Int && rnd.IntN(5) == 0 {
			r.Increment(a.Name, v)
			return
		}
		r.Set(a.Name, v)
	}
}

func TestVerdictLimits(t *testing.T) {
	var many []Verdict
	for i := range 5000 {
		many = append(many, Verdict{i, batch.ReasonFormat, "email: the value is not in the format email"})
	}
	if dst, err := AppendVerdicts([]byte{7}, many); err == nil || err.(*query.Error).Code != query.CodeLimit || len(dst) != 1 {
		t.Errorf("5,000 verdicts: %d bytes, %v", len(dst), err)
	}
	if wire, err := AppendVerdicts(nil, many[:1000]); err != nil || len(wire) > MaxVerdictBytes {
		t.Errorf("1,000 verdicts: %d bytes, %v", len(wire), err)
	}
	for _, v := range [][]Verdict{{{1, 0, ""}}, {{-1, 1, ""}}, {{3, 1, ""}, {3, 1, ""}}, {{0, 1, strings.Repeat("x", batch.MaxDetail+1)}}} {
		if _, err := AppendVerdicts(nil, v); err == nil || err.(*query.Error).Code != query.CodeInvalid {
			t.Errorf("%v: %v", v, err)
		}
	}
	if wire, err := AppendVerdicts(nil, nil); err != nil || len(wire) != 0 {
		t.Error(wire, err)
	}
}

func TestVerdictGolden(t *testing.T) {
	want := []Verdict{{2, batch.ReasonFormat, "ab"}, {3, batch.ReasonKind, ""}, {300, batch.ReasonTooMany, "c"}}
	golden := []byte{3, 2, 7, 2, 'a', 'b', 0, 10, 0, 0xa8, 2, 22, 1, 'c'}
	if wire, err := AppendVerdicts(nil, want); err != nil || !slices.Equal(wire, golden) {
		t.Errorf("% x, %v", wire, err)
	}
	if got, err := DecodeVerdicts(golden, 301); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for i := 1; i < len(golden); i++ {
		if _, err := DecodeVerdicts(golden[:i], 301); err == nil || err.(*query.Error).Code != query.CodeCorrupt {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for name, b := range map[string][]byte{"rows": golden, "trailing": append(slices.Clone(golden), 0), "count 0": {0}, "reason 0": {1, 0, 0, 0}, "count": {9, 0, 1, 0}, "long": make([]byte, MaxVerdictBytes+1)} {
		rows := 301
		if name == "rows" {
			rows = 300
		}
		if _, err := DecodeVerdicts(b, rows); err == nil || err.(*query.Error).Code != query.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeVerdicts(f *testing.F) {
	f.Add([]byte{3, 2, 7, 2, 'a', 'b', 0, 10, 0, 0xa8, 2, 22, 1, 'c'}, 1000)
	f.Fuzz(func(t *testing.T, b []byte, rows int) {
		v, err := DecodeVerdicts(b, rows)
		if err != nil {
			if err.(*query.Error).Code != query.CodeCorrupt {
				t.Fatal(err)
			}
			return
		}
		if len(v) > 0 && v[len(v)-1].Row >= rows {
			t.Fatal(v)
		}
		wire, err := AppendVerdicts(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeVerdicts(wire, rows)
		if err != nil || !slices.Equal(back, v) {
			t.Fatal(back, err)
		}
	})
}

func FuzzFormats(f *testing.F) {
	for _, s := range []string{"a@b.de", "https://x.y/z", "pt-BR", "+4917012345", "FI"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, format := range []string{FormatEmail, FormatPhone, FormatURL, FormatCountry, FormatLanguage} {
			hasFormat(format, s) // no panic
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	const rows = 5000
	s := testSchema()
	bld := batch.New()
	cols := []batch.Column{{Name: "age", Kind: schema.Int}, {Name: "free", Kind: schema.Int}, {Name: "ltv", Kind: schema.Decimal, Scale: 2}, {Name: "opt", Kind: schema.Bool},
		{Name: "plan", Kind: schema.String}, {Name: "note", Kind: schema.String}, {Name: "country", Kind: schema.String}, {Name: "tags", Kind: schema.Set}, {Name: "email", Kind: schema.String}}
	for _, mails := range []bool{false, true} {
		use := cols
		if !mails {
			use = cols[:len(cols)-1]
		}
		bld.Reset()
		t := bld.Table(use)
		for i := range rows {
			t.Row(fmt.Appendf(nil, "user-%08d", i))
			t.Int(0, int64(i%90))
			t.Int(1, int64(i))
			t.Int(2, int64(i))
			t.Int(3, int64(i%2))
			t.Str(4, [][]byte{[]byte("free"), []byte("basic")}[i%2])
			t.Str(5, fmt.Appendf(nil, "note %d", i))
			t.Str(6, [][]byte{[]byte("FI"), []byte("DE")}[i%2])
			t.Elems(7, [][]byte{[]byte("red")})
			if mails {
				t.Str(8, fmt.Appendf(nil, "somebody.%d@example.org", i))
			}
		}
		enc, err := bld.Encode()
		if err != nil {
			b.Fatal(err)
		}
		d, err := batch.Decode(enc)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("mails=%v", mails), func(b *testing.B) {
			for b.Loop() {
				if v := CheckAt(d, s, schema.MaxTimestamp); v != nil {
					b.Fatal(v[0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows/float64(len(use)), "ns/cell")
		})
	}
}
