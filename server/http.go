package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
)

// newHTTP makes the door for Connect and gRPC.
func (s *Server) newHTTP() *http.Server {
	mux := http.NewServeMux()
	readable := connectproto.NewJSONCodec()
	readable.MarshalOptions.EmitDefaultValues = true // a count of nobody is 0, not nothing
	connecthttp.Mount(mux, s.rpc, connecthttp.WithReadMaxBytes(s.limits.requestBytes), connecthttp.WithCompressMinBytes(compressFrom),
		connecthttp.WithCodecs(connectproto.NewBinaryCodec(), readable))
	mux.Handle("/v1/", s.newFiles())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: &stallGuard{s, mux}, Protocols: protocols,
		ReadHeaderTimeout: s.limits.header, IdleTimeout: s.limits.idle, MaxHeaderBytes: s.limits.headerBytes,
		BaseContext: func(net.Listener) context.Context { return s.stop },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return withVisitor(ctx, under(c)) },
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: s.limits.streams, SendPingTimeout: s.limits.ping, PingTimeout: s.limits.ping / 2,
			WriteByteTimeout: s.limits.stalled, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: 2 * streamBuffer},
	}
}

// streamBuffer is what a stream of HTTP/2 may send before it is read, as on the compact wire.
const streamBuffer = 256 << 10

// compressFrom is the size below which compression costs more than it saves.
const compressFrom = 512

// stallGuard gives up clients that do not take what they asked for: each write has a deadline
// of its own, so that an answer may take long, and may not stand still. Between writes there is
// none: a stream of HTTP/2 ends when its deadline passes, be anything written or not.
//
// It also turns away whom the server does not answer over HTTP.
type stallGuard struct {
	s    *Server
	next http.Handler
}

func (g *stallGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := ofRequest(r)
	p.caller, p.refused = g.s.greet(r.Context(), p) // what is said of that is the call's affair
	var full *connect.Error
	switch {
	case r.TLS == nil && !isLocal(r.Host): // under TLS the certificate has said who is asked
		http.Error(w, "this server is asked by an address of loopback, or as localhost", http.StatusMisdirectedRequest)
		return
	case headerBytes(r) > g.s.limits.headerBytes:
		http.Error(w, fmt.Sprintf("the header of the request is larger than %d bytes", g.s.limits.headerBytes), http.StatusRequestHeaderFieldsTooLarge)
		return
	case errors.As(p.refused, &full): // of the hall: there are too many connections
		w.Header().Set("Connection", "close")
		http.Error(w, full.Message(), http.StatusTooManyRequests)
		return
	}
	s := &stallWriter{ResponseWriter: w, control: http.NewResponseController(w), stalled: g.s.limits.stalled}
	s.limit(false)
	r = r.WithContext(withPeer(r.Context(), p))
	r.Body = newPace(w, r, &g.s.limits)
	g.next.ServeHTTP(s, r)
	s.limit(true) // what is in buffers is written when the handler has ended
}

// headerBytes is how large a header is, by the rule of HTTP/2 and of the compact wire: 32 bytes are
// added for each value. The library lets some more pass.
func headerBytes(r *http.Request) int {
	n := len(r.RequestURI) + len(r.Host)
	for key, values := range r.Header {
		for _, v := range values {
			n += len(key) + len(v) + 32
		}
	}
	return n
}

// isLocal reports whether a request names this machine as one does who means it. A page in a
// browser here may have had its own name resolved to loopback: it would ask by that name.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type stallWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stalled time.Duration
}

func (w *stallWriter) limit(on bool) {
	var t time.Time
	if on {
		t = time.Now().Add(w.stalled)
	}
	_ = w.control.SetWriteDeadline(t) // fails when the connection is gone, and so does the write then
}

// Write implements [io.Writer].
func (w *stallWriter) Write(b []byte) (int, error) {
	w.limit(true)
	defer w.limit(false)
	return w.ResponseWriter.Write(b)
}

// Flush implements [http.Flusher].
func (w *stallWriter) Flush() {
	w.limit(true)
	defer w.limit(false)
	_ = w.control.Flush() // the next write fails, too
}

// Unwrap is for [http.ResponseController].
func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
