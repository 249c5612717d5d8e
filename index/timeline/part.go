package timeline

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Geometry of parts. These are formats.
const (
	BlockBits = 12
	BlockSize = 1 << BlockBits // events of every block of a part but its last
	SpanDays  = 30             // days of the partition that closed days are merged into
)

// MaxEvents bounds a part, so that numbers of events fit 32 bits and a part can be built
// in memory. A shard with more events of one type in one partition has several parts.
const MaxEvents = 1 << 28

// MaxProperties bounds the properties of one event type: each takes a directory entry per
// block, in memory and on disk. It is 16 bits in the header.
const MaxProperties = 1 << 12

const (
	msPerDay  int64 = 86_400_000
	maxShards       = 1 << (32 - bitmap.ShardBits)
	firstDay        = -719_162  // 0001-01-01
	lastDay         = 2_932_896 // 9999-12-31
)

// Partition is the time that a part is about: one UTC day, or one of the spans of 30 into
// which days fall by floor(day / 30).
type Partition struct {
	First int32 // the first day, counted from 1970-01-01
	Days  int32 // 1 or SpanDays
}

// Day returns the partition of one day.
func Day(day int32) Partition { return Partition{day, 1} }

// Span returns the span of 30 days that holds a day.
func Span(day int32) Partition { return Partition{floorDiv(day, SpanDays) * SpanDays, SpanDays} }

// DayOf returns the day of a time, given in ms since 1970-01-01T00:00Z as all times here.
func DayOf(ms int64) int32 { return int32(floorDiv(ms, msPerDay)) }

// Start returns the first ms of the partition.
func (p Partition) Start() int64 { return int64(p.First) * msPerDay }

// End returns the first ms after the partition.
func (p Partition) End() int64 { return (int64(p.First) + int64(p.Days)) * msPerDay }

// times returns Start and End, cut to the years 1 to 9999.
func (p Partition) times() (from, to int64) {
	return max(p.Start(), firstDay*msPerDay), min(p.End(), (lastDay+1)*msPerDay)
}

// Holds reports whether a partition lies in p.
func (p Partition) Holds(q Partition) bool {
	return q.Start() >= p.Start() && q.End() <= p.End()
}

func (p Partition) valid() bool {
	return (p.Days == 1 || p == Span(p.First)) && p.First <= lastDay && p.First+p.Days > firstDay
}

