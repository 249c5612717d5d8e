package expr_test

import (
	"fmt"

	"github.com/kantadb/kanta/query/expr"
)

// Whatever a person typed stays a value.
func Example() {
	typed := `Rome" || true || "`
	adults := expr.P.Int("age").AtLeast(18)
	buyers := expr.Event("purchase").InLast(30 * expr.Day).Where(expr.E.Float("amount").More(50)).Count().AtLeast(2)
	fmt.Println(expr.All(adults, expr.P.String("city").Is(typed), expr.Any(buyers, expr.InSegment("regulars"))))
	// Output: (p["age"] >= 18) && (p["city"] == "Rome\" || true || \"") && ((ev["purchase"].in_last(days(30)).filter(e, e["amount"] > 50.0).count() >= 2) || in_segment("regulars"))
}
