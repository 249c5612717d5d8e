package quality

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// maxJSONDepth bounds nested objects: a name with more dots is no attribute's.
const maxJSONDepth = 16

// ndjsonRows reads one JSON object per line. Members of nested objects become columns
// with dotted names, arrays become sets, their elements joined by the separator.
// Numbers keep their text. See RowsOptions for arrays of objects.
type ndjsonRows struct {
	lineReader
	separator string
	unnest    bool
	lines     string // the array to make rows of; "": whichever there is
	nested    nestedRows
	columns   []string
	arrays    []bool         // columns that were an array at least once
	index     map[string]int // from the name as it stands in the text, not normalised
	cells     [][]byte
	set       []bool // columns that the row has
	name      []byte // the dotted name of the member that is read
	scratch   []byte // texts that do not stand in the row as they are
}

// newNDJSON learns the columns of the sample, so that they are known before the first row.
// whole says that the sample is all there is; else its last line may be cut anywhere.
func newNDJSON(lines lineReader, opt *RowsOptions, sample []byte, whole bool) *ndjsonRows {
	n := &ndjsonRows{lineReader: lines, separator: opt.SetSeparator, unnest: opt.Unnest, lines: norm.NFC.String(opt.Lines), index: map[string]int{}}
	if n.separator == "" {
		n.separator = schema.SetSeparator
	}
	for len(sample) > 0 {
		line, rest, found := bytes.Cut(sample, []byte{'\n'})
		if !found && !whole {
			break
		}
		sample = rest
		n.parse(bytes.TrimSpace(line)) // a bad row is reported when it is read
		for n.nested.rest != nil {
			n.nextNested()
		}
	}
	return n
}

// Columns implements Rows.
func (n *ndjsonRows) Columns() []string { return n.columns }

// declared implements knownRows: of arrays it is known.
func (n *ndjsonRows) declared(column int) (schema.Kind, uint8) {
	if n.arrays[column] {
		return schema.Set, 0
	}
	return schema.Absent, 0
}

// Next implements Rows.
func (n *ndjsonRows) Next() ([][]byte, int, error) {
	for {
		if n.nested.rest != nil {
			if reason, problem := n.nextNested(); problem != "" {
				return nil, n.line, n.bad(n.line, reason, n.raw, "%s", problem)
			}
			return n.cells, n.line, nil
		}
		line := n.line + 1
		size, err := n.newline(0)
		if err == errLongRow {
			return nil, line, n.skipLine()
		}
		if err != nil {
			return nil, line, err
		}
		if size == 0 && n.start == n.end {
			return nil, line, io.EOF
		}
		n.raw = trimCR(n.text(size))
		n.consume(size, 1)
		text := bytes.TrimSpace(n.raw)
		if len(text) == 0 {
			continue
		}
		if bad := n.badEncoding(line, n.raw); bad != nil {
			return nil, line, bad
		}
		if reason, problem := n.parse(text); problem != "" {
			return nil, line, n.bad(line, reason, n.raw, "%s", problem)
		}
		if n.nested.rest == nil {
			return n.cells, line, nil
		}
	}
}

// parse reads one object into n.cells and returns what is wrong with it, or "".
func (n *ndjsonRows) parse(text []byte) (batch.Reason, string) {
	for i := range n.cells {
		n.cells[i], n.set[i] = nil, false
	}
	n.scratch, n.name, n.nested = n.scratch[:0], n.name[:0], nestedRows{cells: n.nested.cells[:0]}
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return batch.ReasonSyntax, "not one JSON object on the line" + jsonProblem(text)
	}
	_, problem := n.object(text, 1)
	if problem != "" {
		n.nested.rest = nil
	}
	n.nested.scratch = len(n.scratch)
	return parseReason(problem), problem
}

func parseReason(problem string) batch.Reason {
	if problem == tooLong {
		return batch.ReasonTooLong
	}
	return batch.ReasonSyntax
}

func jsonProblem(text []byte) string {
	var any json.RawMessage
	if err := json.Unmarshal(text, &any); err != nil {
		return ": " + err.Error()
	}
	return ""
}

const tooLong = "a value is longer than 16 KiB"

