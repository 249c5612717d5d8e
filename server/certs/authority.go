package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/kantadb/kanta/query"
)

// How long certificates are good for, in days.
const (
	// AuthorityDays: to replace an authority every client has to be given the new one.
	AuthorityDays = 3650
	// LeafDays: a key that was copied is of use no longer than this. Renewal once a year is kept in
	// practice, and needs no restart. Some clients refuse more than 825 days.
	LeafDays = 365
	// MaxDays is what may be asked for: X.509 has no more digits for years far away, and nobody
	// keeps a file so long.
	MaxDays = 36500
)

// backdated is how far the clock of who looks at a new certificate may be behind.
const backdated = 5 * time.Minute

// maxHosts bounds the names of one server: a certificate travels in every handshake.
const maxHosts = 64

// Pair is a certificate and its key, both as PEM.
type Pair struct{ Cert, Key []byte }

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that is good for a number of days from now.
func NewAuthority(name string, days int, now time.Time) (Pair, error) {
	t, err := template(name, days, now)
	if err != nil {
		return Pair{}, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return issue(t, nil)
}

// ReadAuthority reads an authority that [NewAuthority] has made.
func ReadAuthority(p Pair) (*Authority, error) {
	cert, err := parseCertificate(p.Cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(p.Key)
	if block == nil {
		return nil, query.Errorf(query.CodeInvalid, "there is no key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case err != nil || !ok:
		return nil, query.Errorf(query.CodeInvalid, "the key is not one of ECDSA in PKCS #8") // and nothing of it
	case !cert.IsCA:
		return nil, query.Errorf(query.CodeInvalid, "the certificate of %s is not that of an authority", cert.Subject.CommonName)
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, query.Errorf(query.CodeInvalid, "the key is not that of the certificate of %s", cert.Subject.CommonName)
	}
	return &Authority{cert: cert, key: key}, nil
}

// Server issues a certificate to a server that is reached by some host names and addresses. One
// that would outlive the authority ends with it.
func (a *Authority) Server(hosts []string, days int, now time.Time) (Pair, error) {
	t, err := template("server", days, now)
	if err == nil {
		err = reachedBy(t, hosts)
	}
	if err != nil {
		return Pair{}, err
	}
	if len(hosts[0]) <= maxName {
		t.Subject.CommonName = hosts[0] // for people; clients look at the rest only
	}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return issue(t, a)
}

// Client issues a certificate to a client of a name, which has a role.
func (a *Authority) Client(name, role string, days int, now time.Time) (Pair, error) {
	t, err := template(name, days, now)
	if err != nil {
		return Pair{}, err
	}
	if !isName(role) {
		return Pair{}, wrongName("role", role)
	}
	t.URIs = []*url.URL{{Scheme: scheme, Opaque: rolePrefix + role}}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return issue(t, a)
}

// Node issues a certificate to a node of a cluster, which other nodes reach by some host names and
// addresses. It is good for calling them and for being called.
func (a *Authority) Node(name, cluster string, hosts []string, days int, now time.Time) (Pair, error) {
	t, err := template(name, days, now)
	if err == nil {
		err = reachedBy(t, hosts)
	}
	if err != nil {
		return Pair{}, err
	}
	if !isName(cluster) {
		return Pair{}, wrongName("cluster", cluster)
	}
	t.URIs = []*url.URL{{Scheme: scheme, Opaque: nodePrefix + cluster}}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return issue(t, a)
}

// reachedBy adds the host names and addresses by which a certificate's owner is reached.
func reachedBy(t *x509.Certificate, hosts []string) error {
	if len(hosts) == 0 || len(hosts) > maxHosts {
		return query.Errorf(query.CodeInvalid, "%d hosts: who is called by others has 1 to %d in a certificate", len(hosts), maxHosts)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if isHost(h) {
			t.DNSNames = append(t.DNSNames, h)
		} else {
			return &query.Error{Code: query.CodeInvalid, Message: "the host " + quoted(h) + " is neither a name nor an address",
				Hint: "write it as clients do, without scheme and port, such as db.example.com or 10.0.0.7"}
		}
	}
	return nil
}

// template is what all certificates have.
func template(name string, days int, now time.Time) (*x509.Certificate, error) {
	if !isName(name) {
		return nil, wrongName("name", name)
	}
	if days < 1 || days > MaxDays {
		return nil, query.Errorf(query.CodeInvalid, "%d days: a certificate is good for 1 to %d", days, MaxDays)
	}
	now = now.UTC().Truncate(time.Second) // as it is written
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: now.AddDate(0, 0, days)}, nil
}

// issue makes a key and a certificate of it, which an authority signs. nil: it signs itself.
func issue(t *x509.Certificate, a *Authority) (p Pair, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	parent, signer := t, key
	if a != nil {
		parent, signer = a.cert, a.key
		if t.NotAfter.After(parent.NotAfter) {
			t.NotAfter = parent.NotAfter
		}
		if !t.NotAfter.After(t.NotBefore.Add(backdated)) {
			return p, query.Errorf(query.CodeInvalid, "the authority %s was good until %s: make a new one", parent.Subject.CommonName, parent.NotAfter.Format(time.RFC3339))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer) // the serial number is random
	if err != nil {
		return p, query.Errorf(query.CodeInternal, "the certificate cannot be made: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, query.Errorf(query.CodeInternal, "the key cannot be written: %w", err)
	}
	p.Cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return p, nil
}

// Save writes the pair as NAME.crt and NAME.key into a directory, which is made for its owner alone
// if it is not there. A file that is there stays, and is an error: a key that is lost cannot be made
// again.
func (p Pair) Save(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(err)
	}
	key := filepath.Join(dir, name+".key")
	if err := create(key, p.Key, 0o600); err != nil {
		return err
	}
	if err := create(filepath.Join(dir, name+".crt"), p.Cert, 0o644); err != nil {
		_ = os.Remove(key) // it is ours, and of no use alone
		return err
	}
	return nil
}

func create(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return &query.Error{Code: query.CodeConflict, Message: name + " is there already", Hint: "move it away, or name another directory", Err: err}
	}
	if err != nil {
		return failed(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(name) // half a key is worse than none
		return failed(err)
	}
	return nil
}

// Load reads NAME.crt and NAME.key of a directory.
func Load(dir, name string) (p Pair, err error) {
	if p.Cert, err = readFile(filepath.Join(dir, name+".crt")); err != nil {
		return p, err
	}
	p.Key, err = readFile(filepath.Join(dir, name+".key"))
	return p, err
}

// isHost reports whether a text is a host name, or a wildcard for the first label of one.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || len(s) == 0 || len(s) > 253 {
		return false
	}
	label := 0
	for i, c := range []byte(s) {
		switch {
		case c == '.' && label > 0, c == '*' && i == 0 && len(s) > 2 && s[1] == '.':
			label = -1
			if c == '*' {
				label = 0
			}
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-' && label > 0, c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}
