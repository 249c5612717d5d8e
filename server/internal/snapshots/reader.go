package snapshots

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// Reader is an open snapshot. Read gives its stream; who has the directory at hand takes
// that instead, with [Install]. For one goroutine.
type Reader struct {
	store *Store
	k     *kept
	began bool

	without []byte // the map of files that are left out; nil: none is
	out     []byte // of the stream, that was not read yet
	buf     []byte
	sum     uint32 // CRC-32C of the stream so far
	file    int    // the next piece is of this one
	at      int64  // and begins here
	in      vfs.File
	hash    hash.Hash
	ended   bool
	err     error

	moving *transfer
	first  time.Time
	closed bool
}

func newReader(s *Store, k *kept) *Reader { return &Reader{store: s, k: k} }

// Of returns the Reader in what raft gives to a state machine's Restore: raft counts what is
// read of it.
func Of(source io.ReadCloser) (*Reader, bool) {
	for {
		if r, ok := source.(*Reader); ok {
			return r, true
		}
		w, ok := source.(raft.ReadCloserWrapper)
		if !ok {
			return nil, false
		}
		source = w.WrappedReadCloser()
	}
}

// Meta returns what the snapshot is. It is not to be changed.
func (r *Reader) Meta() *Meta { return r.k.meta }

// Directory returns the directory with the snapshot's files, which are not to be changed. It
// is there until Close.
func (r *Reader) Directory() string { return r.store.fs.PathJoin(r.store.dir, r.k.String(), dataDir) }

// Read reads the stream on. A file that is damaged is an error, [query.CodeCorrupt], before
// the stream has all of it.
func (r *Reader) Read(p []byte) (n int, err error) {
	for len(r.out) == 0 && r.err == nil && len(p) > 0 {
		if r.err = r.fill(); r.err == nil {
			r.err = r.pace()
		}
	}
	if len(r.out) == 0 {
		return 0, r.err
	}
	n = copy(p, r.out)
	r.out = r.out[n:]
	r.moving.done.Add(int64(n))
	return n, nil
}

// fill makes the next part of the stream.
func (r *Reader) fill() error {
	meta := r.k.meta
	switch {
	case r.closed || r.store.ended():
		return errClosed
	case r.ended:
		return io.EOF
	case !r.began:
		r.began, r.first = true, time.Now()
		r.moving = r.store.begin(Sending, r.k.String())
		r.moving.total.Store(meta.streamBytes(len(r.k.text)))
		if r.without != nil {
			r.moving.total.Store(meta.deltaBytes(len(r.k.text), r.without))
		}
		r.out = appendHeader(nil, r.k.text, r.without)
	case r.file < len(meta.Files) && r.without != nil && bit(r.without, r.file):
		r.file++
		return nil
	case r.file < len(meta.Files):
		if err := r.piece(&meta.Files[r.file]); err != nil {
			return about(err, "snapshot %s, file %s", r.k, meta.Files[r.file].Name)
		}
	default:
		r.ended = true
		r.store.mu.Lock()
		r.k.verified = r.k.verified || r.without == nil
		r.store.mu.Unlock()
		r.out = appendTrailer(nil, r.sum)
		return nil
	}
	r.sum = crc32.Update(r.sum, castagnoli, r.out)
	return nil
}

// piece makes the next piece of a file. The last one is given only if the whole is right.
func (r *Reader) piece(f *File) (err error) {
	if r.in == nil {
		if r.in, err = r.store.fs.Open(path(r.store.fs, r.Directory(), f.Name), vfs.SequentialReadsOption); err != nil {
			return err
		}
		r.hash = sha256.New()
	}
	size := int(min(PieceSize, f.Size-r.at))
	if r.buf == nil {
		r.buf = make([]byte, checksumBytes+PieceSize)
	}
	data := r.buf[checksumBytes:][:size]
	if _, err := io.ReadFull(r.in, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errSum
	} else if err != nil {
		return err
	}
	r.hash.Write(data)
	last := r.at+int64(size) == f.Size
	if last && !sumsMatch(f, r.hash.Sum(nil)) {
		return errSum
	}
	if size > 0 {
		binary.LittleEndian.PutUint32(r.buf, pieceSum(r.file, r.at, data))
		r.out = r.buf[:checksumBytes+size]
	}
	if r.at += int64(size); last {
		err, r.in = r.in.Close(), nil
		r.file, r.at = r.file+1, 0
	}
	return err
}

// pace waits as long as the rate asks for.
func (r *Reader) pace() error {
	rate := r.store.opt.SendRate
	if rate == 0 || r.moving == nil {
		return nil
	}
	sent := float64(r.moving.done.Load() + int64(len(r.out)))
	wait := time.NewTimer(time.Until(r.first.Add(time.Duration(sent / float64(rate) * float64(time.Second)))))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-r.store.stop:
		return errClosed
	}
}

// Close ends the reading. The snapshot is deleted if there is a newer one by now.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.in != nil {
		err, r.in = r.in.Close(), nil
	}
	if r.moving != nil {
		r.store.end(r.moving)
		if r.ended {
			r.store.sent(time.Since(r.first))
		}
	}
	r.store.give(r.k)
	return about(err, "snapshot %s", r.k)
}
