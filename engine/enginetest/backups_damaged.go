package enginetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// damage is one thing done to a target with one backup.
type damage struct {
	what string
	name string
	data []byte // nil: it is deleted
}

// leastDamages is how many damaged backups must have been refused for the test to count.
const leastDamages = 200

// targetDamaged restores from backups that are damaged, foreign, newer or hostile. All are
// refused, none changes the store that was to be replaced, or anything beside it.
func targetDamaged(t *testing.T, target query.BackupTarget) {
	const seed = 12
	t.Logf("seed %d", seed)
	db := openStore(t, vfs.NewMem(), "store")
	write(t, db, 0)
	must(t, db.Compact(t.Context()))
	write(t, db, 1)
	_, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	want := content(t, db)
	must(t, db.Close())
	good := map[string][]byte{}
	for _, name := range sortedNames(t, target) {
		data, err := target.Get(t.Context(), name, 1<<30)
		must(t, err)
		good[name] = data
	}
	files := vfs.NewMem()
	_, err = engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files})
	must(t, err)
	before := tree(t, files, "")
	refused := 0
	for _, d := range damages(t, good, rand.New(rand.NewPCG(seed, 1))) {
		if d.data == nil {
			must(t, target.Delete(t.Context(), d.name))
		} else {
			must(t, target.Put(t.Context(), d.name, d.data))
		}
		var used, after runtime.MemStats
		runtime.ReadMemStats(&used)
		_, err := engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files, Replace: true})
		runtime.ReadMemStats(&after)
		if err == nil && strings.HasPrefix(d.name, "objects/") && strings.HasSuffix(d.what, " flipped") { // a bit that means nothing to zstd: the piece is verified
			same, err := engine.Open("old", &engine.Options{FS: files, ReadOnly: true})
			must(t, err)
			if got := content(t, same); got != want {
				t.Errorf("%s: the content is another", d.what)
			}
			must(t, same.Close())
			before = tree(t, files, "")
			must(t, target.Put(t.Context(), d.name, good[d.name]))
			continue
		}
		var q *query.Error
		if !errors.As(err, &q) || q.Code != query.CodeCorrupt && q.Code != query.CodeNewerFormat && q.Code != query.CodeNotAStore && q.Code != query.CodeUnknownName {
			t.Errorf("%s: %v", d.what, err)
		}
		if n := after.TotalAlloc - used.TotalAlloc; n > 512<<20 {
			t.Errorf("%s: %d bytes of memory", d.what, n)
		}
		if got := tree(t, files, ""); got != before {
			t.Fatalf("%s: there is\n%s\nand there was\n%s", d.what, got, before)
		}
		refused++
		if data, there := good[d.name]; there {
			must(t, target.Put(t.Context(), d.name, data))
		} else {
			must(t, target.Delete(t.Context(), d.name))
		}
	}
	if refused < leastDamages {
		t.Fatalf("only %d damaged backups", refused)
	}
	t.Logf("%d damaged backups", refused)
	_, err = engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files, Replace: true})
	must(t, err) // the undamaged one
}

// tree returns all files below a folder, with checksums of what is in them.
func tree(t *testing.T, files vfs.FS, dir string) string {
	t.Helper()
	names, err := files.List(dir)
	must(t, err)
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		must(t, err)
		if info.IsDir() {
			fmt.Fprintf(&out, "%s/\n%s", path, tree(t, files, path))
			continue
		}
		f, err := files.Open(path)
		must(t, err)
		sum := sha256.New()
		var buf [4096]byte
		for at := int64(0); at < info.Size(); {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), info.Size()-at)], at)
			must(t, err)
			sum.Write(buf[:n])
			at += int64(n)
		}
		must(t, f.Close())
		fmt.Fprintf(&out, "%s %d %x\n", path, info.Size(), sum.Sum(nil))
	}
	return out.String()
}

