package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFilesRefused sends what is not taken.
func TestFilesRefused(t *testing.T) {
	db := openStore(t)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	people, good := "/v1/profiles?key=id", "id,n\n1,2\n"
	sequence := func(s string) map[string]string { return map[string]string{"Kanta-Source": "x", "Kanta-Sequence": s} }
	for _, c := range []struct {
		path, kind, body string
		header           map[string]string
		status           int
		code, says       string
	}{
		{people, "text/plain", good, nil, 415, "invalid", "text/csv or application/x-ndjson"},
		{people, "application/x-www-form-urlencoded", good, nil, 415, "invalid", ""},
		{people, csvType, good, map[string]string{"Content-Encoding": "br"}, 415, "invalid", "gzip or zstd"},
		{people, csvType, good, map[string]string{"Content-Encoding": "gzip"}, 400, "invalid", "is not gzip"},
		{people, csvType, good, map[string]string{"Content-Encoding": "zstd"}, 400, "invalid", "unpacked"},
		{people, csvType, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", nil, 415, "invalid", "Content-Encoding: gzip"},
		{people, csvType, "", nil, 400, "invalid", "empty"},
		{people, csvType, "id,n\n", nil, 400, "invalid", "no row"},
		{people, csvType, "id,n,n\n1,2,3\n", nil, 400, "input", "column 3"},
		{people, csvType, "{\"id\":\"1\"}\n", nil, 400, "invalid", "looks like ndjson"},
		{people, ndjsonType, "[{\"id\":\"1\"}]", nil, 400, "input", "one object per line"},
		{people, csvType, "id,n\n1,caf\xe9\xe8\xe9\n", nil, 400, "input", "encoding=windows-1252"},
		{"/v1/profiles", csvType, good, nil, 400, "invalid", "key is missing"},
		{"/v1/profiles?key=who", csvType, good, nil, 400, "input", `no column "who"`},
		{"/v1/profiles?key=who&unknown=ignore", csvType, good, nil, 422, "unknown_name", `no column "who"`},
		{people + "&strikt=1", csvType, good, nil, 400, "invalid", `no parameter "strikt"`},
		{people + "&strict=yes", csvType, good, nil, 400, "invalid", "1 or 0"},
		{people + "&key=n", csvType, good, nil, 400, "invalid", "2 times"},
		{people + "&unknown=what", csvType, good, nil, 400, "invalid", "add, ignore, quarantine or refuse"},
		{people + "&unknown=refuse", csvType, "id,shoe\n1,2\n", nil, 422, "unknown_name", "shoe"},
		{people + "&dry_run", csvType, "id,shoe\n1,2\n", nil, 400, "invalid", "shoe"},
		{people + "&zone=Mars", csvType, good, nil, 400, "invalid", "no such zone"},
		{people + "&empty=perhaps", csvType, good, nil, 400, "invalid", "keep or unset"},
		{people, csvType, good, map[string]string{"Kanta-Sequence": "1"}, 400, "invalid", "Kanta-Source"},
		{people, csvType, good, map[string]string{"Kanta-Source": "x"}, 400, "invalid", "Kanta-Sequence"},
		{people, csvType, good, sequence("0"), 400, "invalid", "from 1"},
		{people, csvType, good, sequence(fmt.Sprint(uint64(maxSequence + 1))), 400, "invalid", "from 1"},
		{people, csvType, good, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, "denied", "another place"},
		{"/v1/events?profile=id&time=n", csvType, good, nil, 400, "invalid", "event=COLUMN or event_name=NAME"},
		{"/v1/events?profile=id&event_name=act", csvType, good, nil, 400, "invalid", "time is missing"},
		{"/v1/events?profile=id&event_name=act&time=n&lines=things", ndjsonType, "{\"id\":\"1\",\"n\":\"2026-01-01\"}\n", nil, 400, "input", "which lines names"},
		{"/v1/members?expression=", "", "", nil, 400, "invalid", "expression is missing"},
		{"/v1/members?expression=nn==1", "", "", nil, 404, "unknown_name", "nn"},
		{"/v1/members?expression=true%0A%26%26+(", "", "", nil, 400, "syntax", ""},
		{"/v1/members?expression=true&format=xml", "", "", nil, 400, "invalid", "no such format"},
		{"/v1/members?expression=true", "", "", map[string]string{"Accept": "image/png"}, 406, "invalid", "image/png"},
		{"/v1/members?expression=true&limit=-1", "", "", nil, 400, "invalid", "0 or more"},
		{"/v1/members?expression=true&at_least=soon", "", "", nil, 400, "invalid", "a position"},
		{"/v1/members?expression=true&at_least=99.1", "", "", nil, 409, "wrong_epoch", ""},
		{"/v1/members?expression=true&attributes=shoe", "", "", nil, 404, "unknown_name", "shoe"},
		{"/v1/timeline?key=nobody", "", "", nil, 404, "unknown_name", "nobody"},
		{"/v1/timeline?key=1&format=parquet", "", "", nil, 400, "invalid", "no such format"},
	} {
		got := fileRequest{path: c.path, kind: c.kind, body: strings.NewReader(c.body), header: c.header}.load(t, address, c.status)
		if c.code != "" && got.Error.Code != c.code || !strings.Contains(got.Error.Message+got.Error.Hint, c.says) || got.Error.Code == "syntax" && (got.Error.Line != 2 || got.Error.Column == 0) {
			t.Errorf("%s, %q: %+v", c.path, c.body, got.Error)
		}
	}
	if n := count(t, db, "true"); n != 0 {
		t.Errorf("%d people came with what was refused", n)
	}
	for method, path := range map[string]string{http.MethodGet: "/v1/profiles", http.MethodHead: "/v1/members?expression=true", http.MethodOptions: "/v1/events", http.MethodPost: "/v1/timeline"} {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = res.Body.Close(); res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %s", method, path, res.Status)
		}
	}
}

