package timeline

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// decoder reads what has no fixed length. The first thing that does not fit is its error;
// it yields zeros from there on.
type decoder struct {
	what string // is read
	b    []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = corrupt("%s: %s", d.what, fmt.Sprintf(format, args...))
		d.b = nil
	}
}

// uvarint reads a number that is at most top.
func (d *decoder) uvarint(top uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > top || n > 1 && d.b[n-1] == 0 {
		d.fail("a number is missing, above %d or longer than it must be", top)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint(math.MaxUint64)
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("it ends early")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// frame reads what [piece.appendFrame] wrote of count numbers, of which none may exceed most.
func (d *decoder) frame(count int, origin, most int64, units bool) piece {
	least, top, unit := origin+d.varint(), d.uvarint(math.MaxUint64), uint64(1)
	if units && top > 0 {
		unit = d.uvarint(math.MaxUint64)
	}
	over, span := bits.Mul64(top, unit)
	if least > most || over != 0 || span > uint64(most)-uint64(least) || unit == 0 {
		d.fail("numbers from %d on, up to %d times %d more", least, top, unit)
	}
	return pieceOf(count, least, top, unit)
}
