package query

import (
	"context"
	"encoding/base64"
	"encoding/binary"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// A listing's cursor is the place of the last member seen, so that it means the same
// after writes: the listing goes on behind that value and ordinal. Its text is opaque to
// callers: unpadded base64url of
//
//	1 byte    version: 1
//	1 byte    flags: 1 ordered by an attribute, 2 descending, 4 the value is absent
//	4 bytes   ordinal, little endian
//	          and if ordered:
//	4 bytes   attribute id, little endian; of a computed one what [Field] has instead
//	          and unless absent:
//	8 bytes   the ordered form, little endian (strings: none)
//	rest      the bytes of a string (other kinds: none)
const (
	cursorVersion = 1
	cursorOrdered = 1
	cursorDesc    = 2
	cursorAbsent  = 4
)

// cursorText writes a place of a listing ordered by order, or by ordinal if that is nil.
func cursorText(p place, order *schema.Attribute, desc bool) string {
	flags := byte(0)
	if order != nil {
		flags |= cursorOrdered
		if desc {
			flags |= cursorDesc
		}
		if p.absent {
			flags |= cursorAbsent
		}
	}
	b := append(make([]byte, 0, 32), cursorVersion, flags)
	b = binary.LittleEndian.AppendUint32(b, p.ordinal)
	if order != nil {
		b = binary.LittleEndian.AppendUint32(b, uint32(order.ID))
		switch {
		case p.absent:
		case order.Kind == schema.String:
			b = append(b, p.text...)
		default:
			b = binary.LittleEndian.AppendUint64(b, uint64(p.num))
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// CursorBehind returns the cursor behind a member of a listing ordered by order, of which it has
// value; nil is the order of arrival.
func CursorBehind(ordinal uint32, order *schema.Attribute, value schema.Value, desc bool) string {
	p := place{set: true, ordinal: ordinal}
	if order != nil {
		p.value(value)
	}
	return cursorText(p, order, desc)
}

// parseCursor is the inverse of cursorText. It refuses a cursor of another order.
func parseCursor(text string, order *schema.Attribute, desc bool) (place, error) {
	bad := Errorf(CodeInvalid, "this is not a cursor of a listing in this order")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 6 { // the shortest of all
		return place{}, bad
	}
	if b[0] != cursorVersion {
		return place{}, Errorf(CodeNewerFormat, "the cursor has format %d, this version knows %d", b[0], cursorVersion)
	}
	flags := b[1]
	if b = b[2:]; flags > cursorOrdered|cursorDesc|cursorAbsent {
		return place{}, bad
	}
	p := place{set: true, ordinal: binary.LittleEndian.Uint32(b)}
	b = b[4:]
	if order == nil {
		if flags != 0 || len(b) != 0 {
			return place{}, bad
		}
		return p, nil
	}
	if flags&cursorOrdered == 0 || flags&cursorDesc != 0 != desc || len(b) < 4 ||
		binary.LittleEndian.Uint32(b) != uint32(order.ID) {
		return place{}, bad
	}
	b = b[4:]
	p.absent = flags&cursorAbsent != 0
	switch {
	case p.absent:
		if len(b) != 0 {
			return place{}, bad
		}
	case order.Kind == schema.String:
		p.text = b
	case len(b) == 8:
		p.num = int64(binary.LittleEndian.Uint64(b))
	default:
		return place{}, bad
	}
	return p, nil
}

// startOf returns the place behind which a listing starts.
func startOf(ctx context.Context, view View, order *Field, o MembersOptions) (place, error) {
	switch {
	case o.After != "" && o.AfterKey != "":
		return place{}, Errorf(CodeInvalid, "a listing continues after a cursor or after a key, not both")
	case o.After != "":
		return parseCursor(o.After, order.attribute(), o.Desc)
	case o.AfterKey == "":
		return place{}, nil
	}
	found, err := view.Find(ctx, schema.KeyAttr, o.AfterKey)
	if err != nil {
		return place{}, err
	}
	if len(found) == 0 {
		return place{}, Errorf(CodeUnknownName, "no profile has the key %q", o.AfterKey)
	}
	p := place{set: true, ordinal: found[0]}
	if order == nil {
		return p, nil
	}
	w := &worker{view: view, env: envOf(o.Options), cur: view.Cursor()}
	defer w.cur.Close()
	r, err := newFieldReader(ctx, view, order)
	if err != nil {
		return place{}, err
	}
	var v [1]schema.Value
	if err := w.begin(int(p.ordinal >> bitmap.ChunkBits)); err != nil {
		return place{}, err
	}
	if err := r.read(ctx, w, []uint16{uint16(p.ordinal)}, v[:], 1); err != nil {
		return place{}, err
	}
	p.value(v[0])
	return p, nil
}

// value gives a place its value.
func (p *place) value(v schema.Value) {
	p.absent, p.num, p.text = v.IsAbsent(), v.Ordered(), []byte(v.Str())
}
