package quality

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// flattenEvents is flattenBlock of events: "key" event time id; properties.
func flattenEvents(bl *batch.EventBlock) []string {
	out := flattenBlock(&bl.Block)
	id := 0
	for i := range out {
		key, properties, _ := strings.Cut(out[i], ";")
		act := fmt.Sprintf(" %s %s", bl.Names.At(int(bl.Event[i])), schema.TimestampValue(bl.Times[i]))
		if bl.IDs != nil && bl.IDs.Has(i) {
			act += fmt.Sprintf(" %s", bl.IDs.Plain.At(id))
			id++
		}
		if out[i] = key + act; properties != "" {
			out[i] += ";" + properties
		}
	}
	return out
}

func TestParseTime(t *testing.T) {
	helsinki := time.FixedZone("EET", 7200)
	for _, c := range []struct{ text, want string }{
		{"2024-02-29", "2024-02-28T22:00:00Z"},
		{"2024-02-29 10:00:00", "2024-02-29T08:00:00Z"},
		{"2024-02-29T10:00:00Z", "2024-02-29T10:00:00Z"},
		{"2024-02-29T10:00:00.5+03:00", "2024-02-29T07:00:00.5Z"},
		{"100000000", "1973-03-03T09:46:40Z"},
		{"1700000000", "2023-11-14T22:13:20Z"},
		{"9999999999", "2286-11-20T17:46:39Z"},
		{"1700000000.5", "2023-11-14T22:13:20.5Z"},
		{"1700000000.123987", "2023-11-14T22:13:20.123Z"},
		{"1700000000123", "2023-11-14T22:13:20.123Z"},
		{"1700000000123987", "2023-11-14T22:13:20.123Z"},
		{"1700000000123987654", "2023-11-14T22:13:20.123Z"},
		{"9999999999999999999", ""}, // past 64 bits
		{"20240229", ""},            // a date, not seconds
		{"202402291000", ""},        // a date and time, not milliseconds
		{"20240229100000", ""},
		{"17000000001", ""},
		{"1700000000123.5", ""},
		{"1700000000.", ""},
		{"1700000000.x", ""},
		{"-1700000000", ""},
		{"+1700000000", ""},
		{"1.7e9", ""},
		{".1700000000", ""},
		{"17000000o0", ""},
		{"yesterday", ""},
		{"", ""},
	} {
		got, err := parseTime([]byte(c.text), helsinki)
		if shown := schema.TimestampValue(got).String(); (err == nil) != (c.want != "") || err == nil && shown != c.want {
			t.Errorf("%q: got %s, %v, want %q", c.text, shown, err, c.want)
		}
	}
}

// slowEvents is the reference: it returns the good events as flatten does, and the bad rows.
func slowEvents(t testing.TB, text string, s *schema.Schema, o LoadOptions) (good []string, bad []batch.BadRow) {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	start := r.InputOffset()
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := r.FieldPos(0)
		raw := strings.TrimLeft(text[start:r.InputOffset()], "\r\n")
		start = r.InputOffset()
		row := map[string]string{}
		for i, cell := range record[:min(len(record), len(header))] {
			row[header[i]] = norm.NFC.String(cell)
		}
		reason, detail := batch.ReasonRagged, fmt.Sprintf("%d cells, but %d columns", len(record), len(header))
		var act string
		long := slices.IndexFunc(record, func(cell string) bool { return len(cell) > schema.MaxStringBytes })
		if long >= 0 {
			reason, detail = batch.ReasonTooLong, fmt.Sprintf("cell %d has %d bytes, more than 16384", long+1, len(record[long]))
		} else if len(record) == len(header) {
			act, reason, detail = slowEvent(t, header, row, s, o)
		}
		if reason != batch.ReasonNone {
			raw = strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
			bad = append(bad, batch.BadRow{Line: uint64(line), Reason: reason, Detail: detail, Raw: raw})
			continue
		}
		good = append(good, act)
	}
	return good, bad
}

