package query

import "github.com/kantadb/kanta/index/schema"

// Uses are the attributes and lists that a tree reads, saved segments included, in the
// order of the tree; one that is read twice may be there twice.
type Uses struct {
	Attributes []schema.AttrID
	Lists      []string
}

// UsesOf returns what a tree reads. The properties of events are not among it.
func UsesOf(n Node) Uses {
	var u Uses
	u.node(n)
	return u
}

// UsesOfFields returns what fields show, or are computed of.
func UsesOfFields(fields ...Field) Uses {
	var u Uses
	for i := range fields {
		if f := fields[i].Formula; f != nil {
			u.rows(f.Attrs, f.Lists)
		} else {
			u.Attributes = append(u.Attributes, fields[i].ID)
		}
	}
	return u
}

func (u *Uses) node(n Node) {
	switch n := n.(type) {
	case *And:
		u.all(n.Of)
	case *Or:
		u.all(n.Of)
	case *Not:
		u.node(n.Of)
	case *Segment:
		u.node(n.Of)
	case *If:
		u.all([]Node{n.Cond, n.Then, n.Else})
	case *Has:
		u.Attributes = append(u.Attributes, n.Attr)
	case *In:
		u.Attributes = append(u.Attributes, n.Attr)
	case *Range:
		u.Attributes = append(u.Attributes, n.Attr)
	case *Match:
		u.Attributes = append(u.Attributes, n.Attr)
	case *SetHas:
		u.Attributes = append(u.Attributes, n.Attr)
	case *Compare:
		u.arith(n.L)
		u.arith(n.R)
	case *Residual:
		u.rows(n.Attrs, n.Lists)
	case *InList:
		u.Lists = append(u.Lists, n.Name)
	}
}

// rows adds what is read profile by profile.
func (u *Uses) rows(attrs []schema.AttrID, lists []string) {
	for _, id := range attrs {
		if id != schema.ListsAttr { // its names are in lists
			u.Attributes = append(u.Attributes, id)
		}
	}
	u.Lists = append(u.Lists, lists...)
}

func (u *Uses) all(of []Node) {
	for _, n := range of {
		u.node(n)
	}
}

func (u *Uses) arith(x Arith) {
	switch x := x.(type) {
	case *Column:
		u.Attributes = append(u.Attributes, x.Attr)
	case *Binary:
		u.arith(x.L)
		u.arith(x.R)
	case *Negate:
		u.arith(x.Of)
	case *Convert:
		u.arith(x.Of)
	}
}
