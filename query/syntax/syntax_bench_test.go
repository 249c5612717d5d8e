package syntax

import (
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func BenchmarkCompile(b *testing.B) {
	w := testWorld()
	for name, text := range benchTexts {
		b.Run(name, func(b *testing.B) {
			c := NewCompiler()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Compile(text, w, testNow); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAt plans what has been compiled for another instant.
func BenchmarkAt(b *testing.B) {
	w := testWorld()
	for name, text := range benchTexts {
		b.Run(name, func(b *testing.B) {
			c := NewCompiler()
			e, err := c.Compile(text, w, testNow)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.At(e, w, testNow); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var benchTexts = map[string]string{
	"short":    `country == "IT"`,
	"typical":  `country in ["IT", "FI", "NL"] && plan != "premium" && age >= 25 && age < 40 && interests.hasAny(["cooking", "wine"]) && has(p.email)`,
	"constant": `last_seen > now - days(30)`,
	"residual": `size(interests) > 2`,
	"events":   `purchase.in_last(days(30)).count() >= 3 && purchase.in_last(days(30)).sum(e, e.amount) > 100.0`,
	"filter":   `view_item.in_last(days(14)).filter(e, e.category == "c7").count() >= 5`,
	"segment":  `in_segment("newsletter") && !in_list("staff")`,
}

func BenchmarkEnvironment(b *testing.B) {
	for b.Loop() {
		if _, err := newEnvironment(testCompiler.base, testWorld().schema); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResidual(b *testing.B) {
	for name, text := range map[string]string{"size": `size(interests) > 2`, "strings": `country == email`, "local date": `date(signup, zone) > date("2024-01-01")`} {
		e, err := testCompiler.Compile(text, testWorld(), testNow)
		if err != nil {
			b.Fatal(err)
		}
		n := e.Root.(*query.Residual)
		values := make([]schema.Value, len(n.Attrs))
		for i, a := range n.Attrs {
			switch e.env.schema.ByID(a).Kind {
			case schema.Set:
				values[i] = schema.SetValue("a", "b", "c")
			case schema.Timestamp:
				values[i] = schema.TimestampValue(1781524800000)
			default:
				values[i] = schema.StringValue("Europe/Rome")
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if t, _ := n.Eval(values, nil, testNow); t == query.Unknown {
					b.Fatal("unknown")
				}
			}
		})
	}
}
