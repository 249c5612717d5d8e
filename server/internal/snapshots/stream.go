package snapshots

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/kantadb/kanta/query"
)

// PieceSize is how many bytes of a file are checked as one. It is what is held in memory of a
// file, at either end.
const PieceSize = 256 << 10

const (
	streamMagic   = "KNTS"
	headerBytes   = 12
	checksumBytes = 4
	trailerBytes  = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// appendHeader appends what a stream begins with, the text of META included, and the map of
// what is left out, nil for nothing.
func appendHeader(dst, meta, without []byte) []byte {
	version := byte(formatVersion)
	if without != nil {
		version = deltaVersion
	}
	dst = append(append(dst, streamMagic...), version, 0, 0, 0)
	dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(meta))), meta...)
	return append(dst, without...)
}

// pieceSum is the checksum of a piece: of its place and its bytes, so that a piece in the
// place of another is found.
func pieceSum(file int, at int64, data []byte) uint32 {
	var place [12]byte
	binary.LittleEndian.PutUint32(place[:], uint32(file))
	binary.LittleEndian.PutUint64(place[4:], uint64(at))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, data)
}

// appendTrailer appends what a stream ends with; sum is the CRC-32C of all before.
func appendTrailer(dst []byte, sum uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, sum), streamEnd...)
}

const streamEnd = "KNTZ"

// streamBytes returns the length of the stream of a snapshot.
func (m *Meta) streamBytes(text int) int64 {
	n := int64(headerBytes + text + trailerBytes)
	for i := range m.Files {
		n += piecesBytes(m.Files[i].Size)
	}
	return n
}

// deltaBytes returns the length of the stream without what is left out.
func (m *Meta) deltaBytes(text int, without []byte) int64 {
	n := m.streamBytes(text) + int64(len(without))
	for i := range m.Files {
		if bit(without, i) {
			n -= piecesBytes(m.Files[i].Size)
		}
	}
	return n
}

// piecesBytes returns the length of the pieces of a file.
func piecesBytes(size int64) int64 { return size + (size+PieceSize-1)/PieceSize*checksumBytes }

// receiver is given what a decoder reads, each thing when it is whole and was verified.
type receiver interface {
	// begin is told what follows, the text of META, and the map of what is left out, nil for
	// nothing. An error ends the stream.
	begin(m *Meta, text, without []byte) error
	// leave is told of a file that is left out, where its pieces would be.
	leave(file int) error
	// piece is given a piece of a file, the pieces of all files in order; a file without
	// bytes has one. It may change data, which is the decoder's again when it returns.
	piece(file int, data []byte, last bool) error
}

// decoder reads a stream as it comes, in parts of any length. It holds the text of META, or
// one piece. For one goroutine.
type decoder struct {
	to   receiver
	buf  []byte
	want int // bytes of buf that step needs
	step func(b []byte) error
	sum  uint32 // CRC-32C of all so far
	meta *Meta
	head []byte // the text of META, until the map behind it has come
	left []byte // the map of what is left out; nil: nothing
	some bool   // something is
	file int    // the next piece is of this one
	at   int64  // and begins here
	read int64  // bytes that came
	done bool
	err  error // of the first that did not fit; everything after it gets it, too
}

func newDecoder(to receiver) *decoder {
	d := &decoder{to: to, want: headerBytes}
	d.step = d.header
	return d
}

// Write reads on. It returns how many bytes it has taken, fewer only with an error.
func (d *decoder) Write(p []byte) (n int, err error) {
	for n < len(p) && d.err == nil {
		if d.done {
			d.err = corrupt("there is more behind the end of the stream")
			break
		}
		take := min(d.want-len(d.buf), len(p)-n)
		d.buf = append(d.buf, p[n:n+take]...)
		n += take
		d.read += int64(take)
		if len(d.buf) == d.want {
			b := d.buf
			d.buf = d.buf[:0]
			d.err = d.step(b)
		}
	}
	return n, d.err
}

// finish returns an error if the stream has not ended where it must.
func (d *decoder) finish() error {
	if d.err == nil && !d.done {
		whole := "its end"
		if d.meta != nil {
			whole = d.meta.Checkpoint.Position.String()
		}
		d.err = query.Errorf(query.CodeCorrupt, "the stream was cut off after %d bytes, before the whole of %s", d.read, whole)
	}
	return d.err
}

func (d *decoder) count(b []byte) { d.sum = crc32.Update(d.sum, castagnoli, b) }

func (d *decoder) header(b []byte) error {
	d.count(b)
	if string(b[:4]) != streamMagic {
		return corrupt("the stream does not begin with %q", streamMagic)
	}
	if b[4] > offerVersion {
		return newer(uint64(b[4]))
	}
	size := binary.LittleEndian.Uint32(b[8:])
	d.some = b[4] == deltaVersion
	if b[4] != formatVersion && b[4] != deltaVersion || b[5]|b[6]|b[7] != 0 {
		return corrupt("the stream has no header")
	}
	if size > MaxMeta {
		return limit("a description of %d bytes, at most %d", size, MaxMeta)
	}
	if size < uint32(sumBytes) {
		return corrupt("a description of %d bytes", size)
	}
	d.want, d.step = int(size), d.text
	return nil
}

func (d *decoder) text(b []byte) (err error) {
	d.count(b)
	d.buf = nil // it may be large, and holds text that begin may keep
	if d.meta, err = parseMeta(b); err != nil {
		return err
	}
	if d.some {
		d.head = b
		d.want, d.step = mapBytes(len(d.meta.Files)), d.without
		return nil
	}
	if err := d.to.begin(d.meta, b, nil); err != nil {
		return err
	}
	return d.next()
}

// without reads the map of what is left out.
func (d *decoder) without(b []byte) error {
	d.count(b)
	d.buf = nil
	if err := checkMap(b, d.meta.Files); err != nil {
		return err
	}
	d.left = b
	text := d.head
	d.head = nil
	if err := d.to.begin(d.meta, text, b); err != nil {
		return err
	}
	return d.next()
}

// next says what comes next.
func (d *decoder) next() error {
	for ; d.file < len(d.meta.Files); d.file, d.at = d.file+1, 0 {
		f := &d.meta.Files[d.file]
		if d.left != nil && bit(d.left, d.file) {
			if err := d.to.leave(d.file); err != nil {
				return err
			}
			continue
		}
		if d.at < f.Size {
			d.want, d.step = checksumBytes+int(min(PieceSize, f.Size-d.at)), d.piece
			return nil
		}
		if f.Size == 0 {
			if err := d.to.piece(d.file, nil, true); err != nil {
				return err
			}
		}
	}
	d.want, d.step = trailerBytes, d.trailer
	return nil
}

func (d *decoder) piece(b []byte) error {
	d.count(b)
	data := b[checksumBytes:]
	f := &d.meta.Files[d.file]
	if binary.LittleEndian.Uint32(b) != pieceSum(d.file, d.at, data) {
		return corrupt("%s: the piece at %d fails its checksum", f.Name, d.at)
	}
	file, last := d.file, d.at+int64(len(data)) == f.Size
	d.at += int64(len(data))
	if err := d.to.piece(file, data, last); err != nil {
		return err
	}
	return d.next()
}

func (d *decoder) trailer(b []byte) error {
	if binary.LittleEndian.Uint32(b) != d.sum || string(b[4:]) != streamEnd {
		return corrupt("the whole stream fails its checksum")
	}
	d.done = true
	return nil
}

// sumsMatch is what a file must have to be that of the snapshot.
func sumsMatch(f *File, sum []byte) bool { return [sha256.Size]byte(sum) == f.Sum }
