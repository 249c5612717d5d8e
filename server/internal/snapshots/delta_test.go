package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// exampleLess is the example of the package comment whose table has bytes.
func exampleLess() *Meta {
	m := example()
	m.Files[1] = File{"db/000012.sst", 3, sha256.Sum256([]byte("bob"))}
	return m
}

// exampleDelta is the stream of exampleLess without its table.
func exampleDelta(t testing.TB) []byte {
	t.Helper()
	files := enginetest.NewDisk()
	must(t, tree{"KANTA": "ann", "db/000012.sst": "bob"}.lay(files, "snapshots/3-500-1/data"))
	must(t, put(files, "snapshots/3-500-1/META", string(exampleLess().append(nil))))
	r := reader(t, open(t, files, "snapshots"), "3-500-1")
	size, err := r.Without([]byte{2})
	must(t, err)
	all, err := io.ReadAll(r)
	must(t, err)
	if int64(len(all)) != size {
		t.Fatalf("it has %d bytes, and %d were said", len(all), size)
	}
	return all
}

func TestDeltaGolden(t *testing.T) {
	var parts []byte
	for _, field := range strings.Fields(documented(t, "then behind META the map, KANTA's piece, and the trailer:\n", "// # Who verifies")) {
		if b, err := hex.DecodeString(field); err == nil && len(field) == 2 {
			parts = append(parts, b...)
		}
	}
	text := exampleLess().append(nil)
	got := exampleDelta(t)
	short := slices.Concat(got[:headerBytes], got[headerBytes+len(text):])
	if !bytes.Equal(short, parts) {
		t.Fatalf("written % x, the package comment has % x", short, parts)
	}
	taken, err := decode(got, 1)
	must(t, err)
	must(t, taken.same(tree{"KANTA": "ann"}))
}

// changed is a tree with one more table, another one under a name that was there, and one that has another name.
func changed(of tree) tree {
	out := maps.Clone(of)
	out["db/000099.sst"] = random(rand.New(rand.NewPCG(7, 7)), 3*PieceSize/2)
	out["db/000011.sst"] = random(rand.New(rand.NewPCG(8, 7)), len(of["db/000011.sst"])) // a name and a length say nothing
	out["KANTA"] = "changed"
	return out
}

// TestDelta sends a snapshot of which little has changed to a node that has the one before: only that goes over the
// network, and all of it is there. The files that were there are links, and the old snapshot goes.
func TestDelta(t *testing.T) {
	before := sample(1)
	after := changed(before)
	from, to := enginetest.NewDisk(), enginetest.NewDisk()
	source, target := open(t, from, "s"), open(t, to, "s")
	must(t, before.lay(from, "one"))
	first, err := takeOf(source, "one", 10)
	must(t, err)
	_, err = receive(target, stream(t, source, first), 10, 1)
	must(t, err)
	must(t, after.lay(from, "two"))
	second, err := takeOf(source, "two", 20)
	must(t, err)

	r := reader(t, source, second)
	offer := r.Offer()
	has, err := target.Answer(bytes.NewReader(offer), int64(len(offer)))
	must(t, err)
	size, err := r.Without(has)
	must(t, err)
	sent, err := io.ReadAll(r)
	must(t, err)
	var least int
	for name, text := range after {
		if before[name] != text || !sealed(name) {
			least += len(text)
		}
	}
	if most := least + len(offer) + 1000; int64(len(sent)) != size || len(sent) < least || len(sent) > most {
		t.Errorf("%d bytes were sent, %d said; new are %d, and with META it is to be %d at most", len(sent), size, least, most)
	}
	id, err := receive(target, sent, 20, 1)
	must(t, err)
	must(t, look(t, to, "s/"+id+"/data").same(after))
	clean(t, to, "s", id)
	must(t, Install(t.Context(), reader(t, target, id), "store", nil))
	must(t, look(t, to, "store").same(after))
	again := open(t, to, "s")
	if m, _ := again.Newest(); m == nil || m.Index != 20 {
		t.Errorf("after a start it is %+v", m)
	}
}

