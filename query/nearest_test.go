package query

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"age", "country", "Order total", "über", "plan"}
	for name, want := range map[string]string{
		"aeg": "age", "agee": "age", "ag": "", "cuntry": "country", "COUNTRY": "country", "contry": "country", "order totla": "Order total",
		"uber": "über", "xyz": "", "": "", "pl": "", "plna": "plan", "lpan": "plan", "country_of_birth": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"ca", "ac", 1}, {"abcd", "badc", 2}, {"age", "gae", 1}, {"same", "same", 0}} {
		if got := editDistance(c.a, c.b, 10); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
