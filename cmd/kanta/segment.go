package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

func newSegment(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "segment",
		Short: "Saved expressions, which others name with in_segment(\"...\")",
	})
	c.AddCommand(newSegmentSave(a), newSegmentList(a), newSegmentShow(a), newSegmentDrop(a))
	return c
}

// segmentJSON is a saved segment.
type segmentJSON struct {
	Name   string   `json:"name"`
	Text   string   `json:"text"`
	Saved  string   `json:"saved"`
	Uses   []string `json:"uses"`
	UsedBy []string `json:"used_by"`

	Shared   bool     `json:"shared"`
	Withheld bool     `json:"withheld"`
	Owner    string   `json:"owner"`
	Classes  []string `json:"classes"`
	PII      bool     `json:"pii"`
}

func segmentOf(s *query.SavedSegment) segmentJSON {
	return segmentJSON{s.Name, s.Text, s.Saved.String(), append([]string{}, s.Uses...), append([]string{}, s.UsedBy...),
		s.Shared, s.Withheld, ownerOf(s), classesOf(s), s.PII}
}

// classesOf names the data classes of what a segment reads.
func classesOf(s *query.SavedSegment) []string {
	names := []string{}
	for _, c := range s.Classes {
		names = append(names, c.String())
	}
	return names
}

// ownerOf says who saved a segment; "" is nobody who is known.
func ownerOf(s *query.SavedSegment) string {
	if s.Owner.ID == "" {
		return ""
	}
	return s.Owner.String() + ", " + s.Owner.Role
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// segmentText is the expression of a segment, as it is shown.
func segmentText(s *query.SavedSegment) string {
	if s.Withheld {
		return "(not shown: it names what you may not see)"
	}
	return s.Text
}

func newSegmentSave(a *app) *cobra.Command {
	var dry, shared bool
	var ask questionFlags
	c := &cobra.Command{
		Use:   "save NAME EXPR",
		Short: "Save an expression under a name, new or not",
		Long: `Save an expression under a name, new or not, and say how many people it holds now and
held before. Segments that use it change with it.

Under a policy nobody can use a segment that reads what the policy hides from them, unless it
is saved with --shared: then they can, and see neither its expression nor what it reads. Saving
it again without --shared ends that. On a server with keys a segment is of who saved it last, and only
he, or who may say who may do what, may share it.

--json: {"name":"...","dry_run":B,"people":N,"unknown":N,"people_before":N or null,"used_by":["..."]}`,
		Args: exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := ask.options()
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error { return a.saveSegment(c.Context(), s, args[0], args[1], &o, dry, shared) })
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "decide and tell, change nothing")
	c.Flags().BoolVar(&shared, "shared", false, "everybody may use it, whatever it reads")
	ask.add(c)
	return c
}

func (a *app) saveSegment(ctx context.Context, s store, name, text string, o *query.Options, dry, shared bool) error {
	b := batch.New()
	b.Strict(true)
	b.SaveSegment(name, text)
	if shared {
		b.ShareSegment(name)
	}
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	var before *uint64
	usedBy := []string{}
	old, err := findSegment(ctx, s, name)
	if err != nil {
		return err
	}
	if old != nil {
		n, err := s.Count(ctx, "in_segment("+strconv.Quote(name)+")", o) // its text may be withheld
		if err != nil {
			return err
		}
		before, usedBy = &n.Count, append(usedBy, old.UsedBy...)
	}
	do := s.Apply
	if dry {
		do = s.DryRun
	}
	if _, err := do(ctx, encoded); err != nil {
		return err
	}
	now, err := s.Count(ctx, text, o)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Name    string   `json:"name"`
			Dry     bool     `json:"dry_run"`
			People  uint64   `json:"people"`
			Unknown uint64   `json:"unknown"`
			Before  *uint64  `json:"people_before"`
			UsedBy  []string `json:"used_by"`
		}{name, dry, now.Count, now.Unknown, before, usedBy})
	}
	t := a.facts()
	t.add("people", now.Count)
	t.add("unknown", now.Unknown)
	if before != nil {
		t.add("people before", *before)
	}
	for _, user := range usedBy {
		t.add("used by", user)
	}
	if dry {
		fmt.Fprintln(a.err, "a dry run, nothing was changed")
	}
	return t.write(a.out)
}

