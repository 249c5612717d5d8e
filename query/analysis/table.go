package analysis

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/basket"
	"github.com/kantadb/kanta/query/breakdown"
	"github.com/kantadb/kanta/query/compare"
	"github.com/kantadb/kanta/query/funnel"
	"github.com/kantadb/kanta/query/overlap"
	"github.com/kantadb/kanta/query/path"
	"github.com/kantadb/kanta/query/retention"
	"github.com/kantadb/kanta/query/rfm"
	"github.com/kantadb/kanta/query/syntax"
	"github.com/kantadb/kanta/query/trend"
)

// All are the analyses, in the order in which they are shown.
var All = []*query.Analysis{&trend.Analysis, &breakdown.Analysis, &compare.Analysis, &rfm.Analysis, &funnel.Analysis, &retention.Analysis, &path.Analysis, &basket.Analysis, &overlap.Analysis} //tidy:constant

// MaxRepeated bounds how often a parameter is given: each is read for everybody.
const MaxRepeated = 100

// Lookup returns the analysis with a name.
func Lookup(name string) (*query.Analysis, error) {
	var names []string
	for _, a := range All {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return nil, unknown(fmt.Sprintf("there is no analysis %q", name), name, names)
}

// Check returns the arguments in Unicode's NFC, as all that is stored, with the defaults of those
// that are missing. It refuses what the analysis does not know, and what cannot be read; the
// texts of event lists and properties are for the analysis to look at.
func Check(a *query.Analysis, args query.Arguments) (query.Arguments, error) {
	var names []string
	for i := range a.Parameters {
		names = append(names, a.Parameters[i].Name)
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(names, name) {
			return nil, unknown(fmt.Sprintf("%s has no parameter %q", a.Name, name), name, names)
		}
	}
	out := query.Arguments{}
	for i := range a.Parameters {
		p := &a.Parameters[i]
		given, ok := args[p.Name]
		switch {
		case ok && len(given) > 0:
		case p.Required:
			return nil, query.Errorf(query.CodeInvalid, "%s: --%s is missing: %s", a.Name, p.Name, p.Help)
		case p.Default != "":
			given = []string{p.Default}
		default:
			continue
		}
		if len(given) > 1 && !p.Repeated || len(given) > MaxRepeated {
			return nil, query.Errorf(query.CodeInvalid, "%s: --%s is given %d times", a.Name, p.Name, len(given))
		}
		for _, text := range given {
			text = norm.NFC.String(text)
			if err := checkText(p, text); err != nil {
				return nil, err
			}
			out[p.Name] = append(out[p.Name], text)
		}
	}
	return out, checkWith(a, out)
}

// checkWith refuses what would do nothing, as what it says something of is not given.
func checkWith(a *query.Analysis, args query.Arguments) error {
	for i := range a.Parameters {
		p := &a.Parameters[i]
		isGiven := func(name string) bool { return len(args[name]) > 0 }
		if len(p.With) > 0 && isGiven(p.Name) && args.One(p.Name) != p.Default && !slices.ContainsFunc(p.With, isGiven) {
			return query.Errorf(query.CodeInvalid, "--%s does nothing without --%s", p.Name, strings.Join(p.With, " or --"))
		}
	}
	return nil
}

func checkText(p *query.Parameter, text string) error {
	if !utf8.ValidString(text) {
		return query.Errorf(query.CodeInvalid, "--%s is not UTF-8", p.Name)
	}
	switch p.Kind {
	case query.ParameterChoice:
		if !slices.Contains(p.Choices, text) {
			return unknown(fmt.Sprintf("--%s is one of %q, not %q", p.Name, p.Choices, text), text, p.Choices)
		}
	case query.ParameterInt:
		if n, err := strconv.Atoi(text); err != nil && !errors.Is(err, strconv.ErrRange) || n <= 0 {
			return query.Errorf(query.CodeInvalid, "--%s is a whole number above zero, not %q", p.Name, text)
		}
	case query.ParameterNumber:
		if x, err := strconv.ParseFloat(text, 64); err != nil || !(x >= 0 && x <= math.MaxFloat64) {
			return query.Errorf(query.CodeInvalid, "--%s is a number such as 0.05, zero or more, not %q", p.Name, text)
		}
	case query.ParameterDuration:
		if _, err := query.ParseSpan(text); err != nil {
			return &query.Error{Code: err.Code, Message: "--" + p.Name + ": " + err.Message, Hint: err.Hint}
		}
	case query.ParameterDate:
		if _, err := schema.ParseOrdered(schema.Date, 0, []byte(text), nil); err != nil {
			return query.Errorf(query.CodeInvalid, "--%s is a date such as 2026-12-31, not %q", p.Name, text)
		}
	case query.ParameterInstant:
		if _, err := query.ParseInstant(text); err != nil {
			return fmt.Errorf("--%s: %w", p.Name, err)
		}
	case query.ParameterZone:
		if _, err := syntax.Zone(text); err != nil {
			return fmt.Errorf("--%s: %w", p.Name, err)
		}
	}
	return nil
}

func unknown(message, name string, known []string) error {
	e := query.Errorf(query.CodeInvalid, "%s", message)
	e.Hint = query.DidYouMean(name, known)
	return e
}
