package enginetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// history is a store whose log is kept, and its content after each batch.
type history struct {
	db       *engine.DB
	contents map[uint64][16]byte
}

func newHistory(t *testing.T) *history {
	t.Helper()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // nothing is sealed meanwhile
	db, err := engine.Open("store", &engine.Options{FS: vfs.NewMem(), Clock: func() time.Time { return noon }})
	must(t, err)
	h := &history{db, map[uint64][16]byte{}}
	must(t, h.db.KeepLog(t.Context(), true))
	return h
}

func (h *history) write(t *testing.T, batches int) {
	t.Helper()
	for range batches {
		n := len(h.contents)
		write(t, h.db, n)
		h.contents[uint64(n+1)] = content(t, h.db)
	}
}

// targetLogs breaks the connection at every operation of shipping a log, and of making a
// backup meanwhile. What is shipped in the end is every record once, and every position from
// the first backup on can be restored, but nobody comes back who was erased.
func targetLogs(t *testing.T, target query.BackupTarget) {
	h := newHistory(t)
	defer func() { must(t, h.db.Close()) }()
	h.write(t, 1)
	_, err := h.db.Backup(t.Context(), target, nil)
	must(t, err)
	interrupted := 0
	for _, done := range []bool{false, true} {
		for n := 0; ; n++ {
			h.write(t, 1)
			_, err := h.db.ShipLog(t.Context(), &broken{BackupTarget: target, left: n, done: done}, nil)
			sound(t, target)
			if err == nil {
				break
			}
			if !errors.Is(err, errBroken) {
				t.Fatalf("interrupted at operation %d: %v", n, err)
			}
			interrupted++
		}
	}
	if interrupted < 8 {
		t.Fatalf("only %d interruptions", interrupted)
	}
	if kept := h.db.KeptLog(); kept.Records > 0 || kept.Bytes > 0 {
		t.Fatalf("%+v", kept)
	}
	runs, err := engine.BackupLogs(t.Context(), target)
	must(t, err)
	if len(runs) != 1 || runs[0].Gap != "" || runs[0].From.Applied > 2 || runs[0].To.Applied != uint64(len(h.contents)) {
		t.Fatalf("%+v", runs)
	}
	pieces := 0
	for name := range listed(t, target, "log/") {
		var first, last int
		_, err := fmt.Sscanf(strings.Split(name, "-")[2]+" "+strings.Split(name, "-")[3], "1.%d 1.%d", &first, &last)
		must(t, err)
		pieces += last - first + 1
	}
	if want := int(runs[0].To.Applied - runs[0].From.Applied + 1); pieces != want {
		t.Fatalf("%d records are shipped %d times", want, pieces)
	}
	for at, want := range h.contents {
		if got, is := restored(t, target, engine.RestoreOptions{Position: query.Position{Epoch: 1, Applied: at}}); got != want || is.Applied != at {
			t.Fatalf("restored to %d: %x at %s, want %x", at, got, is, want)
		}
	}
	_, err = h.db.Erase(t.Context(), "", "person-1-1")
	must(t, err)
	_, err = h.db.ShipLog(t.Context(), target, nil)
	must(t, err)
	for _, at := range []uint64{2, uint64(len(h.contents))} { // before: erased behind the replay, by another record
		files := vfs.NewMem()
		r, err := engine.Restore(t.Context(), "new", target, &engine.RestoreOptions{FS: files, Position: query.Position{Epoch: 1, Applied: at}})
		must(t, err)
		db := openStore(t, files, "new")
		n, err := db.Count(t.Context(), "true", nil)
		must(t, errors.Join(err, db.Close()))
		if r.Erased != 1 || r.Position.Applied != at+1 || n.Count != 50*at-1 {
			t.Fatalf("%+v has %d people", r, n.Count)
		}
	}
}

// targetDamagedLogs restores from logs that are damaged, foreign, hostile, in another order
// or incomplete. All are refused, and nothing changes the store that was to be replaced.
func targetDamagedLogs(t *testing.T, target query.BackupTarget) {
	const seed = 13
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	h := newHistory(t)
	h.write(t, 1)
	_, err := h.db.Backup(t.Context(), target, nil)
	must(t, err)
	for range 4 {
		h.write(t, 1)
		_, err := h.db.ShipLog(t.Context(), target, nil)
		must(t, err)
	}
	must(t, h.db.Close())
	var names []string
	good := map[string][]byte{}
	for _, name := range sortedNames(t, target) {
		if strings.HasPrefix(name, "log/") {
			data, err := target.Get(t.Context(), name, 1<<30)
			must(t, err)
			names, good[name] = append(names, name), data
		}
	}
	if len(names) < 4 { // the first has what was before the backup
		t.Fatalf("%q", names)
	}
	files := vfs.NewMem()
	at := query.Position{Epoch: 1, Applied: 5}
	_, err = engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files, Position: at})
	must(t, err)
	before, refused := tree(t, files, ""), 0
	for _, d := range append(damagedLogs(names, good, r), forgedLogs(t, names, good)...) {
		for name, data := range d.put {
			must(t, target.Delete(t.Context(), name))
			if data != nil {
				must(t, target.Put(t.Context(), name, data))
			}
		}
		_, err := engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files, Replace: true, Position: at})
		var q *query.Error
		if !errors.As(err, &q) || q.Code != query.CodeCorrupt && q.Code != query.CodeNewerFormat && q.Code != query.CodeUnknownName {
			t.Errorf("%s: %v", d.what, err)
		}
		if got := tree(t, files, ""); got != before {
			t.Fatalf("%s: there is\n%s\nand there was\n%s", d.what, got, before)
		}
		refused++
		for name := range d.put {
			must(t, target.Delete(t.Context(), name))
			if data := good[name]; data != nil {
				must(t, target.Put(t.Context(), name, data))
			}
		}
	}
	if refused < 80 {
		t.Fatalf("only %d damaged logs", refused)
	}
	t.Logf("%d damaged logs", refused)
	for name, data := range map[string][]byte{"log/x": {1}, "log/" + strings.Repeat("0", 32) + "/x.day": {1}, "log/../kanta": nil} {
		if data != nil { // names that are none of a log are left alone
			must(t, target.Put(t.Context(), name, data))
		}
	}
	_, err = engine.Restore(t.Context(), "old", target, &engine.RestoreOptions{FS: files, Replace: true, Position: at})
	must(t, err) // the undamaged one
	if _, err := target.Get(t.Context(), "log/x", 10); errors.Is(err, fs.ErrNotExist) {
		t.Error("what was no log is gone")
	}
}

