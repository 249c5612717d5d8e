package quality

import (
	"maps"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// planner makes a plan from the names of columns.
type planner struct {
	o      *LoadOptions
	schema *schema.Schema
	fixed  bool              // no more columns can come
	place  string            // what counts the rows: line, or row
	taken  map[string]string // from attribute to the column that it is loaded from
}

// loadPlan says which cells of a row are loaded, and as what. It is immutable. A later
// plan of the same load has the fields of the earlier ones first.
type loadPlan struct {
	place   string      // what counts the rows: line, or row
	columns int         // of the rows, used or not
	fields  []loadField // what each row has (the key first), then the attributes or properties
	events  *eventPlan  // nil: the rows are profiles
	table   []batch.Column
	unknown []string
}

// loadField is one cell of a row.
type loadField struct {
	cell   int         // its place in the row
	name   string      // of the attribute or property
	also   bool        // the column is one that each row has: not all event types make a property of it
	alien  bool        // there is no attribute, nor a property of any event type: rows that have it are bad
	values []loadValue // of an attribute: one; of properties: one for each event type; of what each row has: none
}

// loadValue is what a cell becomes.
type loadValue struct {
	column  int   // of the batch
	rules   rules // of the attribute or property; without one, the event type has no such property
	checked bool  // rules asks something of a value, besides its kind
}

// eventPlan is what a plan for events has besides.
type eventPlan struct {
	types    map[string]int // places among the schema's event types, by name
	required [][]*schema.Attribute
	named    int    // the type of all rows; -1: it stands in a column
	name     []byte // its name
	time     int    // places among the fields
	event    int
	id       int // -1: there is none
	list     []schema.Event
}

// first returns the place of the first field that is an attribute or a property.
func (p *loadPlan) first() int {
	if p.events == nil {
		return 1
	}
	return max(p.events.time, p.events.event, p.events.id) + 1
}

// extend returns the plan for more columns than old has, or old.
func (p *planner) extend(old *loadPlan, columns []string) (*loadPlan, error) {
	if old != nil && old.columns == len(columns) {
		return old, nil
	}
	plan := &loadPlan{place: p.place, columns: len(columns)}
	from := 0
	if old == nil {
		if err := p.check(columns); err != nil {
			return nil, err
		}
		plan.fields = []loadField{{cell: slices.Index(columns, p.o.Key)}}
		if p.o.Events != nil {
			if err := p.events(plan, columns); err != nil {
				return nil, err
			}
		}
	} else {
		from = old.columns
		plan.fields, plan.unknown = slices.Clone(old.fields), slices.Clone(old.unknown)
		plan.events, plan.table = old.events, slices.Clone(old.table)
	}
	for i := from; i < len(columns); i++ {
		if err := p.add(plan, i, columns[i]); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// check looks at what has to be right before the first row.
func (p *planner) check(columns []string) error {
	switch {
	case len(columns) == 0:
		return invalid(p.o, "it is empty: there is not even a header")
	case !slices.Contains(columns, p.o.Key):
		return p.missing("for the key", p.o.Key, columns)
	}
	for _, column := range slices.Sorted(maps.Keys(p.o.Columns)) {
		if name := p.o.Columns[column]; name != "" && p.values(name) == nil {
			err := query.Errorf(query.CodeUnknownName, "%s: column %q is to be loaded as %s %q, which is not in the schema", p.o.File, column, p.what(), name)
			err.Hint = "add it to the schema, or correct the name"
			return err
		}
		if p.fixed && !slices.Contains(columns, column) {
			return p.missing("to rename", column, columns)
		}
	}
	return nil
}

// what says what columns become, for people.
func (p *planner) what() string {
	if p.o.Events != nil {
		return "property"
	}
	return "attribute"
}

// missing reports that a column is not there, with the one that may be meant.
func (p *planner) missing(what, name string, columns []string) error {
	const shown = 50
	err := query.Errorf(query.CodeUnknownName, "%s: there is no column %q %s", p.o.File, name, what)
	if err.Hint = nearest(name, columns[:min(len(columns), shown)]); columns[0] == "column_1" {
		err.Hint += "; if the first line is a header after all, say so"
	}
	return err
}

// events adds to a plan what each event has.
func (p *planner) events(plan *loadPlan, columns []string) error {
	o := p.o.Events
	e := &eventPlan{types: map[string]int{}, named: -1, event: -1, id: -1, list: p.schema.Events}
	for i := range p.schema.Events {
		of := &p.schema.Events[i]
		var required []*schema.Attribute
		for j := range of.Properties {
			if of.Properties[j].Required {
				required = append(required, &of.Properties[j])
			}
		}
		e.types[of.Name], e.required = i, append(e.required, required)
	}
	if i, ok := e.types[o.Name]; ok {
		e.named, e.name = i, []byte(o.Name)
	} else if o.Name != "" {
		err := query.Errorf(query.CodeUnknownName, "%s: there is no event %q in the schema", p.o.File, o.Name)
		err.Hint = "add the event to the schema, or correct the name"
		return err
	}
	for _, c := range [...]struct {
		name, what string
		field      *int
	}{{o.Time, "for the time", &e.time}, {o.Event, "for the event types", &e.event}, {o.ID, "for the ids", &e.id}} {
		if c.name == "" {
			continue
		}
		cell := slices.Index(columns, c.name)
		if cell < 0 {
			return p.missing(c.what, c.name, columns)
		}
		*c.field = len(plan.fields)
		plan.fields = append(plan.fields, loadField{cell: cell})
	}
	plan.events = e
	return nil
}

// values returns the attribute of a name, or the property of each event type; nil if there is none.
func (p *planner) values(name string) (out []loadValue) {
	value := func(a *schema.Attribute) {
		v := loadValue{rules: newRules(a, batch.VerbSet)}
		v.checked = v.rules.bounded || v.rules.ints != nil || v.rules.strs != nil || v.rules.format != ""
		out = append(out, v)
	}
	if p.o.Events == nil {
		if a := p.schema.Lookup(name); a != nil {
			value(a)
		}
		return out
	}
	found := false
	for i := range p.schema.Events {
		if a := p.schema.Events[i].Lookup(name); a != nil {
			value(a)
			found = true
		} else {
			out = append(out, loadValue{})
		}
	}
	if !found {
		return nil
	}
	return out
}

// add adds column i to a plan, if it is loaded.
func (p *planner) add(plan *loadPlan, i int, column string) error {
	name, renamed := p.o.Columns[column]
	if !renamed {
		name = column
	}
	e := p.o.Events
	also := column == p.o.Key || e != nil && (column == e.Time || column == e.Event || column == e.ID)
	values := p.values(name)
	switch {
	case name == "" || values == nil && also:
		return nil
	case values == nil && p.o.Unknown == RefuseUnknown && e != nil:
		return p.unknown(i, column, "a property of any event of the schema", "add it to the events that have it, or leave the column out")
	case values == nil && p.o.Unknown == RefuseUnknown:
		return p.unknown(i, column, "an attribute of the schema", "add the attribute to the schema, or leave the column out")
	case values == nil && p.o.Unknown == QuarantineUnknown:
		plan.fields = append(plan.fields, loadField{cell: i, name: column, alien: true, values: make([]loadValue, max(1, len(p.schema.Events)))})
		return nil
	case values == nil:
		plan.unknown = append(plan.unknown, column)
		return nil
	case p.taken[name] != "":
		return invalid(p.o, "column %d, %q, is to be %s %q, as column %q is: leave one of them out", i+1, column, p.what(), name, p.taken[name])
	}
	p.taken[name] = column
	for j := range values {
		a := values[j].rules.attr
		if a == nil {
			continue
		}
		c := batch.Column{Name: name, Kind: a.Kind, Scale: a.Scale}
		if values[j].column = slices.Index(plan.table, c); values[j].column < 0 {
			values[j].column = len(plan.table)
			plan.table = append(plan.table, c)
		}
	}
	plan.fields = append(plan.fields, loadField{cell: i, name: name, also: also, values: values})
	return nil
}

func (p *planner) unknown(i int, column, what, hint string) error {
	err := query.Errorf(query.CodeUnknownName, "%s: column %d, %q, is not %s", p.o.File, i+1, column, what)
	err.Hint = hint
	return err
}
