package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/wire"
)

// trust is an authority, and the files of what it has issued.
type trust struct {
	t   testing.TB
	dir string
	ca  *certs.Authority
}

func newTrust(t testing.TB) *trust {
	t.Helper()
	p, err := certs.NewAuthority("test-ca", 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tr := &trust{t: t, dir: t.TempDir()}
	tr.keep(p, nil, "ca")
	if tr.ca, err = certs.ReadAuthority(p); err != nil {
		t.Fatal(err)
	}
	p, err = tr.ca.Server([]string{"127.0.0.1", "localhost"}, 1, time.Now())
	tr.keep(p, err, "server")
	return tr
}

func (tr *trust) keep(p certs.Pair, err error, name string) {
	tr.t.Helper()
	if err == nil {
		err = p.Save(tr.dir, name)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *trust) in(name string) string { return filepath.Join(tr.dir, name) }

// server is how the server speaks TLS; with mutual clients are asked for certificates.
func (tr *trust) server(mutual bool) *tls.Config {
	tr.t.Helper()
	f := certs.Files{Cert: tr.in("server.crt"), Key: tr.in("server.key")}
	if mutual {
		f.Authority = tr.in("ca.crt")
	}
	c, err := certs.Server(f, func(err error) { tr.t.Logf("certificates: %v", err) })
	if err != nil {
		tr.t.Fatal(err)
	}
	return c
}

// client is how a client speaks TLS who has the certificate of a name. "": none.
func (tr *trust) client(name string) *tls.Config {
	tr.t.Helper()
	f := certs.Files{Authority: tr.in("ca.crt")}
	if name != "" {
		f.Cert, f.Key = tr.in(name+".crt"), tr.in(name+".key")
		if _, err := os.Stat(f.Cert); err != nil {
			p, err := tr.ca.Client(name, "admin", 1, time.Now())
			tr.keep(p, err, name)
		}
	}
	c, err := certs.Client(f)
	if err != nil {
		tr.t.Fatal(err)
	}
	return c
}

// overTLS returns a transport of HTTP/2 under TLS, as clients of others' making have.
func overTLS(t *testing.T, address string, c *tls.Config, options ...connecthttp.Option) connect.Transport {
	t.Helper()
	h := &http.Transport{TLSClientConfig: c.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(h.CloseIdleConnections)
	return connecthttp.NewTransport(&http.Client{Transport: h}, "https://"+address, options...)
}

// TestTLSDoors speaks everything that is spoken on one port under TLS, with a certificate.
func TestTLSDoors(t *testing.T) {
	tr := newTrust(t)
	s := limited(t, openStore(t), &Options{TLS: tr.server(true)}, nil)
	address := listen(t, s).Addr().String()
	mine := tr.client("anna")
	for what, o := range map[string]*client.Options{
		"wire": {TLS: mine}, "Connect over HTTP/2": {Transport: overTLS(t, address, mine)}, "gRPC": {Transport: overTLS(t, address, mine, connecthttp.WithGRPC())},
	} {
		if n, err := dial(t, "kanta://"+address, o).Count(t.Context(), "true", nil); err != nil || n.Count != 0 {
			t.Errorf("%s: %+v, %v", what, n, err)
		}
	}
	for _, alpn := range [][]string{nil, {"http/1.1"}} { // curl, and what is older than ALPN
		c := mine.Clone()
		c.NextProtos, c.ServerName = alpn, "127.0.0.1"
		conn, err := tls.Dial("tcp", address, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState(); got.Version != tls.VersionTLS13 || got.DidResume {
			t.Errorf("%v: %+v", alpn, got)
		}
		body := `{"expression":"true"}`
		fmt.Fprintf(conn, "POST /kanta.v1.KantaService/Count HTTP/1.1\r\nHost: db.example.com\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%v: %v, %v", alpn, res, err)
		}
		_ = conn.Close()
	}
}

// TestTLSRefused comes with what a server does not believe, and with what is not TLS 1.3: not a
// byte of a request is looked at.
func TestTLSRefused(t *testing.T) {
	tr, other := newTrust(t), newTrust(t)
	var calls atomic.Int64
	s := limited(t, openStore(t), &Options{TLS: tr.server(true)}, nil)
	next := s.http.Handler
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); next.ServeHTTP(w, r) })
	address := listen(t, s).Addr().String()
	pair := func(p certs.Pair, err error) tls.Certificate {
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.X509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	issue := func(name, role string, days int, at time.Time) tls.Certificate {
		return pair(tr.ca.Client(name, role, days, at))
	}
	serving, err := tls.LoadX509KeyPair(tr.in("server.crt"), tr.in("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := tr.client("").RootCAs
	show := func(c tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{c}}
	}
	node := pair(tr.ca.Node("n1", "c", []string{"127.0.0.1"}, 1, time.Now()))
	foreign := other.client("anna")
	foreign.RootCAs = roots
	old := show(issue("anna", "admin", 1, time.Now()))
	old.MaxVersion = tls.VersionTLS12
	for what, c := range map[string]*tls.Config{
		"TLS 1.2": old, "another authority": foreign, "expired": show(issue("anna", "admin", 1, time.Now().AddDate(0, 0, -1).Add(-time.Minute))),
		"of a server": show(serving), "of a node": show(node),
	} {
		for _, alpn := range []string{wire.ALPN, "http/1.1"} {
			c := c.Clone()
			c.NextProtos, c.ServerName = []string{alpn}, "127.0.0.1"
			// The client has finished its part when the server refuses: what it wrote must not be answered.
			conn, err := tls.Dial("tcp", address, c)
			if err == nil {
				_, _ = io.WriteString(conn, "POST /kanta.v1.KantaService/Count HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
				var n int
				n, err = conn.Read(make([]byte, 1))
				if n > 0 {
					err = nil
				}
				_ = conn.Close()
			}
			var op *net.OpError
			if err == nil || !errors.As(err, &op) || op.Op != "remote error" {
				t.Errorf("%s, %s: %v", what, alpn, err)
			}
		}
		if what != "TLS 1.2" {
			if _, err := client.Open(t.Context(), "kanta://"+address, &client.Options{TLS: c}); !isCode(err, query.CodeDenied) {
				t.Errorf("%s: the client says %v", what, err)
			}
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests were looked at", n)
	}
}

// TestTLSDoubts comes without a certificate, to a server that is not believed, and in plain text.
func TestTLSDoubts(t *testing.T) {
	tr, other := newTrust(t), newTrust(t)
	address := listen(t, limited(t, openStore(t), &Options{TLS: tr.server(true)}, nil)).Addr().String()
	nobody := tr.client("")
	if _, err := client.Open(t.Context(), "kanta://"+address, &client.Options{TLS: nobody}); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("no certificate over the wire: %v", err)
	}
	if _, err := client.Open(t.Context(), "", &client.Options{Transport: overTLS(t, address, nobody)}); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("no certificate over HTTP: %v", err)
	}
	for what, c := range map[string]*tls.Config{"a server of another authority": other.client("anna"), "the system's authorities": {}} {
		if _, err := client.Open(t.Context(), "kanta://"+address, &client.Options{TLS: c}); !isCode(err, query.CodeDenied) || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Plain text at a port of TLS is told so.
	if _, err := client.Open(t.Context(), "kanta://"+address, nil); err == nil || !strings.Contains(err.Error(), "speaks TLS only") {
		t.Errorf("the wire in plain text: %v", err)
	}
	res, err := http.Get("http://" + address + "/")
	if err != nil || res.StatusCode != http.StatusBadRequest {
		t.Fatalf("HTTP in plain text: %v, %v", res, err)
	}
	_ = res.Body.Close()
	plain := listen(t, limited(t, openStore(t), nil, nil)).Addr().String()
	if _, err := client.Open(t.Context(), "kanta://"+plain, &client.Options{TLS: tr.client("")}); !isCode(err, query.CodeInvalid) {
		t.Errorf("TLS at a port of plain text: %v", err)
	}
}

// TestWhereToServe listens where others can reach it.
func TestWhereToServe(t *testing.T) {
	tr := newTrust(t)
	for what, test := range map[string]struct {
		o        *Options
		network  string
		address  string
		mayServe bool
	}{
		"plain, everywhere":        {nil, "tcp", "0.0.0.0:0", false},
		"plain, loopback":          {nil, "tcp", "127.0.0.1:0", true},
		"plain, a socket":          {nil, "unix", filepath.Join(t.TempDir(), "s"), true},
		"TLS, everybody":           {&Options{TLS: tr.server(false)}, "tcp", "0.0.0.0:0", false},
		"TLS, everybody, loopback": {&Options{TLS: tr.server(false)}, "tcp", "127.0.0.1:0", true},
		"TLS, who has shown who":   {&Options{TLS: tr.server(true)}, "tcp", "0.0.0.0:0", true},
	} {
		s := limited(t, openStore(t), test.o, nil)
		l, err := net.Listen(test.network, test.address)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		if test.mayServe {
			c, err := net.Dial(l.Addr().Network(), strings.Replace(l.Addr().String(), "[::]", "127.0.0.1", 1))
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := <-served; (err == nil) != test.mayServe || err != nil && !isCode(err, query.CodeInvalid) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", what, err)
		}
	}
	if _, err := New(openStore(t), &Options{TLS: &tls.Config{}}); !isCode(err, query.CodeInvalid) {
		t.Errorf("a server without a certificate: %v", err)
	}
}

// TestRotation replaces a server's certificate, and then the authority of its clients, under calls
// that open connections all the time: none fails.
func TestRotation(t *testing.T) {
	tr := newTrust(t)
	s := limited(t, openStore(t), &Options{TLS: tr.server(true)}, nil)
	address := listen(t, s).Addr().String()
	mine := tr.client("anna")
	mine.ServerName = "127.0.0.1"
	serial := func() string {
		conn, err := tls.Dial("tcp", address, mine)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	calls, stop := connecting(t, address, mine)
	first := serial()
	p, err := tr.ca.Server([]string{"127.0.0.1"}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"server.crt": append(p.Cert, '\n', '\n'), "server.key": append(p.Key, '\n', '\n')} { // one after the other: for a while they do not fit
		if err := os.WriteFile(tr.in(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new certificate is served", func() bool { return serial() != first })
	both, err := os.ReadFile(tr.in("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	other := newTrust(t)
	theirs, err := os.ReadFile(other.in("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tr.in("ca.crt"), append(append(both, '\n'), theirs...), 0o600); err != nil {
		t.Fatal(err)
	}
	newcomer := other.client("ben")
	newcomer.RootCAs = mine.RootCAs
	eventually(t, "clients of the new authority are let in", func() bool {
		c, err := client.Open(t.Context(), "kanta://"+address, &client.Options{TLS: newcomer})
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	before := calls.Load()
	eventually(t, "calls go on", func() bool { return calls.Load() > before+8 })
	stop()
}

// connecting asks over new connections all the time, until stop.
func connecting(t *testing.T, address string, mine *tls.Config) (calls *atomic.Int64, stop func()) {
	calls, done := new(atomic.Int64), make(chan struct{})
	var asking sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				h := &http.Transport{TLSClientConfig: mine.Clone(), ForceAttemptHTTP2: true}
				o := &client.Options{TLS: mine, Attempts: 1}
				if i%2 == 1 {
					o = &client.Options{Transport: connecthttp.NewTransport(&http.Client{Transport: h}, "https://"+address), Attempts: 1}
				}
				c, err := client.Open(context.Background(), "kanta://"+address, o)
				if err == nil {
					_, err = c.Count(context.Background(), "true", nil)
					_ = c.Close()
				}
				h.CloseIdleConnections()
				if err != nil {
					t.Errorf("after %d calls: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return calls, func() {
		close(done)
		asking.Wait()
	}
}

// TestPerCaller opens as many connections as one caller may have, and one more.
func TestPerCaller(t *testing.T) {
	tr := newTrust(t)
	const n = 3
	s := limited(t, openStore(t), &Options{TLS: tr.server(true)}, func(l *limits) { l.perCaller = n })
	address := listen(t, s).Addr().String()
	mine := tr.client("anna")
	open := func(c *tls.Config) (*wire.Transport, error) { return wire.Dial(t.Context(), "tcp", address, c, nil) }
	var held []*wire.Transport
	for range n {
		w, err := open(mine)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, w)
	}
	if _, err := open(mine); connect.CodeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "anna") {
		t.Errorf("connection %d: %v", n+1, err)
	}
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: mine.Clone()}}
	defer h.CloseIdleConnections()
	ask := func() int {
		res, err := h.Post("https://"+address+"/kanta.v1.KantaService/Count", "application/json", strings.NewReader(`{"expression":"true"}`))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body) // or the connection is not kept
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := ask(); got != http.StatusTooManyRequests {
		t.Errorf("one more over HTTP: %d", got)
	}
	w, err := open(tr.client("ben"))
	if err != nil {
		t.Fatalf("another caller: %v", err)
	}
	held = append(held, w)
	_ = held[0].Close()
	eventually(t, "a place is free again", func() bool { return ask() == http.StatusOK })
	if _, err := open(mine); connect.CodeOf(err) != connect.CodeResourceExhausted { // that of HTTP is kept
		t.Errorf("a connection beside that of HTTP: %v", err)
	}
	for _, w := range held {
		_ = w.Close()
	}
	h.CloseIdleConnections()
	eventually(t, "nobody is left", func() bool {
		s.hall.mu.Lock()
		defer s.hall.mu.Unlock()
		return len(s.hall.callers) == 0 && len(s.hall.strangers) == 0 && len(s.hall.places) <= 1 // one is for who comes next
	})
}