// damages makes the list.
func damages(t *testing.T, good map[string][]byte, r *rand.Rand) (out []damage) {
	t.Helper()
	var objects, manifests []string
	for name, data := range good {
		switch {
		case strings.HasPrefix(name, "objects/"):
			objects = append(objects, name)
		case strings.HasPrefix(name, "backups/"):
			manifests = append(manifests, name)
		}
		add := func(what string, data []byte) { out = append(out, damage{name + " " + what, name, data}) }
		add("deleted", nil)
		for _, n := range []int{1, 4, 9, len(data) / 2, len(data) - 1} {
			if n < len(data) {
				add(fmt.Sprintf("cut to %d bytes", n), append([]byte{}, data[:n]...))
			}
		}
		add("with a byte more", append(bytes.Clone(data), '\n'))
		for range 12 {
			bit := r.IntN(8 * len(data))
			bad := bytes.Clone(data)
			bad[bit/8] ^= 1 << (bit % 8)
			add(fmt.Sprintf("with bit %d flipped", bit), bad)
		}
	}
	for i, name := range objects {
		out = append(out, damage{name + " with another's bytes", name, good[objects[(i+1)%len(objects)]]})
	}
	out = append(out, damagedObject(t, objects[0], good[objects[0]])...)
	out = append(out, damagedManifests(manifests[0], string(good[manifests[0]]))...)
	return append(out, damagedIdentity(string(good["kanta-backups"]))...)
}

// damagedObject are objects that say what is not so.
func damagedObject(t *testing.T, name string, good []byte) []damage {
	t.Helper()
	set := func(at int, b byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = b
		return bad
	}
	enc, err := zstd.NewWriter(nil)
	must(t, err)
	defer enc.Close()
	header := append([]byte{}, good[:10]...)
	header[5] = 1
	bomb := enc.EncodeAll(make([]byte, 256<<20), header)
	huge := bytes.Clone(bomb)
	binary.LittleEndian.PutUint32(huge[6:], 256<<20)
	return []damage{
		{name + " of version 2", name, set(4, 2)},
		{name + " of codec 9", name, set(5, 9)},
		{name + " that is a bomb", name, bomb},
		{name + " that is a bomb and says so", name, huge},
		{name + " larger than any", name, make([]byte, 9<<20)},
	}
}

// signed replaces a part of a manifest and makes its last line right again.
func signed(text, from, to string) []byte {
	body := strings.Replace(text[:strings.LastIndex(text, "sha256 ")], from, to, 1)
	return fmt.Appendf(nil, "%ssha256 %x\n", body, sha256.Sum256([]byte(body)))
}

// line returns the first line of a text that begins with something, without its end.
func line(text, begin string) string {
	_, rest, _ := strings.Cut("\n"+text, "\n"+begin)
	rest, _, _ = strings.Cut(rest, "\n")
	return begin + rest
}

