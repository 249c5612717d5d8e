package bench

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestKnownAnswers asks the questions of customers made by hand.
func TestKnownAnswers(t *testing.T) {
	g := New(Options{})
	set := func(p *Profile, a Attribute, word string) {
		n := slices.Index(g.columns[a].words, word)
		if n < 0 {
			t.Fatalf("%s has no %q", g.columns[a].name, word)
		}
		p.values[a] = int64(n)
	}
	base := func() *Profile { // in Q1 no, Q2 yes, Q3 yes, Q4 yes, Q5 yes
		p := &Profile{}
		set(p, Country, "US")
		set(p, Plan, "premium")
		set(p, OS, "ios")
		set(p, Language, "fr")
		set(p, MaritalStatus, "married")
		set(p, LoyaltyTier, "gold")
		p.values[EmailOptIn], p.values[Age], p.values[LTV] = 1, 30, 20001
		p.values[SignupDate] = firstSignup + int64(slices.Index(g.columns[SignupDate].words, "2024-01-01"))
		for _, n := range []int{1, 5, 120} {
			p.interests[n/64] |= 1 << (n % 64)
		}
		return p
	}
	for _, c := range []struct {
		name   string
		change func(p *Profile)
		want   [5]truth
	}{
		{"base", func(*Profile) {}, [5]truth{no, yes, yes, yes, yes}},
		{"German", func(p *Profile) { set(p, Country, "DE") }, [5]truth{yes, no, yes, yes, yes}},
		{"Finnish", func(p *Profile) { set(p, Country, "FI") }, [5]truth{no, no, yes, yes, yes}},
		{"Finnish, old", func(p *Profile) { set(p, Country, "FI"); p.values[Age] = 45 }, [5]truth{no, no, no, yes, no}},
		{"Finnish, of no age", func(p *Profile) { set(p, Country, "FI"); p.absent = 1 << Age }, [5]truth{no, no, unknown, yes, unknown}},
		{"Finnish, 44", func(p *Profile) { set(p, Country, "FI"); p.values[Age] = 44 }, [5]truth{no, no, yes, yes, no}},
		{"Finnish, 25", func(p *Profile) { set(p, Country, "FI"); p.values[Age] = 25 }, [5]truth{no, no, yes, yes, no}},
		{"Finnish, 24", func(p *Profile) { set(p, Country, "FI"); p.values[Age] = 24 }, [5]truth{no, no, no, yes, no}},
		{"of no age", func(p *Profile) { p.absent = 1 << Age }, [5]truth{no, yes, yes, yes, unknown}},
		{"of no age, web", func(p *Profile) { p.absent = 1 << Age; set(p, OS, "web") }, [5]truth{no, no, no, yes, unknown}},
		{"divorced", func(p *Profile) { set(p, MaritalStatus, "divorced") }, [5]truth{no, yes, no, yes, yes}},
		{"no marital status", func(p *Profile) { p.absent = 1 << MaritalStatus }, [5]truth{no, yes, unknown, yes, yes}},
		{"no ltv, late", func(p *Profile) { p.absent = 1 << LTV; p.values[SignupDate] += 366 }, [5]truth{no, yes, unknown, yes, no}},
		{"200.00", func(p *Profile) { p.values[LTV] = 20000 }, [5]truth{no, yes, yes, yes, no}},
		{"500.01, the last day", func(p *Profile) { p.values[LTV] = 50001; p.values[SignupDate] += 365 }, [5]truth{no, yes, no, yes, yes}},
		{"49.99", func(p *Profile) { p.values[LTV] = 4999 }, [5]truth{no, yes, no, yes, no}},
		{"speaks Hindi", func(p *Profile) { set(p, Language, "hi") }, [5]truth{no, yes, no, yes, yes}},
		{"likes i9", func(p *Profile) { p.interests[0] |= 1 << 9 }, [5]truth{no, yes, yes, no, yes}},
		{"no i5", func(p *Profile) { p.interests[0] &^= 1 << 5 }, [5]truth{no, yes, yes, no, yes}},
		{"no i120", func(p *Profile) { p.interests[1] = 0 }, [5]truth{no, yes, yes, no, yes}},
		{"basic, silver", func(p *Profile) { set(p, Plan, "basic"); set(p, LoyaltyTier, "silver") }, [5]truth{no, no, no, yes, yes}},
		{"enterprise, silver", func(p *Profile) { set(p, Plan, "enterprise"); set(p, LoyaltyTier, "silver") }, [5]truth{no, no, yes, yes, yes}},
		{"platinum", func(p *Profile) { set(p, LoyaltyTier, "platinum"); set(p, Plan, "free") }, [5]truth{no, no, yes, yes, yes}},
	} {
		p := base()
		c.change(p)
		if got := [5]truth{askQ1(p), askQ2(p), askQ3(p), askQ4(p), askQ5(p)}; got != c.want {
			t.Errorf("%s: %v, want %v (0 no, 1 unknown, 2 yes)", c.name, got, c.want)
		}
	}
}

