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

// authored is the second worked example.
func authored() *Record {
	r := example()
	r.Author = query.Author{ID: "key 7", Name: "k", Role: "r"}
	return r
}

// worked returns the bytes of a worked example of the package comment.
func worked(t *testing.T, from, to string) (want []byte) {
	t.Helper()
	text, err := os.ReadFile("record.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), from)
	rest, _, _ = strings.Cut(rest, to)
	for line := range strings.Lines(rest) {
		for _, field := range strings.Fields(strings.TrimPrefix(line, "//\t")) {
			b, err := hex.DecodeString(field)
			if len(field) != 2 || err != nil {
				break
			}
			want = append(want, b...)
		}
	}
	return want
}

func TestGolden(t *testing.T) {
	want := worked(t, "# Worked example", "The same of")
	if got := Append(nil, example()); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	r, err := Decode(want)
	if err != nil || r.Received != example().Received || string(r.Verdicts) != "V!" || string(r.Batch) != "KNTB" || r.Author.ID != "" {
		t.Fatalf("%+v %v", r, err)
	}
	if h := Chain([16]byte{}, want); hex.EncodeToString(h[:]) != "046e5a4ba6cab1b3fba9bbca3dba5085" {
		t.Fatalf("the chain hash is %x", h)
	}
}

// TestGoldenAuthor: a record of which it is known who wrote it.
func TestGoldenAuthor(t *testing.T) {
	want := worked(t, "The same of", "The chain hash")
	if got := Append(nil, authored()); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	for _, may := range []bool{false, true} {
		r := authored()
		r.Author.SharesAll = may
		again, err := Decode(Append(nil, r))
		if err != nil || again.Author != r.Author || string(again.Verdicts) != "V!" || string(again.Batch) != "KNTB" {
			t.Errorf("%+v, %v", again, err)
		}
	}
	corrupt := &query.Error{Code: query.CodeCorrupt}
	for name, r := range map[string]struct {
		author query.Author
		want   error
	}{
		"the longest":   {query.Author{ID: strings.Repeat("i", MaxAuthor-5), Name: "nm", Role: "rol"}, nil},
		"a byte longer": {query.Author{ID: strings.Repeat("i", MaxAuthor-5), Name: "nma", Role: "rol"}, corrupt},
	} {
		if _, err := Decode(Append(nil, &Record{Author: r.author})); !errors.Is(err, r.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	origin := bytes.Clone(want)
	origin[7] = 2
	if _, err := Decode(reseal(origin)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("origin 2: %v", err)
	}
	may := bytes.Clone(want)
	may[18] = 2
	if _, err := Decode(reseal(may)); !errors.Is(err, corrupt) {
		t.Errorf("who may something else: %v", err)
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
	f.Add(Append(nil, authored()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 5 {
			return
		}
		r, err := Decode(reseal(b))
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, r))
		if err != nil || again.Received != r.Received || again.Author != r.Author || !bytes.Equal(again.Verdicts, r.Verdicts) || !bytes.Equal(again.Batch, r.Batch) {
			t.Fatalf("%v %+v %+v", err, r, again)
		}
	})
}
