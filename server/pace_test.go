package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipeBody is a request's body that somebody writes while it is read, and the control of it.
type pipeBody struct {
	http.ResponseWriter
	*io.PipeReader
}

// SetReadDeadline implements what [http.ResponseController] looks for.
func (b *pipeBody) SetReadDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		return b.CloseWithError(os.ErrDeadlineExceeded)
	}
	return nil
}

// paced reads a body that write sends, by the default limits, and pauses after each read.
func paced(kind string, pause time.Duration, write func(w io.Writer)) (n int, err error) {
	r, w := io.Pipe()
	b := &pipeBody{PipeReader: r}
	l := defaultLimits()
	body := newPace(b, &http.Request{Body: b, Header: http.Header{"Content-Type": {kind}}}, &l)
	written := make(chan struct{})
	go func() {
		defer close(written)
		write(w)
		_ = w.Close()
	}()
	part := make([]byte, 4<<10)
	for err == nil {
		var got int
		got, err = body.Read(part)
		n += got
		pass(pause)
	}
	_ = r.Close()
	<-written
	return n, err
}

// TestPace sends bodies at the least rate and a bit below it, at once and in messages.
func TestPace(t *testing.T) {
	l := defaultLimits()
	drip := func(w io.Writer, bytes, rate int) {
		const piece = 1 << 10
		for ; bytes > 0; bytes -= piece {
			pass(time.Second * piece / time.Duration(rate))
			if _, err := w.Write(make([]byte, piece)); err != nil {
				return
			}
		}
	}
	message := func(w io.Writer, bytes, rate int) {
		_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(bytes))) // fails when the reader has given up
		drip(w, bytes, rate)
	}
	const unary, stream, large = "application/json", "application/connect+json", 4 << 20
	for what, test := range map[string]struct {
		kind  string
		pause time.Duration
		write func(io.Writer)
		ok    bool
	}{
		"at the rate":              {unary, 0, func(w io.Writer) { drip(w, large, l.rate) }, true},
		"below it":                 {unary, 0, func(w io.Writer) { drip(w, large, l.rate-l.rate/10) }, false},
		"nothing, almost for long": {unary, 0, func(w io.Writer) { pass(l.window - time.Millisecond); _, _ = w.Write(make([]byte, 99)) }, true},
		"nothing for too long":     {unary, 0, func(w io.Writer) { pass(l.window + time.Millisecond); drip(w, 1<<10, l.rate) }, false},
		"a slow server":            {unary, time.Minute, func(w io.Writer) { drip(w, 64<<10, l.rate*10) }, true},
		"much, then nothing":       {unary, 0, func(w io.Writer) { drip(w, large, l.rate*100); pass(l.window + time.Second) }, false},
		"messages, rarely": {stream, 0, func(w io.Writer) {
			for range 5 {
				message(w, 1<<10, l.rate)
				pass(l.idle - time.Second)
			}
		}, true},
		"messages, too rarely": {stream, 0, func(w io.Writer) { message(w, 1<<10, l.rate); pass(l.idle + time.Second) }, false},
		"empty messages": {stream, 0, func(w io.Writer) {
			for range 5 {
				message(w, 0, 1)
				pass(l.idle - time.Second)
			}
		}, true},
		"messages at the rate":       {stream, 0, func(w io.Writer) { message(w, large, l.rate); message(w, large, l.rate) }, true},
		"a slow message":             {stream, 0, func(w io.Writer) { message(w, 1<<10, l.rate); message(w, large, l.rate/2) }, false},
		"half of a message's length": {stream, 0, func(w io.Writer) { _, _ = w.Write([]byte{0, 0}); pass(l.window + time.Second) }, false},
		"gRPC":                       {"application/grpc+proto", 0, func(w io.Writer) { message(w, 1<<10, l.rate); pass(time.Minute); message(w, 1<<10, l.rate) }, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, err := paced(test.kind, test.pause, test.write)
			if ok := err == io.EOF; ok != test.ok || !ok && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %d bytes, %v", what, n, err)
			}
		})
	}
}

