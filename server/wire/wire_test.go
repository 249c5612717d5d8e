package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What a test has started has ended when it has.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// question is a call of the tests' service, drawn at random.
type question struct {
	spec     connect.Spec
	messages []proto.Message
	headers  map[string]string
}

func drawQuestion(r *mathrand.Rand, largest int) question {
	body := func() []byte {
		b := make([]byte, r.IntN(1<<r.IntN(largest)))
		if r.IntN(2) == 0 { // what cannot be packed
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		}
		return b
	}
	q := question{headers: map[string]string{}}
	for range r.IntN(3) {
		q.headers[fmt.Sprintf("T-%c", 'A'+r.IntN(3))] = strings.Repeat("v", r.IntN(20))
	}
	if r.IntN(3) == 0 {
		q.headers["Fail-At"] = fmt.Sprint(r.IntN(4))
	}
	some := func(n int) {
		for range n {
			q.messages = append(q.messages, wrapperspb.Bytes(body()))
		}
	}
	switch r.IntN(6) {
	case 0:
		q.spec = echoSpec
		some(1)
	case 1:
		q.spec = failSpec
		texts := []string{"way", "plain", "deadline", "remote", "after", strings.Repeat("long ", 100)}
		q.messages = []proto.Message{wrapperspb.String(texts[r.IntN(len(texts))])}
	case 2:
		q.spec = sumSpec
		some(r.IntN(6))
	case 3:
		q.spec = repeatSpec
		some(1)
	case 4:
		q.spec = chatSpec
		some(r.IntN(6))
	case 5:
		q.spec = absentSpec
		some(1)
	}
	return q
}

// answer is all that a caller sees of a call.
func (q *question) answer(ctx context.Context, client *connect.Client) string {
	ctx, info := connect.NewClientContext(ctx)
	for k, v := range q.headers {
		info.RequestHeader().Set(k, v)
	}
	var got []string
	var err error
	if q.spec.StreamType == connect.StreamTypeUnary {
		got, err = q.unary(ctx, client)
	} else {
		got, err = q.stream(ctx, client)
	}
	text := fmt.Sprintf("%s\nmessages %q\nheaders %s\ntrailers %s\n", q.spec.Procedure, got, headers(info.ResponseHeader()), headers(info.ResponseTrailer()))
	if e, ok := errors.AsType[*connect.Error](err); ok {
		text += fmt.Sprintf("error %v %q remote %v late %v", e.Code(), e.Message(), e.IsRemote(), errors.Is(err, context.DeadlineExceeded))
		for _, d := range e.Details() {
			text += fmt.Sprintf(" %s %x", d.Type, d.Value)
		}
	} else if err != nil {
		text += "error of another kind: " + err.Error()
	}
	return text
}

func headers(h *connect.Header) (text string) {
	all := maps.Collect(h.All())
	for _, k := range slices.Sorted(maps.Keys(all)) {
		text += fmt.Sprintf(" %s=%q", k, all[k])
	}
	return text
}

// digest is a message in few characters.
func digest(b []byte) string { return fmt.Sprintf("%d %x", len(b), b[:min(len(b), 8)]) }

func (q *question) unary(ctx context.Context, client *connect.Client) ([]string, error) {
	var m wrapperspb.BytesValue
	if err := client.CallUnary(ctx, q.spec, q.messages[0], &m); err != nil {
		return nil, err
	}
	return []string{digest(m.Value)}, nil
}

func (q *question) stream(ctx context.Context, client *connect.Client) (got []string, err error) {
	stream, err := client.CallClientStream(ctx, q.spec)
	if err != nil {
		return nil, err
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		for _, m := range q.messages {
			if stream.Send(m) != nil {
				break // Receive says why
			}
		}
		_ = stream.CloseSend()
	})
	defer sender.Wait()
	if q.spec.StreamType == connect.StreamTypeClient {
		var n wrapperspb.Int64Value
		if err := stream.Receive(&n); err != nil {
			return nil, err
		}
		if err := stream.Receive(&n); !errors.Is(err, io.EOF) {
			return nil, err
		}
		return []string{fmt.Sprint(n.Value)}, nil
	}
	for {
		var m wrapperspb.BytesValue
		err := stream.Receive(&m)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, digest(m.Value))
	}
}

// tight are limits at which everything is split, waits and is given back.
func tight() Limits {
	return Limits{FrameBytes: minFrameBytes, StreamWindow: minWindow, ConnectionWindow: 2 * minWindow, Streams: 5, PendingBytes: 1 << 10}
}

