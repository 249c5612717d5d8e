package keytable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Errors of what is read; test with errors.Is.
var (
	// ErrCorrupt means that a page is damaged or is another one, or that no table has so many pages.
	ErrCorrupt = errors.New("key table: corrupt")
	// ErrNewerFormat means that a newer version of this program wrote a page.
	ErrNewerFormat = errors.New("key table: page in a newer format")
)

const (
	magic      = "KNTK"
	version    = 1
	headerSize = 20

	prefixBits  = 40 // bits of a hash that are kept
	hashShift   = 64 - prefixBits
	minPageBits = prefixBits - 32 // so that a fingerprint fits 32 bits
	maxPageBits = 24              // 2^32 ordinals of 256 to a page
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// entry is the kept bits of a hash and an ordinal.
type entry struct {
	prefix  uint64
	ordinal uint32
}

func compareEntries(a, b entry) int {
	switch {
	case a.prefix < b.prefix || a.prefix == b.prefix && a.ordinal < b.ordinal:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// appendPage appends a page's stored form to dst. Entries are sorted, distinct and all of the page.
func appendPage(dst []byte, pageBits, number int, entries []entry) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version, byte(pageBits), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(number))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(entries)))
	dst = append(dst, 0, 0, 0, 0)
	mask := uint64(1)<<(prefixBits-pageBits) - 1
	for _, e := range entries {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(e.prefix&mask))
	}
	for _, e := range entries {
		dst = binary.LittleEndian.AppendUint32(dst, e.ordinal)
	}
	binary.LittleEndian.PutUint32(dst[start+16:], checksum(dst[start:]))
	return dst
}

func checksum(page []byte) uint32 {
	return crc32.Update(crc32.Checksum(page[:16], castagnoli), castagnoli, page[headerSize:])
}

// decodePage checks page number of a table of 2^pageBits pages and returns its
// fingerprints followed by its ordinals, in memory of its own.
func decodePage(b []byte, pageBits, number int) ([]uint32, error) {
	corrupt := func(what string) error {
		return fmt.Errorf("%w: page %d: %s", ErrCorrupt, number, what)
	}
	if len(b) < headerSize || string(b[:4]) != magic {
		return nil, corrupt("no page")
	}
	if b[4] > version {
		return nil, fmt.Errorf("%w: page %d: version %d", ErrNewerFormat, number, b[4])
	}
	if binary.LittleEndian.Uint32(b[16:]) != checksum(b) {
		return nil, corrupt("checksum")
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if b[4] != version || int(b[5]) != pageBits || b[6]|b[7] != 0 || binary.LittleEndian.Uint32(b[8:]) != uint32(number) ||
		uint64(len(b)) != headerSize+8*uint64(n) {
		return nil, corrupt("header")
	}
	words := make([]uint32, 2*int(n))
	b = b[headerSize:]
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	fps, ords := words[:n], words[n:]
	if n > 0 && uint64(fps[n-1])>>(prefixBits-pageBits) != 0 {
		return nil, corrupt("fingerprint")
	}
	for i := 1; i < len(fps); i++ {
		if fps[i-1] >= fps[i] && (fps[i-1] > fps[i] || ords[i-1] >= ords[i]) {
			return nil, corrupt("order")
		}
	}
	return words, nil
}
