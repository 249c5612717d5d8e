package entry

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

func example() *Entry {
	return &Entry{Schema: 300, Record: record.Record{Received: 1_780_000_000_000, Verdicts: []byte("V!"), Batch: []byte("KNTB")}}
}

// TestGolden encodes the example, which must be the bytes that the package comment has.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("entry.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# Worked example")
	want := hexOf(t, rest)
	if got := Append(nil, example()); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	if e, err := Decode(want); err != nil || !reflect.DeepEqual(&e, example()) {
		t.Fatalf("%+v %v", e, err)
	}
}

// TestGoldenRaise encodes the example of an entry that raises the cluster version, which must be the bytes that the
// package comment has.
func TestGoldenRaise(t *testing.T) {
	text, err := os.ReadFile("entry.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "// Version 3 of the cluster with the time zones 2026a:")
	rest, _, _ = strings.Cut(rest, "# Worked example")
	want := hexOf(t, rest)
	v := query.ClusterVersion{Number: 3, Zones: "2026a"}
	if got := AppendRaise(nil, v); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	if e, err := Decode(want); err != nil || !reflect.DeepEqual(&e, &Entry{Raise: &v}) {
		t.Fatalf("%+v %v", e, err)
	}
	for _, bad := range []query.ClusterVersion{{Number: 0, Zones: "2026a"}, {Number: 3}, {Number: 3, Zones: strings.Repeat("z", maxZones+1)}} {
		if e, err := Decode(AppendRaise(nil, bad)); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("%+v is read: %+v, %v", bad, e, err)
		}
	}
	long := query.ClusterVersion{Number: 1 << 63, Zones: strings.Repeat("z", maxZones)}
	if e, err := Decode(AppendRaise(nil, long)); err != nil || *e.Raise != long {
		t.Errorf("%+v, %v", e, err)
	}
}

// hexOf reads the bytes of the lines of a comment that show them.
func hexOf(t *testing.T, text string) (out []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "//\t") {
			continue
		}
		for _, field := range strings.Fields(strings.TrimPrefix(line, "//\t")) {
			b, err := hex.DecodeString(field)
			if len(field) != 2 || err != nil {
				break
			}
			out = append(out, b...)
		}
	}
	return out
}

func reseal(b []byte) []byte {
	body := b[:len(b)-crcSize]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, castagnoli))
}

func TestNewerAndDamaged(t *testing.T) {
	damaged(t, AppendRaise(nil, query.ClusterVersion{Number: 300, Zones: "2026a"}))
	good := Append([]byte("behind"), example())[len("behind"):]
	damaged(t, good)
	newer := bytes.Clone(good)
	newer[len(magic)] = raises + 1
	if _, err := Decode(reseal(newer)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 3: %v", err)
	}
}

// damaged wants whatever is missing or flipped of an entry to be seen.
func damaged(t *testing.T, good []byte) {
	t.Helper()
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Decode(bad); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, example()))
	f.Add(Append(nil, &Entry{}))
	f.Add(AppendRaise(nil, query.ClusterVersion{Number: 300, Zones: "2026a"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Decode(b); err == nil {
			return // its own checksums hold: it is one of the seeds
		}
		if len(b) < crcSize {
			return
		}
		e, err := Decode(reseal(b))
		if err != nil {
			return
		}
		if e.Raise != nil {
			if again, err := Decode(AppendRaise(nil, *e.Raise)); err != nil || *again.Raise != *e.Raise {
				t.Fatalf("%v %+v %+v", err, e.Raise, again.Raise)
			}
			return
		}
		again, err := Decode(Append(nil, &e))
		if err != nil || again.Schema != e.Schema || again.Record.Received != e.Record.Received || again.Record.Author != e.Record.Author ||
			!bytes.Equal(again.Record.Verdicts, e.Record.Verdicts) || !bytes.Equal(again.Record.Batch, e.Record.Batch) {
			t.Fatalf("%v %+v %+v", err, e, again)
		}
	})
}
