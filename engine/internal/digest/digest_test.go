package digest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestPinned pins hashes: the sums are stored in manifests.
func TestPinned(t *testing.T) {
	named := Named("age", 2, Fact(String("ann"), Number(41)))
	for want, got := range map[string]string{
		"bfe7d5d676b79e3c":                 fmt.Sprintf("%016x", Number(-3)),
		"0b41beba40346ebe":                 fmt.Sprintf("%016x", Text([]byte("ann"))),
		"b49e5f9d557abbad081a5c1377856b73": hex.EncodeToString(Fact(1, 2).Append(nil)),
		"eb5e6f59398c740dd9c7cd91240e012a": hex.EncodeToString(named.Append(nil)),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestOrder adds and takes away in another order, and by halves.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		facts := make([]Sum, 1+r.IntN(50))
		for i := range facts {
			facts[i] = Fact(r.Uint64(), r.Uint64())
		}
		var a, b, half Sum
		for _, f := range facts {
			a.Add(f)
		}
		extra := Fact(r.Uint64(), r.Uint64())
		b.Sub(extra)
		for i, p := range r.Perm(len(facts)) {
			if i%2 == 0 {
				half.Add(facts[p])
			} else {
				b.Add(facts[p])
			}
		}
		b.Add(half)
		b.Add(extra)
		if a != b || FromBytes(a.Append(nil)) != a {
			t.Fatalf("%v %v", a, b)
		}
		bytes := a.Bytes()
		if FromBytes(bytes[:]) != a {
			t.Fatalf("%v", a)
		}
	}
	if Named("x", 1, Sum{}) != (Sum{}) {
		t.Error("an attribute that nobody has is content")
	}
}

// TestDistinct looks for facts that are taken for each other.
func TestDistinct(t *testing.T) {
	seen := map[Sum]string{}
	note := func(s Sum, format string, args ...any) {
		name := fmt.Sprintf(format, args...)
		if other, ok := seen[s]; ok {
			t.Fatalf("%s and %s have one hash", name, other)
		}
		seen[s] = name
	}
	for who := range uint64(300) {
		for what := range uint64(100) {
			note(Fact(who, what), "%d has %d", who, what)
		}
	}
	for _, name := range []string{"", "a", "b", "ab"} {
		for kind := range uint8(9) {
			note(Named(name, kind, Sum{Lo: 1}), "%s %d", name, kind)
			note(Named(name, kind, Sum{Hi: 1}), "%s %d high", name, kind)
		}
	}
}
