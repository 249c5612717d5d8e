package engine

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// lawPeople is a store of random people with attributes of all kinds, and their events.
type lawPeople struct{ *actModel }

func lawAttributes() []schema.Attribute {
	return []schema.Attribute{{Name: "country", Kind: schema.String}, {Name: "member", Kind: schema.Bool}, {Name: "likes", Kind: schema.Set},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline}, {Name: "age", Kind: schema.Int}, {Name: "wide", Kind: schema.Int},
		{Name: "spent", Kind: schema.Decimal, Scale: 2}, {Name: "score", Kind: schema.Float}, {Name: "born", Kind: schema.Date}, {Name: "seen", Kind: schema.Timestamp}}
}

func newLawPeople(t *testing.T, seed uint64, first uint32) lawPeople {
	t.Logf("seed %d", seed)
	m := &actModel{t: t, r: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), ids: map[string]string{}, keep: newModelRetention(), now: time.UnixMilli(100*actDay + 12345).UTC(), first: first}
	m.open()
	m.apply(func(b *batch.Builder) {
		for _, c := range eventChanges() {
			b.Change(c)
		}
		for _, a := range lawAttributes() {
			b.Change(schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
		}
	})
	return lawPeople{m}
}

// value returns a random value of an attribute.
func (m lawPeople) value(name string) schema.Value {
	switch name {
	case "country":
		return schema.StringValue(pickOne(m.actModel, "FI", "FI", "SE", "IT", "(none)", "a \"b\""))
	case "member":
		return schema.BoolValue(m.r.IntN(3) > 0)
	case "likes":
		return schema.SetValue([]string{"tea", "cake", "wine"}[m.r.IntN(2) : m.r.IntN(2)+1]...)
	case "email":
		return schema.StringValue(fmt.Sprintf("%d@x.fi", m.r.IntN(9)))
	case "age":
		return schema.IntValue(m.r.Int64N(9) * m.r.Int64N(9))
	case "wide":
		return schema.IntValue((m.r.Int64N(200) - 100) * 1_000_003)
	case "spent":
		return schema.DecimalValue(m.r.Int64N(20_000)-5000, 2)
	case "score":
		return schema.FloatValue(m.r.NormFloat64() * 100)
	case "born":
		return schema.DateValue(m.r.Int64N(30_000) - 15_000)
	}
	return schema.TimestampValue((m.r.Int64N(200)-100)*actDay + m.r.Int64N(2)*m.r.Int64N(actDay))
}

// writePeople gives people values, and takes some away.
func (m lawPeople) writePeople() {
	m.t.Helper()
	m.apply(func(b *batch.Builder) {
		for range 40 {
			row := b.Upsert(m.key())
			for _, a := range lawAttributes() {
				switch m.r.IntN(5) {
				case 0:
				case 1:
					row.Unset(a.Name)
				default:
					row.Set(a.Name, m.value(a.Name))
				}
			}
		}
	})
}

// who makes an expression about people.
func (m lawPeople) who() string {
	if m.r.IntN(3) == 0 {
		return m.condition()
	}
	return pickOne(m.actModel, `country == "FI"`, "member", "!member", "age > 10", "wide < 0 || age == 0", `likes.hasAny(["tea"])`, "spent > 50.0 && score < 50.0", "has(p.email)", `email in ["1@x.fi", "3@x.fi"]`, "false", "true")
}

// change does something to the store.
func (m lawPeople) change(name string) {
	switch m.r.IntN(6) {
	case 0:
		m.remove()
	case 1:
		m.compact(name)
	case 2:
		m.write()()
	default:
		m.writePeople()
	}
}

// TestCompareLaw asks for comparisons of random people, and for the expressions that their
// rows say.
func TestCompareLaw(t *testing.T) {
	t.Parallel()
	m := newLawPeople(t, 21, 0)
	defer func() { _ = m.db.Close() }()
	rows := map[string]int{}
	steps := 25
	if testing.Short() {
		steps = 6
	}
	for step := range steps {
		m.change(fmt.Sprint("step ", step))
		m.comparison(fmt.Sprint("step ", step), rows)
	}
	t.Logf("rows: %v", rows)
	for _, a := range lawAttributes() {
		if rows[a.Name] == 0 {
			t.Errorf("no row of %s", a.Name)
		}
	}
	for _, cell := range []string{"country=XX", "nothing", "base:", "age="} {
		if _, err := m.db.AnalysisMembers(t.Context(), "compare", "member", nil, cell, nil); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("cell %q: %v", cell, err)
		}
	}
}

