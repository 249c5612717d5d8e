package dict

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestDict does the same to a dictionary and to a slice.
func TestDict(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	d := New(testName)
	var want []string
	for range 5000 {
		s := fmt.Sprint("s", r.IntN(400))
		code, ok := d.Code(s)
		if again, too := d.CodeOf([]byte(s)); again != code || too != ok {
			t.Fatal("Code and CodeOf differ")
		}
		switch {
		case ok && want[code] != s:
			t.Fatalf("%s has code %d, which is %s", s, code, want[code])
		case !ok && r.IntN(3) > 0:
			if got := d.Add(s); int(got) != len(want) {
				t.Fatalf("code %d, want %d", got, len(want))
			}
			want = append(want, s)
		case r.IntN(40) == 0:
			n := len(want) - r.IntN(min(len(want), 20)+1)
			d.Truncate(n)
			want = want[:n]
		}
		if d.Len() != len(want) || len(d.Strings()) != len(want) || len(d.Hashes()) != len(want) {
			t.Fatalf("%d strings, want %d", d.Len(), len(want))
		}
		if code := r.IntN(500); code < len(want) != (d.String(uint32(code)) != "") {
			t.Fatalf("code %d of %d: %q", code, len(want), d.String(uint32(code)))
		}
	}
	d.Truncate(0)
	if d.Bytes() != 0 {
		t.Errorf("an empty dictionary takes %d bytes", d.Bytes())
	}
}

// TestReadersKeepTheirStrings truncates and adds while readers hold what they got: no
// string changes under them.
func TestReadersKeepTheirStrings(t *testing.T) {
	d := New(testName)
	for i := range 100 {
		d.Add(fmt.Sprint("first ", i))
	}
	held := d.Strings()
	d.Truncate(50)
	for i := range 50 {
		d.Add(fmt.Sprint("second ", i))
	}
	if held[70] != "first 70" {
		t.Fatalf("a string became %q", held[70])
	}
	var users sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for range 300 {
				for i, s := range d.Strings() {
					if c, ok := d.Code(s); ok && int(c) != i && i < 50 {
						t.Errorf("%s has code %d", s, c)
					}
				}
			}
		})
	}
	for i := range 300 {
		d.Add(fmt.Sprint("more ", i))
		if i%3 == 0 {
			d.Truncate(60)
		}
	}
	users.Wait()
}

func testName(s []byte) (h [16]byte) {
	d := sha256.Sum256(s)
	copy(h[:], d[:])
	return h
}
