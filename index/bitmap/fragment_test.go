package bitmap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// randomShard has containers of every type.
func randomShard(r *rand.Rand) *[ShardChunks]Set {
	var sets [ShardChunks]Set
	for i := range sets {
		sets[i] = randomSet(r)
	}
	return &sets
}

func ordinals(sets *[ShardChunks]Set) []uint32 {
	var out []uint32
	for i, s := range sets {
		for _, v := range s.AppendTo(nil) {
			out = append(out, uint32(i)<<ChunkBits|uint32(v))
		}
	}
	return out
}

func TestFragmentRoundTrip(t *testing.T) {
	r := newRand(t)
	var seen [4]int
	for range 60 {
		sets := randomShard(r)
		b := EncodeFragment([]byte("before"), sets)[6:]
		again, err := EncodeOrdinals(nil, ordinals(sets))
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("EncodeOrdinals differs (error %v)", err)
		}
		h, err := ReadFragmentHeader(b[:min(len(b), MaxFragmentHeader)])
		if err != nil {
			t.Fatal(err)
		}
		f, err := DecodeFragment(b)
		if err != nil {
			t.Fatal(err)
		}
		mem := make([]uint64, h.MemWords()+3)
		for i := range mem {
			mem[i] = r.Uint64()
		}
		g, err := DecodeFragmentInto(&h, b, mem)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for i, s := range sets {
			want := refOf(s)
			check(t, "decoded", f.Chunk(i), want)
			check(t, "decoded into", g.Chunk(i), want)
			n := s.Count()
			if h.Counts[i] != n || f.Count(i) != n {
				t.Fatalf("chunk %d: header %d, fragment %d, want %d", i, h.Counts[i], f.Count(i), n)
			}
			if form := f.Chunk(i).Form; n > denseAbove && n < ChunkSize && form != Dense || n == ChunkSize && form != Full {
				t.Fatalf("%d elements in form %d", n, form)
			}
			if n > 0 {
				seen[h.entries[i].kind]++
			}
			total += n
		}
		if h.Total != total || f.Total() != total || h.Size != len(b) || f.MemBytes() < 8*h.MemWords() {
			t.Fatalf("total %d and %d, want %d; size %d of %d", h.Total, f.Total(), total, h.Size, len(b))
		}
	}
	if slices.Min(seen[:]) < 10 {
		t.Fatalf("containers by type: %v", seen)
	}
}

// TestReplaceChunks compares with encoding all of it.
func TestReplaceChunks(t *testing.T) {
	r := newRand(t)
	for i := range 60 {
		keep := uint16(r.Uint32())
		was, now := randomShard(r), randomShard(r)
		old := EncodeFragment(nil, was)
		if i%10 == 0 {
			was, old = new([ShardChunks]Set), nil
		}
		want := *was
		for c := range now {
			if keep>>c&1 == 1 {
				now[c] = Set{}
			} else {
				want[c] = now[c]
			}
		}
		got, total, err := ReplaceChunks([]byte("before"), old, keep, ordinals(now))
		if err != nil || !bytes.Equal(got[6:], EncodeFragment(nil, &want)) || total != len(ordinals(&want)) {
			t.Fatalf("keep %016b: another fragment, of %d (error %v)", keep, total, err)
		}
		if old == nil {
			continue
		}
		old[r.IntN(len(old))] ^= 1 << r.IntN(8)
		if got, _, err := ReplaceChunks(nil, old, keep, nil); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) || got != nil {
			t.Fatalf("a damaged fragment: %v", err)
		}
	}
	if _, _, err := ReplaceChunks(nil, nil, 1<<2, []uint32{2 << ChunkBits}); err == nil {
		t.Error("an ordinal in a chunk that is kept was taken")
	}
}

