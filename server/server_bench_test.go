package server

import (
	"context"
	"errors"
	"net"
	"testing"

	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/server/client"
)

// BenchmarkPing is a call that does nothing, one after the other.
func BenchmarkPing(b *testing.B) {
	db, err := engine.Open("", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := New(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			b.Error(err)
		}
	}()
	for name, o := range map[string]*client.Options{"wire": nil, "inprocess": {Transport: connectinprocess.New(s.RPC())}} {
		b.Run(name, func(b *testing.B) {
			c, err := client.Open(b.Context(), "kanta://"+l.Addr().String(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for b.Loop() {
				if _, err := c.Ping(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
