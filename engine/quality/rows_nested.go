package quality

import (
	"fmt"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
)

// nestedRows is the array of objects of a line whose objects are its rows.
type nestedRows struct {
	rest    []byte // from the next object on; nil: there is none
	name    string // of the array, with a dot
	depth   int    // of its objects
	part    int    // the number of the object that was read last, from 1; 0 before
	cells   []int  // columns that this object has
	scratch int    // bytes of scratch that belong to the members around the array
}

// place implements knownRows.
func (n *ndjsonRows) place() int { return n.nested.part }

// nest notes an array of objects, which starts at text, and returns what follows it.
func (n *ndjsonRows) nest(text []byte, depth int) (rest []byte, problem string) {
	if n.lines != "" && norm.NFC.String(string(n.name)) != n.lines {
		if _, known := n.index[string(n.name)]; !known {
			_, problem = n.newColumn()
		}
		return text[valueLen(text):], problem
	}
	switch {
	case n.nested.part > 0:
		return nil, fmt.Sprintf("the member %q is an array of objects within another: only one can become rows", n.name)
	case n.nested.rest != nil:
		return nil, fmt.Sprintf("the member %q is an array of objects, as %q is: only one can become rows, name it with --lines", n.name, n.nested.name[:len(n.nested.name)-1])
	}
	n.nested.rest = skipSpace(text[1:])
	n.nested.name, n.nested.depth = string(n.name)+".", depth+1
	return text[valueLen(text):], ""
}

// nextNested reads the next object of the array into n.cells, in the place of the one before,
// and returns what is wrong with it, or "".
func (n *ndjsonRows) nextNested() (batch.Reason, string) {
	r := &n.nested
	for _, i := range r.cells {
		n.cells[i], n.set[i] = nil, false
	}
	r.cells, n.scratch = r.cells[:0], n.scratch[:r.scratch]
	r.part++
	size := valueLen(r.rest)
	value, rest := r.rest[:size], skipSpace(r.rest[size:])
	r.rest = nil
	if rest[0] == ',' {
		r.rest = skipSpace(rest[1:])
	}
	problem := ""
	if value[0] == '{' {
		n.name = append(n.name[:0], r.name...)
		_, problem = n.object(value, r.depth)
	} else {
		problem = fmt.Sprintf("element %d of %q is no object, as the first is", r.part, r.name[:len(r.name)-1])
	}
	return parseReason(problem), problem
}

// valueLen returns the length of the JSON value at the start of text, which is valid.
func valueLen(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i
			}
			depth--
		case c == ',' && depth == 0:
			return i
		default:
			continue
		}
		if depth == 0 && !quoted {
			return i + 1
		}
	}
	return len(text)
}
