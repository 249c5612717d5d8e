package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func newWhy(a *app) *cobra.Command {
	var ask questionFlags
	var by string
	c := &cobra.Command{
		Use:   "why KEY EXPR | --by ATTRIBUTE=VALUE EXPR",
		Short: "Why an expression is true or not for one person, and when that changes",
		Long: `Why an expression is true, false or unknown for one person: each part of it by itself,
with the values and the events that decided it; of many events, the last ` + fmt.Sprint(query.MaxWhyEvents) + `. And the next
instant at which the answer changes by time alone, if nothing is written until then.

--json: {"key":"...","why":{"text","op","truth","values":[{"name","value"}],
"lists":[{"list","total","unknown","events":[...]}],"of":[...]},"changes":{"when":"at",
"at":"...","to":"..."},...}; truth is true, false, unknown or error; when is at, never,
or not_derivable, with the part that is the "cause".`,
		Example: `  kanta why user-00000042 'purchase.in_last(days(30)).count() >= 3'
  kanta why --by email=ada@example.org 'in_segment("newsletter") && !in_list("staff")'`,
		Args: rangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			if (len(args) == 2) == (by != "") {
				return usagef("name a person by key, or with --by ATTRIBUTE=VALUE, and write an expression, in quotes")
			}
			key, expr, why := args[0], args[len(args)-1], query.WhyOptions{Options: o}
			if by != "" {
				if why.By, key, err = attributeValue(by); err != nil {
					return err
				}
			}
			return a.withStore(func(s store) error {
				w, err := s.Why(c.Context(), key, expr, &why)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(struct {
						Key     string      `json:"key"`
						Why     whyJSON     `json:"why"`
						Changes changesJSON `json:"changes"`
						answerJSON
					}{w.Key, whyOf(&w.Root), changesOf(&w.Next), answerOf(w.Answer)})
				}
				return a.printWhy(&w)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "a unique attribute and its value, as ATTRIBUTE=VALUE")
	a.completeFlag(c, "by", a.uniqueNames)
	ask.add(c)
	return c
}

// attributeValue takes what --by gives apart.
func attributeValue(by string) (attribute, value string, err error) {
	attribute, value, ok := strings.Cut(by, "=")
	if !ok {
		return "", "", usagef("--by %s: write ATTRIBUTE=VALUE", by)
	}
	return attribute, value, nil
}

// whyJSON is a part of an expression as --json prints it.
type whyJSON struct {
	Text   string       `json:"text"`
	Op     string       `json:"op,omitempty"`
	Truth  string       `json:"truth"`
	Values []valueJSON  `json:"values,omitempty"`
	Lists  []eventsJSON `json:"lists,omitempty"`
	Of     []whyJSON    `json:"of,omitempty"`
}

type valueJSON struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

type eventsJSON struct {
	List    string `json:"list"`
	Total   uint64 `json:"total"`
	Unknown uint64 `json:"unknown"`
	Events  []any  `json:"events"`
}

// changesJSON is the next change as --json prints it.
type changesJSON struct {
	When    string `json:"when"`
	At      string `json:"at,omitempty"`
	To      string `json:"to,omitempty"`
	Refused string `json:"refused,omitempty"`
	Cause   string `json:"cause,omitempty"`
}

func whyOf(p *query.WhyPart) whyJSON {
	j := whyJSON{Text: p.Text, Op: p.Op, Truth: p.Verdict.String()}
	for _, v := range p.Values {
		j.Values = append(j.Values, valueJSON{v.Name, listing.JSON(v.Value)})
	}
	for _, l := range p.Lists {
		j.Lists = append(j.Lists, eventsJSON{l.List, l.Total, l.Unknown, listing.Events(l.Events)})
	}
	for i := range p.Of {
		j.Of = append(j.Of, whyOf(&p.Of[i]))
	}
	return j
}

func changesOf(n *query.NextChange) changesJSON {
	switch {
	case n.NotDerivable != "":
		return changesJSON{When: "not_derivable", Cause: n.NotDerivable}
	case n.At.IsZero():
		return changesJSON{When: "never"}
	case n.Refused != "":
		return changesJSON{When: "at", At: n.At.Format(time.RFC3339Nano), To: "refused", Refused: n.Refused}
	}
	return changesJSON{When: "at", At: n.At.Format(time.RFC3339Nano), To: n.To.String()}
}

func (a *app) printWhy(w *query.Why) error {
	a.noteCurrent(w.Answer)
	t := a.newTable("truth", "part")
	t.why(&w.Root, 0)
	t.add("next change", changeText(&w.Next))
	return t.write(a.out)
}

func changeText(n *query.NextChange) string {
	switch j := changesOf(n); {
	case j.When == "not_derivable":
		return "not derivable: " + n.NotDerivable
	case j.When == "never":
		return "never by time alone"
	case n.Refused != "":
		return j.At + " refused from then on: " + n.Refused
	default:
		return j.At + " to " + j.To
	}
}

// why adds a part with what it was decided on, indented by its depth.
func (t *table) why(p *query.WhyPart, depth int) {
	indent := strings.Repeat("  ", depth)
	text := p.Text
	if p.Op != "" && p.Op != "segment" && p.Op != "computed" {
		text = p.Op
	}
	t.add(p.Verdict.String(), indent+text)
	for _, v := range p.Values {
		t.add("", indent+"  "+v.Name+" = "+shown(v.Value))
	}
	for _, l := range p.Lists {
		line := fmt.Sprintf("%s  %s: %s", indent, l.List, t.number(fmt.Sprint(l.Total)))
		if l.Unknown > 0 {
			line += fmt.Sprintf(", and %s for which it is unknown", t.number(fmt.Sprint(l.Unknown)))
		}
		t.add("", line)
		for _, e := range l.Events {
			t.add("", fmt.Sprintf("%s    %s %s", indent, e.Time.Format(time.RFC3339Nano), properties(&e)))
		}
	}
	for i := range p.Of {
		t.why(&p.Of[i], depth+1)
	}
}

// shown is a value for people.
func shown(v schema.Value) string {
	if v.IsAbsent() {
		return "(none)"
	}
	return v.String()
}
