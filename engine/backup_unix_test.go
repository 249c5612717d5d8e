//go:build unix

package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/engine"
)

// TestHostileFolder puts links, pipes and devices into a folder of backups: none is read or
// written through, and nothing waits for them.
func TestHostileFolder(t *testing.T) {
	wholeOnly(t)
	dir := t.TempDir()
	db := grown(t, nil, filepath.Join(dir, "store"), 100)
	defer func() { must(t, db.Close()) }()
	_, err := db.Backup(t.Context(), folderAt(t, filepath.Join(dir, "target")), nil)
	must(t, err)
	secret := filepath.Join(dir, "secret")
	must(t, os.MkdirAll(secret, 0o777))
	must(t, os.WriteFile(filepath.Join(secret, "file"), []byte("kanta backups\n"), 0o666))
	objects, err := filepath.Glob(filepath.Join(dir, "target", "objects", "*", "*"))
	must(t, err)
	manifests, err := filepath.Glob(filepath.Join(dir, "target", "backups", "*"))
	must(t, err)
	refused := 0
	for _, path := range []string{objects[0], filepath.Dir(objects[0]), manifests[0], filepath.Join(dir, "target", "objects"), filepath.Join(dir, "target", "kanta-backups")} {
		must(t, os.Rename(path, path+".kept"))
		for _, plant := range []func() error{
			func() error { return os.Symlink(path+".kept", path) },
			func() error { return os.Symlink(filepath.Join(secret, "file"), path) },
			func() error { return os.Symlink(secret, path) },
			func() error { return os.Symlink("../../../../../../../../etc", path) },
			func() error { return os.Symlink("/dev/zero", path) },
			func() error { return os.Symlink(path, path) },
			func() error { return syscall.Mkfifo(path, 0o666) },
			func() error { return os.Mkdir(path, 0o777) },
			func() error { return os.WriteFile(path, nil, 0o666) },
		} {
			must(t, plant())
			before := treeOf(t, secret)
			target := folderAt(t, filepath.Join(dir, "target"))
			if _, err := engine.Restore(t.Context(), filepath.Join(dir, "new"), target, nil); err == nil {
				t.Fatalf("%s: it was restored", path)
			}
			_, _ = db.Backup(t.Context(), target, nil) // fails or not, it stays inside
			if after := treeOf(t, secret); after != before {
				t.Fatalf("%s: there is\n%s and there was\n%s", path, after, before)
			}
			must(t, os.RemoveAll(path))
			made, err := filepath.Glob(filepath.Join(dir, "target", "backups", "*.manifest"))
			must(t, err)
			for _, m := range made {
				if m != manifests[0] {
					must(t, os.Remove(m))
				}
			}
			refused++
		}
		must(t, os.Rename(path+".kept", path))
	}
	t.Logf("%d plants", refused)
	if _, err := os.Lstat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("something was restored")
	}
}
