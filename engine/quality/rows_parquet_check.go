package quality

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/kantadb/kanta/index/schema"
)

// The library makes room for as much as a damaged file says that it has, up to hundreds of
// gigabytes, which ends the process and cannot be recovered from. So what says how much there
// is is checked before the library reads it: the footer, and the header of each page.
const (
	maxParquetFooter = 64 << 20  // files of 10,000 row groups have some 20 MB
	maxPageHeader    = 64 << 20  // it has the least and the greatest value of the page in it, whatever their length
	maxPageBytes     = 256 << 20 // unpacked; writers make pages of 1 MB
	maxPageValues    = 1 << 24   // of a page, null or not; writers make pages of 20,000, and of nulls a row group's worth
	maxThriftDepth   = 16
	maxParquetDepth  = 64                   // of the schema: twice what becomes columns, for a list is two groups
	maxParquetLeaves = schema.MaxAttributes // columns
)

// checkFooter checks the footer of a file of a size.
func checkFooter(r io.ReaderAt, size int64) error {
	var tail [8]byte
	if _, err := r.ReadAt(tail[:], size-8); err != nil && err != io.EOF {
		return fmt.Errorf("read: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > min(size-12, maxParquetFooter) {
		return damaged(fmt.Errorf("a footer of %d bytes", n))
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if _, err := skipStruct(footer, 0); err != nil {
		return damaged(fmt.Errorf("footer: %w", err))
	}
	return checkSchema(footer)
}

// checkSchema checks the schema in a footer: a tree in preorder, each group with the number of
// its members. The library makes the path of each, from the root.
func checkSchema(footer []byte) error {
	var file struct {
		Schema []format.SchemaElement `thrift:"2,required"`
	}
	if err := guard(func() error { return thrift.Unmarshal(&thrift.CompactProtocol{}, footer, &file) }); err != nil {
		return damaged(fmt.Errorf("footer: %w", err))
	}
	var left []int32 // of each group around, the members to come
	leaves := 0
	for i := range file.Schema {
		e := &file.Schema[i]
		if len(left) > 0 {
			left[len(left)-1]--
		}
		if e.Type.Valid {
			leaves++
		} else if left = append(left, e.NumChildren.V); e.NumChildren.V < 0 {
			return damaged(fmt.Errorf("a group of %d members", e.NumChildren.V))
		}
		if len(left) > maxParquetDepth {
			return fmt.Errorf("groups nested deeper than %d: write the file with fewer levels", maxParquetDepth)
		}
		for len(left) > 0 && left[len(left)-1] == 0 {
			left = left[:len(left)-1]
		}
	}
	switch {
	case len(left) > 0:
		return damaged(fmt.Errorf("a group has %d members more than the schema", left[len(left)-1]))
	case leaves > maxParquetLeaves:
		return fmt.Errorf("%d columns, at most %d can be attributes: write the file with those that are wanted", leaves, maxParquetLeaves)
	}
	return nil
}

// checkPages checks the headers of the pages of a column in one row group.
func checkPages(r io.ReaderAt, size int64, m *format.ColumnMetaData) error {
	at := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		at = m.DictionaryPageOffset
	}
	if at < 4 || m.TotalCompressedSize < 0 || m.TotalCompressedSize > size-at {
		return fmt.Errorf("its pages lie outside of the file: %d bytes at %d", m.TotalCompressedSize, at)
	}
	buffer := make([]byte, 4<<10)
	for end := at + m.TotalCompressedSize; at < end; {
		var h format.PageHeader
		n, err := readPageHeader(r, at, end, &buffer, &h)
		if err != nil {
			return fmt.Errorf("the page at %d: %w", at, err)
		}
		at += n
		if err := checkPage(r, at, end, &h, m); err != nil {
			return fmt.Errorf("the page at %d: %w", at-n, err)
		}
		at += int64(h.CompressedPageSize)
	}
	return nil
}

// readPageHeader reads the header at a place and returns its length.
func readPageHeader(r io.ReaderAt, at, end int64, buffer *[]byte, h *format.PageHeader) (int64, error) {
	for {
		b := (*buffer)[:min(int64(len(*buffer)), end-at)]
		if _, err := r.ReadAt(b, at); err != nil && err != io.EOF {
			return 0, fmt.Errorf("read: %w", err)
		}
		n, err := skipStruct(b, 0)
		if err == nil {
			return int64(n), thrift.Unmarshal(&thrift.CompactProtocol{}, b[:n], h)
		}
		if int64(len(b)) == end-at || len(b) >= maxPageHeader {
			return 0, err
		}
		*buffer = make([]byte, 16*len(b))
	}
}

// checkPage checks a page's header, whose content starts at a place.
func checkPage(r io.ReaderAt, at, end int64, h *format.PageHeader, m *format.ColumnMetaData) error {
	values, levels := int32(0), int64(0)
	packed := true
	switch {
	case h.DataPageHeader.Valid:
		values = h.DataPageHeader.V.NumValues
	case h.DataPageHeaderV2.Valid:
		v2 := &h.DataPageHeaderV2.V
		values = v2.NumValues
		levels = int64(v2.RepetitionLevelsByteLength) + int64(v2.DefinitionLevelsByteLength)
		packed = !v2.IsCompressed.Valid || v2.IsCompressed.V
	case h.DictionaryPageHeader.Valid:
		values = h.DictionaryPageHeader.V.NumValues
	}
	size := int64(h.CompressedPageSize)
	switch {
	case size < 0 || size > end-at || h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPageBytes:
		return fmt.Errorf("%d bytes, %d unpacked", size, h.UncompressedPageSize)
	case values < 0 || values > maxPageValues || int64(values) > m.NumValues:
		return fmt.Errorf("%d values, of %d in all", values, m.NumValues)
	case levels < 0 || levels > size:
		return fmt.Errorf("%d bytes of levels in %d", levels, size)
	}
	if m.Codec != format.Snappy || !packed || size == levels {
		return nil
	}
	var start [binary.MaxVarintLen64]byte
	if _, err := r.ReadAt(start[:], at+levels); err != nil && err != io.EOF {
		return fmt.Errorf("read: %w", err)
	}
	if unpacked, n := binary.Uvarint(start[:]); n <= 0 || unpacked > maxPageBytes {
		return fmt.Errorf("%d bytes unpacked", unpacked)
	}
	return nil
}

var errThrift = errors.New("its fields end too late") //tidy:constant

// skipStruct returns how many bytes a struct at the start of b takes, in Thrift's compact
// protocol. It fails unless all that the struct says to have is there.
func skipStruct(b []byte, depth int) (int, error) {
	if depth > maxThriftDepth {
		return 0, errors.New("it is nested too deep")
	}
	for at := 0; at < len(b); {
		field := b[at]
		at++
		if field == 0 {
			return at, nil
		}
		if field>>4 == 0 { // the number of the field follows
			n, err := skipVarint(b[at:])
			if err != nil {
				return 0, err
			}
			at += n
		}
		kind := field & 15
		if kind == thriftTrue || kind == thriftFalse {
			continue // it has no bytes of its own
		}
		n, err := skipValue(b[at:], kind, depth)
		if err != nil {
			return 0, err
		}
		at += n
	}
	return 0, errThrift
}

// The kinds of values of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

func skipValue(b []byte, kind byte, depth int) (int, error) {
	size := 0
	switch {
	case kind == thriftStruct:
		return skipStruct(b, depth+1)
	case kind == thriftList || kind == thriftSet:
		return skipList(b, depth+1)
	case kind == thriftMap:
		return 0, errors.New("it has a map, which no Parquet file has")
	case kind >= thriftI16 && kind <= thriftI64:
		return skipVarint(b)
	case kind == thriftBinary:
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return 0, errThrift
		}
		return n + int(length), nil
	case kind >= thriftTrue && kind <= thriftByte:
		size = 1
	case kind == thriftDouble:
		size = 8
	case kind == thriftUUID:
		size = 16
	default:
		return 0, fmt.Errorf("it has a value of kind %d", kind)
	}
	if size > len(b) {
		return 0, errThrift
	}
	return size, nil
}

func skipList(b []byte, depth int) (int, error) {
	if len(b) == 0 {
		return 0, errThrift
	}
	count, kind, at := uint64(b[0]>>4), b[0]&15, 1
	if count == 15 {
		var n int
		if count, n = binary.Uvarint(b[1:]); n <= 0 {
			return 0, errThrift
		}
		at += n
	}
	if count > uint64(len(b)) || depth > maxThriftDepth {
		return 0, errThrift
	}
	for range count {
		n, err := skipValue(b[at:], kind, depth)
		if err != nil {
			return 0, err
		}
		at += n
	}
	return at, nil
}

func skipVarint(b []byte) (int, error) {
	if _, n := binary.Uvarint(b); n > 0 {
		return n, nil
	}
	return 0, errThrift
}
