package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// documented returns the lines of the package comment between two texts, without their indent.
func documented(t testing.TB, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	must(t, err)
	_, rest, ok := strings.Cut(string(text), from)
	rest, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("the package comment has no %q and %q", from, to)
	}
	var out strings.Builder
	for line := range strings.Lines(rest) {
		if l, ok := strings.CutPrefix(line, "//\t"); ok {
			out.WriteString(l)
		}
	}
	return out.String()
}

// example is what the package comment has.
func example() *Meta {
	m := &Meta{Index: 500, Term: 3, ConfigurationIndex: 2, Configuration: servers(), Checkpoint: Checkpoint{Index: 498, Term: 3, Position: query.Position{Epoch: 1, Applied: 300}},
		Files: []File{{"KANTA", 3, sha256.Sum256([]byte("ann"))}, {"db/000012.sst", 0, sha256.Sum256(nil)}}}
	for i := range m.Checkpoint.Chain {
		m.Checkpoint.Chain[i] = byte(0xff - 0x11*i)
	}
	return m
}

func TestMetaGolden(t *testing.T) {
	text := documented(t, "quoted as in Go, files by name:\n", "// Index, term and configuration")
	if got := string(example().append(nil)); got != text {
		t.Fatalf("written\n%s\nthe package comment has\n%s", got, text)
	}
	m, err := parseMeta([]byte(text))
	must(t, err)
	if !reflect.DeepEqual(m, example()) {
		t.Fatalf("read %+v", m)
	}
}

// exampleStream is the stream of example.
func exampleStream(t testing.TB) []byte {
	files := enginetest.NewDisk()
	must(t, tree{"KANTA": "ann", "db/000012.sst": ""}.lay(files, "snapshots/3-500-1/data"))
	must(t, put(files, "snapshots/3-500-1/META", string(example().append(nil))))
	return stream(t, open(t, files, "snapshots"), "3-500-1")
}

func TestStreamGolden(t *testing.T) {
	var parts []byte
	for _, field := range strings.Fields(documented(t, "its header, META, the one piece, and the trailer:\n", "// # Stream without")) {
		if b, err := hex.DecodeString(field); err == nil && len(field) == 2 {
			parts = append(parts, b...)
		}
	}
	want := slices.Concat(parts[:headerBytes], example().append(nil), parts[headerBytes:])
	if got := exampleStream(t); !bytes.Equal(got, want) {
		t.Fatalf("written\n%x\n%x\nthe package comment has\n%x\n%x", got[:headerBytes], got[len(got)-15:], parts[:headerBytes], parts[headerBytes:])
	}
	taken, err := decode(want, len(want))
	must(t, err)
	if err := taken.same(tree{"KANTA": "ann", "db/000012.sst": ""}); err != nil {
		t.Fatal(err)
	}
}

// taker is what a decoder gives.
type taker struct {
	meta    *Meta
	without []byte
	files   tree
}

// have stands for a file that is there.
func (x *taker) leave(file int) error {
	if f := &x.meta.Files[file]; !bit(x.without, file) || x.files[f.Name] != "" {
		return fmt.Errorf("%s is sent", f.Name)
	}
	return nil
}

func (x *taker) begin(m *Meta, text, without []byte) error {
	x.without = without
	if !bytes.Equal(m.append(nil), text) {
		return fmt.Errorf("the text is not that of what was read")
	}
	x.meta = m
	return nil
}

func (x *taker) piece(file int, data []byte, last bool) error {
	f := &x.meta.Files[file]
	x.files[f.Name] += string(data)
	if whole := int64(len(x.files[f.Name])) == f.Size; whole != last || len(data) > PieceSize {
		return fmt.Errorf("%s: %d bytes, last: %v", f.Name, len(data), last)
	}
	if last && sha256.Sum256([]byte(x.files[f.Name])) != f.Sum {
		return errSum
	}
	clear(data) // as a file may
	return nil
}

// decode reads a stream in parts of so many bytes.
func decode(stream []byte, part int) (tree, error) {
	x := &taker{files: tree{}}
	d := newDecoder(x)
	for p := range slices.Chunk(stream, max(part, 1)) {
		if _, err := d.Write(p); err != nil {
			return x.files, err
		}
	}
	return x.files, d.finish()
}

