package server

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// records is a log of a test.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// find returns the first record with a message that has all of some attributes.
func (r *records) find(message string, has map[string]string) map[string]any {
	for line := range strings.Lines(r.String()) {
		var rec map[string]any
		if json.Unmarshal([]byte(line), &rec) != nil || rec["msg"] != message {
			continue
		}
		all := true
		for k, v := range has {
			all = all && rec[k] == v
		}
		if all {
			return rec
		}
	}
	return nil
}

func logged(o *Options) (*Options, *records) {
	r := &records{}
	o.Log = slog.New(slog.NewJSONHandler(r, nil))
	return o, r
}

// admin asks what is for who looks after a server.
func admin(s *Server, path, host string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", path, nil)
	req.Host = host
	w := httptest.NewRecorder()
	s.Admin().ServeHTTP(w, req)
	return w
}

func TestMetrics(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, nil)
	l := listen(t, s)
	wired := dial(t, "kanta://"+l.Addr().String(), nil)
	served := dial(t, "", &client.Options{Transport: overHTTP(t, l.Addr().String())})
	for range 3 {
		if _, err := wired.Count(t.Context(), "n > 3", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := served.Count(t.Context(), "nn > 3", nil); !isCode(err, query.CodeUnknownName) {
		t.Fatal(err)
	}
	wait, err := wired.Submit(t.Context(), increment(t, "a", 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(); err != nil {
		t.Fatal(err)
	}
	got := admin(s, "/metrics", "127.0.0.1:7701").Body.String()
	for _, want := range []string{
		`kanta_calls_total{call="Count",code="ok",door="kanta"} 3`,
		`kanta_calls_total{call="Count",code="unknown_name",door="connect"} 1`,
		`kanta_call_seconds_count{call="Count"} 4`,
		`kanta_calls_running{call="Ingest"} 1`,
		`kanta_calls_running{call="Count"} 0`,
		`kanta_calls_turned_away_total{lane="short",reason="full"} 0`,
		`kanta_lane_places{lane="urgent"} 64`,
		`kanta_lane_taken{lane="ingest"} 0`,
		`kanta_ingested_batches_total{code="ok"} 1`,
		`kanta_connections 2`,
		`kanta_store_profiles 1`, `kanta_store_applied 2`, `kanta_ready 1`, `kanta_snapshots_open 0`,
		`kanta_store_written_bytes_total{kind="wal"}`, `kanta_store_memory_budget_bytes`, `go_goroutines`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "kanta_received_bytes_total 0\n") || strings.Contains(got, "kanta_sent_bytes_total 0\n") {
		t.Error("no byte came or went")
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestAdmin(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, nil)
	for host, want := range map[string]int{"127.0.0.1:7701": 200, "localhost": 200, "[::1]:1": 200, "evil.example": 421, "127.0.0.1.evil.example:7701": 421} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			if got := admin(s, path, host).Code; got != want {
				t.Errorf("%s of %s: %d, want %d", path, host, got, want)
			}
		}
	}
	if got := admin(s, "/readyz", "localhost").Body.String(); got != "{\"ready\":true}\n" {
		t.Errorf("it is ready: %s", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w := admin(s, "/readyz", "localhost")
	if want := `{"ready":false,"why_not":["the server stops","the store does not answer: closed"]}` + "\n"; w.Code != 503 || w.Body.String() != want {
		t.Errorf("it is not ready: %d %s", w.Code, w.Body)
	}
	if got := admin(s, "/healthz", "localhost").Code; got != 200 {
		t.Errorf("it lives: %d", got)
	}
	if got := admin(s, "/metrics", "localhost").Body.String(); !strings.Contains(got, "kanta_ready 0") {
		t.Errorf("metrics of a closed store: %s", got)
	}
}

// TestSlow has calls that are slow: one with its plan, and the next without, so soon.
func TestSlow(t *testing.T) {
	o, log := logged(&Options{Slow: time.Nanosecond})
	s := limited(t, openStore(t), o, nil)
	c := inProcess(t, s)
	if _, err := c.Apply(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Count(t.Context(), "n > 7777777 && has(p.n)", nil); err != nil {
		t.Fatal(err)
	}
	shape := map[string]string{"call": "Count", "door": "process", "expression": "n > ? && has(p.n)"}
	eventually(t, "a record with the plan", func() bool { return log.find("a slow call", shape) != nil })
	rec := log.find("a slow call", shape)
	if plan, _ := rec["plan"].(string); !strings.Contains(plan, "{n > ?} chunks=") || rec["position"] != "1.2" {
		t.Errorf("the record is %v", rec)
	}
	if _, err := c.Breakdown(t.Context(), "n > 8888888", "n", nil); err != nil {
		t.Fatal(err)
	}
	if rec := log.find("a slow call", map[string]string{"call": "Breakdown", "expression": "n > ?"}); rec == nil || rec["plan"] != nil {
		t.Errorf("the second is %v", rec)
	}
	if rec := log.find("a slow call", map[string]string{"call": "Apply"}); rec == nil {
		t.Error("no record of a slow batch")
	}
	if text := log.String(); strings.Contains(text, "7777777") || strings.Contains(text, "8888888") {
		t.Errorf("a value is in the log:\n%s", text)
	}
	if err := s.Shutdown(t.Context()); err != nil { // waits for plans
		t.Fatal(err)
	}
}

// TestFailed has calls that fail: one record each, and not more than so many in a second.
func TestFailed(t *testing.T) {
	o, log := logged(&Options{})
	s := limited(t, openStore(t), o, nil)
	c := inProcess(t, s)
	for range logRate + 50 {
		if _, err := c.Count(t.Context(), "nobody > 3", nil); !isCode(err, query.CodeUnknownName) {
			t.Fatal(err)
		}
	}
	if log.find("a call failed", map[string]string{"call": "Count", "code": "unknown_name"}) == nil {
		t.Error("no record")
	}
	// A slow machine may take more than the second for them.
	if n := strings.Count(log.String(), "a call failed"); n < logRate || n > logRate+49 && !strings.Contains(log.String(), "left_out_before") {
		t.Errorf("%d records", n)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.find("stopped", nil) == nil {
		t.Error("that it has stopped is not there")
	}
}

// TestTooLarge: a question that is larger than one may be is nothing that an operator has to see
// to, and neither does trying again help; one for which there is no room now is another matter.
func TestTooLarge(t *testing.T) {
	db, err := engine.Open("", &engine.Options{PurgeAfter: -1, QuestionMemory: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o, log := logged(&Options{})
	s := limited(t, db, o, nil)
	c := inProcess(t, s)
	_, err = c.Count(t.Context(), "true", nil)
	if !isCode(err, query.CodeBudget) {
		t.Fatal(err)
	}
	rec := log.find("a call failed", map[string]string{"call": "Count", "code": "memory_budget", "level": "INFO"})
	if rec == nil {
		t.Errorf("the record is not there, or of another level: %s", log)
	}
	for status, err := range map[int]error{
		http.StatusBadRequest:         err,
		http.StatusServiceUnavailable: &query.Error{Code: query.CodeBudget, Message: "there is no room", RetryAfter: time.Second},
	} {
		if got, word := statusOf(err); got != status || word != "memory_budget" {
			t.Errorf("%v: status %d, %s", err, got, word)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waiting has a client ask what waits for a position that is not there; the answer comes later.
func waiting(t *testing.T, c *client.Client, expression string) <-chan error {
	t.Helper()
	info, err := c.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info.Position.Applied++
	c.See(info.Position)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Count(context.Background(), expression, nil)
		answered <- err
	}()
	return answered
}

// TestRunning lists a call under way and ends it.
func TestRunning(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.behind = time.Hour })
	l := listen(t, s)
	c, operator := dial(t, "kanta://"+l.Addr().String(), nil), inProcess(t, s)
	if list, err := operator.Running(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("nothing is under way: %v, %v", list, err)
	}
	answered := waiting(t, c, "n > 41")
	var list []client.Running
	eventually(t, "the call is under way", func() (ok bool) {
		var err error
		list, err = operator.Running(t.Context())
		return err == nil && len(list) == 1 && list[0].What != ""
	})
	if r := list[0]; r.Call != "Count" || r.What != "n > 41" || r.Address != "127.0.0.1" || r.Waiting || r.Began.IsZero() || r.Elapsed <= 0 {
		t.Errorf("under way is %+v", r)
	}
	if found, err := operator.CancelRunning(t.Context(), list[0].ID); !found || err != nil {
		t.Errorf("ended: %v, %v", found, err)
	}
	if err := <-answered; !isCode(err, query.CodeLimit) || !strings.Contains(err.Error(), "operator") {
		t.Errorf("who asked is told %v", err)
	}
	eventually(t, "it is gone", func() bool {
		found, err := operator.CancelRunning(t.Context(), list[0].ID)
		return err == nil && !found
	})
	if _, err := operator.CancelRunning(t.Context(), "x"); !isCode(err, query.CodeInvalid) {
		t.Errorf("no number: %v", err)
	}
	if got := admin(s, "/metrics", "localhost").Body.String(); !strings.Contains(got, `kanta_calls_total{call="Count",code="ended_by_operator",door="kanta"} 1`) {
		t.Error("it is not counted as ended")
	}
}

// taint is what nobody but who sent it may be told: in a log it would be three records, two of
// them forged, and red.
const taint = "Anna Taint\r\ntime=now level=INFO msg=forged\n\x1b[31m"

// tainted fills all fields of a message.
func tainted(m protoreflect.Message, text string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		var v protoreflect.Value
		switch {
		case f.IsMap():
			continue
		case f.Kind() == protoreflect.StringKind:
			v = protoreflect.ValueOfString(text)
		case f.Kind() == protoreflect.BytesKind:
			v = protoreflect.ValueOfBytes([]byte(text))
		case f.Kind() == protoreflect.MessageKind && depth > 0 && f.Message().ParentFile().Package() == "kanta.v1":
			v = m.NewField(f)
			if f.IsList() {
				v = v.List().NewElement()
			}
			tainted(v.Message(), text, depth-1)
		default:
			continue
		}
		if f.IsList() {
			m.Mutable(f).List().Append(v)
		} else {
			m.Set(f, v)
		}
	}
}

// askTainted makes a call with a tainted message and reads the answer to its end.
func askTainted(t *testing.T, transport connect.Transport, method protoreflect.MethodDescriptor, req proto.Message) error {
	t.Helper()
	spec := connect.Spec{Procedure: "/kanta.v1.KantaService/" + string(method.Name()), Schema: method}
	if method.IsStreamingClient() {
		spec.StreamType |= connect.StreamTypeClient
	}
	if method.IsStreamingServer() {
		spec.StreamType |= connect.StreamTypeServer
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := transport.NewClientStream(ctx, spec)
	if err != nil {
		return err
	}
	sent := make(chan struct{})
	go func() { // the server may have something to say first
		defer close(sent)
		if stream.Send(req) == nil {
			_ = stream.CloseSend() // what is received says more
		}
	}()
	defer func() { <-sent }()
	defer cancel()
	for {
		if err := stream.Receive(dynamicpb.NewMessage(method.Output())); err != nil {
			return err
		}
	}
}

// TestNobodyIsNamed sends a tainted value in every field of every call, one by one, of which the log and the metrics
// say nothing; and of what is stored no error says anything.
func TestNobodyIsNamed(t *testing.T) {
	const stored = "Bertha Stored"
	db := openStore(t)
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "name", Kind: schema.String}})
	b.Upsert(stored).Set("name", schema.StringValue(stored))
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	log := &records{}
	s := limited(t, db, &Options{Log: slog.New(slog.NewTextHandler(log, nil)), Slow: time.Nanosecond}, func(l *limits) {
		l.longestLease = time.Millisecond // a purge waits for snapshots that hold what it removes
	})
	transport := connectinprocess.New(s.RPC())
	methods := pb.File_kanta_v1_kanta_proto.Services().ByName("KantaService").Methods()
	for i := range methods.Len() {
		method := methods.Get(i)
		for _, text := range []string{taint, "name == '" + taint + "'", `name == "Anna Taint" && n < 3`, "Anna Taint"} {
			req := dynamicpb.NewMessage(method.Input())
			tainted(req, text, 3)
			if err := askTainted(t, transport, method, req); strings.Contains(err.Error(), stored) {
				t.Errorf("%s: %v", method.Name(), err)
			}
			for j := range method.Input().Fields().Len() { // each field alone, with a question that runs in the others
				f := method.Input().Fields().Get(j)
				alone := dynamicpb.NewMessage(method.Input())
				if e := method.Input().Fields().ByName("expression"); e != nil && e != f {
					alone.Set(e, protoreflect.ValueOfString("true"))
				}
				if v := req.Get(f); req.Has(f) {
					alone.Set(f, v)
				}
				if err := askTainted(t, transport, method, alone); strings.Contains(err.Error(), stored) {
					t.Errorf("%s: %v", method.Name(), err)
				}
			}
		}
		s.watch.log.mu.Lock()
		s.watch.log.records = 0 // each call has its record
		s.watch.log.mu.Unlock()
	}
	panics := s.guard(func(context.Context, connect.Spec, connect.ServerStream) error { panic(taint) })
	if err := panics(t.Context(), connect.Spec{Procedure: "/kanta.v1.KantaService/Count"}, nil); err == nil || strings.Contains(err.Error(), "Taint") {
		t.Errorf("a panic is told as %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if !strings.Contains(text, "a slow call") || !strings.Contains(text, "a call failed") || !strings.Contains(text, "watch_test") && !strings.Contains(text, "TestNobodyIsNamed") {
		t.Errorf("the log lacks what was slow, failed, or panicked:\n%s", text)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "time=2") || strings.Contains(line, "Taint") || strings.Contains(line, "Stored") || strings.ContainsAny(line, "\r\x1b") {
			t.Errorf("a record %q", line)
		}
	}
	if got := admin(s, "/metrics", "localhost").Body.String(); strings.Contains(got, "Taint") || strings.Contains(got, "Stored") {
		t.Error("metrics tell it")
	}
}
