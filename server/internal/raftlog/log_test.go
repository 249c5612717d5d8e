package raftlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a log and closes it with the test.
func open(t testing.TB, files vfs.FS, o Options) *Log {
	t.Helper()
	o.FS = files
	l, err := Open(t.Context(), "log", &o)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// again closes a log and opens it anew.
func again(t testing.TB, l *Log) *Log {
	t.Helper()
	must(t, l.Close())
	return open(t, l.fs.FS, Options{MustExist: true})
}

// entry makes an entry that tells its index and term.
func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "%d of %d", index, term),
		AppendedAt: time.Unix(int64(index), int64(term)).UTC()}
}

func entries(from, to, term uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term))
	}
	return out
}

// text shows a log: "base 3/1 [4/2 5/2]".
func text(t testing.TB, l *Log) string {
	t.Helper()
	first, err := l.FirstIndex()
	must(t, err)
	last, err := l.LastIndex()
	must(t, err)
	var out []string
	for i := first; i <= last && first > 0; i++ {
		var e raft.Log
		must(t, l.GetLog(i, &e))
		if string(e.Data) != fmt.Sprintf("%d of %d", i, e.Term) || e.Index != i {
			t.Fatalf("entry %d is %+v", i, e)
		}
		out = append(out, fmt.Sprintf("%d/%d", i, e.Term))
	}
	base := ""
	var e raft.Log
	if b := l.state.base.index; b > 0 && l.GetLog(b, &e) == nil {
		base = fmt.Sprintf("base %d/%d ", e.Index, e.Term)
		if e.Type != StandIn || e.Data != nil {
			t.Fatalf("the base is %+v", e)
		}
	}
	return base + fmt.Sprint(out)
}

func wantText(t testing.TB, l *Log, want string) {
	t.Helper()
	if got := text(t, l); got != want {
		t.Fatalf("the log is %s, want %s", got, want)
	}
}

// documented returns the bytes of the example in the package comment that follows some words.
func documented(t *testing.T, behind string) []byte {
	t.Helper()
	f, err := vfs.Default.Open("doc.go")
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	_, rest, ok := strings.Cut(strings.ReplaceAll(string(b), "\n// ", "\n"), behind)
	if !ok {
		t.Fatalf("doc.go does not say %q", behind)
	}
	line := regexp.MustCompile(`\n//\n\t?(//)?\t(.*)\n`).FindStringSubmatch(rest)
	example := strings.ReplaceAll(line[2], "48 zeros", strings.Repeat("00", 48))
	out, err := hex.DecodeString(strings.ReplaceAll(example, " ", ""))
	must(t, err)
	return out
}

