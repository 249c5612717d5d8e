package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/audit"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/wire"
)

// marker stands in keys, values and expressions, and may stand nowhere else.
const marker = "mArKeR"

// recordedServer is a server with an audit on a disk that fails on demand.
type recordedServer struct {
	s       *Server
	db      *engine.DB
	disk    *enginetest.Disk
	audit   *audit.Store
	calls   map[string]protoreflect.MethodDescriptor
	specs   map[string]connect.Spec
	doors   map[string]*connect.Client
	address string
}

func record(t *testing.T) *recordedServer {
	t.Helper()
	r := &recordedServer{db: openStore(t), disk: enginetest.NewDisk(), calls: map[string]protoreflect.MethodDescriptor{}, specs: map[string]connect.Spec{}}
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "email", Kind: schema.String}})
	b.Upsert(marker+"-ann").Set("email", schema.StringValue(marker+"@x"))
	if _, err := r.db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.audit, err = audit.Open("audit", &audit.Options{FS: r.disk}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.audit.Close() })                                                       // some tests have it fail
	s := limited(t, r.db, &Options{Audit: r.audit}, func(l *limits) { l.lease = time.Millisecond }) // a purge waits for them
	r.s = s
	for spec := range s.RPC().Specs() {
		m, ok := spec.Schema.(protoreflect.MethodDescriptor)
		if ok && m.Parent().FullName() == "kanta.v1.KantaService" {
			r.calls[string(m.Name())], r.specs[string(m.Name())] = m, spec
		}
	}
	r.address = listen(t, s).Addr().String()
	address := r.address
	w, err := wire.Dial(t.Context(), "tcp", address, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	r.doors = map[string]*connect.Client{"wire": connect.NewClient(w), "JSON": connect.NewClient(overHTTP(t, address, connecthttp.WithProtoJSON())),
		"gRPC": connect.NewClient(overHTTP(t, address, connecthttp.WithGRPC()))}
	return r
}

// requests are good ones of the calls whose empty one is none.
func requests(t *testing.T) map[string]proto.Message {
	key, expression := marker+"-ann", `email == "`+marker+`@x" || n > 7`
	b := batch.New()
	b.Upsert(marker+"-bob").Set("email", schema.StringValue(marker+"@y"))
	b.ListAdd("staff", marker+"-bob")
	write := encode(t, b)
	who := &pb.ListingOptions{Attributes: []string{"n", "email"}}
	return map[string]proto.Message{
		"Count": &pb.CountRequest{Expression: expression}, "Members": &pb.MembersRequest{Expression: expression, Listing: who},
		"Bitmap": &pb.BitmapRequest{Expression: expression}, "Breakdown": &pb.BreakdownRequest{Expression: expression, Attribute: "n"},
		"AnalysisMembers": &pb.AnalysisMembersRequest{Analysis: "funnel", Who: expression, Listing: who},
		"Profile":         &pb.ProfileRequest{Key: key}, "Timeline": &pb.TimelineRequest{Key: key}, "Why": &pb.WhyRequest{Key: key, Expression: expression},
		"Export": &pb.ExportRequest{Key: key}, "Apply": &pb.ApplyRequest{Batch: write}, "DryRun": &pb.DryRunRequest{Batch: write}, "Ingest": &pb.IngestRequest{Batch: write},
		"Erase": &pb.EraseRequest{Keys: []string{marker + "-cia"}, Reference: marker}, "Readmit": &pb.ReadmitRequest{Keys: []string{marker + "-cia"}},
		"Audit": &pb.AuditRequest{Key: key},
	}
}

// request returns a request of a call: the good one, or an empty one.
func (r *recordedServer) request(t *testing.T, name string) proto.Message {
	if m := requests(t)[name]; m != nil {
		return m
	}
	return dynamicpb.NewMessage(r.calls[name].Input())
}

