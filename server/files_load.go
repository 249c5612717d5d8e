package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/internal/message"
)

// What names the rows of a body, so that they are applied once.
const (
	headerSource   = "Kanta-Source"   // whose rows they are
	headerRun      = "Kanta-Run"      // 1 if it is left out
	headerSequence = "Kanta-Sequence" // the number of the first row
)

// maxSequence is what all programs can hold that read JSON.
const maxSequence = 1<<53 - 1

// sniffed is how much of a body is looked at to find out how it is written.
const sniffed = 64 << 10

// errRowsFailed ends a strict load that had rows which do not fit.
var errRowsFailed = errors.New("rows were quarantined or refused")

// loadReport says what became of the rows of a body.
type loadReport struct {
	*quality.Outcome
	Before   quality.Counts `json:"before"` // what the repeated batches did at first
	Rejected []rejectedRow  `json:"rejected"`
	Added    []string       `json:"added"`    // to the schema
	Position string         `json:"position"` // the last one written; of repeated batches, theirs
	Next     uint64         `json:"next"`     // the sequence of the row behind the last one that was decided
	Dry      bool           `json:"dry_run"`
}

type rejectedRow struct {
	Line   uint64 `json:"line"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// load is one body that is loaded.
type load struct {
	f       *files
	c       *client.Client
	format  quality.Format
	rows    quality.RowsOptions
	options quality.LoadOptions
	adds    bool
	strict  bool
	dry     bool

	sample []byte    // the start of the body
	body   io.Reader // all of it
	added  []string
}

// load loads the body of a request.
func (f *files) load(w http.ResponseWriter, r *http.Request, c *client.Client, events bool) error {
	l, err := f.newLoad(r, c, events)
	if err != nil {
		return err
	}
	select {
	case f.loading <- struct{}{}:
		defer func() { <-f.loading }()
	default:
		return &query.Error{Code: query.CodeUnavailable, Message: fmt.Sprintf("%d bodies are loaded already, as many as may be at a time", cap(f.loading)),
			Hint: "try again", RetryAfter: time.Second}
	}
	body, release, err := unpack(r, &f.s.limits.files)
	if err != nil {
		return err
	}
	defer release()
	l.body = body
	report, err := l.run(r.Context())
	if err == nil && l.strict && report.Quarantined+report.Refused+report.Before.Quarantined+report.Before.Refused > 0 {
		err = errRowsFailed
	}
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		err = &statusError{http.StatusUnprocessableEntity, err} // the door is there, only the column is not
	}
	if err != nil {
		writeError(w, err, report)
		return nil
	}
	writeJSON(w, http.StatusOK, report)
	return nil
}

// newLoad reads the parameters and headers of a request.
func (f *files) newLoad(r *http.Request, c *client.Client, events bool) (*load, error) {
	l := &load{f: f, c: c}
	var charset quality.Encoding
	var err error
	if l.format, charset, err = rowsType(r); err != nil {
		return nil, err
	}
	known := []string{"unknown", "zone", "set_separator", "encoding", "strict", "dry_run"}
	if events {
		known = append(known, "profile", "event", "event_name", "time", "id", "id_source", "lines")
	} else {
		known = append(known, "key", "empty")
	}
	p := parametersOf(r, known...)
	o := &l.options
	if events {
		o.Key = p.needed("profile", "name the column of the people's keys")
		o.Events = &quality.EventColumns{Event: p.text("event"), Name: p.text("event_name"), Time: p.needed("time", "name the column of the times"),
			ID: p.text("id"), IDSource: cmp.Or(p.text("id_source"), "files")}
		if (o.Events.Event == "") == (o.Events.Name == "") && p.err == nil {
			p.err = query.Errorf(query.CodeInvalid, "name the type of event with event=COLUMN or event_name=NAME, one of the two")
		}
	} else {
		o.Key = p.needed("key", "name the column that identifies a person")
		switch p.text("empty") {
		case "", "keep":
		case "unset":
			o.EmptyUnsets = true
		default:
			p.fail("empty", "it is keep or unset")
		}
	}
	var ok bool
	if o.Unknown, l.adds, ok = quality.ParseUnknown(cmp.Or(p.text("unknown"), "add")); !ok {
		p.fail("unknown", "it is %s", quality.UnknownWords)
	}
	if o.Zone, err = syntax.Zone(cmp.Or(p.text("zone"), "UTC")); err != nil {
		p.fail("zone", "there is no such zone; write one such as Europe/Helsinki")
	}
	o.SetSeparator = p.text("set_separator")
	l.rows = quality.RowsOptions{Encoding: cmp.Or(quality.Encoding(p.text("encoding")), charset), SetSeparator: o.SetSeparator, Unnest: events, Lines: p.text("lines")}
	l.strict, l.dry = p.on("strict"), p.on("dry_run")
	o.Parallelism, o.CountedKeys = 1, f.s.limits.files.keys // one thread for each body: others have theirs
	return l, cmp.Or(p.err, l.names(r.Header))
}

// names reads the headers that name the rows.
func (l *load) names(h http.Header) error {
	o := &l.options
	o.Source, o.FirstSequence = h.Get(headerSource), 1
	if o.File = o.Source; o.Source == "" {
		o.File = "the body"
		if h.Get(headerRun) != "" || h.Get(headerSequence) != "" {
			return query.Errorf(query.CodeInvalid, "%s and %s are of a source: name it with %s", headerRun, headerSequence, headerSource)
		}
		return nil
	}
	number := func(header, otherwise string, to *uint64) error {
		text := cmp.Or(h.Get(header), otherwise)
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n < 1 || n > maxSequence {
			e := query.Errorf(query.CodeInvalid, "%s is %q: it is a number from 1 to %d", header, text, maxSequence)
			e.Hint = "the sequence is the number of the body's first row: 1 at first, then what the answer says as next"
			return e
		}
		*to = n
		return nil
	}
	return errors.Join(number(headerRun, "1", &o.Run), number(headerSequence, "", &o.FirstSequence))
}

// run loads the body. The report is there if something was decided.
func (l *load) run(ctx context.Context) (*loadReport, error) {
	if err := l.look(); err != nil {
		return nil, err
	}
	sch, err := l.extend(ctx)
	if err != nil {
		return nil, err
	}
	rows, _, err := quality.OpenRows(l.body, &l.rows)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	s := quality.Sender{Target: l.c, Dry: l.dry, File: l.options.File, Place: "line", Outcome: quality.NewOutcome(l.f.s.limits.files.rejected)}
	report, err := quality.Load(ctx, rows, sch, l.options, func(b quality.Loaded) error { return s.Send(ctx, b) })
	if rest := s.Settle(); err == nil {
		err = rest
	}
	err = errors.Join(err, rows.Close())
	s.Outcome.Finish(report, time.Since(start))
	if s.Next() == 0 && err != nil {
		return nil, err
	}
	out := &loadReport{Outcome: s.Outcome, Before: s.Outcome.Before, Rejected: []rejectedRow{}, Added: append([]string{}, l.added...), Position: message.OfPosition(s.Position()), Next: s.Next(), Dry: l.dry}
	for _, r := range s.Outcome.Rejected {
		out.Rejected = append(out.Rejected, rejectedRow{r.Line, r.Reason.String(), r.Detail})
	}
	return out, err
}

// look finds out how the body is written. What was read for that is read again as rows.
func (l *load) look() error {
	size := sniffed
	if l.adds {
		size = l.f.s.limits.files.infer
	}
	var start bytes.Buffer
	_, err := io.CopyN(&start, l.body, int64(size))
	if err != nil && err != io.EOF {
		return err
	}
	l.sample = start.Bytes()
	l.body = io.MultiReader(bytes.NewReader(l.sample), l.body)
	if err == nil { // there is more: the last line may be cut
		if i := bytes.LastIndexByte(l.sample, '\n'); i >= 0 {
			l.sample = l.sample[:i+1]
		}
	}
	if len(l.sample) == 0 {
		return query.Errorf(query.CodeInvalid, "the body is empty: there is not even a header")
	}
	rows, d, err := quality.OpenRows(bytes.NewReader(l.sample), &quality.RowsOptions{Encoding: l.rows.Encoding})
	if err == nil {
		err = rows.Close()
	}
	switch {
	case d.Compression != "":
		return refuse(http.StatusUnsupportedMediaType, query.CodeInvalid, "the body is compressed: say so with Content-Encoding: %s", d.Compression)
	case err != nil:
		return err
	case d.Format != l.format:
		return query.Errorf(query.CodeInvalid, "the body looks like %s, but its Content-Type is that of %s", d.Format, l.format)
	case d.Format == quality.CSV && !strings.HasPrefix(l.options.Key, "column_"):
		d.Header = true // as the command has it
	}
	l.rows.Dialect = &d
	return nil
}

// extendTries is how often the schema is looked at again when somebody else has changed it.
const extendTries = 3

// extend adds what the store does not know of the body's columns, if that is to be added, and
// returns the schema that the rows are typed by.
func (l *load) extend(ctx context.Context) (*schema.Schema, error) {
	for try := 1; ; try++ {
		sch, err := l.c.Schema(ctx)
		if err != nil {
			return nil, err
		}
		changes, err := l.missing(sch)
		if err != nil || len(changes) == 0 {
			return sch, err
		}
		l.added = nil
		for _, c := range changes {
			l.added = append(l.added, strings.Trim(c.Event+"."+c.Name, "."))
		}
		if l.dry {
			e := query.Errorf(query.CodeInvalid, "the schema does not have %s, and a dry run adds nothing", strings.Join(l.added, ", "))
			e.Hint = "leave it out with unknown=ignore, or add it first; kanta load --dry-run tries it with a schema of its own"
			return nil, e
		}
		after, err := quality.Evolve(ctx, l.c, sch, changes, false)
		if err == nil || try == extendTries || ctx.Err() != nil {
			return after, err
		}
		now, again := l.c.Schema(ctx)
		if again != nil || now.Version == sch.Version {
			return nil, err
		}
	}
}

// missing returns what the schema lacks of the rows at the start of the body.
func (l *load) missing(sch *schema.Schema) ([]schema.Change, error) {
	open := func() (quality.Rows, error) {
		rows, _, err := quality.OpenRows(bytes.NewReader(l.sample), &l.rows)
		return rows, err
	}
	if l.rows.Lines != "" {
		rows, err := open()
		if err != nil {
			return nil, err
		}
		if err := errors.Join(quality.FindLines(rows, l.rows.Lines, quality.InferRows), rows.Close()); err != nil {
			return nil, err
		}
	}
	if !l.adds {
		return nil, nil
	}
	rows, err := open()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if e := l.options.Events; e != nil {
		events, report, err := quality.InferEvents(rows, l.options.Key, *e, quality.InferRows)
		if err != nil {
			return nil, err
		}
		return quality.MissingEvents(sch, events, report, nil), nil
	}
	attributes, report, err := quality.Infer(rows, l.options.Key, quality.InferRows)
	if err != nil {
		return nil, err
	}
	changes, _ := quality.MissingAttributes(sch, attributes, report)
	return changes, nil
}
