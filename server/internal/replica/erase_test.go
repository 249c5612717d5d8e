package replica

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// canaryText begins every value of a person who will be erased, and nothing else does. JSON, hexadecimal digits and
// base64 change some of its letters.
const canaryText = `Kanarie<é>`

// forms returns the mark as files may have it.
func forms() map[string][]byte {
	out := map[string][]byte{"raw": []byte(canaryText), "hex": []byte(hex.EncodeToString([]byte(canaryText))), "HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(canaryText)))),
		"JSON": []byte(`Kanarie\u003cé`)}
	for shift := range 3 { // of where it begins among three bytes, what does not depend on its neighbours
		b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), canaryText...))
		out[fmt.Sprint("base64 ", shift)] = []byte(b[4 : len(b)-4])
	}
	return out
}

// remains counts what the files of a member hold of canaries, by the directory that they are in: as they are, tables
// also row by row, and batches as they were before they were compressed.
func (m *member) remains() map[string]int {
	m.c.t.Helper()
	found, looked := map[string]int{}, 0
	of := forms()
	var look func(dir, part string)
	see := func(part string, b []byte) {
		looked++
		for {
			for _, want := range of {
				found[part] += bytes.Count(b, want)
			}
			i := bytes.Index(b, []byte("KNTB"))
			if i < 0 {
				return
			}
			if end := sizeOfBatch(b[i:]); end > 0 {
				if payload, err := batch.Payload(b[i : i+end]); err == nil {
					looked++
					for _, want := range of {
						found[part] += bytes.Count(payload, want)
					}
				}
			}
			b = b[i+4:]
		}
	}
	look = func(dir, part string) {
		names, err := m.files.List(dir)
		m.c.must(err)
		for _, name := range names {
			path, of := m.files.PathJoin(dir, name), part
			if part == "" {
				of = name
			}
			if info, err := m.files.Stat(path); err != nil {
				continue // deleted meanwhile
			} else if info.IsDir() {
				look(path, of)
				continue
			}
			f, err := m.files.Open(path)
			m.c.must(err)
			b, err := io.ReadAll(f)
			m.c.must(err)
			m.c.must(f.Close())
			see(of, b)
			if strings.HasSuffix(name, ".sst") {
				m.eachRow(path, func(b []byte) { see(of, b) })
			}
		}
	}
	look(memberDir, "")
	if looked < 50 {
		m.c.t.Fatalf("only %d pieces of files", looked)
	}
	for part, n := range found { //tidy:same only zeros go
		if n == 0 {
			delete(found, part)
		}
	}
	return found
}

// sizeOfBatch returns how long a batch is, by its header; 0: there is not so much.
func sizeOfBatch(b []byte) int {
	const header = 24
	if len(b) < header {
		return 0
	}
	size := header + int(b[12]) + int(b[13])<<8 + int(b[14])<<16
	if size > len(b) {
		return 0
	}
	return size
}

// eachRow calls f with the keys and values of a table, as they were before they were compressed.
func (m *member) eachRow(path string, f func(b []byte)) {
	m.c.t.Helper()
	file, err := m.files.Open(path)
	m.c.must(err)
	readable, err := sstable.NewSimpleReadable(struct{ vfs.File }{file})
	m.c.must(err)
	r, err := sstable.NewReader(m.c.t.Context(), readable, sstable.ReaderOptions{})
	m.c.must(err)
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	m.c.must(err)
	for row := it.First(); row != nil; row = it.Next() {
		v, _, err := row.Value(nil)
		m.c.must(err)
		f(row.K.UserKey)
		f(v)
	}
	m.c.must(it.Close())
	m.c.must(r.Close())
}

func canaryKey(i int) string { return fmt.Sprintf("%skey-%04d", canaryText, i) }

// people is a batch of people of whom each second one is a canary, and has a row that does not fit.
func people(t *testing.T, from, to int) batch.Batch {
	t.Helper()
	return encode(t, addPeople(batch.New(), from, to, true))
}

