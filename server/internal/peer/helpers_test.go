package peer

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kantadb/kanta/server/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trust is an authority, and a directory of what it has issued.
type trust struct {
	t   testing.TB
	dir string
	ca  *certs.Authority
}

func newTrust(t testing.TB) *trust {
	t.Helper()
	p, err := certs.NewAuthority("test-ca", 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tr := &trust{t: t, dir: t.TempDir()}
	tr.keep(p, nil, "ca")
	if tr.ca, err = certs.ReadAuthority(p); err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *trust) keep(p certs.Pair, err error, name string) {
	tr.t.Helper()
	if err == nil {
		err = p.Save(tr.dir, name)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
}

// files are those of a certificate that is there.
func (tr *trust) files(name string) certs.Files {
	in := func(n string) string { return filepath.Join(tr.dir, n) }
	return certs.Files{Cert: in(name + ".crt"), Key: in(name + ".key"), Authority: in("ca.crt")}
}

func (tr *trust) mutual(name string) *certs.Mutual {
	tr.t.Helper()
	m, err := certs.NewMutual(tr.files(name), func(err error) { tr.t.Logf("certificates: %v", err) })
	if err != nil {
		tr.t.Fatal(err)
	}
	return m
}

// node issues a certificate to a node on loopback.
func (tr *trust) node(name, cluster string) *certs.Mutual {
	tr.t.Helper()
	p, err := tr.ca.Node(name, cluster, []string{"127.0.0.1"}, 1, time.Now())
	file := name + "-of-" + cluster
	tr.keep(p, err, file)
	return tr.mutual(file)
}

// options are those of a node of the cluster "shop", where nobody is late, be the machine as slow as it may.
func (tr *trust) options(name string) Options {
	tr.t.Helper()
	l := defaultLimits()
	l.handshake, l.idle = time.Hour, time.Hour
	return Options{Node: name, Cluster: "shop", ID: [16]byte{7}, TLS: tr.node(name, "shop"), limits: l}
}

// refusals keeps what a layer tells.
type refusals struct {
	mu  sync.Mutex
	all []Refusal
}

func (r *refusals) add(x Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

func (r *refusals) take() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func bind(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve makes a layer on loopback. Who is let in waits until somebody accepts.
func serve(t testing.TB, o Options) *Layer {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", o)
}

func serveAt(t testing.TB, address string, o Options) *Layer {
	t.Helper()
	y, err := New(bind(t, address), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.Close(); err != nil {
			t.Error(err)
		}
	})
	return y
}

// knockRaw calls as a node would, with another configuration of TLS and another preamble, and
// returns the answer.
func knockRaw(t testing.TB, address string, c *tls.Config, say []byte) (a answer, err error) {
	t.Helper()
	c = c.Clone()
	c.ServerName = "127.0.0.1"
	conn, err := tls.Dial("tcp", address, c)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(say); err != nil {
		return a, err
	}
	return readAnswer(conn)
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
