package basket

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// hasTexts reports whether items are strings, told by their codes.
func (b *basket) hasTexts() bool { return b.item.Kind == schema.String || b.item.Kind == schema.Set }

// text returns what an item is called.
func (b *basket) text(value int64) string {
	if b.hasTexts() {
		return b.study.Text(b.item.ID, value)
	}
	return schema.FromOrdered(b.item.Kind, b.item.Scale, value).String()
}

// parseItem is the inverse of text.
func (b *basket) parseItem(text string) (int64, error) {
	if !b.hasTexts() {
		n, err := schema.ParseOrdered(b.item.Kind, b.item.Scale, []byte(text), nil)
		if err != nil {
			return 0, query.Errorf(query.CodeInvalid, "%q is no %s, as %s is", text, b.item.Kind, b.item.Name)
		}
		return n, nil
	}
	if code, ok := b.study.Code(b.item.ID, text); ok {
		return code, nil
	}
	e := query.Errorf(query.CodeUnknownName, "no %s has the %s %q", b.list.Event.Name, b.item.Name, text)
	var known []string
	b.study.Texts(b.item.ID, func(text string) bool {
		known = append(known, text)
		return true
	})
	e.Hint = query.DidYouMean(text, known)
	return 0, e
}

// items are the items that enough baskets have, by number: numbers are in the order of
// strings' bytes, or of other values.
type items struct {
	values  []int64
	texts   []string
	baskets []uint64
	people  []uint64
}

// add adds an item; they are in order once all are there and sort was called.
func (t *items) add(value int64, text string, baskets, people uint64) {
	t.values, t.texts = append(t.values, value), append(t.texts, text)
	t.baskets, t.people = append(t.baskets, baskets), append(t.people, people)
}

func (t *items) sort(byText bool) *items {
	order := make([]int, len(t.values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		if byText {
			return strings.Compare(t.texts[i], t.texts[j])
		}
		return cmp.Compare(t.values[i], t.values[j])
	})
	out := &items{}
	for _, i := range order {
		out.add(t.values[i], t.texts[i], t.baskets[i], t.people[i])
	}
	return out
}

// What cells are written with.
const (
	everybody = "(all)"
	and       = " + "
	not       = "!"
)

// quoted writes an item so that nothing in it is taken for what stands between items.
func quoted(text string) string {
	if text == "" || strings.ContainsAny(text, `"+`) || strings.HasPrefix(text, "(") || strings.HasPrefix(text, not) || strings.TrimSpace(text) != text {
		return strconv.Quote(text)
	}
	return text
}

// cell is a set of people: those who have a basket with all of some items, and no basket
// with one more.
type cell struct {
	all   []int64 // sorted
	more  []int64 // all of them and the one more, sorted
	isNot bool
}

// readCell reads the name of a cell.
func (b *basket) readCell(text string) (*cell, error) {
	switch text {
	case "":
		return nil, nil
	case everybody:
		return &cell{}, nil
	}
	c, seen := &cell{}, 0
	for rest := text; rest != ""; seen++ {
		var isNot bool
		if c.isNot {
			return nil, b.badCell(text) // what is not there comes last
		}
		rest, isNot = strings.CutPrefix(rest, not)
		one, after, ok := cutItem(rest)
		if !ok {
			return nil, b.badCell(text)
		}
		value, err := b.parseItem(one)
		if err != nil {
			return nil, fmt.Errorf("cell %q: %w", text, err)
		}
		rest, c.isNot, c.more = after, isNot, append(c.more, value)
		if !isNot {
			c.all = append(c.all, value)
		}
	}
	slices.Sort(c.all)
	slices.Sort(c.more)
	if seen > MaxSize || len(c.all) == 0 || len(slices.Compact(slices.Clone(c.more))) < seen {
		return nil, b.badCell(text)
	}
	return c, nil
}

func (b *basket) badCell(text string) error {
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("a basket has no cell %q", text),
		Hint: fmt.Sprintf(`"cup + tea" are those who have a basket with both, "cup + !tea" those who have one with the first and none with both, %q all; of up to %d different items`, everybody, MaxSize)}
}

// cutItem cuts the first item off a cell's name.
func cutItem(text string) (item, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		item, rest, _ = strings.Cut(text, and)
		return item, rest, item != "" && (rest != "" || item == text)
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", false
	}
	item, err = strconv.Unquote(quoted)
	rest = text[len(quoted):]
	if rest == "" {
		return item, "", err == nil
	}
	rest, ok = strings.CutPrefix(rest, and)
	return item, rest, ok && err == nil && rest != ""
}

// collect puts the people of the cell that is wanted.
func (b *basket) collect(ctx context.Context) (query.Answer, error) {
	return b.study.Each(ctx, func() query.ChunkVisitor {
		return func(ctx context.Context, c *query.StudyChunk) error {
			var has, hasMore bool
			cut := &cutter{basket: b, each: func(items []int64) {
				has = has || containsAll(items, b.cell.all)
				hasMore = hasMore || b.cell.isNot && containsAll(items, b.cell.more)
			}}
			return c.PerPerson(ctx, b.list, b.key, b.item.ID, &c.People, func(who uint16, events []query.PersonEvent) error {
				has, hasMore = false, false
				if cut.person(events); has && !hasMore {
					c.PutOne(who)
				}
				return nil
			})
		}
	})
}

// containsAll reports whether a sorted list has all of another.
func containsAll(list, of []int64) bool {
	for _, x := range of {
		i, found := slices.BinarySearch(list, x)
		if !found {
			return false
		}
		list = list[i+1:]
	}
	return true
}
