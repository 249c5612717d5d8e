package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// logExample is the piece of the package comment: the record of the example in package record.
func logExample(t testing.TB) *Log {
	t.Helper()
	rec, err := hex.DecodeString("0180909282e73300" + "025621" + "4b4e5442" + "b75caa04")
	must(t, err)
	l := &Log{Store: ledgerRoot, Epoch: 1, First: 501, Records: [][]byte{rec}}
	for i := range l.Before {
		l.Before[i] = byte(i + 1)
	}
	l.After = record.Chain(l.Before, rec)
	return l
}

// TestLogFormat compares with the example in the package comment, and reads it again.
func TestLogFormat(t *testing.T) {
	l := logExample(t)
	text := l.append(nil, ledgerRoot)
	head, body, _ := strings.Cut(string(text), "\n\n")
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	if !strings.Contains(string(doc), "//\t"+strings.ReplaceAll(head, "\n", "\n//\t")+"\n//\n") {
		t.Errorf("the package comment has another piece than\n%s", head)
	}
	if want := "\x13\x00\x00\x00" + string(l.Records[0]); body != want {
		t.Errorf("the records are %x, want %x", body, want)
	}
	again, err := parseLog(text, ledgerRoot)
	must(t, err)
	if fmt.Sprint(again) != fmt.Sprint(l) {
		t.Errorf("%+v is read as %+v", l, again)
	}
	p, err := l.piece(text)
	must(t, err)
	if name := strings.Replace(p.Name(), p.Hash.String(), "NAME", 1); !strings.Contains(string(doc), name+"\n") {
		t.Errorf("the package comment has not %s", name)
	}
	if got, ok := parseLogName(p.Name()); !ok || got != p {
		t.Errorf("%+v is read as %+v", p, got)
	}
	for n := range len(text) {
		if _, err := parseLog(text[:n], ledgerRoot); err == nil {
			t.Errorf("%d bytes of it are a piece", n)
		}
		if bad := bytes.Clone(text); bad[n] != 0 {
			bad[n] ^= 1
			if got, err := parseLog(bad, ledgerRoot); err == nil && fmt.Sprint(got) == fmt.Sprint(l) {
				t.Errorf("byte %d does not matter", n)
			}
		}
	}
	var q *query.Error
	if _, err := parseLog(bytes.Replace(text, []byte("format 1"), []byte("format 2"), 1), ledgerRoot); !errors.As(err, &q) || q.Code != query.CodeNewerFormat {
		t.Errorf("a newer format: %v", err)
	}
	if _, err := parseLog(bytes.Replace(text, []byte("after 0c"), []byte("after 0d"), 1), ledgerRoot); err == nil {
		t.Error("a chain that ends in another hash is read")
	}
	if _, err := parseLog(text, strings.Replace(ledgerRoot, "0", "1", 1)); err == nil {
		t.Error("the piece of another line of stores is read")
	}
}

// TestLogNames: what is no name of a piece is left alone.
func TestLogNames(t *testing.T) {
	l := logExample(t)
	p, err := l.piece(l.append(nil, ledgerRoot))
	must(t, err)
	name := p.Name()
	for _, bad := range []string{"", "log/", strings.TrimSuffix(name, ".open"), name + "x", strings.Replace(name, "/2026", "/../2026", 1), strings.Replace(name, "1.501-1.501", "1.501-2.501", 1),
		strings.Replace(name, "1.501-1.501", "1.502-1.501", 1), strings.Replace(name, "1.501-1.501", "1.0-1.501", 1), strings.Replace(name, "0528T", "0529T", 1), strings.ToUpper(name), strings.Replace(name, ledgerRoot, "x", 1)} {
		if p, ok := parseLogName(bad); ok {
			t.Errorf("%q is a name: %+v", bad, p)
		}
	}
}

