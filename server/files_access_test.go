package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/audit"
)

// TestFilesByRole comes through the doors with keys of several roles, and with none.
func TestFilesByRole(t *testing.T) {
	db, s, _ := callersStore(t)
	address := listen(t, s).Addr().String()
	bearing := func(text string) map[string]string { return map[string]string{"Authorization": "Bearer " + text} }
	reader, writer, italy, support := bearing(key(t, s, "reader")), bearing(key(t, s, "writer")), bearing(key(t, s, "italy")), bearing(key(t, s, "support"))
	people, members, timeline := "/v1/profiles?key=id&unknown=", "/v1/members?expression=true", "/v1/timeline?key=p01"
	for i, c := range []struct {
		path   string
		who    map[string]string
		status int
		code   string
	}{
		{people + "ignore", nil, 401, "unauthenticated"}, {members, nil, 401, "unauthenticated"}, {timeline, bearing("kanta_no"), 401, "unauthenticated"},
		{people + "ignore", reader, 403, "denied"}, {people + "ignore", italy, 403, "denied"}, {members, writer, 403, "denied"}, {members, support, 403, "denied"},
		{timeline, writer, 403, "denied"}, {timeline, italy, 404, "unknown_name"}, // who is in Finland is not there
		{members + "&attributes=email", italy, 404, "unknown_name"},
		{people + "add", writer, 403, "denied"}, // the schema is not his
		{people + "ignore", writer, 200, ""}, {people + "ignore&dry_run", writer, 200, ""}, {people + "ignore", reader, 403, "denied"},
	} {
		q := fileRequest{path: c.path, header: c.who}
		if strings.HasPrefix(c.path, people) {
			q.kind, q.body = csvType, strings.NewReader(fmt.Sprintf("id,n,shoe\nnew,%d,44\n", i))
		}
		if got := q.load(t, address, c.status); got.Error.Code != c.code {
			t.Errorf("%d, %s: %+v", i, c.path, got.Error)
		}
	}
	if n, err := db.Count(t.Context(), "n == 11", nil); err != nil || n.Count != 2 { // one of them was there
		t.Errorf("%d people have been written, %v", n.Count, err)
	}
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if res, text := (fileRequest{path: members + "&attributes=phone,country", header: italy}).do(t, h, address); res.Header.Get(headerTotal) != "20" ||
		!bytes.HasPrefix(text, []byte("key,phone,country\np00,"+query.Mask+",IT\n")) || bytes.Contains(text, []byte("FI")) {
		t.Errorf("%s: %s", res.Header.Get(headerTotal), text)
	}
	if res, text := (fileRequest{path: timeline, header: support}).do(t, h, address); res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", res.Status, text)
	}
}

// TestFilesRevoked revokes a key while its caller reads a listing: it breaks off.
func TestFilesRevoked(t *testing.T) {
	db, s, _ := callersStore(t)
	address := listen(t, s).Addr().String()
	long := strings.Repeat("x", 2000)
	for from := 0; from < 8000; from += 1000 { // more than what is on its way
		b := batch.New()
		for i := range 1000 {
			b.Upsert(fmt.Sprint("q", from+i)).Set("phone", schema.StringValue(fmt.Sprint(from+i, long)))
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	text := key(t, s, "reader")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/members?expression=true&attributes=phone", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+text)
	res, err := overHTTP2(t).Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	if _, err := s.register.RevokeKey(t.Context(), text[len("kanta_"):][:16]); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("%d bytes and a good end", n)
	}
}

// TestFilesRecorded: what is done through the doors is in the audit, as what is done by calls.
func TestFilesRecorded(t *testing.T) {
	r := record(t)
	s := limited(t, r.db, &Options{Audit: r.audit}, nil)
	address := listen(t, s).Addr().String()
	fileRequest{path: "/v1/profiles?key=id&unknown=ignore", kind: csvType, body: strings.NewReader("id,n\n" + marker + "-ann,1\n")}.load(t, address, http.StatusOK)
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/v1/members?expression=true", "/v1/timeline?key=" + marker + "-ann"} {
		if res, text := (fileRequest{path: path}).do(t, h, address); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, text)
		}
	}
	list, err := r.audit.List(t.Context(), &audit.Filter{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range list {
		if strings.HasPrefix(list[i].Who.Address, "127.0.0.1") {
			seen[list[i].Call]++
		}
	}
	if len(seen) != 3 || seen["Ingest"] == 0 || seen["Members"] == 0 || seen["Timeline"] == 0 {
		t.Errorf("recorded: %v", seen)
	}
}

// TestFilesMasked: where a number is masked, a Parquet file has the mask and not a number.
func TestFilesMasked(t *testing.T) {
	_, s, _ := callersStore(t)
	if _, err := s.register.SaveRole(t.Context(), "blurred", "rights = [\"lists\"]\n[[rule]]\nattribute = \"n\"\naccess = \"masked\"\n"); err != nil {
		t.Fatal(err)
	}
	address := listen(t, s).Addr().String()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	q := fileRequest{header: map[string]string{"Authorization": "Bearer " + key(t, s, "blurred")}}
	for format, want := range map[string]string{"csv": "p00," + query.Mask + "\n", "ndjson": `"n":"` + query.Mask + `"`} {
		q.path = "/v1/members?expression=true&attributes=n&limit=1&format=" + format
		if _, text := q.do(t, h, address); !strings.Contains(string(text), want) {
			t.Errorf("%s: %s", format, text)
		}
	}
	q.path = "/v1/members?expression=true&attributes=n&limit=1&format=parquet"
	_, file := q.do(t, h, address)
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	rows := parquet.NewReader(f)
	defer rows.Close()
	row := make([]parquet.Row, 1)
	if n, err := rows.ReadRows(row); n != 1 || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	if got := row[0][1].String(); got != query.Mask {
		t.Errorf("n is %q in %s", got, f.Schema())
	}
}