// TestDeltaDamaged has a file rot at the receiver, or be gone, which was left out: the snapshot is refused, the one
// before stays, and the whole stream is taken.
func TestDeltaDamaged(t *testing.T) {
	before := small(1)
	after := maps.Clone(before)
	after["KANTA"] = "changed"
	var table string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if sealed(name) && len(before[name]) > 0 {
			table = name
		}
	}
	for what, c := range map[string]struct {
		do   func(to *enginetest.Disk, dir string)
		code query.Code
	}{
		"rotten": {func(to *enginetest.Disk, dir string) {
			b := []byte(before[table])
			b[0] ^= 1
			must(t, put(to, dir+table, string(b)))
		}, query.CodeCorrupt},
		"short": {func(to *enginetest.Disk, dir string) { must(t, put(to, dir+table, before[table][1:])) }, query.CodeCorrupt},
		"gone":  {func(to *enginetest.Disk, dir string) { must(t, to.Remove(dir+table)) }, 0},
	} {
		from, to := enginetest.NewDisk(), enginetest.NewDisk()
		source, target := open(t, from, "s"), open(t, to, "s")
		must(t, before.lay(from, "one"))
		first, err := takeOf(source, "one", 10)
		must(t, err)
		old, err := receive(target, stream(t, source, first), 10, 1)
		must(t, err)
		must(t, after.lay(from, "two"))
		second, err := takeOf(source, "two", 20)
		must(t, err)
		r := reader(t, source, second)
		has, err := target.Answer(bytes.NewReader(r.Offer()), int64(len(r.Offer())))
		must(t, err)
		_, err = r.Without(has)
		must(t, err)
		sent, err := io.ReadAll(r)
		must(t, err)
		c.do(to, "s/"+old+"/data/")
		_, err = receive(target, sent, 20, 1)
		if err == nil {
			t.Fatalf("%s: it is taken", what)
		}
		if c.code != 0 {
			want(t, err, c.code, table)
		}
		clean(t, to, "s", old)
		id, err := receive(target, stream(t, source, second), 20, 1)
		must(t, err)
		must(t, look(t, to, "s/"+id+"/data").same(after))
	}
}

// TestDeltaHostile has maps that are none, offers that are none, and streams that leave out what nobody has.
func TestDeltaHostile(t *testing.T) {
	files := enginetest.NewDisk()
	s := open(t, files, "s")
	m := exampleLess()
	text := m.append(nil)
	answer := func(offer []byte, size int) ([]byte, error) { return s.Answer(bytes.NewReader(offer), int64(size)) }
	offer := appendHeader(nil, text, nil)
	offer[4] = offerVersion
	if has, err := answer(offer, len(offer)); has != nil || err != nil {
		t.Errorf("who has nothing has %x (%v)", has, err)
	}
	for name, c := range map[string]struct {
		do   func(b []byte) (offer []byte, size int)
		code query.Code
	}{
		"too long":    {func(b []byte) ([]byte, int) { return b, headerBytes + MaxMeta + 1 }, query.CodeLimit},
		"too short":   {func(b []byte) ([]byte, int) { return b, headerBytes + sumBytes - 1 }, query.CodeLimit},
		"cut off":     {func(b []byte) ([]byte, int) { return b, len(b) + 1 }, 0},
		"magic":       {func(b []byte) ([]byte, int) { b[0]++; return b, len(b) }, query.CodeCorrupt},
		"a stream":    {func(b []byte) ([]byte, int) { b[4] = formatVersion; return b, len(b) }, query.CodeCorrupt},
		"a later one": {func(b []byte) ([]byte, int) { b[4]++; return b, len(b) }, query.CodeNewerFormat},
		"length":      {func(b []byte) ([]byte, int) { b[8]++; return b, len(b) }, query.CodeCorrupt},
		"flipped":     {func(b []byte) ([]byte, int) { b[40]++; return b, len(b) }, query.CodeCorrupt},
	} {
		b, size := c.do(bytes.Clone(offer))
		_, err := answer(b, size)
		if err == nil {
			t.Fatalf("%s: it is answered", name)
		}
		if c.code != 0 {
			want(t, err, c.code, "offered")
		}
	}
	_, err := decode(offer, len(offer))
	want(t, err, query.CodeCorrupt, "no header")
	for name, bits := range map[string][]byte{"what must be sent": {1}, "a bit behind": {4}, "long": {2, 0}, "none": {}} {
		if err := checkMap(bits, m.Files); err == nil {
			t.Errorf("%s: the map is taken", name)
		}
	}
	delta := func(bits []byte) []byte {
		b := appendHeader(nil, text, bits)
		return appendTrailer(b, crc32.Checksum(b, castagnoli))
	}
	for _, c := range []struct {
		bits []byte
		text string
	}{{[]byte{2}, "no snapshot"}, {[]byte{3}, "must be sent"}} {
		k, err := s.Create(1, m.Index, m.Term, m.Configuration, m.ConfigurationIndex, nil)
		must(t, err)
		_, err = k.Write(delta(c.bits))
		want(t, err, query.CodeCorrupt, c.text)
		must(t, k.Cancel())
	}
}

// FuzzOffer answers whatever is offered. The map is one of what was offered.
func FuzzOffer(f *testing.F) {
	_, s, id := one(f, 1)
	_, source, err := s.Open(id)
	must(f, err)
	r, _ := Of(source)
	f.Add(r.Offer())
	f.Add(exampleStream(f))
	f.Fuzz(func(t *testing.T, offer []byte) {
		m, err := s.Answer(bytes.NewReader(offer), int64(len(offer)))
		if err != nil || m == nil {
			return
		}
		meta, err := parseMeta(offer[headerBytes:])
		must(t, err)
		must(t, checkMap(m, meta.Files))
	})
}