// TestSameAsInProcess asks many questions at once, over connections of every kind, and in
// the process: the answers are the same.
func TestSameAsInProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &service{}
	reference := connect.NewClient(connectinprocess.New(s.register()))
	serverTLS, clientTLS := certificates(t)
	for _, c := range []struct {
		name    string
		client  Options
		server  ServerOptions
		tls     bool
		largest int
		rounds  int
	}{
		{name: "plain", largest: 12, rounds: 300},
		{name: "large", largest: 20, rounds: 40},
		{name: "tight", client: Options{Limits: tight()}, server: ServerOptions{Limits: tight()}, largest: 18, rounds: 100},
		{name: "packed", client: Options{Packing: PackAlways}, server: ServerOptions{Packing: PackAlways}, largest: 18, rounds: 60},
		{name: "checksums", client: Options{Checksums: true}, server: ServerOptions{Limits: tight()}, largest: 14, rounds: 100},
		{name: "TLS", tls: true, largest: 16, rounds: 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, address := serveTLS(t, s, &c.server, serverTLS, c.tls)
			var config *tls.Config
			if c.tls {
				config = clientTLS
			}
			transport, err := Dial(ctx, "tcp", address, config, &c.client)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = transport.Close() }()
			client := connect.NewClient(transport)
			rounds := c.rounds
			if testing.Short() {
				rounds /= 5
			}
			var wg sync.WaitGroup
			for caller := range 8 {
				wg.Go(func() {
					r := mathrand.New(mathrand.NewPCG(uint64(caller), 1))
					for range rounds {
						q := drawQuestion(r, c.largest)
						got, want := q.answer(ctx, client), q.answer(ctx, reference)
						if got != want {
							t.Errorf("over the wire:\n%s\nin the process:\n%s\nthe connection: %v", got, want, transport.Err())
							return
						}
					}
				})
			}
			wg.Wait()
			if err := transport.Err(); err != nil {
				t.Error(err)
			}
			for transport.InFlight() > 0 {
				if ctx.Err() != nil {
					t.Fatalf("%d calls have not ended", transport.InFlight())
				}
				runtime.Gosched()
			}
		})
	}
}

// certificates returns the two ends' configurations of a certificate for 127.0.0.1.
func certificates(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{ALPN, "h2"}},
		&tls.Config{RootCAs: pool}
}

func TestTLS(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	_, address := serveTLS(t, &service{}, &ServerOptions{Authenticate: func(ctx context.Context, p *Peer) (context.Context, error) {
		if p.TLS == nil || p.TLS.NegotiatedProtocol != ALPN || p.TLS.Version != tls.VersionTLS13 {
			return nil, fmt.Errorf("not as agreed: %+v", p.TLS)
		}
		return ctx, nil
	}}, serverTLS, true)
	transport, err := Dial(context.Background(), "tcp", address, clientTLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = transport.Close() }()
	if err := null(connect.NewClient(transport))(); err != nil {
		t.Error(err)
	}
	old := serverTLS.Clone()
	old.MaxVersion = tls.VersionTLS12
	_, address = serveTLS(t, &service{}, nil, old, true)
	if _, err := Dial(context.Background(), "tcp", address, clientTLS, nil); err == nil {
		t.Error("TLS 1.2 was taken")
	}
	if _, err := Dial(context.Background(), "tcp", address, &tls.Config{}, nil); err == nil {
		t.Error("an unknown certificate was taken")
	}
}

func TestMessagesOfOtherKinds(t *testing.T) {
	_, address := serve(t, &service{}, nil)
	client := connect.NewClient(dial(t, address, nil))
	var m wrapperspb.BytesValue
	if err := client.CallUnary(context.Background(), echoSpec, "text", &m); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("a text for a message: %v", err)
	}
	if err := client.CallUnary(context.Background(), echoSpec, wrapperspb.Bytes([]byte("a")), "text"); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("a text to receive in: %v", err)
	}
	if err := client.CallUnary(context.Background(), failSpec, wrapperspb.Bytes([]byte{0xff}), &m); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a message that is none: %v", err)
	}
	if err := client.CallUnary(context.Background(), echoSpec, wrapperspb.Bytes(bytes.Repeat([]byte("a"), 1000)), &m); err != nil || len(m.Value) != 1000 {
		t.Errorf("after those: %v", err)
	}
}
