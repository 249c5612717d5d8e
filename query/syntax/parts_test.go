package syntax

import (
	"strings"
	"testing"
	"time"

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
	return p.Op + "{" + strings.Join(of, " | ") + "}"
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
