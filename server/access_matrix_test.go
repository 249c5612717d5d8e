package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
	"github.com/kantadb/kanta/server/wire"
)

// testTime is a clock that is set by hand.
type testTime struct{ passed atomic.Int64 }

func (c *testTime) now() time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}

func (c *testTime) pass(d time.Duration) { c.passed.Add(int64(d)) }

// italyRole is a role of somebody's own: people of one country, without what is personal.
const italyRole = "rights = [\"numbers\", \"lists\", \"person\"]\nrows = 'country == \"IT\"'\npii = \"hidden\"\n" +
	"[[rule]]\nsegment = \"secret\"\naccess = \"hidden\"\n[[rule]]\nlist = \"friends\"\naccess = \"hidden\"\n[[rule]]\nattribute = \"phone\"\naccess = \"masked\"\n"

// callersStore is a store with forty people in two countries, e-mail addresses that are personal,
// segments and lists; and a server of it with a clock of its own.
func callersStore(t *testing.T) (*engine.DB, *Server, *testTime) {
	t.Helper()
	db, err := engine.Open("", &engine.Options{PurgeAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := batch.New()
	for _, a := range []schema.Attribute{{Name: "country", Kind: schema.String}, {Name: "n", Kind: schema.Int}, {Name: "phone", Kind: schema.String, Storage: schema.StorageInline},
		{Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true, Unique: true}} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
	for i := range 40 {
		country := "IT"
		if i%2 == 1 {
			country = "FI"
		}
		b.Upsert(fmt.Sprintf("p%02d", i)).Set("country", schema.StringValue(country)).Set("n", schema.IntValue(int64(i))).
			Set("phone", schema.StringValue(fmt.Sprint("+39 ", i))).Set("email", schema.StringValue(fmt.Sprintf("p%02d@example.com", i)))
	}
	b.SaveSegment("plain", `n < 30`)
	b.SaveSegment("secret", `n > 3`)
	b.SaveSegment("mail", `has(p.email)`)
	b.SaveSegment("lent", `has(p.email)`)
	b.ShareSegment("lent")
	b.SaveSegment("through", `in_segment("plain") && has(p.email)`)
	b.ListPut("friends", "p00", "p01")
	b.ListPut("others", "p02", "p03")
	if r, err := db.Apply(t.Context(), encode(t, b)); err != nil || r.Accepted == 0 {
		t.Fatal(r, err)
	}
	clock := &testTime{}
	s := limited(t, db, nil, func(l *limits) { l.clock = clock.now })
	if _, err := s.register.SaveRole(t.Context(), "italy", italyRole); err != nil {
		t.Fatal(err)
	}
	return db, s, clock
}

// key makes a key of a role that never ends.
func key(t *testing.T, s *Server, role string) string {
	t.Helper()
	_, text, err := s.register.CreateKey(t.Context(), role, role, time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// bearing adds a key to requests of HTTP.
type bearing struct {
	next http.RoundTripper
	key  string
}

// RoundTrip implements [http.RoundTripper].
func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.next.RoundTrip(r)
}

// doors are the transports to an address, for who shows a key.
func doors(t *testing.T, address, key string) map[string]connect.Transport {
	t.Helper()
	w, err := wire.Dial(t.Context(), "tcp", address, nil, &wire.Options{Credentials: []byte(key)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return map[string]connect.Transport{"wire": w, "HTTP": withKeyOverHTTP(t, address, key)}
}

// caller makes any call.
type caller struct {
	specs map[string]connect.Spec
	rpc   *connect.Client
}

// call makes a call and reads its answers to the end.
func (c *caller) call(ctx context.Context, name string, req proto.Message) error {
	spec := c.specs[name]
	method, ok := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok {
		return fmt.Errorf("no method %s", name)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return err
	}
	answer := func() proto.Message { return kind.New().Interface() }
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch spec.StreamType {
	case connect.StreamTypeUnary:
		return told(ctx, c.rpc.CallUnary(ctx, spec, req, answer()))
	case connect.StreamTypeServer:
		stream, err := c.rpc.CallServerStream(ctx, spec, req)
		if err != nil {
			return told(ctx, err)
		}
		defer stream.Close()
		for {
			if err := stream.Receive(answer()); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return told(ctx, err)
			}
		}
	}
	stream, err := c.rpc.CallClientStream(ctx, spec)
	if err != nil {
		return told(ctx, err)
	}
	defer stream.Close()
	_ = stream.Send(req) // what is wrong is said when it is received
	_ = stream.CloseSend()
	for {
		out := answer()
		if err := stream.Receive(out); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return told(ctx, err)
		}
		if in, ok := out.(*pb.IngestResponse); ok && in.GetError() != nil {
			return message.Error(in.GetError())
		}
	}
}

// told is the error of a call as the client makes it.
func told(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	err, _ = message.FromTransport(ctx, err)
	return err
}

// refusedByRole reports whether it is the role that does not allow a call: not a policy its answer.
func refusedByRole(err error) bool {
	return isCode(err, query.CodeDenied) && (strings.Contains(err.Error(), "does not have the right") || strings.Contains(err.Error(), "for roles that see everything"))
}

// TestMatrix makes every call, about objects that are the caller's and others', with every role
// and every state of a key, over each door. Which are refused is known from the table alone, and
// those change nothing.
func TestMatrix(t *testing.T) {
	db, s, clock := callersStore(t)
	all := samples(t)
	for name := range access.Calls {
		if len(all[name]) == 0 && !strings.Contains(name, " ") { // doors for files have a test of their own
			t.Errorf("the call %s has no sample", name)
		}
	}
	for code := batch.OpCode(1); code <= batch.OpSegmentShare; code++ {
		_, inTable := access.Ops[code]
		if _, ok := opSamples(t)[code]; ok != inTable || !inTable && !(code >= 13 && code <= 19) { // those are reserved
			t.Errorf("op %d: in the table %v, a sample %v", code, inTable, ok)
		}
	}
	specs := map[string]connect.Spec{}
	for spec := range s.rpc.Specs() {
		if name, ok := strings.CutPrefix(spec.Procedure, "/"+kantav1connect.KantaServiceName+"/"); ok {
			specs[name] = spec
		}
	}
	address := listen(t, s).Addr().String()
	held, err := dial(t, "kanta://"+address, &client.Options{Key: key(t, s, "admin")}).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for name := range s.leases.open {
		setLease(all, name)
	}
	roles, err := s.register.Roles(t.Context())
	if err != nil || len(roles) != 7 {
		t.Fatal(roles, err)
	}
	m := &matrix{t: t, db: db, clock: clock, samples: all, specs: specs}
	for _, role := range roles {
		for state, text := range keysOf(t, s, clock, role.Name) {
			for door, transport := range doors(t, address, text) {
				m.row(role, state, door, connect.NewClient(transport))
			}
		}
	}
	if _, err := held.Count(t.Context(), "true", nil); err != nil {
		t.Errorf("the snapshot that others tried to close: %v", err)
	}
	t.Logf("%d cells, of which %d are refused", m.cells, m.refused)
}

// keysOf returns a key of a role in each state.
func keysOf(t *testing.T, s *Server, clock *testTime, role string) map[string]string {
	t.Helper()
	_, expired, err := s.register.CreateKey(t.Context(), role, role, clock.now().Add(time.Second), "")
	if err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Second)
	k, revoked, err := s.register.CreateKey(t.Context(), role, role, time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.register.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	valid := key(t, s, role)
	other := "B"
	if at := len(valid) - 20; valid[at:at+1] == other {
		other = "C"
	}
	return map[string]string{"valid": valid, "expired": expired, "revoked": revoked, "unknown": valid[:len(valid)-20] + other + valid[len(valid)-19:], "none": ""}
}

func setLease(all map[string][]sample, name string) {
	for _, list := range all {
		for _, one := range list {
			switch req := one.req.(type) {
			case *pb.RenewSnapshotRequest:
				if req.GetSnapshot() == foreignLease {
					req.Snapshot = name
				}
			case *pb.CloseSnapshotRequest:
				if req.GetSnapshot() == foreignLease {
					req.Snapshot = name
				}
			case *pb.CountRequest:
				if req.GetQuestion().GetSnapshot() == foreignLease {
					req.Question.Snapshot = name
				}
			}
		}
	}
}

// matrix makes calls and compares with the table.
type matrix struct {
	t       *testing.T
	db      *engine.DB
	clock   *testTime
	samples map[string][]sample
	specs   map[string]connect.Spec

	cells, refused int
}

// row makes all calls of one caller over one door.
func (m *matrix) row(role *access.Role, state, door string, rpc *connect.Client) {
	ctx, c := m.t.Context(), &caller{m.specs, rpc}
	before, err := m.db.Digests(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	var allowed []func()
	for _, name := range slices.Sorted(maps.Keys(m.samples)) {
		outcomes := map[string]error{}
		for _, one := range m.samples[name] {
			cell := fmt.Sprintf("%s, %s key of %s, %s %s", door, state, role.Name, name, strings.TrimSpace(one.about+" "+one.object))
			m.cells++
			want := access.Calls[name].Needs | one.needs
			make := func(ctx context.Context) error {
				m.clock.pass(time.Minute / 50) // so that neither wrong keys nor questions are too many
				return c.call(ctx, name, one.req)
			}
			switch {
			case state != "valid":
				m.refused++
				if err := make(ctx); !isCode(err, query.CodeUnauthenticated) || !strings.HasPrefix(err.Error(), "the server does not know the caller") {
					m.t.Errorf("%s: %v", cell, err)
				}
			case want&^role.Rights != 0:
				m.refused++
				if err := make(ctx); !refusedByRole(err) {
					m.t.Errorf("%s: %v", cell, err)
				}
			default:
				allowed = append(allowed, func() {
					ctx := ctx
					if name == "Purge" { // it would wait for the snapshot that somebody holds
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
						defer cancel()
					}
					err := make(ctx)
					if isCode(err, query.CodeUnauthenticated) || refusedByRole(err) || isCode(err, query.CodeInternal) {
						m.t.Errorf("%s: %v", cell, err)
					}
					m.compare(cell, role, one, outcomes, err)
				})
			}
		}
	}
	after, err := m.db.Digests(ctx)
	if err != nil || after != before {
		m.t.Errorf("%s, %s key of %s: calls that are refused leave %+v, %v, not %+v", door, state, role.Name, after, err, before)
	}
	for _, do := range allowed {
		do()
	}
}

// compare wants of what is not there for the role italy the answer that there is of what is not
// there at all, and of what is its own another one.
func (m *matrix) compare(cell string, role *access.Role, one sample, outcomes map[string]error, err error) {
	if role.Name != "italy" && one.about != "snapshot" {
		return
	}
	if outcomes[one.about+one.object] = err; one.object == "own" && err != nil && !isCode(err, query.CodeDenied) {
		m.t.Errorf("%s: %v", cell, err)
	}
	if foreign := outcomes[one.about+"foreign"]; one.object == "unknown" && withoutNames(foreign) != withoutNames(err) {
		m.t.Errorf("%s:\n%v, but of what is others'\n%v", cell, err, foreign)
	}
}

// withoutNames is an error without the names of samples.
func withoutNames(err error) string {
	return strings.NewReplacer("p03", "X", "nobody", "X", "secret", "X", "nothing", "X", "email", "X", "phone", "X", "mail", "X", "friends", "X").Replace(fmt.Sprint(err))
}
