package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"
	"go.uber.org/goleak"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/server/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openStore opens a store in memory with an attribute n, an int.
func openStore(t *testing.T) *engine.DB {
	t.Helper()
	db, err := engine.Open("", &engine.Options{PurgeAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "n", Kind: schema.Int}})
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	return db
}

func encode(t *testing.T, b *batch.Builder) batch.Batch {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// increment is a batch that makes n of a person one more, from a source if sequence is not 0.
func increment(t *testing.T, key string, sequence uint64) batch.Batch {
	t.Helper()
	b := batch.New()
	if sequence > 0 {
		b.Source("increments", 1, sequence)
	}
	b.Upsert(key).Increment("n", schema.IntValue(1))
	return encode(t, b)
}

// limited makes a server with other limits.
func limited(t *testing.T, db *engine.DB, o *Options, change func(l *limits)) *Server {
	t.Helper()
	l := defaultLimits()
	if change != nil {
		change(&l)
	}
	s, err := newServer(db, o, l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inProcess(t *testing.T, s *Server) *client.Client {
	t.Helper()
	return dial(t, "", &client.Options{Transport: connectinprocess.New(s.RPC())})
}

func dial(t *testing.T, address string, o *client.Options) *client.Client {
	t.Helper()
	c, err := client.Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// overHTTP returns a transport of HTTP/2 to an address, as clients of others' making have.
func overHTTP(t *testing.T, address string, options ...connecthttp.Option) connect.Transport {
	t.Helper()
	return withKeyOverHTTP(t, address, "", options...)
}

// withKeyOverHTTP is overHTTP for who shows a key.
func withKeyOverHTTP(t *testing.T, address, key string, options ...connecthttp.Option) connect.Transport {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h := &http.Transport{Protocols: protocols}
	t.Cleanup(h.CloseIdleConnections)
	var through http.RoundTripper = h
	if key != "" {
		through = bearing{h, key}
	}
	return connecthttp.NewTransport(&http.Client{Transport: through}, "http://"+address, options...)
}

// listening serves on loopback and keeps its connections, so that a test can cut them.
type listening struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func listen(t *testing.T, s *Server) *listening {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{Listener: inner}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // a test that cuts connections may have left calls
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l
}

// Accept implements [net.Listener].
func (l *listening) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

// cut ends all connections and returns how many there were.
func (l *listening) cut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.conns)
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
	return n
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
