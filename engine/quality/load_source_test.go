package quality

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

func TestSourceOf(t *testing.T) {
	s := loadSchema()
	base := LoadOptions{Key: "id"}
	of := func(text string, s *schema.Schema, r *RowsOptions, o LoadOptions) string {
		name, err := SourceOf(strings.NewReader(text), s, nil, r, &o)
		if err != nil || len(name) > schema.MaxNameBytes {
			t.Fatal(name, err)
		}
		return name
	}
	first := of("id\n", s, nil, base)
	for _, same := range []LoadOptions{{Key: "id", Parallelism: 7}, {Key: "id", FromSequence: 9}, {Key: "id", SetSeparator: "|"}, {Key: "id", Zone: time.UTC}, {Key: "id", BatchRows: 8192}, {Key: "id", Run: 4, Source: "x"}} {
		if of("id\n", s, &RowsOptions{}, same) != first {
			t.Errorf("%+v changed the name", same)
		}
	}
	seen := map[string]bool{first: true}
	add := func(name string) {
		if seen[name] {
			t.Errorf("case %d: the name is an earlier one's", len(seen))
		}
		seen[name] = true
	}
	for _, o := range []LoadOptions{{Key: "id2"}, {Key: "id", SetSeparator: ";"}, {Key: "id", EmptyUnsets: true}, {Key: "id", Unknown: RefuseUnknown}, {Key: "id", BatchRows: 5},
		{Key: "id", Zone: time.FixedZone("EET", 7200)}, {Key: "id", Columns: map[string]string{"a": "b"}}, {Key: "id", Columns: map[string]string{"a": "b", "c": "d"}}, {Key: "id", Columns: map[string]string{"ab": ""}},
		{Key: "id", Events: &EventColumns{Time: "a", Event: "b"}}, {Key: "id", Events: &EventColumns{Time: "b", Event: "a"}}, {Key: "id", Events: &EventColumns{Time: "a", Name: "b"}},
		{Key: "id", Events: &EventColumns{Time: "a", Event: "b", ID: "c"}}} {
		add(of("id\n", s, nil, o))
	}
	add(of("id\n\n", s, nil, base))
	add(of("id\n", testSchema(), nil, base))
	for _, r := range []RowsOptions{{Encoding: Latin1}, {SetSeparator: ";"}, {Dialect: &Dialect{}}, {Dialect: &Dialect{Delimiter: ';'}}, {Dialect: &Dialect{Header: true}}, {Dialect: &Dialect{Trim: true}}, {Unnest: true}, {Unnest: true, Lines: "lines"}} {
		add(of("id\n", s, &r, base))
	}
	if _, err := SourceOf(&failingReader{strings.NewReader("x"), io.ErrUnexpectedEOF}, s, nil, nil, &LoadOptions{Key: "id", File: "f"}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// TestSourceOfColumns: what the schema has for other columns does not matter.
func TestSourceOfColumns(t *testing.T) {
	apply := func(s *schema.Schema, changes ...schema.Change) *schema.Schema {
		for _, c := range changes {
			var err error
			if s, err = s.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	of := func(s *schema.Schema, columns []string, o LoadOptions) string {
		name, err := SourceOf(strings.NewReader("a,b\n"), s, columns, nil, &o)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	attribute := func(name string) schema.Change {
		return schema.Change{Op: schema.AddAttribute, Name: name, Attribute: schema.Attribute{Name: name, Kind: schema.Int}}
	}
	property := func(event, name string) schema.Change {
		return schema.Change{Op: schema.AddProperty, Event: event, Name: name, Attribute: schema.Attribute{Kind: schema.Int}}
	}
	before := apply(schema.New(0, 0, nil), attribute("a"), schema.Change{Op: schema.AddEvent, Event: "buy"}, schema.Change{Op: schema.AddEvent, Event: "view"}, property("buy", "a"))
	people := LoadOptions{Key: "k"}
	named := LoadOptions{Key: "k", Events: &EventColumns{Time: "t", Name: "buy"}}
	any := LoadOptions{Key: "k", Events: &EventColumns{Time: "t", Event: "e"}}
	for _, c := range []struct {
		change schema.Change
		o      LoadOptions
		same   bool
	}{
		{attribute("c"), people, true}, {attribute("b"), people, false}, {property("buy", "b"), people, true},
		{attribute("b"), named, true}, {property("buy", "c"), named, true}, {property("buy", "b"), named, false},
		{property("view", "a"), named, true}, {property("view", "b"), named, false}, // now a purchase with a value for it is wrong
		{property("view", "a"), any, false}, {property("view", "c"), any, true}, {schema.Change{Op: schema.AddEvent, Event: "sell"}, any, true},
	} {
		after := apply(before, c.change)
		if (of(before, []string{"a", "b"}, c.o) == of(after, []string{"a", "b"}, c.o)) != c.same {
			t.Errorf("%+v for %+v: the same name is %v", c.change, c.o.Events, !c.same)
		}
		if of(before, nil, c.o) == of(after, nil, c.o) {
			t.Errorf("%+v: the same name where the columns are not known", c.change)
		}
	}
	if of(before, []string{}, people) == of(before, nil, people) {
		t.Error("no column is as columns that are not known")
	}
	if renamed := (LoadOptions{Key: "k", Columns: map[string]string{"b": "c"}}); of(before, []string{"b"}, renamed) == of(apply(before, attribute("c")), []string{"b"}, renamed) {
		t.Error("what a column is renamed to does not matter")
	}
}