// slowEvent returns one event as flatten does, or what is wrong with it.
func slowEvent(t testing.TB, header []string, row map[string]string, s *schema.Schema, o LoadOptions) (string, batch.Reason, string) {
	key, name, at, id := row[o.Key], row[o.Events.Event], row[o.Events.Time], row[o.Events.ID]
	if o.Events.Name != "" {
		name = o.Events.Name
	}
	e := s.LookupEvent(name)
	switch {
	case key == "":
		return "", batch.ReasonNoKey, o.Key + ": the key is missing"
	case name == "":
		return "", batch.ReasonUnknownEvent, o.Events.Event + ": the event is missing"
	case e == nil:
		return "", batch.ReasonUnknownEvent, fmt.Sprintf("event: there is no event %q", name)
	case at == "":
		return "", batch.ReasonBadValue, o.Events.Time + ": the time is missing"
	}
	var ms schema.Value
	if len(at) == 10 && !strings.Contains(at, "-") {
		var n int64
		fmt.Sscan(at, &n)
		ms = schema.TimestampValue(n * 1000)
	} else {
		var err error
		if ms, err = schema.ParseValue(&schema.Attribute{Kind: schema.Timestamp}, at, o.Zone); err != nil {
			return "", batch.ReasonBadValue, fmt.Sprintf("%s: %q: %v", o.Events.Time, at, err)
		}
	}
	out := fmt.Sprintf("%q %s %s", key, name, ms)
	if len(id) > batch.MaxEventID {
		return "", batch.ReasonTooLong, fmt.Sprintf("%s: an id of %d bytes; it has at most 256", o.Events.ID, len(id))
	}
	if id != "" {
		out += " " + id
	}
	values := map[string]string{}
	for _, column := range header {
		cell, p := row[column], e.Lookup(column)
		known := slices.ContainsFunc(s.Events, func(e schema.Event) bool { return e.Lookup(column) != nil })
		special := column == o.Key || column == o.Events.Event || column == o.Events.Time || column == o.Events.ID
		switch {
		case cell == "" || !known && (special || o.Unknown == IgnoreUnknown) || p == nil && special:
			continue
		case p == nil:
			return "", batch.ReasonUnknownProperty, fmt.Sprintf("%s: the event %q has no such property", column, name)
		}
		v, reason, detail := slowProperty(t, s, e, p, cell, o)
		if reason != batch.ReasonNone {
			return "", reason, detail
		}
		values[column] = fmt.Sprintf("%s=%s %q", column, v.Kind(), v)
	}
	for _, p := range e.Properties {
		if p.Required && values[p.Name] == "" {
			return "", batch.ReasonRequired, fmt.Sprintf("%s: the event %q requires it", p.Name, name)
		}
	}
	for _, column := range slices.Sorted(slices.Values(header)) {
		if values[column] != "" {
			out += "; " + values[column]
		}
	}
	return out, batch.ReasonNone, ""
}

// slowProperty parses a cell and asks CheckAt about an event that has nothing else.
func slowProperty(t testing.TB, s *schema.Schema, e *schema.Event, p *schema.Attribute, cell string, o LoadOptions) (schema.Value, batch.Reason, string) {
	v, err := schema.ParseValue(p, cell, o.Zone)
	if err != nil {
		reason := map[error]batch.Reason{schema.OutOfRange: batch.ReasonOutOfRange, schema.TooLong: batch.ReasonTooLong, schema.TooMany: batch.ReasonTooMany}[err]
		if reason == batch.ReasonNone {
			reason = batch.ReasonBadValue
		}
		r := newRules(p, batch.VerbSet)
		return v, reason, r.detail("%s: %v", r.show(cell), err)
	}
	var parts []schema.Value // elements one by one in order of the text
	for _, element := range strings.Split(cell, schema.SetSeparator) {
		if p.Kind == schema.Set && element != "" {
			parts = append(parts, schema.SetValue(element))
		}
	}
	if p.Kind != schema.Set {
		parts = []schema.Value{v}
	}
	for _, part := range parts {
		verdicts := checkEvents(t, s, []batch.Column{{Name: p.Name, Kind: p.Kind, Scale: p.Scale}}, func(table *batch.EventTable) {
			table.Row([]byte("k"), []byte(e.Name), 0)
			switch p.Kind {
			case schema.String:
				table.Str(0, []byte(part.Str()))
			case schema.Set:
				table.Elems(0, [][]byte{[]byte(part.Elements()[0])})
			default:
				table.Int(0, part.Ordered())
			}
		})
		if len(verdicts) > 0 && verdicts[0].Reason != batch.ReasonRequired {
			return v, verdicts[0].Reason, verdicts[0].Detail
		}
	}
	return v, batch.ReasonNone, ""
}

