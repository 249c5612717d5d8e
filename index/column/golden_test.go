package column

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// docBlocks returns the example blocks of doc.go, read from the file itself.
func docBlocks(t *testing.T) [][]byte {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, _ := strings.Cut(string(text), "# Examples")
	var blocks [][]byte
	for line := range strings.Lines(examples) {
		data, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		if strings.HasPrefix(data, "4b 4e") {
			blocks = append(blocks, nil)
		}
		for _, word := range strings.Fields(data) {
			b, err := hex.DecodeString(word)
			if err != nil || len(word) != 2 {
				break
			}
			blocks[len(blocks)-1] = append(blocks[len(blocks)-1], b...)
		}
	}
	return blocks
}

func TestGolden(t *testing.T) {
	blocks := docBlocks(t)
	if len(blocks) != 3 {
		t.Fatalf("%d example blocks in doc.go, want 3", len(blocks))
	}
	want := [][]byte{
		EncodeInts(nil, []int64{10, 99, 12, 11}, []uint64{0b1101}),
		EncodeStrings(nil, [][]byte{[]byte("ann"), nil, {}, []byte("é")}),
		EncodeSets(nil, []uint32{2, 2, 3}, []uint32{1, 3, 2}),
	}
	for i := range want {
		if !bytes.Equal(blocks[i], want[i]) {
			t.Errorf("example %d of doc.go: encoder gives\n% x, doc.go says\n% x", i, want[i], blocks[i])
		}
	}
	ints, err := DecodeInts(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ints.Append(nil, nil), ints.Min(), ints.Max(), ints.CountPresent()); got != "[10 0 12 11] 10 12 3" {
		t.Error(got)
	}
	strs, err := DecodeStrings(blocks[1])
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []string{"ann", "-", "", "é"} {
		if s, ok := strs.At(i); ok != (w != "-") || ok && (string(s) != w || s == nil) {
			t.Errorf("string %d: %q, %v", i, s, ok)
		}
	}
	sets, err := DecodeSets(blocks[2])
	if err != nil {
		t.Fatal(err)
	}
	if ends, codes := sets.Append(nil, nil); fmt.Sprint(ends, codes) != "[2 2 3] [1 3 2]" {
		t.Error(ends, codes)
	}
}

// decoders are the decoders of all types, for tests of what they share.
func decoders() []func([]byte) error {
	return []func([]byte) error{
		func(b []byte) error { _, err := DecodeInts(b); return err },
		func(b []byte) error { _, err := DecodeStrings(b); return err },
		func(b []byte) error { _, err := DecodeSets(b); return err },
	}
}

func TestVersionAndDamage(t *testing.T) {
	for i, block := range docBlocks(t) {
		for k, decode := range decoders() {
			if err := decode(block); (err == nil) != (i == k) || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("block %d, decoder %d: %v", i, k, err)
			}
		}
		decode := decoders()[i]
		newer := bytes.Clone(block)
		newer[4]++
		if err := decode(newer); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrCorrupt) {
			t.Errorf("version+1 of block %d: %v", i, err)
		}
		for n := range block {
			if err := decode(block[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("block %d cut to %d bytes: %v", i, n, err)
			}
		}
		for bit := range 8 * len(block) {
			bad := bytes.Clone(block)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := decode(bad); err == nil {
				t.Errorf("block %d with bit %d flipped decodes", i, bit)
			}
		}
		if err := decode(append(bytes.Clone(block), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("block %d with a byte more: %v", i, err)
		}
	}
}