// FuzzLog: what is read is what is written, and it is never more than it was given.
func FuzzLog(f *testing.F) {
	l := logExample(f)
	f.Add(l.append(nil, ledgerRoot))
	l.Broken = BrokenPurge
	f.Add(l.append(nil, ledgerRoot))
	l.Records = nil
	f.Add(l.append(nil, ledgerRoot))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLog(text, ledgerRoot)
		if err != nil {
			return
		}
		if !bytes.Equal(l.append(nil, ledgerRoot), text) {
			t.Errorf("%q is read as %+v", text, l)
		}
		if p, err := l.piece(text); err == nil {
			if got, ok := parseLogName(p.Name()); !ok || got != p {
				t.Errorf("%+v is read as %+v", p, got)
			}
		}
	})
}

// FuzzLogName: a name that is one is that of what it is read as, and stays in its folder.
func FuzzLogName(f *testing.F) {
	l := logExample(f)
	p, err := l.piece(l.append(nil, ledgerRoot))
	must(f, err)
	f.Add(p.Name())
	p.Sealed = true
	f.Add(p.Name())
	f.Fuzz(func(t *testing.T, name string) {
		if p, ok := parseLogName(name); ok && (p.Name() != name || strings.Contains(name, "..") || strings.Count(name, "/") != 2) {
			t.Errorf("%q is read as %+v", name, p)
		}
	})
}

// chained makes pieces of one record each, the n-th with the position n + 1, received on a day.
func chained(t *testing.T, days ...int) (out []*Log) {
	t.Helper()
	var chain [16]byte
	for i, day := range days {
		at := time.Date(2026, 11, 1+day, 12, 0, i, 0, time.UTC)
		rec := record.Append(nil, &record.Record{Received: at.UnixMilli(), Batch: []byte(fmt.Sprint("batch ", i))})
		l := &Log{Store: ledgerRoot, Epoch: 1, First: uint64(i + 1), Before: chain, After: record.Chain(chain, rec), Records: [][]byte{rec}}
		out, chain = append(out, l), l.After
	}
	return out
}

// TestSealLog puts pieces of days together: those of a day, up to a size, and not across a gap.
// Stopped after any operation, it goes on, and nothing that was there is missing.
func TestSealLog(t *testing.T) {
	days := []int{0, 0, 0, 0, 1, 1, 1, 2, 2}
	for stop := 0; ; stop++ {
		dir, err := OpenDir(t.TempDir())
		must(t, err)
		target := &Target{BackupTarget: dir, Root: ledgerRoot}
		r, err := target.NewLogReader()
		must(t, err)
		for i, l := range chained(t, days...) {
			if i != 5 { // a gap
				_, err := r.Write(t.Context(), l, false)
				must(t, err)
			}
		}
		seal := func(to query.BackupTarget) (int, error) {
			target.BackupTarget = to
			pieces, err := target.LogPieces(t.Context(), ledgerRoot)
			must(t, err)
			return r.SealLog(t.Context(), pieces, time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC), LogHeader+80)
		}
		b := &stopping{dir, stop}
		_, failed := seal(b)
		_, err = seal(dir)
		must(t, err)
		pieces, err := target.LogPieces(t.Context(), "")
		must(t, err)
		var got strings.Builder
		for i := range pieces {
			p := &pieces[i]
			fmt.Fprintf(&got, "%d-%d %v ", p.First, p.Last, p.Sealed)
			_, err := r.Read(t.Context(), p)
			must(t, err)
		}
		if want := "1-3 true 4-4 true 5-5 true 7-7 true 8-8 false 9-9 false "; got.String() != want {
			t.Fatalf("stopped after %d: %s", stop, got.String())
		}
		r.Close()
		must(t, dir.Close())
		if failed == nil {
			if stop < 10 {
				t.Fatalf("only %d operations", stop)
			}
			return
		}
	}
}

// stopping fails after some changes.
type stopping struct {
	*Dir
	left int
}

func (s *stopping) Put(ctx context.Context, name string, data []byte) error {
	if s.left--; s.left < 0 {
		return errors.New("stopped")
	}
	return s.Dir.Put(ctx, name, data)
}

func (s *stopping) Delete(ctx context.Context, name string) error {
	if s.left--; s.left < 0 {
		return errors.New("stopped")
	}
	return s.Dir.Delete(ctx, name)
}