// damagedLog is what is put under names; nil deletes.
type damagedLog struct {
	what string
	put  map[string][]byte
}

// damagedLogs makes the list. The last pieces lead to the position that is restored.
func damagedLogs(names []string, good map[string][]byte, r *rand.Rand) (out []damagedLog) {
	add := func(what string, put map[string][]byte) { out = append(out, damagedLog{what, put}) }
	last := names[len(names)-4:]
	for i, name := range last {
		data := good[name]
		of := func(what string, bad []byte) {
			add(fmt.Sprintf("piece %d %s", i, what), map[string][]byte{name: bad})
		}
		of("deleted", nil)
		for _, n := range []int{1, 4, 10, len(data) / 2, len(data) - 1} {
			of(fmt.Sprintf("cut to %d bytes", n), data[:n])
		}
		of("with a byte more", append(bytes.Clone(data), 0))
		for range 12 {
			bad := bytes.Clone(data)
			bit := 8*4 + r.IntN(8*(len(bad)-4))
			bad[bit/8] ^= 1 << (bit % 8)
			of(fmt.Sprintf("with bit %d flipped", bit), bad)
		}
		of("of a newer version", append([]byte("KNTO\x02"), data[5:]...))
		other := last[(i+1)%len(last)]
		of("with another's bytes", good[other])
		add(fmt.Sprintf("piece %d exchanged", i), map[string][]byte{name: good[other], other: data})
		store, rest, _ := strings.Cut(strings.TrimPrefix(name, "log/"), "/")
		another := strings.Repeat("0", len(store))
		add(fmt.Sprintf("piece %d of another store", i), map[string][]byte{name: nil, "log/" + another + "/" + rest: data})
		position := fmt.Sprintf("1.%d-1.%d", i+2, i+2)
		for _, to := range []string{fmt.Sprintf("1.%d-1.%d", i+2, i+9), fmt.Sprintf("2.%d-2.%d", i+2, i+2), fmt.Sprintf("1.%d-1.%d", i+7, i+7)} {
			add(fmt.Sprintf("piece %d as %s", i, to), map[string][]byte{name: nil, strings.Replace(name, position, to, 1): data})
		}
	}
	return out
}

// forgedLogs are pieces of which every checksum is right, and the chain within, but the
// records are others': what comes behind does not go on where they end.
func forgedLogs(t *testing.T, names []string, good map[string][]byte) (out []damagedLog) {
	t.Helper()
	dec, err := zstd.NewReader(nil)
	must(t, err)
	defer dec.Close()
	text := func(name string) (head, record []byte) {
		object := good[name]
		piece := object[10:]
		if object[5] == 1 {
			piece, err = dec.DecodeAll(piece, nil)
			must(t, err)
		}
		head, body, _ := bytes.Cut(piece, []byte("\n\n"))
		return head, body[4:]
	}
	last := names[len(names)-4:]
	for i, name := range last[:3] {
		head, _ := text(name)
		_, forged := text(last[i+1])
		var before [16]byte
		_, err := hex.Decode(before[:], []byte(line(string(head), "before ")[len("before "):]))
		must(t, err)
		lines := strings.Replace(string(head), line(string(head), "after "), fmt.Sprintf("after %x", record.Chain(before, forged)), 1)
		piece := append(binary.LittleEndian.AppendUint32([]byte(lines+"\n\n"), uint32(len(forged))), forged...)
		object := append(binary.LittleEndian.AppendUint32([]byte("KNTO\x01\x00"), uint32(len(piece))), piece...)
		is, end := name[:strings.LastIndex(name, "-")+1], name[strings.LastIndex(name, "."):]
		out = append(out, damagedLog{fmt.Sprintf("piece %d forged", i), map[string][]byte{name: nil, fmt.Sprintf("%s%x%s", is, sha256.Sum256(piece), end): object}})
	}
	return out
}
