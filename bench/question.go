package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// QuestionKind says what is asked for.
type QuestionKind uint8

// The kinds of questions.
const (
	AskCount     QuestionKind = iota // how many people satisfy Text
	AskBreakdown                     // the same people by Attribute, the Top most frequent values
	AskMembers                       // who they are, in order: once as ids, once with their keys
	AskSegments                      // which of Segments(seed, 1000) a profile is in; Text is empty
	AskMix                           // MixClients at once, question after question of MixText; Text is empty
)

// MixClients is how many clients ask MIX8 at the same time.
const MixClients = 8

// Condition is a condition in two forms.
type Condition struct {
	Text string // CEL
	SQL  string // the same for DuckDB, to compare with; a set is a list there, empty but never null
}

// Question is one question of the workload, about the instant [Now].
type Question struct {
	Name string
	Kind QuestionKind
	Condition
	Attribute string // of a breakdown
	Top       int    // of a breakdown
}

func conditionQ1() Condition {
	return Condition{
		`country == "DE"`,
		`country = 'DE'`,
	}
}

func conditionQ2(country, plan string) Condition {
	return Condition{
		fmt.Sprintf(`country == %q && plan == %q && os == "ios" && email_opt_in`, country, plan),
		fmt.Sprintf(`country = '%s' AND plan = '%s' AND os = 'ios' AND email_opt_in`, country, plan),
	}
}

func conditionQ3(minAge, maxAge int) Condition {
	return Condition{
		fmt.Sprintf(`((country in ["US","GB","DE","FR","BR"] && plan in ["premium","enterprise"])`+
			` || (loyalty_tier in ["gold","platinum"] && age >= %d && age <= %d))`+
			` && !(os == "web" || marital_status == "divorced") && language in ["en","de","fr","es","pt"]`+
			` && ltv >= 50.0 && ltv <= 500.0`, minAge, maxAge),
		fmt.Sprintf(`((country IN ('US','GB','DE','FR','BR') AND plan IN ('premium','enterprise'))`+
			` OR (loyalty_tier IN ('gold','platinum') AND age >= %d AND age <= %d))`+
			` AND NOT (os = 'web' OR marital_status = 'divorced') AND language IN ('en','de','fr','es','pt')`+
			` AND ltv >= 50.0 AND ltv <= 500.0`, minAge, maxAge),
	}
}

func conditionQ4() Condition {
	return Condition{
		`interests.hasAny(["i3","i17","i42","i77","i120"]) && interests.hasAll(["i1","i5"]) && !("i9" in interests)`,
		`list_has_any(interests, ['i3','i17','i42','i77','i120']) AND list_has_all(interests, ['i1','i5']) AND NOT list_contains(interests, 'i9')`,
	}
}

func conditionQ5() Condition {
	return Condition{
		`age >= 30 && age <= 39 && ltv > 200.0 && signup_date >= date("2024-01-01") && signup_date <= date("2024-12-31")`,
		`age >= 30 AND age <= 39 AND ltv > 200.0 AND signup_date >= DATE '2024-01-01' AND signup_date <= DATE '2024-12-31'`,
	}
}

// Questions returns the questions about attributes: Q1 to Q6, whose answers
// [Expected] has, then Q15, Q17 and MIX8.
func Questions() []Question {
	q2, q3 := conditionQ2("US", "premium"), conditionQ3(25, 44)
	return []Question{
		{Name: "Q1", Condition: conditionQ1()},
		{Name: "Q2", Condition: q2},
		{Name: "Q3", Condition: q3},
		{Name: "Q4", Condition: conditionQ4()},
		{Name: "Q5", Condition: conditionQ5()},
		{Name: "Q6", Kind: AskBreakdown, Condition: q2, Attribute: "city", Top: Q6Top},
		{Name: "Q15", Kind: AskMembers, Condition: q3},
		{Name: "Q17", Kind: AskSegments},
		{Name: "MIX8", Kind: AskMix},
	}
}

// Mix returns question i of MIX8: Q2 with a random country and plan when i is even, Q3
// with a random window of 20 years of age when it is odd.
func (g *Generator) Mix(i uint64) Condition {
	s := newStream(g.opt.Seed, domainMix, i)
	if i%2 == 0 {
		return conditionQ2(g.anyWord(s, 0, Country), g.anyWord(s, 1, Plan))
	}
	const youngest, oldest, years = 18, 90, 20
	from := youngest + int(s.below(0, oldest-years-youngest+2))
	return conditionQ3(from, from+years-1)
}

// AnyKey returns the key of a random profile, another one for another i.
func (g *Generator) AnyKey(i uint64) string { return Key(g.anyProfile(i)) }

func (g *Generator) anyProfile(i uint64) uint64 {
	return newStream(g.opt.Seed, domainMix, i).below(9, g.opt.Profiles)
}

// anyWord returns one of an attribute's words, all equally probable.
func (g *Generator) anyWord(s stream, draw uint64, a Attribute) string {
	words := g.columns[a].words
	return words[s.below(draw, uint64(len(words)))]
}

// Segment is a saved segment.
type Segment struct {
	Name string
	Condition
}

// Segments returns n saved segments, each a conjunction of 2 or 3 conditions on
// different attributes out of country, plan, os, loyalty_tier, gender, age, ltv and
// interests. Segment i is the same for every n.
func (g *Generator) Segments(n int) []Segment {
	segments := make([]Segment, n)
	for i := range segments {
		s := newStream(g.opt.Seed, domainSegment, uint64(i))
		about := []Attribute{Country, Plan, OS, LoyaltyTier, Gender, Age, LTV, Interests}
		texts := make([]string, 2+s.below(0, 2))
		sqls := make([]string, len(texts))
		for c := range texts {
			draw := uint64(4 * (c + 1))
			k := c + int(s.below(draw, uint64(len(about)-c)))
			about[c], about[k] = about[k], about[c]
			condition := g.condition(s, draw+1, about[c])
			texts[c], sqls[c] = condition.Text, condition.SQL
		}
		segments[i] = Segment{segmentName(i), Condition{strings.Join(texts, " && "), strings.Join(sqls, " AND ")}}
	}
	return segments
}

func segmentName(i int) string { return fmt.Sprintf("segment-%04d", i) }

// condition returns a condition on one attribute, made from the draws draw to draw+2.
func (g *Generator) condition(s stream, draw uint64, a Attribute) Condition {
	name := g.columns[a].name
	switch a {
	case Age:
		from := 18 + s.below(draw, 60)
		to := from + 4 + s.below(draw+1, 20)
		return Condition{
			fmt.Sprintf("%s >= %d && %s <= %d", name, from, name, to),
			fmt.Sprintf("%s >= %d AND %s <= %d", name, from, name, to),
		}
	case LTV:
		bound := strconv.FormatUint(10*(1+s.below(draw, 50)), 10)
		text := name + " <= " + bound + ".0"
		if s.below(draw+1, 2) == 0 {
			text = name + " > " + bound + ".0"
		}
		return Condition{text, text}
	case Interests:
		word := g.anyWord(s, draw, a)
		return Condition{fmt.Sprintf("%q in %s", word, name), fmt.Sprintf("list_contains(%s, '%s')", name, word)}
	}
	word, second := g.anyWord(s, draw, a), g.anyWord(s, draw+1, a)
	if s.below(draw+2, 2) == 0 || word == second {
		return Condition{fmt.Sprintf("%s == %q", name, word), fmt.Sprintf("%s = '%s'", name, word)}
	}
	return Condition{fmt.Sprintf("%s in [%q, %q]", name, word, second), fmt.Sprintf("%s IN ('%s', '%s')", name, word, second)}
}
