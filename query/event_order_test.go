package query

import (
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestTerms pins the hash, which is a format.
func TestTerms(t *testing.T) {
	for _, c := range []struct {
		v    schema.Value
		want int64
	}{
		{schema.Value{}, 0},
		{schema.IntValue(7), NumberTerm(17, 7)},
		{schema.BoolValue(true), NumberTerm(17, 1)},
		{schema.StringValue("a"), TextTerm(17, []byte("a"))},
		{schema.SetValue("b", "a"), TextTerm(17, []byte("a")) + TextTerm(17, []byte("b"))},
		{schema.SetValue(), 0},
	} {
		if got := ValueTerm(17, c.v); got != c.want {
			t.Errorf("%v: %d, want %d", c.v, got, c.want)
		}
	}
	if n, s := NumberTerm(17, 7), TextTerm(17, []byte("a")); n != 4611654701708831972 || s != -4563369715003391834 {
		t.Errorf("the terms of 7 and \"a\": %d, %d", n, s)
	}
	if NumberTerm(17, 7) == NumberTerm(18, 7) || TextTerm(17, nil) == NumberTerm(17, 0) {
		t.Error("different properties have the same term")
	}
}
