package engine

import (
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// TestLogPlace is the format of how far a store has the replicated log.
func TestLogPlace(t *testing.T) {
	id := strings.Repeat("0f", 16)
	first := append(append([]byte{1}, []byte(strings.Repeat("\x0f", 16))...), 0xac, 2, 2)
	second := append(append(append([]byte{2}, first[1:]...), 3, 5), "2026a"...)
	for at, want := range map[logPlace][]byte{
		{300, 2, firstVersion}: first,
		{300, 2, query.ClusterVersion{Number: 3, Zones: "2026a"}}: second,
	} {
		b := appendLogPlace(nil, id, at)
		if !reflect.DeepEqual(b, want) {
			t.Fatalf("%x, want %x", b, want)
		}
		if got, ok, err := readLogPlace(b, id); err != nil || !ok || got != at {
			t.Errorf("%+v %v %v", got, ok, err)
		}
		if at, ok, err := readLogPlace(b, strings.Repeat("0e", 16)); err != nil || ok || at != (logPlace{}) {
			t.Errorf("of another store: %+v %v %v", at, ok, err)
		}
		for n := range b {
			if _, _, err := readLogPlace(b[:n], id); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
				t.Errorf("cut at %d: %v", n, err)
			}
		}
		if _, _, err := readLogPlace(append(b, 0), id); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("with a byte more: %v", err)
		}
		b[0] = 3
		if _, _, err := readLogPlace(b, id); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
			t.Errorf("version 3: %v", err)
		}
	}
}

const errSystem = syscall.EIO

// TestIsDecision tells what every replica comes to from what is of one machine.
func TestIsDecision(t *testing.T) {
	io := kv.Coded(errSystem, "the disk")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{query.Errorf(query.CodeRefused, "rows fail"), true},
		{query.Errorf(query.CodeConflict, "in use"), true},
		{query.Errorf(query.CodeDenied, "it is of somebody else"), true},
		{&query.Error{Code: query.CodeConflict, Message: "would not compile", Err: query.Errorf(query.CodeSyntax, "here")}, true},
		{query.Errorf(query.CodeIO, "no room"), false},
		{query.Errorf(query.CodeBudget, "no memory"), false},
		{query.Errorf(query.CodeCorrupt, "bits"), false},
		{query.Errorf(query.CodeNewerFormat, "what is this"), false},
		{query.Errorf(query.CodeConflict, "would not compile: %w", io), false},
		{query.Errorf(query.CodeConflict, "would not compile: %w", errSystem), false},
		{errSystem, false},
		{errors.New("something"), false},
	} {
		if got := isDecision(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// FuzzLogPlace reads what may be damaged: what is read is what is written of it again.
func FuzzLogPlace(f *testing.F) {
	id := strings.Repeat("0f", 16)
	f.Add(appendLogPlace(nil, id, logPlace{300, 2, firstVersion}))
	f.Add(appendLogPlace(nil, strings.Repeat("0e", 16), logPlace{1 << 63, 0, query.ClusterVersion{Number: 2, Zones: "2026a"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, ok, err := readLogPlace(b, id)
		if err != nil || !ok {
			if at != (logPlace{}) && err == nil {
				t.Fatalf("%x is of another store, at %+v", b, at)
			}
			return
		}
		if again, ok, err := readLogPlace(appendLogPlace(nil, id, at), id); again != at || !ok || err != nil {
			t.Fatalf("%+v again %+v %v %v", at, again, ok, err)
		}
	})
}
