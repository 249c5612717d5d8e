package listing

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"time"

	"github.com/kantadb/kanta/query"
)

// event is an event in JSON.
type event struct {
	Time       string                     `json:"time"`
	Event      string                     `json:"event"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// change is a change of an attribute with history in JSON.
type change struct {
	Time      string          `json:"time"`
	Attribute string          `json:"attribute"`
	From      json.RawMessage `json:"from"`
	To        json.RawMessage `json:"to"`
}

// Events returns what a timeline has for JSON: of events {"time", "event", "properties"}, of changes
// {"time", "attribute", "from", "to"}.
func Events(events []query.TimelineEvent) []any {
	out := []any{}
	for i := range events {
		e := &events[i]
		if c := e.Change; c != nil {
			out = append(out, change{e.Time.Format(time.RFC3339Nano), e.Event, JSON(c.From), JSON(c.To)})
			continue
		}
		out = append(out, event{e.Time.Format(time.RFC3339Nano), e.Event, properties(e)})
	}
	return out
}

func properties(e *query.TimelineEvent) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, p := range e.Properties {
		out[p.Name] = JSON(p.Value)
	}
	return out
}

// Timeline writes a timeline in a format. It fails with CodeInvalid on one that is neither CSV
// nor NDJSON.
func Timeline(w io.Writer, format Format, events []query.TimelineEvent) error {
	switch format {
	case CSV:
		return timelineCSV(w, events)
	case NDJSON:
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		for _, e := range Events(events) {
			if err := out.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	return query.Errorf(query.CodeInvalid, "there is no format %q of timelines: it is %s or %s", string(format), CSV, NDJSON)
}

func timelineCSV(w io.Writer, events []query.TimelineEvent) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"time", "event", "properties", "from", "to"}); err != nil {
		return err
	}
	for i := range events {
		e := &events[i]
		record := []string{e.Time.Format(time.RFC3339Nano), e.Event, "", "", ""}
		if c := e.Change; c != nil {
			record[3], record[4] = c.From.String(), c.To.String()
		} else {
			text, err := json.Marshal(properties(e))
			if err != nil {
				return err
			}
			record[2] = string(text)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
