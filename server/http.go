package server

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

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
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: &stallGuard{mux, s.limits.stalled}, Protocols: protocols,
		ReadHeaderTimeout: s.limits.header, IdleTimeout: s.limits.idle, MaxHeaderBytes: s.limits.headerBytes,
		BaseContext: func(net.Listener) context.Context { return s.stop },
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: s.limits.streams, SendPingTimeout: s.limits.ping, PingTimeout: s.limits.ping / 2,
			WriteByteTimeout: s.limits.stalled},
	}
}

// compressFrom is the size below which compression costs more than it saves.
const compressFrom = 512

// stallGuard gives up clients that do not take what they asked for: each write has a deadline
// of its own, so that an answer may take long, and may not stand still. Between writes there is
// none: a stream of HTTP/2 ends when its deadline passes, be anything written or not.
type stallGuard struct {
	next    http.Handler
	stalled time.Duration
}

func (g *stallGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isLocal(r.Host) {
		http.Error(w, "this server is asked by an address of loopback, or as localhost", http.StatusMisdirectedRequest)
		return
	}
	s := &stallWriter{ResponseWriter: w, control: http.NewResponseController(w), stalled: g.stalled}
	s.limit(false)
	g.next.ServeHTTP(s, r.WithContext(withPeer(r.Context(), ofRequest(r))))
	s.limit(true) // what is in buffers is written when the handler has ended
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

// limitedListener accepts only so many connections at a time; the others wait in the
// operating system's queue, which is bounded too.
type limitedListener struct {
	net.Listener
	tokens chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	l.tokens <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.tokens
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.tokens })}, nil
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