// TestSlowBody sends half of a request's body and no more, over HTTP/1.1 and HTTP/2: the server
// gives it up, and the other calls of the connection live.
func TestSlowBody(t *testing.T) {
	s := limited(t, openStore(t), nil, func(l *limits) { l.window = 50 * time.Millisecond })
	address := listen(t, s).Addr().String()
	for name, version2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(version2)
		protocols.SetHTTP1(!version2)
		h := &http.Client{Transport: &http.Transport{Protocols: protocols}}
		half, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, `{"expression":`) }() // the rest never comes
		res, err := h.Post("http://"+address+"/kanta.v1.KantaService/Count", "application/json", half)
		if err == nil {
			text, _ := io.ReadAll(res.Body)
			if res.StatusCode == http.StatusOK || !bytes.Contains(text, []byte("too slowly")) {
				t.Errorf("%s: %s %s", name, res.Status, text)
			}
			_ = res.Body.Close()
		} else if version2 {
			t.Errorf("%s: %v", name, err)
		}
		_ = w.Close()
		res, err = h.Post("http://"+address+"/kanta.v1.KantaService/Count", "application/json", strings.NewReader(`{"expression":"true"}`))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s, after it: %v, %v", name, res, err)
		}
		_ = res.Body.Close()
		h.CloseIdleConnections()
	}
}

// TestHeaderBytes sends a header as large as it may be, and one byte more.
func TestHeaderBytes(t *testing.T) {
	s := limited(t, openStore(t), nil, nil)
	address := listen(t, s).Addr().String()
	for name, version2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(version2)
		protocols.SetHTTP1(!version2)
		h := &http.Client{Transport: &http.Transport{Protocols: protocols}}
		for extra, want := range map[int]int{0: http.StatusOK, 1: http.StatusRequestHeaderFieldsTooLarge} {
			r, err := http.NewRequest(http.MethodPost, "http://"+address+"/kanta.v1.KantaService/Count", strings.NewReader(`{"expression":"true"}`))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range map[string]string{"Content-Type": "application/json", "User-Agent": "x", "Accept-Encoding": "identity", "X-Large": ""} {
				r.Header.Set(k, v)
			}
			seen := *r // as the server sees it, with the length
			seen.Header = r.Header.Clone()
			seen.Header.Set("Content-Length", "21")
			seen.Host, seen.RequestURI = address, r.URL.RequestURI()
			r.Header.Set("X-Large", strings.Repeat("x", s.limits.headerBytes-headerBytes(&seen)+extra))
			res, err := h.Do(r)
			if err != nil {
				t.Fatalf("%s, %d bytes more: %v", name, extra, err)
			}
			if res.StatusCode != want {
				t.Errorf("%s, %d bytes more: %s", name, extra, res.Status)
			}
			_ = res.Body.Close()
		}
		h.CloseIdleConnections()
	}
}

// TestStreams begins as many calls on a connection of HTTP/2 as there may be, and one more, which
// is refused.
func TestStreams(t *testing.T) {
	const n = 5
	s := limited(t, openStore(t), nil, func(l *limits) { l.streams = n })
	conn, err := net.Dial("tcp", listen(t, s).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frame := func(kind, flags byte, stream uint32, payload string) string {
		head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
		return string(binary.BigEndian.AppendUint32(head, stream)) + payload
	}
	const path, kind = "/kanta.v1.KantaService/Count", "application/json"
	// POST, http, and literals with the names of HPACK's table: path, authority, content type.
	header := fmt.Sprintf("\x83\x86\x04%c%s\x01\x09localhost\x0f\x10%c%s", len(path), path, len(kind), kind)
	out := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") + frame(4, 1, 0, "")
	for i := range n + 1 {
		out += frame(1, 4, uint32(2*i+1), header) // the body does not come
	}
	if _, err := io.WriteString(conn, out); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		stream := binary.BigEndian.Uint32(head[5:])
		if head[3] == 3 { // RST_STREAM
			if code := binary.BigEndian.Uint32(payload); stream != 2*n+1 || code != 7 && code != 1 {
				t.Errorf("stream %d is refused with %d", stream, code)
			}
			break
		}
		if head[3] == 1 || head[3] == 7 {
			t.Fatalf("stream %d is answered with frame %d: %q", stream, head[3], payload)
		}
	}
	eventually(t, "the others are calls", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls == n })
}

// pass lets time pass where it costs none.
func pass(d time.Duration) { <-time.After(d) }
