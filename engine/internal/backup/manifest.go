package backup

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

const (
	manifestMagic  = "kanta backup"
	manifestFormat = 1
	maxManifest    = 64 << 20 // bytes: of a store of 7 TB
	millis         = "2006-01-02T15:04:05.000Z"
	nameMillis     = "20060102T150405.000Z"
)

// Manifest describes one backup.
type Manifest struct {
	query.Backup        // but for Name, Files and Bytes, which follow
	StoreFormat  uint64 // the version of the store's own format
	Entries      []File // by name
}

// File is one file of the store's folder db.
type File struct {
	Name   string
	Size   int64
	Pieces []Hash
}

// pieces is how many a file has.
func pieces(size int64) int64 { return (size + PieceSize - 1) / PieceSize }

// pieceSize is the size of the i-th.
func (f *File) pieceSize(i int) int { return int(min(PieceSize, f.Size-int64(i)*PieceSize)) }

// shapes are the names of the files that a store has. A name has no separator, so it stays
// in its folder.
var shapes = regexp.MustCompile(`^([0-9]{6,18}\.(sst|blob)|(MANIFEST|OPTIONS)-[0-9]{6,18}|marker\.(manifest|format-version)\.[0-9]{6,18}\.(MANIFEST-[0-9]{6,18}|[0-9]{1,9}))$`) //tidy:constant

// ValidFile reports whether a store may have a file of this name.
func ValidFile(name string) bool { return shapes.MatchString(name) }

// immutable reports whether a file of this name never changes.
func immutable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// nameOf makes a backup's name.
func nameOf(created time.Time, at query.Position) string {
	return created.UTC().Format(nameMillis) + "-" + at.String()
}

// parseName is the inverse of nameOf.
func parseName(name string) (created time.Time, at query.Position, ok bool) {
	stamp, text, found := strings.Cut(name, "-")
	created, err := time.Parse(nameMillis, stamp)
	at, ok = query.ParsePosition(text)
	return created, at, found && ok && err == nil && nameOf(created, at) == name
}

// Append writes a manifest behind dst.
func (m *Manifest) Append(dst []byte) []byte {
	start := len(dst)
	b := bytes.NewBuffer(dst)
	fmt.Fprintf(b, "%s\nformat %d\nstore %s\nroot %s\nstore-format %d\nposition %s\nchain %x\nreceived %s\ncontent %x\ncreated %s\nparent %s\n",
		manifestMagic, manifestFormat, m.Store, m.Root, m.StoreFormat, m.Position, m.Chain, m.Received.UTC().Format(millis), m.Content, m.Created.UTC().Format(millis), cmp.Or(m.Parent, "-"))
	for i := range m.Entries {
		f := &m.Entries[i]
		fmt.Fprintf(b, "file %d %s\n", f.Size, f.Name)
		for _, h := range f.Pieces {
			fmt.Fprintf(b, "%s\n", h)
		}
	}
	fmt.Fprintf(b, "sha256 %x\n", sha256.Sum256(b.Bytes()[start:]))
	return b.Bytes()
}

// manifestReader takes the lines of a manifest.
type manifestReader struct {
	rest string
	bad  bool
}

// next takes a line; ok is false behind the last.
func (r *manifestReader) next() (line string, ok bool) {
	line, rest, ok := strings.Cut(r.rest, "\n")
	r.rest = rest
	return line, ok
}

// field takes a line that begins with a word.
func (r *manifestReader) field(name string) string {
	line, _ := r.next()
	value, ok := strings.CutPrefix(line, name+" ")
	r.bad = r.bad || !ok
	return value
}

func (r *manifestReader) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 63)
	r.bad = r.bad || err != nil
	return n
}

func (r *manifestReader) time(text string) time.Time {
	t, err := time.Parse(millis, text)
	r.bad = r.bad || err != nil
	return t
}

func (r *manifestReader) sum(text string) (out [16]byte) {
	b, err := hex.DecodeString(text)
	r.bad = r.bad || err != nil || len(b) != len(out)
	copy(out[:], b)
	return out
}

// ParseManifest reads a manifest. What it returns would be written in the same bytes.
func ParseManifest(name string, text []byte) (*Manifest, error) {
	damaged := func(why string) (*Manifest, error) {
		return nil, query.Errorf(query.CodeCorrupt, "the manifest of backup %s is damaged: %s", name, why)
	}
	r := &manifestReader{rest: string(text)}
	if line, ok := r.next(); !ok || line != manifestMagic {
		return damaged("it is no manifest")
	}
	if format := r.number(r.field("format")); r.bad || format < manifestFormat {
		return damaged("it has no format")
	} else if format > manifestFormat {
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("backup %s is of format %d; this version reads format %d", name, format, manifestFormat), Hint: "use a newer version of Kanta"}
	}
	m := &Manifest{}
	m.Store, m.Root = r.field("store"), r.field("root")
	m.StoreFormat = r.number(r.field("store-format"))
	at, ok := query.ParsePosition(r.field("position"))
	m.Position, m.Chain = at, r.sum(r.field("chain"))
	m.Received = r.time(r.field("received"))
	m.Content = r.sum(r.field("content"))
	m.Created = r.time(r.field("created"))
	if m.Parent = r.field("parent"); m.Parent == "-" {
		m.Parent = ""
	}
	if r.bad || !ok || !validID(m.Store) || !validID(m.Root) {
		return damaged("a line is missing or wrong")
	}
	if m.Name = nameOf(m.Created, m.Position); m.Name != name {
		return damaged("it is that of " + m.Name)
	}
	if why := r.files(m); why != "" {
		return damaged(why)
	}
	if !bytes.Equal(m.Append(nil), text) {
		return damaged("its checksum is another, or its form")
	}
	return m, nil
}

// files reads the files, up to the last line.
func (r *manifestReader) files(m *Manifest) (why string) {
	for {
		line, ok := r.next()
		if !ok {
			return "it has no end"
		}
		if strings.HasPrefix(line, "sha256 ") {
			return ""
		}
		text, ok := strings.CutPrefix(line, "file ")
		size, name, found := strings.Cut(text, " ")
		f := File{Name: name, Size: int64(r.number(size))}
		if !ok || !found || r.bad {
			return "a line of a file is wrong"
		}
		if !ValidFile(name) {
			return fmt.Sprintf("a store has no file %q", name)
		}
		if n := len(m.Entries); n > 0 && m.Entries[n-1].Name >= name {
			return "its files are not in order"
		}
		if pieces(f.Size) > int64(len(r.rest)/(2*len(Hash{}))) {
			return fmt.Sprintf("file %s has fewer pieces than its size wants", name)
		}
		for range pieces(f.Size) {
			line, _ := r.next()
			h, ok := parseHash(line)
			if !ok {
				return fmt.Sprintf("a piece of file %s is missing", name)
			}
			f.Pieces = append(f.Pieces, h)
		}
		if m.Bytes > 1<<62-f.Size {
			return "its files are too large"
		}
		m.Entries, m.Files, m.Bytes = append(m.Entries, f), m.Files+1, m.Bytes+f.Size
	}
}

// file returns a file by its name, or nil.
func (m *Manifest) file(name string) *File {
	i, ok := slices.BinarySearchFunc(m.Entries, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return nil
	}
	return &m.Entries[i]
}

// validID reports whether a text can be the id of a store.
func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16 && hex.EncodeToString(b) == id
}
