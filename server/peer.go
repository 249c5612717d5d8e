package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/wire"
)

// peer is who is at the other end of a connection, by what the connection tells. A key that is
// shown has been believed by nobody yet; a certificate has been verified.
type peer struct {
	address     string            // with the port
	certificate *x509.Certificate // nil: none was shown
	key         string            // "": none was shown
	visitor     *visitor          // the connection. nil: a door of tests
}

type peerKey struct{}

func withPeer(ctx context.Context, p *peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf returns who is at the other end. nil: nobody is, the caller is in the same process.
func peerOf(ctx context.Context) *peer {
	p, _ := ctx.Value(peerKey{}).(*peer)
	return p
}

// greet decides about who comes by what the connection tells, once for a connection of the compact
// wire and with every request of HTTP, and counts the connection among those of the caller. Its
// error is what the other end is told.
func (s *Server) greet(p *peer) error {
	caller := "" // everybody's
	switch {
	case p.certificate != nil:
		id, err := certs.IdentityOf(p.certificate)
		if err != nil {
			return connect.NewError(connect.CodePermissionDenied, err.Error())
		}
		caller = "the certificate of " + id.Name
	case s.asksCertificates():
		return connect.NewError(connect.CodeUnauthenticated, "the server must know who asks: show a certificate")
	}
	if p.visitor == nil {
		return nil
	}
	return s.hall.settle(p.visitor, caller)
}

// ofWire is what the compact wire tells, once for all calls of a connection.
func (s *Server) ofWire(ctx context.Context, w *wire.Peer) (context.Context, error) {
	p := &peer{address: w.Addr.String(), certificate: shown(w.TLS), key: string(w.Credentials), visitor: visitorOf(ctx)}
	if err := s.greet(p); err != nil {
		return nil, err
	}
	return withPeer(ctx, p), nil
}

// ofRequest is what a request of HTTP tells.
func ofRequest(r *http.Request) *peer {
	const bearer = "Bearer "
	p := &peer{address: r.RemoteAddr, certificate: shown(r.TLS), visitor: visitorOf(r.Context())}
	if h := r.Header.Get("Authorization"); len(h) > len(bearer) && strings.EqualFold(h[:len(bearer)], bearer) {
		p.key = h[len(bearer):]
	}
	return p
}

// shown returns the certificate of a client that TLS has verified.
func shown(s *tls.ConnectionState) *x509.Certificate {
	if s == nil || len(s.VerifiedChains) == 0 {
		return nil
	}
	return s.VerifiedChains[0][0]
}
