package base

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// That folding, reading and the cache are right is tested in package view, where they
// meet the head.

func id() keys.Unit { return keys.Unit{Attr: 17, Shard: 2, Generation: 9} }

func example() *Unit {
	return &Unit{ID: id(), Class: effect.Code, Folded: 300, Covered: 4097, Present: 5, Content: digest.Sum{Lo: 1}, Replica: digest.Sum{Lo: 2},
		Columns: 70, Bitmaps: 90, Codes: []uint32{3, 10}, Cards: []uint32{2, 3}}
}

func facts(u *Unit) []any {
	return []any{u.ID, u.Class, u.Folded, u.Covered, u.Present, u.Content, u.Replica, u.Columns, u.Bitmaps, u.Codes, u.Cards}
}

func TestManifestGolden(t *testing.T) {
	want := docExamples(t, "Worked example")[0]
	if got := example().manifest(); !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%x\nthe package comment has\n%x", got, want)
	}
	u, err := OpenUnit(id(), want, nil)
	if err != nil || !reflect.DeepEqual(facts(u), facts(example())) {
		t.Fatalf("%+v %v", u, err)
	}
	if u.Card(3) != 2 || u.Card(10) != 3 || u.Card(4) != 0 {
		t.Fatalf("cards %v", u.Cards)
	}
}

// reseal gives changed bytes a right checksum.
func reseal(b []byte) []byte {
	body := b[:len(b)-4]
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func TestManifestNewerAndDamaged(t *testing.T) {
	good := example().manifest()
	for _, at := range []int{0, 1} { // the seal's version and the manifest's
		newer := bytes.Clone(good)
		newer[at]++
		if _, err := OpenUnit(id(), reseal(newer), nil); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
			t.Errorf("version 2 at %d: %v", at, err)
		}
	}
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		_, err := OpenUnit(id(), bad, nil)
		if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
		if !strings.Contains(err.Error(), "attribute 17, shard 2") {
			t.Fatalf("%q does not say where", err)
		}
	}
}

func FuzzOpenUnit(f *testing.F) {
	f.Add(example().manifest())
	f.Add((&Unit{Class: effect.Int}).manifest())
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := OpenUnit(id(), kv.Seal(nil, b), nil)
		if err != nil {
			return
		}
		again, err := OpenUnit(id(), u.manifest(), nil)
		if err != nil || !reflect.DeepEqual(facts(u), facts(again)) {
			t.Fatalf("%v\n%+v\n%+v", err, u, again)
		}
	})
}
