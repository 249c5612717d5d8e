package server_test

import (
	"context"
	"net"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/server"
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
