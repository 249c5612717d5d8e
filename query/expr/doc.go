// Package expr makes the texts of expressions from Go values, so that a program quotes nothing by
// hand: whatever a value holds, it stays a value.
//
//	adults := expr.P.Int("age").AtLeast(18)
//	buyers := expr.Event("purchase").InLast(30 * expr.Day).Where(expr.E.Float("amount").More(50)).Count().AtLeast(2)
//	n, err := db.Count(ctx, expr.All(adults, buyers).String(), nil)
//
// The language is that of package query/syntax, which says what each construct means, also of
// what is absent. What this package makes is typed as Go is: an attribute of ints is compared
// with ints. Whether the store has an attribute of the name and kind it is who says that is
// asked. It needs nothing but the standard library. Values are safe for concurrent use, and
// methods return new ones.
package expr
