package audit

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// read is begin for who may change nothing.
func (s *Store) read() (err error) {
	if *s.keyed, err = s.d.secret(); err != nil {
		if missing(err) {
			err = &query.Error{Code: query.CodeNotAStore, Message: s.d.name + " is not the directory of an audit store", Hint: "kanta serve --audit names it", Err: err}
		}
		return err
	}
	if err := s.headers(false); err != nil {
		return err
	}
	l, err := s.d.open(s.segments[len(s.segments)-1].first, -1)
	if err != nil {
		return err
	}
	s.behind, err = l.whole()
	s.durable = l.place
	return errors.Join(err, l.close())
}

// whole reads to the last whole record, and returns how many bytes behind it are of no use:
// a part of a group.
func (s *scanner) whole() (torn int64, err error) {
	for err == nil {
		_, err = s.next()
	}
	var broken *errBroken
	switch {
	case errors.Is(err, io.EOF):
		return 0, nil
	case !errors.As(err, &broken):
		return 0, err
	}
	ok, failed := s.torn()
	if failed != nil {
		return 0, failed
	}
	if !ok {
		return 0, s.damage(err)
	}
	return s.end - s.at, nil
}

// resume makes the last segment one that is written on: its torn end is cut off, and what may
// never have been synced is written once more. A sync that failed may have left bytes that are read but are on no disk.
func (s *Store) resume() (cut int64, err error) {
	l, err := s.d.open(s.segments[len(s.segments)-1].first, -1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if cut, err = l.whole(); err != nil {
		return 0, err
	}
	if cut > 0 {
		if err := l.rewrite(); err != nil {
			return 0, err
		}
	}
	f, err := s.d.fs.OpenReadWrite(s.d.path(l.name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	if cut == 0 {
		err = copyRange(f, l.f, l.groups, l.at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.d.sync()
	}
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	s.w = writer{f: f, place: l.place}
	s.durable = l.place
	return cut, nil
}

// rewrite puts in the place of a segment one that ends behind the last whole record: files of a
// vfs cannot be made shorter.
func (s *scanner) rewrite() error {
	path := s.d.path(s.name + cutSuffix)
	f, err := s.d.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = copyRange(f, s.f, 0, s.at)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.d.fs.Rename(path, s.d.path(s.name)); err != nil {
		return err
	}
	return s.d.sync()
}

// copyRange writes bytes of one file to the same place in another.
func copyRange(to io.WriterAt, from io.ReaderAt, at, end int64) error {
	for at < end {
		b, err := readAt(from, make([]byte, min(end-at, readBytes)), at)
		if err == nil && len(b) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		n := int64(len(b)) // a file may change what it is given
		if _, err := to.WriteAt(b, at); err != nil {
			return err
		}
		at += n
	}
	return nil
}
