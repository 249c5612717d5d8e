package quality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// ParseUnknown reads the word for what becomes of what the schema does not have. adds: it is
// inferred and added first, and what shows later is left out.
func ParseUnknown(word string) (u Unknown, adds, ok bool) {
	switch word {
	case "add":
		return IgnoreUnknown, true, true
	case "ignore":
		return IgnoreUnknown, false, true
	case "quarantine":
		return QuarantineUnknown, false, true
	case "refuse":
		return RefuseUnknown, false, true
	}
	return IgnoreUnknown, false, false
}

// UnknownWords are the words of [ParseUnknown], for messages.
const UnknownWords = "add, ignore, quarantine or refuse"

// Covers reports whether a column adds nothing to the attributes of a schema; one that is named
// as a computed attribute is left out.
func Covers(s *schema.Schema, column string) bool {
	return s.Lookup(column) != nil || s.LookupComputed(column) != nil
}

// MissingAttributes returns the changes that add what a schema lacks of the attributes that
// [Infer] proposes, and what was seen of their columns.
func MissingAttributes(s *schema.Schema, attributes []schema.Attribute, report *InferReport) (changes []schema.Change, seen []InferColumn) {
	for i, a := range attributes {
		if !Covers(s, a.Name) {
			changes = append(changes, schema.Change{Op: schema.AddAttribute, Name: a.Name, Attribute: a})
			seen = append(seen, report.Columns[i])
		}
	}
	return changes, seen
}

// MissingEvents returns the changes that add what a schema lacks of the event types that
// [InferEvents] proposes. What the schema has stays as it is. seen, if it is not nil, is told
// of each type that is new or has new properties, with what was seen of these.
func MissingEvents(s *schema.Schema, events []schema.Event, report *InferEventsReport, seen func(event string, rows int, columns []InferColumn)) (changes []schema.Change) {
	for i := range events {
		e := &events[i]
		known := s.LookupEvent(e.Name)
		if known == nil {
			changes = append(changes, schema.Change{Op: schema.AddEvent, Event: e.Name})
		}
		var columns []InferColumn
		for j, p := range e.Properties {
			if known != nil && known.Lookup(p.Name) != nil {
				continue
			}
			changes = append(changes, schema.Change{Op: schema.AddProperty, Event: e.Name, Name: p.Name, Attribute: p})
			columns = append(columns, report.Events[i].Columns[j])
		}
		if seen != nil && (known == nil || len(columns) > 0) {
			seen(e.Name, report.Events[i].Rows, columns)
		}
	}
	return changes
}

// Evolver is a store whose schema changes.
type Evolver interface {
	Schema(ctx context.Context) (*schema.Schema, error)
	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	DryRun(ctx context.Context, b batch.Batch) (batch.Result, error)
}

// Evolve applies schema changes in one batch, or with dry only decides them, and returns the
// schema after them.
func Evolve(ctx context.Context, s Evolver, before *schema.Schema, changes []schema.Change, dry bool) (*schema.Schema, error) {
	if len(changes) == 0 {
		return before, nil
	}
	b := batch.New()
	b.Strict(true)
	after := before
	for _, c := range changes {
		var err error
		if after, err = after.Apply(c); err != nil {
			return nil, err
		}
		b.Change(c)
	}
	encoded, err := b.Encode()
	if err != nil {
		return nil, err
	}
	if dry {
		_, err = s.DryRun(ctx, encoded)
		return after, err
	}
	if _, err := s.Apply(ctx, encoded); err != nil {
		return nil, err
	}
	return s.Schema(ctx)
}

// FindLines looks for the array that RowsOptions.Lines names among the first rows, limit of them.
// It fails when none has it, and as rows.Next does.
func FindLines(rows Rows, lines string, limit int) error {
	for left := limit; !hasLines(rows.Columns(), lines); left-- {
		err := io.EOF
		if left > 0 {
			_, _, err = rows.Next()
		}
		switch bad := (*RowError)(nil); {
		case err == io.EOF:
			return fmt.Errorf("no row has an array of objects %q, which --lines names (columns: %s)", lines, strings.Join(rows.Columns(), ", "))
		case err != nil && !errors.As(err, &bad):
			return err
		}
	}
	return nil
}

// hasLines reports whether an array, empty or not, is among the columns.
func hasLines(columns []string, lines string) bool {
	return slices.ContainsFunc(columns, func(c string) bool {
		return c == lines || strings.HasPrefix(c, lines+".")
	})
}
