package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
)

func newProfile(a *app) *cobra.Command {
	var ask questionFlags
	var by string
	c := &cobra.Command{
		Use:   "profile KEY | --by ATTRIBUTE=VALUE",
		Short: "All that is known of one person",
		Long: `All that is known of one person: the values, the lists and the saved segments the
person is in, and the last events (kanta timeline lists all). --by names a unique
attribute instead of the key.

--json: {"key":"...","attributes":{"a":...},"lists":["..."],"segments":["..."],
"events":[{"time":"...","event":"...","properties":{"p":...}}],"position":"E.N","now":"...",...}`,
		Example: "  kanta profile user-00000042\n  kanta profile --by email=ada@example.org",
		Args:    rangeArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			if (len(args) == 1) == (by != "") {
				return usagef("name a person by key, or with --by ATTRIBUTE=VALUE")
			}
			var attribute, value string
			if by != "" {
				if attribute, value, err = attributeValue(by); err != nil {
					return err
				}
			}
			return a.withStore(func(s store) error {
				var p query.Profile
				if by != "" {
					p, err = s.ProfileBy(c.Context(), attribute, value, &o)
				} else {
					p, err = s.Profile(c.Context(), args[0], &o)
				}
				if err != nil {
					return err
				}
				return a.printProfile(&p)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "a unique attribute and its value, as ATTRIBUTE=VALUE")
	ask.add(c)
	return c
}

func (a *app) printProfile(p *query.Profile) error {
	if a.json {
		values := make(map[string]json.RawMessage, len(p.Values))
		for _, v := range p.Values {
			values[v.Name] = jsonValue(v.Value)
		}
		return a.printJSON(struct {
			Key        string                     `json:"key"`
			Attributes map[string]json.RawMessage `json:"attributes"`
			Lists      []string                   `json:"lists"`
			Segments   []string                   `json:"segments"`
			Events     []eventJSON                `json:"events"`
			answerJSON
		}{p.Key, values, append([]string{}, p.Lists...), append([]string{}, p.Segments...), eventsOf(p.Events), answerOf(p.Answer)})
	}
	t := a.newTable("", "")
	t.add("key", p.Key)
	for _, v := range p.Values {
		t.add(v.Name, v.Value.String())
	}
	for _, name := range p.Lists {
		t.add("(list)", name)
	}
	for _, name := range p.Segments {
		t.add("(segment)", name)
	}
	if err := t.write(a.out); err != nil || len(p.Events) == 0 {
		return err
	}
	return a.eventTable(p.Events)
}
