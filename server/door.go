package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/wire"
)

// door takes connections of all kinds from a listener. In plain text their first byte tells the
// compact wire from HTTP, under TLS the name that both ends have agreed upon does. HTTP gets its
// connections as from a listener of its own.
type door struct {
	net.Listener
	s     *Server
	http  chan net.Conn
	ended chan struct{} // closed when nothing more comes
	err   error         // why, set before
	once  sync.Once
}

// MayServe says whether [Server.Serve] takes a listener at an address. Its error has
// [query.CodeInvalid]. No other place decides about that.
func (s *Server) MayServe(a net.Addr) error {
	switch {
	case isNear(a):
		return nil
	case s.tls == nil:
		return &query.Error{Code: query.CodeInvalid, Message: "a server beyond this machine speaks TLS, and " + a.String() + " is not an address of loopback",
			Hint: "give it a certificate (kanta serve --tls-cert FILE --tls-key FILE), or listen on 127.0.0.1"}
	case s.asksCertificates() || s.store.db() == nil: // who waits for a store knows nobody yet, and serves nobody
		return nil
	}
	open, err := s.register.Open(context.Background())
	if err == nil && open {
		err = &query.Error{Code: query.CodeInvalid, Message: "a server beyond this machine must know who asks: at " + a.String() + " nothing would say who that is",
			Hint: "make a key first (kanta key create --role admin), name the authority of the clients' certificates (kanta serve --client-ca FILE), or listen on 127.0.0.1"}
	}
	return err
}

// isNear reports whether only this machine reaches an address.
func isNear(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// secured makes of a configuration of TLS that of this server: version 1.3, the names of what is
// spoken, and no resumption, so that who is believed has shown his certificate on this connection.
func secured(given *tls.Config) *tls.Config {
	c := given.Clone()
	c.MinVersion, c.MaxVersion = tls.VersionTLS13, 0
	c.NextProtos = []string{wire.ALPN, "h2", "http/1.1"}
	c.SessionTicketsDisabled = true
	verify := given.VerifyConnection
	c.VerifyConnection = func(s tls.ConnectionState) error {
		// A node's certificate opens the door to other nodes. Whoever has copied it gets nothing here.
		if len(s.PeerCertificates) > 0 && certs.ForNode(s.PeerCertificates[0]) {
			return &query.Error{Code: query.CodeDenied, Message: "the certificate is that of a node, not of a client", Hint: "kanta cert client makes one"}
		}
		if verify != nil {
			return verify(s)
		}
		return nil
	}
	if choose := given.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(h)
			if err != nil || chosen == nil {
				return nil, err
			}
			return secured(chosen), nil // which is not asked again
		}
	}
	return c
}

// asksCertificates reports whether clients are asked for certificates.
func (s *Server) asksCertificates() bool {
	return s.tls != nil && s.tls.ClientAuth >= tls.VerifyClientCertIfGiven
}

func (s *Server) newDoor(l net.Listener) *door {
	d := &door{Listener: l, s: s, http: make(chan net.Conn), ended: make(chan struct{})}
	go d.run()
	return d
}

// acceptPause is how long nobody is let in when the machine cannot.
const acceptPause = 50 * time.Millisecond

// run accepts until the listener is closed. When there are as many connections as there may be,
// others wait in the operating system's queue, which is bounded too.
func (d *door) run() {
	for {
		d.s.hall.places <- struct{}{}
		c, err := d.Listener.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			go d.take(d.s.hall.enter(c))
			continue
		case errors.As(err, &passing) && passing.Temporary(): // the process has no more files, say
			time.Sleep(acceptPause)
		default:
			d.end(err)
		}
		<-d.s.hall.places
		select {
		case <-d.ended:
			return
		default:
		}
	}
}

func (d *door) end(err error) {
	d.once.Do(func() {
		d.err = err
		close(d.ended)
	})
}

// take finds out what a stranger speaks.
func (d *door) take(v *visitor) {
	if d.s.tls != nil {
		d.shake(v)
		return
	}
	first := make([]byte, 1)
	_ = v.SetReadDeadline(time.Now().Add(d.s.limits.header)) // if it fails, so does the read
	if _, err := v.Read(first); err != nil {
		_ = v.Close()
		return
	}
	_ = v.SetReadDeadline(time.Time{}) // as above
	v.first = first
	d.hand(v, v, first[0] == wire.Magic[0])
}

// shake does the handshake of TLS.
func (d *door) shake(v *visitor) {
	secure := tls.Server(v, d.s.tls)
	_ = v.SetDeadline(time.Now().Add(d.s.limits.handshake)) // if it fails, so does the handshake
	if err := secure.HandshakeContext(d.s.stop); err != nil {
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
			tellPlain(plain)
		}
		d.s.watch.refusedConn(v.RemoteAddr(), "tls")
		_ = v.Close()
		return
	}
	_ = v.SetDeadline(time.Time{}) // as above
	d.hand(v, secure, secure.ConnectionState().NegotiatedProtocol == wire.ALPN)
}

// tellPlain tells a client that speaks plain text that here TLS is spoken. Nothing of what it said
// has been looked at but the first bytes.
func tellPlain(e tls.RecordHeaderError) {
	const text = "this server speaks TLS only (https; client.Options.TLS of a program; --ca of kanta)"
	switch start := string(e.RecordHeader[:]); start {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PRI *":
		_, _ = io.WriteString(e.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"+text+"\n") // who does not hear it has gone
	default:
		if strings.HasPrefix(start, wire.Magic) {
			_ = wire.Refuse(e.Conn, connect.NewError(connect.CodeFailedPrecondition, text)) // as above
		}
	}
}

// hand gives a connection to who speaks what it speaks.
func (d *door) hand(v *visitor, c net.Conn, compact bool) {
	if compact {
		d.s.watch.connection(c, d.s.wire.ServeConn(withVisitor(d.s.stop, v), c))
		return
	}
	select {
	case d.http <- c:
	case <-d.ended:
		_ = c.Close()
	}
}

// Accept implements [net.Listener] for HTTP.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.http:
		return c, nil
	case <-d.ended:
		return nil, d.err
	}
}