func TestFragmentSizes(t *testing.T) {
	// f checks the size of a fragment of one container against the smallest form.
	f := func(what string, a []uint16, payload int) {
		t.Helper()
		b := EncodeFragment(nil, &[ShardChunks]Set{3: FromArray(a)})
		if len(b) != 24+payload {
			t.Errorf("%s: %d bytes, want 24+%d", what, len(b), payload)
		}
	}
	all := Set{Form: Full}.AppendTo(nil)
	var even []uint16
	for i := 0; i < ChunkSize; i += 2 {
		even = append(even, uint16(i))
	}
	f("one", []uint16{7}, 2)
	f("two neighbours", []uint16{7, 8}, 4)
	f("three neighbours", []uint16{7, 8, 9}, 4)
	f("array at its limit", even[:4096], 8192)
	f("bitmap", even[:4097], 8192)
	f("one run", all[1:], 4)
	f("full", all, 0)
	if b := EncodeFragment(nil, &[ShardChunks]Set{}); len(b) != 16 {
		t.Errorf("empty: %d bytes", len(b))
	}
	f("the most runs", slices.Concat(even[:2047], all[6000:]), 8192)
}

func TestEncodeOrdinalsRefuses(t *testing.T) {
	for _, bad := range [][]uint32{{ShardSize}, {5, 5}, {6, 5}, {1 << 31}} {
		if _, err := EncodeOrdinals(nil, bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// docExample returns the bytes of the n-th hex dump in the package comment.
func docExample(t *testing.T, after string) []byte {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(doc), after)
	if !ok {
		t.Fatalf("no %q in doc.go", after)
	}
	var out []byte
	pairs := regexp.MustCompile(`^(?:[0-9a-f]{2} +)+`)
	for _, line := range strings.Split(text, "\n")[2:] {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			break
		}
		code := pairs.FindString(line) // the rest of the line explains
		b, err := hex.DecodeString(strings.Join(strings.Fields(code), ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, b...)
	}
	return out
}

func TestFragmentGolden(t *testing.T) {
	b := docExample(t, "The fragment of the ordinals")
	want := []uint32{1, 5}
	for i := uint32(65546); i <= 65555; i++ {
		want = append(want, i)
	}
	if again, _ := EncodeOrdinals(nil, want); !bytes.Equal(b, again) {
		t.Fatalf("encoded:\n% x\ndocumented:\n% x", again, b)
	}
	f, err := DecodeFragment(b)
	if err != nil {
		t.Fatal(err)
	}
	var sets [ShardChunks]Set
	for i := range sets {
		sets[i] = f.Chunk(i)
	}
	if got := ordinals(&sets); !slices.Equal(got, want) {
		t.Fatalf("decoded %v", got)
	}
}

func TestFragmentRefuses(t *testing.T) {
	r := newRand(t)
	b := EncodeFragment(nil, &[ShardChunks]Set{FromArray([]uint16{1, 5, 9}), {Form: Dense, Words: randomWords(r)}, {Form: Full}})
	for i := range b { // any flipped bit
		c := bytes.Clone(b)
		c[i] ^= 1 << r.IntN(8)
		_, err := DecodeFragment(c)
		if i == 4 && c[4] > fragmentVersion {
			if !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("version %d: %v", c[4], err)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range len(b) {
		if _, err := DecodeFragment(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := DecodeFragment(append(bytes.Clone(b), 0)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a byte too many: %v", err)
	}
}

// seal writes the checksums of a fragment that a test has changed.
func seal(b []byte) []byte {
	if len(b) < fragmentFixed {
		return b
	}
	at := payloadOffset(popcount16(binary.LittleEndian.Uint16(b[6:])))
	if len(b) < at {
		return b
	}
	binary.LittleEndian.PutUint32(b[8:], crc32c(b[at:]))
	binary.LittleEndian.PutUint32(b[12:], headerCRC(b[:at]))
	return b
}

func popcount16(v uint16) int {
	n := 0
	for ; v != 0; v &= v - 1 {
		n++
	}
	return n
}

// TestFragmentRefusesSealed checks what only a wrong writer or an attacker makes: the
// checksums are right.
func TestFragmentRefusesSealed(t *testing.T) {
	one := func(kind uint8, count, runs int, payload ...uint16) []byte {
		b := []byte("KNTF\x01\x00\x01\x00        ")
		b = binary.LittleEndian.AppendUint32(b, entry{count: count, kind: kind, runs: runs}.pack())
		b = append(b, 0, 0, 0, 0)
		for _, v := range payload {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
		return seal(b)
	}
	f := func(what string, b []byte, ok bool) {
		t.Helper()
		frag, err := DecodeFragment(b)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil && frag.Total() != frag.Chunk(0).Count() {
			t.Errorf("%s: total %d, count %d", what, frag.Total(), frag.Chunk(0).Count())
		}
	}
	wide := make([]uint16, 4096) // a bitmap
	wide[0] = 3
	big := make([]uint16, 4097)
	for i := range big {
		big[i] = uint16(i)
	}
	f("array", one(typeArray, 2, 1, 4, 9), true)
	f("array not ascending", one(typeArray, 2, 1, 4, 4), false)
	f("large array", one(typeArray, 4096, 1, big[:4096]...), true)
	f("large array not ascending", one(typeArray, 4096, 1, append(slices.Clone(big[:4095]), 7)...), false)
	f("array too long", one(typeArray, 4097, 1, big...), false)
	f("small bitmap", one(typeBitmap, 2, 1, wide...), true)
	f("bitmap of another count", one(typeBitmap, 3, 1, wide...), false)
	f("large bitmap of another count", one(typeBitmap, 2000, 1, wide...), false)
	f("runs", one(typeRuns, 4, 2, 1, 2, 4, 5), true)
	f("runs that touch", one(typeRuns, 4, 2, 1, 2, 3, 4), false)
	f("runs out of order", one(typeRuns, 4, 2, 4, 5, 1, 2), false)
	f("run backwards", one(typeRuns, 4, 2, 5, 4, 7, 12), false)
	f("runs of more", one(typeRuns, 3, 2, 1, 2, 4, 5), false)
	f("runs of fewer", one(typeRuns, 5, 2, 1, 2, 4, 5), false)
	f("one run of all", one(typeRuns, 65536, 1, 0, 65535), true)
	f("long run", one(typeRuns, 65535, 1, 0, 65534), true)
	f("full with payload", one(typeFull, 65536, 1, 1), false)
	f("full with fewer", one(typeFull, 65535, 1), false)
	f("payload too short", one(typeArray, 2, 1, 4), false)
	b := one(typeArray, 2, 1, 4, 9)
	b[20] = 1
	f("padding", seal(b), false)
	b = one(typeArray, 2, 1, 4, 9)
	b[19] = 0x80
	f("reserved bits", seal(b), false)
}

func FuzzDecodeFragment(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 8 { // small ones: the mutator is slow on large inputs
		f.Add(EncodeFragment(nil, &[ShardChunks]Set{3: FromArray(randomArray(r, 5)), 9: {Form: Full}}))
	}
	f.Add(EncodeFragment(nil, &[ShardChunks]Set{7: {Form: Dense, Words: randomWords(r)}}))
	f.Add(EncodeFragment(nil, &[ShardChunks]Set{2: FromArray([]uint16{1, 2, 3, 4, 9})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = seal(bytes.Clone(b)) // else no mutation gets past the checksums
		frag, err := DecodeFragment(b)
		if err != nil {
			return
		}
		var sets [ShardChunks]Set
		total := 0
		for i := range sets {
			sets[i] = frag.Chunk(i)
			a := sets[i].AppendTo(nil)
			if len(a) != frag.Count(i) || !slices.IsSorted(a) {
				t.Fatalf("chunk %d: %d elements, count %d", i, len(a), frag.Count(i))
			}
			total += len(a)
		}
		if total != frag.Total() {
			t.Fatalf("total %d, counted %d", frag.Total(), total)
		}
		again, err := DecodeFragment(EncodeFragment(nil, &sets))
		if err != nil || again.Total() != total {
			t.Fatalf("encoded again: %v", err)
		}
	})
}
