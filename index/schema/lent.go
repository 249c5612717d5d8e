package schema

import (
	"hash/fnv"
	"strconv"
)

// FirstLent is the first id of a column that an analysis lends. Ids of attributes, event
// types and properties ascend from [FirstUserAttr] and never come so far.
const FirstLent AttrID = 1 << 30

// lentIDs is how many ids there are from FirstLent on.
const lentIDs = 1 << 30

// LentSegment is the Analysis of what is no analysis's: whether somebody is in a saved segment
// whose text must not be told. It has one field, without a name, that is true or false.
const LentSegment = "in_segment"

// Lent is what an analysis lends to expressions under the name of a definition:
// rfm("orders").segment, rfm("orders").r.
type Lent struct {
	Analysis, Name string
	Fields         []LentField
}

// LentField is one field of it: a column that nothing stores, but that is read as an
// attribute is. Its attribute is named as expressions write it.
type LentField struct {
	Field string
	Attribute
}

// String is the call that an expression has of it.
func (l *Lent) String() string { return l.Analysis + "(" + strconv.Quote(l.Name) + ")" }

// Lookup returns a field, or nil.
func (l *Lent) Lookup(field string) *Attribute {
	for i := range l.Fields {
		if l.Fields[i].Field == field {
			return &l.Fields[i].Attribute
		}
	}
	return nil
}

// Lend returns the schema with what analyses lend in place of what they lent before; names
// and ids of the fields are set here. It is no change of the schema: what is lent follows
// from what is saved beside it. An id follows from the name, so that it stays that of the
// field while others come and go.
func (s *Schema) Lend(lent []Lent) *Schema {
	if len(lent) == 0 && len(s.Lent) == 0 {
		return s
	}
	out := *s
	out.Lent, out.lentByID = nil, nil
	for _, l := range lent {
		l.Fields = append([]LentField(nil), l.Fields...)
		out.Lent = append(out.Lent, l)
	}
	if lent != nil {
		out.lentByID = make(map[AttrID]*Attribute)
	}
	for i := range out.Lent {
		l := &out.Lent[i]
		for j := range l.Fields {
			f := &l.Fields[j]
			if f.Name = l.String(); f.Field != "" {
				f.Name += "." + f.Field
			}
			h := fnv.New32a()
			_, _ = h.Write([]byte(f.Name)) // a hash takes everything
			for f.ID = FirstLent + AttrID(h.Sum32()%lentIDs); out.lentByID[f.ID] != nil; {
				f.ID = FirstLent + (f.ID+1-FirstLent)%lentIDs
			}
			out.lentByID[f.ID] = &f.Attribute
		}
	}
	return &out
}

// LookupLent returns what an analysis lends under a name, or nil.
func (s *Schema) LookupLent(analysis, name string) *Lent {
	for i := range s.Lent {
		if l := &s.Lent[i]; l.Analysis == analysis && l.Name == name {
			return l
		}
	}
	return nil
}

// LentBy returns what a field with an id belongs to, or nil.
func (s *Schema) LentBy(id AttrID) *Lent {
	for i := range s.Lent {
		for j := range s.Lent[i].Fields {
			if s.Lent[i].Fields[j].ID == id {
				return &s.Lent[i]
			}
		}
	}
	return nil
}
