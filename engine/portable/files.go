package portable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/query"
)

// zstdMagic is how a compressed file begins.
const zstdMagic = "\x28\xb5\x2f\xfd"

// maxWindow bounds what unpacking keeps of a file: ours keep 8 MiB.
const maxWindow = 64 << 20

// fileName returns the name of a section's file, without the ending of compressed ones.
func fileName(section string) string {
	switch section {
	case secExport, secManifest:
		return section + ".json"
	case secSchema:
		return section + ".toml"
	}
	return section + ".ndjson"
}

// ToDirectory returns what [NewWriter] takes, for an export into an empty directory, or
// one that is made.
func ToDirectory(dir string, compress bool) (create func(section string) (io.WriteCloser, error), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, query.Errorf(query.CodeInvalid, "%s is not empty: name a directory that is not there yet", dir)
	}
	return func(section string) (io.WriteCloser, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		name := fileName(section)
		compress := compress && name == section+".ndjson"
		if compress {
			name += ".zst"
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, err
		}
		return newOutput(f, compress)
	}, nil
}

// output is a section's file.
type output struct {
	*bufio.Writer
	packed *zstd.Encoder // or nil
	file   *os.File
}

func newOutput(f *os.File, compress bool) (*output, error) {
	if !compress {
		return &output{bufio.NewWriterSize(f, 256<<10), nil, f}, nil
	}
	z, err := zstd.NewWriter(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &output{bufio.NewWriterSize(z, 256<<10), z, f}, nil
}

// Close makes the file durable: the manifest, which comes last, says that all are.
func (o *output) Close() error {
	err := o.Flush()
	if o.packed != nil {
		err = errors.Join(err, o.packed.Close())
	}
	return errors.Join(err, o.file.Sync(), o.file.Close())
}

// ToStream returns what [NewWriter] takes, for an export as one stream.
func ToStream(w io.Writer) (create func(section string) (io.WriteCloser, error)) {
	return func(section string) (io.WriteCloser, error) {
		_, err := io.WriteString(w, sectionStart+`"`+section+"\"}\n")
		if section == secSchema {
			return &quoted{w: w}, err
		}
		return unclosed{w}, err
	}
}

// sectionStart begins the line before a section, and no other.
const sectionStart = `{"section":`

// unclosed is a section of a stream, which others follow.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// quoted is a section that stands in the stream as one JSON string.
type quoted struct {
	w    io.Writer
	text []byte
}

func (q *quoted) Write(b []byte) (int, error) {
	q.text = append(q.text, b...)
	return len(b), nil
}

func (q *quoted) Close() error {
	_, err := q.w.Write(append(AppendString(nil, q.text), '\n'))
	return err
}

// Reader reads an export section by section. It belongs to one goroutine. Close it.
type Reader struct {
	root    *os.Root // of a directory, or nil
	left    []string // sections of the directory to come
	stream  *lineReader
	pending string // the section whose head was read
	unpack  *zstd.Decoder
	file    fs.File
}

// OpenDirectory opens an export that is a directory. Only files with the names of sections
// are read, never what a link leads to.
func OpenDirectory(dir string) (*Reader, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if _, err := root.Lstat(fileName(secManifest)); err != nil {
		e := query.Errorf(query.CodeInvalid, "%s has no complete export: there is no %s", dir, fileName(secManifest))
		return nil, errors.Join(e, root.Close())
	}
	return &Reader{root: root, left: sections()}, nil
}

// OpenStream opens an export that is one stream, compressed or not.
func OpenStream(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	out := &Reader{}
	magic, err := in.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read: %w", err)
	}
	if string(magic) == zstdMagic {
		if in, err = out.decompress(in); err != nil {
			return nil, err
		}
	}
	out.stream = &lineReader{in: in}
	line, err := out.stream.next()
	if err == nil {
		out.pending, err = sectionOf(line)
	}
	if err != nil || out.pending != secExport {
		return nil, errors.Join(query.Errorf(query.CodeInvalid, "this is not an export of a store: it does not begin as one does"), out.Close())
	}
	return out, nil
}

func (r *Reader) decompress(in io.Reader) (*bufio.Reader, error) {
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	r.unpack = z
	return bufio.NewReaderSize(z, 256<<10), nil
}

// Close ends the reading.
func (r *Reader) Close() error {
	err := r.closeFile()
	if r.root != nil {
		err = errors.Join(err, r.root.Close())
	}
	return err
}

func (r *Reader) closeFile() (err error) {
	if r.unpack != nil {
		r.unpack.Close()
		r.unpack = nil
	}
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	return err
}

// next returns the name of the next section and its lines, io.EOF behind the last. The
// section before must have been read to its end.
func (r *Reader) next() (*lines, error) {
	if r.root == nil {
		section := r.pending
		if r.pending = ""; section == "" {
			return nil, io.EOF
		}
		return newLines(section, r.stream, r), nil
	}
	if err := r.closeFile(); err != nil {
		return nil, err
	}
	for len(r.left) > 0 {
		section := r.left[0]
		r.left = r.left[1:]
		in, err := r.openFile(fileName(section))
		if errors.Is(err, fs.ErrNotExist) && section == secQuarantine {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the export, %s: %w", section, err)
		}
		return newLines(section, &lineReader{in: in}, r), nil
	}
	return nil, io.EOF
}

// openFile opens a section's file, compressed or not.
func (r *Reader) openFile(name string) (*bufio.Reader, error) {
	for _, ending := range []string{"", ".zst"} {
		info, err := r.root.Lstat(name + ending)
		if errors.Is(err, fs.ErrNotExist) && ending == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, query.Errorf(query.CodeInvalid, "%s is no regular file", name+ending)
		}
		if r.file, err = r.root.Open(name + ending); err != nil {
			return nil, err
		}
		if ending != "" {
			return r.decompress(r.file)
		}
		return bufio.NewReaderSize(r.file, 256<<10), nil
	}
	return nil, fs.ErrNotExist
}

// sectionOf returns the section that a line stands before.
func sectionOf(line []byte) (string, error) {
	for _, section := range sections() {
		if string(line) == sectionStart+`"`+section+`"}` {
			return section, nil
		}
	}
	return "", query.Errorf(query.CodeCorrupt, "the export: %q begins no section", excerpt(line))
}
