package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// longest is a record with as much as there is room for, and so much more of each.
func longest(more int) Record {
	text := strings.Repeat("x", MaxTextBytes+more)
	r := Record{Who: Caller{text, text, text, text}, Call: text, Outcome: Failed, Code: 0xffff, What: strings.Repeat("w", MaxWhatBytes+more),
		MoreNames: 1 << 63, MoreKeys: 1 << 63, Count: 1 << 63, Position: query.Position{Epoch: 1 << 63, Applied: 1 << 63}, Skipped: 1 << 63,
		Removed: Removed{Number: 1 << 63}, Cut: 1 << 63}
	for len(r.Names) < MaxNames+more {
		r.Names = append(r.Names, "name-"+string(rune('a'+len(r.Names)%26))) // 7 bytes with its length
	}
	r.Keys = make([]Hash, MaxKeys+more)
	return r
}

// TestLimits encodes what is at the limits, and one more, which is cut and counted.
func TestLimits(t *testing.T) {
	r := longest(0)
	p := r.encode()
	stamp(p, 1, 1, 2)
	got, _, err := decode(p)
	if err != nil || len(p) > MaxRecordBytes {
		t.Fatalf("%d bytes: %v", len(p), err)
	}
	r.Number, r.Time = 1, time.UnixMilli(2).UTC()
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v\nwant %+v", got, r)
	}
	over := longest(1)
	if p = over.encode(); len(p) > MaxRecordBytes {
		t.Errorf("%d bytes", len(p))
	}
	stamp(p, 1, 1, 2)
	if got, _, err = decode(p); err != nil {
		t.Fatal(err)
	}
	if len(got.What) != MaxWhatBytes || !strings.HasSuffix(got.What, "w"+ellipsis) || len(got.Who.Name) != MaxTextBytes || !strings.HasSuffix(got.Call, "x"+ellipsis) {
		t.Errorf("texts were not cut: %+v", got)
	}
	if len(got.Names) != MaxNames || got.MoreNames != 1<<63+1 || len(got.Keys) != MaxKeys || got.MoreKeys != 1<<63+1 {
		t.Errorf("%d names and %d, %d keys and %d", len(got.Names), got.MoreNames, len(got.Keys), got.MoreKeys)
	}
	wide := Record{Outcome: Done, Names: slices.Repeat([]string{strings.Repeat("n", MaxTextBytes)}, 6), What: "\xff" + strings.Repeat("ä", MaxWhatBytes/2)}
	p = wide.encode()
	stamp(p, 1, 1, 2)
	if got, _, err = decode(p); err != nil || len(got.Names) != maxNamesBytes/(1+MaxTextBytes) || got.MoreNames != 2 || !strings.HasPrefix(got.What, "\uFFFDä") {
		t.Errorf("long names: %d and %d, %.10q, %v", len(got.Names), got.MoreNames, got.What, err)
	}
	if r := (Record{Outcome: Done, Names: []string{strings.Repeat("n", MaxTextBytes+1)}}); len(r.encode()) != fixedBytes+3+1+MaxTextBytes {
		t.Error("a name is not cut")
	}
}

// FuzzRecord: what is read is what would be written.
func FuzzRecord(f *testing.F) {
	for _, r := range []Record{longest(0), rec("Count"), {Outcome: Kept, Call: CallCut, Cut: 300}} {
		p := r.encode()
		stamp(p, 7, 5, 1_000)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, group, err := decode(p)
		if err != nil {
			return
		}
		again := r.encode()
		stamp(again, r.Number, group, uint64(r.Time.UnixMilli()))
		if !bytes.Equal(again, p) {
			t.Errorf("read %x\nwritten %x", p, again)
		}
	})
}

// FuzzSegment reads any bytes as a segment, up to where they are none.
func FuzzSegment(f *testing.F) {
	for _, seed := range []int{0, headerBytes, headerBytes + 40, len(golden(f))} {
		f.Add(golden(f)[:seed])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		files := enginetest.NewDisk()
		if err := files.MkdirAll("audit", 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, files, "audit/"+segmentName(1), bytes.Clone(b))
		writeFile(t, files, "audit/"+secretName, []byte(secretLine(keyed{})))
		s, err := Open("audit", &Options{FS: files})
		if err != nil {
			return
		}
		verified(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// golden returns the bytes of the example in the package comment.
func golden(t testing.TB) (b []byte) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "# Example\n")
	for line := range strings.Lines(example) {
		if digits, ok := strings.CutPrefix(line, "//\t"); ok {
			part, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, part...)
		}
	}
	return b
}

// TestGolden reads the example of the package comment, and writes it.
func TestGolden(t *testing.T) {
	want := golden(t)
	k := keyed{1, 2, 3}
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h := header{first: 1, made: made, until: time.UnixMilli(0)}
	for i := range h.store {
		h.store[i] = byte(i)
	}
	shape, names := k.Shape(`country == "IT"`, func(name string) bool { return name == "country" }, true)
	records := []Record{
		{Who: Caller{"k1", "crm", "support", "10.0.0.7"}, Call: "Profile", Outcome: Done, Keys: []Hash{k.Hash("ann")}, Count: 1, Position: query.Position{Epoch: 1, Applied: 9}},
		{Who: Caller{ID: "k2", Name: "bi"}, Call: "Members", Outcome: Denied, Code: query.CodeDenied, What: shape, Names: names, Skipped: 300},
	}
	got := h.encode()
	var hash [32]byte
	for i := range records {
		p := records[i].encode()
		stamp(p, uint64(i+1), 1, uint64(made.UnixMilli())+5)
		got, hash = appendFrame(got, p, hash)
		records[i].Number, records[i].Time = uint64(i+1), made.Add(5*time.Millisecond)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the example is\n%s", spelled(got))
	}
	files := enginetest.NewDisk()
	if err := files.MkdirAll("audit", 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, files, "audit/"+segmentName(1), bytes.Clone(want))
	writeFile(t, files, "audit/"+secretName, []byte(secretLine(k)))
	s, err := Open("audit", &Options{FS: files, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.List(t.Context(), nil, 0, 0)
	if err != nil || !reflect.DeepEqual(list, records) {
		t.Errorf("read %+v, %v\nwant %+v", list, err, records)
	}
	if head := verified(t, s); head != (Head{First: 1, Number: 2, Hash: hash}) {
		t.Errorf("the head is %+v", head)
	}
}

// spelled writes bytes of a segment as the package comment does.
func spelled(b []byte) string {
	var lines []string
	line := func(b []byte, sizes ...int) {
		var words []string
		for _, n := range sizes {
			words, b = append(words, hex.EncodeToString(b[:n])), b[n:]
		}
		lines = append(lines, "//\t"+strings.Join(words, " "))
	}
	line(b, 8, 2, 6, 16, 8, 8, 8, 32, 4)
	for b = b[headerBytes:]; len(b) > 0; {
		n := int(binary.LittleEndian.Uint32(b))
		line(b, 4, 4, 8, 8, 8, 1)
		for at := 8 + fixedBytes; at < 8+n; {
			size := 3 + int(binary.LittleEndian.Uint16(b[at+1:]))
			line(b[at:], 1, 2, size-3)
			at += size
		}
		line(b[8+n:], 32)
		b = b[frameBytes+n:]
	}
	return strings.Join(lines, "\n")
}
