package query

import (
	"strconv"
	"strings"
)

// What stands for the values beyond the top ones, and for no value, where an analysis splits
// its numbers.
const (
	OtherValues = "(other)"
	NoneValue   = "(none)"
)

// CellPart returns a value as a part of the name of a cell, whose parts are joined by "|":
// nothing that somebody wrote is taken for what stands for others or none.
func CellPart(value string) string {
	if strings.HasPrefix(value, "(") || strings.ContainsAny(value, `"|`) {
		return strconv.Quote(value)
	}
	return value
}
