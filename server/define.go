package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// mayDefine reports what a caller from whom something is hidden may not do with segments, lists
// and definitions. What he saves he must be able to ask for, and is asked first. What he does not
// see he does not drop; and he does not replace it, so he hears that the name is taken.
func (v *service) mayDefine(ctx context.Context, b batch.Batch) error {
	d, err := batch.Decode(b)
	if err != nil {
		return err
	}
	n, err := v.reached(ctx, &pb.Question{})
	if err != nil {
		return err
	}
	defer n.Close() // it holds nothing but memory
	seen, withheld, err := namesOf(ctx, n)
	if err != nil {
		return err
	}
	all, _, err := namesOf(ctx, v.db(ctx))
	if err != nil {
		return err
	}
	var saved []string // by this batch, so that it is known what they read when it is applied
	for i := range d.Ops {
		op := &d.Ops[i]
		what := thingOf(op)
		switch op.Code {
		case batch.OpSegmentDrop, batch.OpSegmentShare, batch.OpListDrop, batch.OpListRemove, batch.OpListNote, batch.OpDefinitionDrop:
			if slices.Contains(withheld, what) {
				return query.Errorf(query.CodeDenied, "the %s reads what is hidden from the caller's role, who may only use it", what)
			}
			if !slices.Contains(seen, what) {
				return query.Errorf(query.CodeUnknownName, "there is no %s", what)
			}
			if op.Code == batch.OpSegmentShare && !slices.Contains(saved, what) {
				return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("the %s may read something else by now", what), Hint: "save it in the same batch: kanta segment save --shared"}
			}
		default:
			if slices.Contains(all, what) && !slices.Contains(seen, what) {
				return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the name of the %s is taken", what), Hint: "choose another name"}
			}
			seen = append(seen, what)
		}
		switch op.Code {
		case batch.OpSegmentSave:
			saved = append(saved, what)
			_, err = n.Count(ctx, op.Text, nil)
		case batch.OpDefinitionSave:
			_, err = n.Analyze(ctx, op.Definition.Analysis, op.Definition.Who, op.Definition.Arguments, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blurred is what a caller from whom something is hidden is told of a conflict: it may be with that.
func blurred(ctx context.Context, err error) error {
	if callOf(ctx).policy() == nil || !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		return err
	}
	return &query.Error{Code: query.CodeConflict, Message: "something uses it, or is there already", Hint: "it may be hidden from the caller's role: ask whoever keeps the store"}
}

// namesOf returns what there is, each as thingOf writes it; apart are segments whose texts are
// withheld.
func namesOf(ctx context.Context, n query.Asker) (out, withheld []string, err error) {
	segments, err := n.Segments(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range segments {
		if s := &segments[i]; s.Withheld {
			withheld = append(withheld, segmentThing(s.Name))
		} else {
			out = append(out, segmentThing(s.Name))
		}
	}
	lists, err := n.Lists(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range lists {
		out = append(out, listThing(lists[i].Name))
	}
	definitions, err := n.Definitions(ctx)
	for i := range definitions {
		out = append(out, definitionThing(definitions[i].Analysis, definitions[i].Name))
	}
	return out, withheld, err
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
	case op.Code == batch.OpSegmentSave || op.Code == batch.OpSegmentDrop || op.Code == batch.OpSegmentShare:
		return segmentThing(op.Name)
	}
	return listThing(op.Name)
}
