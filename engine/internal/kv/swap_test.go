package kv

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/engine/internal/faultfs"

	"github.com/kantadb/kanta/query"
)

// TestReplaceUnsure has everything fail, once, that asks what there is: a disk that does not
// answer is no answer, and nothing is taken for missing that may be there.
func TestReplaceUnsure(t *testing.T) {
	for _, there := range []bool{false, true} {
		for n := 1; ; n++ {
			files := faultfs.New()
			for _, dir := range []string{"old", "new"} {
				if dir == "old" && !there {
					continue
				}
				s, err := Open(dir, Config{FS: files})
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			fault := &faultfs.Fault{Kinds: []faultfs.Kind{faultfs.List}, Nth: n, Err: syscall.EIO}
			files.Before(fault.Before)
			err := Replace(files, "new", "old")
			times, first := fault.Fired()
			if times == 0 {
				if err != nil || n < 2 {
					t.Fatalf("without a fault, after %d: %v", n-1, err)
				}
				break
			}
			if err != nil && !errors.Is(err, &query.Error{Code: query.CodeIO}) {
				t.Errorf("%s: %v", first, err)
			}
			files.Before(nil)
			if s, err := Open("old", Config{FS: files, MustExist: there || err == nil}); err != nil {
				t.Errorf("%s: there is no store behind it: %v", first, err)
			} else if err = s.Close(); err != nil {
				t.Errorf("%s: %v", first, err)
			}
		}
	}
}
