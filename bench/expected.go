package bench

import (
	"cmp"
	"slices"
	"strings"
)

// Known is the right answer to a question.
type Known struct {
	Name    string // "Q1"
	True    uint64 // profiles for which the expression is true
	Unknown uint64 // profiles for which it is neither true nor false
}

// ValueCount is one row of a breakdown.
type ValueCount struct {
	Value string
	Count uint64
}

// Expected is what the questions must answer.
type Expected struct {
	Profiles    uint64
	Answers     []Known      // Q1 to Q6, in order
	Cities      []ValueCount // Q6: by count descending, then by name; at most [Q6Top]
	Other       uint64       // Q6: people in the cities beyond those
	OtherValues uint64       // Q6: how many cities those are
}

// Answer returns the right answer to a question by name, if it is known.
func (e *Expected) Answer(name string) (Known, bool) {
	for _, k := range e.Answers {
		if k.Name == name {
			return k, true
		}
	}
	return Known{}, false
}

// Q6Top is how many cities Q6 asks for.
const Q6Top = 20

// counted are the questions with known answers, from Q1.
const counted = 6

// Tally counts answers profile by profile. It is for one goroutine.
type Tally struct {
	g        *Generator
	profiles uint64
	true     [counted]uint64
	unknown  [counted]uint64
	cities   []uint64 // of Q6, by number of the city
}

// NewTally returns an empty tally of profiles made by g.
func (g *Generator) NewTally() *Tally {
	return &Tally{g: g, cities: make([]uint64, countries*citiesOfCountry)}
}

// Add counts a profile.
func (t *Tally) Add(p *Profile) {
	t.profiles++
	q2 := askQ2(p)
	for i, answer := range [counted]truth{askQ1(p), q2, askQ3(p), askQ4(p), askQ5(p), q2} {
		switch answer {
		case yes:
			t.true[i]++
		case unknown:
			t.unknown[i]++
		}
	}
	if q2 == yes {
		t.cities[p.values[City]]++
	}
}

// Merge adds what another tally of the same generator has counted.
func (t *Tally) Merge(other *Tally) {
	t.profiles += other.profiles
	for i := range counted {
		t.true[i] += other.true[i]
		t.unknown[i] += other.unknown[i]
	}
	for i, n := range other.cities {
		t.cities[i] += n
	}
}

// Expected returns the answers for the profiles counted so far.
func (t *Tally) Expected() Expected {
	e := Expected{Profiles: t.profiles, Answers: make([]Known, counted)}
	for i, q := range Questions()[:counted] {
		e.Answers[i] = Known{Name: q.Name, True: t.true[i], Unknown: t.unknown[i]}
	}
	for city, n := range t.cities {
		if n > 0 {
			e.Cities = append(e.Cities, ValueCount{Value: t.g.columns[City].words[city], Count: n})
		}
	}
	slices.SortFunc(e.Cities, func(a, b ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
	})
	for _, row := range e.Cities[min(Q6Top, len(e.Cities)):] {
		e.Other += row.Count
		e.OtherValues++
	}
	e.Cities = e.Cities[:min(Q6Top, len(e.Cities))]
	return e
}

// truth is one of Kleene's three values, ordered so that "and" is min, "or" is max.
type truth uint8

const no, unknown, yes truth = 0, 1, 2

func not(t truth) truth { return yes - t }

// is returns whether the attribute's number is one of those given; text attributes are
// told by the place of their word in the lists of columns.
func (p *Profile) is(a Attribute, numbers ...int64) truth {
	n, ok := p.Int(a)
	switch {
	case !ok:
		return unknown
	case slices.Contains(numbers, n):
		return yes
	}
	return no
}

// within returns whether the attribute's number lies in [lo, hi].
func (p *Profile) within(a Attribute, lo, hi int64) truth {
	n, ok := p.Int(a)
	switch {
	case !ok:
		return unknown
	case lo <= n && n <= hi:
		return yes
	}
	return no
}

// The numbers of the words that questions name.
const (
	us, br, gb, de, fr                           = 0, 2, 3, 4, 5
	premium, enterprise                          = 2, 3
	ios, web                                     = 1, 2
	divorced                                     = 2
	gold, platinum                               = 3, 4
	english, spanish, portuguese, german, french = 0, 1, 2, 4, 5
	cents                                        = 100
	first2024, last2024                          = 19723, 20088 // 2024-01-01 and 2024-12-31 in days since 1970
)

func askQ1(p *Profile) truth { return p.is(Country, de) }

func askQ2(p *Profile) truth {
	return min(p.is(Country, us), p.is(Plan, premium), p.is(OS, ios), p.is(EmailOptIn, 1))
}

func askQ3(p *Profile) truth {
	paying := min(p.is(Country, us, gb, de, fr, br), p.is(Plan, premium, enterprise))
	loyal := min(p.is(LoyaltyTier, gold, platinum), p.within(Age, 25, 44))
	left := max(p.is(OS, web), p.is(MaritalStatus, divorced))
	speaks := p.is(Language, english, german, french, spanish, portuguese)
	return min(max(paying, loyal), not(left), speaks, p.within(LTV, 50*cents, 500*cents))
}

func askQ4(p *Profile) truth {
	anyOf := p.HasInterest(3) || p.HasInterest(17) || p.HasInterest(42) || p.HasInterest(77) || p.HasInterest(120)
	if anyOf && p.HasInterest(1) && p.HasInterest(5) && !p.HasInterest(9) {
		return yes
	}
	return no
}

func askQ5(p *Profile) truth {
	const noBound = 1 << 62
	return min(p.within(Age, 30, 39), p.within(LTV, 200*cents+1, noBound), p.within(SignupDate, first2024, last2024))
}
