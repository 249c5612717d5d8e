package server

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// large gives a store 1,200 people whose listing is 19 MB: more than sockets hold.
func large(t *testing.T, db *engine.DB) {
	t.Helper()
	text := schema.StringValue(strings.Repeat("all work and no play ", 780))
	for i := range 6 {
		b := batch.New()
		if i == 0 {
			b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "text", Kind: schema.String, Storage: schema.StorageInline}})
		}
		for j := range 200 {
			b.Upsert(fmt.Sprint(i, "-", j)).Set("text", text)
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStalled asks for more than is read, over the wire and HTTP: the server gives the calls up
// and lets what they held go.
func TestStalled(t *testing.T) {
	db := openStore(t)
	large(t, db)
	s := limited(t, db, nil, func(l *limits) { l.stalled = 100 * time.Millisecond })
	address := listen(t, s).Addr().String()
	calls := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.calls
	}

	c := dial(t, "kanta://"+address, nil)
	m, err := c.Members(t.Context(), "true", &query.MembersOptions{Attributes: []string{"text"}})
	if err != nil || m.Total != 1200 {
		t.Fatal(m.Total, err)
	}
	if calls() == 0 {
		t.Fatal("the listing is over before it is read")
	}
	eventually(t, "the listing over the wire is given up", func() bool { return calls() == 0 })
	rows := 0
	for _, err = range m.Rows {
		rows++
	}
	if err == nil || rows == 1200 {
		t.Errorf("the listing that was given up has %d rows (%v)", rows, err)
	}

	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"expression":"true","listing":{"attributes":["text"]}}`
	envelope := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	fmt.Fprintf(conn, "POST /kanta.v1.KantaService/Members HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\nContent-Length: %d\r\n\r\n%s%s", len(body)+5, envelope, body)
	eventually(t, "the listing over HTTP begins", func() bool { return calls() > 0 })
	eventually(t, "the listing over HTTP is given up", func() bool { return calls() == 0 })
}
