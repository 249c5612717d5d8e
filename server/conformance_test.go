package server_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

// TestInProcess asks through messages, without a network.
func TestInProcess(t *testing.T) {
	enginetest.Databases(t, func(t *testing.T, db *engine.DB) enginetest.Database {
		s := newServer(t, db, nil)
		return open(t, "", &client.Options{Transport: connectinprocess.New(s.RPC())})
	})
}

// TestWire asks over the compact wire on loopback.
func TestWire(t *testing.T) {
	enginetest.Databases(t, func(t *testing.T, db *engine.DB) enginetest.Database {
		return open(t, "kanta://"+serve(t, newServer(t, db, nil)), nil)
	})
}

// TestTLS asks through every door under TLS, with a certificate, each of which must do what all do.
func TestTLS(t *testing.T) {
	for name, options := range map[string][]connecthttp.Option{"wire": nil, "JSON": {connecthttp.WithProtoJSON()}, "gRPC": {connecthttp.WithGRPC()}} {
		t.Run(name, func(t *testing.T) {
			files := issued(t)
			enginetest.Databases(t, func(t *testing.T, db *engine.DB) enginetest.Database {
				theirs, err := certs.Server(files("server"), nil)
				if err != nil {
					t.Fatal(err)
				}
				mine, err := certs.Client(files("client"))
				if err != nil {
					t.Fatal(err)
				}
				address := serve(t, newServer(t, db, &server.Options{TLS: theirs, Hooks: server.Hooks{Failed: func(call string, err error) { t.Errorf("%s: %v", call, err) }}}))
				if name == "wire" {
					return open(t, "kanta://"+address, &client.Options{TLS: mine})
				}
				h := &http.Transport{TLSClientConfig: mine, ForceAttemptHTTP2: true}
				t.Cleanup(h.CloseIdleConnections)
				return open(t, "", &client.Options{Transport: connecthttp.NewTransport(&http.Client{Transport: h}, "https://"+address, options...)})
			})
		})
	}
}

// issued makes an authority and certificates for the two ends, and returns who has which.
func issued(t *testing.T) func(name string) certs.Files {
	t.Helper()
	dir := t.TempDir()
	authority, err := certs.NewAuthority("ca", 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := certs.ReadAuthority(authority)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := a.Server([]string{"127.0.0.1"}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	mine, err := a.Client("anna", "admin", 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]certs.Pair{"ca": authority, "server": theirs, "client": mine} {
		if err := p.Save(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) certs.Files {
		return certs.Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), Authority: filepath.Join(dir, "ca.crt")}
	}
}

func newServer(t *testing.T, db *engine.DB, o *server.Options) *server.Server {
	t.Helper()
	if o == nil {
		o = &server.Options{Version: "test", Hooks: server.Hooks{Failed: func(call string, err error) { t.Errorf("%s: %v", call, err) }}}
	}
	s, err := server.New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves on a port of loopback until the test ends, and returns the address.
func serve(t *testing.T, s *server.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func open(t *testing.T, address string, o *client.Options) *client.Client {
	t.Helper()
	c, err := client.Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