// randomEventCSV returns a file of events, its columns in random order, some of them unknown.
func randomEventCSV(r *rand.Rand, s *schema.Schema, n int) string {
	header := []string{"user", "what", "when", "id", "mystery"}
	for _, name := range []string{"amount", "item", "n", "tags", "mail", "seen", "screen"} {
		if r.IntN(6) > 0 || name == "amount" {
			header = append(header, name)
		}
	}
	r.Shuffle(len(header), func(i, j int) { header[i], header[j] = header[j], header[i] })
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var out strings.Builder
	w := csv.NewWriter(&out)
	w.Write(header)
	for range n {
		event := pick("buy", "buy", "view", "view", "A\u030apen", "sell", "")
		var row []string
		for _, name := range header {
			cell := ""
			var p *schema.Attribute
			if e := s.LookupEvent(norm.NFC.String(event)); e != nil {
				p = e.Lookup(name)
			}
			switch {
			case name == "user" && r.IntN(30) > 0:
				cell = fmt.Sprint("u", r.IntN(n))
			case name == "what":
				cell = event
			case name == "when" && r.IntN(15) > 0:
				cell = pick("2024-02-29", "2024-02-28 10:30:00", "1700000000", "2024-02-28T10:30:00.25+01:00")
			case name == "when":
				cell = pick("", "2023-02-29", "yesterday", "202402281030")
			case name == "id":
				cell = pick("", "o1", "e\u0301", fmt.Sprint("o", r.IntN(1000)), strings.Repeat("x", 250+r.IntN(8)))
			case name == "item" && p != nil:
				cell = pick("", "1", "2", "jacket", "3")
			case name == "mail" && r.IntN(4) == 0:
				cell = "nobody"
			case p != nil:
				cell = randomCell(r, p)
			case name == "mystery" || r.IntN(20) == 0:
				cell = pick("x", "")
			}
			row = append(row, cell)
		}
		if r.IntN(40) == 0 {
			row = append(row, "more")
		}
		w.Write(row)
	}
	w.Flush()
	return out.String()
}

func TestLoadEventsDifferential(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := eventSchema()
	reasons := map[batch.Reason]int{}
	for range 60 {
		text := randomEventCSV(rnd, s, 1+rnd.IntN(120))
		o := LoadOptions{File: "f.csv", Key: "user", BatchRows: 1 + rnd.IntN(50), Zone: []*time.Location{nil, time.FixedZone("EET", 7200)}[rnd.IntN(2)],
			Events:  &EventColumns{Time: "when", Event: "what", ID: []string{"", "id"}[rnd.IntN(2)]},
			Unknown: []Unknown{IgnoreUnknown, IgnoreUnknown, QuarantineUnknown}[rnd.IntN(3)]}
		if rnd.IntN(4) == 0 {
			o.Events.Event, o.Events.Name = "", "buy"
		}
		got, report, err := loadText(t, text, s, o, &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}})
		if err != nil {
			t.Fatal(err)
		}
		wantGood, slowBad := slowEvents(t, text, s, o)
		b := batch.New()
		b.Quarantine("f.csv", slowBad...)
		encoded, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, wantBad := flatten(t, []batch.Batch{encoded})
		good, bad := flatten(t, batchesOf(got))
		compareLines(t, "good", good, wantGood)
		compareLines(t, "bad", bad, wantBad)
		if report.Typed != uint64(len(good)) || report.Quarantined != uint64(len(bad)) || report.Rows != report.Typed+report.Quarantined || report.Overwritten != 0 {
			t.Fatalf("report %+v", report)
		}
		for _, r := range slowBad {
			reasons[r.Reason]++
		}
	}
	for _, r := range []batch.Reason{batch.ReasonRagged, batch.ReasonTooLong, batch.ReasonBadValue, batch.ReasonOutOfRange, batch.ReasonNotAllowed,
		batch.ReasonFormat, batch.ReasonNoKey, batch.ReasonUnknownEvent, batch.ReasonUnknownProperty, batch.ReasonRequired} {
		if reasons[r] < 3 {
			t.Errorf("reason %q came only %d times", r, reasons[r])
		}
	}
}

