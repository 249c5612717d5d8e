package schema

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes bounds a name: names stand in keys of the store and in every answer.
const MaxNameBytes = 128

// reservedNames are the identifiers that mean something else in an expression, sorted.
// It is the one list: CEL's keywords, reserved words, types and functions (members
// too, so that no reader has to tell them apart), and the globals and functions of Kanta.
var reservedNames = [...]string{
	"all", "any", "as", "at_hours", "avg", "base64", "between", "bool", "break", "bytes", "charAt", "const",
	"contains", "continue", "count", "date", "days", "decimal", "distinct", "distinct_days", "double", "duration", "dyn",
	"else", "endsWith", "ev", "exists", "existsOne", "exists_one", "false", "filter", "first", "flatten", "for", "format",
	"function", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours",
	"getMilliseconds", "getMinutes", "getMonth", "getSeconds", "google", "greatest", "has", "hasAll", "hasAny", "hours", "if",
	"import", "in", "in_last", "in_list", "in_segment", "indexOf", "int", "join", "json", "last", "lastIndexOf", "least",
	"let", "list", "loop", "lowerAscii", "map", "matches", "max", "min", "minutes", "namespace", "now", "null",
	"null_type", "on_weekdays", "optional", "optional_type", "p", "package", "replace", "return", "reverse", "rfm",
	"seconds", "sequence", "sets", "size", "slice", "sort", "split", "startsWith", "string", "strings", "substring", "sum", "then",
	"timestamp", "today", "transform", "transformList", "transformMap", "trim", "true", "type", "uint",
	"upperAscii", "var", "void", "while", "yaml",
}

// Usable reports whether a name may stand bare in an expression: an identifier that
// is not reserved. Every other name is written p["the name"].
func Usable(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	_, reserved := slices.BinarySearch(reservedNames[:], name)
	return name != "" && !reserved
}

// CheckName reports what keeps a name from being an attribute's: it is empty, longer
// than [MaxNameBytes], not UTF-8, or has a control character. The error is a
// *[ChangeError]. Callers that take names from outside normalise them to NFC first.
func CheckName(name string) error {
	problem := func(what, advice string) error {
		return &ChangeError{Name: name, Problem: what, Advice: advice}
	}
	switch {
	case name == "":
		return problem("the name is empty", "give it a name")
	case len(name) > MaxNameBytes:
		return problem("the name is longer than 128 bytes", "shorten it")
	case !utf8.ValidString(name):
		return problem("the name is not UTF-8", "convert the input to UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return problem("the name has a control character", "remove it (a line break or tab in a header?)")
		}
	}
	return nil
}