// object reads an object that starts at text, which is valid JSON, and returns what follows it.
func (n *ndjsonRows) object(text []byte, depth int) (rest []byte, problem string) {
	if depth > maxJSONDepth {
		return nil, fmt.Sprintf("objects nested deeper than %d", maxJSONDepth)
	}
	prefix := len(n.name)
	text = skipSpace(text[1:])
	for text[0] != '}' {
		var key, value []byte
		key, text = n.jsonString(text)
		n.name = append(n.name[:prefix], key...)
		text = skipSpace(skipSpace(text)[1:]) // the colon
		switch text[0] {
		case '{':
			n.name = append(n.name, '.')
			if text, problem = n.object(text, depth+1); problem != "" {
				return nil, problem
			}
		case '[':
			if n.unnest && skipSpace(text[1:])[0] == '{' {
				if text, problem = n.nest(text, depth); problem != "" {
					return nil, problem
				}
				break
			}
			if value, text, problem = n.array(text); problem != "" {
				return nil, problem
			}
			if problem = n.put(value, true); problem != "" {
				return nil, problem
			}
		default:
			value, text = n.scalar(text)
			if problem = n.put(value, false); problem != "" {
				return nil, problem
			}
		}
		text = skipSpace(text)
		if text[0] == ',' {
			text = skipSpace(text[1:])
		}
	}
	n.name = n.name[:prefix]
	return text[1:], ""
}

// put sets the cell of the column n.name.
func (n *ndjsonRows) put(value []byte, array bool) (problem string) {
	i, ok := n.index[string(n.name)]
	if !ok {
		if i, problem = n.newColumn(); problem != "" {
			return problem
		}
	}
	switch {
	case n.set[i]:
		return fmt.Sprintf("the member %q comes twice", n.columns[i])
	case len(value) > schema.MaxStringBytes:
		return tooLong
	}
	n.arrays[i] = n.arrays[i] || array
	n.cells[i], n.set[i] = value, true
	if n.nested.part > 0 {
		n.nested.cells = append(n.nested.cells, i)
	}
	return ""
}

func (n *ndjsonRows) newColumn() (i int, problem string) {
	name := norm.NFC.String(string(n.name))
	if err := schema.CheckName(name); err != nil {
		return 0, err.Error()
	}
	if i, ok := n.index[name]; ok {
		n.index[string(n.name)] = i
		return i, ""
	}
	if len(n.columns) == schema.MaxAttributes {
		return 0, fmt.Sprintf("more than %d different members", schema.MaxAttributes)
	}
	i = len(n.columns)
	n.index[string(n.name)], n.index[name] = i, i
	n.columns, n.arrays = append(n.columns, name), append(n.arrays, false)
	n.cells, n.set = append(n.cells, nil), append(n.set, false)
	return i, ""
}

// array joins the elements of an array of scalars.
func (n *ndjsonRows) array(text []byte) (value, rest []byte, problem string) {
	joined := make([]byte, 0, 64)
	text = skipSpace(text[1:])
	for text[0] != ']' {
		if text[0] == '{' || text[0] == '[' {
			return nil, nil, fmt.Sprintf("the member %q is an array of objects or arrays: a set has plain elements", n.name)
		}
		var element []byte
		element, text = n.scalar(text)
		if bytes.Contains(element, []byte(n.separator)) {
			return nil, nil, fmt.Sprintf("an element of %q has the set separator %q in it: choose another separator", n.name, n.separator)
		}
		if len(joined) > 0 && len(element) > 0 {
			joined = append(joined, n.separator...)
		}
		joined = append(joined, element...)
		text = skipSpace(text)
		if text[0] == ',' {
			text = skipSpace(text[1:])
		}
	}
	return joined, text[1:], ""
}

// scalar reads a string, number, true, false or null; null is an empty text.
func (n *ndjsonRows) scalar(text []byte) (value, rest []byte) {
	if text[0] == '"' {
		return n.jsonString(text)
	}
	i := bytes.IndexAny(text, ",]} \t\r\n")
	if text[0] == 'n' {
		return text[:0], text[i:]
	}
	return text[:i], text[i:]
}

// jsonString reads a string and returns its text without quotes and escapes.
func (n *ndjsonRows) jsonString(text []byte) (value, rest []byte) {
	end := 1
	for {
		end += bytes.IndexByte(text[end:], '"')
		backslashes := 0
		for text[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes&1 == 0 {
			break
		}
		end++
	}
	value, rest = text[1:end], text[end+1:]
	if bytes.IndexByte(value, '\\') < 0 {
		return value, rest
	}
	var s string
	if json.Unmarshal(text[:end+1], &s) != nil {
		s = "" // cannot be: the text is valid JSON
	}
	from := len(n.scratch)
	n.scratch = append(n.scratch, s...)
	return n.scratch[from:], rest
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}