func addPeople(b *batch.Builder, from, to int, misfits bool) *batch.Builder {
	for i := from; i < to; i++ {
		key, of := fmt.Sprintf("person-%04d", i), fmt.Sprint("of ", i/7)
		if i%2 == 0 {
			key, of = canaryKey(i), fmt.Sprintf("%sof-%04d", canaryText, i)
			if misfits {
				b.Quarantine("file.csv", batch.BadRow{Line: 7, Reason: batch.ReasonRagged, Detail: "cells", Raw: of})
			}
		}
		b.Upsert(key).Set("city", schema.StringValue(of)).Set("email", schema.StringValue(of+key)).Set("likes", schema.SetValue(of, "tea")).Set("n", schema.IntValue(int64(i)))
		e := b.Events([]batch.Column{{Name: "sku", Kind: schema.String}, {Name: "comment", Kind: schema.String}})
		e.Row([]byte(key), []byte("buy"), time.Now().UnixMilli())
		e.Str(0, []byte(of))
		e.Str(1, []byte(of+" comment"))
		e.ID([]byte(of + "id"))
	}
	return b
}

// ofAllBubbles makes what batches are compressed with, which is one for the process: made in a bubble it would be its.
func ofAllBubbles(t *testing.T) {
	t.Helper()
	if payload, err := batch.Payload(people(t, 0, 100)); err != nil || !bytes.Contains(payload, []byte(canaryText)) {
		t.Fatal(err)
	}
}

// aviary has three members with canaries in their stores, their snapshots and their logs.
func (c *cluster) aviary() {
	c.t.Helper()
	c.three()
	b := batch.New()
	for _, a := range []schema.Attribute{{Name: "city", Kind: schema.String, History: true}, {Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true}, {Name: "likes", Kind: schema.Set}} {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: a})
	}
	b.Change(schema.Change{Op: schema.AddEvent, Event: "buy", Name: "buy"})
	for _, p := range []schema.Attribute{{Name: "sku", Kind: schema.String}, {Name: "comment", Kind: schema.String, Storage: schema.StorageInline}} {
		b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: p.Name, Attribute: p})
	}
	c.must(c.apply(encode(c.t, b)))
	c.must(c.apply(people(c.t, 0, 30)))
	c.agree()
	for _, m := range c.members {
		c.must(m.node.DB().Compact(c.t.Context()))
		c.must(m.node.Snapshot())
	}
	c.must(c.apply(people(c.t, 20, 60)))
	c.agree()
	for _, m := range c.members {
		if found := m.remains(); found["store"] == 0 || found["raft"] == 0 || found["snapshots"] == 0 {
			c.t.Fatalf("the test finds nothing anyway at %s: %v", m.id, found)
		}
	}
}

// eraseCanaries erases them at the leader.
func (c *cluster) eraseCanaries() {
	c.t.Helper()
	var keys []string
	for i := 0; i < 60; i += 2 {
		keys = append(keys, canaryKey(i))
	}
	b := batch.New()
	b.Erase("ticket", keys...)
	c.must(c.apply(encode(c.t, b)))
}

// clean reports that no file of a member has anything of a canary.
func (m *member) clean() {
	m.c.t.Helper()
	if found := m.remains(); len(found) > 0 {
		m.c.t.Errorf("%s still has %v", m.id, found)
	}
}

func (m *member) isPurged() bool { return m.node.purging.upTo() != query.Position{} }

