package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/wire"
)

// TestFilesOfCallers goes through the doors for files, with keys of all kinds and without.
func TestFilesOfCallers(t *testing.T) {
	db, s, _ := callersStore(t)
	address := listen(t, s).Addr().String()
	revoked := key(t, s, "admin")
	if _, err := s.register.RevokeKey(t.Context(), revoked[len("kanta_"):][:16]); err != nil {
		t.Fatal(err)
	}
	before, err := db.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, italy := key(t, s, "reader"), key(t, s, "writer"), key(t, s, "italy")
	for _, test := range []struct {
		who, key, method, path string
		status                 int
		want                   string
	}{
		{"nobody", "", "GET", "/v1/members?expression=true", 401, `"unauthenticated"`},
		{"a revoked key", revoked, "GET", "/v1/members?expression=true", 401, `"unauthenticated"`},
		{"a reader", reader, "GET", "/v1/members?expression=n<2&attributes=email&format=csv", 200, "p01@example.com"},
		{"italy", italy, "GET", "/v1/members?expression=n<4&attributes=phone&format=csv", 200, "p00," + query.Mask + "\np02," + query.Mask + "\n"},
		{"italy, of what is hidden", italy, "GET", "/v1/members?expression=true&attributes=email", 404, `"unknown_name"`},
		{"italy, of another country", italy, "GET", "/v1/timeline?key=p01", 404, `"unknown_name"`},
		{"a writer", writer, "GET", "/v1/members?expression=true", 403, `"denied"`},
		{"nobody", "", "POST", "/v1/profiles?key=id", 401, `"unauthenticated"`},
		{"a reader", reader, "POST", "/v1/profiles?key=id", 403, `"denied"`},
		{"a writer", writer, "POST", "/v1/profiles?key=id", 200, `"position"`},
	} {
		if test.who == "a writer" && test.method == "POST" {
			if after, err := db.Digests(t.Context()); err != nil || after.Content != before.Content {
				t.Errorf("what was refused has changed something, %v", err)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+address+strings.ReplaceAll(test.path, "<", "%3C"), strings.NewReader("id,n\nnew,1\n"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/csv")
		req.Header.Set("Authorization", "Bearer "+test.key)
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != test.status || !strings.Contains(string(text), test.want) {
			t.Errorf("%s, %s %s: %d %s, %v", test.who, test.method, test.path, res.StatusCode, text, err)
		}
	}
	if n, err := db.Count(t.Context(), "!has(p.country)", nil); err != nil || n.Count != 1 {
		t.Errorf("%d people were loaded, %v", n.Count, err)
	}
}

// TestSocket: who comes through a socket of the machine comes from the machine.
func TestSocket(t *testing.T) {
	_, s, _ := callersStore(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "kanta"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	count := func(key string) error {
		w, err := wire.Dial(t.Context(), "unix", l.Addr().String(), nil, &wire.Options{Credentials: []byte(key)})
		if err != nil {
			return err
		}
		defer w.Close()
		c, err := client.Open(t.Context(), "", &client.Options{Transport: w})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Count(t.Context(), "true", nil)
		return err
	}
	if err := count(""); err != nil {
		t.Error(err)
	}
	text := key(t, s, "reader")
	if err := count(""); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("when there is a key: %v", err)
	}
	if err := count(text); err != nil {
		t.Error(err)
	}
}
