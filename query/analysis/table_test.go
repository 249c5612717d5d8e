package analysis

import (
	"errors"
	"regexp"
	"slices"
	"testing"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/rfm"
)

// TestTable: what the table says of the analyses is enough to make flags and JSON of it.
func TestTable(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	reserved := []string{"cell", "save-as", "define", "defined", "format", "output", "now", "db", "json", "memory", "read-only", "help"} // flags of every command
	seen := map[string]bool{}
	for _, a := range All {
		if seen[a.Name] || !word.MatchString(a.Name) || a.Short == "" || a.Run == nil || len(a.Tables) == 0 {
			t.Errorf("%+v", a)
		}
		seen[a.Name] = true
		if got, err := Lookup(a.Name); err != nil || got != a {
			t.Errorf("%s is not found: %v", a.Name, err)
		}
		names, required := map[string]bool{}, query.Arguments{}
		for i := range a.Parameters {
			p := &a.Parameters[i]
			if names[p.Name] || !word.MatchString(p.Name) || slices.Contains(reserved, p.Name) || p.Help == "" || p.Required && p.Default != "" {
				t.Errorf("%s: %+v", a.Name, p)
			}
			names[p.Name] = true
			if (p.Kind == query.ParameterChoice) != (len(p.Choices) > 0) {
				t.Errorf("%s: the choices of --%s are %q", a.Name, p.Name, p.Choices)
			}
			for _, with := range p.With {
				if !slices.ContainsFunc(a.Parameters, func(o query.Parameter) bool { return o.Name == with }) {
					t.Errorf("%s: --%s belongs to --%s, which is no parameter", a.Name, p.Name, with)
				}
			}
			if p.Required {
				required[p.Name] = []string{"x"}
			}
		}
		args, err := Check(a, required)
		if err != nil {
			t.Errorf("%s with nothing but what is required: %v", a.Name, err)
		}
		for i := range a.Parameters { // each default is one that Check takes
			if p := &a.Parameters[i]; p.Default != "" && args.One(p.Name) != p.Default {
				t.Errorf("%s: --%s is %q, want %q", a.Name, p.Name, args.One(p.Name), p.Default)
			}
		}
		args["nonsense"] = []string{"1"}
		if _, err := Check(a, args); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%s takes nonsense: %v", a.Name, err)
		}
		for _, p := range a.Parameters {
			many := query.Arguments{}
			for k, v := range required {
				many[k] = v
			}
			many[p.Name] = make([]string, MaxRepeated+1)
			for i := range many[p.Name] {
				many[p.Name][i] = "1d"
			}
			if _, err := Check(a, many); err == nil {
				t.Errorf("%s takes --%s %d times", a.Name, p.Name, MaxRepeated+1)
			}
		}
	}
	for _, name := range []string{"", "nonsense", "Funnel"} {
		if _, err := Lookup(name); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestArguments: texts are as stored ones are.
func TestArguments(t *testing.T) {
	args := query.Arguments{"event": {"buy"}, "map": {"r1-5f1-5=caf\u0065\u0301"}}
	got, err := Check(&rfm.Analysis, args)
	if err != nil || got.One("map") != "r1-5f1-5=caf\u00e9" || args.One("map") == got.One("map") {
		t.Errorf("%q of %q, %v", got.One("map"), args.One("map"), err)
	}
	args["map"] = []string{"r1-5f1-5=\xff"}
	if _, err := Check(&rfm.Analysis, args); err == nil || err.Error() != "--map is not UTF-8" {
		t.Errorf("bytes that are no text: %v", err)
	}
}
