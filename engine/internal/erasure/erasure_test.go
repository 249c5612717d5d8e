package erasure

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

const exampleID = "000102030405060708090a0b0c0d0e0f"

// examples are the values of the package comment, in order.
func examples() (name Hash, values [][]byte) {
	s := NewSecret(exampleID)
	name = s.Name([]byte("ann"))
	const at = 1_780_000_000_000
	traces := s.Traces([]byte("ann@example.com"))
	e := Entry{Hint: s.KeyHint([]byte("ann")), Erased: at, Position: query.Position{Epoch: 1, Applied: 9}, Reference: "T-17"}
	p := Pending{Received: at, Names: []Hash{name}, Ordinals: []uint32{70_000}, Quarantined: 2, Refused: 1, Traces: traces}
	state := State{Started: at, UpTo: 9, Events: 3, Strings: 1, Traces: traces, Codes: []Code{{17, 4}}}
	r := Receipt{Position: e.Position, Started: at, Finished: at, People: 1, Ordinals: 1, Events: 3, Quarantined: 2, Refused: 1, Strings: 1,
		Files: 9, Bytes: 300, Values: 2, Shared: 1, Hits: 1, Where: []string{"x.sst"}, Names: []Hash{name}}
	return name, [][]byte{e.Append(), p.Append(), state.Append(), r.Append()}
}

// TestGolden compares the examples of the package comment with what is made of them.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# Worked example")
	var doc []byte
	for line := range strings.Lines(rest) {
		line, ok := strings.CutPrefix(line, "//\t")
		for _, field := range strings.Fields(line) {
			b, err := hex.DecodeString(field)
			if !ok || len(field) != 2 || err != nil {
				break
			}
			doc = append(doc, b...)
		}
	}
	name, values := examples()
	if want := append(name[:], bytes.Join(values, nil)...); !bytes.Equal(doc, want) {
		t.Fatalf("the package comment has\n%x\nnot the name %x and the values\n% x", doc, name[:], values)
	}
	e, err := ReadEntry(values[0])
	if err != nil || e.Reference != "T-17" || !e.Refuses(e.Erased+1) {
		t.Errorf("%+v %v", e, err)
	}
	e.Readmitted = e.Erased + 5
	if e.Refuses(e.Erased+1) || !e.Refuses(e.Erased) || e.Refuses(math.MaxInt64) {
		t.Error("what is refused of who was readmitted")
	}
	if h, ok := ParseHash(name.String()); !ok || h != name {
		t.Errorf("%v", h)
	}
	for _, bad := range []string{"", "00", strings.Repeat("x", 32), name.String() + "00"} {
		if _, ok := ParseHash(bad); ok {
			t.Errorf("%q is no hash", bad)
		}
	}
}

// read decodes a value of any kind and encodes it again.
func read(kind int, sealed []byte) ([]byte, error) {
	switch kind {
	case 0:
		v, err := ReadEntry(sealed)
		if err != nil {
			return nil, err
		}
		return v.Append(), nil
	case 1:
		v, err := ReadPending(sealed)
		if err != nil {
			return nil, err
		}
		return v.Append(), nil
	case 2:
		v, err := ReadState(sealed)
		if err != nil {
			return nil, err
		}
		return v.Append(), nil
	}
	v, err := ReadReceipt(sealed)
	if err != nil {
		return nil, err
	}
	return v.Append(), nil
}

func reseal(b []byte) []byte {
	body := b[:len(b)-4]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func TestNewerAndDamaged(t *testing.T) {
	_, values := examples()
	for kind, good := range values {
		if again, err := read(kind, good); err != nil || !bytes.Equal(again, good) {
			t.Fatalf("kind %d: %x %v", kind, again, err)
		}
		newer := bytes.Clone(good)
		newer[1]++
		if _, err := read(kind, reseal(newer)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
			t.Errorf("kind %d of version 2: %v", kind, err)
		}
		for i := range 8 * len(good) {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := read(kind, bad); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Fatalf("kind %d, bit %d: %v", kind, i, err)
			}
		}
		for n := range good {
			if _, err := read(kind, good[:n]); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Fatalf("kind %d, %d bytes: %v", kind, n, err)
			}
		}
	}
}

// FuzzRead reads anything with a right checksum: no panic, and what is accepted comes out
// as something that is accepted.
func FuzzRead(f *testing.F) {
	_, values := examples()
	for kind, v := range values {
		f.Add(kind, v)
	}
	f.Fuzz(func(t *testing.T, kind int, b []byte) {
		if len(b) < 5 {
			return
		}
		again, err := read(kind&3, reseal(b))
		if err != nil {
			return
		}
		if more, err := read(kind&3, again); err != nil || !bytes.Equal(more, again) {
			t.Fatalf("%x became %x, %v", again, more, err)
		}
	})
}

// TestFind compares the finder with a search for each value by itself.
func TestFind(t *testing.T) {
	const seed = 3
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := NewSecret(exampleID)
	found := 0
	for range 500 {
		text := func(n int) []byte {
			out := make([]byte, n)
			for i := range out {
				out[i] = "ab\"<"[r.IntN(2+r.IntN(3))]
			}
			return out
		}
		var values [][]byte
		var traces []Trace
		for range r.IntN(6) {
			v := text(1 + r.IntN(20))
			if r.IntN(8) == 0 {
				v = text(maxTrace + r.IntN(5))
			}
			values, traces = append(values, v), append(traces, s.Traces(v)...)
		}
		b := text(r.IntN(300))
		for _, v := range values {
			if r.IntN(2) == 0 {
				b = slices.Insert(b, r.IntN(len(b)+1), v...)
			}
		}
		f := NewFinder(&s, traces)
		want, got := map[string]bool{}, map[string]bool{}
		for _, v := range values {
			for _, form := range [][]byte{v, []byte(strings.NewReplacer(`"`, `\"`, `<`, `\u003c`).Replace(string(v)))} {
				if form = form[:min(len(form), maxTrace)]; len(v) < MinTrace {
					continue
				}
				for at := range b {
					if bytes.HasPrefix(b[at:], form) {
						want[fmt.Sprint(at, " ", len(form))] = true
					}
				}
			}
		}
		f.Find(b, func(i, at int) bool {
			got[fmt.Sprint(at, " ", f.Trace(i).Len)] = true
			return true
		})
		if !reflect.DeepEqual(got, want) || f.Any(b) != (len(want) > 0) {
			t.Fatalf("of %q in %q: %v, want %v", values, b, got, want)
		}
		found += len(want)
	}
	if found < 300 {
		t.Fatalf("only %d were found", found)
	}
}

// BenchmarkFind looks for 10,000 values in what has none of them.
func BenchmarkFind(b *testing.B) {
	s := NewSecret(exampleID)
	var traces []Trace
	for i := range 10_000 {
		traces = append(traces, s.Traces(fmt.Appendf(nil, "somebody-%d@example.com", i))...)
	}
	f := NewFinder(&s, traces)
	r := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if f.Any(text) {
			b.Fatal("found")
		}
	}
}

// BenchmarkName is what a row costs as soon as somebody is erased.
func BenchmarkName(b *testing.B) {
	s := NewSecret(exampleID)
	key := []byte("customer-12345678")
	for b.Loop() {
		_ = s.Name(key)
	}
}
