package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connecthttp"

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
