package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kantadb/kanta/query"
)

// readyTime bounds how long the store is asked whether it answers: longer is not ready.
const readyTime = time.Second

// Admin returns what is for who looks after the server, to be served where nobody else is heard,
// such as on another port of loopback:
//
//	/metrics   figures for Prometheus
//	/healthz   200 while the process answers at all
//	/readyz    200 while questions are answered, else 503; JSON with the reasons
//
// Requests that do not name loopback are refused, as those of HTTP at [Server.Serve] are.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.watch.figures.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // whoever asked is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		why := s.unready(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if len(why) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(readiness{len(why) == 0, why}) // as above
	})
	return OnLoopback(mux)
}

// readiness is what /readyz answers.
type readiness struct {
	Ready bool     `json:"ready"`
	Why   []string `json:"why_not,omitempty"`
}

// unready says why questions are not answered; nothing: they are.
func (s *Server) unready(ctx context.Context) (why []string) {
	if s.stopping() {
		why = append(why, "the server stops")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if c := s.opt.Cluster; c != nil {
		why = append(why, unreadyMember(c)...)
	}
	db := s.store.db()
	if db == nil {
		return append(why, "the member has no store yet")
	}
	n, err := db.Snapshot(ctx)
	if err == nil {
		_, err = n.Count(ctx, "true", &query.Options{})
		_ = n.Close() // it holds nothing but memory
	}
	if err != nil {
		why = append(why, "the store does not answer: "+wordOf(err))
	}
	return why
}

// OnLoopback refuses requests that do not name this machine as one does who means it: a page in
// a browser here may have had its own name resolved to loopback.
func OnLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this server is asked by an address of loopback, or as localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