// TestGolden holds the formats to the examples of the package comment.
func TestGolden(t *testing.T) {
	e := &raft.Log{Index: 2, Term: 1, Data: []byte("hi"), AppendedAt: time.Unix(1, 2).UTC()}
	if got, want := first(appendEntry(nil, e, 0x04030201)), documented(t, "whose sum is 0x04030201:"); !bytes.Equal(got, want) {
		t.Errorf("an entry is %x, doc.go has %x", got, want)
	}
	s := state{}
	for i := range s.id {
		s.id[i] = byte(i)
	}
	if got, want := appendState(nil, &s), documented(t, "the id 000102...0f:"); !bytes.Equal(got, want) {
		t.Errorf("a state is %x, doc.go has %x", got, want)
	}
	v := stable{2, map[string][]byte{"k": []byte("v")}}
	if got, want := appendStable(nil, &v), documented(t, `"k" = "v":`); !bytes.Equal(got, want) {
		t.Errorf("stable values are %x, doc.go has %x", got, want)
	}
	m := slot{7, s.id, mark{1, 2, 3, 4, 5}}
	if got, want := appendSlot(nil, 1, &m), documented(t, "stable sequence 4 with the sum 5:"); !bytes.Equal(got, want) {
		t.Errorf("a slot is %x, doc.go has %x", got, want)
	}
	if back, ok, err := readSlot(1, appendSlot(nil, 1, &m)); back != m || !ok || err != nil {
		t.Errorf("a slot is read as %+v %v %v", back, ok, err)
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestNewer writes every record in the next version: that is said, and not that it is damaged.
func TestNewer(t *testing.T) {
	bump := func(b []byte, at int, sum func([]byte) uint32) []byte {
		b[at]++
		n := len(b) - sumSize
		b = b[:n:n]
		return append(b, byte(sum(b)), byte(sum(b)>>8), byte(sum(b)>>16), byte(sum(b)>>24))
	}
	plain := func(b []byte) uint32 { return crcOf(b) }
	_, _, of := decodeEntry(2, bump(first(appendEntry(nil, entry(2, 1), 0)), 0, func(b []byte) uint32 { return entrySum(2, b) }))
	_, ofState := decodeState(bump(appendState(nil, &state{}), 0, plain))
	_, ofStable := decodeStable(bump(appendStable(nil, &stable{}), 0, plain))
	_, _, ofSlot := readSlot(0, bump(appendSlot(nil, 0, &slot{}), 4, plain))
	for i, err := range []error{of, ofState, ofStable, ofSlot} {
		if !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) || errors.Is(err, ErrLost) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestAppend appends, reads, opens again and deletes at both ends.
func TestAppend(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	wantText(t, l, "[]")
	must(t, l.StoreLogs(entries(1, 6, 1)))
	must(t, l.StoreLogs(entries(7, 9, 2)))
	whole := l.Bytes()
	must(t, l.DeleteRange(1, 3))
	wantText(t, l, "base 3/1 [4/1 5/1 6/1 7/2 8/2 9/2]")
	must(t, l.DeleteRange(8, 9))
	l = again(t, l)
	wantText(t, l, "base 3/1 [4/1 5/1 6/1 7/2]")
	if got := l.Bytes(); got != whole*4/9 {
		t.Errorf("%d bytes, of 9 entries %d", got, whole)
	}
	must(t, l.StoreLog(entry(8, 3)))
	must(t, l.StoreLogs(entries(6, 7, 4))) // what is behind goes
	wantText(t, l, "base 3/1 [4/1 5/1 6/4 7/4]")
	var e raft.Log
	for _, i := range []uint64{0, 1, 2, 8} {
		if err := l.GetLog(i, &e); err != raft.ErrLogNotFound {
			t.Errorf("entry %d: %v %+v", i, err, e)
		}
	}
	must(t, l.GetLog(7, &e))
	if want := entry(7, 4); e.AppendedAt != want.AppendedAt || e.Type != want.Type || e.Extensions != nil {
		t.Errorf("%+v", e)
	}
	must(t, l.StoreLog(&raft.Log{Index: 8, Term: 4, Type: raft.LogNoop, Extensions: []byte("more")}))
	must(t, l.GetLog(8, &e))
	if e.Type != raft.LogNoop || e.Data != nil || string(e.Extensions) != "more" || !e.AppendedAt.IsZero() {
		t.Errorf("%+v", e)
	}
	for _, r := range [][2]uint64{{5, 6}, {5, 7}} {
		if err := l.DeleteRange(r[0], r[1]); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("a gap %v: %v", r, err)
		}
	}
	if l.IsMonotonic() {
		t.Error("raft must not take it for monotonic")
	}
}

// TestGap appends behind a snapshot, which is known or not, and after all was deleted.
func TestGap(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *Log) error
		next uint64
		want string
	}{
		{"unknown", func(l *Log) error { return nil }, 9, "[9/7]"},
		{"snapshot", func(l *Log) error { return l.Installed(8, 5) }, 9, "base 8/5 [9/7]"},
		{"all compacted", func(l *Log) error { return l.DeleteRange(1, 4) }, 5, "base 4/1 [5/7]"},
		{"all wrong", func(l *Log) error { return errors.Join(l.DeleteRange(1, 2), l.DeleteRange(3, 4)) }, 3, "base 2/1 [3/7]"},
		{"all wrong, not the next", func(l *Log) error { return l.DeleteRange(1, 4) }, 7, "[7/7]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, enginetest.NewDisk(), Options{})
			must(t, l.StoreLogs(entries(1, 4, 1)))
			must(t, c.do(l))
			l = again(t, l)
			must(t, l.StoreLog(entry(c.next, 7)))
			wantText(t, l, c.want)
			l = again(t, l)
			wantText(t, l, c.want)
			if err := l.StoreLog(entry(c.next-1, 7)); c.next > 3 && !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
				t.Errorf("an entry below the base: %v", err)
			}
		})
	}
}

