package audit

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// copyOf copies a disk.
func copyOf(t *testing.T, files *enginetest.Disk) *enginetest.Disk {
	t.Helper()
	c, err := files.Crash(enginetest.PowerCut{Kill: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t *testing.T, files vfs.FS, path string) []byte {
	t.Helper()
	f, err := files.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, files vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := files.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFlip turns each byte of a store round: it is found, and named, or is in the last group, which is cut off and
// said; and who noted the head always finds it.
func TestFlip(t *testing.T) {
	files := enginetest.NewDisk()
	now := newClock()
	s := openOn(t, files, Options{Clock: now.read}, smallLimits())
	add(t, s, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l")
	noted := s.Head()
	firsts, _, err := s.d.list()
	if err != nil || len(firsts) < 2 {
		t.Fatalf("segments %v: %v", firsts, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cut := 0
	for i, first := range firsts {
		name := segmentName(first)
		b := readFile(t, files, "audit/"+name)
		for at := range b {
			damaged := copyOf(t, files)
			if err := damaged.Flip("audit/"+name, int64(8*at+at%8)); err != nil {
				t.Fatal(err)
			}
			s, err := open("audit", &Options{FS: damaged, Clock: now.read}, smallLimits())
			if err != nil {
				if !isCode(err, query.CodeCorrupt) && !isCode(err, query.CodeNewerFormat) || !strings.Contains(err.Error(), name) {
					t.Fatalf("byte %d of %s: %v", at, name, err)
				}
				continue
			}
			h, err := s.Verify(t.Context(), nil)
			if err == nil {
				if list, err := s.List(t.Context(), &Filter{Call: CallCut}, 0, 0); err != nil || len(list) != 1 || i < len(firsts)-1 || h.Number != noted.Number {
					t.Fatalf("byte %d of %s is taken for good: %+v, %v", at, name, h, err)
				}
				cut++
			} else if !isCode(err, query.CodeCorrupt) || !strings.Contains(err.Error(), segmentPrefix) {
				t.Fatalf("byte %d of %s: %v", at, name, err)
			}
			if _, err := s.Verify(t.Context(), &VerifyOptions{Noted: noted}); !isCode(err, query.CodeCorrupt) {
				t.Fatalf("byte %d of %s, with the head noted: %v", at, name, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cut == 0 {
		t.Error("no flip was in the last group")
	}
}

// TestMiddle damages a record in the middle of the last segment: the error names file and record.
func TestMiddle(t *testing.T) {
	files := enginetest.NewDisk()
	s := openOn(t, files, Options{}, defaultLimits())
	add(t, s, "a", "b", "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := "audit/" + segmentName(1)
	b := readFile(t, files, name)
	_, _, size, _ := frame(b[headerBytes:])
	for _, c := range []struct {
		what   string
		change func() []byte
		want   string // "" is cut
	}{
		{"a byte of record 2", func() []byte { b := append([]byte{}, b...); b[headerBytes+size+20] ^= 1; return b }, "record 2 at byte"},
		{"record 1 is missing", func() []byte { return append(b[:headerBytes:headerBytes], b[headerBytes+size:]...) }, "record 1 at byte"},
		{"records 2 and 3 change places", func() []byte {
			out := append([]byte{}, b[:headerBytes+size]...)
			_, _, second, _ := frame(b[headerBytes+size:])
			return append(append(out, b[headerBytes+size+second:]...), b[headerBytes+size:headerBytes+size+second]...)
		}, "record 2 at byte"},
		{"record 1 written anew, with its hash", func() []byte {
			payload, _, _, _ := frame(b[headerBytes:])
			p := append([]byte{}, payload...)
			p[len(p)-1]++
			out, _ := appendFrame(append([]byte{}, b[:headerBytes]...), p, [32]byte{})
			return append(out, b[headerBytes+size:]...)
		}, "record 2 at byte"},
		{"zeros behind the end", func() []byte { return append(b[:len(b):len(b)], make([]byte, 600)...) }, ""},
		{"half a record", func() []byte { return b[: len(b)-10 : len(b)-10] }, ""},
	} {
		damaged := copyOf(t, files)
		writeFile(t, damaged, name, c.change())
		s, err := Open("audit", &Options{FS: damaged})
		if c.want == "" {
			if err != nil || len(callsOf(t, s, &Filter{Call: CallCut})) != 1 {
				t.Errorf("%s: %v", c.what, err)
			}
		} else if !isCode(err, query.CodeCorrupt) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), segmentName(1)) {
			t.Errorf("%s: %v", c.what, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

// TestNotOurs opens what is not, or not any more, a store of this version.
func TestNotOurs(t *testing.T) {
	files := enginetest.NewDisk()
	s := openOn(t, files, Options{}, smallLimits())
	add(t, s, "a", "b", "c", "d", "e", "f", "g", "h", "i")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	first, secret := "audit/"+segmentName(1), "audit/"+secretName
	header := readFile(t, files, first)
	next := append([]byte{}, header...)
	binary.LittleEndian.PutUint16(next[8:], version+1)
	binary.LittleEndian.PutUint32(next[headerBytes-4:], crc32.Checksum(next[:headerBytes-4], castagnoli))
	foreign := append([]byte{}, header...)
	foreign[20]++
	binary.LittleEndian.PutUint32(foreign[headerBytes-4:], crc32.Checksum(foreign[:headerBytes-4], castagnoli))
	for _, c := range []struct {
		what   string
		change func(files *enginetest.Disk)
		code   query.Code
	}{
		{"a newer segment", func(f *enginetest.Disk) { writeFile(t, f, first, next) }, query.CodeNewerFormat},
		{"a segment of another store", func(f *enginetest.Disk) { writeFile(t, f, first, foreign) }, query.CodeCorrupt},
		{"a newer secret", func(f *enginetest.Disk) { writeFile(t, f, secret, []byte(secretPrefix+"2 abc\n")) }, query.CodeNewerFormat},
		{"another secret", func(f *enginetest.Disk) {
			writeFile(t, f, secret, []byte(strings.Replace(string(readFile(t, f, secret)), "1 ", "1 a", 1)))
		}, query.CodeCorrupt},
		{"no secret", func(f *enginetest.Disk) { _ = f.Remove(secret) }, query.CodeCorrupt},
		{"no segments", func(f *enginetest.Disk) {
			firsts, _, _ := (&dir{fs: f, name: "audit"}).list()
			for _, first := range firsts {
				_ = f.Remove("audit/" + segmentName(first))
			}
		}, query.CodeCorrupt},
	} {
		changed := copyOf(t, files)
		c.change(changed)
		for _, readOnly := range []bool{false, true} {
			if c.what == "no secret" && readOnly {
				c.code = query.CodeNotAStore
			}
			if _, err := Open("audit", &Options{FS: changed, ReadOnly: readOnly}); !isCode(err, c.code) {
				t.Errorf("%s, read only %v: %v", c.what, readOnly, err)
			}
		}
	}
	if _, err := Open("audit", &Options{FS: files, Keep: -time.Second}); !isCode(err, query.CodeInvalid) {
		t.Errorf("kept for less than nothing: %v", err)
	}
}

// TestBehind wants what is left of a record at the end told by who only reads.
func TestBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Append(t.Context(), Record{Call: "Profile", Outcome: Done}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	verified := func(cut int64) Head {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		info, err := os.Stat(files[0])
		if err == nil {
			err = os.Truncate(files[0], info.Size()-cut)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, &Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		h, err := r.Verify(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := verified(0); h.Number != 2 || h.Behind != 0 {
		t.Errorf("%+v", h)
	}
	if h := verified(3); h.Number != 1 || h.Behind <= 0 {
		t.Errorf("with 3 bytes cut off: %+v", h)
	}
}

// TestSecretMode: on a machine the secret is its owner's only.
func TestSecretMode(t *testing.T) {
	if windows {
		t.Skip("modes of files are missing on Windows")
	}
	dir := filepath.Join(t.TempDir(), "a", "audit")
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, secretName): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, secretName), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a secret that others may read: %v", err)
	}
}
