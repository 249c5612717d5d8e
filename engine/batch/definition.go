package batch

import (
	"encoding/binary"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/kantadb/kanta/query"
)

// MaxDefinition bounds a saved analysis: its texts are read anew at each change of what they
// may name.
const MaxDefinition = 16 << 10

// Definition is an analysis with its arguments that is saved under a name, so that
// expressions can name what it says of each person: rfm("orders").segment.
type Definition struct {
	Analysis, Name string
	Who            string // the expression that says of whom it is; "": of everybody
	Arguments      query.Arguments
}

// AppendArguments appends of whom a definition is and its arguments, as a definition save has them.
func (d *Definition) AppendArguments(dst []byte) []byte {
	dst = appendString(dst, d.Who)
	dst = binary.AppendUvarint(dst, uint64(len(d.Arguments)))
	for _, parameter := range slices.Sorted(maps.Keys(d.Arguments)) {
		dst = appendString(dst, parameter)
		dst = binary.AppendUvarint(dst, uint64(len(d.Arguments[parameter])))
		for _, text := range d.Arguments[parameter] {
			dst = appendString(dst, text)
		}
	}
	return dst
}

// ReadArguments is the inverse of AppendArguments.
func (d *Definition) ReadArguments(b []byte) error {
	r := reader{b: b}
	r.arguments(d)
	if len(r.b) > 0 {
		r.fail("%d bytes behind the arguments of a definition", len(r.b))
	}
	return r.err
}

// SaveDefinition saves an analysis under a name, new or not.
func (b *Builder) SaveDefinition(d *Definition) {
	body := appendString(appendString(b.body[:0], b.checkName(d.Analysis)), b.checkName(d.Name))
	body = d.AppendArguments(body)
	b.body = body
	if len(body) > MaxDefinition {
		b.limit("a definition takes %d bytes, at most %d", len(body), MaxDefinition)
	}
	texts := []string{d.Who}
	for parameter, given := range d.Arguments {
		if parameter == "" || len(given) == 0 {
			b.fail("the definition %q has a parameter without a name or a text", d.Name)
		}
		texts = append(append(texts, parameter), given...)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			b.fail("the definition %q has a text that is not UTF-8", d.Name)
		}
	}
	b.op(OpDefinitionSave, body, 0)
}

// DropDefinition drops a saved analysis.
func (b *Builder) DropDefinition(analysis, name string) {
	b.body = appendString(appendString(b.body[:0], b.checkName(analysis)), b.checkName(name))
	b.op(OpDefinitionDrop, b.body, 0)
}

// definition reads the body of a definition save, or the start that a definition drop is.
func (r *reader) definition(save bool) *Definition {
	if len(r.b) > MaxDefinition {
		r.fail("a definition of %d bytes", len(r.b))
		return nil
	}
	d := &Definition{Analysis: r.name(), Name: r.name()}
	if save {
		r.arguments(d)
	}
	return d
}

func (r *reader) arguments(d *Definition) {
	text := func() string {
		s := r.take(r.count(1))
		if !utf8.Valid(s) {
			r.fail("a text of a definition is not UTF-8")
		}
		return string(s)
	}
	d.Who, d.Arguments = text(), query.Arguments{}
	last := ""
	for n := r.count(3); n > 0 && r.err == nil; n-- {
		parameter := text()
		if parameter <= last {
			r.fail("the parameters of a definition do not ascend")
			return
		}
		texts := make([]string, r.count(1))
		if len(texts) == 0 {
			r.fail("a parameter of a definition without a text")
		}
		for i := range texts {
			texts[i] = text()
		}
		d.Arguments[parameter], last = texts, parameter
	}
}
