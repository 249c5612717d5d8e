package engine_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// reader is what a store and a snapshot have in common.
type reader interface {
	asker
	Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error)
	Explain(ctx context.Context, expr string, o *query.Options) (query.Explanation, error)
	Why(ctx context.Context, key, expr string, o *query.WhyOptions) (query.Why, error)
	Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error)
	AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error)
	Segments(ctx context.Context) ([]query.SavedSegment, error)
	Lists(ctx context.Context) ([]query.SavedList, error)
	Definitions(ctx context.Context) ([]query.SavedDefinition, error)
}

// asked is who is asked: the store, or a snapshot of it under the policy.
func (c *caseRun) asked() reader {
	c.t.Helper()
	if c.policy == nil {
		return c.DB
	}
	if c.under != nil {
		_ = c.under.Close()
	}
	var err error
	if c.under, err = c.SnapshotWith(c.t.Context(), &query.SnapshotOptions{Policy: c.policy}); err != nil {
		c.t.Fatal(err)
	}
	return c.under
}

// policy: lines as README.txt has them
func (c *caseRun) setPolicy(_, input string) (string, error) {
	if c.under != nil {
		_ = c.under.Close()
	}
	c.policy, c.under = nil, nil
	if input == "" {
		return "done\n", nil
	}
	p := &query.Policy{Classes: map[schema.DataClass]query.Access{}}
	classes := strings.Fields("none acquisition demographic technographic psychographic activity transaction correspondence")
	words := strings.Fields("visible masked hidden")
	at := func(list []string, word string) int {
		for i, w := range list {
			if w == word {
				return i
			}
		}
		c.t.Fatalf("%q is none of %q", word, list)
		return 0
	}
	for line := range strings.Lines(input) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, access := "", query.Visible
		if i := strings.LastIndex(" "+rest, " "); what != "rows" && what != "group" {
			name, access = strings.TrimSpace(rest[:max(0, i-1)]), query.Access(at(words, rest[i:]))
		}
		switch what {
		case "rows":
			p.Rows = rest
		case "group":
			p.MinGroup = number(rest)
		case "pii":
			p.PII = access
		case "class":
			p.Classes[schema.DataClass(at(classes, name))] = access
		case "attribute":
			p.Rules = append(p.Rules, query.PolicyRule{Attribute: name, Access: access})
		case "event":
			p.Rules = append(p.Rules, query.PolicyRule{Event: name, Access: access})
		case "property":
			event, property, _ := strings.Cut(name, ".")
			p.Rules = append(p.Rules, query.PolicyRule{Event: event, Property: property, Access: access})
		case "segment":
			p.Rules = append(p.Rules, query.PolicyRule{Segment: name, Access: access})
		default:
			p.Rules = append(p.Rules, query.PolicyRule{List: name, Access: access})
		}
	}
	s, err := c.SnapshotWith(c.t.Context(), &query.SnapshotOptions{Policy: p})
	if err != nil {
		return "", err
	}
	c.policy, c.under = p, s
	return "done\n", nil
}

// why: KEY EXPRESSION
func (c *caseRun) why(rest, _ string) (string, error) {
	key, expr, _ := strings.Cut(rest, " ")
	w, err := c.asked().Why(c.t.Context(), key, expr, &query.WhyOptions{Options: c.about()})
	return fmt.Sprintln(w.Root.Verdict), err
}
