package snapshots

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/kantadb/kanta/query"
)

// The versions of what is no stream of everything.
const (
	deltaVersion = 2 // a stream that leaves out what its receiver has
	offerVersion = 3 // META alone
)

// content is what tells files apart whose names do not: a name of a table is a number, which
// stores of one history give to different tables.
type content struct {
	size int64
	sum  [32]byte
}

// mapBytes is how long a map of so many files is: a bit for each, in the order of META, the
// first the lowest of the first byte.
func mapBytes(files int) int { return (files + 7) / 8 }

func bit(m []byte, file int) bool { return m[file/8]&(1<<(file%8)) != 0 }

func setBit(m []byte, file int) { m[file/8] |= 1 << (file % 8) }

// checkMap reports a map that is none of these files: of another length, with bits behind the
// last one, or of files that may not have two names.
func checkMap(m []byte, files []File) error {
	if len(m) != mapBytes(len(files)) || len(files)%8 != 0 && m[len(m)-1]>>(len(files)%8) != 0 {
		return corrupt("a map of %d bytes is none of %d files", len(m), len(files))
	}
	for i := range files {
		if bit(m, i) && (!sealed(files[i].Name) || files[i].Size == 0) {
			return corrupt("the file %s is left out, and must be sent", files[i].Name)
		}
	}
	return nil
}

// has returns the map of the files in the text of META that the newest snapshot here has; what
// must be sent always is not in it.
func (s *Store) has(text []byte) (m []byte, err error) {
	offered, err := parseMeta(text)
	if err != nil {
		return nil, err
	}
	own, _ := s.Newest()
	if own == nil {
		return nil, nil
	}
	known := own.contents()
	for i := range offered.Files {
		f := &offered.Files[i]
		if _, is := known[content{f.Size, f.Sum}]; is && sealed(f.Name) && f.Size > 0 {
			if m == nil {
				m = make([]byte, mapBytes(len(offered.Files)))
			}
			setBit(m, i)
		}
	}
	return m, nil
}

// contents returns the files that may have two names, by what they have.
func (m *Meta) contents() map[content]string {
	out := make(map[content]string, len(m.Files))
	for i := range m.Files {
		if f := &m.Files[i]; sealed(f.Name) {
			out[content{f.Size, f.Sum}] = f.Name
		}
	}
	return out
}

// Without has the stream leave out files that its receiver has, and returns the stream's
// length. m is the map that the receiver has given for an [Reader.Offer] ([Store.Answer]); with nil
// nothing is left out. It is called before the first Read.
func (r *Reader) Without(m []byte) (size int64, err error) {
	if r.began {
		return 0, query.Errorf(query.CodeInvalid, "snapshot %s is being read", r.k)
	}
	if m == nil {
		r.without = nil
		return r.k.meta.streamBytes(len(r.k.text)), nil
	}
	if err := checkMap(m, r.k.meta.Files); err != nil {
		return 0, err
	}
	r.without = m
	return r.k.meta.deltaBytes(len(r.k.text), m), nil
}

// leftOut is where a sink has the files from that are not sent.
type leftOut struct {
	from  *kept
	names map[content]string
	files []int // that are still to be taken
}

// borrow has the newest snapshot stay while files of it are taken.
func (s *Store) borrow() (*leftOut, error) {
	_, id := s.Newest()
	if id == "" {
		return nil, corrupt("files are left out, and there is no snapshot that has them")
	}
	k, err := s.take(id)
	if err != nil {
		return nil, err
	}
	return &leftOut{from: k, names: k.meta.contents()}, nil
}

// leave notes a file that is not sent, and is to be taken when all that is sent is here: to read it takes time, and
// whoever sends would wait.
func (k *Sink) leave(file int) error {
	f := &k.meta.Files[file]
	if _, is := k.left.names[content{f.Size, f.Sum}]; !is {
		return query.Errorf(query.CodeUnavailable, "the file %s was not sent, and is not here any more", f.Name)
	}
	k.left.files = append(k.left.files, file)
	return nil
}

// have takes the files that were not sent.
func (k *Sink) have() error {
	if k.left == nil {
		return nil
	}
	for _, file := range k.left.files {
		if err := k.haveOne(file); err != nil {
			return err
		}
	}
	return nil
}

// haveOne takes one from the newest snapshot, by a link, once it was read and is what it must be.
func (k *Sink) haveOne(file int) error {
	s, f := k.store, &k.meta.Files[file]
	name := k.left.names[content{f.Size, f.Sum}]
	source := path(s.fs, s.fs.PathJoin(s.dir, k.left.from.String(), dataDir), name)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sum, err := digestUntil(ctx, cancel, s, source, f.Size)
	if err == nil && sum != f.Sum {
		err = errSum
	}
	if err == nil {
		err = s.fs.Link(source, path(s.fs, k.data(), f.Name))
	}
	return about(err, "file %s, which is here as %s", f.Name, name)
}

// digestUntil is digest until the store is closed.
func digestUntil(ctx context.Context, cancel context.CancelFunc, s *Store, name string, size int64) ([32]byte, error) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-done:
		}
	}()
	sum, err := digest(ctx, s.fs, name, size)
	if errors.Is(err, context.Canceled) {
		err = errClosed
	}
	return sum, err
}

// Offer returns what another node is asked with which of the files it has.
func (r *Reader) Offer() []byte {
	b := appendHeader(nil, r.k.text, nil)
	b[4] = offerVersion
	return b
}

// Answer reads an offer of so many bytes, and returns the map of those files of it that the
// newest snapshot here has, under whatever name. nil: it has none of them.
func (s *Store) Answer(from io.Reader, size int64) (m []byte, err error) {
	text, err := readOffer(from, size)
	if err == nil {
		m, err = s.has(text)
	}
	return m, about(err, "an offered snapshot")
}

// readOffer reads an offer, and returns the text of META in it.
func readOffer(from io.Reader, size int64) ([]byte, error) {
	if size < int64(headerBytes+sumBytes) || size > headerBytes+MaxMeta {
		return nil, limit("an offer of %d bytes, at most %d", size, headerBytes+MaxMeta)
	}
	b := make([]byte, 0, min(size, PieceSize)) // as it comes, not as much as somebody says will
	for int64(len(b)) < size {
		n := len(b)
		b = append(b, make([]byte, min(size-int64(n), PieceSize))...)
		if _, err := io.ReadFull(from, b[n:]); err != nil {
			return nil, err
		}
	}
	switch {
	case string(b[:4]) != streamMagic:
		return nil, corrupt("it does not begin with %q", streamMagic)
	case b[4] > offerVersion:
		return nil, newer(uint64(b[4]))
	case b[4] != offerVersion || b[5]|b[6]|b[7] != 0 || int64(binary.LittleEndian.Uint32(b[8:])) != size-headerBytes:
		return nil, corrupt("it has no header")
	}
	return b[headerBytes:], nil
}
