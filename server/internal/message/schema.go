package message

import (
	"github.com/kantadb/kanta/index/schema"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// OfAttribute writes the definition of an attribute.
func OfAttribute(a *schema.Attribute) *pb.Attribute {
	out := &pb.Attribute{Name: a.Name, Kind: pb.Kind(a.Kind), Scale: uint32(a.Scale), Id: uint32(a.ID), Inline: a.Storage == schema.StorageInline,
		DataClass: pb.DataClass(a.Class), Format: a.Format, Required: a.Required, Unique: a.Unique, Pii: a.PII, History: a.History,
		Changes: uint32(a.Changes), Deprecated: a.Deprecated}
	out.Allowed = each(a.Allowed, func(v *schema.Value) *pb.Value { return OfValue(*v) })
	if !a.Min.IsAbsent() {
		out.Min = OfValue(a.Min)
	}
	if !a.Max.IsAbsent() {
		out.Max = OfValue(a.Max)
	}
	return out
}

// Attribute reads the definition of an attribute.
func (r *Reader) Attribute(a *pb.Attribute) schema.Attribute {
	if a.GetKind() < pb.Kind_KIND_BOOL || a.GetKind() > pb.Kind_KIND_SET || a.GetScale() > schema.MaxScale || !known(a.GetDataClass()) {
		r.fail("the attribute %q is of a kind or class that this version does not know", a.GetName())
		return schema.Attribute{}
	}
	out := schema.Attribute{Name: a.GetName(), Kind: schema.Kind(a.GetKind()), Scale: uint8(a.GetScale()), ID: schema.AttrID(a.GetId()),
		Class: schema.DataClass(a.GetDataClass()), Min: r.Value(a.GetMin()), Max: r.Value(a.GetMax()), Format: a.GetFormat(), Required: a.GetRequired(),
		Unique: a.GetUnique(), PII: a.GetPii(), History: a.GetHistory(), Changes: schema.EventID(a.GetChanges()), Deprecated: a.GetDeprecated()}
	if a.GetInline() {
		out.Storage = schema.StorageInline
	}
	out.Allowed = every(a.GetAllowed(), r.Value)
	return out
}

// OfSchema writes a schema.
func OfSchema(s *schema.Schema) *pb.SchemaResponse {
	return &pb.SchemaResponse{
		Version: s.Version, NextId: uint32(s.NextID), ForgottenIds: s.ForgottenIDs, Attributes: each(s.Attributes, OfAttribute),
		Events: each(s.Events, func(e *schema.Event) *pb.Event {
			return &pb.Event{Name: e.Name, Id: uint32(e.ID), Properties: each(e.Properties, OfAttribute), Retention: e.Retention,
				DataClass: pb.DataClass(e.Class), Deprecated: e.Deprecated, Forgotten: e.Forgotten, Reduced: e.Reduced}
		}),
		Computed: each(s.Computed, func(c *schema.Computed) *pb.ComputedAttribute {
			return &pb.ComputedAttribute{Name: c.Name, Text: c.Text}
		}),
		Lent: each(s.Lent, func(l *schema.Lent) *pb.Lent {
			return &pb.Lent{Analysis: l.Analysis, Name: l.Name, Fields: each(l.Fields, func(f *schema.LentField) *pb.LentField {
				return &pb.LentField{Field: f.Field, Attribute: OfAttribute(&f.Attribute)}
			})}
		}),
	}
}

// Schema reads a schema.
func (r *Reader) Schema(m *pb.SchemaResponse) *schema.Schema {
	events := every(m.GetEvents(), func(e *pb.Event) schema.Event {
		if !known(e.GetDataClass()) {
			r.fail("the event %q is of a class that this version does not know", e.GetName())
		}
		return schema.Event{Name: e.GetName(), ID: schema.EventID(e.GetId()), Properties: every(e.GetProperties(), r.Attribute), Retention: e.GetRetention(),
			Class: schema.DataClass(e.GetDataClass()), Deprecated: e.GetDeprecated(), Forgotten: e.GetForgotten(), Reduced: e.GetReduced()}
	})
	s := schema.New(m.GetVersion(), schema.AttrID(m.GetNextId()), every(m.GetAttributes(), r.Attribute), events...)
	s.ForgottenIDs = m.GetForgottenIds()
	s.Computed = every(m.GetComputed(), func(c *pb.ComputedAttribute) schema.Computed {
		return schema.Computed{Name: c.GetName(), Text: c.GetText()}
	})
	lent := every(m.GetLent(), func(l *pb.Lent) schema.Lent {
		return schema.Lent{Analysis: l.GetAnalysis(), Name: l.GetName(), Fields: every(l.GetFields(), func(f *pb.LentField) schema.LentField {
			return schema.LentField{Field: f.GetField(), Attribute: r.Attribute(f.GetAttribute())}
		})}
	})
	return s.Lend(lent)
}

func known(c pb.DataClass) bool {
	return c >= 0 && c <= pb.DataClass_DATA_CLASS_CORRESPONDENCE
}
