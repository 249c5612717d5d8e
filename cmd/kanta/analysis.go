package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/analysis"
)

// picture says how an analysis is shown to people: what an analysis is, its package says;
// flags and JSON are made of the table of all analyses.
type picture struct {
	long, example string
	bar           string // the column that is drawn, one of several joined by "|": a share of 1, else of the largest; "": none

	draw func(t *query.ReportTable) (text string, ok bool) // draws some tables another way; nil: none
}

// pictures are those of the analyses that have one.
var pictures = map[string]picture{ //tidy:constant
	"basket": {
		long: `What people buy together: the pairs, or with --size the larger sets, of items that most
baskets have, and rules of the kind "if tea then cup" with their confidence, lift, leverage
and conviction. A basket is all that a person bought, or with --order one order of a person,
or with --gap what was bought in one go. "go doc ./query/basket" has every rule.

The people of a row are the cell "cup + tea"; "cup + !tea" those whom the rule from cup to tea
leaves: they have the one and not, in the same basket, the other.`,
		example: `  kanta basket --event 'purchase.in_last(days(90))' --item product
  kanta basket 'country == "FI"' --event purchase --item product --order order_id --size 3 --min-baskets 20 --sort lift
  kanta basket --event purchase --item product --for tea --cell 'tea + !cup' --save-as offer_a_cup`,
		bar: "baskets",
	},
	"breakdown": {
		long: `People by the values of attributes, or of anything else that an expression makes of a
person, the most frequent first: how many there are, and with --of the sum and the average of
a number, over those who have one. Several --by make a row for each combination that
somebody has. Of a set, a person counts once for each element. "go doc ./query/breakdown" has
every rule.

The people of a row are the cell "FI", of several --by "FI|premium|(none)", all "(all)".`,
		example: `  kanta breakdown 'plan == "premium"' --by city --top 20
  kanta breakdown --by country --by plan --of 'purchase.sum(e, e.amount)'
  kanta breakdown --by 'purchase.count() > 0 ? "buyer" : "visitor"' --cell visitor --save-as visitors`,
		bar: "share",
	},
	"compare": {
		long: `What makes people different: every value of every attribute, every type of event, and
averages, by how much more or less often the people of EXPR have it than those of --base,
which is everybody if it is not given, those of EXPR among them. Columns: times, share by base
share; difference, in points; effect, how strong it is (0.2 is small, 0.5 middling, 0.8 large),
by which rows are ranked; p, how probable so much is by chance, against those of the base who
are not of EXPR; adjusted p, the same with regard to how many comparisons were made: below
0.05, at most 5 % of such rows are by chance. "go doc ./query/compare" has every rule.

The people of a row are the cells "country=FI" and, of the base, "base:country=FI".`,
		example: `  kanta compare 'plan == "premium"'
  kanta compare 'plan == "premium"' --base 'plan == "free"' --of age --of country --ranges 10
  kanta compare 'purchase.count() > 5' --each 1 --cell 'country=FI' --save-as finns`,
		draw: drawCompare,
	},
	"funnel": {
		long: `How many people go from step to step, and how long it takes them. A step is an event list;
an event of the first step begins, each next one is later, and all are within --within of the
first. People count once, as far as they ever came; --count entries counts each time that they
begin anew. --by splits them by an attribute, country, or a property of an event, e.channel,
and --histogram says how many take how long. "go doc ./query/funnel" has every rule.

The people of a row are the cell "2", those of them who went no further "2:dropped", those of
a part of the histogram "2:1m-10m"; with --by "2|FI".`,
		example: `  kanta funnel --step view_item --step add_to_cart --step purchase --within 24h
  kanta funnel 'country == "FI"' --step 'search | view_item' --step purchase --save-as lost --cell 1:dropped
  kanta funnel --step search --step purchase --order strict --by e.channel --histogram 1m,10m,1h`,
		bar: "of first|of step",
	},
	"overlap": {
		long: `How up to six sets of people lie over each other: how many are in each, in each exclusive
region ("AC" is in A and in C and in none of the others, "-" in none), and in each two
together, with how much more often that is than by chance.

The people of a region are the cell with its name, all of a set "in:A", of two
"in:AB".

--at, or --per and --periods, add how many were in each set at the end of some days; those
people are the cell "2026-06-14:A".`,
		example: `  kanta overlap --set 'plan == "premium"' --set 'purchase.in_last(days(30)).any()'
  kanta overlap 'country == "FI"' --set 'in_segment("loyal")' --set 'in_list("fair")' --cell AB --save-as both
  kanta overlap --set 'in_segment("loyal")' --per week --periods 12`,
		bar: "share",
	},
	"rfm": {
		long: `Score people by how recently (r), how often (f) and for how much (m) they have acted, each
1 to 5, and name them by the first two: champions, loyal, potential loyalists, new, promising,
need attention, about to sleep, at risk, cannot lose them, hibernating. "go doc ./query/rfm"
has every rule.

A score is told by quantile (equal numbers have equal scores), rank (parts of equal size) or
by edges of one's own. The people of a row are the cell "r5f3", "m5", or "champions", those of
them whom --reach tells of "champions:email_opt_in". With --since DATE people are scored as
of then, too: "champions>at risk" are those who have gone from the one to the other.

With --define the analysis is saved, and expressions have the scores of each person, as they
are at the instant of the question: see kanta definition.`,
		example: `  kanta rfm --event 'purchase.in_last(days(365))' --amount e.amount
  kanta rfm 'country == "FI"' --event purchase --frequency order_id --recency-by edges:30d,90d,180d,365d
  kanta rfm --event purchase --amount e.amount --frequency-by rank --cell 'cannot lose them' --save-as call
  kanta rfm --event 'purchase.in_last(days(90))' --reach email_opt_in --since 2026-06-01
  kanta rfm --event 'purchase.in_last(days(365))' --amount e.amount --define orders
  kanta count 'rfm("orders").segment == "champions" && rfm("orders").m >= 4'`,
		bar:  "share",
		draw: drawRFM,
	},
	"path": {
		long: `What people do next after an event, or what they did before it: step by step, as a tree with
how many go each way, and as flows from one step to the next. A path begins with an event of
--after or --before; its steps are the events of --event, without it all events of every type,
within --within of the first. "go doc ./query/path" has every rule.

The people of a row of the tree are the cell "app_open>search>purchase"; those of a flow from
step 1 to step 2 are "1:search>purchase".`,
		example: `  kanta path --after app_open --within 1d
  kanta path 'country == "FI"' --before purchase --gap 30m --count every
  kanta path --after page_view --label page --steps 5 --top 20
  kanta path --after add_to_cart --cell 'add_to_cart>(end)' --save-as lost`,
		bar:  "of before",
		draw: drawPath,
	},
	"retention": {
		long: `How many of those who began in a day, week or month come back in the ones after. People
begin with their first event of the list --first, or at their own date or time --since; they
come back with a later event of the list --return. Periods are those of the calendar of
--zone, or with --by rolling 24 hours or 7 days back from now and from each one's beginning;
with --brackets they are as long as it says, one after the other. --amount adds what they
spent. --show lifecycle tells instead who is new, returning, resurrected or dormant in each
period. "go doc ./query/retention" has every rule.

Those who began in a period are the cell "2026-06-01", those of them who are counted two
periods later "2026-06-01:2"; of a lifecycle "2026-06-01:new".`,
		example: `  kanta retention --first purchase --return purchase --per month
  kanta retention 'country == "FI"' --since signup_date --return app_open --kind on-or-after
  kanta retention --first purchase --return purchase --brackets 1d,7d,30d --amount 'e.price * e.quantity'
  kanta retention --return app_open --show lifecycle --per month
  kanta retention --first purchase --return purchase --save-as back --cell 2026-06-01:1`,
		draw: drawRetention,
	},
	"trend": {
		long: `A measure of an event over time, one row for each hour, day, week or month of a zone's
calendar: how many events or people, or the sum, average, least, greatest, median or another
percentile of a number made of each event, or how many different values a property has. Of
several events each is a trend of its own. --by splits it by an attribute, country, or a
property of the event, e.product. Without --from there are 30 periods up to now.
"go doc ./query/trend" has every rule.

The people of a row are the cell "2026-06-13", with --by "2026-06-13|FI": those who have an
event of the list in that period; of the second of several events "2:2026-06-13".`,
		example: `  kanta trend --event purchase --measure people --per week --zone Europe/Rome
  kanta trend 'country == "FI"' --event purchase --measure sum --of 'e.price * e.quantity' --compare previous
  kanta trend --event app_open --event purchase --measure stickiness
  kanta trend --event 'search.filter(e, e.results == 0)' --by e.text --top 5 --from 2026-06-01`,
		bar: "value",
	},
}

