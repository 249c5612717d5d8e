package timeline

import "encoding/binary"

func pieceOf(count int, least int64, top, unit uint64) piece {
	return piece{count: uint16(count), min: least, top: top, unit: unit, width: uint8(widthOf(top))}
}

func (p *piece) max() int64 { return p.min + int64(p.top*p.unit) }

// frameOf prepares numbers, as uint64, for packing: as multiples of a unit above the least,
// of the greatest unit there is if units are wanted. There is at least one.
func frameOf(numbers []uint64, least int64, units bool) piece {
	unit, top := uint64(0), uint64(0)
	for i, v := range numbers {
		v -= uint64(least)
		numbers[i], top = v, max(top, v)
		if units && unit != 1 {
			unit = gcd(unit, v)
		}
	}
	if unit = max(unit, 1); unit > 1 {
		for i := range numbers {
			numbers[i] /= unit
		}
	}
	return pieceOf(len(numbers), least, top/unit, unit)
}

// gcd returns the greatest common divisor; that of 0 and a number is the number.
func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// appendFrame appends what is needed to read packed numbers.
func (p *piece) appendFrame(dst []byte, origin int64, units bool) []byte {
	dst = binary.AppendVarint(dst, p.min-origin)
	dst = binary.AppendUvarint(dst, p.top)
	if units && p.top > 0 {
		dst = binary.AppendUvarint(dst, p.unit)
	}
	return dst
}