// TestQuestionsByName asks the questions a second time, by the words they are written
// in, where every value is there.
func TestQuestionsByName(t *testing.T) {
	const n = 200000
	g := New(Options{Profiles: n, Seed: 12})
	var slow [5]uint64
	for i := range uint64(n) {
		var p Profile
		g.Profile(i, &p)
		in := func(a Attribute, words string) bool {
			word, _ := g.Word(&p, a)
			return slices.Contains(strings.Fields(words), word)
		}
		likes := func(words string) (n int) {
			for _, w := range g.AppendInterests(nil, &p) {
				if slices.Contains(strings.Fields(words), w) {
					n++
				}
			}
			return n
		}
		age, ltv := p.values[Age], p.values[LTV]
		signup := g.Value(&p, SignupDate).String()
		paying := in(Country, "US GB DE FR BR") && in(Plan, "premium enterprise")
		loyal := in(LoyaltyTier, "gold platinum") && age >= 25 && age <= 44
		for q, is := range []bool{
			in(Country, "DE"),
			in(Country, "US") && in(Plan, "premium") && in(OS, "ios") && g.Value(&p, EmailOptIn).Bool(),
			(paying || loyal) && !(in(OS, "web") || in(MaritalStatus, "divorced")) && in(Language, "en de fr es pt") && ltv >= 5000 && ltv <= 50000,
			likes("i3 i17 i42 i77 i120") > 0 && likes("i1 i5") == 2 && likes("i9") == 0,
			age >= 30 && age <= 39 && ltv > 20000 && signup >= "2024-01-01" && signup <= "2024-12-31",
		} {
			if is {
				slow[q]++
			}
		}
	}
	e, err := g.Count(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range slow {
		if got := e.Answers[q]; got.True != want || got.Unknown != 0 {
			t.Errorf("seed 12: %s is true for %d and unknown for %d, want %d and 0", got.Name, got.True, got.Unknown, want)
		}
	}
}

// TestBreakdown counts Q6 a second time, the slow way.
func TestBreakdown(t *testing.T) {
	const n = 50000
	g := New(Options{Seed: 11, WithAbsent: true})
	tally, slow := g.NewTally(), map[string]uint64{}
	for i := range uint64(n) {
		var p Profile
		g.Profile(i, &p)
		tally.Add(&p)
		is := func(a Attribute, word string) bool { w, ok := g.Word(&p, a); return ok && w == word }
		if opted, _ := p.Int(EmailOptIn); is(Country, "US") && is(Plan, "premium") && is(OS, "ios") && opted == 1 {
			city, _ := g.Word(&p, City)
			slow[city]++
		}
	}
	e := tally.Expected()
	people := e.Other
	for i, row := range e.Cities {
		people += row.Count
		if slow[row.Value] != row.Count || !strings.HasPrefix(row.Value, "US-") {
			t.Errorf("%s has %d people, want %d", row.Value, row.Count, slow[row.Value])
		}
		if i > 0 && (e.Cities[i-1].Count < row.Count || e.Cities[i-1].Count == row.Count && e.Cities[i-1].Value >= row.Value) {
			t.Errorf("%v stands behind %v", row, e.Cities[i-1])
		}
	}
	q6, _ := e.Answer("Q6")
	if len(e.Cities) != Q6Top || int(e.OtherValues) != len(slow)-Q6Top || people != q6.True || e.Profiles != n {
		t.Errorf("%d rows, %d others, %d people of %d; there are %d cities", len(e.Cities), e.OtherValues, people, q6.True, len(slow))
	}
}

func TestQuestions(t *testing.T) {
	names := []string{"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q15", "Q17", "MIX8"}
	for i, q := range Questions() {
		if q.Name != names[i] || (q.Text == "") != (q.Kind == AskSegments || q.Kind == AskMix) {
			t.Errorf("question %d is %+v", i, q)
		}
	}
	if now := Now().Format("2006-01-02T15:04:05Z"); now != "2026-01-01T00:00:00Z" {
		t.Errorf("now is %s", now)
	}
}

// TestSQL wants both forms of a condition to name the same values in the same order;
// that they mean the same is for who runs them to compare.
func TestSQL(t *testing.T) {
	g := New(Options{Seed: 2})
	var all []Condition
	for _, q := range Questions() {
		all = append(all, q.Condition)
	}
	for _, s := range g.Segments(300) {
		all = append(all, s.Condition)
	}
	for i := range uint64(20) {
		all = append(all, g.Mix(i))
	}
	values := regexp.MustCompile(`["'][^"']*["']|\b\d[\d.]*`)
	plain := strings.NewReplacer(`"`, ``, `'`, ``)
	for _, c := range all {
		text, sql := values.FindAllString(c.Text, -1), values.FindAllString(c.SQL, -1)
		if plain.Replace(strings.Join(text, " ")) != plain.Replace(strings.Join(sql, " ")) || (len(text) == 0) != (c.Text == "") {
			t.Errorf("%s\n%s", c.Text, c.SQL)
		}
		if strings.Contains(c.SQL, `"`) || strings.Contains(c.SQL, "&&") || strings.Contains(c.SQL, "==") {
			t.Errorf("no SQL: %s", c.SQL)
		}
	}
}

func TestSegmentsAndMix(t *testing.T) {
	g := New(Options{Seed: 1})
	segments, short := g.Segments(1000), g.Segments(10)
	distinct, two, three := map[string]bool{}, 0, 0
	for i, s := range segments {
		if i < len(short) && s != short[i] {
			t.Errorf("segment %d is %v, or %v when fewer are asked for", i, s, short[i])
		}
		distinct[s.Text] = true
		var about int
		for _, a := range []string{"country ", "plan ", "os ", "loyalty_tier ", "gender ", "age >", "ltv ", "interests"} {
			about += strings.Count(" "+s.Text, " "+a)
		}
		switch about {
		case 2:
			two++
		case 3:
			three++
		default:
			t.Errorf("%s is about %d attributes", s.Text, about)
		}
	}
	if len(distinct) < 900 || two < 400 || three < 400 {
		t.Errorf("%d distinct segments, %d of two and %d of three conditions", len(distinct), two, three)
	}
	texts := map[string]bool{}
	for i := range uint64(1000) {
		text := g.Mix(i).Text
		texts[text] = true
		if strings.HasPrefix(text, "country ==") != (i%2 == 0) || text != g.Mix(i).Text {
			t.Errorf("question %d of the mix is %s", i, text)
		}
	}
	if len(texts) < 200 { // 50 countries x 4 plans, of which 500 draws find most, and 53 windows of age
		t.Errorf("%d distinct questions", len(texts))
	}
}
