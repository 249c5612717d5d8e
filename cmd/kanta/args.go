package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// These are cobra's checks of the number of arguments, in words that say what is to be written.

func noArgs(c *cobra.Command, args []string) error { return rangeArgs(0, 0)(c, args) }

func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

// group makes a command one that only has others, and says what it has to who names another.
func group(c *cobra.Command) *cobra.Command {
	c.SuggestionsMinimumDistance = 2 // as cobra's own suggestions
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
		}
		return fmt.Errorf("%s has no command %q%s", c.CommandPath(), args[0], hint)
	}
	return c
}

// many is no upper limit.
const many = 1 << 30

func rangeArgs(from, to int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		n := len(args)
		switch {
		case n < from:
			return fmt.Errorf("an argument is missing: write %s", c.UseLine())
		case n > to && to == 0:
			return fmt.Errorf("%q is one argument too many: write %s", args[0], c.UseLine())
		case n > to:
			return fmt.Errorf("%q is one argument too many: write %s, an expression in quotes", args[to], c.UseLine())
		}
		return nil
	}
}
