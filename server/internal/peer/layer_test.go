package peer

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
)

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// plain comes without TLS.
func plain(t *testing.T, address, say string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	if n, _ := io.Copy(io.Discard, c); n > 64 { // an alert of TLS at most
		t.Errorf("%d bytes are answered to plain text", n)
	}
}

// certificate returns what a pair is for TLS.
func certificate(t *testing.T, p certs.Pair, err error) tls.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRefused comes with everything that must not be let in. Raft is given nothing, and the
// operator is told each time; so is the caller, as far as it can hear.
func TestRefused(t *testing.T) {
	tr, other := newTrust(t), newTrust(t)
	var told refusals
	o := tr.options("n1")
	o.Refused = told.add
	o.Allowed = func(node string) bool { return node != "removed" }
	y := serve(t, o)
	address := y.Addr().String()
	me := tr.options("n2").TLS
	now := time.Now()
	show := func(c tls.Certificate) *tls.Config {
		config := me.Calling("127.0.0.1")
		config.NextProtos, config.Certificates = []string{alpn}, []tls.Certificate{c}
		return config
	}
	issued := func(p certs.Pair, err error) *tls.Config { return show(certificate(t, p, err)) }
	node := func(name, cluster string) *tls.Config {
		return issued(tr.ca.Node(name, cluster, []string{"127.0.0.1"}, 1, now))
	}
	with := func(change func(c *tls.Config)) *tls.Config {
		c := node("n2", "shop")
		change(c)
		return c
	}
	past := issued(tr.ca.Node("n2", "shop", []string{"127.0.0.1"}, 1, now.AddDate(0, 0, -1).Add(-time.Minute)))
	alien := issued(other.ca.Node("n2", "shop", []string{"127.0.0.1"}, 1, now))
	anna := issued(tr.ca.Client("anna", "admin", 1, now))
	web := issued(tr.ca.Server([]string{"127.0.0.1"}, 1, now))
	good := greeting{oldest: 1, newest: 1, purpose: forRaft, id: o.ID, cluster: "shop"}
	say := func(change func(g *greeting)) []byte {
		g := good
		change(&g)
		return g.append(nil)
	}
	hello := good.append(nil)
	const vote = "\x01\x8a" // of which no byte may be read
	for what, test := range map[string]struct {
		config *tls.Config
		say    []byte
		reason Reason
		code   code   // of the answer. 0: there is none, TLS itself refuses
		text   string // of the answer, or of the error
	}{
		"TLS 1.2":                {with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), hello, ReasonTLS, 0, "protocol version"},
		"no certificate":         {with(func(c *tls.Config) { c.Certificates = nil }), hello, ReasonTLS, 0, "certificate required"},
		"another authority":      {alien, hello, ReasonTLS, 0, "unknown certificate authority"},
		"expired":                {past, hello, ReasonTLS, 0, "expired certificate"},
		"of a server":            {web, hello, ReasonTLS, 0, "bad certificate"},
		"another ALPN":           {with(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), hello, ReasonTLS, 0, "no application protocol"},
		"no ALPN":                {with(func(c *tls.Config) { c.NextProtos = nil }), hello, ReasonProtocol, codeVersion, "does not say"},
		"of a client":            {anna, []byte(vote), ReasonCertificate, codeCertificate, "of a client, not of a node"},
		"of another cluster":     {node("n2", "bank"), []byte(vote), ReasonCertificate, codeCertificate, "of the cluster bank"},
		"no preamble":            {node("n2", "shop"), []byte(strings.Repeat(vote, 20)), ReasonProtocol, codeVersion, "no preamble"},
		"newer versions only":    {node("n2", "shop"), say(func(g *greeting) { g.oldest, g.newest = 2, 3 }), ReasonProtocol, codeVersion, "versions 2 to 3"},
		"another cluster's name": {node("n2", "shop"), say(func(g *greeting) { g.cluster = "bank" }), ReasonCluster, codeCluster, "another cluster"},
		"another cluster's id":   {node("n2", "shop"), say(func(g *greeting) { g.id[15]++ }), ReasonCluster, codeCluster, "another cluster"},
		"another purpose":        {node("n2", "shop"), say(func(g *greeting) { g.purpose = 2 }), ReasonProtocol, codePurpose, "purpose 2"},
		"a node that is out":     {node("removed", "shop"), hello, ReasonNode, codeNode, "does not belong"},
		"this node's name":       {node("n1", "shop"), hello, ReasonNode, codeNode, "name of this node"},
	} {
		a, err := knockRaw(t, address, test.config, test.say)
		switch {
		case test.code == 0:
			if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %+v, %v", what, a, err)
			}
		case err != nil || a.code != test.code || !strings.Contains(a.why, test.text) || a.version != newest:
			t.Errorf("%s: %+v, %v", what, a, err)
		}
		var got []Refusal
		eventually(t, what, func() bool { got = append(got, told.take()...); return len(got) > 0 })
		if len(got) != 1 || got[0].Reason != test.reason || got[0].Err == nil || got[0].Address == nil {
			t.Errorf("%s: told %+v", what, got)
		}
		if (test.code != 0 && what != "of a client") != (got[0].Node != "") {
			t.Errorf("%s: nobody knows who it was: %+v", what, got)
		}
	}
	aftermath(t, y, node("n2", "shop"), hello)
	if f := y.Figures(); f.Accepted != 19 || f.Strangers != 0 || f.Connections != 0 {
		t.Errorf("%+v", f)
	}
}

