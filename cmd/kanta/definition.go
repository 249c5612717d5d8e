package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/analysis"
)

func newDefinition(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "definition",
		Short: "Saved analyses, whose scores expressions name: rfm(\"...\").segment",
		Long: `Saved analyses. "kanta rfm ... --define orders" saves one, and what it says of each person is
from then on in every expression, as attributes are: rfm("orders").segment == "champions",
rfm("orders").r >= 4, .f, .m; and in --by and --columns. It is worked out at the instant of
the question, for everybody: kanta plan says what that took.`,
	})
	c.AddCommand(newDefinitionList(a), newDefinitionShow(a), newDefinitionDrop(a))
	return c
}

// definitionJSON is a saved analysis.
type definitionJSON struct {
	Analysis  string          `json:"analysis"`
	Name      string          `json:"name"`
	Who       string          `json:"who"`
	Arguments query.Arguments `json:"arguments"`
	Fields    []string        `json:"fields"`
	Saved     string          `json:"saved"`
	UsedBy    []string        `json:"used_by"`
}

func definitionOf(d *query.SavedDefinition) definitionJSON {
	return definitionJSON{d.Analysis, d.Name, d.Who, d.Arguments, append([]string{}, d.Fields...), d.Saved.String(), append([]string{}, d.UsedBy...)}
}

func newDefinitionList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "All saved analyses",
		Long:  `All saved analyses. --json: {"definitions":[{"analysis","name","who","arguments","fields","saved","used_by"}]}`,
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				all, err := s.Definitions(c.Context())
				if err != nil {
					return err
				}
				if a.json {
					list := []definitionJSON{}
					for i := range all {
						list = append(list, definitionOf(&all[i]))
					}
					return a.printJSON(map[string]any{"definitions": list})
				}
				t := a.newTable("analysis", "name", "definition")
				for i := range all {
					t.add(all[i].Analysis, all[i].Name, commandText(&all[i]))
				}
				return t.write(a.out)
			})
		},
	}
}

// commandText writes a definition as the command that asks for it.
func commandText(d *query.SavedDefinition) string {
	words := []string{d.Analysis}
	if d.Who != "" {
		words = append(words, quoted(d.Who))
	}
	an, err := analysis.Lookup(d.Analysis)
	if err != nil { // it comes from a store that knows more
		return strings.Join(words, " ")
	}
	return strings.Join(append(words, flagWords(an, d.Arguments)...), " ")
}

func newDefinitionShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ANALYSIS NAME",
		Short: "A saved analysis, what expressions have of it, and who uses it",
		Long: `A saved analysis, what expressions have of it, and who uses it.
--json: {"analysis","name","who","arguments","fields","saved","used_by"}`,
		Example: "  kanta definition show rfm orders",
		Args:    exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				d, err := a.findDefinition(c.Context(), s, args[0], args[1])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(definitionOf(d))
				}
				t := a.newTable("", "")
				t.add("definition", commandText(d))
				t.add("saved", d.Saved.String())
				for _, field := range d.Fields {
					t.add("field", field)
				}
				for _, user := range d.UsedBy {
					t.add("used by", user)
				}
				return t.write(a.out)
			})
		},
		ValidArgsFunction: a.completeDefinition,
	}
}

func newDefinitionDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "drop ANALYSIS NAME",
		Short:   "Drop a saved analysis that nothing uses",
		Example: "  kanta definition drop rfm orders",
		Args:    exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				return a.applyOne(c.Context(), s, func(b *batch.Builder) { b.DropDefinition(args[0], args[1]) })
			})
		},
		ValidArgsFunction: a.completeDefinition,
	}
}

// completeDefinition completes the analysis, then the name.
func (a *app) completeDefinition(c *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return cobra.FixedCompletions(lenders(), cobra.ShellCompDirectiveNoFileComp)(c, args, start)
	case 1:
		return a.completer(a.definitionNames(args[0]))(c, args, start)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// lenders are the analyses that can be saved.
func lenders() (names []string) {
	for _, an := range analysis.All {
		if an.Lends != nil {
			names = append(names, an.Name)
		}
	}
	return names
}

// definitionNames are those of an analysis.
func (a *app) definitionNames(analysis string) func(ctx context.Context, s store) []string {
	return func(ctx context.Context, s store) (names []string) {
		all, err := s.Definitions(ctx)
		if err != nil {
			return nil
		}
		for i := range all {
			if all[i].Analysis == analysis {
				names = append(names, all[i].Name)
			}
		}
		return names
	}
}

// findDefinition returns a saved analysis.
func (a *app) findDefinition(ctx context.Context, s store, analysis, name string) (*query.SavedDefinition, error) {
	all, err := s.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Analysis == analysis && all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, a.noSuch(ctx, s, analysis+" definition", name, a.definitionNames(analysis))
}

// addDefinition adds the flags of an analysis that can be saved.
func (f *analysisFlags) addDefinition(a *app, c *cobra.Command, an *query.Analysis) {
	flags := c.Flags()
	flags.StringVar(&f.define, "define", "", fmt.Sprintf("save this analysis under a name, new or not, for expressions: %s(\"NAME\")", an.Name))
	flags.StringVar(&f.defined, "defined", "", "ask for the analysis that was saved under a name")
	for _, flag := range []string{"define", "defined"} {
		a.completeFlag(c, flag, a.definitionNames(an.Name))
	}
}

// definitionAlone refuses what a saved analysis says already.
func (f *analysisFlags) definitionAlone(c *cobra.Command, an *query.Analysis, args []string) error {
	if f.defined == "" {
		return nil
	}
	if len(args) > 0 || f.define != "" {
		return usagef("--defined %q: it says of whom it is; leave the expression and --define out", f.defined)
	}
	for i := range an.Parameters {
		if p := &an.Parameters[i]; c.Flags().Changed(p.Name) && !p.Beside {
			return usagef("--defined %q: it says what --%s is; leave that out", f.defined, p.Name)
		}
	}
	return nil
}

// take takes the arguments from a saved analysis, and returns of whom it is. What may stand
// beside them and was given stays.
func (f *analysisFlags) take(ctx context.Context, a *app, s store, an *query.Analysis) (who string, err error) {
	d, err := a.findDefinition(ctx, s, an.Name, f.defined)
	if err != nil {
		return "", err
	}
	given := f.args()
	for i := range an.Parameters {
		p := &an.Parameters[i]
		switch of := f.one[p.Name]; {
		case p.Beside && len(given[p.Name]) > 0:
		case of != nil:
			*of = d.Arguments.One(p.Name)
		default:
			*f.repeated[p.Name] = d.Arguments[p.Name]
		}
	}
	return d.Who, nil
}

// save saves the analysis if that was asked for, once it has an answer. What is not given is
// not saved, and so stays what it is by default.
func (f *analysisFlags) save(ctx context.Context, s store, an *query.Analysis, who string) error {
	if f.define == "" {
		return nil
	}
	args := f.args()
	for i := range an.Parameters {
		if p := &an.Parameters[i]; !p.Repeated && slices.Equal(args[p.Name], []string{p.Default}) {
			delete(args, p.Name)
		}
	}
	b := batch.New()
	b.Strict(true)
	b.SaveDefinition(&batch.Definition{Analysis: an.Name, Name: f.define, Who: who, Arguments: args})
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, encoded)
	return err
}

// flagWords are arguments as flags.
func flagWords(an *query.Analysis, args query.Arguments) (words []string) {
	for i := range an.Parameters {
		for _, text := range args[an.Parameters[i].Name] {
			words = append(words, "--"+an.Parameters[i].Name, quoted(text))
		}
	}
	return words
}