func (m lawPeople) comparison(name string, rows map[string]int) {
	m.t.Helper()
	who, base := m.who(), pickOne(m.actModel, "", m.who())
	days := 1 + m.r.IntN(90)
	args := query.Arguments{"within": {fmt.Sprintf("%dd", days)}, "min-people": {strconv.Itoa(1 + m.r.IntN(3))}, "ranges": {strconv.Itoa(1 + m.r.IntN(7))}, "each": {"1000"}, "top": {"1000"}}
	if base != "" {
		args["base"] = []string{base}
	}
	what := fmt.Sprintf("%s: compare %q %v", name, who, args)
	r, err := m.db.Analyze(m.t.Context(), "compare", who, args, &query.Options{Parallelism: 1 + m.r.IntN(3)})
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	if base == "" {
		base = "true"
	}
	m.sameKeys(what, who, args, "rest", m.without(base, who))
	m.sameKeys(what, who, args, "segment", m.keysOf(m.db.Members(m.t.Context(), who, nil)))
	m.sameKeys(what, who, args, "base", m.keysOf(m.db.Members(m.t.Context(), base, nil)))
	for _, t := range r.Tables[1:3] {
		for _, row := range t.Rows {
			rows[row.Values[0].Str()]++
			says := m.says(row, days)
			for i, group := range []string{who, base} {
				keys := m.keysOf(m.db.Members(m.t.Context(), fmt.Sprintf("(%s) && %s", group, says), nil))
				if got := row.Values[2+2*i].Ordered(); got != int64(len(keys)) {
					m.t.Fatalf("%s: %v has %d people, want %q: %s", what, row.Values, got, keys, says)
				}
				if m.r.IntN(6) == 0 {
					m.sameKeys(what, who, args, row.Cells[i], keys)
				}
			}
			m.sameStatistics(what, r.Tables[0].Rows, row.Values)
		}
	}
	for _, row := range r.Tables[3].Rows {
		m.sameAverage(what, who, base, days, row)
	}
	m.complete(what, who, base, &r)
	if before := r.Tables; m.r.IntN(3) == 0 {
		m.compact(name)
		if r, err = m.db.Analyze(m.t.Context(), "compare", who, args, nil); err != nil || !reflect.DeepEqual(r.Tables, before) {
			m.t.Fatalf("%s: after a compaction %+v, want %+v (%v)", what, r.Tables, before, err)
		}
	}
}

// without returns the keys of a group who are not of another.
func (m lawPeople) without(group, other string) []string {
	m.t.Helper()
	of := m.keysOf(m.db.Members(m.t.Context(), other, nil))
	return slices.DeleteFunc(m.keysOf(m.db.Members(m.t.Context(), group, nil)), func(key string) bool { return slices.Contains(of, key) })
}

func (m lawPeople) sameKeys(what, who string, args query.Arguments, cell string, want []string) {
	m.t.Helper()
	if got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "compare", who, args, cell, nil)); !slices.Equal(got, want) {
		m.t.Fatalf("%s: cell %q is %q, want %q", what, cell, got, want)
	}
}

