package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/query"
)

// The names that a certificate says what it is for with.
const (
	scheme     = "kanta"
	rolePrefix = "role/"
	nodePrefix = "node/"
)

// maxName is what X.509 allows for a common name.
const maxName = 64

// maxFile bounds a file of certificates: some hundred of them, for a bundle of authorities.
const maxFile = 1 << 20

// Identity is who a client's certificate says it is.
type Identity struct{ Name, Role string }

// IdentityOf returns who a certificate says it is, which is the truth only if it was verified. A
// certificate without a role, of a node, or with a name that is none is an error with
// [query.CodeDenied].
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	id := Identity{Name: cert.Subject.CommonName}
	denied := func(format string, args ...any) (Identity, error) {
		e := query.Errorf(query.CodeDenied, format, args...)
		e.Hint = "kanta cert client makes one"
		return Identity{}, e
	}
	if !isName(id.Name) {
		return denied("the certificate names nobody")
	}
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		role, ok := strings.CutPrefix(u.Opaque, rolePrefix)
		switch {
		case strings.HasPrefix(u.Opaque, nodePrefix):
			return denied("the certificate of %s is that of a node, not of a client", id.Name)
		case !ok || !isName(role) || u.RawQuery != "" || u.Fragment != "":
			return denied("the certificate of %s says something of itself that is not known here", id.Name)
		case id.Role != "":
			return denied("the certificate of %s has more than one role", id.Name)
		}
		id.Role = role
	}
	if id.Role == "" {
		return denied("the certificate of %s has no role", id.Name)
	}
	return id, nil
}

// Node is which node of which cluster a certificate says it is of.
type Node struct{ Name, Cluster string }

// NodeOf returns which node a certificate says it is of, which is the truth only if it was verified.
// A certificate of anything else, or of more than a node, is an error with [query.CodeDenied].
func NodeOf(cert *x509.Certificate) (Node, error) {
	n := Node{Name: cert.Subject.CommonName}
	denied := func(format string, args ...any) (Node, error) {
		e := query.Errorf(query.CodeDenied, format, args...)
		e.Hint = "kanta cert node makes one of a node"
		return Node{}, e
	}
	if !isName(n.Name) {
		return denied("the certificate names no node")
	}
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		cluster, ok := strings.CutPrefix(u.Opaque, nodePrefix)
		switch {
		case strings.HasPrefix(u.Opaque, rolePrefix):
			return denied("the certificate of %s is that of a client, not of a node", n.Name)
		case !ok || !isName(cluster) || u.RawQuery != "" || u.Fragment != "":
			return denied("the certificate of %s says something of itself that is not known here", n.Name)
		case n.Cluster != "":
			return denied("the certificate of %s is of more than one cluster", n.Name)
		}
		n.Cluster = cluster
	}
	if n.Cluster == "" {
		return denied("the certificate of %s is not that of a node", n.Name)
	}
	return n, nil
}

// ForNode reports whether a certificate says that it is of a node, be the rest of it right or not.
func ForNode(cert *x509.Certificate) bool {
	return slices.ContainsFunc(cert.URIs, func(u *url.URL) bool { return u.Scheme == scheme && strings.HasPrefix(u.Opaque, nodePrefix) })
}

// IsName reports whether a text may be the name of a client or a node, a role, or that of a
// cluster: 1 to 64 letters, digits, and . _ @ -, the first no dot or hyphen.
func IsName(s string) bool { return isName(s) }

// isName reports whether a text may be a name or a role.
func isName(s string) bool {
	if len(s) == 0 || len(s) > maxName || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func wrongName(what, s string) error {
	return &query.Error{Code: query.CodeInvalid, Message: "the " + what + " " + quoted(s) + " cannot stand in a certificate",
		Hint: "it has 1 to 64 letters, digits, and . _ @ -, and begins with none of . and -"}
}

func quoted(s string) string {
	if len(s) > 2*maxName {
		s = s[:2*maxName] + "..."
	}
	return strconv.Quote(s)
}

// Parse returns the certificates of a file in PEM, of which there is at least one.
func Parse(text []byte) (all []*x509.Certificate, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, query.Errorf(query.CodeInvalid, "a certificate cannot be read: %w", err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, query.Errorf(query.CodeInvalid, "there is no certificate in PEM")
	}
	return all, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	all, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// readFile reads a file of certificates or of a key.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, failed(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, failed(err)
	}
	if len(b) > maxFile {
		return nil, query.Errorf(query.CodeLimit, "%s has more than %d bytes: that is no file of certificates", name, maxFile)
	}
	return bytes.TrimSpace(b), nil
}

// ReadFile reads the certificates of a file in PEM.
func ReadFile(name string) ([]*x509.Certificate, error) {
	b, err := readFile(name)
	if err != nil {
		return nil, err
	}
	all, err := Parse(b)
	if err != nil {
		return nil, query.Errorf(query.CodeInvalid, "%s: %w", name, err)
	}
	return all, nil
}

// failed is an error of the machine about a file, whose name it has.
func failed(err error) error {
	code := query.CodeIO
	if errors.Is(err, fs.ErrNotExist) {
		code = query.CodeInvalid
	}
	return query.Errorf(code, "%w", err)
}