// TestStreamFlips turns every bit of a small stream round, and some of a large one: each is
// found, and no file is taken that is not what was sent.
func TestStreamFlips(t *testing.T) {
	small := exampleStream(t)
	for i := range 8 * len(small) {
		flipped := slices.Clone(small)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := decode(flipped, len(flipped)); err == nil {
			t.Fatalf("bit %d is not missed", i)
		}
	}
	_, s, id := one(t, 1)
	large := stream(t, s, id)
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		flipped := slices.Clone(large)
		i := r.IntN(8 * len(large))
		flipped[i/8] ^= 1 << (i % 8)
		files := enginetest.NewDisk()
		to := open(t, files, "to")
		if _, err := receive(to, flipped, 500, 1); err == nil {
			t.Fatalf("bit %d is not missed", i)
		}
		clean(t, files, "to")
	}
}

// TestStreamCut ends streams early, goes on behind their end, and puts pieces in others' places.
func TestStreamCut(t *testing.T) {
	small := exampleStream(t)
	for n := range small {
		_, err := decode(small[:n], 7)
		want(t, err, query.CodeCorrupt, "cut off")
	}
	_, err := decode(append(slices.Clone(small), 0), 1)
	want(t, err, query.CodeCorrupt, "more behind the end")

	_, s, id := one(t, 1)
	large := stream(t, s, id)
	whole, err := decode(large, 10_000)
	must(t, err)
	must(t, whole.same(sample(1)))
	first := bytes.Index(large, []byte(sample(1)["db/000011.sst"][:100])) - checksumBytes
	const piece = PieceSize + checksumBytes
	swapped := slices.Concat(large[:first], large[first+piece:first+2*piece], large[first:first+piece], large[first+2*piece:])
	_, err = decode(swapped, len(swapped))
	want(t, err, query.CodeCorrupt, "the piece at 0 fails")
}

// forged returns the stream of a META that nobody checks, with a right checksum, and so many bytes.
func forged(m *Meta, payload []byte) []byte {
	text := m.append(nil)
	b := append(appendHeader(nil, text, nil), payload...)
	return appendTrailer(b, crc32.Checksum(b, castagnoli))
}

