package audit

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/query/syntax"
)

// called matches what names a segment, a list or a definition, as a shape has it.
//
//tidy:constant
var called = regexp.MustCompile(`\b(in_segment|in_list|rfm)\( ?#([0-9a-f]{32}) ?\)`)

// Shape returns what may be stored of an expression, which is what [syntax.Shape] leaves of it, with
// "#" and the keyed hash in the place of each literal. known says which names it may show; names are those
// that it was asked about and knew, each once, in order. What in_segment, in_list and rfm name is shown too, and among
// names, if named says so: of an expression that was answered it is certain that there are such. A shape
// that is too long for a record ends with the hash of the whole text.
func (k *keyed) Shape(text string, known func(name string) bool, named bool) (shape string, names []string) {
	note := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	values := map[string]string{}
	shape = syntax.Shape(text, func(name string) bool {
		if !known(name) {
			return false
		}
		note(name)
		return true
	}, func(l syntax.Literal) string {
		h := k.Hash(l.Value).String()
		if named {
			values[h] = l.Value
		}
		return "#" + h
	})
	if named {
		shape = called.ReplaceAllStringFunc(shape, func(call string) string {
			m := called.FindStringSubmatch(call)
			name := values[m[2]]
			note(name)
			return m[1] + "(" + strconv.Quote(name) + ")"
		})
	}
	if len(shape) > MaxWhatBytes {
		whole := ellipsis + " #" + k.Hash(text).String()
		cut := shape[:MaxWhatBytes-len(whole)]
		shape = cut[:max(strings.LastIndexByte(cut, ' '), 0)] + whole // no hash is cut in two
	}
	return shape, names
}
