package server

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// TestGRPCJSON asks as others do: by gRPC, with messages as JSON.
func TestGRPCJSON(t *testing.T) {
	enginetest.Databases(t, func(t *testing.T, db *engine.DB) enginetest.Database {
		address := listen(t, limited(t, db, nil, nil)).Addr().String()
		return dial(t, "", &client.Options{Transport: overHTTP(t, address, connecthttp.WithGRPC(), connecthttp.WithProtoJSON())})
	})
}

// TestPanic has a panic in a handler, whose text is nobody's but the operator's.
func TestPanic(t *testing.T) {
	var mu sync.Mutex
	var failed []string
	o := &Options{
		Target: func(_ context.Context, name string) (query.BackupTarget, func() error, error) {
			if name == "error" {
				return nil, nil, errors.New("open /secret/place: denied")
			}
			panic("secret " + name)
		},
		Hooks: Hooks{Failed: func(call string, err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, call+": "+err.Error())
		}},
	}
	c := inProcess(t, limited(t, openStore(t), o, nil))
	for _, name := range []string{"panic", "error"} {
		err := c.BackupLedger(t.Context(), client.Target(name))
		if !isCode(err, query.CodeInternal) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Backup(t.Context(), client.Target("panic"), nil); !isCode(err, query.CodeInternal) {
		t.Errorf("a stream that panics: %v", err)
	}
	if len(failed) != 3 || !strings.Contains(failed[0], "BackupLedger: panic: secret panic") || !strings.Contains(failed[1], "/secret/place") {
		t.Errorf("the operator was told %q", failed)
	}
}

// TestBehind asks for positions that the store has not reached, or never had.
func TestBehind(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, func(l *limits) { l.behind = 50 * time.Millisecond })
	c := dial(t, "", &client.Options{Transport: connectinprocess.New(s.RPC()), Attempts: 1})
	info, err := c.Ping(t.Context())
	if err != nil || info.Store != db.ID() {
		t.Fatalf("%+v, %v", info, err)
	}
	next := info.Position
	next.Applied++
	c.See(next)
	var e *query.Error
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeUnavailable) || !errors.As(err, &e) || e.RetryAfter <= 0 {
		t.Errorf("a position that is not there: %v", err)
	}
	if _, err := c.Snapshot(t.Context()); !isCode(err, query.CodeUnavailable) {
		t.Errorf("a snapshot of a position that is not there: %v", err)
	}
	if _, err := db.Apply(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Count(t.Context(), "true", nil); err != nil || n.Position != next {
		t.Errorf("%+v, %v: now it is there", n, err)
	}
	c.See(query.Position{Epoch: next.Epoch + 1})
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeWrongEpoch) {
		t.Errorf("a position of another epoch: %v", err)
	}
	// Who waits is answered when it comes.
	s = limited(t, db, nil, func(l *limits) { l.behind = time.Minute })
	c = inProcess(t, s)
	next.Applied++
	c.See(next)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Count(context.Background(), "true", nil)
		answered <- err
	}()
	eventually(t, "the question is there", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls > 0 })
	if _, err := db.Apply(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// TestLeases opens as many snapshots as there may be and one more, renews one, and lets one end.
func TestLeases(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.leases = 3 })
	c := inProcess(t, s)
	for range 3 {
		n, err := c.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
	}
	if _, err := c.Snapshot(t.Context()); !isCode(err, query.CodeLimit) {
		t.Errorf("the fourth snapshot of three: %v", err)
	}
	s.leases.closeAll() // as at the end of the server: no more
	if _, err := c.Snapshot(t.Context()); !isCode(err, query.CodeLimit) {
		t.Errorf("a snapshot at the end: %v", err)
	}

	s = limited(t, openStore(t), nil, func(l *limits) { l.lease = 600 * time.Millisecond })
	c = inProcess(t, s)
	rpc := kantav1connect.NewKantaServiceClient(connect.NewClient(connectinprocess.New(s.RPC())))
	kept, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := rpc.OpenSnapshot(t.Context(), &pb.OpenSnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease that nobody renews ends", func() bool { _, err := s.leases.get(left.GetSnapshot(), s.register.Owner()); return err != nil })
	for began := time.Now(); time.Since(began) < 1300*time.Millisecond; {
		if _, err := kept.Count(t.Context(), "true", nil); err != nil {
			t.Fatalf("the lease that is renewed: %v", err)
		}
	}
	if _, err := rpc.RenewSnapshot(t.Context(), &pb.RenewSnapshotRequest{Snapshot: left.GetSnapshot()}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a lease that has ended is renewed: %v", err)
	}
	_ = kept.Close()
	if len(s.leases.open) != 0 {
		t.Errorf("%d snapshots are left", len(s.leases.open))
	}
}

