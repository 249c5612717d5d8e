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
	taken  map[string]string // from attribute to the column that it is loaded from
}

// loadPlan says which cells of a row are loaded, and as what. It is immutable. A later
// plan of the same load has the fields of the earlier ones first.
type loadPlan struct {
	columns int         // of the rows, used or not
	fields  []loadField // the key first, then the attributes
	unknown []string
}

// loadField is one cell of a row.
type loadField struct {
	cell    int          // its place in the row
	column  batch.Column // of the batch; not of the key
	rules   rules        // of the attribute
	checked bool         // rules asks something of a value, besides its kind
}

// extend returns the plan for more columns than old has, or old.
func (p *planner) extend(old *loadPlan, columns []string) (*loadPlan, error) {
	if old != nil && old.columns == len(columns) {
		return old, nil
	}
	plan := &loadPlan{columns: len(columns)}
	from := 0
	if old == nil {
		if err := p.check(columns); err != nil {
			return nil, err
		}
		plan.fields = []loadField{{cell: slices.Index(columns, p.o.Key)}}
	} else {
		from = old.columns
		plan.fields, plan.unknown = slices.Clone(old.fields), slices.Clone(old.unknown)
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
		if name := p.o.Columns[column]; name != "" && p.schema.Lookup(name) == nil {
			err := query.Errorf(query.CodeUnknownName, "%s: column %q is to be loaded as attribute %q, which is not in the schema", p.o.File, column, name)
			err.Hint = "add the attribute to the schema, or correct the name"
			return err
		}
		if p.fixed && !slices.Contains(columns, column) {
			return p.missing("to rename", column, columns)
		}
	}
	return nil
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

// add adds column i to a plan, if it is loaded.
func (p *planner) add(plan *loadPlan, i int, column string) error {
	name, renamed := p.o.Columns[column]
	if !renamed {
		name = column
	}
	a := p.schema.Lookup(name)
	switch {
	case name == "" || a == nil && column == p.o.Key:
		return nil
	case a == nil && p.o.RefuseUnknown:
		err := query.Errorf(query.CodeUnknownName, "%s: column %d, %q, is not an attribute of the schema", p.o.File, i+1, column)
		err.Hint = "add the attribute to the schema, or leave the column out"
		return err
	case a == nil:
		plan.unknown = append(plan.unknown, column)
		return nil
	case p.taken[name] != "":
		return invalid(p.o, "column %d, %q, is to be attribute %q, as column %q is: leave one of them out", i+1, column, name, p.taken[name])
	}
	p.taken[name] = column
	f := loadField{cell: i, column: batch.Column{Name: name, Kind: a.Kind, Scale: a.Scale}, rules: newRules(a, batch.VerbSet)}
	f.checked = f.rules.bounded || f.rules.ints != nil || f.rules.strs != nil || f.rules.format != ""
	plan.fields = append(plan.fields, f)
	return nil
}
