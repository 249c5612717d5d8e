package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/kantadb/kanta/server/wire"
)

// peer is who is at the other end of a connection, by what the connection tells. A key that is
// shown has been believed by nobody yet; a certificate has been verified.
type peer struct {
	address     string            // with the port
	certificate *x509.Certificate // nil: none was shown
	key         string            // "": none was shown
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

// ofWire is what the compact wire tells, once for all calls of a connection.
func ofWire(ctx context.Context, p *wire.Peer) (context.Context, error) {
	return withPeer(ctx, &peer{address: p.Addr.String(), certificate: shown(p.TLS), key: string(p.Credentials)}), nil
}

// ofRequest is what a request of HTTP tells.
func ofRequest(r *http.Request) *peer {
	const bearer = "Bearer "
	p := &peer{address: r.RemoteAddr, certificate: shown(r.TLS)}
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
