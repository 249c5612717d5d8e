package engine

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// authorKey is the key of a context's author.
type authorKey struct{}

// WithAuthor returns a context for [DB.Apply], [DB.Submit] and [DB.DryRun] of which it is known
// who writes: he owns the segments that he saves, and of segments that others own he shares
// none, unless he may share all. It is for servers; without it segments have no owner, and
// whatever is written may be. The ID, the name and the role have 1,024 bytes together at most.
func WithAuthor(ctx context.Context, a query.Author) context.Context {
	return context.WithValue(ctx, authorKey{}, a)
}

// authorOf returns who writes a batch, as far as that is of account: it stands in the log.
func authorOf(ctx context.Context, b *batch.Decoded) (query.Author, error) {
	a, _ := ctx.Value(authorKey{}).(query.Author)
	if a.ID == "" {
		return query.Author{}, nil
	}
	if len(a.ID)+len(a.Name)+len(a.Role) > record.MaxAuthor {
		return query.Author{}, query.Errorf(query.CodeLimit, "the author of a batch has an id, a name and a role of %d bytes; they have %d at most", len(a.ID)+len(a.Name)+len(a.Role), record.MaxAuthor)
	}
	for i := range b.Ops {
		if code := b.Ops[i].Code; code == batch.OpSegmentSave || code == batch.OpSegmentShare {
			return a, nil
		}
	}
	return query.Author{}, nil
}

// mayShare reports whether the author of the batch may share a segment.
func (d *decider) mayShare(name string, s *segment) error {
	if d.author.ID == "" || d.author.SharesAll || d.author.ID == s.owner.ID {
		return nil
	}
	return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("segment %q was saved by %s; only who saved it shares it, or whoever keeps the roles", name, s.owner.String()),
		Hint: "save it under a name of your own, and share that"}
}
