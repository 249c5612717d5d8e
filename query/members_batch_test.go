package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// batches reads a listing and returns how many rows each batch had, and the most bytes that
// were held of one of them.
func batches(t *testing.T, v View, p *Prepared, fields []Field, order *Field, from uint32) (sizes []int, most int64) {
	t.Helper()
	ctx := context.Background()
	all, err := collect(ctx, v, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &listing{view: v, env: Env{}, fields: fields, people: all, order: order}
	r := &rowReader{l: l, work: &worker{view: v, cur: v.Cursor()}, key: valueReader{view: v, attr: keyAttribute}}
	defer r.work.cur.Close()
	if err := r.open(ctx); err != nil {
		t.Fatal(err)
	}
	left, rows := 0, uint64(0)
	each := func(m Member, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			sizes, left = append(sizes, r.rows), r.rows
			if r.rows == 0 || r.rows > r.most {
				t.Fatalf("a batch of %d", r.rows)
			}
			if m.Ordinal >= from {
				most = max(most, r.bytes)
			}
		}
		left, rows = left-1, rows+1
		return true
	}
	if order == nil {
		err = l.byOrdinal(ctx, r, each)
	} else {
		err = l.byValue(ctx, r, each)
	}
	if err != nil || rows != all.count || left != 0 {
		t.Fatalf("%d rows of %d, %d of the last batch are missing: %v", rows, all.count, left, err)
	}
	return sizes, most
}

// TestBatches lists people of whom some have the longest texts, in every order: what is held of
// a batch is about 64 KiB, or 32 texts.
func TestBatches(t *testing.T) {
	const people, longFrom, longTo = 6000, 4000, 5000
	profiles := map[uint32]*memProfile{}
	for i := range uint32(people) {
		mail := "m"
		if i >= longFrom && i < longTo {
			mail = strings.Repeat("x", schema.MaxStringBytes-10)
		}
		profiles[i] = &memProfile{key: fmt.Sprint("k", i), values: map[schema.AttrID]schema.Value{
			aMail: str(fmt.Sprint(mail, i)), aBorn: schema.DateValue(int64(i)), aCity: str(fmt.Sprint("city", i%4)),
		}}
	}
	v := newMemView(memSchema(), profiles, 1, true, 1)
	p, err := Prepare(context.Background(), &Const{True}, v)
	if err != nil {
		t.Fatal(err)
	}
	field := func(id schema.AttrID) Field { return Field{Attribute: *v.schema.ByID(id)} }
	long, born, city := field(aMail), field(aBorn), field(aCity)
	longest := int64(leastTexts * (schema.MaxStringBytes + 3*valueBytes))
	row := int64(5*valueBytes + 16)
	for name, c := range map[string]struct {
		fields []Field
		order  *Field
		least  int // rows of the largest batch
		most   int64
	}{
		"keys":            {nil, nil, batchSize/2 + 1, batchBytes + row*batchSize/10},
		"numbers":         {slices.Repeat([]Field{born}, 20), nil, 40, batchBytes + 25*valueBytes},
		"numbers, by one": {slices.Repeat([]Field{born}, 20), &born, 40, batchBytes + 25*valueBytes},
		"by words":        {[]Field{city}, &city, batchSize / 4, batchBytes + row*batchSize/10},
	} {
		t.Run(name, func(t *testing.T) {
			sizes, most := batches(t, v, p, c.fields, c.order, 0)
			if largest := slices.Max(sizes); largest < c.least || most > c.most {
				t.Errorf("batches of %d rows at most, and %d bytes", largest, most)
			}
		})
	}
	t.Run("texts", func(t *testing.T) {
		sizes, most := batches(t, v, p, []Field{long}, nil, longFrom+textBatch)
		if largest := slices.Max(sizes); largest < textBatch/2 || most > longest {
			t.Errorf("batches of %d rows at most, and %d bytes", largest, most)
		}
		if at := slices.Max(sizes[len(sizes)-5:]); at < textBatch/2 { // it has grown again
			t.Errorf("at the end batches of %d rows", at)
		}
	})
	t.Run("four texts", func(t *testing.T) {
		if _, most := batches(t, v, p, []Field{long, long, long, long}, nil, longFrom+textBatch); most > longest {
			t.Errorf("%d bytes", most)
		}
	})
	t.Run("texts, by them", func(t *testing.T) {
		if _, most := batches(t, v, p, []Field{long}, &long, longFrom+textBatch); most > longest+longest/4 {
			t.Errorf("%d bytes", most)
		}
	})
}
