package kv

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// Identity is what the KANTA file says a store is.
type Identity struct {
	// ID is this store's, and nobody else's: a store that is restored gets another, so that
	// it and the living original are never taken for each other.
	ID string // 32 hexadecimal digits
	// Root is the ID of the first store of the line: that of the store itself, or of the one
	// that was backed up in the beginning. Hashes that are stored are keyed with it.
	Root string
	// Epoch is the least that positions have: each restore begins another.
	Epoch uint64
}

// NewID draws an ID.
func NewID() (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(id[:]), nil
}

// text is the KANTA file.
func (id Identity) text() string {
	text := fmt.Sprintf("%s\nformat %d\nid %s\n", magicLine, Format, id.ID)
	if id.Root == "" || id.Root == id.ID {
		return text
	}
	text += fmt.Sprintf("root %s\nepoch %d\n", id.Root, id.Epoch)
	return text + fmt.Sprintf("sum %x\n", sha256.Sum256([]byte(text)))
}

// WriteIdentity writes the KANTA file of a store that is being made.
func WriteIdentity(files vfs.FS, dir string, id Identity) error {
	return errors.Join(writeFile(files, files.PathJoin(dir, identityFile), id.text()), SyncDir(files, dir))
}

// ReadIdentity reads the KANTA file of a store.
func ReadIdentity(files vfs.FS, dir string) (Identity, error) {
	var none Identity
	f, err := files.Open(files.PathJoin(dir, identityFile))
	if err != nil && !isNotExist(err) && !errors.Is(err, fs.ErrPermission) {
		return none, diskError("open "+dir, err)
	}
	if err != nil {
		return none, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("%s is not a Kanta store: it has no file %s", dir, identityFile),
			Hint: "name an empty or a new directory", Err: err}
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err = errors.Join(err, f.Close()); err != nil {
		return none, diskError("read "+identityFile, err)
	}
	lines := strings.Split(string(text), "\n")
	if lines[0] != magicLine {
		return none, query.Errorf(query.CodeNotAStore, "%s is not a Kanta store: its file %s begins with something else", dir, identityFile)
	}
	fields := map[string]string{}
	for _, l := range lines[1:] {
		if k, v, ok := strings.Cut(l, " "); ok {
			fields[k] = v
		}
	}
	format, err := strconv.Atoi(fields["format"])
	if err == nil && format > Format {
		return none, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s was written in store format %d; this version reads format %d", dir, format, Format),
			Hint: "use a newer version of Kanta"}
	}
	id := Identity{ID: fields["id"], Root: fields["id"], Epoch: 1}
	if root, restored := fields["root"]; restored {
		id.Root = root
		id.Epoch, _ = strconv.ParseUint(fields["epoch"], 10, 64) // what is no number is no text of ours
	}
	whole := err == nil && format == Format && len(id.ID) == 32 && len(id.Root) == 32 && id.text() == string(text)
	if !whole {
		return none, query.Errorf(query.CodeCorrupt, "the file %s of %s is damaged", identityFile, dir)
	}
	return id, nil
}