// findSegment returns a saved segment, or nil.
func findSegment(ctx context.Context, s store, name string) (*query.SavedSegment, error) {
	all, err := s.Segments(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, nil
}

func newSegmentList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "All saved segments",
		Long: `All saved segments, and which of them are shared.

--json: {"segments":[{"name","text","saved","uses","used_by","shared","withheld","owner","classes",
"pii"}]}; see segment show`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				all, err := s.Segments(c.Context())
				if err != nil {
					return err
				}
				if a.json {
					list := []segmentJSON{}
					for i := range all {
						list = append(list, segmentOf(&all[i]))
					}
					return a.printJSON(map[string]any{"segments": list})
				}
				t := a.newTable("name", "expression", "shared")
				for i := range all {
					t.add(all[i].Name, segmentText(&all[i]), map[bool]string{true: "shared"}[all[i].Shared])
				}
				return t.write(a.out)
			})
		},
	}
}

func newSegmentShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "The expression of a segment, and who uses it",
		Long: `The expression of a segment, who saved it, who uses it, whether it is shared, and the data classes of what it
reads, be it through other segments, computed attributes and definitions; "personal" is what is marked so.

--json: {"name","text","saved","uses","used_by","shared","withheld","owner","classes","pii"}; of one
that is withheld text is "", for it names what the caller may not see; owner is who saved it, "" if
nobody who is known: he, and who may say who may do what, may share it`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				seg, err := findSegment(c.Context(), s, args[0])
				if err != nil {
					return err
				}
				if seg == nil {
					return a.noSuch(c.Context(), s, "segment", args[0], a.segmentNames)
				}
				if a.json {
					return a.printJSON(segmentOf(seg))
				}
				t := a.newTable("", "")
				t.add("name", seg.Name)
				t.add("expression", segmentText(seg))
				t.add("saved", seg.Saved.String())
				if by := ownerOf(seg); by != "" {
					t.add("saved by", by)
				}
				t.add("shared", yesNo(seg.Shared))
				reads := classesOf(seg)
				if seg.PII {
					reads = append(reads, "personal")
				}
				if len(reads) > 0 {
					t.add("reads", strings.Join(reads, ", "))
				}
				for _, name := range seg.Uses {
					t.add("uses", name)
				}
				for _, name := range seg.UsedBy {
					t.add("used by", name)
				}
				return t.write(a.out)
			})
		},
		ValidArgsFunction: a.completeFirst(a.segmentNames),
	}
}

func newSegmentDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drop NAME",
		Short: "Drop a segment that no other uses",
		Args:  exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(func(s store) error {
				return a.applyOne(c.Context(), s, func(b *batch.Builder) { b.DropSegment(args[0]) })
			})
		},
		ValidArgsFunction: a.completeFirst(a.segmentNames),
	}
}

// applyOne applies a batch of one op, whole or not at all.
func (a *app) applyOne(ctx context.Context, s store, fill func(*batch.Builder)) error {
	b := batch.New()
	b.Strict(true)
	fill(b)
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	res, err := s.Apply(ctx, encoded)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]string{"position": res.Position.String()})
	}
	return nil
}

// noSuch is the error for a name that is not there, with the ones that are.
func (a *app) noSuch(ctx context.Context, s store, what, name string, names func(context.Context, store) []string) error {
	err := query.Errorf(query.CodeUnknownName, "there is no %s %q", what, name)
	if all := names(ctx, s); len(all) == 0 {
		err.Hint = "there is none at all"
	} else {
		err.Hint = fmt.Sprintf("there are %s", shorten(all))
	}
	return err
}

// shorten joins the first of many names.
func shorten(names []string) string {
	const shown = 8
	text := ""
	for i, name := range names {
		switch {
		case i == shown:
			return fmt.Sprintf("%s and %d more", text, len(names)-shown)
		case i > 0:
			text += ", "
		}
		text += printable(name)
	}
	return text
}