// analysisFlags are the flags of a command that analyses.
type analysisFlags struct {
	ask      questionFlags
	one      map[string]*string
	repeated map[string]*[]string
	cell     string
	saveAs   string
	define   string // for analyses that lend
	defined  string
	format   string
	output   string
}

// newAnalysis makes the command of an analysis.
func newAnalysis(a *app, an *query.Analysis) *cobra.Command {
	p := pictures[an.Name]
	f := analysisFlags{one: map[string]*string{}, repeated: map[string]*[]string{}}
	c := &cobra.Command{
		Use:   an.Name + " [EXPR]",
		Short: an.Short,
		Long: p.long + `

EXPR says of whom, else it is everybody. With --cell the people of a cell are listed by
their keys, or put into a list with --save-as.

--json: {"analysis":"` + an.Name + `","tables":[{"name":"...","columns":[{"name":"...",
"unit":"text|number|share|milliseconds|bool"}],"rows":[{"cells":["..."],"values":[...]}]}],
"unknown":N,"position":"E.N","now":"...","elapsed_us":N}`,
		Example: p.example,
		Args:    rangeArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			who := strings.Join(args, "")
			if err := f.checkTexts(c, args); err != nil {
				return err
			}
			if err := f.definitionAlone(c, an, args); err != nil {
				return err
			}
			return a.withStore(func(s store) error { return f.run(c.Context(), a, s, an, who) })
		},
	}
	for i := range an.Parameters {
		f.addParameter(a, c, &an.Parameters[i])
	}
	flags := c.Flags()
	flags.StringVar(&f.cell, "cell", "", "list the people of this cell")
	flags.StringVar(&f.saveAs, "save-as", "", "make the people of --cell a list with this name")
	flags.StringVar(&f.format, "format", "table", "table or csv")
	flags.StringVarP(&f.output, "output", "o", "", "write to a file")
	completeWord(c, "format", "table", "csv")
	a.completeFlag(c, "save-as", a.listNames)
	if an.Lends != nil {
		f.addDefinition(a, c, an)
	}
	f.ask.add(c)
	return c
}

