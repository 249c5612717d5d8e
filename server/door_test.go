package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connecthttp"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// TestDoor speaks everything that is spoken on one port, and what is not.
func TestDoor(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.header = 100 * time.Millisecond })
	address := listen(t, s).Addr().String()
	for what, c := range map[string]*client.Client{
		"wire": dial(t, "kanta://"+address, nil), "Connect over HTTP/2": dial(t, "", &client.Options{Transport: overHTTP(t, address)}),
		"gRPC": dial(t, "", &client.Options{Transport: overHTTP(t, address, connecthttp.WithGRPC())}),
	} {
		if n, err := c.Count(t.Context(), "true", nil); err != nil || n.Count != 0 {
			t.Errorf("%s: %+v, %v", what, n, err)
		}
	}
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for request, want := range map[string]string{
		`{"expression":"true"}`: `"count":"0"`, `{"expression":""}`: `"code":"invalid_argument"`, `{"expression":7}`: `"code":"invalid_argument"`,
	} {
		res, err := h.Post("http://"+address+"/kanta.v1.KantaService/Count", "application/json", strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || !strings.Contains(strings.ReplaceAll(string(text), ": ", ":"), want) {
			t.Errorf("HTTP/1.1, %s: %s (%v)", request, text, err)
		}
	}
	for what, bytes := range map[string]string{"nothing": "", "the start of TLS": "\x16\x03\x01\x00\xf0", "half a hello": "\xcbKN", "garbage": "\x00\x00\x00\x00"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, bytes); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %s the connection stays open: %v", what, err)
		}
		_ = c.Close()
	}
}

// TestPool has so many calls under way that one connection is not enough, then loses them all.
func TestPool(t *testing.T) {
	db := openStore(t)
	s := limited(t, db, nil, func(l *limits) { l.behind = time.Hour })
	l := listen(t, s)
	c := dial(t, "kanta://"+l.Addr().String(), nil)
	info, err := c.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info.Position.Applied++
	c.See(info.Position)
	const calls = 100
	answered := make(chan error, calls)
	for range calls {
		go func() {
			_, err := c.Count(context.Background(), "true", nil) // it waits for the position
			answered <- err
		}()
	}
	eventually(t, "all questions are there", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls == calls })
	if n := l.cut(); n < 2 || n > 4 {
		t.Errorf("%d calls went over %d connections", calls, n)
	}
	if _, err := db.Apply(t.Context(), increment(t, "a", 0)); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range calls {
		if err := <-answered; isCode(err, query.CodeUnavailable) {
			failed++ // there are not as many retries
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 || failed > calls-10 {
		t.Errorf("%d of %d questions failed", failed, calls)
	}
	if n, err := c.Count(t.Context(), "true", nil); err != nil || n.Count != 1 {
		t.Errorf("%+v, %v: the client has connected again", n, err)
	}
}

// TestRebinding asks as a page of a browser does whose name has been made to mean loopback.
func TestRebinding(t *testing.T) {
	address := listen(t, limited(t, openStore(t), nil, nil)).Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"evil.example:" + port: http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest, "": http.StatusOK,
		"localhost": http.StatusOK, "localhost:" + port: http.StatusOK, "[::1]:" + port: http.StatusOK, "127.0.0.1": http.StatusOK} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/kanta.v1.KantaService/Count", strings.NewReader(`{"expression":"true"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "application/json")
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode != want {
			t.Errorf("host %q: %s, want %d", host, got.Status, want)
		}
		_ = got.Body.Close()
	}
}