// TestEmpty deletes of a log that has nothing any more, as raft does with each further snapshot.
func TestEmpty(t *testing.T) {
	for name, empty := range map[string]func(l *Log) error{
		"compacted": func(l *Log) error { return l.DeleteRange(1, 4) },
		"installed": func(l *Log) error { return l.Installed(4, 3) },
		"nothing":   func(l *Log) error { return l.Installed(1, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, enginetest.NewDisk(), Options{})
			if name != "nothing" {
				must(t, l.StoreLogs(entries(1, 4, 1)))
			}
			must(t, empty(l))
			for _, to := range []uint64{0, 1, 3, 4, 5, 100} {
				must(t, l.DeleteRange(0, to))
				must(t, l.DeleteRange(to, 100))
			}
			l = again(t, l)
			must(t, l.StoreLog(entry(5, 7)))
			if got := text(t, l); !strings.HasSuffix(got, "[5/7]") {
				t.Errorf("the log is %s", got)
			}
		})
	}
}

// TestLimits has entries, extensions and stable values at their limits and above.
func TestLimits(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	e := entry(1, 1)
	e.Data, e.Extensions = make([]byte, MaxEntry-10), make([]byte, 10)
	must(t, l.StoreLog(e))
	e = entry(2, 1)
	e.Data, e.Extensions = make([]byte, MaxEntry-10), make([]byte, 11)
	if err := l.StoreLog(e); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
		t.Errorf("a byte more: %v", err)
	}
	key, value := make([]byte, maxStableValue), make([]byte, maxStableValue)
	must(t, l.Set(key, value))
	for _, c := range [][2][]byte{{append(key, 1), value}, {key, append(value, 1)}} {
		if err := l.Set(c[0], c[1]); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
			t.Errorf("a byte more: %v", err)
		}
	}
	for i := range byte(maxStable - 1) {
		must(t, l.Set([]byte{'k', i}, []byte("v")))
	}
	if err := l.Set([]byte("one more"), nil); !errors.Is(err, &query.Error{Code: query.CodeLimit}) {
		t.Errorf("a value more: %v", err)
	}
	if v, err := again(t, l).Get(key); err != nil || !bytes.Equal(v, value) {
		t.Errorf("%d bytes, %v", len(v), err)
	}
}

// TestDeleteOfNothing deletes from a log that has nothing, as raft does: it takes the first
// index of an empty log, 0, for one that there is.
func TestDeleteOfNothing(t *testing.T) {
	l := open(t, vfs.NewMem(), Options{})
	must(t, l.DeleteRange(0, 9))
	must(t, l.StoreLogs(entries(1, 5, 1)))
	must(t, l.DeleteRange(1, 2))
	must(t, l.DeleteRange(3, 5))
	for range 2 {
		must(t, l.DeleteRange(0, 4))
		must(t, l.DeleteRange(0, 5))
		must(t, l.DeleteRange(3, 9))
	}
	must(t, l.StoreLogs(entries(6, 7, 1)))
	if last, err := l.LastIndex(); last != 7 || err != nil {
		t.Fatal(last, err)
	}
}

// TestRefused appends what is nothing to append.
func TestRefused(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	standIn := entry(1, 1)
	standIn.Type = StandIn
	for _, logs := range [][]*raft.Log{{entry(0, 1)}, {entry(1, 1), entry(3, 1)}, {entry(2, 1), entry(1, 1)}, {standIn}} {
		if err := l.StoreLogs(logs); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%v: %v", logs, err)
		}
	}
	must(t, l.StoreLogs(nil))
	wantText(t, l, "[]")
}