// TestHostile has streams that are what they say, and say what they must not.
func TestHostile(t *testing.T) {
	names := func(names ...string) func(m *Meta) {
		return func(m *Meta) {
			m.Files = nil
			for _, n := range names {
				m.Files = append(m.Files, File{n, 0, sha256.Sum256(nil)})
			}
		}
	}
	for name, c := range map[string]struct {
		do   func(m *Meta)
		code query.Code
		text string
	}{
		"up":              {names("../KANTA"), query.CodeCorrupt, "name"},
		"up in between":   {names("db/../../x"), query.CodeCorrupt, "name"},
		"here":            {names("./x"), query.CodeCorrupt, "name"},
		"absolute":        {names("/etc/passwd"), query.CodeCorrupt, "name"},
		"a drive":         {names("C:x"), query.CodeCorrupt, "name"},
		"backwards":       {names(`db\x`), query.CodeCorrupt, "name"},
		"hidden":          {names(".bashrc"), query.CodeCorrupt, "name"},
		"empty":           {names(""), query.CodeCorrupt, "name"},
		"a directory":     {names("db/"), query.CodeCorrupt, "name"},
		"twice a slash":   {names("db//x"), query.CodeCorrupt, "name"},
		"a dot behind":    {names("db/x."), query.CodeCorrupt, "name"},
		"zero":            {names("a\x00b"), query.CodeCorrupt, "name"},
		"a line":          {names("a\nfile 0 x y"), query.CodeCorrupt, ""},
		"not ASCII":       {names("ä"), query.CodeCorrupt, "name"},
		"long":            {names(strings.Repeat("a", MaxName+1)), query.CodeLimit, "120"},
		"deep":            {names("a/b/c/d/e"), query.CodeLimit, "4"},
		"twice":           {names("a", "a"), query.CodeCorrupt, "order"},
		"out of order":    {names("b", "a"), query.CodeCorrupt, "order"},
		"twice by case":   {names("A", "a"), query.CodeCorrupt, "one name"},
		"in a file":       {names("a", "a/b"), query.CodeCorrupt, "in a file"},
		"in a file later": {names("a", "a-b", "a/b/c"), query.CodeCorrupt, "in a file"},
		"a directory too": {names("A/b", "a"), query.CodeCorrupt, "one name"},
		"no files":        {names(), query.CodeCorrupt, "without files"},
		"below nothing":   {func(m *Meta) { m.Files[0].Size = -1 }, query.CodeLimit, "-1 bytes"},
		"large":           {func(m *Meta) { m.Files[0].Size = MaxFileBytes + 1 }, query.CodeLimit, "bytes"},
		"no index":        {func(m *Meta) { m.Index = 0 }, query.CodeCorrupt, "index"},
		"no term":         {func(m *Meta) { m.Term = 0 }, query.CodeCorrupt, "index"},
		"suffrage":        {func(m *Meta) { m.Configuration.Servers[0].Suffrage = 7 }, query.CodeCorrupt, ""},
		"a long id":       {func(m *Meta) { m.Configuration.Servers[0].ID = raft.ServerID(strings.Repeat("a", MaxServer+1)) }, query.CodeLimit, "512"},
		"servers": {func(m *Meta) {
			for range MaxServers - 1 {
				m.Configuration.Servers = append(m.Configuration.Servers, raft.Server{ID: "x"})
			}
		}, query.CodeLimit, "256"},
	} {
		m := example()
		c.do(m)
		files := enginetest.NewDisk()
		to := open(t, files, "to")
		k, err := to.Create(1, m.Index, m.Term, m.Configuration, m.ConfigurationIndex, nil)
		must(t, err)
		before := files.Changes()
		if _, err = k.Write(forged(m, nil)); err == nil {
			t.Fatalf("%s: it is taken", name)
		}
		want(t, err, c.code, c.text)
		if after := files.Changes(); after != before {
			t.Fatalf("%s: %d changes of files before it was refused", name, after-before)
		}
		must(t, k.Cancel())
	}
	header := appendHeader(nil, make([]byte, sumBytes), nil)
	for size, code := range map[uint32]query.Code{MaxMeta + 1: query.CodeLimit, 1 << 31: query.CodeLimit, 0: query.CodeCorrupt, uint32(sumBytes) - 1: query.CodeCorrupt} {
		binary.LittleEndian.PutUint32(header[8:], size)
		_, err := decode(header, len(header))
		want(t, err, code, "description")
	}
}

// TestLimits has what is just within the limits.
func TestLimits(t *testing.T) {
	m := example()
	m.Files = []File{{"a/b/c/" + strings.Repeat("d", MaxName-6), MaxFileBytes, [32]byte{}}}
	for len(m.Configuration.Servers) < MaxServers {
		m.Configuration.Servers = append(m.Configuration.Servers, raft.Server{Suffrage: raft.Staging, ID: raft.ServerID(strings.Repeat("ä", MaxServer/2)), Address: "a \"b\"\n"})
	}
	got, err := parseMeta(m.append(nil))
	must(t, err)
	if !reflect.DeepEqual(got, m) {
		t.Fatalf("read %+v", got)
	}
	for i := range MaxBytes/MaxFileBytes + 1 {
		m.Files = append(m.Files, File{Name: fmt.Sprintf("b%02d", i), Size: MaxFileBytes})
	}
	_, err = parseMeta(m.append(nil))
	want(t, err, query.CodeLimit, fmt.Sprint(int64(MaxBytes)))
	m.Files = m.Files[:MaxBytes/MaxFileBytes]
	_, err = parseMeta(m.append(nil))
	must(t, err)

	m = example()
	m.Files = make([]File, MaxFiles)
	for i := range m.Files {
		m.Files[i].Name = fmt.Sprintf("db/%06d.sst", i)
	}
	text := m.append(nil)
	_, err = parseMeta(text)
	must(t, err)
	m.Files = append(m.Files, File{Name: "x"})
	_, err = parseMeta(m.append(nil))
	want(t, err, query.CodeLimit, fmt.Sprint(MaxFiles))
	_, err = parseMeta(make([]byte, MaxMeta+1))
	want(t, err, query.CodeLimit, fmt.Sprint(MaxMeta))
}

