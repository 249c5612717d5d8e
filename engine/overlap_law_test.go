package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// overlap compares a random overlap with counts of conjunctions: those in all of some sets
// are the regions of all combinations that these are part of.
func (m *actModel) overlap(name string) {
	m.t.Helper()
	ctx := m.t.Context()
	n := 1 + m.r.IntN(4)
	texts := make([]string, n)
	for i := range texts {
		texts[i] = m.condition()
	}
	args := query.Arguments{"set": texts}
	who := pickOne(m, "", m.condition())
	m.days(args)
	what := fmt.Sprintf("%s: overlap of %q: %q", name, who, texts)
	r, err := m.db.Analyze(ctx, "overlap", who, args, nil)
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	if who == "" {
		who = "true"
	}
	if len(r.Tables) > 3 {
		m.overlapThen(what, who, args, r.Tables[3].Rows)
	}
	m.noOverlap(what, who, args)
	members := map[string][]string{} // by region
	for _, row := range r.Tables[1].Rows {
		cell := row.Cells[0]
		members[cell] = m.keysOf(m.db.AnalysisMembers(ctx, "overlap", who, args, cell, nil))
		if row.Values[1].Ordered() != int64(len(members[cell])) {
			m.t.Fatalf("%s: region %s counts %v and lists %q", what, cell, row.Values[1], members[cell])
		}
	}
	for of := range 1 << n {
		parts, letters := []string{"(" + who + ")"}, ""
		for i := range n {
			if of>>i&1 != 0 {
				parts, letters = append(parts, "("+texts[i]+")"), letters+string(rune('A'+i))
			}
		}
		want := m.keysOf(m.db.Members(ctx, strings.Join(parts, " && "), nil))
		var got []string
		for region, keys := range members {
			if !strings.ContainsFunc(letters, func(c rune) bool { return !strings.ContainsRune(region, c) }) {
				got = append(got, keys...)
			}
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			m.t.Fatalf("%s: in %q are %q, want %q", what, letters, got, want)
		}
		for _, x := range []struct{ table, column int }{{0, 2}, {2, 1}} { // sets and pairs
			for _, row := range r.Tables[x.table].Rows {
				if row.Values[0].Str() == letters && row.Values[x.column].Ordered() != int64(len(want)) {
					m.t.Fatalf("%s: %v, want %q", what, row.Values, want)
				}
			}
		}
		if letters != "" {
			all := m.keysOf(m.db.AnalysisMembers(ctx, "overlap", who, args, "in:"+letters, nil))
			if slices.Sort(all); !slices.Equal(all, want) {
				m.t.Fatalf("%s: cell in:%s is %q, want %q", what, letters, all, want)
			}
		}
	}
}

// noOverlap asks for cells that there are not.
func (m *actModel) noOverlap(what, who string, args query.Arguments) {
	m.t.Helper()
	for _, cell := range []string{"in:-", "in:", "AA", "BA", "F", args.One("at") + ":F"} {
		if _, err := m.db.AnalysisMembers(m.t.Context(), "overlap", who, args, cell, nil); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			m.t.Fatalf("%s: cell %q: %v", what, cell, err)
		}
	}
}

// days adds the days of a history, at times none.
func (m *actModel) days(args query.Arguments) {
	for range m.r.IntN(3) {
		args["at"] = append(args["at"], m.now.AddDate(0, 0, -1-m.r.IntN(30)).Format(time.DateOnly))
	}
	if m.r.IntN(2) == 0 {
		args["per"], args["periods"] = []string{"day"}, []string{"1"} // today
	}
	if len(args["at"])+len(args["per"]) > 0 {
		args["zone"] = []string{pickOne(m, "UTC", "America/New_York")}
	}
}

// overlapThen compares a history with the members of its sets at the end of each day.
func (m *actModel) overlapThen(what, who string, args query.Arguments, rows []query.ReportRow) {
	m.t.Helper()
	zone, err := time.LoadLocation(args.One("zone"))
	if err != nil {
		m.t.Fatal(err)
	}
	days := slices.Clone(args["at"])
	if args.One("per") != "" {
		days = append(days, m.now.In(zone).Format(time.DateOnly))
	}
	slices.Sort(days)
	for _, day := range slices.Compact(days) {
		date, err := time.ParseInLocation(time.DateOnly, day, zone)
		if err != nil {
			m.t.Fatal(err)
		}
		o := query.Options{Now: date.AddDate(0, 0, 1).Add(-time.Millisecond)}
		if o.Now.After(m.now) {
			o.Now = m.now
		}
		for i, set := range args["set"] {
			want := m.keysOf(m.db.Members(m.t.Context(), "("+who+") && ("+set+")", &query.MembersOptions{Options: o}))
			cell := fmt.Sprintf("%s:%c", day, 'A'+i)
			got := m.keysOf(m.db.AnalysisMembers(m.t.Context(), "overlap", who, args, cell, nil))
			if !slices.Equal(got, want) || rows[0].Cells[0] != cell || rows[0].Values[2].Ordered() != int64(len(want)) {
				m.t.Fatalf("%s:\n%v is %q, want %q", what, rows[0], got, want)
			}
			rows = rows[1:]
		}
	}
	if len(rows) > 0 {
		m.t.Fatalf("%s: %d rows too many", what, len(rows))
	}
}
