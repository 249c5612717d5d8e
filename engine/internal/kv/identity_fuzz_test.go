package kv

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// FuzzIdentity reads anything as the file that says what a directory is: it is a store of this
// format, or an error says what else.
func FuzzIdentity(f *testing.F) {
	for _, text := range []string{"", "kanta store\nformat 1\nid 0123456789abcdef0123456789abcdef\n", "kanta store\nformat 2\n", "kanta store\nformat -1\nid x\n", "kanta store\nformat 1\n", "other"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := vfs.NewMem()
		file, err := files.Create(identityFile, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = file.Write([]byte(text))
		}
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		id, err := readIdentity("", files)
		if q := (*query.Error)(nil); err != nil && !errors.As(err, &q) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && len(id) != 32 {
			t.Errorf("%q has the id %q", text, id)
		}
	})
}