// TestLoadReferenceData loads published events as they are, with what is inferred of them.
func TestLoadReferenceData(t *testing.T) {
	for _, c := range []struct {
		file, key           string
		columns             EventColumns
		types, typed, noKey int
		people              int
	}{
		{"ecom_clickstream/ecom.csv.gz", "user_id", EventColumns{Time: "timestamp", Event: "event"}, 19, 31106, 0, 600},
		{"online_retail/online_retail.csv.zst", "CustomerID", EventColumns{Time: "InvoiceDate", Name: "purchase"}, 1, 541909 - 135080, 135080, 4372},
	} {
		open := func() Rows {
			rows, _, err := OpenRows(refData(t, c.file), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { rows.Close() })
			return rows
		}
		events, report, err := InferEvents(open(), c.key, c.columns, 0)
		if err != nil || len(events) != c.types || report.Bad > 0 || report.Unnamed > 0 {
			t.Fatalf("%s: %d event types, %+v, %v", c.file, len(events), report.InferReport, err)
		}
		s := schema.New(0, 0, nil)
		changes, err := (&Definitions{Events: events}).Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes {
			if s, err = s.Apply(change); err != nil {
				t.Fatal(err)
			}
		}
		people, acts := map[string]bool{}, 0
		loaded, err := Load(t.Context(), open(), s, LoadOptions{File: c.file, Key: c.key, Events: &c.columns}, func(l Loaded) error {
			d, err := batch.Decode(l.Batch)
			if err != nil {
				return err
			}
			if verdicts := CheckAt(d, s, schema.MaxTimestamp); len(verdicts) > 0 {
				return fmt.Errorf("stage 1: %+v", verdicts[0])
			}
			for _, op := range d.Ops {
				if op.Events != nil {
					acts += op.Events.N
					for i := range op.Events.N {
						people[string(op.Events.Keys.At(i))] = true
					}
				}
			}
			return nil
		})
		if err != nil || loaded.Typed != uint64(c.typed) || loaded.Reasons[batch.ReasonNoKey] != uint64(c.noKey) || acts != c.typed || len(people) != c.people {
			t.Errorf("%s: %d typed, %v, of %d people, %v", c.file, loaded.Typed, loaded.Reasons, len(people), err)
		}
	}
}

// TestLoadOrders: the lines of an order are events of their own, whatever the batches.
func TestLoadOrders(t *testing.T) {
	s := eventSchema()
	for _, c := range []schema.Change{
		{Op: schema.AddProperty, Event: "buy", Name: "order", Attribute: schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}},
		{Op: schema.AddProperty, Event: "buy", Name: "lines.n", Attribute: schema.Attribute{Kind: schema.Int, Max: schema.IntValue(9)}},
	} {
		var err error
		if s, err = s.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	text := `{"order":"o1","user":"ann","type":"buy","at":1700000000,"lines":[{"n":1},{"n":2},{"n":30},{"n":4}],"amount":9.5}
{"order":"o2","user":"bob","type":"view","at":"2024-01-01 02:00:00","item":7}
{"order":"","user":"bob","type":"buy","at":1700000000,"lines":[{"n":5}],"amount":"1.00"}
{"order":"` + strings.Repeat("o", 255) + `","user":"bob","type":"buy","at":1700000000,"lines":[{"n":5}],"amount":"1.00"}
{"order":"o4","user":"cat","type":"buy","at":1700000000,"lines":[],"amount":3}
`
	line := func(n int) string {
		return fmt.Sprintf(`"ann" buy 2023-11-14T22:13:20Z o1#%d; amount=decimal "9.50"; lines.n=int "%d"; order=string "o1"`, n, n)
	}
	want := []string{line(1), line(2), line(4), `"bob" view 2024-01-01T02:00:00Z o2; item=int "7"`,
		`"bob" buy 2023-11-14T22:13:20Z; amount=decimal "1.00"; lines.n=int "5"`, `"cat" buy 2023-11-14T22:13:20Z o4; amount=decimal "3.00"; order=string "o4"`}
	o := LoadOptions{File: "orders", Key: "user", Events: &EventColumns{Time: "at", Event: "type", ID: "order"}, Source: "s"}
	for _, o.BatchRows = range []int{1, 2, 3, 5, 100} {
		got, report, err := loadText(t, text, s, o, &RowsOptions{Unnest: true})
		if err != nil {
			t.Fatal(err)
		}
		good, bad := flatten(t, batchesOf(got))
		compareLines(t, "good", good, want)
		if len(bad) != 2 || !strings.HasPrefix(bad[0], `orders:1 out of range: lines.n: 30 is above the maximum 9 <{"order":"o1"`) || !strings.HasPrefix(bad[1], "orders:4 too long: order: an id of 257 bytes") {
			t.Errorf("bad %q", bad)
		}
		if report.Rows != 8 || report.Typed != 6 {
			t.Errorf("report %+v", report)
		}
		var lines []uint64
		for _, l := range got {
			d, err := batch.Decode(l.Batch)
			if err != nil {
				t.Fatal(err)
			}
			for i, op := range d.Ops {
				if op.Events != nil {
					for row := range op.Events.N {
						lines = append(lines, d.Ops[i-1].Line(row))
					}
				}
			}
		}
		if !slices.Equal(lines, []uint64{1, 1, 1, 2, 3, 5}) {
			t.Errorf("lines %d", lines)
		}
		from := got[len(got)/2].Sequence
		o := o
		o.FromSequence = from
		rest, _, err := loadText(t, text, s, o, &RowsOptions{Unnest: true})
		if err != nil || !reflect.DeepEqual(rest, got[len(got)/2:]) {
			t.Errorf("from %d: %v", from, err)
		}
	}
}

