package kv

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// FuzzIdentity reads anything as the file that says what a directory is: it is a store of this
// format, or an error says what else.
func FuzzIdentity(f *testing.F) {
	for _, text := range []string{"", "kanta store\nformat 1\nid 0123456789abcdef0123456789abcdef\n", "kanta store\nformat 2\n", (Identity{ID: strings.Repeat("0a", 16), Root: strings.Repeat("1b", 16), Epoch: 2}).text(), "kanta store\nformat -1\nid x\n", "kanta store\nformat 1\n", "other"} {
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
		id, err := ReadIdentity(files, "")
		if q := (*query.Error)(nil); err != nil && !errors.As(err, &q) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (len(id.ID) != 32 || len(id.Root) != 32 || id.text() != text) {
			t.Errorf("%q is read as %+v", text, id)
		}
	})
}
