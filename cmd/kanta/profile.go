package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/query"
)

func newProfile(a *app) *cobra.Command {
	var ask questionFlags
	var by string
	var definitions bool
	c := &cobra.Command{
		Use:   "profile KEY | --by ATTRIBUTE=VALUE",
		Short: "All that is known of one person",
		Long: `All that is known of one person: the values, computed attributes too, the lists and the
saved segments the person is in, what all events of each type come to, and the last events
(kanta timeline lists all). --by names a unique attribute instead of the key. With
--definitions there is also what saved analyses say of the person, rfm("orders").segment;
each is run for everybody.

--json: {"key":"...","attributes":{"a":...},"computed":{"a":...},"definitions":{"a":...},"lists":["..."],
"segments":["..."],"lifetime":[{"event":"...","count":N,"first":"...","last":"...",
"properties":{"p":{"sum":...,"min":...,"max":...}}}],"events":[{"time":"...","event":"...","properties":{"p":...}}],
"position":"E.N","now":"...",...}; a sum is null if it is too large for its kind.`,
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
				all := &query.ProfileOptions{Options: o, Lifetime: true, Lent: definitions}
				if by != "" {
					p, err = s.ProfileBy(c.Context(), attribute, value, all)
				} else {
					p, err = s.Profile(c.Context(), args[0], all)
				}
				if err != nil {
					return err
				}
				return a.printProfile(&p)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "a unique attribute and its value, as ATTRIBUTE=VALUE")
	c.Flags().BoolVar(&definitions, "definitions", false, "also what definitions of analyses say of the person")
	a.completeFlag(c, "by", a.uniqueNames)
	ask.add(c)
	return c
}

func (a *app) printProfile(p *query.Profile) error {
	if a.json {
		values, computed := jsonValues(p.Values), jsonValues(p.Computed)
		return a.printJSON(struct {
			Key        string                     `json:"key"`
			Attributes map[string]json.RawMessage `json:"attributes"`
			Computed   map[string]json.RawMessage `json:"computed"`
			Lent       map[string]json.RawMessage `json:"definitions"`
			Lists      []string                   `json:"lists"`
			Segments   []string                   `json:"segments"`
			Lifetime   []lifetimeJSON             `json:"lifetime"`
			Events     []any                      `json:"events"`
			answerJSON
		}{p.Key, values, computed, jsonValues(p.Lent), append([]string{}, p.Lists...), append([]string{}, p.Segments...), lifetimesOf(p.Lifetime), listing.Events(p.Events), answerOf(p.Answer)})
	}
	a.noteCurrent(p.Answer)
	t := a.newTable("", "")
	t.add("key", p.Key)
	for _, v := range slices.Concat(p.Values, p.Computed, p.Lent) {
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
	a.gap()
	if err := a.printLifetime(p.Lifetime); err != nil {
		return err
	}
	a.gap()
	return a.eventTable(p.Events)
}

// lifetimeJSON is what the events of a type come to, as --json prints it.
type lifetimeJSON struct {
	Event      string                 `json:"event"`
	Count      uint64                 `json:"count"`
	First      string                 `json:"first"`
	Last       string                 `json:"last"`
	Properties map[string]extentsJSON `json:"properties"`
}

type extentsJSON struct {
	Sum json.RawMessage `json:"sum"`
	Min json.RawMessage `json:"min"`
	Max json.RawMessage `json:"max"`
}

func lifetimesOf(all []query.Lifetime) []lifetimeJSON {
	out := []lifetimeJSON{}
	for _, l := range all {
		j := lifetimeJSON{l.Event, l.Count, l.First.Format(time.RFC3339Nano), l.Last.Format(time.RFC3339Nano), map[string]extentsJSON{}}
		for _, p := range l.Properties {
			j.Properties[p.Name] = extentsJSON{listing.JSON(p.Sum), listing.JSON(p.Min), listing.JSON(p.Max)}
		}
		out = append(out, j)
	}
	return out
}

// printLifetime prints what events come to, one type a line.
func (a *app) printLifetime(all []query.Lifetime) error {
	t := a.newTable("event", "#count", "first", "last", "sum (least to greatest)")
	for _, l := range all {
		var of []string
		for _, p := range l.Properties {
			sum := p.Sum.String()
			if p.Sum.IsAbsent() {
				sum = "too large"
			}
			of = append(of, fmt.Sprintf("%s=%s (%s to %s)", p.Name, sum, p.Min, p.Max))
		}
		t.add(l.Event, l.Count, l.First.Format(time.RFC3339), l.Last.Format(time.RFC3339), strings.Join(of, " "))
	}
	return t.write(a.out)
}

// jsonValues are values by name.
func jsonValues(of []query.AttributeValue) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(of))
	for _, v := range of {
		out[v.Name] = listing.JSON(v.Value)
	}
	return out
}