// TestStable stores what raft does, and a vote in two steps with nothing between.
func TestStable(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	vote := func() string {
		term, err := l.GetUint64([]byte(keyVoteTerm))
		must(t, err)
		who, err := l.Get([]byte(keyVoteCandidate))
		must(t, err)
		return fmt.Sprintf("%d %t %s", term, who == nil, who)
	}
	if got := vote(); got != "0 true " {
		t.Errorf("a new log has voted: %s", got)
	}
	must(t, l.SetUint64([]byte(keyVoteTerm), 3))
	must(t, l.Set([]byte(keyVoteCandidate), []byte("a")))
	l = again(t, l)
	if got := vote(); got != "3 false a" {
		t.Errorf("the vote is %s", got)
	}
	must(t, l.SetUint64([]byte(keyVoteTerm), 3))
	if got := vote(); got != "3 false a" {
		t.Errorf("the same term: the vote is %s", got)
	}
	must(t, l.SetUint64([]byte(keyVoteTerm), 5)) // killed here it has not voted
	l = again(t, l)
	if got := vote(); got != "5 true " {
		t.Errorf("half a vote is %s", got)
	}
	must(t, l.Set([]byte("text"), []byte("abc")))
	if _, err := l.GetUint64([]byte("text")); !errors.Is(err, &query.Error{Code: query.CodeInvalid}) {
		t.Errorf("a text as a number: %v", err)
	}
}

// TestCommitIndex stages commit indexes: they are durable with the next append, and are never
// more than there is.
func TestCommitIndex(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	commit := func(want uint64) {
		t.Helper()
		if got, err := l.GetCommitIndex(); got != want || err != nil {
			t.Fatalf("%d %v, want %d", got, err, want)
		}
	}
	must(t, l.StageCommitIndex(9))
	commit(0)
	must(t, l.StoreLogs(entries(1, 5, 1)))
	commit(5)
	must(t, l.StageCommitIndex(3))
	commit(5)
	must(t, l.StoreLogs(entries(6, 7, 1)))
	commit(3)
	l = again(t, l)
	commit(3)
	must(t, l.StoreLogs(entries(8, 8, 1)))
	commit(3)
	must(t, l.DeleteRange(2, 8))
	commit(1)
	must(t, l.Installed(20, 4))
	commit(0)
}

// TestInstalled tells the log of snapshots before, in and behind it, that agree or not.
func TestInstalled(t *testing.T) {
	for _, c := range []struct {
		name        string
		index, term uint64
		want        string
		ghosts      uint64 // up to here raft is told of entries
	}{
		{"before", 2, 9, "base 3/1 [4/1 5/1 6/2 7/2]", 0},
		{"the base", 3, 1, "base 3/1 [4/1 5/1 6/2 7/2]", 0},
		{"agrees", 5, 1, "base 3/1 [4/1 5/1 6/2 7/2]", 0},
		{"differs", 5, 3, "base 5/3 []", 7},
		{"differs at the end", 7, 3, "base 7/3 []", 0},
		{"behind", 9, 3, "base 9/3 []", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, enginetest.NewDisk(), Options{})
			must(t, l.StoreLogs(append(entries(1, 5, 1), entries(6, 7, 2)...)))
			must(t, l.DeleteRange(1, 3))
			must(t, l.Installed(c.index, c.term))
			wantText(t, l, c.want)
			var e raft.Log
			for i := max(l.state.last, c.index) + 1; i < 12; i++ {
				err := l.GetLog(i, &e)
				if i <= c.ghosts && (err != nil || e.Term != 0 || e.Type != StandIn || e.Index != i) || i > c.ghosts && err != raft.ErrLogNotFound {
					t.Errorf("entry %d: %v %+v", i, err, e)
				}
			}
			if c.ghosts > 0 { // as raft does then
				must(t, l.DeleteRange(c.index+1, c.ghosts))
				if err := l.GetLog(c.ghosts, &e); err != raft.ErrLogNotFound {
					t.Errorf("a deleted ghost: %v %+v", err, e)
				}
			}
			l = again(t, l)
			wantText(t, l, c.want)
		})
	}
	l := open(t, enginetest.NewDisk(), Options{})
	must(t, l.StoreLog(entry(5, 2))) // nobody said what it stands on
	wantText(t, l, "[5/2]")
	must(t, l.Installed(4, 2))
	wantText(t, again(t, l), "base 4/2 [5/2]")
}