// call makes a call, calls got for each message of its answer and returns its error.
func (r *recordedServer) call(ctx context.Context, door, name string, req proto.Message, got func()) error {
	stream, err := r.doors[door].CallClientStream(ctx, r.specs[name])
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := errors.Join(stream.Send(req), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for {
		out := dynamicpb.NewMessage(r.calls[name].Output())
		if err := stream.Receive(out); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			err, _ = message.FromTransport(ctx, err)
			return err
		}
		got()
		if r.specs[name].StreamType == connect.StreamTypeUnary {
			return nil
		}
	}
}

// records returns the records behind one.
func (r *recordedServer) records(t *testing.T, after uint64) []audit.Record {
	t.Helper()
	list, err := r.audit.List(t.Context(), nil, after, 0)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestRecords makes every call of the table through every door: those of its column for the audit have
// exactly one record, the others none.
func TestRecords(t *testing.T) {
	r := record(t)
	for door := range r.doors {
		for name, rule := range access.Calls {
			if r.calls[name].Input() == nil {
				t.Errorf("%s is no call of the service", name)
				continue
			}
			before := r.audit.Head().Number
			err := r.call(t.Context(), door, name, r.request(t, name), func() {})
			list := r.records(t, before)
			want := 0
			if rule.Audit != access.None {
				want = 1
			}
			if len(list) != want {
				t.Errorf("%s by %s (%v): %d records, want %d", name, door, err, len(list), want)
				continue
			}
			if want == 0 {
				continue
			}
			rec := list[0]
			outcome := audit.Asked
			if rule.Audit == access.Personal {
				if outcome = audit.Done; err != nil {
					outcome = audit.Failed
				}
			}
			if rec.Call != name || rec.Outcome != outcome || rec.Who.Address != "127.0.0.1" || rec.Position == (query.Position{}) {
				t.Errorf("%s by %s (%v): %+v", name, door, err, rec)
			}
		}
	}
	if _, err := r.audit.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// TestRecordSays looks at what the records of some calls say.
func TestRecordSays(t *testing.T) {
	r := record(t)
	ann, bob := r.audit.Hash(marker+"-ann"), r.audit.Hash(marker+"-bob")
	x := "#" + r.audit.Hash(marker+"@x").String()
	shape := "email == " + x + " || n > #" + r.audit.Hash("7").String()
	for _, c := range []struct {
		name string
		want string
	}{
		{"Members", "done " + shape + " [email n] [] 1 1.2"},
		{"Bitmap", "done " + shape + " [email] [] 1 1.2"},
		{"Profile", fmt.Sprintf("done  [] [%v] 1 1.2", ann)},
		{"Why", fmt.Sprintf("done %s [email] [%v] 1 1.2", shape, ann)},
		{"Apply", fmt.Sprintf("asked upsert 1, list add 1 [email staff] [%v] 2 1.2", bob)},
		{"Erase", fmt.Sprintf("asked  [] [%v] 1 1.3", r.audit.Hash(marker+"-cia"))},
	} {
		before := r.audit.Head().Number
		if err := r.call(t.Context(), "wire", c.name, r.request(t, c.name), func() {}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		list := r.records(t, before)
		if len(list) != 1 {
			t.Fatalf("%s: %d records", c.name, len(list))
		}
		rec := list[0]
		if got := fmt.Sprint(rec.Outcome, " ", rec.What, " ", rec.Names, " ", rec.Keys, " ", rec.Count, " ", rec.Position); got != c.want {
			t.Errorf("%s:\nis   %s\nwant %s", c.name, got, c.want)
		}
	}
	// A question that fails is recorded, and what is not known in it hashed.
	err := r.call(t.Context(), "wire", "Members", &pb.MembersRequest{Expression: marker + ` == 1 && in_list("` + marker + `")`}, func() {})
	list := r.records(t, 0)
	if last := list[len(list)-1]; !isCode(err, query.CodeUnknownName) || last.Outcome != audit.Failed || last.Code != query.CodeUnknownName || !strings.HasPrefix(last.What, "? == #") {
		t.Errorf("a question with an unknown name: %v, %+v", err, last)
	}
}

// TestRecordFirst stops the disk at the sync of each record: until it goes on a change is not made, and of
// personal data no byte is told.
func TestRecordFirst(t *testing.T) {
	r := record(t)
	for name, rule := range access.Calls {
		if rule.Audit == access.None {
			continue
		}
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		r.disk.Before(func(op enginetest.DiskOp) error {
			if op.Kind == "sync" {
				once.Do(func() {
					close(reached)
					<-goOn
				})
			}
			return nil
		})
		before, err := r.db.Digests(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var told atomic.Int64
		ended := make(chan error, 1)
		go func() {
			ended <- r.call(context.Background(), "wire", name, r.request(t, name), func() { told.Add(1) })
		}()
		<-reached
		during, err := r.db.Digests(t.Context())
		if err != nil || during != before {
			t.Errorf("%s is done before it is recorded: %+v, then %+v (%v)", name, before, during, err)
		}
		select {
		case err := <-ended:
			t.Errorf("%s has ended before it is recorded: %v", name, err)
			ended <- err
		default:
		}
		if n := told.Load(); n > 0 && name != "Ingest" { // which says first how much may be sent
			t.Errorf("%s has told %d messages before it is recorded", name, n)
		}
		close(goOn)
		<-ended
		r.disk.Before(nil)
	}
}

// TestRecordFails has an audit that cannot be written: what must be recorded is refused, by every door, and
// nothing is changed or told; the rest is as ever.
func TestRecordFails(t *testing.T) {
	r := record(t)
	fault := &enginetest.DiskFault{Kinds: []enginetest.DiskKind{"write"}, Nth: 1, Forever: true, Err: syscall.EIO}
	r.disk.Before(fault.Before)
	before, err := r.db.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for door := range r.doors {
		for name, rule := range access.Calls {
			told := 0
			err := r.call(t.Context(), door, name, r.request(t, name), func() { told++ })
			if name == "Ingest" {
				told-- // how much may be sent
			}
			refused := isCode(err, query.CodeUnavailable) && strings.Contains(err.Error(), "recorded")
			if want := rule.Audit != access.None; refused != want || want && told > 0 {
				t.Errorf("%s by %s: %v, and %d messages", name, door, err, told)
			}
		}
	}
	after, err := r.db.Digests(t.Context())
	if err != nil || after != before {
		t.Errorf("something was changed: %+v, then %+v (%v)", before, after, err)
	}
}

// TestRecordIngest streams batches: each has a record before it is applied, in their order.
func TestRecordIngest(t *testing.T) {
	r := record(t)
	stream, err := r.doors["wire"].CallClientStream(t.Context(), r.specs["Ingest"])
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	const batches = 60
	sent := make(chan error, 1)
	go func() {
		for i := range batches {
			if err := stream.Send(&pb.IngestRequest{Batch: increment(t, fmt.Sprint("p", i), uint64(i+1))}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	results := 0
	for {
		var m pb.IngestResponse
		if err := stream.Receive(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m.GetResult() != nil {
			results++
		}
	}
	if err := <-sent; err != nil || results != batches {
		t.Errorf("%d results: %v", results, err)
	}
	list := r.records(t, 0)
	if len(list) != batches {
		t.Fatalf("%d records", len(list))
	}
	for i, rec := range list {
		if rec.Call != "Ingest" || len(rec.Keys) != 1 || rec.Keys[0] != r.audit.Hash(fmt.Sprint("p", i)) {
			t.Errorf("record %d: %+v", i+1, rec)
		}
	}
	valueOf(t, r.db, "p7", 1)
}

// fill puts the marker into every text and all bytes of a message.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		one := func() (v protoreflect.Value, ok bool) {
			switch f.Kind() {
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(marker), true
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes([]byte(marker)), true
			}
			return v, false
		}
		switch {
		case f.IsMap():
		case f.IsList():
			if v, ok := one(); ok {
				m.Mutable(f).List().Append(v)
			}
		case f.Message() != nil:
			if depth > 0 && f.Message().ParentFile().Package() == "kanta.v1" && f.Name() != "question" {
				fill(m.Mutable(f).Message(), depth-1)
			}
		default:
			if v, ok := one(); ok {
				m.Set(f, v)
			}
		}
	}
}

// namesOnly are requests whose texts are names that an administrator gives, which are recorded as they are.
//
//tidy:constant
var namesOnly = map[string]bool{"CreateKey": true, "RevokeKey": true, "SaveRole": true, "DropRole": true, "ClusterJoin": true, "ClusterRemove": true, "ClusterTransfer": true}

// TestTainted makes every call with a marker in keys, values, expressions and all texts of requests: it is in no byte of
// the audit's directory.
func TestTainted(t *testing.T) {
	r := record(t)
	for name := range access.Calls {
		tainted := dynamicpb.NewMessage(r.calls[name].Input())
		if !namesOnly[name] {
			fill(tainted, 3)
		}
		for _, m := range []proto.Message{r.request(t, name), tainted} {
			_ = r.call(t.Context(), "wire", name, m, func() {}) // most are errors
		}
	}
	for _, expression := range []string{marker, marker + `.count() > 1`, `p["` + marker + `"] == 1`, "n == 1 // " + marker, `"` + marker, "`" + marker + "`", `in_segment("` + marker + `")`} {
		_ = r.call(t.Context(), "wire", "Members", &pb.MembersRequest{Expression: expression}, func() {})
	}
	b := batch.New()
	b.Quarantine(marker, batch.BadRow{Reason: batch.ReasonEncoding, Detail: marker, Raw: marker})
	b.Upsert(marker).Set(marker, schema.StringValue(marker))
	_ = r.call(t.Context(), "wire", "Apply", &pb.ApplyRequest{Batch: encode(t, b)}, func() {})
	if n := r.audit.Head().Number; n < 20 {
		t.Errorf("only %d records", n)
	}
	names, err := r.disk.List("audit")
	if err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for _, name := range names {
		text := strings.ToLower(readAll(t, r.disk, "audit/"+name))
		if bytes += len(text); strings.Contains(text, strings.ToLower(marker)) {
			t.Errorf("%s has the marker in it", name)
		}
	}
	if bytes < 2000 {
		t.Errorf("only %d bytes", bytes)
	}
}

func readAll(t *testing.T, files vfs.FS, path string) string {
	t.Helper()
	f, err := files.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDenied: of the calls that a caller may not make so many are recorded in a second, and the rest counted.
func TestDenied(t *testing.T) {
	r := newRecorder(limited(t, openStore(t), nil, nil))
	began := time.Unix(1_000_000, 0)
	for i := range deniedEach + 3 {
		if skipped, write := r.deny("k1", began); write != (i < deniedEach) || skipped != 0 {
			t.Errorf("call %d in a second: %v, %d", i+1, write, skipped)
		}
	}
	if _, write := r.deny("k2", began); !write {
		t.Error("another caller is not recorded")
	}
	if skipped, write := r.deny("k1", began.Add(1e9)); !write || skipped != 3 {
		t.Errorf("the next one: %v, %d", write, skipped)
	}
	for i := range 2 * deniedCallers {
		r.deny(fmt.Sprint(i), began)
	}
	if len(r.denied) > deniedCallers {
		t.Errorf("%d callers are remembered", len(r.denied))
	}
}

// TestRecordFiles: what comes through the doors for files is recorded as the calls behind them.
func TestRecordFiles(t *testing.T) {
	r := record(t)
	get := func(path string) {
		t.Helper()
		res, err := http.Get("http://" + r.address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s %v", path, res.Status, body, err)
		}
	}
	get("/v1/members?expression=true&attributes=n")
	get("/v1/timeline?key=" + marker + "-ann")
	res, err := http.Post("http://"+r.address+"/v1/profiles?key=id&unknown=ignore", "text/csv", strings.NewReader("id,n\n"+marker+"-eve,1\n"+marker+"-fay,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	list := r.records(t, 0)
	var got []string
	for _, rec := range list {
		got = append(got, fmt.Sprint(rec.Call, " ", rec.Outcome, " ", rec.Count, " ", rec.Who.Address))
	}
	if want := "Members done 1 127.0.0.1, Timeline done 1 127.0.0.1, Ingest asked 2 127.0.0.1"; strings.Join(got, ", ") != want {
		t.Errorf("%s: recorded %s\nwant %s", res.Status, strings.Join(got, ", "), want)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestOpWords: every op that somebody may write has a word in records.
func TestOpWords(t *testing.T) {
	for code := range access.Ops {
		if ops[code] == "" && code != batch.OpOrigin {
			t.Errorf("op %d has no word", code)
		}
	}
	b := batch.New()
	b.ShareSegment("plain")
	b.PutDocument("role/a", nil)
	b.DropDocument("role/b")
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d := &description{Record: new(audit.Record), known: map[string]bool{"role/a": true, "role/b": true}}
	if d.batch(raw); d.What != "segment share 1, document put 1, document drop 1" || !slices.Equal(d.Names, []string{"plain", "role/a", "role/b"}) {
		t.Errorf("%s of %q", d.What, d.Names)
	}
}

// TestRecordDenied: a call that a caller with a key may not make is recorded, and one of nobody known is not.
func TestRecordDenied(t *testing.T) {
	r := record(t)
	who := map[string]string{"reader": key(t, r.s, "reader"), "nobody": "kanta_MFRGGZDFMZTWQ2LK_GAYTEMZUGU3DOOBZMFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3A"}
	for name, text := range who {
		w, err := wire.Dial(t.Context(), "tcp", r.address, nil, &wire.Options{Credentials: []byte(text)})
		if err == nil {
			t.Cleanup(func() { _ = w.Close() })
			r.doors[name] = connect.NewClient(w)
			err = r.call(t.Context(), name, "Erase", r.request(t, "Erase"), func() {})
		}
		list := r.records(t, 0)
		if name == "nobody" {
			if err == nil || len(list) > 0 && list[len(list)-1].Who.Role != "reader" {
				t.Errorf("of nobody known (%v): %+v", err, list)
			}
			continue
		}
		if !isCode(err, query.CodeDenied) || len(list) != 1 {
			t.Fatalf("%v, and %d records", err, len(list))
		}
		if rec := list[0]; rec.Outcome != audit.Denied || rec.Call != "Erase" || rec.Code != query.CodeDenied || rec.Who.Role != "reader" || rec.Who.Name != "reader" || !strings.HasPrefix(rec.Who.ID, "key ") {
			t.Errorf("%+v", rec)
		}
	}
	before := r.audit.Head().Number
	_ = r.call(t.Context(), "reader", "Ingest", r.request(t, "Ingest"), func() {}) // the error is in the answer
	list := r.records(t, before)
	if len(list) != 2 || list[0].Outcome != audit.Asked || list[1].Outcome != audit.Denied || list[1].What != "upsert 1, list add 1" {
		t.Errorf("a batch of a reader: %+v", list)
	}
}

// TestRemovingRecorded has the cluster remove a member by itself: that is recorded, and else not to be done.
func TestRemovingRecorded(t *testing.T) {
	r := record(t)
	before := r.audit.Head().Number
	removal := query.ClusterRemoval{ID: "n3", Silent: 25 * time.Hour}
	if err := r.s.RemovingMember(t.Context(), removal); err != nil {
		t.Fatal(err)
	}
	list := r.records(t, before)
	if len(list) != 1 || list[0].Call != "ClusterRemove" || list[0].Outcome != audit.Asked || !slices.Equal(list[0].Names, []string{"n3"}) || !strings.Contains(list[0].What, "25h") || list[0].Who.ID != "" {
		t.Errorf("recorded is %+v", list)
	}
	if err := r.audit.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.s.RemovingMember(t.Context(), removal); err == nil {
		t.Error("it is removed though nobody can record it")
	}
}