// damagedManifests are manifests whose checksum is right.
func damagedManifests(name, text string) (out []damage) {
	add := func(what, from, to string) {
		out = append(out, damage{"a manifest with " + what, name, signed(text, from, to)})
	}
	file := "file " + line(text, "file ")[len("file "):]
	table := ""
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "file ") && strings.HasSuffix(l, ".sst\n") {
			table = strings.TrimSuffix(l, "\n")
		}
	}
	size, sst, _ := strings.Cut(strings.TrimPrefix(table, "file "), " ")
	for _, hostile := range []string{"../../x", "..", ".", "", "/etc/passwd", "a/b", `a\b`, `..\x`, "C:x", "db/000012.sst", "000012.sst/", "000012.sst\x00", "000012.SST", "x000012.sst",
		"LOCK", "KANTA", "MARK", "REPLACED", "000012.log", "12.sst", "MANIFEST-", "marker.manifest.000001.../x", "\u2025/x", " 000012.sst", "CON", "-rf", "~", "000012.sst:stream"} {
		add(fmt.Sprintf("a file %q", hostile), table, "file "+size+" "+hostile)
	}
	for _, n := range []string{"-1", "0", "00", "1", "01", "1e3", "0x10", "9223372036854775807", "9223372036854775808", "99999999999999999999", "4611686018427387904", "1099511627776", "", " "} {
		add("a size "+n, table, "file "+n+" "+sst)
	}
	hash := ""
	if _, rest, ok := strings.Cut(text, table+"\n"); ok {
		hash, _, _ = strings.Cut(rest, "\n")
	}
	other := sha256.Sum256(nil)
	add("no piece", hash+"\n", "")
	add("a piece twice", hash+"\n", hash+"\n"+hash+"\n")
	add("a piece in capitals", hash, strings.ToUpper(hash))
	add("half a piece", hash, hash[:20])
	add("a piece that is not there", hash, hex.EncodeToString(other[:]))
	add("a file twice", file, file+"\n"+file)
	add("a table twice", table+"\n"+hash, table+"\n"+hash+"\n"+table+"\n"+hash)
	add("a table missing", table+"\n"+hash+"\n", "")
	for _, m := range []string{"MANIFEST-", "marker.manifest.", "marker.format-version."} {
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "file ") && strings.Contains(l, " "+m) {
				_, rest, _ := strings.Cut(text, l)
				if next, _, _ := strings.Cut(rest, "\n"); !strings.HasPrefix(l, "file 0 ") {
					l += next + "\n"
				}
				add("no "+m, l, "")
			}
		}
	}
	zero16, zero32 := strings.Repeat("0", 32), strings.Repeat("0", 64)
	for _, field := range []struct{ begin, to string }{
		{"kanta backup", "kanta restore"}, {"format ", "format 2"}, {"format ", "format 0"}, {"format ", "format 01"}, {"format ", "format x"},
		{"store ", "store " + zero32}, {"store ", "store x"}, {"root ", "root " + zero16}, {"root ", "root " + zero32}, {"root ", "root"},
		{"store-format ", "store-format 0"}, {"store-format ", "store-format 2"}, {"store-format ", "store-format x"},
		{"position ", "position 1.1"}, {"position ", "position 2.2"}, {"position ", "position 1"}, {"position ", "position 1.02"}, {"position ", "position -1.2"},
		{"chain ", "chain " + zero16}, {"chain ", "chain 00"}, {"content ", "content " + zero16}, {"content ", "content"},
		{"received ", "received 2026-11-22"}, {"received ", "received never"}, {"created ", "created 2020-01-01T00:00:00.000Z"}, {"created ", "created x"},
		{"parent ", "parent"}, {"parent ", "mother -"},
	} {
		add(fmt.Sprintf("%q", field.to), line(text, field.begin), field.to)
	}
	out = append(out,
		damage{"a manifest without its end", name, []byte(text[:strings.LastIndex(text, "sha256 ")])},
		damage{"a manifest with lines behind its end", name, []byte(text + "file 0 x\n")},
		damage{"a manifest with other ends of lines", name, []byte(strings.ReplaceAll(text, "\n", "\r\n"))},
		damage{"a manifest of nothing but lines", name, bytes.Repeat([]byte("\n"), 1<<20)})
	// The newest is the one that is restored, under whatever name.
	later := strings.Replace(name, "backups/20", "backups/21", 1)
	return append(out, damage{"a manifest under another name", later, []byte(text)}, damage{"a manifest of one line", later, []byte("kanta backup\n")})
}

// damagedIdentity are what a target says of itself.
func damagedIdentity(text string) (out []damage) {
	for _, to := range []struct{ begin, to string }{
		{"kanta backups", "kanta store"}, {"format ", "format 2"}, {"format ", "format 0"}, {"format ", "format x"}, {"id ", "id x"}, {"id ", "id"},
		{"root ", "root " + strings.Repeat("0", 32)}, {"root ", "root x"}, {"root ", "seed x"},
	} {
		out = append(out, damage{fmt.Sprintf("a target with %q", to.to), "kanta-backups", []byte(strings.Replace(text, line(text, to.begin), to.to, 1))})
	}
	return out
}