// TestEraseEverywhere erases people of whom all members have something in the store, the log and the snapshots. One
// member is down meanwhile, another is killed in the middle of its purge, with what it was about to do still before it. In the
// end no file of any of them has anything.
func TestEraseEverywhere(t *testing.T) {
	ofAllBubbles(t)
	inBubble(t, func(t *testing.T, c *cluster) {
		c.aviary()
		l := c.leader()
		others := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m == l })
		away, slow := others[0], others[1]
		away.kill(0)
		c.eraseCanaries()
		c.must(c.apply(encode(t, addPeople(batch.New(), 0, 4, false)))) // which are refused, and stand in the log
		_, id := slow.node.snaps.Newest()
		_, reader, err := slow.node.snaps.Open(id) // as if it were on its way to somebody
		c.must(err)

		type outcome struct {
			r   *query.Receipt
			err error
		}
		done := make(chan outcome, 1)
		go func() {
			r, err := l.node.Purge(t.Context(), nil)
			done <- outcome{r, err}
		}()
		c.eventually("the leader has purged", l.isPurged)
		c.eventually("the slow one has another snapshot", func() bool { _, now := slow.node.snaps.Newest(); return now != id })
		if found := slow.remains(); found["snapshots"] == 0 || slow.isPurged() {
			t.Fatalf("it is no longer in the middle: %v", found)
		}
		c.must(reader.Close())
		slow.kill(50)
		slow.open()
		c.eventually("the purge has ended", func() bool { return len(done) > 0 })
		got := <-done
		c.must(got.err)
		if got.r == nil || got.r.People != 30 || got.r.Hits != 0 || !slices.Equal(got.r.Missing, []string{away.id}) {
			t.Fatalf("%+v; %s is away", got.r, away.id)
		}
		l.clean()
		slow.clean()
		if found := away.remains(); len(found) == 0 {
			t.Fatal("who was away has nothing to be purged of")
		}
		away.open()
		c.eventually("who was away has purged", away.isPurged)
		away.clean()
		c.agree()
		if r, err := c.leader().node.Purge(t.Context(), nil); r != nil || err != nil {
			t.Errorf("there is nothing to be purged any more: %+v, %v", r, err)
		}
	})
}

// TestEraseAndReturn has all members purge, and say so. What they have noted survives their restart.
func TestEraseAndReturn(t *testing.T) {
	ofAllBubbles(t)
	inBubble(t, func(t *testing.T, c *cluster) {
		c.aviary()
		l := c.leader()
		c.eraseCanaries()
		if _, err := l.node.Purge(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.members {
			m.clean()
			status, err := m.node.Status(t.Context())
			c.must(err)
			for _, s := range status.Members {
				if (s.Self || m == l) && s.Purged != status.Purge || status.Purge == (query.Position{}) {
					t.Errorf("%s says of %s: purged up to %s, asked for is %s", m.id, s.ID, s.Purged, status.Purge)
				}
			}
		}
		for _, m := range c.members {
			_, before := m.node.snaps.Newest()
			m.close()
			m.open()
			if !m.isPurged() {
				t.Errorf("%s has forgotten what it has purged", m.id)
			}
			c.eventually("a leader", func() bool { return c.leader() != nil })
			<-time.After(5 * purgeEvery)
			if _, now := m.node.snaps.Newest(); now != before {
				t.Errorf("%s has purged again", m.id)
			}
		}
	})
}

// TestEraseAndSnapshot has a member that has purged be sent a snapshot by a leader that has not: it purges once more.
func TestEraseAndSnapshot(t *testing.T) {
	ofAllBubbles(t)
	inBubble(t, func(t *testing.T, c *cluster) {
		c.change = func(x *Config) { x.TrailingBytes = 1 }
		c.aviary()
		l := c.leader()
		others := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m == l })
		slow, away := others[0], others[1]
		reader, err := slow.node.DB().Snapshot(t.Context()) // as long as it is open, the slow one waits
		c.must(err)
		c.eraseCanaries()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = l.node.Purge(ctx, nil) }() // it waits for the slow one
		c.eventually("the others have purged", func() bool { return l.isPurged() && away.isPurged() })
		cancel()
		away.clean()
		away.close()
		c.must(l.node.Transfer(t.Context(), slow.id))
		c.eventually("the slow one leads", func() bool { return c.leader() == slow })
		c.must(c.apply(increment(t, "anna", 1)))
		c.must(slow.node.Snapshot())
		away.open()
		c.eventually("a snapshot comes", func() bool { return away.node.swap.restored.Load() > 0 })
		if found := away.remains(); found["snapshots"] == 0 || away.isPurged() {
			t.Fatalf("the snapshot has nothing of anybody: %v", found)
		}
		<-time.After(3 * purgeEvery)
		c.must(reader.Close())
		c.eventually("all have purged", func() bool { return slow.isPurged() && away.isPurged() })
		for _, m := range c.members {
			m.clean()
		}
	})
}
