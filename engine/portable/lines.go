package portable

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// lineReader reads lines of bounded length.
type lineReader struct {
	in  *bufio.Reader
	buf []byte
}

// next returns a line without its end, which lives until the next call. Behind the last it
// fails with io.EOF; a last line without an end was cut.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if len(l.buf)+len(part) > maxLine {
			return nil, damaged("a line", 0, "it is longer than %d bytes", maxLine)
		}
		if err == nil && len(l.buf) == 0 {
			return part[:len(part)-1], nil
		}
		l.buf = append(l.buf, part...)
		switch {
		case err == nil:
			return l.buf[:len(l.buf)-1], nil
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(l.buf) > 0:
			return nil, damaged("the end", 0, "it breaks off: %q", excerpt(l.buf))
		default:
			return nil, err
		}
	}
}

// lines are those of one section.
type lines struct {
	section string
	in      *lineReader
	of      *Reader
	sum     hash.Hash
	seen    Section
}

func newLines(section string, in *lineReader, of *Reader) *lines {
	return &lines{section: section, in: in, of: of, sum: newSum()}
}

// next returns a line, which lives until the next call; io.EOF behind the last.
func (l *lines) next() ([]byte, error) {
	line, err := l.in.next()
	if err != nil {
		return nil, err
	}
	if l.of.root == nil && bytes.HasPrefix(line, []byte(sectionStart)) {
		l.of.pending, err = sectionOf(line)
		if err == nil {
			err = io.EOF
		}
		return nil, err
	}
	l.add(line)
	return line, nil
}

func (l *lines) add(line []byte) {
	l.seen.Lines++
	l.seen.Bytes += uint64(len(line)) + 1
	l.sum.Write(line)
	l.sum.Write([]byte{'\n'})
}

// text returns the whole of the section that is a text: the schema file.
func (l *lines) text() (text []byte, err error) {
	for {
		line, err := l.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(text)+len(line) > maxText {
			return nil, l.damaged("it is longer than %d bytes", maxText)
		}
		text = append(append(text, line...), '\n')
	}
	if l.of.root != nil {
		return text, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, l.damaged("%v", err)
	}
	l.sum.Reset()
	l.sum.Write([]byte(s))
	l.seen = Section{Lines: uint64(bytes.Count([]byte(s), []byte{'\n'})), Bytes: uint64(len(s))}
	return []byte(s), nil
}

// decode reads the line at hand, strictly.
func (l *lines) decode(line []byte, v any) error {
	if err := decode(line, v); err != nil {
		return l.damaged("%v", err)
	}
	return nil
}

// decode reads the object that a line is: of the members that v has, and nothing else.
func decode(line []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if rest := line[dec.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return fmt.Errorf("there is more behind the object: %q", excerpt(rest))
	}
	return nil
}

func (l *lines) damaged(format string, args ...any) error {
	return damaged(l.section, l.seen.Lines, format, args...)
}

// end returns what the section had.
func (l *lines) end() Section {
	l.seen.SHA256 = hex.EncodeToString(l.sum.Sum(nil))
	return l.seen
}