func floorDiv[T int32 | int64](a, b T) T {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// ID says what a part is about.
type ID struct {
	Event     uint32 // the event type, by its schema id
	Shard     uint32 // the ordinals Shard<<20 to Shard<<20 + 2^20-1
	Partition Partition
}

// Class is how the values of a property are held. The codes are a format.
type Class uint8

// The classes.
const (
	Code Class = 1 // a dictionary code: dictionary strings, bools
	Int  Class = 2 // the ordered int64 form of every other ordered kind
	Text Class = 3 // the bytes of an inline string
	Set  Class = 4 // dictionary codes, ascending; an empty set and an absent one are the same
)

// Property is one property of an event type. Its class never changes within a part; a
// merge refuses parts that disagree.
type Property struct {
	ID    schema.AttrID
	Class Class
}

// Part is the opened header of a part: everything but the values. It is immutable and
// safe for concurrent use.
type Part struct {
	id         ID
	n          int
	blocks     int
	properties []Property
	starts     [bitmap.ShardChunks + 1]uint32 // the event with which each chunk begins
	pieces     []piece                        // by column, then by block
	rows       []row
	size       int // bytes of all rows
	first      int64
	last       int64
}

// The columns that every part has. Property i is column ownColumns + i.
const (
	profileColumn = 0
	timeColumn    = 1
	ownColumns    = 2
)

// piece is one column of one block: what the directory says of it.
//
// Numbers are stored as stored = (value - min) / unit. In the profile column min is the
// first ordinal, top the distance to the last, count the runs, and width that of the gaps.
type piece struct {
	min   int64
	top   uint64 // the greatest stored number
	unit  uint64
	row   uint32
	at    uint32 // where in the row
	size  uint32
	count uint16 // events that have a value
	width uint8
}

// row is a stored value that holds pieces.
type row struct {
	crc  uint32
	size int
}

// ID returns what the part is about.
func (p *Part) ID() ID { return p.id }

// Len returns the number of events.
func (p *Part) Len() int { return p.n }

// Blocks returns the number of blocks.
func (p *Part) Blocks() int { return p.blocks }

// Properties returns the properties, by ascending id. They must not be changed.
func (p *Part) Properties() []Property { return p.properties }

// Rows returns the number of rows.
func (p *Part) Rows() int { return len(p.rows) }

// Size returns the bytes of all rows.
func (p *Part) Size() int { return p.size }

// MemBytes returns what the opened header takes in memory, in bytes.
func (p *Part) MemBytes() int {
	return int(unsafe.Sizeof(*p)) + int(unsafe.Sizeof(piece{}))*cap(p.pieces) + int(unsafe.Sizeof(row{}))*cap(p.rows) +
		int(unsafe.Sizeof(Property{}))*cap(p.properties)
}

// Times returns the least and the greatest time; 0 and 0 of a part without events.
func (p *Part) Times() (first, last int64) { return p.first, p.last }

// Count returns how many events the profiles of a chunk of the shard have, 0 <= chunk < 16.
func (p *Part) Count(chunk int) int { return int(p.starts[chunk+1] - p.starts[chunk]) }

// Has reports whether the part may have events of a profile, given by its ordinal within
// the shard: whether a block has its ordinal between the first and the last of its own.
func (p *Part) Has(profile uint32) bool {
	from, to := p.find(profile)
	return from < to
}

// find returns the blocks from to to-1 that may have events of a profile.
func (p *Part) find(profile uint32) (from, to int) {
	pieces := p.column(profileColumn)
	lo, hi := 0, len(pieces)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if pieces[mid].max() < int64(profile) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for hi < len(pieces) && pieces[hi].min <= int64(profile) {
		hi++
	}
	return lo, hi
}

// column returns the pieces of a column.
func (p *Part) column(i int) []piece { return p.pieces[i*p.blocks : (i+1)*p.blocks] }

// class returns the class of a column; profiles have none.
func (p *Part) class(column int) Class {
	if column == timeColumn {
		return Int
	}
	return p.properties[column-ownColumns].Class
}

// columnOf returns the column of a property, or -1.
func (p *Part) columnOf(id schema.AttrID) int {
	for i := range p.properties {
		if p.properties[i].ID == id {
			return ownColumns + i
		}
	}
	return -1
}

// events returns how many events a block has.
func (p *Part) events(block int) int { return min(p.n-block<<BlockBits, BlockSize) }

// segment returns the events of a block that belong to a chunk.
func (p *Part) segment(block, chunk int) (from, to int) {
	base := block << BlockBits
	return max(int(p.starts[chunk])-base, 0), min(int(p.starts[chunk+1])-base, p.events(block))
}

// problemOf says what makes an ID or properties impossible, "" if nothing does.
func problemOf(id ID, properties []Property) string {
	if !id.Partition.valid() {
		return fmt.Sprintf("partition of %d days from day %d", id.Partition.Days, id.Partition.First)
	}
	if id.Shard >= maxShards {
		return fmt.Sprintf("shard %d", id.Shard)
	}
	if len(properties) > MaxProperties {
		return fmt.Sprintf("%d properties, at most %d", len(properties), MaxProperties)
	}
	last := int64(-1)
	for _, p := range properties {
		if int64(p.ID) <= last || p.ID == math.MaxUint32 || p.Class < Code || p.Class > Set {
			return fmt.Sprintf("property %d of class %d", p.ID, p.Class)
		}
		last = int64(p.ID)
	}
	return ""
}

// RowSize returns how many bytes row i has.
func (p *Part) RowSize(i int) int { return p.rows[i].size }
