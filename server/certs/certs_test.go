package certs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 999, time.UTC) //tidy:constant

// authority makes an authority, and its certificate in PEM.
func authority(t testing.TB, name string, now time.Time) (*Authority, Pair) {
	t.Helper()
	p, err := NewAuthority(name, AuthorityDays, now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadAuthority(p)
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

func certOf(t testing.TB, p Pair, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Parse(p.Cert)
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	return all[0]
}

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// TestIssued looks at what is issued, and has it verified for what it is for and for what not.
func TestIssued(t *testing.T) {
	a, p := authority(t, "test-ca", noon)
	ca := certOf(t, p, nil)
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || ca.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("the authority is %+v", ca)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	pair, err := a.Server([]string{"db.example.com", "10.0.0.7", "::1", "*.lan", "localhost"}, LeafDays, noon)
	server := certOf(t, pair, err)
	pair, err = a.Client("anna@example.com", "marketer", LeafDays, noon)
	client := certOf(t, pair, err)
	if id, err := IdentityOf(client); err != nil || id != (Identity{"anna@example.com", "marketer"}) {
		t.Errorf("the client is %+v, %v", id, err)
	}
	if _, err := IdentityOf(server); !isCode(err, query.CodeDenied) {
		t.Errorf("a server as a client: %v", err)
	}
	verify := func(c *x509.Certificate, host string, at time.Time, usage x509.ExtKeyUsage) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, DNSName: host, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	pair, err = a.Node("n1", "shop", []string{"n1.lan", "10.0.0.7"}, LeafDays, noon)
	node := certOf(t, pair, err)
	if n, err := NodeOf(node); err != nil || n != (Node{"n1", "shop"}) || !ForNode(node) {
		t.Errorf("the node is %+v, %v", n, err)
	}
	if _, err := IdentityOf(node); !isCode(err, query.CodeDenied) {
		t.Errorf("a node as a client: %v", err)
	}
	for _, c := range []*x509.Certificate{server, client} {
		if _, err := NodeOf(c); !isCode(err, query.CodeDenied) || ForNode(c) {
			t.Errorf("%s as a node: %v", c.Subject, err)
		}
	}
	asServer, asClient := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	end := noon.Truncate(time.Second).AddDate(0, 0, LeafDays)
	for _, test := range []struct {
		cert  *x509.Certificate
		host  string
		at    time.Time
		usage x509.ExtKeyUsage
		ok    bool
	}{
		{server, "db.example.com", noon, asServer, true}, {server, "10.0.0.7", noon, asServer, true}, {server, "::1", noon, asServer, true},
		{server, "x.lan", noon, asServer, true}, {server, "localhost", noon, asServer, true}, {server, "example.com", noon, asServer, false},
		{server, "", noon, asClient, false}, {client, "", noon, asClient, true}, {client, "", noon, asServer, false},
		{client, "", noon.Add(-4 * time.Minute), asClient, true}, {client, "", noon.Add(-6 * time.Minute), asClient, false},
		{node, "n1.lan", noon, asServer, true}, {node, "10.0.0.7", noon, asServer, true}, {node, "", noon, asClient, true}, {node, "n2.lan", noon, asServer, false},
		{client, "", end, asClient, true}, {client, "", end.Add(time.Second), asClient, false},
	} {
		if err := verify(test.cert, test.host, test.at, test.usage); (err == nil) != test.ok {
			t.Errorf("%s as %q at %v for %v: %v", test.cert.Subject, test.host, test.at, test.usage, err)
		}
	}
	late := noon.AddDate(0, 0, AuthorityDays-10)
	pair, err = a.Client("b", "r", LeafDays, late)
	if got := certOf(t, pair, err); !got.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("a certificate ends at %v, its authority at %v", got.NotAfter, ca.NotAfter)
	}
	if _, err := a.Client("b", "r", LeafDays, noon.AddDate(0, 0, AuthorityDays)); !isCode(err, query.CodeInvalid) {
		t.Errorf("an authority that has expired issues: %v", err)
	}
}

// TestRefused asks for what cannot be issued.
func TestRefused(t *testing.T) {
	a, p := authority(t, "ca", noon)
	long := strings.Repeat("n", maxName)
	hosts := slices.Repeat([]string{"h"}, maxHosts)
	for what, test := range map[string]struct {
		ok  bool
		err func() error
	}{
		"a name at the limit": {true, func() error { _, err := a.Client(long, long, MaxDays, noon); return err }},
		"a name over it":      {false, func() error { _, err := a.Client(long+"n", "r", 1, noon); return err }},
		"a role over it":      {false, func() error { _, err := a.Client("n", long+"n", 1, noon); return err }},
		"no name":             {false, func() error { _, err := a.Client("", "r", 1, noon); return err }},
		"a path":              {false, func() error { _, err := a.Client("a/b", "r", 1, noon); return err }},
		"a hidden file":       {false, func() error { _, err := a.Client(".a", "r", 1, noon); return err }},
		"a flag":              {false, func() error { _, err := a.Client("-a", "r", 1, noon); return err }},
		"no days":             {false, func() error { _, err := a.Client("a", "r", 0, noon); return err }},
		"too many days":       {false, func() error { _, err := a.Client("a", "r", MaxDays+1, noon); return err }},
		"hosts at the limit":  {true, func() error { _, err := a.Server(hosts, 1, noon); return err }},
		"hosts over it":       {false, func() error { _, err := a.Server(append(hosts, "h"), 1, noon); return err }},
		"no host":             {false, func() error { _, err := a.Server(nil, 1, noon); return err }},
		"a URL":               {false, func() error { _, err := a.Server([]string{"https://a"}, 1, noon); return err }},
		"a port":              {false, func() error { _, err := a.Server([]string{"a:7700"}, 1, noon); return err }},
		"an empty label":      {false, func() error { _, err := a.Server([]string{"a..b"}, 1, noon); return err }},
		"a dot first":         {false, func() error { _, err := a.Server([]string{".a"}, 1, noon); return err }},
		"a star alone":        {false, func() error { _, err := a.Server([]string{"*"}, 1, noon); return err }},
		"a star later":        {false, func() error { _, err := a.Server([]string{"a.*.b"}, 1, noon); return err }},
		"a long label":        {false, func() error { _, err := a.Server([]string{strings.Repeat("a", 64)}, 1, noon); return err }},
		"a long first host":   {true, func() error { _, err := a.Server([]string{strings.Repeat("a.", 60) + "b"}, 1, noon); return err }},
		"a node":              {true, func() error { _, err := a.Node("n", long, hosts, 1, noon); return err }},
		"a node without host": {false, func() error { _, err := a.Node("n", "c", nil, 1, noon); return err }},
		"a node over hosts":   {false, func() error { _, err := a.Node("n", "c", append(hosts, "h"), 1, noon); return err }},
		"a node of nothing":   {false, func() error { _, err := a.Node("n", "", hosts, 1, noon); return err }},
		"a long cluster":      {false, func() error { _, err := a.Node("n", long+"n", hosts, 1, noon); return err }},
		"a node without name": {false, func() error { _, err := a.Node("", "c", hosts, 1, noon); return err }},
		"a key of another": {false, func() error {
			_, other := authority(t, "o", noon)
			_, err := ReadAuthority(Pair{p.Cert, other.Key})
			return err
		}},
		"no key":                  {false, func() error { _, err := ReadAuthority(Pair{p.Cert, nil}); return err }},
		"a client as authority":   {false, func() error { c, _ := a.Client("a", "r", 1, noon); _, err := ReadAuthority(c); return err }},
		"an authority in a path.": {false, func() error { _, err := NewAuthority("a/b", 1, noon); return err }},
	} {
		if err := test.err(); test.ok != (err == nil) || err != nil && !isCode(err, query.CodeInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestIdentity reads names and roles of certificates that others have made.
func TestIdentity(t *testing.T) {
	uri := func(texts ...string) (out []*url.URL) {
		for _, s := range texts {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, u)
		}
		return out
	}
	for want, c := range map[string]*x509.Certificate{
		"a as r":       {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/r")},
		"a as r.2":     {Subject: pkix.Name{CommonName: "a"}, URIs: uri("spiffe://x/y", "kanta:role/r.2")},
		"has no role":  {Subject: pkix.Name{CommonName: "a"}, URIs: uri("spiffe://x/kanta:role/r")},
		"more than":    {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/r", "kanta:role/s")},
		"that of a no": {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/r", "kanta:node/c")},
		"of itself":    {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/r", "kanta:tenant/c")},
		"known here":   {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/r?x=1")},
		"not known":    {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta://role/r")},
		"that is not":  {Subject: pkix.Name{CommonName: "a"}, URIs: uri("kanta:role/a%20b")},
		"nobody":       {Subject: pkix.Name{CommonName: "a b"}, URIs: uri("kanta:role/r")},
	} {
		id, err := IdentityOf(c)
		got := id.Name + " as " + id.Role
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err != nil && (!isCode(err, query.CodeDenied) || id != (Identity{})) {
			t.Errorf("%v is %q, want %q", c.URIs, got, want)
		}
	}
}

// TestNode reads nodes and clusters of certificates that others have made.
func TestNode(t *testing.T) {
	for want, c := range map[string]struct {
		name string
		uris []string
	}{
		"a of c":         {"a", []string{"kanta:node/c"}},
		"a of c.2":       {"a", []string{"spiffe://x/y", "kanta:node/c.2"}},
		"is not that of": {"a", []string{"spiffe://x/kanta:node/c"}},
		"more than one":  {"a", []string{"kanta:node/c", "kanta:node/d"}},
		"of a client":    {"a", []string{"kanta:node/c", "kanta:role/r"}},
		"known here":     {"a", []string{"kanta:node/c", "kanta:tenant/x"}},
		"of itself":      {"a", []string{"kanta:node/c?x=1"}},
		"not known":      {"a", []string{"kanta://node/c"}},
		"something":      {"a", []string{"kanta:node/"}},
		"names no node":  {"a b", []string{"kanta:node/c"}},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.name}}
		for _, s := range c.uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		n, err := NodeOf(cert)
		got := n.Name + " of " + n.Cluster
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err != nil && (!isCode(err, query.CodeDenied) || n != (Node{})) {
			t.Errorf("%v is %q, want %q", c.uris, got, want)
		}
	}
}

// TestMutual has two nodes shake hands; a new authority on both is believed with the next one.
func TestMutual(t *testing.T) {
	dir := t.TempDir()
	files := Files{filepath.Join(dir, "n.crt"), filepath.Join(dir, "n.key"), filepath.Join(dir, "ca.crt")}
	write := func(names []string, texts ...[]byte) {
		t.Helper()
		for i, name := range names {
			if err := os.WriteFile(name, texts[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	issue := func(tail string) {
		t.Helper()
		a, ca := authority(t, "ca"+tail, time.Now()) // of another size: file systems have coarse clocks
		p, err := a.Node("n1", "c"+tail, []string{"127.0.0.1"}, 1, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		write([]string{files.Cert, files.Key, files.Authority}, p.Cert, p.Key, ca.Cert)
	}
	issue("")
	m, err := NewMutual(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMutual(Files{Cert: files.Cert, Key: files.Key}, nil); !isCode(err, query.CodeInvalid) {
		t.Errorf("without an authority: %v", err)
	}
	shake := func(calling *tls.Config) (n Node, err error) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		shaken := make(chan error, 1)
		go func() {
			conn := tls.Client(near, calling)
			err := conn.Handshake()
			if err == nil {
				_, err = conn.Read(make([]byte, 1)) // hears whether it was believed
			}
			shaken <- err
		}()
		conn := tls.Server(far, m.Accepting())
		if err := conn.Handshake(); err != nil {
			return n, err
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			return n, err
		}
		if err := <-shaken; err != nil {
			return n, err
		}
		return NodeOf(conn.ConnectionState().VerifiedChains[0][0])
	}
	if n, err := shake(m.Calling("127.0.0.1")); err != nil || n != (Node{"n1", "c"}) {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := shake(m.Calling("127.0.0.2")); err == nil {
		t.Error("a node of another host is believed")
	}
	nobody := m.Calling("127.0.0.1")
	nobody.Certificates = nil
	if _, err := shake(nobody); err == nil {
		t.Error("who shows nothing is let in")
	}
	issue("-two")
	m.r.looked = time.Time{}
	if n, err := shake(m.Calling("127.0.0.1")); err != nil || n != (Node{"n1", "c-two"}) {
		t.Errorf("after new files: %+v, %v", n, err)
	}
}

// TestFiles writes certificates and reads them again.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	a, p := authority(t, "ca", noon)
	if err := p.Save(dir, "ca"); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(dir, "ca"); !isCode(err, query.CodeConflict) {
		t.Errorf("a file is written over: %v", err)
	}
	pair, err := a.Server([]string{"h"}, 1, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "s.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pair.Save(dir, "s"); !isCode(err, query.CodeConflict) {
		t.Errorf("a certificate is written over: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "s.key")); !os.IsNotExist(err) {
		t.Errorf("a key without its certificate is left: %v", err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	read, err := Load(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAuthority(read); err != nil {
		t.Error(err)
	}
	if _, err := Load(dir, "other"); !isCode(err, query.CodeInvalid) {
		t.Errorf("what is not there: %v", err)
	}
	large := filepath.Join(dir, "large")
	for size, want := range map[int]query.Code{maxFile: query.CodeInvalid, maxFile + 1: query.CodeLimit} {
		if err := os.WriteFile(large, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(large); !isCode(err, want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for what, f := range map[string]Files{
		"a certificate alone": {Cert: filepath.Join(dir, "ca.crt")}, "a key alone": {Key: filepath.Join(dir, "ca.key")}, "nothing": {},
		"an authority that is none": {Cert: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key"), Authority: large},
		"a key as certificate":      {Cert: filepath.Join(dir, "ca.key"), Key: filepath.Join(dir, "ca.key")},
	} {
		if _, err := Server(f, nil); err == nil {
			t.Errorf("a server of %s", what)
		}
	}
}

// TestRenewed replaces the files of a server one after the other: each handshake has a certificate
// and the key to it, and after the last look the new ones.
func TestRenewed(t *testing.T) {
	dir := t.TempDir()
	a, ca := authority(t, "ca", time.Now())
	files := Files{Cert: filepath.Join(dir, "s.crt"), Key: filepath.Join(dir, "s.key"), Authority: filepath.Join(dir, "ca.crt")}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := func() Pair {
		p, err := a.Server([]string{"127.0.0.1"}, 1, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second := next(), next()
	second.Cert = append(second.Cert, ca.Cert...) // another size: file systems have coarse clocks
	second.Key = append(second.Key, '\n')
	write(files.Cert, first.Cert)
	write(files.Key, first.Key)
	write(files.Authority, ca.Cert)
	var told []error
	r := &reader{files: files, report: func(err error) { told = append(told, err) }}
	r.seen = files.stamps()
	c, err := files.read()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	r.config, r.looked = forServer(c), at
	serves := func(after time.Duration, want Pair) {
		t.Helper()
		got := r.now(at.Add(after))
		block, _ := pem.Decode(want.Cert)
		if string(got.Certificates[0].Certificate[0]) != string(block.Bytes) {
			t.Errorf("after %v another certificate is served", after)
		}
		if got.ClientAuth != tls.VerifyClientCertIfGiven || got.MinVersion != tls.VersionTLS13 || !got.SessionTicketsDisabled {
			t.Errorf("after %v clients are not asked as before", after)
		}
	}
	serves(2*time.Second, first)
	write(files.Cert, second.Cert)
	serves(3*time.Second-1, first) // within a second of the last look
	serves(3*time.Second, first)   // the key is the old one
	serves(4*time.Second, first)
	if len(told) != 1 || !strings.Contains(told[0].Error(), files.Cert) {
		t.Errorf("told: %v", told)
	}
	write(files.Key, second.Key)
	serves(5*time.Second-1, first)
	serves(5*time.Second, second)
	write(files.Authority, []byte("nothing"))
	serves(6*time.Second, second)
	if len(told) != 2 {
		t.Errorf("told: %v", told)
	}
	write(files.Authority, ca.Cert)
	serves(7*time.Second, second)
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	serves(8*time.Second, second)
	if r.wrong != true || len(told) != 3 {
		t.Errorf("a file that is gone: %v", told)
	}
	serves(-time.Hour, second) // the clock was put back
}

// TestSpoken shakes hands with what the files say, from both sides.
func TestSpoken(t *testing.T) {
	dir := t.TempDir()
	a, ca := authority(t, "ca", time.Now())
	server, err := a.Server([]string{"127.0.0.1"}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Client("anna", "analyst", 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Pair{"ca": ca, "server": server, "anna": client} {
		if err := p.Save(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	s, err := Server(Files{in("server.crt"), in("server.key"), in("ca.crt")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Client(Files{in("anna.crt"), in("anna.key"), in("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	c.ServerName = "127.0.0.1"
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Client(near, c).Handshake() }()
	conn := tls.Server(far, s)
	if err := errors.Join(conn.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	if id, err := IdentityOf(conn.ConnectionState().VerifiedChains[0][0]); err != nil || id != (Identity{"anna", "analyst"}) {
		t.Errorf("%+v, %v", id, err)
	}
}

func FuzzParse(f *testing.F) {
	a, p := authority(f, "ca", noon)
	f.Add(p.Cert)
	client, err := a.Client("a", "r", 1, noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(client.Cert, p.Cert...))
	f.Add(client.Key)
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(b)
		if (err == nil) != (len(all) > 0) {
			t.Fatal(len(all), err)
		}
		for _, c := range all {
			id, err := IdentityOf(c)
			if err == nil && (!isName(id.Name) || !isName(id.Role)) {
				t.Fatalf("%+v", id)
			}
			n, nodeErr := NodeOf(c)
			if nodeErr == nil && (!isName(n.Name) || !isName(n.Cluster) || err == nil || !ForNode(c)) {
				t.Fatalf("%+v, and %+v", n, id)
			}
		}
		_, _ = ReadAuthority(Pair{b, b})
	})
}