// TestTwoInstalled installs two snapshots with nothing between, over a tail that raft believes in.
func TestTwoInstalled(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	must(t, l.StoreLogs(entries(1, 20, 1)))
	var e raft.Log
	must(t, l.Installed(10, 3))
	must(t, l.Installed(15, 3))
	must(t, l.GetLog(20, &e))
	if err := l.GetLog(14, &e); err != raft.ErrLogNotFound {
		t.Errorf("entry 14: %v %+v", err, e)
	}
	must(t, l.Installed(12, 3)) // late
	must(t, l.DeleteRange(16, 20))
	must(t, l.StoreLog(entry(16, 3)))
	wantText(t, again(t, l), "base 15/3 [16/3]")
}

// TestDifferential does what raft does at random to a log and to raft's own in memory.
func TestDifferential(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, model := open(t, enginetest.NewDisk(), Options{}), raft.NewInmemStore()
		term, deleted := uint64(1), 0
		for range 60 {
			first, _ := model.FirstIndex()
			last, _ := model.LastIndex()
			switch n := uint64(1 + r.IntN(8)); {
			case r.IntN(4) == 0 && last > first: // raft compacts
				to := first + r.Uint64N(last-first)
				must(t, errors.Join(l.DeleteRange(first, to), model.DeleteRange(first, to)))
				deleted++
			case r.IntN(4) == 0 && last > first: // and deletes a tail
				from := first + 1 + r.Uint64N(last-first)
				must(t, errors.Join(l.DeleteRange(from, last), model.DeleteRange(from, last)))
				term++
				deleted++
			case r.IntN(8) == 0:
				l = again(t, l)
			default:
				logs := entries(last+1, last+n, term)
				must(t, errors.Join(l.StoreLogs(logs), model.StoreLogs(logs)))
			}
			same(t, l, model)
		}
		if deleted < 10 {
			t.Errorf("seed %d: %d deletions", seed, deleted)
		}
		must(t, l.Close())
	}
}

// same compares a log with the model.
func same(t *testing.T, l *Log, model *raft.InmemStore) {
	t.Helper()
	first, _ := model.FirstIndex()
	last, _ := model.LastIndex()
	f, err := l.FirstIndex()
	must(t, err)
	e, err := l.LastIndex()
	must(t, err)
	if f != first || e != last {
		t.Fatalf("%d to %d, want %d to %d", f, e, first, last)
	}
	for i := uint64(0); i <= last+3; i++ {
		var got, want raft.Log
		gotErr, wantErr := l.GetLog(i, &got), model.GetLog(i, &want)
		if i == l.state.base.index { // there the model has nothing to say
			continue
		}
		if gotErr != wantErr || got.Term != want.Term || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("entry %d: %+v %v, want %+v %v", i, got, gotErr, want, wantErr)
		}
	}
}

