package cluster

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

// pair names the files of a certificate that is not a member's.
func (c *town) pair(name string) certs.Files {
	return certs.Files{Cert: filepath.Join(c.dir, name+".crt"), Key: filepath.Join(c.dir, name+".key"), Authority: filepath.Join(c.dir, "ca.crt")}
}

func (c *town) put(f certs.Files, p certs.Pair, err error) {
	c.t.Helper()
	c.must(errors.Join(err, os.WriteFile(f.Cert, p.Cert, 0o600), os.WriteFile(f.Key, p.Key, 0o600))) // one after the other: for a while they do not fit
}

// certify makes all certificates anew, by the authority that the town has now.
func (c *town) certify() {
	c.t.Helper()
	p, err := c.ca.Server([]string{"127.0.0.1"}, 1, time.Now())
	c.put(c.pair("server"), p, err)
	p, err = c.ca.Client("anna", "admin", 1, time.Now())
	c.put(c.pair("client"), p, err)
	for _, m := range c.members {
		p, err := c.ca.Node(m.id, "town", []string{"127.0.0.1"}, 1, time.Now())
		c.put(certs.Files{Cert: m.dir + ".crt", Key: m.dir + ".key"}, p, err)
	}
}

func (c *town) serverTLS() *tls.Config {
	c.t.Helper()
	if !c.secure {
		return nil
	}
	o, err := certs.Server(c.pair("server"), func(err error) { c.t.Logf("not read anew: %v", err) })
	c.must(err)
	return o
}

func (c *town) withTLS(o *client.Options) *client.Options {
	c.t.Helper()
	if !c.secure {
		return o
	}
	var with client.Options
	if o != nil {
		with = *o
	}
	var err error
	with.TLS, err = certs.Client(c.pair("client"))
	c.must(err)
	return &with
}

// serial is that of the certificate which somebody shows.
func (c *town) serial(address string, o *tls.Config) string {
	c.t.Helper()
	conn, err := tls.Dial("tcp", address, o)
	c.must(err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// rotationWork is what clients do meanwhile.
type rotationWork struct {
	calls atomic.Int64
	stop  chan struct{}
	ended chan error // of each who works
}

// work calls until the end, or until a call fails.
func (w *rotationWork) work(call func(n uint64) error) {
	for n := uint64(1); ; n++ {
		select {
		case <-w.stop:
			w.ended <- nil
			return
		default:
		}
		if err := call(n); err != nil {
			w.ended <- err
			return
		}
		w.calls.Add(1)
	}
}

// more waits for more calls.
func (w *rotationWork) more(c *town) {
	c.t.Helper()
	before := w.calls.Load()
	c.eventually("calls go on", func() bool {
		select {
		case err := <-w.ended:
			c.t.Fatalf("a call failed: %v", err)
		default:
		}
		return w.calls.Load() > before+10
	})
}

// TestRotation makes all certificates of a cluster anew while clients write and ask: those of the members, of their
// servers and of the clients. Nobody hears of it, and after it members and clients find each other by the new ones.
func TestRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it makes hundreds of connections, and runs in make test")
	}
	c := newTown(t)
	c.secure = true
	c.certify()
	c.found(3)
	ctx, w := t.Context(), rotationWork{stop: make(chan struct{}), ended: make(chan error, 2)}
	writer, strict, written := c.client(nil), c.client(&client.Options{Consistency: client.Linearizable}), int64(0)
	go w.work(func(n uint64) error {
		_, err := writer.Apply(ctx, c.more("a", n))
		written++
		return err
	})
	go w.work(func(uint64) error { // over a new connection each
		each, err := client.Open(ctx, c.address(), c.withTLS(nil))
		if err != nil {
			return err
		}
		_, err = each.Count(ctx, "n > 0", nil)
		if err == nil {
			_, err = strict.Count(ctx, "n > 0", nil)
		}
		return errors.Join(err, each.Close())
	})
	more := func() {
		t.Helper()
		w.more(c)
	}
	more()
	shown := func() (all []string) {
		anybody := &tls.Config{InsecureSkipVerify: true}
		for _, m := range c.members {
			all = append(all, c.serial(m.address, anybody), c.serial(m.raft, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"kanta/node"}}))
		}
		return all
	}
	first := shown()
	c.certify()
	c.eventually("all show new certificates", func() bool {
		for i, s := range shown() {
			if s == first[i] {
				return false
			}
		}
		return true
	})
	more()
	for _, m := range c.members { // members meet anew
		m.close()
		m.open()
		more()
	}
	close(w.stop)
	c.must(errors.Join(<-w.ended, <-w.ended))
	c.is("a", written)
}