// TestRequestLimits sends messages as large as they may be, and one byte more.
func TestRequestLimits(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.requestBytes, l.keys = 1000, 2 })
	address := listen(t, s).Addr().String()
	c := dial(t, "kanta://"+address, nil)
	overHTTP := dial(t, "", &client.Options{Transport: overHTTP(t, address)})
	message := func(size int) []byte {
		b := make([]byte, size)
		return b[:len(b)-(proto.Size(&pb.DryRunRequest{Batch: b})-size)]
	}
	for _, c := range []*client.Client{c, overHTTP} {
		if _, err := c.DryRun(t.Context(), message(1000)); !isCode(err, query.CodeCorrupt) {
			t.Errorf("a message of 1000 bytes: %v", err)
		}
		if _, err := c.DryRun(t.Context(), message(1001)); !isCode(err, query.CodeLimit) {
			t.Errorf("a message of 1001 bytes: %v", err)
		}
	}
	if _, err := c.Erase(t.Context(), "", "a", "b"); err != nil {
		t.Errorf("two people: %v", err)
	}
	if _, err := c.Erase(t.Context(), "", "a", "b", "c"); !isCode(err, query.CodeLimit) {
		t.Errorf("three people: %v", err)
	}
}

// TestHealthAndReflection asks as tools do that know nothing of the service, by gRPC.
func TestHealthAndReflection(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, nil)
	c := connect.NewClient(overHTTP(t, listen(t, s).Addr().String(), connecthttp.WithGRPC()))
	file, err := describe(healthText)
	if err != nil {
		t.Fatal(err)
	}
	check := file.Services().Get(0).Methods().Get(0)
	ask := func(service string) (protoreflect.EnumNumber, error) {
		req, res := dynamicpb.NewMessage(check.Input()), dynamicpb.NewMessage(check.Output())
		req.Set(check.Input().Fields().Get(0), protoreflect.ValueOfString(service))
		err := c.CallUnary(t.Context(), connect.Spec{Schema: check, Procedure: "/grpc.health.v1.Health/Check"}, req, res)
		return res.Get(check.Output().Fields().Get(0)).Enum(), err
	}
	for _, name := range []string{"", kantav1connect.KantaServiceName} {
		if status, err := ask(name); err != nil || status != healthServing {
			t.Errorf("the health of %q is %d, %v", name, status, err)
		}
	}
	if _, err := ask("another"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("the health of another service: %v", err)
	}
	for _, version := range []string{"v1", "v1alpha"} {
		testReflection(t, c, version)
	}
	_ = db.Close()
	if status, err := ask(""); err != nil || status != healthNotServing {
		t.Errorf("the health without a store is %d, %v", status, err)
	}
}

func testReflection(t *testing.T, c *connect.Client, version string) {
	file, err := describe(strings.ReplaceAll(reflectionText, "%[1]s", version))
	if err != nil {
		t.Fatal(err)
	}
	m := file.Services().Get(0).Methods().Get(0)
	stream, err := c.CallClientStream(t.Context(), connect.Spec{StreamType: connect.StreamTypeBidi, Schema: m, Procedure: "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for _, test := range []struct{ field, text, want string }{
		{"list_services", "", "kanta.v1.KantaService"}, {"file_containing_symbol", "kanta.v1.KantaService.Count", "kanta/v1/types.proto"},
		{"file_containing_symbol", "kanta.v1.KantaService", "google/protobuf/timestamp.proto"}, {"file_by_filename", "kanta/v1/kanta.proto", "KantaService"},
		{"file_containing_symbol", "grpc.health.v1.Health", "SERVICE_UNKNOWN"}, {"file_by_filename", "/etc/passwd", "there is no"}, {"file_by_filename", "google/protobuf/struct.proto", "there is no"},
	} {
		req, res := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		req.Set(m.Input().Fields().ByName(protoreflect.Name(test.field)), protoreflect.ValueOfString(test.text))
		if err := errors.Join(stream.Send(req), stream.Receive(res)); err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(res)
		if err != nil || !strings.Contains(string(raw), test.want) {
			t.Errorf("%s %s: %q is not in the answer (%v)", test.field, test.text, test.want, err)
		}
	}
}

// TestConnections opens as many connections as there may be: another one is answered when one of
// them has ended.
func TestConnections(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.connections = 2 })
	address := listen(t, s).Addr().String()
	first := dial(t, "kanta://"+address, nil)
	dial(t, "kanta://"+address, nil)
	opened := make(chan error, 1)
	go func() {
		third, err := client.Open(context.Background(), "kanta://"+address, nil)
		if err == nil {
			err = third.Close()
		}
		opened <- err
	}()
	if _, err := first.Count(t.Context(), "true", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		t.Fatalf("the third connection of two is answered: %v", err)
	default:
	}
	_ = first.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