// says returns the expression that a row is.
func (m lawPeople) says(row query.ReportRow, days int) string {
	name, value := row.Values[0].Str(), row.Values[1].Str()
	attribute := slices.IndexFunc(lawAttributes(), func(a schema.Attribute) bool { return a.Name == name })
	if attribute < 0 {
		return fmt.Sprintf("%s.in_last(days(%d)).any()", name, days)
	}
	literal := func(text string) string { return text }
	kind := lawAttributes()[attribute].Kind
	switch kind {
	case schema.Date:
		literal = func(text string) string { return fmt.Sprintf("date(%q)", text) }
	case schema.Timestamp:
		literal = func(text string) string { return fmt.Sprintf("timestamp(%q)", text+"T00:00:00Z") }
	case schema.Float:
		literal = func(text string) string { return "double(" + text + ")" }
	}
	upTo := func(text string) string {
		if kind == schema.Timestamp {
			return name + " < " + literal(text) + " + days(1)"
		}
		return name + " <= " + literal(text)
	}
	from, to, two := strings.Cut(value, " to ")
	switch {
	case value == "(none)" && !strings.HasSuffix(row.Cells[0], `"`): // a country is called so
		return "!has(p." + name + ")"
	case value == "(any)":
		return "has(p." + name + ")"
	case kind == schema.String:
		return name + " == " + strconv.Quote(value)
	case kind == schema.Set:
		return name + ".hasAny([" + strconv.Quote(value) + "])"
	case kind == schema.Bool:
		return name + " == " + value
	case strings.HasPrefix(value, "up to "):
		return upTo(value[len("up to "):])
	case strings.HasPrefix(value, "below "):
		return name + " < " + literal(value[len("below "):])
	case strings.HasPrefix(value, "from "):
		return name + " >= " + literal(value[len("from "):])
	case two && strings.HasPrefix(to, "below "):
		return name + " >= " + literal(from) + " && " + name + " < " + literal(to[len("below "):])
	case two:
		return name + " >= " + literal(from) + " && " + upTo(to)
	}
	return name + " >= " + literal(value) + " && " + upTo(value)
}

// sameStatistics works out what a row says of its numbers.
func (m lawPeople) sameStatistics(what string, groups []query.ReportRow, row []schema.Value) {
	m.t.Helper()
	n, all := float64(groups[0].Values[1].Ordered()), float64(groups[1].Values[1].Ordered())
	share, base := float64(row[2].Ordered())/n, float64(row[4].Ordered())/all
	h := 2*math.Asin(math.Sqrt(share)) - 2*math.Asin(math.Sqrt(base))
	for i, want := range map[int]float64{3: share, 5: base, 7: share - base, 8: h, 6: share / base} {
		if got := row[i]; !(got.IsAbsent() && base == 0) && math.Abs(got.Float()-want) > 1e-5*math.Abs(want)+1e-12 {
			m.t.Fatalf("%s: %v: column %d is %v, want %v", what, row, i, got, want)
		}
	}
	if p, adjusted := row[9].Float(), row[10].Float(); p < 0 || p > adjusted || adjusted > 1 {
		m.t.Fatalf("%s: %v: p %v and %v", what, row, p, adjusted)
	}
}

// sameAverage adds up what the members of a group have.
func (m lawPeople) sameAverage(what, who, base string, days int, row query.ReportRow) {
	m.t.Helper()
	name := row.Values[0].Str()
	var means, deviations [2]float64
	for i, group := range []string{who, base} {
		values := m.numbers(group, name, days)
		for _, x := range values {
			means[i] += x / float64(len(values))
		}
		for _, x := range values {
			deviations[i] += (x - means[i]) * (x - means[i])
		}
		deviations[i] = math.Sqrt(deviations[i] / max(1, float64(len(values)-1)))
		got := row.Values[2+2*i]
		average := got.Ordered()
		isAverage := float64(average) <= means[i]+1e-3 && means[i]-1 <= float64(average)+1e-3
		if got.Kind() == schema.Float {
			isAverage = math.Abs(got.Float()-means[i]) <= 1e-9*(math.Abs(means[i])+deviations[i])
		}
		if row.Values[1+2*i].Ordered() != int64(len(values)) || !isAverage {
			m.t.Fatalf("%s: %v is of %v on average, want %d, %v", what, row.Values, got, len(values), means[i])
		}
	}
	if effect := row.Values[5]; !effect.IsAbsent() && math.Abs(effect.Float()-(means[0]-means[1])/deviations[1]) > 1e-5*(1+math.Abs(effect.Float())) {
		m.t.Fatalf("%s: %v has the effect %v, want %v", what, row.Values, effect, (means[0]-means[1])/deviations[1])
	}
}

// numbers returns what the members of a group have: their numbers, or how many events.
func (m lawPeople) numbers(group, name string, days int) (out []float64) {
	m.t.Helper()
	column := name
	if name == "buy" || name == "look" {
		column = "asked"
		m.define(column, fmt.Sprintf("%s.in_last(days(%d)).count()", name, days))
	}
	members, err := m.db.Members(m.t.Context(), group, &query.MembersOptions{Attributes: []string{column}})
	if err != nil {
		m.t.Fatal(err)
	}
	for row, err := range members.Rows {
		if err != nil {
			m.t.Fatal(err)
		}
		switch v := row.Values[0]; v.Kind() {
		case schema.Absent:
		case schema.Float:
			out = append(out, v.Float())
		case schema.Decimal:
			out = append(out, float64(v.Ordered())/100)
		default:
			out = append(out, float64(v.Ordered()))
		}
	}
	return out
}

