package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// ProfileOf returns the key and the values of a living profile, in the schema's order of
// attributes, and the codes of the lists it is in. The caller names the lists and adds
// the segments. It fails with [CodeUnknownName] when no living profile has the ordinal.
func ProfileOf(ctx context.Context, view View, ordinal uint32) (p Profile, lists []uint32, err error) {
	if err := ctx.Err(); err != nil {
		return Profile{}, nil, err
	}
	chunk, ords := int(ordinal>>bitmap.ChunkBits), []uint16{uint16(ordinal)}
	if chunk >= view.Chunks() {
		return Profile{}, nil, Errorf(CodeUnknownName, "no profile has the ordinal %d", ordinal)
	}
	cur := view.Cursor()
	defer cur.Close()
	var v [1]schema.Value
	r := valueReader{view: view, attr: keyAttribute}
	if err := r.read(cur, chunk, ords, v[:], 1); err != nil {
		return Profile{}, nil, err
	}
	if v[0].IsAbsent() {
		return Profile{}, nil, Errorf(CodeUnknownName, "no profile has the ordinal %d", ordinal)
	}
	attributes := view.Schema().Attributes
	p = Profile{Key: v[0].Str(), Ordinal: ordinal, Values: make([]AttributeValue, 0, len(attributes))}
	for _, a := range attributes {
		r.attr = a
		if err := r.read(cur, chunk, ords, v[:], 1); err != nil {
			return Profile{}, nil, err
		}
		if !v[0].IsAbsent() && (a.Kind != schema.Set || len(v[0].Elements()) > 0) {
			p.Values = append(p.Values, AttributeValue{Name: a.Name, Value: v[0]})
		}
	}
	var sets Sets
	if err := cur.GatherSets(schema.ListsAttr, chunk, ords, &sets); err != nil {
		return Profile{}, nil, err
	}
	p.BytesRead = cur.BytesRead()
	return p, sets.Codes, nil
}