// TestFilesLimits sends what is just as long as it may be, and a byte more.
func TestFilesLimits(t *testing.T) {
	const body = 1 << 20
	db := openStore(t)
	s := limited(t, db, nil, func(l *limits) { l.files.body, l.files.inflated, l.files.inflation = body, 10_000, 3 })
	address := listen(t, s).Addr().String()
	rows := "id,n\n" + strings.Repeat("1,2\n", body/4)
	for size, status := range map[int]int{body: http.StatusOK, body + 1: http.StatusRequestEntityTooLarge} {
		text := rows[:size]
		got := fileRequest{path: "/v1/profiles?key=id", kind: csvType, body: strings.NewReader(text)}.load(t, address, status)
		if status != http.StatusOK && (got.Error.Code != "limit" || !strings.Contains(got.Error.Message, "1 MiB")) {
			t.Errorf("%d bytes: %+v", size, got.Error)
		}
	}
	bomb := func(n int) io.Reader { return pack(t, "id,n\n"+strings.Repeat("1,2\n", n), gzipped) }
	packed := bomb(2500).(*bytes.Buffer).Len() // 10 kB and a little
	if packed > 1000 {
		t.Fatalf("%d bytes: it is no bomb", packed)
	}
	for n, status := range map[int]int{2500: http.StatusOK, 25_000: http.StatusRequestEntityTooLarge} {
		got := fileRequest{path: "/v1/profiles?key=id", kind: csvType, body: bomb(n), header: map[string]string{"Content-Encoding": "gzip"}}.load(t, address, status)
		if status != http.StatusOK && !strings.Contains(got.Error.Message, "not packed so tightly") {
			t.Errorf("%d rows: %+v", n, got.Error)
		}
	}
	address = listen(t, limited(t, db, nil, nil)).Addr().String()
	long := "id,n\n1,2\n2," + strings.Repeat("x", 2<<20) + "\n3,4\n"
	if got := (fileRequest{path: "/v1/profiles?key=id", kind: csvType, body: strings.NewReader(long)}).load(t, address, http.StatusOK); got.Accepted != 2 || got.Quarantined != 1 || got.Rejected[0].Line != 3 {
		t.Errorf("a line of 2 MiB: %+v", got)
	}
}

// TestFilesLoading has as many bodies under way as may be, and one more.
func TestFilesLoading(t *testing.T) {
	db := openStore(t)
	doors := limited(t, db, nil, func(l *limits) { l.files.loads = 2 }).newFiles()
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doors.ServeHTTP(w, r.WithContext(withPeer(r.Context(), ofRequest(r))))
	}))
	defer listening.Close()
	address := listening.Listener.Addr().String()
	h := listening.Client()
	q := fileRequest{path: "/v1/profiles?key=id", kind: csvType}
	type sent struct {
		w      *io.PipeWriter
		status chan int
	}
	var open []sent
	for i := range 2 {
		r, w := io.Pipe()
		o := sent{w, make(chan int, 1)}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+q.path, r)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", csvType)
		go func() {
			res, err := h.Do(request)
			if err != nil {
				o.status <- 0
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			o.status <- res.StatusCode
		}()
		if _, err := fmt.Fprintf(w, "id,n\n%d,1\n", i); err != nil {
			t.Fatal(err)
		}
		open = append(open, o)
	}
	eventually(t, "both are under way", func() bool { return len(doors.loading) == 2 })
	q.body = strings.NewReader("id,n\n7,1\n")
	if res, text := q.do(t, h, address); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "unavailable") {
		t.Errorf("a third: %s, %s", res.Status, text)
	}
	for _, o := range open {
		if err := o.w.Close(); err != nil {
			t.Fatal(err)
		}
		if status := <-o.status; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	q.body = strings.NewReader("id,n\n8,1\n")
	q.load(t, address, http.StatusOK)
}
