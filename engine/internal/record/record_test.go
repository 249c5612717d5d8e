package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

func example() *Record {
	return &Record{Received: 1_780_000_000_000, Verdicts: []byte("V!"), Batch: []byte("KNTB")}
}

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("record.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# Worked example")
	var want []byte
	for line := range strings.Lines(rest) {
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
	r, err := Decode(want)
	if err != nil || r.Received != example().Received || string(r.Verdicts) != "V!" || string(r.Batch) != "KNTB" || r.Origin != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if h := Chain([16]byte{}, want); hex.EncodeToString(h[:]) != "046e5a4ba6cab1b3fba9bbca3dba5085" {
		t.Fatalf("the chain hash is %x", h)
	}
}

func reseal(b []byte) []byte {
	body := b[:len(b)-4]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, castagnoli))
}

func TestNewerAndDamaged(t *testing.T) {
	good := Append(nil, example())
	newer := bytes.Clone(good)
	newer[0]++
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
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, example()))
	f.Add(Append(nil, &Record{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 5 {
			return
		}
		r, err := Decode(reseal(b))
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, r))
		if err != nil || again.Received != r.Received || again.Origin != r.Origin || !bytes.Equal(again.Verdicts, r.Verdicts) || !bytes.Equal(again.Batch, r.Batch) {
			t.Fatalf("%v %+v %+v", err, r, again)
		}
	})
}
