package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// fileRequest is a request to a door for files.
type fileRequest struct {
	path   string // with its parameters
	kind   string // Content-Type; "" is a GET
	body   io.Reader
	header map[string]string
}

// do sends a request and returns the answer with its body.
func (q fileRequest) do(t *testing.T, h *http.Client, address string) (*http.Response, []byte) {
	t.Helper()
	method := http.MethodPost
	if q.kind == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+q.path, q.body)
	if err != nil {
		t.Fatal(err)
	}
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	res, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v after %q", q.path, err, text)
	}
	return res, text
}

// loaded is what a door says of a load.
type loaded struct {
	Received, Accepted, Created, Quarantined, Duplicates, Repeated, Overwritten uint64
	RepeatedRows                                                                uint64 `json:"repeated_rows"`
	Before                                                                      struct{ Accepted, Quarantined uint64 }
	Reasons                                                                     map[string]uint64
	Rejected                                                                    []struct {
		Line           uint64
		Reason, Detail string
	}
	Added, IgnoredColumns []string
	Position              string
	Next                  uint64
	Error                 struct {
		Code, Message, Hint string
		Line, Column        int
	}
	Report *loaded
}

// load sends a body and wants a status.
func (q fileRequest) load(t *testing.T, address string, status int) (out loaded) {
	t.Helper()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, text := q.do(t, h, address)
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s, %s; want %d", q.path, res.Status, text, status)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func count(t *testing.T, db *engine.DB, expr string) uint64 {
	t.Helper()
	n, err := db.Count(t.Context(), expr, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n.Count
}

const csvType, ndjsonType = "text/csv", "application/x-ndjson"

func pack(t *testing.T, text string, with func(io.Writer) io.WriteCloser) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := with(&out)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return &out
}

func gzipped(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstandard(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return nil
	}
	return z
}

