package syntax

import (
	"archive/zip"
	"bytes"
	_ "embed" // the zone database
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/kantadb/kanta/index/schema"
)

// zoneinfo is the zone database of the Go release that go.mod names. It is pinned
// because the standard library prefers the machine's files, and then two machines
// could disagree about what day it is.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// ZoneRelease is the release of the zone database, as its makers call it. Replicas decide by it: another one
// is another cluster version (package engine), and the one before stays beside it as long as that version is known.
const ZoneRelease = "2025c"

var dateType = types.NewObjectType("date", traits.AdderType, traits.SubtractorType, traits.ComparerType) //tidy:constant

const day = 24 * time.Hour

// zones finds time zones in the embedded database. It is safe for concurrent use.
type zones struct {
	once   sync.Once
	files  map[string]*zip.File
	err    error
	loaded sync.Map // name -> *time.Location
}

// find returns a zone by its IANA name; "UTC" always exists, the machine's own never does.
func (z *zones) find(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	if l, ok := z.loaded.Load(name); ok {
		return l.(*time.Location), nil
	}
	z.once.Do(z.index)
	if z.err != nil {
		return nil, z.err
	}
	f, ok := z.files[name]
	if !ok {
		return nil, fmt.Errorf("there is no time zone %q", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	l, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", name, err)
	}
	z.loaded.Store(name, l)
	return l, nil
}

func (z *zones) index() {
	r, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		z.err = fmt.Errorf("zone database: %w", err)
		return
	}
	z.files = make(map[string]*zip.File, len(r.File))
	for _, f := range r.File {
		if !f.FileInfo().IsDir() {
			z.files[f.Name] = f
		}
	}
}

// names returns the names of all zones, for suggestions.
func (z *zones) names() []string {
	z.once.Do(z.index)
	out := make([]string, 0, len(z.files))
	for n := range z.files {
		out = append(out, n)
	}
	return out
}

// date is a calendar day as CEL's interpreter sees it: days since 1970-01-01.
type date int64

// dateOf returns the day that an instant falls on in a zone.
func dateOf(t time.Time, l *time.Location) date {
	y, m, d := t.In(l).Date()
	return date(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// parseDate reads 2006-01-02, years 1 to 9999.
func parseDate(s string) (date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return 0, fmt.Errorf("%q is no date: write it as 2024-12-31", s)
	}
	return dateOf(t, time.UTC), nil
}

// shift moves a date by a duration of whole days.
func (d date) shift(by time.Duration) ref.Val {
	if by%day != 0 {
		return types.NewErr("a date moves by whole days")
	}
	n := int64(d) + int64(by/day)
	if n < schema.MinDate || n > schema.MaxDate {
		return types.NewErr("date out of range")
	}
	return date(n)
}

// Add implements traits.Adder: a date and a duration.
func (d date) Add(other ref.Val) ref.Val {
	if by, ok := other.(types.Duration); ok {
		return d.shift(by.Duration)
	}
	return types.MaybeNoSuchOverloadErr(other)
}

// Subtract implements traits.Subtractor: a duration, or a date.
func (d date) Subtract(other ref.Val) ref.Val {
	switch o := other.(type) {
	case types.Duration:
		return d.shift(-o.Duration)
	case date:
		n := int64(d - o)
		if n > maxDays || n < -maxDays {
			return types.NewErr("duration out of range")
		}
		return types.Duration{Duration: time.Duration(n) * day}
	}
	return types.MaybeNoSuchOverloadErr(other)
}

// maxDays is the longest duration in days: a duration counts nanoseconds in 64 bits.
const maxDays = int64(1<<63-1) / int64(day)

// Compare implements traits.Comparer.
func (d date) Compare(other ref.Val) ref.Val {
	o, ok := other.(date)
	switch {
	case !ok:
		return types.MaybeNoSuchOverloadErr(other)
	case d < o:
		return types.IntNegOne
	case d > o:
		return types.IntOne
	}
	return types.IntZero
}

// Equal implements ref.Val.
func (d date) Equal(other ref.Val) ref.Val { return types.Bool(d == other) }

// ConvertToNative implements ref.Val.
func (d date) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("a date has no native type")
}

// ConvertToType implements ref.Val.
func (d date) ConvertToType(ref.Type) ref.Val { return types.NewErr("a date has no conversion") }

// Type implements ref.Val.
func (d date) Type() ref.Type { return dateType }

// Value implements ref.Val.
func (d date) Value() any { return int64(d) }
