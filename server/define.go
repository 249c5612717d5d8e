package server

import (
	"context"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// named is what has names of its own: the store, or what a caller may see of it.
type named interface {
	Segments(ctx context.Context) ([]query.SavedSegment, error)
	Lists(ctx context.Context) ([]query.SavedList, error)
	Definitions(ctx context.Context) ([]query.SavedDefinition, error)
}

// visible is what the caller may see of the store, and of its names.
func (v *service) visible(ctx context.Context) (n named, snapshot query.Snapshot, end func(), err error) {
	if snapshot, err = v.reached(ctx, ""); err != nil {
		return nil, nil, nil, err
	}
	n, ok := snapshot.(named)
	if !ok {
		_ = snapshot.Close() // it holds nothing but memory
		return nil, nil, nil, query.Errorf(query.CodeDenied, "names are told to roles from which nothing is hidden")
	}
	return n, snapshot, func() { _ = snapshot.Close() }, nil
}

// names answers what names there are.
func names[T any](ctx context.Context, v *service, do func(n named) (T, error)) (T, error) {
	if callOf(ctx).policy() == nil {
		return do(v.s.db)
	}
	n, _, end, err := v.visible(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer end()
	return do(n)
}

// mayDefine reports what a caller from whom something is hidden may not do with segments, lists
// and definitions. What he saves he must be able to ask for, and is asked first. What he does not
// see he does not drop; and he does not replace it, so he hears that the name is taken.
func (v *service) mayDefine(ctx context.Context, b batch.Batch) error {
	d, err := batch.Decode(b)
	if err != nil {
		return err
	}
	n, snapshot, end, err := v.visible(ctx)
	if err != nil {
		return err
	}
	defer end()
	seen, err := namesOf(ctx, n)
	if err != nil {
		return err
	}
	all, err := namesOf(ctx, v.s.db)
	if err != nil {
		return err
	}
	for i := range d.Ops {
		op := &d.Ops[i]
		what := thingOf(op)
		switch op.Code {
		case batch.OpSegmentDrop, batch.OpListDrop, batch.OpListRemove, batch.OpListNote, batch.OpDefinitionDrop:
			if !slices.Contains(seen, what) {
				return query.Errorf(query.CodeUnknownName, "there is no %s", what)
			}
		default:
			if slices.Contains(all, what) && !slices.Contains(seen, what) {
				return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the name of the %s is taken", what), Hint: "choose another name"}
			}
			seen = append(seen, what)
		}
		switch op.Code {
		case batch.OpSegmentSave:
			_, err = snapshot.Count(ctx, op.Text, nil)
		case batch.OpDefinitionSave:
			_, err = snapshot.Analyze(ctx, op.Definition.Analysis, op.Definition.Who, op.Definition.Arguments, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namesOf returns what there is, each as thingOf writes it.
func namesOf(ctx context.Context, n named) (out []string, err error) {
	segments, err := n.Segments(ctx)
	if err != nil {
		return nil, err
	}
	for i := range segments {
		out = append(out, segmentThing(segments[i].Name))
	}
	lists, err := n.Lists(ctx)
	if err != nil {
		return nil, err
	}
	for i := range lists {
		out = append(out, listThing(lists[i].Name))
	}
	definitions, err := n.Definitions(ctx)
	for i := range definitions {
		out = append(out, definitionThing(definitions[i].Analysis, definitions[i].Name))
	}
	return out, err
}

func segmentThing(name string) string { return fmt.Sprintf("segment %q", name) }
func listThing(name string) string    { return fmt.Sprintf("list %q", name) }
func definitionThing(analysis, name string) string {
	return fmt.Sprintf("%s definition %q", analysis, name)
}

// thingOf is what an op that defines something is about.
func thingOf(op *batch.Op) string {
	switch {
	case op.Definition != nil:
		return definitionThing(op.Definition.Analysis, op.Definition.Name)
	case op.Code == batch.OpSegmentSave || op.Code == batch.OpSegmentDrop:
		return segmentThing(op.Name)
	}
	return listThing(op.Name)
}