// checkTexts refuses what was given as an empty text, such as a variable of the shell that is
// not set: an analysis of everybody would be the answer to another question; and what cannot
// be a name.
func (f *analysisFlags) checkTexts(c *cobra.Command, args []string) error {
	if len(args) > 0 && strings.TrimSpace(args[0]) == "" {
		return usagef("the expression is empty; leave it out for everybody")
	}
	texts := map[string]*string{"cell": &f.cell, "save-as": &f.saveAs, "define": &f.define, "defined": &f.defined, "output": &f.output}
	maps.Copy(texts, f.one)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if *texts[name] == "" && c.Flags().Changed(name) {
			return usagef("--%s is empty", name)
		}
	}
	for _, name := range []string{"save-as", "define"} {
		if err := checkName("--"+name, *texts[name]); *texts[name] != "" && err != nil {
			return err
		}
	}
	return nil
}

func (f *analysisFlags) addParameter(a *app, c *cobra.Command, p *query.Parameter) {
	help := p.Help
	if p.Required {
		help += " (must be given)"
	}
	if p.Repeated {
		f.repeated[p.Name] = new([]string)
		c.Flags().StringArrayVar(f.repeated[p.Name], p.Name, nil, help)
	} else {
		f.one[p.Name] = new(string)
		c.Flags().StringVar(f.one[p.Name], p.Name, p.Default, help)
	}
	switch {
	case len(p.Choices) > 0:
		completeWord(c, p.Name, p.Choices...)
	case p.Kind == query.ParameterField:
		a.completeFlag(c, p.Name, a.attributeNames)
	}
}

func (f *analysisFlags) args() query.Arguments {
	out := query.Arguments{}
	for name, v := range f.one {
		if *v != "" {
			out[name] = []string{*v}
		}
	}
	for name, v := range f.repeated {
		if len(*v) > 0 {
			out[name] = *v
		}
	}
	return out
}

