package path

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// What stands for what has no label of its own.
const (
	noneText  = "(none)"
	otherText = "(other)"
	endText   = "(end)"
)

const (
	labelBits = 21

	// MaxLabels bounds the different labels: what has more names single things, such as orders,
	// and no two people take the same path through them.
	MaxLabels = 1<<labelBits - 1

	none = 0 // the label of an event without a value
)

// labels are numbers for texts.
type labels struct {
	texts []string
	place map[string]uint32
}

func newLabels() labels {
	return labels{texts: []string{noneText}, place: map[string]uint32{}} // whoever is called so has another number
}

// of returns the number of a text.
func (l *labels) of(text string) uint32 {
	n, ok := l.place[text]
	if !ok {
		n = uint32(len(l.texts))
		l.place[text], l.texts = n, append(l.texts, text)
	}
	return n
}

// compare tells which of two labels comes first: none does, then it is as their texts are.
func (l *labels) compare(a, b uint32) int {
	if a == none || b == none {
		return cmp.Compare(a, b)
	}
	return strings.Compare(l.texts[a], l.texts[b])
}

// quoted is a label as a part of a cell's name, in which nothing that somebody wrote is taken
// for what stands for others.
func (l *labels) quoted(label uint32) string {
	if label == none {
		return noneText
	}
	return quoted(l.texts[label])
}

func quoted(text string) string {
	if text == "" || strings.HasPrefix(text, "(") || strings.ContainsAny(text, `">:`) {
		return strconv.Quote(text)
	}
	return text
}

// caller tells what the events of a source are called. Each worker has its own.
type caller struct {
	*source
	name  uint32 // of all, if they have no property for it
	small []uint32
	rest  map[int64]uint32 // by value, as small is: the label and one
}

// smallValues is how many codes are looked up in a list, without hashing.
const smallValues = 1 << 16

// Bytes of what a worker keeps of labels.
const (
	labelBytes = 128 // beside the text: its place in a map that may be a quarter full, in another one when all are put together, and its count
	valueBytes = 48  // in a map that may be a quarter full
)

// at returns the label of a value, if it has been looked up before.
func (c *caller) at(n int64) (label uint32, ok bool) {
	if uint64(n) < uint64(len(c.small)) {
		label = c.small[n]
	} else if c.rest != nil {
		label = c.rest[n]
	}
	return label - 1, label > 0
}

// lookUp finds the label of a value and returns how many bytes more are kept.
func (c *caller) lookUp(s *query.Study, l *labels, n int64) (label uint32, bytes int64) {
	had := len(l.texts)
	if n != query.NoValue {
		text := ""
		if c.property.Kind == schema.String {
			text = s.Text(c.property.ID, n)
		} else {
			text = schema.FromOrdered(c.property.Kind, c.property.Scale, n).String()
		}
		label = l.of(text)
		bytes = int64(len(l.texts)-had) * (labelBytes + int64(len(text)))
	}
	if uint64(n) < smallValues {
		if more := int(n) + 1 - len(c.small); more > 0 {
			c.small = append(c.small, make([]uint32, more)...)
			bytes += 2 * 4 * int64(more) // and the room that it grows by
		}
		c.small[n] = label + 1
		return label, bytes
	}
	if c.rest == nil {
		c.rest = map[int64]uint32{}
	}
	c.rest[n] = label + 1
	return label, bytes + valueBytes
}
