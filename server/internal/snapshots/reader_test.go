package snapshots

import (
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// TestSendRate reads a snapshot at a rate, and ends the waiting.
func TestSendRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := enginetest.NewDisk()
		must(t, sample(1).lay(files, "live"))
		s, err := Open("snapshots", &Options{FS: files, SendRate: 100_000})
		must(t, err)
		id, err := takeOf(s, "live", 500)
		must(t, err)
		meta, source, err := s.Open(id)
		must(t, err)
		begin := time.Now()
		_, err = io.Copy(io.Discard, source)
		must(t, err)
		took, least := time.Since(begin), time.Duration(float64(meta.Size)/100_000*float64(time.Second))
		if took < least-time.Millisecond || took > least+time.Millisecond {
			t.Fatalf("%d bytes took %v, want %v", meta.Size, took, least)
		}
		if !s.LogNeeded() {
			t.Fatal("the log is not needed while a snapshot is sent")
		}
		must(t, source.Close())
		is := []bool{s.LogNeeded()}
		for _, after := range []time.Duration{took / 2, took/2 - time.Second, 2 * time.Second} {
			<-time.After(after)
			is = append(is, s.LogNeeded())
		}
		if !slices.Equal(is, []bool{true, true, true, false}) {
			t.Fatalf("the log was needed: %v", is)
		}

		_, source, err = s.Open(id)
		must(t, err)
		begin = time.Now()
		time.AfterFunc(time.Second, s.Close)
		_, err = io.Copy(io.Discard, source)
		want(t, err, query.CodeClosed, "closed")
		if took := time.Since(begin); took != time.Second {
			t.Fatalf("it ended after %v", took)
		}
		must(t, source.Close())
		if s.LogNeeded() {
			t.Fatal("the log behind what was not sent is needed")
		}
	})
	_, err := Open("snapshots", &Options{FS: enginetest.NewDisk(), SendRate: -1})
	want(t, err, query.CodeInvalid, "-1 bytes")
}

// TestProgress asks how far a snapshot is that is being sent.
func TestProgress(t *testing.T) {
	_, s, id := one(t, 1)
	meta, source, err := s.Open(id)
	must(t, err)
	if p := s.Progress(); len(p) != 0 {
		t.Fatalf("before anything is read: %+v", p)
	}
	_, err = io.CopyN(io.Discard, source, 300_000)
	must(t, err)
	if p := s.Progress(); len(p) != 1 || p[0] != (Progress{Sending, id, 300_000, meta.Size}) {
		t.Fatalf("%+v", p)
	}
	must(t, source.Close())
	if p := s.Progress(); len(p) != 0 {
		t.Fatalf("after it was closed: %+v", p)
	}
}

// TestOf finds the reader below what raft puts around it, and nothing else.
func TestOf(t *testing.T) {
	if _, ok := Of(io.NopCloser(nil)); ok {
		t.Fatal("it is no reader")
	}
}
