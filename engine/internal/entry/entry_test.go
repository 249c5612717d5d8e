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
	var want []byte
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "//\t") {
			continue
		}
		for _, field := range strings.Fields(strings.TrimPrefix(line, "//\t")) {
			b, err := hex.DecodeString(field)
			if len(field) != 2 || err != nil {
				break
			}
			want = append(want, b...)
		}
	}
	if got := Append(nil, example()); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	if e, err := Decode(want); err != nil || !reflect.DeepEqual(&e, example()) {
		t.Fatalf("%+v %v", e, err)
	}
}

func reseal(b []byte) []byte {
	body := b[:len(b)-crcSize]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, castagnoli))
}

func TestNewerAndDamaged(t *testing.T) {
	good := Append([]byte("behind"), example())[len("behind"):]
	newer := bytes.Clone(good)
	newer[len(magic)]++
	if _, err := Decode(reseal(newer)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
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
		again, err := Decode(Append(nil, &e))
		if err != nil || again.Schema != e.Schema || again.Record.Received != e.Record.Received || again.Record.Author != e.Record.Author ||
			!bytes.Equal(again.Record.Verdicts, e.Record.Verdicts) || !bytes.Equal(again.Record.Batch, e.Record.Batch) {
			t.Fatalf("%v %+v %+v", err, e, again)
		}
	})
}