func TestNewerFormat(t *testing.T) {
	text := bytes.Replace(example().append(nil), []byte("format 1"), []byte("format 2"), 1)
	_, err := parseMeta(text)
	want(t, err, query.CodeNewerFormat, "format 2")
	newer := exampleStream(t)
	newer[4] = offerVersion + 1
	_, err = decode(newer, 5)
	want(t, err, query.CodeNewerFormat, "newer version of Kanta")
	files := enginetest.NewDisk()
	must(t, tree{"KANTA": "ann"}.lay(files, "snapshots/3-500-1/data"))
	must(t, put(files, "snapshots/3-500-1/META", string(text)))
	_, err = Open("snapshots", &Options{FS: files})
	want(t, err, query.CodeNewerFormat, "snapshot 3-500-1: it has format 2")
}

// TestMetaForms has texts with right checksums that are not in the form.
func TestMetaForms(t *testing.T) {
	good := string(example().append(nil))
	body := good[:len(good)-sumBytes]
	for _, c := range [][2]string{
		{"index 500", "index 0500"}, {"index 500", "index +500"}, {"index 500\nterm 3", "term 3\nindex 500"}, {"term 3\n", "term 3\nterm 3\n"}, {"term 3\n", "term 3 \n"}, {"term 3\n", "term 3\r\n"},
		{"format 1\n", "format 01\n"}, {"format 1\n", "format 0\n"}, {"format 1\n", ""}, {"position 1.300", "position 1.0300"}, {"position 1.300", "position 1"},
		{"chain ffee", "chain FFEE"}, {"chain ff", "chain "}, {`"a1"`, "a1"}, {`"a1"`, `"\x61\x31"`}, {`"a1"`, "`a1`"}, {"voter", "Voter"}, {"voter", "king"}, {"file 3 ", "file  3 "}, {"file 0", "file 00"},
		{"file 0", "else 0"}, {"49915e", "49915E"}, {"49915e", "49915"}, {"applied-term 3\n", ""},
	} {
		if !strings.Contains(body, c[0]) {
			t.Fatalf("there is no %q", c[0])
		}
		text := strings.Replace(body, c[0], c[1], 1)
		text += fmt.Sprintf("%s%x\n", sumLine, sha256.Sum256([]byte(text)))
		if _, err := parseMeta([]byte(text)); err == nil {
			t.Errorf("%q instead of %q is taken", c[1], c[0])
		} else {
			want(t, err, query.CodeCorrupt, "")
		}
	}
}

func FuzzMeta(f *testing.F) {
	good := example().append(nil)
	f.Add(good[:len(good)-sumBytes])
	f.Fuzz(func(t *testing.T, body []byte) {
		// With a right checksum, which nobody would guess.
		text := fmt.Appendf(slices.Clip(body), "%s%x\n", sumLine, sha256.Sum256(body))
		m, err := parseMeta(text)
		if err != nil {
			return
		}
		if !bytes.Equal(m.append(nil), text) || m.check() != nil {
			t.Fatalf("%q is read as something else", text)
		}
		for _, file := range m.Files {
			if strings.Contains(file.Name, "..") && strings.Contains("/"+file.Name+"/", "/../") || strings.HasPrefix(file.Name, "/") {
				t.Fatalf("%q is a name", file.Name)
			}
		}
	})
}

func FuzzStream(f *testing.F) {
	good := exampleStream(f)
	f.Add(good, 7)
	f.Add(good[:len(good)-1], 1)
	f.Add(exampleDelta(f), 9)
	f.Fuzz(func(t *testing.T, stream []byte, part int) {
		files, err := decode(stream, part)
		if err != nil {
			return
		}
		var again []byte
		x := &taker{files: tree{}}
		d := newDecoder(x)
		if _, err := d.Write(stream); err != nil || d.finish() != nil {
			t.Fatalf("in parts of %d it is taken, at once it is not: %v", part, err)
		}
		again = appendHeader(nil, x.meta.append(nil), x.without)
		for i, f := range x.meta.Files {
			if x.without != nil && bit(x.without, i) {
				continue
			}
			for at := int64(0); at < f.Size; at += PieceSize {
				p := []byte(files[f.Name][at:min(at+PieceSize, f.Size)])
				again = append(binary.LittleEndian.AppendUint32(again, pieceSum(i, at, p)), p...)
			}
		}
		again = appendTrailer(again, crc32.Checksum(again, castagnoli))
		if !bytes.Equal(again, stream) {
			t.Fatal("what was read is written otherwise")
		}
	})
}
