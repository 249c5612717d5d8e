package replica

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/kantadb/kanta/query"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// What a control entry begins with, and its kinds. The package comment specifies them.
const (
	controlVersion = 1

	controlMark    = 1
	controlVerdict = 2
	controlTerm    = 3
)

// The sizes of control entries.
const (
	markSize    = 2 + 4
	verdictSize = 2 + 8 + 8 + 8 + 16 + 16 + 4
)

// verdict is what a leader has found at a mark. Every member that was given the mark must have
// found the same.
type verdict struct {
	mark     uint64 // the log index of the mark
	position query.Position
	chain    [16]byte
	replica  [16]byte
}

// control is a control entry.
type control struct {
	kind    byte
	verdict *verdict // of controlVerdict
}

// encode returns the extensions of the entry.
func (c control) encode() []byte {
	b := append(make([]byte, 0, verdictSize), controlVersion, c.kind)
	if v := c.verdict; v != nil {
		b = binary.LittleEndian.AppendUint64(b, v.mark)
		b = binary.LittleEndian.AppendUint64(b, v.position.Epoch)
		b = binary.LittleEndian.AppendUint64(b, v.position.Applied)
		b = append(append(b, v.chain[:]...), v.replica[:]...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeControl reads the extensions of an entry without data.
func decodeControl(b []byte) (c control, err error) {
	damaged := func() error {
		return query.Errorf(query.CodeCorrupt, "a control entry of %d bytes is damaged", len(b))
	}
	if len(b) < markSize || len(b) > verdictSize {
		return c, damaged()
	}
	if b[0] != controlVersion {
		return c, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("a control entry is of version %d; this program reads version %d", b[0], controlVersion),
			Hint: "use the version of Kanta that the leader has"}
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return c, damaged()
	}
	switch {
	case (b[1] == controlMark || b[1] == controlTerm) && len(b) == markSize:
		return control{kind: b[1]}, nil
	case b[1] == controlVerdict && len(b) == verdictSize:
		v := &verdict{mark: binary.LittleEndian.Uint64(b[2:])}
		v.position = query.Position{Epoch: binary.LittleEndian.Uint64(b[10:]), Applied: binary.LittleEndian.Uint64(b[18:])}
		copy(v.chain[:], b[26:])
		copy(v.replica[:], b[42:])
		return control{kind: b[1], verdict: v}, nil
	}
	return c, damaged()
}
