package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
)

// Files are the names of files in PEM. "" is none.
type Files struct {
	// Cert has a certificate, and behind it those that lead to an authority that the other end
	// knows; Key has its key. Both or none.
	Cert, Key string
	// Authority has the certificates of those who may vouch for the other end. A client without it
	// believes the authorities of its system; a server without it asks for no certificates.
	Authority string
}

// lookAgain is how often files are looked at. Whoever replaces them does not wait for more, and a
// flood of handshakes makes no more work than one look per second.
const lookAgain = time.Second

// Client returns how a client speaks TLS, by what the files have now.
func Client(f Files) (*tls.Config, error) {
	c, err := f.read()
	if err != nil {
		return nil, err
	}
	c.RootCAs, c.ClientCAs = c.ClientCAs, nil
	return c, nil
}

// Server returns how a server speaks TLS. The files are read anew after they have changed, with the
// next handshake that is at least a second after the last look. What cannot be read then, such as a
// certificate whose key has not been replaced yet, leaves all as it was, is told to report if that
// is not nil, once for each state of the files, and is tried again. With an authority, clients'
// certificates are asked for and verified; who has none is let in, and is nobody.
//
// Handshakes are not resumed: what was believed once is not believed for longer than a connection.
func Server(f Files, report func(error)) (*tls.Config, error) {
	r, err := newReader(f, report)
	if err != nil {
		return nil, err
	}
	outer := r.config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.now(time.Now()), nil }
	return outer, nil
}

// Mutual is how the nodes of a cluster speak TLS with each other: both sides show a certificate, and
// both want one of the authority. The files are read anew as those of [Server] are. It is safe for
// concurrent use.
type Mutual struct{ r *reader }

// NewMutual reads the files, of which all three are needed. What cannot be read later is told to
// report if that is not nil.
func NewMutual(f Files, report func(error)) (*Mutual, error) {
	r, err := newReader(f, report)
	if err == nil && r.config.ClientCAs == nil {
		err = query.Errorf(query.CodeInvalid, "a node needs the authority of the other nodes")
	}
	if err != nil {
		return nil, err
	}
	return &Mutual{r}, nil
}

// Accepting returns how the next caller is spoken with. Its certificate is asked for and verified.
// The configuration is the caller's to change.
func (m *Mutual) Accepting() *tls.Config {
	c := m.r.now(time.Now()).Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c
}

// Calling returns how the next call is made to a host, whose name or address the other's
// certificate must have. The configuration is the caller's to change.
func (m *Mutual) Calling(host string) *tls.Config {
	c := m.r.now(time.Now()).Clone()
	c.RootCAs, c.ClientCAs, c.ClientAuth, c.ServerName = c.ClientCAs, nil, tls.NoClientCert, host
	return c
}

func newReader(f Files, report func(error)) (*reader, error) {
	r := &reader{files: f, report: report}
	r.seen = f.stamps()
	c, err := f.read()
	if err != nil {
		return nil, err
	}
	if len(c.Certificates) == 0 {
		return nil, query.Errorf(query.CodeInvalid, "a server needs a certificate and its key")
	}
	r.config, r.looked = forServer(c), time.Now()
	return r, nil
}

func forServer(c *tls.Config) *tls.Config {
	c.SessionTicketsDisabled = true
	if c.ClientCAs != nil {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c
}

// read reads all files. The authority stands in ClientCAs.
func (f Files) read() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if (f.Cert == "") != (f.Key == "") {
		return nil, query.Errorf(query.CodeInvalid, "a certificate and its key belong together: name both files or none")
	}
	if f.Cert != "" {
		cert, err := readFile(f.Cert)
		if err != nil {
			return nil, err
		}
		key, err := readFile(f.Key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, query.Errorf(query.CodeInvalid, "%s and %s are not a certificate and its key: %w", f.Cert, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if f.Authority != "" {
		all, err := ReadFile(f.Authority)
		if err != nil {
			return nil, err
		}
		c.ClientCAs = x509.NewCertPool()
		for _, a := range all {
			c.ClientCAs.AddCert(a)
		}
	}
	return c, nil
}

// stamp tells a file from what it was.
type stamp struct {
	size int64
	time time.Time
}

// stamps are those of the three files.
func (f Files) stamps() (out [3]stamp) {
	for i, name := range [...]string{f.Cert, f.Key, f.Authority} {
		if info, err := os.Stat(name); name != "" && err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

// reader holds the configuration of a server, and reads it anew.
type reader struct {
	files  Files
	report func(error)

	mu     sync.Mutex
	config *tls.Config
	seen   [3]stamp // of what was read, or could not be
	wrong  bool     // it could not be: it is read again though its stamps are the same
	looked time.Time
}

// now returns the configuration of now. Others who shake hands wait while it is read.
func (r *reader) now(now time.Time) *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since := now.Sub(r.looked); since >= 0 && since < lookAgain {
		return r.config
	}
	r.looked = now
	stamps := r.files.stamps() // before the files: what changes meanwhile is read the next time
	if stamps == r.seen && !r.wrong {
		return r.config
	}
	changed := stamps != r.seen
	c, err := r.files.read()
	r.seen, r.wrong = stamps, err != nil
	if err == nil {
		r.config = forServer(c)
	} else if changed && r.report != nil {
		r.report(err)
	}
	return r.config
}
