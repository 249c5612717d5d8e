package access

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestGoldenRole reads the example of the package comment.
func TestGoldenRole(t *testing.T) {
	var lines []string
	for _, line := range examples(t, "Roles") {
		if !strings.Contains(line, "  to ") { // the list of rights
			lines = append(lines, line)
		}
	}
	r, err := ParseRole("italy", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &query.Policy{Rows: `country == "IT"`, PII: query.Hidden, MinGroup: 10, Classes: map[schema.DataClass]query.Access{schema.Correspondence: query.Hidden},
		Rules: []query.PolicyRule{{Attribute: "phone", Access: query.Masked}}}
	if r.Rights != Known|Numbers|Lists || r.QueriesPerMinute != 60 || !reflect.DeepEqual(r.Policy, want) {
		t.Errorf("%+v, %+v", r, r.Policy)
	}
	if told := r.Told(); told != "rights = [\"numbers\", \"lists\"]\nmin_group = 10\nqueries_per_minute = 60\n" {
		t.Errorf("who has it is told %q", told)
	}
	for i, word := range rightWords[1:] {
		if line := examples(t, "Roles"); !slices.ContainsFunc(line, func(l string) bool { return strings.HasPrefix(l, word+" ") }) || Right(2 << i).Words()[0] != word {
			t.Errorf("the right %s is not explained, or not the one of its bit", word)
		}
	}
	if Right(1)<<len(rightWords) != Whole || Cluster != Whole>>1 {
		t.Error("a right has no word")
	}
}

func TestBuiltIn(t *testing.T) {
	all, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Right{
		"admin": Known | Numbers | Lists | Person | Write | Define | Schema | Erase | Operate | Access | Cluster | Whole, "writer": Known | Write | Whole,
		"marketer": Known | Numbers | Lists | Define, "analyst": Known | Numbers, "support": Known | Person | Whole, "reader": Known | Numbers | Lists | Person | Whole,
	} {
		if r := all[name]; r == nil || r.Rights != want || !r.BuiltIn {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if len(all) != 6 {
		t.Errorf("there are %v", slices.Collect(maps.Keys(all)))
	}
	if a := all["analyst"]; a.Policy.MinGroup != 10 || a.Policy.PII != query.Hidden || a.QueriesPerMinute != 60 {
		t.Errorf("analyst: %+v", a)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if !strings.Contains(string(readme), "| `"+name+"` |") {
			t.Errorf("README.md does not say what %s is", name)
		}
	}
}

// TestRoleErrors reads what is no role, and wants to hear where.
func TestRoleErrors(t *testing.T) {
	for text, want := range map[string]string{
		"rights = [\"number\"]":  `line 1: there is no right "number"`,
		"\nrights = \"numbers\"": "line 2: rights is a list",
		"rights = [1]":           `line 1: there is no right "1"`,
		"right = []":             `line 1: unknown key "right"`,
		"pii = \"masked\"\n\n[classes]\nactivitty = \"hidden\"": `line 4: unknown key "activitty"`,
		"[classes]\nactivity = \"gone\"":                        `line 2: activity is "gone"`,
		"pii = true":                                            `line 1: pii is "true"`,
		"classes = 1":                                           "classes is a table",
		"rows = \"\"":                                           "line 1: rows is a text",
		"rows = 5":                                              "line 1: rows is a text",
		"min_group = 0":                                         "line 1: min_group is a number from 1",
		"min_group = 1.5":                                       "line 1: min_group is a number from 1",
		"queries_per_minute = 1000001":                          "line 1: queries_per_minute is a number from 1 to 1000000",
		"rights = [":                                            "line 1: ",
		"rule = 1":                                              "a rule is a table",
		"[[rule]]\nattribute = \"a\"\naccess = \"hidden\"\n[[rule]]\naccess = \"hidden\"": "line 4: rule 1 of a policy names no thing",
		"[[rule]]\nattribute = \"a\"": "line 1: the rule does not say",
		"[[rule]]\nattribute = \"a\"\naccess = \"hidden\"\n[[rule]]\nattribute = \"b\"\naccess = \"secret\"": `line 6: access is "secret"`,
		"[[rule]]\nlist = \"a\"\naccess = \"masked\"":                                                        "line 1: the list \"a\" cannot be masked",
		"[[rule]]\nattribute = \"a\"\naccess = \"hidden\"\n[[rule]]\nattribute = \"a\"\naccess = \"masked\"": "two rules for the attribute",
		"[[rule]]\nattribut = \"a\"\naccess = \"hidden\"":                                                    `line 2: unknown key "attribut"`,
		"rights = [\"numbers\", \"write\"]\npii = \"masked\"":                                                "line 1: the right write is for roles that see everything",
		"min_group = 2\nrights = [\"operate\"]":                                                              "line 2: the right operate",
		"rows = \"a\"\nrights = [\"define\"]":                                                                "line 2: the right define",
		"a = 1\x00":                                                                                          "",
	} {
		_, err := ParseRole("r", text)
		if !isCode(err, query.CodeInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	long := strings.Repeat("#", MaxRoleText)
	if _, err := ParseRole("r", long); err != nil {
		t.Errorf("the longest text: %v", err)
	}
	if _, err := ParseRole("r", long+"#"); !isCode(err, query.CodeLimit) {
		t.Errorf("a longer one: %v", err)
	}
	for _, name := range []string{"", strings.Repeat("a", MaxRoleName+1), "a/b", "a b", "ä", "a\n"} {
		if _, err := ParseRole(name, ""); !isCode(err, query.CodeInvalid) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	if r, err := ParseRole(strings.Repeat("a", MaxRoleName), ""); err != nil || r.Rights != Known|Whole || r.Policy != nil {
		t.Errorf("nothing at all: %+v, %v", r, err)
	}
}

func TestMay(t *testing.T) {
	r, err := ParseRole("r", "rights = [\"person\"]\npii = \"masked\"")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.May(Known | Person); err != nil {
		t.Error(err)
	}
	if err := r.May(Person | Lists); !isCode(err, query.CodeDenied) || !strings.Contains(err.Error(), "the right lists") {
		t.Error(err)
	}
	if err := r.May(Person | Whole); !isCode(err, query.CodeDenied) || !strings.Contains(err.Error(), "see everything") {
		t.Error(err)
	}
}

// FuzzRole reads texts as roles. What is one has a valid policy, or shows everything.
func FuzzRole(f *testing.F) {
	all, err := BuiltIn()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range all {
		f.Add(r.Text)
	}
	f.Add(fmt.Sprintf("rows = %q\n[[rule]]\nevent = \"a\"\nproperty = \"b\"\naccess = \"masked\"\n[classes]\nnone = \"hidden\"", "true"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRole("r", text)
		if err != nil {
			if !isCode(err, query.CodeInvalid) && !isCode(err, query.CodeLimit) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if (r.Policy == nil) != (r.Rights&Whole != 0) || r.Policy != nil && (r.Policy.Validate() != nil || r.Rights&unrestricted != 0) {
			t.Errorf("%q: %+v", text, r)
		}
		if told, err := ParseRole("r", r.Told()); err != nil || told.Rights|Whole != r.Rights|Whole {
			t.Errorf("%q is told as %q: %v", text, r.Told(), err)
		}
	})
}