// complete makes sure that each country of the base has a row, but where it is as frequent in
// the segment.
func (m lawPeople) complete(what, who, base string, r *query.Report) {
	m.t.Helper()
	n, all := r.Tables[0].Rows[0].Values[1].Ordered(), r.Tables[0].Rows[1].Values[1].Ordered()
	b, err := m.db.Breakdown(m.t.Context(), base, "country", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, value := range b.Rows {
		text, count := value.Value.String(), int64(value.Count)
		if value.Value.IsAbsent() || n == 0 || r.Tables[0].Rows[2].Values[1].Ordered() == 0 || count < 3 {
			continue
		}
		own, err := m.db.Count(m.t.Context(), fmt.Sprintf("(%s) && country == %q", who, text), nil)
		if err != nil {
			m.t.Fatal(err)
		}
		found := slices.ContainsFunc(slices.Concat(r.Tables[1].Rows, r.Tables[2].Rows), func(row query.ReportRow) bool {
			return row.Values[0].Str() == "country" && row.Values[1].Str() == text && row.Values[4].Ordered() == count
		})
		if !found && int64(own.Count)*all != count*n {
			m.t.Fatalf("%s: %s, of %d of %d, has no row", what, text, count, all)
		}
	}
}

// The people of TestCompareChunks, by number.
func chunkPeople() int { return Rounds(330_000, 120_000) }

// firstOfChunks is the ordinal of the first of them. They are in six chunks, or three, which two
// workers share: each takes four at a time, and those behind the sixteenth are another's.
func firstOfChunks() uint32 { return uint32(Rounds(0, 1<<20-60_000)) }

func chunkCountry(i int) string { return []string{"FI", "SE", "", "IT"}[i%7%4] }
func chunkAge(i int) int64      { return int64(i) * 7919 % 101 }
func chunkWide(i int) int64     { return int64(i) * 1_000_003 % 999_999_937 }

// chunkLooks is how many events there are of the last ten days.
func chunkLooks(i int) int {
	if i%19 < 10 {
		return i % 5 % 3
	}
	return 0
}

func (m lawPeople) writeChunks() {
	m.t.Helper()
	if err := m.db.Close(); err != nil {
		m.t.Fatal(err)
	}
	var err error // with the limits that are low elsewhere, writers of so many would be slowed by how long folds take
	if m.db, err = Open("store", &Options{FS: m.fs, Clock: m.clock}); err != nil {
		m.t.Fatal(err)
	}
	step := chunkPeople() / 15
	for from := 0; from < chunkPeople(); from += step {
		m.apply(func(b *batch.Builder) {
			people := b.Table([]batch.Column{{Name: "country", Kind: schema.String}, {Name: "age", Kind: schema.Int}, {Name: "wide", Kind: schema.Int}, {Name: "likes", Kind: schema.Set}})
			acts := b.Events(nil)
			for i := from; i < from+step; i++ {
				key := fmt.Appendf(nil, "k%06d", i)
				people.Row(key)
				if c := chunkCountry(i); c != "" {
					people.Str(0, []byte(c))
				}
				people.Int(1, chunkAge(i))
				people.Int(2, chunkWide(i))
				if i%2 == 0 {
					people.Elems(3, [][]byte{[]byte("tea"), []byte("cake")}[:1+i%4/2])
				}
				for k := range i % 5 % 3 {
					acts.Row(key, []byte("look"), m.now.UnixMilli()-int64(i%19)*actDay-int64(k))
				}
			}
		})
	}
}

// TestCompareChunks compares people of several chunks on several workers, where it costs less
// to ask for the people of a value, and compares with a loop over all. It breaks them down too.
func TestCompareChunks(t *testing.T) {
	t.Parallel()
	m := newLawPeople(t, 22, firstOfChunks())
	defer func() { _ = m.db.Close() }()
	m.writeChunks()
	who := func(i int) bool { return chunkAge(i) < 30 && chunkWide(i)%2 == 0 }
	args := query.Arguments{"each": {"100"}, "top": {"1000"}, "ranges": {"4"}, "within": {"10d"}}
	for _, base := range []string{"", "age < 60"}[Rounds(0, 1):] {
		if args["base"] = nil; base != "" {
			args["base"] = []string{base}
		}
		of := func(i int) bool { return base == "" || chunkAge(i) < 60 }
		r, err := m.db.Analyze(t.Context(), "compare", "age < 30 && wide % 2 == 0", args, &query.Options{Parallelism: 3})
		if err != nil {
			t.Fatal(err)
		}
		people := func(name, value string, test func(i int) bool) {
			t.Helper()
			want := [2]int64{}
			for i := range chunkPeople() {
				if who(i) && test(i) {
					want[0]++
				}
				if of(i) && test(i) {
					want[1]++
				}
			}
			same := func(row query.ReportRow) bool {
				v := row.Values
				return v[0].Str() == name && v[1].Str() == value && v[2].Ordered() == want[0] && v[4].Ordered() == want[1]
			}
			if !slices.ContainsFunc(slices.Concat(r.Tables[1].Rows, r.Tables[2].Rows), same) {
				t.Errorf("of base %q, %s=%s is not %v", base, name, value, want)
			}
		}
		for _, c := range []string{"FI", "SE", "IT"} {
			people("country", c, func(i int) bool { return chunkCountry(i) == c })
		}
		people("country", "(none)", func(i int) bool { return chunkCountry(i) == "" })
		people("likes", "tea", func(i int) bool { return i%2 == 0 })
		people("likes", "cake", func(i int) bool { return i%4 == 2 })
		people("likes", "(none)", func(i int) bool { return i%2 == 1 })
		people("look", "in the last 10d", func(i int) bool { return chunkLooks(i) > 0 })
		for _, row := range r.Tables[3].Rows {
			var sums, all [2]float64
			for i := range chunkPeople() {
				x := map[string]int64{"age": chunkAge(i), "wide": chunkWide(i), "look": int64(chunkLooks(i))}[row.Values[0].Str()]
				for g, in := range []bool{who(i), of(i)} {
					if in {
						sums[g], all[g] = sums[g]+float64(x), all[g]+1
					}
				}
			}
			if got := [2]float64{row.Values[2].Float(), row.Values[4].Float()}; got != [2]float64{sums[0] / all[0], sums[1] / all[1]} {
				t.Errorf("%v of base %q is on average %v, want %v", row.Values, base, got, [2]float64{sums[0] / all[0], sums[1] / all[1]})
			}
		}
		m.compact("chunks")
	}
	m.breakdownChunks()
	m.littleMemory("compare", query.Arguments{"of": {"wide"}}, 1)
	if testing.Short() {
		return
	}
	m.littleMemory("breakdown", query.Arguments{"by": {"wide"}, "top": {"100000"}}, 1)
	m.littleMemory("breakdown", query.Arguments{"by": {"age", "wide % 3000"}, "of": {"wide * 0.5"}, "top": {"3000"}}, 3) // of few values many groups
}

// littleMemory makes sure that an analysis takes what it keeps from the store's budget, some
// MiB at least, and gives it back.
func (m lawPeople) littleMemory(name string, args query.Arguments, least int) {
	m.t.Helper()
	var taken []func()
	for {
		free, err := m.db.cache.Reserve(1<<20, "test")
		if err != nil {
			break
		}
		taken = append(taken, free)
	}
	failed := 0
	for i, free := range taken {
		before := m.db.cache.Reserved()
		_, err := m.db.Analyze(m.t.Context(), name, "age < 3", args, nil)
		if err != nil && !errors.Is(err, &query.Error{Code: query.CodeBudget}) {
			m.t.Fatalf("%s with little memory: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "the "+name) {
			failed++
		}
		if after := m.db.cache.Reserved(); after != before {
			m.t.Fatalf("%d bytes are kept for good by %s", after-before, name)
		}
		if free(); err == nil {
			for _, free := range taken[i+1:] {
				free()
			}
			break
		}
	}
	if m.t.Logf("%s %v takes %d MiB", name, args, failed); failed < least {
		m.t.Errorf("%s takes no memory", name)
	}
}
