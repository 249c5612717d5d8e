package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// different says where two answers differ, "" if they are the same. How long something took is
// not compared, nor what nobody outside can see; a list of nothing is as good as none. How many
// bytes were read changes while the store settles what was written: it is compared whether there
// were any.
func different(a, b any) string {
	return differ("", reflect.ValueOf(a), reflect.ValueOf(b))
}

func differ(path string, a, b reflect.Value) string {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return fmt.Sprintf("%s: %v and %v", path, a, b)
	}
	if !a.IsValid() {
		return ""
	}
	if says, same := special(a, b); says {
		if !same {
			return fmt.Sprintf("%s: %v and %v", path, a, b)
		}
		return ""
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return fmt.Sprintf("%s: %v and %v", path, a, b)
			}
			return ""
		}
		return differ(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() || f.Name == "Elapsed" {
				continue
			}
			if f.Name == "BytesRead" && a.Field(i).IsZero() == b.Field(i).IsZero() {
				continue
			}
			if d := differ(path+"."+f.Name, a.Field(i), b.Field(i)); d != "" {
				return d
			}
		}
		return ""
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: %d and %d of them", path, a.Len(), b.Len())
		}
		for i := range a.Len() {
			if d := differ(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); d != "" {
				return d
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: %v and %v", path, a, b)
		}
		for _, k := range a.MapKeys() {
			if d := differ(fmt.Sprintf("%s[%v]", path, k), a.MapIndex(k), b.MapIndex(k)); d != "" {
				return d
			}
		}
		return ""
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		return fmt.Sprintf("%s: %v and %v", path, a, b)
	}
	return ""
}

// special compares what says itself when it is equal.
func special(a, b reflect.Value) (says, same bool) {
	switch x := a.Interface().(type) {
	case time.Time:
		return true, x.Equal(b.Interface().(time.Time)) && x.Location() == b.Interface().(time.Time).Location()
	case schema.Value:
		return true, x.Equal(b.Interface().(schema.Value))
	case *roaring.Bitmap:
		return true, x.Equals(b.Interface().(*roaring.Bitmap))
	case *schema.Schema:
		y := b.Interface().(*schema.Schema)
		return true, bytes.Equal(schema.AppendSchema(nil, x), schema.AppendSchema(nil, y)) && different(x.Lent, y.Lent) == ""
	}
	return false, false
}

// differentErrors says how two errors differ for whoever handles or reads them.
func differentErrors(a, b error) string {
	var x, y *query.Error
	switch {
	case (a == nil) != (b == nil):
		return fmt.Sprintf("%v and %v", a, b)
	case a == nil:
		return ""
	case a.Error() != b.Error():
		return fmt.Sprintf("%q and %q", a, b)
	case errors.As(a, &x) != errors.As(b, &y):
		return fmt.Sprintf("%T and %T", a, b)
	}
	if x == nil {
		return ""
	}
	for code := query.CodeInternal; code <= query.CodeUnavailable; code++ {
		if is := (&query.Error{Code: code}); errors.Is(a, is) != errors.Is(b, is) {
			return fmt.Sprintf("%v: code %d: %v and %v", a, code, errors.Is(a, is), errors.Is(b, is))
		}
	}
	if x.Pretty() != y.Pretty() || x.Hint != y.Hint || x.Span != y.Span || x.RetryAfter != y.RetryAfter {
		return fmt.Sprintf("%s and %s", x.Pretty(), y.Pretty())
	}
	return ""
}
