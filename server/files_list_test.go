package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// populate writes people with an attribute n and a set, and gives the first ones acts.
func populate(t *testing.T, db *engine.DB, people int) {
	t.Helper()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "likes", Kind: schema.Set}})
	b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
	for i := range people {
		u := b.Upsert(fmt.Sprintf("=person, %06d", i)).Set("n", schema.IntValue(int64(i)))
		if i%3 == 0 {
			u.Set("likes", schema.SetValue("tea", "a\"b"))
		}
	}
	for i := range 5 {
		b.Events(nil).Row([]byte("=person, 000001"), []byte("act"), int64(i)*1000)
	}
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
}

// TestFilesMembers lists people in all formats: the bytes are those that a store makes of itself.
func TestFilesMembers(t *testing.T) {
	const people = 5000
	db := openStore(t)
	populate(t, db, people)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	clients := map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{DisableKeepAlives: true}}, "HTTP/2": overHTTP2(t)}
	for _, o := range []query.MembersOptions{{}, {Attributes: []string{"likes", "n"}, OrderBy: "n", Desc: true}, {Attributes: []string{"n"}, Limit: 7}} {
		for format, kind := range map[listing.Format]string{listing.CSV: "text/csv", listing.NDJSON: "application/x-ndjson", listing.Parquet: "application/vnd.apache.parquet"} {
			m, err := db.Members(t.Context(), "n >= 10", &o)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			rows, err := listing.Members(&want, format, &m)
			if err != nil {
				t.Fatal(err)
			}
			q := url.Values{"expression": {"n >= 10"}, "attributes": {strings.Join(o.Attributes, ",")}, "order_by": {o.OrderBy}, "format": {string(format)}}
			if o.Limit > 0 {
				q.Set("limit", fmt.Sprint(o.Limit))
			}
			if o.Desc {
				q.Set("desc", "")
			}
			for version, h := range clients {
				res, got := fileRequest{path: "/v1/members?" + q.Encode()}.do(t, h, address)
				if !bytes.Equal(got, want.Bytes()) || res.Proto[:6] != version[:6] {
					t.Errorf("%s, %s, %+v: %d bytes, %d of the store", res.Proto, format, o, len(got), want.Len())
				}
				if res.Trailer.Get(headerRows) != fmt.Sprint(rows) || res.Trailer.Get(headerNext) != m.Next() || res.Header.Get(headerTotal) != fmt.Sprint(people-10) ||
					!strings.HasPrefix(res.Header.Get("Content-Type"), kind) || res.Header.Get(headerPosition) != m.Position.String() {
					t.Errorf("%s, %s: %v, trailer %v; the store says %s", version, format, res.Header, res.Trailer, m.Next())
				}
			}
			delete(q, "format")
			if res, got := (fileRequest{path: "/v1/members?" + q.Encode(), header: map[string]string{"Accept": "image/png, " + kind + ";q=0.5"}}).do(t, clients["HTTP/1.1"], address); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("accepting %s: %s, %d bytes", kind, res.Status, len(got))
			}
		}
	}
}

func overHTTP2(t *testing.T) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h := &http.Transport{Protocols: protocols}
	t.Cleanup(h.CloseIdleConnections)
	return &http.Client{Transport: h}
}

// TestFilesTimeline lists acts, and goes on where a listing ended.
func TestFilesTimeline(t *testing.T) {
	db := openStore(t)
	populate(t, db, 3)
	address := listen(t, limited(t, db, nil, nil)).Addr().String()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	path := "/v1/timeline?limit=2&format=ndjson&key=" + url.QueryEscape("=person, 000001")
	var times []string
	for next := ""; ; {
		res, text := fileRequest{path: path + "&after=" + url.QueryEscape(next)}.do(t, h, address)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, text)
		}
		for line := range bytes.Lines(text) {
			var e struct{ Time, Event string }
			if err := json.Unmarshal(line, &e); err != nil || e.Event != "act" {
				t.Fatalf("%s: %v", line, err)
			}
			times = append(times, e.Time)
		}
		if next = res.Header.Get(headerNext); next == "" {
			break
		}
	}
	if len(times) != 5 || times[0] != "1970-01-01T00:00:04Z" || times[4] != "1970-01-01T00:00:00Z" {
		t.Errorf("%v", times)
	}
	if _, text := (fileRequest{path: strings.Replace(path, "ndjson", "csv", 1)}).do(t, h, address); string(text) != "time,event,properties,from,to\n1970-01-01T00:00:04Z,act,{},,\n1970-01-01T00:00:03Z,act,{},,\n" {
		t.Errorf("CSV: %s", text)
	}
}

// TestFilesBroken breaks a listing off in the middle: nobody may take what came for the whole.
func TestFilesBroken(t *testing.T) {
	const people, batches = 1000, 25
	random := rand.New(rand.NewPCG(1, 2))
	filler := func() string { // what does not become small when it is packed
		var b strings.Builder
		for range 25 {
			fmt.Fprintf(&b, "%016x", random.Uint64())
		}
		return b.String()
	}
	db := openStore(t)
	for i := range batches { // more than all that is between the two
		b := batch.New()
		for k := range people {
			b.Upsert(fmt.Sprintf("%06d %s", i*people+k, filler())).Set("n", schema.IntValue(int64(k)))
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	for version, newClient := range map[string]func(*testing.T) *http.Client{"HTTP/1.1": func(*testing.T) *http.Client { return &http.Client{Transport: &http.Transport{}} }, "HTTP/2": overHTTP2} {
		for _, format := range []string{"csv", "ndjson"} { // a Parquet file of that size leaves as one piece
			t.Run(version+" "+format, func(t *testing.T) {
				s := limited(t, db, nil, nil)
				address := listen(t, s).Addr().String()
				h := newClient(t)
				defer h.CloseIdleConnections()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/members?expression=true&attributes=n&format="+format, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := h.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body := bufio.NewReader(res.Body)
				if _, err := body.Peek(1); err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("%s, %v", res.Status, err)
				}
				s.end() // calls under way are given up, connections are not
				n, err := io.Copy(io.Discard, body)
				if err == nil || res.Trailer.Get(headerRows) != "" {
					t.Errorf("a listing that was broken off ended well after %d bytes, with the trailer %v", n, res.Trailer)
				}
			})
		}
	}
}
