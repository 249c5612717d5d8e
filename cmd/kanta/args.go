package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
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

// checkName refuses the text of a flag that can be no name.
func checkName(flag, name string) error {
	var wrong *schema.ChangeError
	if errors.As(schema.CheckName(norm.NFC.String(name)), &wrong) {
		return usagef("%s: %s (%s)", flag, wrong.Problem, wrong.Advice)
	}
	return nil
}

// filled is the text of a flag that, if it is given, is not empty: that is mostly a variable of
// the shell that is not set.
type filled string

// String implements pflag.Value.
func (f *filled) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *filled) Type() string { return "string" }

// Set implements pflag.Value.
func (f *filled) Set(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	*f = filled(text)
	return nil
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
