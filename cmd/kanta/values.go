package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newValues(a *app) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "values ATTRIBUTE [PREFIX]",
		Short: "Which values an attribute has, and how many people have each",
		Long: `Which values an attribute has, and how many people have each, the most frequent ones
first; with a prefix, those that start with it.

--json: {"attribute":"...","values":[{"value":"...","count":N}]}`,
		Args: rangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			prefix := ""
			if len(args) == 2 {
				prefix = args[1]
			}
			return a.withStore(func(s store) error { return a.values(c.Context(), s, args[0], prefix, limit) })
		},
		ValidArgsFunction: a.completeFirst(a.storedNames),
	}
	c.Flags().IntVar(&limit, "limit", 0, "how many values to list (default 1000)")
	return c
}

func (a *app) values(ctx context.Context, s store, attribute, prefix string, limit int) error {
	list, err := s.Values(ctx, attribute, prefix, limit)
	if err != nil {
		return err
	}
	if !a.json {
		t := a.newTable(attribute, "#count")
		for _, v := range list {
			t.add(v.Value, v.Count)
		}
		return t.write(a.out)
	}
	type valueJSON struct {
		Value string `json:"value"`
		Count uint64 `json:"count"`
	}
	values := []valueJSON{}
	for _, v := range list {
		values = append(values, valueJSON{v.Value, v.Count})
	}
	return a.printJSON(struct {
		Attribute string      `json:"attribute"`
		Values    []valueJSON `json:"values"`
	}{attribute, values})
}