// aftermath comes in plain text, and then as one who is welcome: that is the first that Raft hears of.
func aftermath(t *testing.T, y *Layer, welcome *tls.Config, hello []byte) {
	t.Helper()
	address := y.Addr().String()
	plain(t, address, "GET / HTTP/1.1\r\n\r\n")
	plain(t, address, "\x01\x8a\x01\x8a\x01\x8a")
	eventually(t, "in plain text", func() bool { return y.Figures().Refused[ReasonPlain] == 2 })
	if a, err := knockRaw(t, address, welcome, append(hello, "x"...)); err != nil || a != (answer{version: 1}) {
		t.Fatalf("%+v, %v", a, err)
	}
	c, err := y.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	_ = c.Close()
}

// TestDialed calls what is not the node that is meant. The caller understands why.
func TestDialed(t *testing.T) {
	tr, other := newTrust(t), newTrust(t)
	o := tr.options("n1")
	o.NodeAt = func(string) string { return "n2" }
	y := serve(t, o)
	dial := func(address string) error {
		c, err := y.Dial(raft.ServerAddress(address), time.Minute)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	in := func(change func(o *Options), trust *trust, name string) string {
		o := Options{Node: name, Cluster: "shop", ID: o.ID}
		change(&o)
		o.TLS = trust.node(name, o.Cluster)
		return serve(t, o).Addr().String()
	}
	same := func(*Options) {}
	p, err := tr.ca.Node("away", "shop", []string{"away.example.com"}, 1, time.Now())
	tr.keep(p, err, "away")
	away := serve(t, Options{Node: "away", Cluster: "shop", TLS: tr.mutual("away")}).Addr().String()
	p, err = tr.ca.Server([]string{"127.0.0.1"}, 1, time.Now())
	web, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate(t, p, err)}})
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c) // does the handshake
				_ = c.Close()
			}()
		}
	}()
	nobody := bind(t, "127.0.0.1:0")
	nobody.Close()
	for what, test := range map[string]struct {
		address string
		code    query.Code
		text    string
	}{
		"the node that is meant":   {in(same, tr, "n2"), 0, ""},
		"another node":             {in(same, tr, "n3"), query.CodeDenied, "is the node n3, not n2"},
		"another cluster":          {in(func(o *Options) { o.Cluster = "bank" }, tr, "n2"), query.CodeDenied, "of the cluster bank, and this is one of shop"},
		"another cluster's id":     {in(func(o *Options) { o.ID[0]++ }, again(t, tr), "n2"), query.CodeDenied, "refused this one: another cluster"},
		"another authority":        {in(same, other, "n2"), query.CodeDenied, "is not believed"},
		"another host":             {away, query.CodeDenied, "is not believed"},
		"a server":                 {web.Addr().String(), query.CodeDenied, "is no node"},
		"who does not allow it":    {in(func(o *Options) { o.Allowed = func(string) bool { return false } }, again(t, tr), "n2"), query.CodeDenied, "n1 does not belong"},
		"nobody":                   {nobody.Addr().String(), query.CodeUnavailable, "cannot be reached"},
		"what is no address":       {"n2", query.CodeInvalid, "HOST:PORT"},
		"an address with no host:": {":0", query.CodeUnavailable, "cannot be reached"},
	} {
		if err := dial(test.address); test.code == 0 && err != nil || test.code != 0 && (!isCode(err, test.code) || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	silent := bind(t, "127.0.0.1:0") // the system shakes hands, and nobody else
	defer silent.Close()
	if _, err := y.Dial(raft.ServerAddress(silent.Addr().String()), 50*time.Millisecond); !isCode(err, query.CodeUnavailable) {
		t.Errorf("who says nothing: %v", err)
	}
	if f := y.Figures(); f.Dialed != 12 || f.DialFailed != 11 {
		t.Errorf("%+v", f)
	}
	_ = y.Close()
	if err := dial(away); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// again is the same authority with another directory, for another certificate of the same name.
func again(t *testing.T, tr *trust) *trust {
	t.Helper()
	same := &trust{t: t, dir: t.TempDir(), ca: tr.ca}
	p, err := certs.Load(tr.dir, "ca")
	same.keep(p, err, "ca")
	return same
}

// TestNew makes layers of what does not fit.
func TestNew(t *testing.T) {
	tr := newTrust(t)
	good := tr.options("n1")
	p, err := tr.ca.Server([]string{"h"}, 1, time.Now())
	tr.keep(p, err, "server")
	for what, change := range map[string]func(o *Options){
		"no certificate": func(o *Options) { o.TLS = nil }, "no name": func(o *Options) { o.Node = "" }, "a path": func(o *Options) { o.Cluster = "a/b" },
		"another's certificate": func(o *Options) { o.Node = "n2" }, "another cluster's": func(o *Options) { o.Cluster = "bank" }, "a server's": func(o *Options) { o.TLS = tr.mutual("server") },
	} {
		o := good
		change(&o)
		l := bind(t, "127.0.0.1:0")
		if _, err := New(l, o); err == nil {
			t.Errorf("%s is taken", what)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", what, err)
		}
	}
	good.Advertise = "n1.example.com:7701"
	y := serve(t, good)
	if a := y.Addr(); a.String() != good.Advertise || a.Network() != "tcp" {
		t.Errorf("%v", a)
	}
	_ = y.Close()
	if _, err := y.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// faulty is a listener of a machine that has no more files for a while.
type faulty struct {
	net.Listener
	fail int
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.fail--; f.fail >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// TestAccept goes on after the machine could not, and tells that once.
func TestAccept(t *testing.T) {
	tr := newTrust(t)
	var told refusals
	o := tr.options("n1")
	o.Refused = told.add
	y, err := New(&faulty{Listener: bind(t, "127.0.0.1:0"), fail: 3}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	c, err := serve(t, tr.options("n2")).Dial(raft.ServerAddress(y.Addr().String()), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if all := told.take(); len(all) != 1 || all[0].Reason != ReasonAccept || !errors.Is(all[0].Err, syscall.EMFILE) {
		t.Errorf("%+v", all)
	}
}