func (f *analysisFlags) run(ctx context.Context, a *app, s store, an *query.Analysis, who string) error {
	o, err := f.ask.options()
	switch {
	case err != nil:
		return err
	case f.format != "table" && f.format != "csv":
		return usagef("--format is table or csv, not %q", f.format)
	case f.saveAs != "" && f.cell == "":
		return usagef("--save-as %q: the people of which --cell?", f.saveAs)
	}
	if f.defined != "" {
		if who, err = f.take(ctx, a, s, an); err != nil {
			return err
		}
	}
	if _, err := analysis.Check(an, f.args()); err != nil {
		return &usageError{err}
	}
	if f.cell != "" {
		return f.people(ctx, a, s, an, who, o)
	}
	r, err := s.Analyze(ctx, an.Name, who, f.args(), &o)
	if err != nil {
		return err
	}
	return a.toOutput(f.output, func(w io.Writer, terminal bool) error {
		switch err := f.save(ctx, s, an, who); {
		case err != nil:
			return err
		case a.json:
			return writeReportJSON(&r, w)
		case f.format == "csv":
			return writeReportCSV(&r, w)
		}
		return a.writeReport(&r, w, terminal)
	})
}

// people lists the people of a cell, or makes them a list.
func (f *analysisFlags) people(ctx context.Context, a *app, s store, an *query.Analysis, who string, o query.Options) error {
	m, err := s.AnalysisMembers(ctx, an.Name, who, f.args(), f.cell, &query.MembersOptions{Options: o})
	if err != nil {
		return err
	}
	if f.saveAs == "" {
		list := membersFlags{format: f.format, output: f.output}
		return a.toOutput(f.output, func(w io.Writer, terminal bool) error {
			if err := f.save(ctx, s, an, who); err != nil {
				return err
			}
			return list.write(ctx, a, &m, w, terminal)
		})
	}
	if err := f.save(ctx, s, an, who); err != nil {
		return err
	}
	put := func(b *batch.Builder, name string, keys []string, first bool) {
		if !first {
			b.ListAdd(name, keys...)
			return
		}
		b.ListPut(name, keys...)
		b.ListNote(name, f.note(an, who, &m))
	}
	l := &listWriter{ctx: func() context.Context { return ctx }, store: s, op: put, first: true, b: batch.New(), result: listChanged{List: f.saveAs, Examples: []string{}}}
	for row, err := range m.Rows {
		if err != nil {
			return err
		}
		if err := l.add(row.Key); err != nil {
			return err
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	return a.printListChanged(&l.result)
}

// note says where a list comes from: the analysis, of whom, its parameters, when, and what
// had been written.
func (f *analysisFlags) note(an *query.Analysis, who string, m *query.Members) string {
	words := []string{an.Name}
	if who != "" {
		words = append(words, quoted(who))
	}
	words = append(words, flagWords(an, f.args())...)
	words = append(words, "--cell", quoted(f.cell), "--now", rfc3339(m.Now))
	return strings.Join(words, " ") + ", position " + m.Position.String()
}

// quoted writes a word as a shell takes it.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("_-.:,/", r))
	}) || s == "" {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

var unitNames = [...]string{query.UnitText: "text", query.UnitNumber: "number", query.UnitShare: "share", query.UnitDuration: "milliseconds", query.UnitBool: "bool"} //tidy:constant

func writeReportJSON(r *query.Report, w io.Writer) error {
	type column struct {
		Name string `json:"name"`
		Unit string `json:"unit"`
	}
	type row struct {
		Cells  []string          `json:"cells"`
		Values []json.RawMessage `json:"values"`
	}
	type table struct {
		Name    string   `json:"name"`
		Columns []column `json:"columns"`
		Rows    []row    `json:"rows"`
	}
	out := struct {
		Analysis string  `json:"analysis"`
		Tables   []table `json:"tables"`
		answerJSON
	}{r.Analysis, []table{}, answerOf(r.Answer)}
	for _, t := range r.Tables {
		one := table{t.Name, []column{}, []row{}}
		for _, c := range t.Columns {
			one.Columns = append(one.Columns, column{c.Name, unitNames[c.Unit]})
		}
		for _, line := range t.Rows {
			values := make([]json.RawMessage, len(line.Values))
			for i, v := range line.Values {
				values[i] = listing.JSON(v)
			}
			one.Rows = append(one.Rows, row{append([]string{}, line.Cells...), values})
		}
		out.Tables = append(out.Tables, one)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// writeReportCSV writes the tables one after the other, each with a header, a line between.
func writeReportCSV(r *query.Report, w io.Writer) error {
	for i, t := range r.Tables {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		out := csv.NewWriter(w)
		head := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			head[i] = c.Name
		}
		lines := [][]string{head}
		for _, row := range t.Rows {
			line := make([]string, len(row.Values))
			for i, v := range row.Values {
				line[i] = v.String()
			}
			lines = append(lines, line)
		}
		if err := out.WriteAll(lines); err != nil {
			return err
		}
	}
	return nil
}

// writeReport writes the tables for people, with a bar for a share or a number.
func (a *app) writeReport(r *query.Report, w io.Writer, terminal bool) error {
	if terminal {
		a.noteCurrent(r.Answer)
	}
	for i, t := range r.Tables {
		if i > 0 && terminal {
			fmt.Fprintln(w)
		}
		if draw := pictures[r.Analysis].draw; draw != nil && terminal {
			if text, ok := draw(&t); ok {
				if _, err := io.WriteString(w, text); err != nil {
					return err
				}
				continue
			}
		}
		head, bar := []string{}, -1
		for k, c := range t.Columns {
			name := c.Name
			if c.Unit != query.UnitText {
				name = "#" + name
			}
			if slices.Contains(strings.Split(pictures[r.Analysis].bar, "|"), c.Name) && c.Unit != query.UnitText {
				bar = k
			}
			head = append(head, name)
		}
		if bar >= 0 && terminal {
			head = append(head, "")
		}
		out := a.newTable(head...)
		out.terminal = terminal
		all := fullBar(&t, bar)
		for _, row := range t.Rows {
			cells := make([]any, 0, len(head))
			for k, v := range row.Values {
				cells = append(cells, out.value(v, t.Columns[k].Unit))
			}
			if bar >= 0 && terminal {
				cells = append(cells, drawn(size(row.Values[bar])/all))
			}
			out.add(cells...)
		}
		if err := out.write(w); err != nil {
			return err
		}
	}
	if !terminal {
		return nil
	}
	f := a.facts()
	f.addAnswer(r.Answer)
	return f.write(w)
}

// value is a value of a report as a cell.
func (t *table) value(v schema.Value, unit query.ReportUnit) any {
	switch {
	case !t.terminal && v.Kind() == schema.Float:
		return strconv.FormatFloat(v.Float(), 'g', 9, 64)
	case v.IsAbsent() || !t.terminal:
		return v.String()
	case unit == query.UnitShare:
		return fmt.Sprintf("%.1f %%", 100*v.Float())
	case unit == query.UnitDuration:
		return longDuration(time.Duration(v.Ordered()) * time.Millisecond)
	case v.Kind() == schema.Int:
		return v.Ordered()
	case v.Kind() == schema.Float:
		return strconv.FormatFloat(v.Float(), 'g', 6, 64)
	}
	return v.String()
}

// longDuration writes a duration with two units at most.
func longDuration(d time.Duration) string {
	days := d / (24 * time.Hour)
	switch {
	case days >= 1:
		return fmt.Sprintf("%dd %dh", days, d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d == 0:
		return "0 s"
	}
	return shortDuration(d)
}

// barWidth is how many characters all is.
const barWidth = 24

// fullBar is how much all of a bar is: 1 of shares, else the largest of the column.
func fullBar(t *query.ReportTable, column int) float64 {
	if column < 0 || t.Columns[column].Unit == query.UnitShare {
		return 1
	}
	most := 0.0
	for _, row := range t.Rows {
		most = max(most, size(row.Values[column]))
	}
	return most
}

// size is how much a value is beside others of its column.
func size(v schema.Value) float64 {
	if v.Kind() == schema.Float {
		return v.Float()
	}
	return float64(v.Ordered())
}

// drawn is a share as a bar, to an eighth of a character; less than nothing is none.
func drawn(share float64) string {
	if !(share > 0 && share <= 1) { // of nothing it is no number
		return ""
	}
	eighths := int(share*barWidth*8 + 0.5)
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string(rune('▉' + 7 - rest))
	}
	return bar
}