// TestLoadLongOrder: what is kept of a bad line is its start, and not what the good rows of
// the same line are read from.
func TestLoadLongOrder(t *testing.T) {
	text := `{"user":"u","type":"view","at":"2024-01-01","l":[{"x":1,"x":2},{"y":"` + strings.Repeat("z", 2*maxRaw) + `"},{"screen":"home"}]}`
	o := LoadOptions{Key: "user", Events: &EventColumns{Time: "at", Event: "type"}, Columns: map[string]string{"l.screen": "screen"}}
	got, _, err := loadText(t, text, eventSchema(), o, &RowsOptions{Unnest: true})
	if err != nil {
		t.Fatal(err)
	}
	good, bad := flatten(t, batchesOf(got))
	compareLines(t, "good", good, []string{`"u" view 2024-01-01T00:00:00Z`, `"u" view 2024-01-01T00:00:00Z; screen=string "home"`})
	if len(bad) != 1 || !strings.Contains(bad[0], `the member "l.x" comes twice`) {
		t.Errorf("bad %.200q", bad)
	}
}

// TestLoadEventsDeterministic: the parallelism changes nothing.
func TestLoadEventsDeterministic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 2))
	s := eventSchema()
	text := randomEventCSV(rnd, s, 1000)
	o := LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Event: "what", ID: "id"}, Source: "file 1", Run: 3, BatchRows: 70, Parallelism: 1}
	dialect := &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}}
	want, wantReport, err := loadText(t, text, s, o, dialect)
	if err != nil || len(want) < 10 {
		t.Fatal(len(want), err)
	}
	for _, l := range want {
		if d, err := batch.Decode(l.Batch); err != nil || d.Sequence != l.Sequence || d.Rows != l.Rows || len(CheckAt(d, s, schema.MaxTimestamp)) > 0 {
			t.Fatalf("%v: %+v", err, d)
		}
	}
	o.Parallelism = 4
	if got, report, err := loadText(t, text, s, o, dialect); err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(report, wantReport) {
		t.Fatalf("%v, %+v, want %+v", err, report, wantReport)
	}
}

// TestLoadEventColumns: columns may be renamed and left out, one that all events have may
// be a property too, and a late one of NDJSON is loaded.
func TestLoadEventColumns(t *testing.T) {
	s, err := eventSchema().Apply(schema.Change{Op: schema.AddProperty, Event: "view", Name: "user", Attribute: schema.Attribute{Kind: schema.String}})
	if err != nil {
		t.Fatal(err)
	}
	o := LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Event: "what"}, Columns: map[string]string{"place": "screen", "item": ""}}
	text := "user,what,when,place,item,other\nu,view,2024-01-01,home,7,1\nv,buy,2024-01-01,,,\n"
	got, report, err := loadText(t, text, s, o, nil)
	if err != nil || !slices.Equal(report.Unknown, []string{"other"}) {
		t.Fatal(report, err)
	}
	good, bad := flatten(t, batchesOf(got))
	compareLines(t, "good", good, []string{`"u" view 2024-01-01T00:00:00Z; screen=string "home"; user=string "u"`})
	compareLines(t, "bad", bad, []string{`input:3 required attribute missing: amount: the event "buy" requires it <v,buy,2024-01-01,,,>`})
	var lines strings.Builder
	for range 5000 {
		lines.WriteString(`{"user":"u","what":"view","when":"2024-01-01"}` + "\n")
	}
	lines.WriteString(`{"user":"u","what":"view","when":"2024-01-01","item":3,"amount":null}` + "\n")
	o.Columns = nil
	if got, _, err = loadText(t, lines.String(), s, o, nil); err != nil {
		t.Fatal(err)
	}
	good, _ = flatten(t, batchesOf(got))
	compareLines(t, "late", good[5000:], []string{`"u" view 2024-01-01T00:00:00Z; item=int "3"; user=string "u"`})
}

