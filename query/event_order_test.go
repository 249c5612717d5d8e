package query

import (
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// TestActHash pins the hash, which is a format: the order of stored events is by it.
func TestActHash(t *testing.T) {
	var h ActHash
	f := func(want []byte, add func()) {
		t.Helper()
		h.Reset()
		if add(); h.Sum() != xxhash.Sum64(want) {
			t.Errorf("the hash is not that of % x", want)
		}
	}
	le := binary.LittleEndian
	number := le.AppendUint64(le.AppendUint32(nil, 17), 1<<64-7)
	text := append(le.AppendUint32(le.AppendUint32(nil, 18), 2), "hi"...)
	set := append(le.AppendUint32(append(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 19), 2), 1), "a"...), 0), ""...)
	f(nil, func() {})
	f(number, func() { h.Value(17, schema.IntValue(-7)) })
	f(text, func() { h.Value(18, schema.StringValue("hi")) })
	f(append(number, text...), func() { h.Ordered(17, -7); h.Text(18, "hi") })
	f(set, func() { h.Set(19, []string{"a", ""}) })
	f(nil, func() { h.Value(17, schema.Value{}); h.Value(19, schema.SetValue()) })
	f(le.AppendUint64(le.AppendUint32(nil, 17), 1), func() { h.Value(17, schema.BoolValue(true)) })

	h.Reset()
	h.Value(17, schema.DecimalValue(1250, 2))
	h.Value(18, schema.StringValue("Tampere"))
	h.Value(19, schema.SetValue("a", "b"))
	if got, want := h.Sum(), uint64(0xb1552c3904206db1); got != want {
		t.Errorf("the worked example has the hash %#x, want %#x", got, want)
	}
}