// TestClosed uses a closed log.
func TestClosed(t *testing.T) {
	l := open(t, enginetest.NewDisk(), Options{})
	must(t, l.StoreLog(entry(1, 1)))
	must(t, errors.Join(l.Close(), l.Close()))
	for i, err := range []error{l.StoreLog(entry(2, 1)), l.GetLog(1, &raft.Log{}), l.DeleteRange(1, 1), l.Set(nil, nil), l.Installed(9, 9)} {
		if !errors.Is(err, &query.Error{Code: query.CodeClosed}) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestPurge looks for deleted entries in all files.
func TestPurge(t *testing.T) {
	disk := enginetest.NewDisk()
	l := open(t, disk, Options{})
	secret := func(i uint64) []byte { return fmt.Appendf(nil, "secret-%04d-", i) }
	put := func(i, term uint64) {
		e := entry(i, term)
		e.Data = bytes.Repeat(secret(i), 100)
		must(t, l.StoreLog(e))
	}
	for i := range uint64(40) {
		put(i+1, 1)
	}
	must(t, l.db.Flush())
	for i := range uint64(40) {
		put(i+41, 1)
	}
	must(t, l.DeleteRange(1, 50))
	must(t, l.DeleteRange(71, 80))
	if err := l.Purge(t.Context(), 52); !errors.Is(err, &query.Error{Code: query.CodeConflict}) {
		t.Errorf("entry 51 is there: %v", err)
	}
	if !contains(t, disk, "log", secret(20)) || !contains(t, disk, "log", secret(75)) {
		t.Fatal("the test finds nothing anyway")
	}
	must(t, l.Purge(t.Context(), 51))
	for _, i := range []uint64{1, 20, 45, 50, 71, 75, 80} {
		if contains(t, disk, "log", secret(i)) {
			t.Errorf("entry %d is still there", i)
		}
	}
	var e raft.Log
	must(t, l.GetLog(51, &e))
	must(t, l.GetLog(70, &e))
	put(71, 2)
	l = again(t, l)
	must(t, l.GetLog(71, &e))
}

// contains looks for bytes in the files of a directory.
func contains(t *testing.T, files vfs.FS, dir string, what []byte) bool {
	t.Helper()
	names, err := files.List(dir)
	must(t, err)
	return slices.ContainsFunc(names, func(name string) bool {
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		must(t, err)
		if info.IsDir() {
			return contains(t, files, path, what)
		}
		f, err := files.Open(path)
		must(t, err)
		b, err := io.ReadAll(f)
		must(t, errors.Join(err, f.Close()))
		return bytes.Contains(b, what)
	})
}

// TestAhead appends on a disk that does not come to an end of its syncs: what is readable is not durable, and whoever
// waits for that waits until the disk has it, or has failed.
func TestAhead(t *testing.T) {
	for _, fails := range []bool{false, true} {
		disk := enginetest.NewDisk()
		l, err := Open(t.Context(), "log", &Options{FS: disk})
		must(t, err)
		must(t, l.StoreLogs(entries(1, 2, 1)))
		reached, on := make(chan struct{}), make(chan error)
		var once sync.Once
		disk.Before(func(op enginetest.DiskOp) error {
			if op.Kind == "sync" && strings.HasSuffix(op.Path, ".log") {
				once.Do(func() { close(reached) })
				return <-on
			}
			return nil
		})
		must(t, l.StoreLogsAhead(entries(3, 4, 1)))
		must(t, l.StoreLogsAhead(entries(5, 5, 1)))
		<-reached
		var e raft.Log
		must(t, l.GetLog(5, &e))
		if last, _ := l.LastIndex(); last != 5 || l.Durable() != 2 {
			t.Errorf("the last entry is %d, durable are %d; want 5 and 2", last, l.Durable())
		}
		must(t, l.AwaitDurable(2))
		waited := make(chan error, 1)
		go func() { waited <- l.Settle() }()
		select {
		case err := <-waited:
			t.Fatalf("settled before the disk has synced: %v", err)
		default:
		}
		if fails {
			on <- syscall.EIO
		}
		close(on)
		if err := <-waited; (err != nil) != fails {
			t.Errorf("the disk fails %t: %v", fails, err)
		}
		if want := map[bool]uint64{false: 5, true: 2}[fails]; l.Durable() != want {
			t.Errorf("durable are %d, want %d", l.Durable(), want)
		}
		if !fails { // as raft cuts off what a snapshot has, and as one comes from another member
			must(t, l.DeleteRange(1, 5))
			if l.Durable() != 5 {
				t.Errorf("nothing is left of 5 entries, and durable are %d", l.Durable())
			}
			must(t, l.Installed(9, 2))
			if l.Durable() != 9 {
				t.Errorf("a snapshot stands for 9 entries, and durable are %d", l.Durable())
			}
		}
		if err := l.Close(); (err != nil) != fails {
			t.Errorf("closing: %v", err)
		}
	}
}