func TestLoadEventErrors(t *testing.T) {
	at := &EventColumns{Time: "when", Event: "what"}
	for _, c := range []struct {
		text string
		o    LoadOptions
		code query.Code
		want string
	}{
		{"user,what\nu,buy\n", LoadOptions{Key: "user", Events: &EventColumns{Event: "what"}}, query.CodeInvalid, "acts.csv: no column is named for the time"},
		{"user,when\nu,1\n", LoadOptions{Key: "user", Events: &EventColumns{Time: "when"}}, query.CodeInvalid, "either the column of the event types is named, or"},
		{"user,when\nu,1\n", LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Event: "what", Name: "buy"}}, query.CodeInvalid, "either the column of the event types is named, or"},
		{"user,what,when\nu,buy,1\n", LoadOptions{Key: "user", Events: at, EmptyUnsets: true}, query.CodeInvalid, "an empty cell of an event unsets nothing"},
		{"user,what,wen\nu,buy,1\n", LoadOptions{Key: "user", Events: at}, query.CodeUnknownName, `there is no column "when" for the time (did you mean "wen"?)`},
		{"user,wat,when\nu,buy,1\n", LoadOptions{Key: "user", Events: at}, query.CodeUnknownName, `there is no column "what" for the event types (did you mean "wat"?)`},
		{"user,what,when\nu,buy,1\n", LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Event: "what", ID: "id"}}, query.CodeUnknownName, `there is no column "id" for the ids`},
		{"user,when\nu,1\n", LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Name: "sell"}}, query.CodeUnknownName, `there is no event "sell" in the schema`},
		{"user,what,when,age\nu,buy,1,2\n", LoadOptions{Key: "user", Events: at, Unknown: RefuseUnknown}, query.CodeUnknownName, `column 4, "age", is not a property of any event`},
		{"user,what,when,x\nu,buy,1,2\n", LoadOptions{Key: "user", Events: at, Columns: map[string]string{"x": "age"}}, query.CodeUnknownName, `column "x" is to be loaded as property "age"`},
		{"user,what,when,x,item\nu,buy,1,2,3\n", LoadOptions{Key: "user", Events: at, Columns: map[string]string{"x": "item"}}, query.CodeInvalid, `column 5, "item", is to be property "item", as column "x" is`},
	} {
		c.o.File = "acts.csv"
		_, _, err := loadText(t, c.text, eventSchema(), c.o, &RowsOptions{Dialect: &Dialect{Delimiter: ',', Header: true}})
		wantError(t, err, c.code, c.want)
	}
}

// FuzzLoadEvents is FuzzLoad of events.
func FuzzLoadEvents(f *testing.F) {
	s := eventSchema()
	rnd := rand.New(rand.NewPCG(1, 4))
	for range 3 {
		f.Add(randomEventCSV(rnd, s, 3))
	}
	f.Add(`{"user":"a","what":"buy","when":1700000000,"id":"x","amount":1,"l":[{"item":"x"},{"item":"y"}]}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, _, err := OpenRows(strings.NewReader(text), &RowsOptions{Unnest: true})
		if err != nil || len(rows.Columns()) == 0 {
			return
		}
		o := LoadOptions{Key: "user", Events: &EventColumns{Time: "when", Event: "what", ID: "id"}, BatchRows: 3}
		for _, name := range []string{"user", "when", "what", "id"} {
			if !slices.Contains(rows.Columns(), name) {
				return
			}
		}
		loadAll(t, rows, s, o)
	})
}
