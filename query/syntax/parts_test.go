package syntax

import (
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// outline writes a part and all parts of it in one line.
func (p *Part) outline() string {
	if len(p.Of) == 0 {
		return p.Text
	}
	of := make([]string, len(p.Of))
	for i, x := range p.Of {
		of[i] = x.outline()
	}
	op := p.Op
	if op == "computed" {
		op = p.Text
	}
	return op + "{" + strings.Join(of, " | ") + "}"
}

func TestParts(t *testing.T) {
	cat, c, env := testWorld(), NewCompiler(), query.Env{Now: time.UnixMilli(1_774_742_400_000).UTC()}
	f := func(text, want string) {
		t.Helper()
		e, err := c.Compile(text, cat, env)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Parts(e, cat, env)
		if err != nil || p.outline() != want || p.Text != strings.TrimSpace(strings.TrimSuffix(text, "// so")) {
			t.Errorf("%s: %q, %s, %v; want %s", text, p.Text, p.outline(), err, want)
		}
	}
	f("age > 30", "age > 30")
	f("age >= 25 && age < 40 && opt_in", "and{age >= 25 | age < 40 | opt_in}") // the plan joins the first two
	f("!(age > 1 || vip) && !has(p.email)", "and{not{or{age > 1 | vip}} | not{has(p.email)}}")
	f("vip ? age > 1 : opt_in == false", "if{vip | age > 1 | opt_in == false}")
	f("(vip ? age : visits) > 1", "(vip ? age : visits) > 1")
	f(`in_segment("newsletter") || in_list("staff")`, `or{segment{and{segment{age >= 18} | opt_in}} | in_list("staff")}`)
	f("purchase.filter(e, e.amount > 1.0 && e.gift).any()", "purchase.filter(e, e.amount > 1.0 && e.gift).any()")
	f("vip && sequence(days(1), [purchase, view_item]) . any()", "and{vip | sequence(days(1), [purchase, view_item]) . any()}")
	f("1 == 2 || true", "or{1 == 2 | true}") // nothing of it is left in the plan
	f("country == \"Å\" &&\n  vip // so", "and{country == \"Å\" | vip}")
}

// TestPartsOfComputed takes apart what the names of computed attributes stand for.
func TestPartsOfComputed(t *testing.T) {
	cat, c, env := testWorld(), NewCompiler(), query.Env{Now: time.UnixMilli(1_774_742_400_000).UTC()}
	for _, x := range [][2]string{
		{"adult", "age >= 18"},
		{"spent", "purchase.sum(e, e.amount)"},
		{"good", "adult && (spent > 10.0 || !vip)"},
		{"path", "sequence(days(1), [purchase, view_item]).any()"},
		{"too good", "good"},
		{"mailed", "has(p.email)"},
	} {
		s, err := cat.schema.Apply(schema.Change{Op: schema.AddComputed, Name: x[0], Text: x[1]})
		if err != nil {
			t.Fatal(err)
		}
		cat.schema = s
	}
	f := func(text, want string) {
		t.Helper()
		e, err := c.Compile(text, cat, env)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Parts(e, cat, env)
		if err != nil || p.outline() != want || p.Text != text {
			t.Errorf("%s: %q, %s, %v; want %s", text, p.Text, p.outline(), err, want)
		}
	}
	f("adult", "adult{age >= 18}")
	f("spent > 3.0", "spent > 3.0")
	f("!p.good && vip", "and{not{p.good{and{adult{age >= 18} | or{spent > 10.0 | not{vip}}}}} | vip}")
	f(`p["too good"] || path && (vip || adult)`, `or{p["too good"]{good{and{adult{age >= 18} | or{spent > 10.0 | not{vip}}}}} | `+
		"and{path{sequence(days(1), [purchase, view_item]).any()} | or{vip | adult{age >= 18}}}}")
	f("has(p.adult) && has(p.spent) && has(p.mailed)", "and{has(p.adult) | has(p.spent) | has(p.mailed)}")
	f("mailed ? adult : (adult ? 1 : 2) > 1", "if{mailed{has(p.email)} | adult{age >= 18} | (adult ? 1 : 2) > 1}")
}
