package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/server/certs"
)

// TestCert makes an authority and what it issues, and shows them.
func TestCert(t *testing.T) {
	c := newCLI(t)
	in := func(name string) string { return c.path(filepath.Join("certs", name)) }
	cert := func(args ...string) string {
		return c.must(append([]string{"cert", "--dir", c.path("certs")}, args...)...)
	}
	contains(t, cert("ca"), "certificate\t"+filepath.Join("certs", "ca.crt"))
	cert("server", "--host", "127.0.0.1", "--host", "db.example.com")
	cert("client", "--name", "anna", "--role", "analyst", "--days", "7")
	var one struct{ Certificate, Key, Until string }
	if err := json.Unmarshal([]byte(cert("client", "--name", "ben@x", "--role", "admin", "--json")), &one); err != nil || one.Key != filepath.Join("certs", "client-ben@x.key") {
		t.Errorf("%+v, %v", one, err)
	}
	if until, err := time.Parse(time.RFC3339, one.Until); err != nil || until.Sub(time.Now().AddDate(0, 0, certs.LeafDays)).Abs() > time.Hour {
		t.Errorf("until %s, %v", one.Until, err)
	}
	cert("node", "--name", "n1", "--cluster", "shop", "--host", "10.0.0.7")
	if info, err := os.Stat(in("client-anna.key")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	var shown struct{ Certificates []certJSON }
	if err := json.Unmarshal([]byte(cert("show", "--json")), &shown); err != nil || len(shown.Certificates) != 5 {
		t.Fatalf("%+v, %v", shown, err)
	}
	for i, want := range []certJSON{{Name: "kanta-ca", Kind: "authority"}, {Name: "anna", Kind: "client", Role: "analyst"},
		{Name: "ben@x", Kind: "client", Role: "admin"}, {Name: "n1", Kind: "node", Cluster: "shop", Hosts: []string{"10.0.0.7"}},
		{Name: "127.0.0.1", Kind: "server", Hosts: []string{"db.example.com", "127.0.0.1"}}} {
		got := shown.Certificates[i]
		if got.Name != want.Name || got.Kind != want.Kind || got.Role != want.Role || got.Cluster != want.Cluster || strings.Join(got.Hosts, " ") != strings.Join(want.Hosts, " ") ||
			got.Issuer != "kanta-ca" || got.Expired || len(got.SHA256) != 64 {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
	contains(t, cert("show", in("client-anna.crt")), "client\tanna\tanalyst\t")
	contains(t, cert("show", in("node-n1.crt")), "node\tn1\tshop 10.0.0.7\t")
	before, err := os.ReadFile(in("ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"show", in("ca.key")}, {"show", c.path("none")}, {"server"}, {"client", "--name", "x"}, {"client", "--role", "x"},
		{"client", "--name", "../x", "--role", "r"}, {"client", "--name", "x", "--role", "r", "--days", "0"}, {"server", "--host", "a b", "--dir", c.path("other")},
		{"node", "--name", "x", "--host", "h"}, {"node", "--cluster", "x", "--host", "h"}, {"node", "--name", "x", "--cluster", "x"},
	} {
		if _, stderr, code := c.run(append([]string{"cert", "--dir", c.path("certs")}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
	for _, args := range [][]string{{"ca"}, {"server", "--host", "h"}, {"client", "--name", "anna", "--role", "r"}} {
		if _, stderr, code := c.run(append([]string{"cert", "--dir", c.path("certs")}, args...)...); code != exitQuestion || !strings.Contains(stderr, "there already") {
			t.Errorf("%v over what is there: exit %d, %s", args, code, stderr)
		}
	}
	if after, err := os.ReadFile(in("ca.key")); err != nil || string(after) != string(before) {
		t.Error("the authority's key has changed")
	}
}

// TestServeTLS serves over TLS: the command asks with its certificate, by flags and by the
// environment, and curl does.
func TestServeTLS(t *testing.T) {
	c := newCLI(t)
	c.people()
	in := func(name string) string { return c.path(filepath.Join("certs", name)) }
	for _, args := range [][]string{{"ca"}, {"server", "--host", "127.0.0.1"}, {"client", "--name", "anna", "--role", "admin"}} {
		c.must(append([]string{"cert", "--dir", c.path("certs")}, args...)...)
	}
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(c.must("key", "create", "--role", "reader", "--name", "k", "--json")), &key); err != nil || len(key.Key) < 20 {
		t.Fatalf("%d bytes of a key, %v", len(key.Key), err)
	}
	address, _ := serving(c, "--tls-cert", in("server.crt"), "--tls-key", in("server.key"), "--client-ca", in("ca.crt"))
	flags := []string{"--ca", in("ca.crt"), "--cert", in("client-anna.crt"), "--cert-key", in("client-anna.key")}
	ask := append([]string{"count", `country == "FI"`}, flags...)
	if got := c.must(ask...); !strings.HasPrefix(got, "count\t2\n") {
		t.Errorf("counted: %s", got)
	}
	if _, stderr, code := c.run(ask[:4]...); code != exitStore {
		t.Errorf("nobody: exit %d, %s", code, stderr)
	}
	if _, stderr, code := c.run("count", "true", "--cert", flags[3], "--cert-key", flags[5]); code != exitQuestion {
		t.Errorf("who does not believe: exit %d, %s", code, stderr)
	}
	if _, stderr, code := c.run("count", "true"); code != exitUsage || !strings.Contains(stderr, "TLS only") {
		t.Errorf("in plain text: exit %d, %s", code, stderr)
	}
	c.env["KANTA_CA"], c.env["KANTA_CERT"], c.env["KANTA_CERT_KEY"] = flags[1], flags[3], flags[5]
	if got := c.must("count", "true"); !strings.HasPrefix(got, "count\t3\n") {
		t.Errorf("counted: %s", got)
	}
	c.env["KANTA_CERT"], c.env["KANTA_CERT_KEY"] = "", ""
	c.env["KANTA_KEY"] = "not looked at yet"
	if _, stderr, code := c.run("count", "true"); code != exitUsage || strings.Contains(stderr, "looked") {
		t.Errorf("a key that is none: exit %d, %s", code, stderr)
	}
	c.env["KANTA_KEY"] = " " + key.Key + "\n"
	contains(t, c.must("whoami"), "name\tk", "role\treader")
	if got := c.must("count", "true"); !strings.HasPrefix(got, "count\t3\n") {
		t.Errorf("counted: %s", got)
	}
	c.env["KANTA_KEY"] = "another"
	if got := c.must("count", "true", "--key-file", c.file("key", key.Key+"\n")); !strings.HasPrefix(got, "count\t3\n") {
		t.Errorf("counted: %s", got)
	}
	for _, args := range [][]string{
		{"count", "true", "--key-file", c.path("none")}, {"count", "true", "--key-file", c.file("empty", "\n")}, {"count", "true", "--key-file", c.file("long", strings.Repeat("k", maxKeyFile+1))},
		{"count", "true", "--db", c.path("db"), "--ca", flags[1]},
		{"serve", "--db", c.path("db2"), "--tls-cert", in("server.crt")}, {"serve", "--db", c.path("db2"), "--client-ca", in("ca.crt")},
		{"serve", "--db", c.path("db2"), "--tls-cert", in("server.crt"), "--tls-key", in("ca.key")},
		{"serve", "--db", c.path("db2"), "--tls-cert", in("server.crt"), "--tls-key", in("server.key"), "--listen", "0.0.0.0:0"},
	} {
		if _, stderr, code := c.run(args...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
	mine, err := certs.Client(certs.Files{Authority: flags[1], Cert: flags[3], Key: flags[5]})
	if err != nil {
		t.Fatal(err)
	}
	overTLS(t, address, mine)
}

// overTLS asks as curl --cacert --cert --key does.
func overTLS(t *testing.T, address string, c *tls.Config) {
	t.Helper()
	h := http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+strings.TrimPrefix(address, serverScheme)+"/kanta.v1.KantaService/Count", strings.NewReader(`{"expression":"true"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(strings.ReplaceAll(string(text), `": `, `":`), `"count":"3"`) {
		t.Errorf("%s, %v", text, err)
	}
}
