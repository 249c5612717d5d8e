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

// Question is one question of the workload, about the instant [Now].
type Question struct {
	Name      string
	Kind      QuestionKind
	Text      string // CEL
	Attribute string // of a breakdown
	Top       int    // of a breakdown
}

const (
	textQ1 = `country == "DE"`
	textQ4 = `interests.hasAny(["i3","i17","i42","i77","i120"]) && interests.hasAll(["i1","i5"]) && !("i9" in interests)`
	textQ5 = `age >= 30 && age <= 39 && ltv > 200.0 && signup_date >= date("2024-01-01") && signup_date <= date("2024-12-31")`
)

func textQ2(country, plan string) string {
	return fmt.Sprintf(`country == %q && plan == %q && os == "ios" && email_opt_in`, country, plan)
}

func textQ3(minAge, maxAge int) string {
	return fmt.Sprintf(`((country in ["US","GB","DE","FR","BR"] && plan in ["premium","enterprise"])`+
		` || (loyalty_tier in ["gold","platinum"] && age >= %d && age <= %d))`+
		` && !(os == "web" || marital_status == "divorced") && language in ["en","de","fr","es","pt"]`+
		` && ltv >= 50.0 && ltv <= 500.0`, minAge, maxAge)
}

// Questions returns the questions about attributes: Q1 to Q6, whose answers
// [Expected] has, then Q15, Q17 and MIX8.
func Questions() []Question {
	q2, q3 := textQ2("US", "premium"), textQ3(25, 44)
	return []Question{
		{Name: "Q1", Text: textQ1},
		{Name: "Q2", Text: q2},
		{Name: "Q3", Text: q3},
		{Name: "Q4", Text: textQ4},
		{Name: "Q5", Text: textQ5},
		{Name: "Q6", Kind: AskBreakdown, Text: q2, Attribute: "city", Top: Q6Top},
		{Name: "Q15", Kind: AskMembers, Text: q3},
		{Name: "Q17", Kind: AskSegments},
		{Name: "MIX8", Kind: AskMix},
	}
}

// MixText returns question i of MIX8: Q2 with a random country and plan when i is
// even, Q3 with a random window of 20 years of age when it is odd.
func (g *Generator) MixText(i uint64) string {
	s := newStream(g.opt.Seed, domainMix, i)
	if i%2 == 0 {
		return textQ2(g.anyWord(s, 0, Country), g.anyWord(s, 1, Plan))
	}
	const youngest, oldest, years = 18, 90, 20
	from := youngest + int(s.below(0, oldest-years-youngest+2))
	return textQ3(from, from+years-1)
}

// anyWord returns one of an attribute's words, all equally probable.
func (g *Generator) anyWord(s stream, draw uint64, a Attribute) string {
	words := g.columns[a].words
	return words[s.below(draw, uint64(len(words)))]
}

// Segment is a saved segment.
type Segment struct{ Name, Text string }

// Segments returns n saved segments, each a conjunction of 2 or 3 conditions on
// different attributes out of country, plan, os, loyalty_tier, gender, age, ltv and
// interests. Segment i is the same for every n.
func (g *Generator) Segments(n int) []Segment {
	segments := make([]Segment, n)
	for i := range segments {
		s := newStream(g.opt.Seed, domainSegment, uint64(i))
		about := []Attribute{Country, Plan, OS, LoyaltyTier, Gender, Age, LTV, Interests}
		conditions := make([]string, 2+s.below(0, 2))
		for c := range conditions {
			draw := uint64(4 * (c + 1))
			k := c + int(s.below(draw, uint64(len(about)-c)))
			about[c], about[k] = about[k], about[c]
			conditions[c] = g.condition(s, draw+1, about[c])
		}
		segments[i] = Segment{Name: fmt.Sprintf("segment-%04d", i), Text: strings.Join(conditions, " && ")}
	}
	return segments
}

// condition returns a condition on one attribute, made from the draws draw to draw+2.
func (g *Generator) condition(s stream, draw uint64, a Attribute) string {
	name := g.columns[a].name
	switch a {
	case Age:
		from := 18 + s.below(draw, 60)
		return fmt.Sprintf("%s >= %d && %s <= %d", name, from, name, from+4+s.below(draw+1, 20))
	case LTV:
		bound := strconv.FormatUint(10*(1+s.below(draw, 50)), 10)
		if s.below(draw+1, 2) == 0 {
			return name + " > " + bound + ".0"
		}
		return name + " <= " + bound + ".0"
	case Interests:
		return fmt.Sprintf("%q in %s", g.anyWord(s, draw, a), name)
	}
	word, second := g.anyWord(s, draw, a), g.anyWord(s, draw+1, a)
	if s.below(draw+2, 2) == 0 || word == second {
		return fmt.Sprintf("%s == %q", name, word)
	}
	return fmt.Sprintf("%s in [%q, %q]", name, word, second)
}
