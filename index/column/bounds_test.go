package column

import "testing"

// TestBounds does what only a bug of a caller does: it must not pass for an answer.
func TestBounds(t *testing.T) {
	constant, err := DecodeInts(EncodeInts(nil, []int64{7, 7}, nil))
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 1<<20+1)
	long := make([][]byte, BlockSize)
	for i := range long {
		long[i] = large
	}
	for name, f := range map[string]func(){
		"a value before the first":  func() { constant.At(-1) },
		"one behind the last":       func() { constant.At(2) },
		"a block of too many":       func() { EncodeInts(nil, make([]int64, BlockSize+1), nil) },
		"texts of more than 4 GiB":  func() { EncodeStrings(nil, long) },
		"a block of too many texts": func() { EncodeStrings(nil, make([][]byte, BlockSize+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it has an answer")
				}
			}()
			f()
		})
	}
}
