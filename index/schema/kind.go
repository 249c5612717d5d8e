package schema

import "fmt"

// Kind is the type of an attribute's values. Its codes are stored: see the package comment.
type Kind uint8

// The kinds. Codes 9 and 10 are reserved for money and geo.
const (
	Absent    Kind = 0 // no value; never the kind of an attribute
	Bool      Kind = 1
	Int       Kind = 2
	Float     Kind = 3
	Decimal   Kind = 4
	String    Kind = 5
	Date      Kind = 6
	Timestamp Kind = 7
	Set       Kind = 8
)

var kindNames = [...]string{"absent", "bool", "int", "float", "decimal", "string", "date", "timestamp", "set<string>"}

// String returns the name that schema files use, such as "set<string>".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of [Kind.String]; "decimal" stands without its scale.
func ParseKind(s string) (Kind, bool) {
	for i := 1; i < len(kindNames); i++ {
		if kindNames[i] == s {
			return Kind(i), true
		}
	}
	return Absent, false
}

// Valid reports whether k is the kind of an attribute that can be stored today.
func (k Kind) Valid() bool { return k >= Bool && k <= Set }

// Ordered reports whether values of k have an ordered int64 form: all kinds but
// string and set.
func (k Kind) Ordered() bool { return k.Valid() && k != String && k != Set }
