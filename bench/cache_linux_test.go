package bench

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDropCache asks the system for a page without waiting for the disk: it has one that
// was just written, and none that was dropped.
func TestDropCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below")
	if err := dropCache(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	cached := func() error {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		_, err = unix.Preadv2(int(f.Fd()), [][]byte{make([]byte, 4096)}, 512<<10, unix.RWF_NOWAIT)
		return err
	}
	var on unix.Statfs_t
	if err := unix.Statfs(dir, &on); err != nil {
		t.Fatal(err)
	}
	if on.Type == unix.TMPFS_MAGIC {
		t.Skip("the folder of temporary files is in memory: nothing can be dropped; set TMPDIR to one on a disk")
	}
	if err := cached(); err != nil {
		t.Skipf("the file system of %s has no RWF_NOWAIT, which tells what is cached: %v; set TMPDIR to one that has", dir, err)
	}
	if err := dropCache(dir); err != nil {
		t.Fatal(err)
	}
	if err := cached(); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("after dropping it: %v, want that the page is not there", err)
	}
}
