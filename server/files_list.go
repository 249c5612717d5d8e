package server

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/internal/message"
)

// What an answer says beside its rows. The last two are known behind them: they are trailers, and
// come only when all rows have come.
const (
	headerPosition = "Kanta-Position"
	headerNow      = "Kanta-Now"
	headerTotal    = "Kanta-Total"
	headerUnknown  = "Kanta-Unknown"
	headerNext     = "Kanta-Next"
	headerRows     = "Kanta-Rows"
)

// listBuffer is what is written to the connection at a time. As long as it is not full an error
// can still be told as one.
const listBuffer = 64 << 10

// formatOf returns the format that a request wants.
func formatOf(r *http.Request, p *parameters, types map[listing.Format]string) listing.Format {
	if name := p.text("format"); name != "" {
		if types[listing.Format(name)] == "" {
			p.fail("format", "there is no such format here")
		}
		return listing.Format(name)
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" {
		return listing.CSV
	}
	for wanted := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(wanted, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
		if kind == "*/*" || kind == "text/*" {
			return listing.CSV
		}
		for _, f := range []listing.Format{listing.CSV, listing.NDJSON, listing.Parquet} {
			if known, _, _ := strings.Cut(types[f], ";"); known != "" && kind == known {
				return f
			}
		}
	}
	if p.err == nil {
		p.err = refuse(http.StatusNotAcceptable, query.CodeInvalid, "nothing that is accepted (%s) is written here: say with format= what is wanted", accept)
	}
	return ""
}

// question reads what is common to questions.
func question(p *parameters, c *client.Client) query.Options {
	var r message.Reader
	at := r.Position(p.text("at_least"))
	if r.Err() != nil {
		p.fail("at_least", "it is a position, such as 1.42")
	}
	c.See(at)
	return query.Options{Now: p.instant("now")}
}

// says puts what an answer says of itself into its header.
func says(w http.ResponseWriter, kind, name string, a *query.Answer) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", "attachment; filename="+name)
	h.Set(headerPosition, a.Position.String())
	h.Set(headerNow, a.Now.UTC().Format(time.RFC3339Nano))
	h.Set(headerUnknown, strconv.FormatUint(a.Unknown, 10))
}

// members lists the members of an expression.
func (f *files) members(w http.ResponseWriter, r *http.Request, c *client.Client) error {
	types := map[listing.Format]string{listing.CSV: "text/csv; charset=utf-8", listing.NDJSON: "application/x-ndjson", listing.Parquet: "application/vnd.apache.parquet"}
	p := parametersOf(r, "expression", "attributes", "order_by", "desc", "limit", "after", "cursor", "now", "at_least", "format")
	format := formatOf(r, p, types)
	o := query.MembersOptions{OrderBy: p.text("order_by"), Desc: p.on("desc"), Limit: p.count("limit"), AfterKey: p.text("after"), After: p.text("cursor"), Options: question(p, c)}
	expression := p.needed("expression", "say who is listed, true is everybody")
	if names := p.text("attributes"); names != "" {
		var err error
		if o.Attributes, err = listing.SplitNames(names); err != nil {
			p.fail("attributes", "%v", err)
		}
	}
	if p.err != nil {
		return p.err
	}
	m, err := c.Members(r.Context(), expression, &o)
	if err != nil {
		return err
	}
	says(w, types[format], "members."+string(format), &m.Answer)
	w.Header().Set(headerTotal, strconv.FormatUint(m.Total, 10))
	w.Header().Set("Trailer", headerRows+", "+headerNext)
	out := bufio.NewWriterSize(w, listBuffer)
	rows, err := listing.Members(out, format, &m)
	if err != nil {
		return err
	}
	w.Header().Set(headerRows, strconv.FormatUint(rows, 10))
	w.Header().Set(headerNext, m.Next())
	return out.Flush()
}

// timeline lists what one person did.
func (f *files) timeline(w http.ResponseWriter, r *http.Request, c *client.Client) error {
	types := map[listing.Format]string{listing.CSV: "text/csv; charset=utf-8", listing.NDJSON: "application/x-ndjson"}
	p := parametersOf(r, "key", "from", "to", "events", "limit", "after", "now", "at_least", "format")
	format := formatOf(r, p, types)
	o := query.TimelineOptions{From: p.instant("from"), To: p.instant("to"), Limit: p.count("limit"), After: p.text("after"), Options: question(p, c)}
	key := p.needed("key", "say whose timeline it is")
	if names := p.text("events"); names != "" {
		var err error
		if o.Events, err = listing.SplitNames(names); err != nil {
			p.fail("events", "%v", err)
		}
	}
	if p.err != nil {
		return p.err
	}
	t, err := c.Timeline(r.Context(), key, &o)
	if err != nil {
		return err
	}
	says(w, types[format], "timeline."+string(format), &t.Answer)
	w.Header().Set(headerNext, t.Next) // here it is known before
	out := bufio.NewWriterSize(w, listBuffer)
	if err := listing.Timeline(out, format, t.Events); err != nil {
		return err
	}
	return out.Flush()
}
