package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
)

// FuzzFiles sends any request to the doors: the answer is one that is told, and of a load the
// numbers add up.
func FuzzFiles(f *testing.F) {
	db, err := engine.Open("", &engine.Options{PurgeAfter: -1})
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(db, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	doors := s.newFiles()
	for _, seed := range []struct{ path, kind, encoding, sequence, body string }{
		{"/v1/profiles?key=id", csvType, "", "", "id,n\n1,2\n"},
		{"/v1/profiles?key=id&unknown=ignore&strict", ndjsonType, "", "1", "{\"id\":1}\n{\"id\":2,\"n\":[1]}\n"},
		{"/v1/events?profile=u&event=e&time=t&id=i&lines=l", ndjsonType, "", "5", "{\"u\":1,\"e\":\"act\",\"t\":\"2026-01-01\",\"i\":1,\"l\":[{\"a\":1},{\"a\":2}]}\n"},
		{"/v1/events?profile=u&event_name=e&time=t&zone=Europe/Helsinki", "text/csv; charset=windows-1252", "gzip", "", "\x1f\x8b"},
		{"/v1/members?expression=true&attributes=\"a,b\",c&format=parquet", "", "", "", ""},
		{"/v1/members?expression=true&order_by=n&desc&limit=3&at_least=1.1", "", "", "", ""},
		{"/v1/timeline?key=1&from=2026-01-01&events=a,b", "", "", "", ""},
	} {
		f.Add(seed.path, seed.kind, seed.encoding, seed.sequence, seed.body)
	}
	f.Fuzz(func(t *testing.T, path, kind, encoding, sequence, body string) {
		method := http.MethodPost
		if kind == "" {
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = r.URL.Parse(path); err != nil {
			return
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Content-Encoding", encoding)
		if sequence != "" {
			r.Header.Set(headerSource, "fuzz")
			r.Header.Set(headerSequence, sequence)
		}
		w := httptest.NewRecorder()
		doors.ServeHTTP(w, r.WithContext(withPeer(r.Context(), &peer{address: "127.0.0.1:1"})))
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s: %s", path, w.Body)
		}
		if w.Code != http.StatusOK || method == http.MethodGet {
			return
		}
		var got loaded
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		var refused struct{ Refused uint64 }
		if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || got.Received != got.Accepted+got.Quarantined+refused.Refused+got.Duplicates+got.RepeatedRows {
			t.Fatalf("%s: it does not add up", w.Body)
		}
	})
}
