package query

import (
	"encoding/hex"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/index/schema"
)

// TestActHash pins the bytes that are hashed: they are a format.
func TestActHash(t *testing.T) {
	for _, c := range []struct {
		v    schema.Value
		want string
	}{
		{schema.Value{}, ""},
		{schema.IntValue(7), "11000000" + "0700000000000000"},
		{schema.BoolValue(true), "11000000" + "0100000000000000"},
		{schema.StringValue("ab"), "11000000" + "02000000" + "6162"},
		{schema.SetValue("b", "a"), "11000000" + "02000000" + "01000000" + "61" + "01000000" + "62"},
		{schema.SetValue(), ""},
	} {
		var h ActHash
		h.Value(17, c.v)
		b, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if h.Sum() != xxhash.Sum64(b) {
			t.Errorf("%v: hashed %x, want %x", c.v, h.bytes, b)
		}
		h.Ordered(18, 1)
		h.Reset()
		if h.Sum() != xxhash.Sum64(nil) {
			t.Errorf("%v: Reset leaves %x", c.v, h.bytes)
		}
	}
}
