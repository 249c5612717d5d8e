package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// These are cobra's checks of the number of arguments, in words that say what is to be written.

func noArgs(c *cobra.Command, args []string) error { return rangeArgs(0, 0)(c, args) }

func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

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