// TestFilesLoad loads people and what they did, in all forms, and once only.
func TestFilesLoad(t *testing.T) {
	db := openStore(t)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	people := fileRequest{path: "/v1/profiles?key=id", kind: csvType, body: strings.NewReader("id,country,age\n1,FI,30\n2,IT,x\n3,FI,\n"),
		header: map[string]string{"Kanta-Source": "crm", "Kanta-Sequence": "1"}}
	got := people.load(t, address, http.StatusOK)
	if got.Received != 3 || got.Accepted != 3 || got.Created != 3 || got.Next != 4 || strings.Join(got.Added, " ") != "country age" || got.Position == "" {
		t.Errorf("people: %+v", got)
	}
	if n := count(t, db, `country == "FI"`); n != 2 {
		t.Errorf("%d people are in Finland", n)
	}
	people.body = strings.NewReader("id,country,age\n1,FI,30\n2,IT,x\n3,FI,\n")
	if got = people.load(t, address, http.StatusOK); got.Repeated != 1 || got.RepeatedRows != 3 || got.Accepted != 0 || got.Before.Accepted != 3 || got.Next != 4 {
		t.Errorf("the same people again: %+v", got)
	}
	acts := "{\"user\":\"1\",\"type\":\"view\",\"at\":\"2026-01-01T00:00:00Z\",\"amount\":1.5}\n" +
		"{\"user\":\"9\",\"type\":\"view\",\"at\":\"2026-01-02T00:00:00Z\"}\n{\"user\":\"2\",\"type\":\"view\",\"at\":\"yesterday\"}\n"
	events := fileRequest{path: "/v1/events?profile=user&event=type&time=at", kind: ndjsonType}
	for encoding, with := range map[string]func(io.Writer) io.WriteCloser{"gzip": gzipped, "zstd": zstandard} {
		events.body, events.header = pack(t, acts, with), map[string]string{"Content-Encoding": encoding, "Kanta-Source": encoding, "Kanta-Run": "7", "Kanta-Sequence": "100"}
		got := events.load(t, address, http.StatusOK)
		if got.Received != 3 || got.Accepted != 2 || got.Quarantined != 1 || got.Next != 103 || len(got.Rejected) != 1 || got.Rejected[0].Line != 3 || !strings.Contains(got.Rejected[0].Detail, "yesterday") {
			t.Errorf("events with %s: %+v", encoding, got)
		}
		events.body = pack(t, acts, with)
		if got := events.load(t, address, http.StatusOK); got.RepeatedRows != 3 || got.Before.Quarantined != 1 || got.Quarantined != 0 {
			t.Errorf("the same events with %s again: %+v", encoding, got)
		}
	}
	if n := count(t, db, "view.count() == 2"); n != 2 {
		t.Errorf("%d people have viewed twice", n)
	}
	rows, err := db.Quarantine(t.Context(), 0, 0)
	if err != nil || len(rows) != 2 || rows[0].Line != 3 {
		t.Errorf("quarantine: %+v, %v", rows, err)
	}
	for _, path := range []string{"/v1/profiles?key=id&unknown=ignore&dry_run=1", "/v1/profiles?key=id&unknown=ignore&strict", "/v1/profiles?key=id&unknown=quarantine&dry_run=1"} {
		q := fileRequest{path: path, kind: csvType, body: strings.NewReader("id,n,shoe\n1,31,44\n50,old,44\n")}
		before := count(t, db, "true")
		status := http.StatusOK
		if strings.Contains(path, "strict") {
			status = http.StatusUnprocessableEntity
		}
		got := q.load(t, address, status)
		if status != http.StatusOK {
			if got.Error.Code != "rows" || got.Report == nil || got.Report.Quarantined+got.Report.Accepted != 2 {
				t.Errorf("%s: %+v, %+v", path, got, got.Report)
			}
			continue
		}
		bad := uint64(1)
		if strings.Contains(path, "quarantine") {
			bad = 2
		}
		if got.Received != 2 || got.Quarantined != bad || count(t, db, "true") != before {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestFilesCut breaks off in the middle of a body, and sends it again.
func TestFilesCut(t *testing.T) {
	db := openStore(t)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	const rows = 20_000 // three batches
	var body strings.Builder
	body.WriteString("user,at\n")
	for i := range rows {
		fmt.Fprintf(&body, "u%d,2026-01-01T00:00:00Z\n", i)
	}
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	q := fileRequest{path: "/v1/events?profile=user&event_name=act&time=at&unknown=refuse", kind: csvType, header: map[string]string{"Kanta-Source": "acts", "Kanta-Sequence": "1"}}
	r, w := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+q.path, r)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", csvType)
	for name, value := range q.header {
		request.Header.Set(name, value)
	}
	answered := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = res.Body.Close()
		}
		answered <- err
	}()
	if _, err := io.WriteString(w, body.String()[:body.Len()*2/3]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a batch is applied", func() bool { return count(t, db, "true") > 0 })
	_ = w.CloseWithError(io.ErrClosedPipe)
	if err := <-answered; err == nil {
		t.Fatal("half a body was answered")
	}
	q.body = strings.NewReader(body.String())
	got := q.load(t, address, http.StatusOK)
	if got.Received != rows || got.Next != rows+1 || got.RepeatedRows == 0 || got.Accepted+got.RepeatedRows != rows {
		t.Errorf("again: %+v", got)
	}
	if n := count(t, db, "act.count() == 1"); n != rows {
		t.Errorf("%d of %d people have acted once", n, rows)
	}
}

// TestFilesCutOtherwise sends the same rows when the schema has become another one, so that batches
// would be cut elsewhere: nothing is applied twice.
func TestFilesCutOtherwise(t *testing.T) {
	db := openStore(t)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	change := func(names ...string) {
		b := batch.New()
		for _, name := range names {
			if name == "act" {
				b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
			} else {
				b.Change(schema.Change{Op: schema.AddProperty, Event: "act", Name: name, Attribute: schema.Attribute{Name: name, Kind: schema.String}})
			}
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	change("act")
	const rows = 9000
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	var body strings.Builder
	body.WriteString("user,at," + strings.Join(names, ",") + "\n")
	for i := range rows {
		fmt.Fprintf(&body, "user-%06d,2026-01-01T00:00:00Z%s\n", i, strings.Repeat(",fourteen chars", len(names)))
	}
	q := fileRequest{path: "/v1/events?profile=user&event_name=act&time=at&unknown=ignore", kind: csvType, header: map[string]string{"Kanta-Source": "acts", "Kanta-Sequence": "1"}}
	q.body = strings.NewReader(body.String())
	if got := q.load(t, address, http.StatusOK); got.Accepted != rows {
		t.Fatalf("at first: %+v", got)
	}
	change(names...)
	q.body = strings.NewReader(body.String())
	if got := q.load(t, address, http.StatusConflict); got.Error.Code != "conflict" || !strings.Contains(got.Error.Message, "were in a batch of 8192 before") {
		t.Errorf("again: %+v", got)
	}
	if n := count(t, db, "act.count() == 1"); n != rows {
		t.Errorf("%d of %d people have acted once", n, rows)
	}
}

// probe is a transport that keeps by whom it was called.
type probe struct{ seen []*peer }

// NewClientStream implements [connect.Transport].
func (p *probe) NewClientStream(ctx context.Context, _ connect.Spec) (connect.ClientStream, error) {
	p.seen = append(p.seen, peerOf(ctx))
	return nil, errors.New("nothing is sent")
}

// TestFilesCaller: the calls of a door are those of who came through it, also those that are
// not made with the context of the request.
func TestFilesCaller(t *testing.T) {
	who, p := &peer{key: "a key"}, &probe{}
	_, _ = (&calling{p, who}).NewClientStream(t.Context(), connect.Spec{}) // it fails as the probe does
	if len(p.seen) != 1 || p.seen[0] != who {
		t.Errorf("called by %v", p.seen)
	}
}
