package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/wire"
)

// peer is who is at the other end of a connection, by what the connection tells. A key that is
// shown has been believed by nobody yet; a certificate has been verified.
type peer struct {
	address     string            // with the port
	tls         bool              // what is said is read by nobody else
	certificate *x509.Certificate // nil: none was shown
	key         string            // "": none was shown
	visitor     *visitor          // the connection. nil: a door of tests

	// Of a request of HTTP, which is looked at once: who it is, or why nobody.
	caller  *access.Caller
	refused error
}

// near reports whether the connection comes from this machine.
func (p *peer) near() bool {
	if p.visitor != nil {
		return isNear(p.visitor.RemoteAddr())
	}
	return isLocal(p.address)
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

// greet says who a peer is, and counts the connection among those of that caller.
func (s *Server) greet(ctx context.Context, p *peer) (*access.Caller, error) {
	caller, err := s.identify(ctx, p)
	if err != nil || p.visitor == nil {
		return caller, err
	}
	return caller, s.hall.settle(p.visitor, caller.ID)
}

// ofWire is what the compact wire tells, once for all calls of a connection. Each call looks again
// who that is; whoever is nobody hears so of each, and remains a stranger, who has to go soon.
func (s *Server) ofWire(ctx context.Context, w *wire.Peer) (context.Context, error) {
	p := &peer{address: w.Addr.String(), tls: w.TLS != nil, certificate: shown(w.TLS), key: string(w.Credentials), visitor: visitorOf(ctx)}
	var full *connect.Error
	if _, err := s.greet(ctx, p); errors.As(err, &full) { // there are too many connections
		return nil, err
	}
	return withPeer(ctx, p), nil
}

// ofRequest is what a request of HTTP tells.
func ofRequest(r *http.Request) *peer {
	const bearer = "Bearer "
	p := &peer{address: r.RemoteAddr, tls: r.TLS != nil, certificate: shown(r.TLS), visitor: visitorOf(r.Context())}
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
