package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
)

// adminServer is the listener for who looks after the server.
type adminServer struct {
	http  *http.Server
	at    net.Addr
	ended chan error
}

// serveAdmin serves it, if it is wanted.
func (f *serveFlags) serveAdmin(s *server.Server) (*adminServer, error) {
	if f.admin == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", f.admin)
	if err != nil {
		return nil, &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "is another server there? --admin names another port", Err: err}
	}
	if !isLoopback(l.Addr().String()) { // localhost may be anything
		return nil, errors.Join(usagef("--admin %s: that is %s, and not loopback", f.admin, l.Addr()), l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.Admin())
	profiles := http.NewServeMux()
	profiles.HandleFunc("GET /debug/pprof/", pprof.Index)
	profiles.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	profiles.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol) // and not cmdline: what is there is nobody's affair
	mux.Handle("/debug/pprof/", server.OnLoopback(profiles))
	a := &adminServer{at: l.Addr(), ended: make(chan error, 1),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}}
	go func() { a.ended <- a.http.Serve(l) }()
	return a, nil
}

// Close ends it. nil: there is none.
func (a *adminServer) Close() {
	if a == nil {
		return
	}
	_ = a.http.Close() // whoever profiles hears no more
	<-a.ended
}

// serverLog returns the log that a setting wants.
func (a *app) serverLog(kind string) *slog.Logger {
	switch kind {
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, nil))
	case "text":
		return slog.New(slog.NewTextHandler(a.err, nil))
	}
	return nil
}

// say tells who started the server something, where a program does not read it.
func (a *app) say(f *serveFlags, format string, args ...any) {
	if f.log != "json" {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}
