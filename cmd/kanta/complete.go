package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionTime bounds what a press of the tab key may take.
const completionTime = 2 * time.Second

// completeFlag makes the shell complete a flag with names of the store.
func (a *app) completeFlag(c *cobra.Command, flag string, names func(context.Context, store) []string) {
	// It fails only for a flag that does not exist, which the tests of completion would show.
	_ = c.RegisterFlagCompletionFunc(flag, a.completer(names))
}

// completeList makes the shell complete the last of a flag's names, which commas separate.
func (a *app) completeList(c *cobra.Command, flag string, names func(context.Context, store) []string) {
	complete := a.completer(names)
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		before := strings.LastIndexByte(start, ',') + 1
		found, directive := complete(c, args, start[before:])
		for i := range found {
			found[i] = start[:before] + found[i]
		}
		return found, directive
	})
}

// completeWord makes the shell complete a flag that is one of a few words.
func completeWord(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completer returns a completion of names of the store. A store that cannot be opened has none.
func (a *app) completer(names func(context.Context, store) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		a.setDir()
		a.readOnly, a.completing = true, true
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		var found []string
		err := a.withStore(func(s store) error {
			for _, name := range names(ctx, s) {
				if strings.HasPrefix(name, start) {
					found = append(found, name)
				}
			}
			return nil
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(found) > 0 && strings.HasSuffix(found[0], "=") { // a value follows
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return found, directive
	}
}

func (a *app) attributeNames(ctx context.Context, s store) []string {
	sch, err := s.Schema(ctx)
	if err != nil {
		return nil
	}
	return sch.Names()
}

// storedNames are what kanta values lists the values of: computed attributes have none stored.
func (a *app) storedNames(ctx context.Context, s store) (names []string) {
	sch, err := s.Schema(ctx)
	if err != nil {
		return nil
	}
	for i := range sch.Attributes {
		names = append(names, sch.Attributes[i].Name)
	}
	return names
}

// timelineNames are what a timeline can be restricted to.
func (a *app) timelineNames(ctx context.Context, s store) (names []string) {
	sch, err := s.Schema(ctx)
	if err != nil {
		return nil
	}
	for i := range sch.Events {
		names = append(names, sch.Events[i].Name)
	}
	for i := range sch.Attributes {
		if sch.Attributes[i].History {
			names = append(names, sch.Attributes[i].Name)
		}
	}
	return names
}

// uniqueNames begins what --by wants.
func (a *app) uniqueNames(ctx context.Context, s store) (names []string) {
	sch, err := s.Schema(ctx)
	if err != nil {
		return nil
	}
	for i := range sch.Attributes {
		if sch.Attributes[i].Unique {
			names = append(names, sch.Attributes[i].Name+"=")
		}
	}
	return names
}

func (a *app) segmentNames(ctx context.Context, s store) (names []string) {
	list, err := s.Segments(ctx)
	if err != nil {
		return nil
	}
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names
}

func (a *app) listNames(ctx context.Context, s store) (names []string) {
	list, err := s.Lists(ctx)
	if err != nil {
		return nil
	}
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names
}

// completeFirst completes the first argument only.
func (a *app) completeFirst(names func(context.Context, store) []string) cobra.CompletionFunc {
	complete := a.completer(names)
	return func(c *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(c, args, start)
	}
}
