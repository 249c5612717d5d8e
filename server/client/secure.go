package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/wire"
)

// maxKey is what a server takes as credentials.
const maxKey = 4 << 10

// checkKey refuses what cannot travel as a header. It does not say what it is.
func checkKey(key string) error {
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return query.Errorf(query.CodeInvalid, "Options.Key is no key: it has a character that no key has")
		}
	}
	if len(key) > maxKey {
		return query.Errorf(query.CodeInvalid, "Options.Key is no key: it has more than %d bytes", maxKey)
	}
	return nil
}

// secure says how connections to a server are encrypted. nil: they are not, because they stay on
// this machine.
func (o *Options) secure(address string) *tls.Config {
	if o.TLS != nil {
		return o.TLS
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS13} // the system's authorities
}

// How long a member of a cluster may say nothing before it is asked whether it is there, and then until it is
// given up, and another one asked. A machine that is busy answers within a second.
const (
	memberQuiet  = 3 * time.Second
	memberSilent = 5 * time.Second
)

// connect opens one connection and says hello.
func (p *pool) connect(ctx context.Context) (*wire.Transport, error) {
	o := &wire.Options{Agent: "kanta go client", Credentials: []byte(p.key)}
	if !p.alone() { // one that hangs is to be noticed before its callers' time is up
		o.Limits.KeepAlive, o.Limits.PongTime = memberQuiet, memberSilent
	}
	if p.tls != nil {
		return wire.Dial(ctx, "tcp", p.address, p.tls, o)
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() { // localhost may be anything
		_ = nc.Close()
		return nil, &query.Error{Code: query.CodeInvalid, Message: "plain text is spoken on loopback only, and the server is elsewhere", Hint: "Options.TLS encrypts"}
	}
	return wire.NewTransport(ctx, nc, o)
}

// bearer shows a key with each call, to transports that have no hello.
func bearer(key string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+key)
			}
			return next(ctx, spec)
		}
	}
}

// refusedEarly makes the reason known why a server ended a call before it had read the request:
// whoever sends hears only that it has ended, and whoever receives then hears why.
func refusedEarly(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		stream, err := next(ctx, spec)
		if err != nil || spec.StreamType == connect.StreamTypeBidi {
			return stream, err
		}
		return patient{stream}, nil
	}
}

// patient is a stream of a call with one request.
type patient struct{ connect.ClientStream }

// Send implements [connect.ClientStream].
func (p patient) Send(msg any) error {
	if err := p.ClientStream.Send(msg); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// CloseSend implements [connect.ClientStream].
func (p patient) CloseSend() error {
	if err := p.ClientStream.CloseSend(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
