package servertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/engine/s3"
	"github.com/kantadb/kanta/query"
)

const (
	accessKey = "kanta"
	secretKey = "a secret of the test"
	bucket    = "backups"
)

// startServer runs the server with an empty bucket until the test's end, and returns its address.
func startServer(t *testing.T) string {
	t.Helper()
	root, side := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, bucket), 0o755))
	store, err := meta.NewSideCar(side)
	must(t, err)
	files, err := posix.New(root, store, posix.PosixOpts{})
	must(t, err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := free.Addr().String()
	must(t, free.Close())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- embedgw.RunVersityGW(ctx, files, &embedgw.Config{RootUserAccess: accessKey, RootUserSecret: secretKey, Ports: []string{address},
			MaxConnections: 100, MaxRequests: 100, MultipartMaxParts: 10_000, Quiet: true, KeepAlive: true})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	awaitServer(t, address, ended)
	return "http://" + address
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// awaitServer waits until the server answers.
func awaitServer(t *testing.T, address string, ended chan error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if conn, err := net.Dial("tcp", address); err == nil {
			must(t, conn.Close())
			return
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-tick.C:
		}
	}
	t.Fatal("the server does not answer")
}

func open(t *testing.T, endpoint, prefix string, transport http.RoundTripper) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(bucket, prefix, &s3.Options{Endpoint: endpoint, Region: "us-east-1", AccessKey: accessKey, SecretKey: secretKey, Transport: transport})
	must(t, err)
	return b
}

// cutting cuts the bodies of uploads in the middle: of every n-th.
type cutting struct {
	next  http.RoundTripper
	every int64
	puts  atomic.Int64
	cuts  atomic.Int64
	after func() // called when one was cut
}

func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.ContentLength > 1 && c.puts.Add(1)%c.every == 0 {
		c.cuts.Add(1)
		r = r.Clone(r.Context())
		r.Body = &cutBody{r.Body, r.ContentLength / 2}
		response, err := c.next.RoundTrip(r)
		if c.after != nil {
			c.after()
		}
		return response, err
	}
	return c.next.RoundTrip(r)
}

// cutBody ends in an error.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// TestServer runs everything against one server: the process can have only one.
func TestServer(t *testing.T) {
	endpoint := startServer(t)
	n := 0
	empty := func(transport http.RoundTripper) func(t *testing.T) query.BackupTarget {
		return func(t *testing.T) query.BackupTarget {
			n++
			return open(t, endpoint, fmt.Sprintf("line %d/of stores", n), transport)
		}
	}
	t.Run("conformance", func(t *testing.T) { enginetest.Targets(t, empty(nil)) })
	t.Run("uploads are cut", func(t *testing.T) {
		c := &cutting{next: http.DefaultTransport, every: 3}
		b := open(t, endpoint, "cut", c)
		for i := range 12 {
			must(t, b.Put(t.Context(), fmt.Sprint("objects/", i), make([]byte, 100_000)))
		}
		if c.cuts.Load() < 3 {
			t.Fatalf("only %d uploads were cut", c.cuts.Load())
		}
		must(t, b.List(t.Context(), "", func(name string, size int64) error {
			if size != 100_000 {
				return fmt.Errorf("%s has %d bytes", name, size)
			}
			return nil
		}))
	})
	t.Run("an upload that is cut leaves nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &cutting{next: http.DefaultTransport, every: 1, after: cancel}
		b := open(t, endpoint, "half", c)
		if err := b.Put(ctx, "objects/x", make([]byte, 4<<20)); !errors.Is(err, context.Canceled) || c.cuts.Load() == 0 {
			t.Fatal(err)
		}
		if _, err := b.Get(t.Context(), "objects/x", 8<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		must(t, b.List(t.Context(), "", func(name string, size int64) error { return fmt.Errorf("%s of %d bytes is there", name, size) }))
	})
	t.Run("mistakes", func(t *testing.T) { mistakes(t, endpoint) })
}

// mistakes are of the configuration. They are never taken for a target without backups.
func mistakes(t *testing.T, endpoint string) {
	for what, c := range map[string]struct {
		bucket string
		o      s3.Options
		says   string
	}{
		"no such bucket": {"nothing-here", s3.Options{Endpoint: endpoint, AccessKey: accessKey, SecretKey: secretKey}, "bucket does not exist"},
		"a wrong secret": {bucket, s3.Options{Endpoint: endpoint, AccessKey: accessKey, SecretKey: "x"}, "signature"},
		"a wrong key":    {bucket, s3.Options{Endpoint: endpoint, AccessKey: "x", SecretKey: secretKey}, "access key"},
	} {
		c.o.Region = "us-east-1"
		b, err := s3.Open(c.bucket, "", &c.o)
		must(t, err)
		_, err = b.Get(t.Context(), "kanta-backups", 100)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, endpoint := range []string{"storage", "ftp://x", "https://", "https://x/path", "://"} {
		if _, err := s3.Open(bucket, "", &s3.Options{Endpoint: endpoint}); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
