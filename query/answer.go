package query

import (
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/kantadb/kanta/index/schema"
)

// Position says how much of a store's history an answer has seen: Applied log
// records of the store's Epoch. Only a restore, or a recovery from loss of majority,
// starts a new epoch.
type Position struct {
	Epoch   uint64
	Applied uint64
}

// String returns "epoch.applied".
func (p Position) String() string {
	b := strconv.AppendUint(make([]byte, 0, 24), p.Epoch, 10)
	return string(strconv.AppendUint(append(b, '.'), p.Applied, 10))
}

// ParsePosition is the inverse of [Position.String].
func ParsePosition(text string) (p Position, ok bool) {
	epoch, applied, found := strings.Cut(text, ".")
	var err, err2 error
	p.Epoch, err = strconv.ParseUint(epoch, 10, 64)
	p.Applied, err2 = strconv.ParseUint(applied, 10, 64)
	return p, found && err == nil && err2 == nil && p.String() == text
}

// Answer is what every answer carries.
type Answer struct {
	Position  Position      // what had been written
	Now       time.Time     // the instant at which windows ended
	Current   []string      // where Now is before the last record: the attributes without history, and lists as in_list("name"), that were read as they are; what else was read is of then
	Unknown   uint64        // profiles for which the expression is neither true nor false
	Errors    uint64        // of the unknown ones: those unknown because a part overflowed or divided by zero
	Withheld  bool          // Unknown is not told, for a policy's MinGroup
	Elapsed   time.Duration // wall time
	BytesRead uint64        // stored or cached bytes looked at; 0 under a policy
}

// Count is the answer to "how many".
type Count struct {
	Count uint64
	Answer
}

// Bitmap is a set of profiles by ordinal. An ordinal is no identity: it is bound to
// the store and epoch named here, and another epoch refuses it.
type Bitmap struct {
	Store    string
	Position Position
	Ordinals *roaring.Bitmap
}

// Member is one profile of a listing.
type Member struct {
	Ordinal uint32
	Key     string
	Values  []schema.Value // of the attributes that were asked for, in that order
}

// Members is a listing. Rows yields its members in order, once; it stops at the first
// error, which it yields. Next is the cursor that continues after the last row
// yielded, "" when there is no more.
type Members struct {
	Attributes []schema.Attribute
	Total      uint64 // members of the expression, whatever the limit
	Rows       iter.Seq2[Member, error]
	Next       func() string
	Answer
}

// BreakdownRow is one value of a breakdown.
type BreakdownRow struct {
	Value schema.Value // absent: the profiles without a value, shown as "(none)"
	Count uint64
}

// Breakdown is a segment by the values of one attribute. For a scalar the rows and
// Other add up to People; a set counts a profile once per element, so they add up to
// Memberships plus the profiles with no element.
type Breakdown struct {
	Attribute   schema.Attribute
	Rows        []BreakdownRow // by count descending, then by value; absent values are a row
	Other       uint64         // what the rows beyond the top N add up to
	OtherValues uint64         // how many rows those are
	People      uint64
	Memberships uint64 // sets only
	Withheld    uint64 // how many rows are not there for a policy's MinGroup: of a scalar they have what the others and Other leave of People
	Answer
}

// Profile is all that is known of one customer.
type Profile struct {
	Key      string
	Ordinal  uint32
	Values   []AttributeValue // absent ones are left out
	Computed []AttributeValue // of the computed attributes, at Now; absent ones are left out
	Lent     []AttributeValue // if it was asked for: what definitions of analyses say of the customer; absent ones are left out
	Lists    []string
	Segments []string        // the saved segments the profile is in, by name
	Events   []TimelineEvent // the last ones up to now, the newest first
	Lifetime []Lifetime      // if it was asked for: by type, in the schema's order; types without an event are left out
	Answer
}

// AttributeValue is one attribute of a profile.
type AttributeValue struct {
	Name  string
	Value schema.Value
}

// ValueCount is one value of an attribute with the number of living profiles that have it.
type ValueCount struct {
	Value string
	Count uint64
}

// Options are what a question may carry beside its expression. The zero value asks now.
type Options struct {
	Now         time.Time // zero: the store's clock, taken once
	Parallelism int       // goroutines; 0: one per processor
	// Memory is what the question may work in, in bytes of the store's budget; a larger one
	// fails with [CodeBudget]. 0, and more than the store gives one question, is as much as
	// that; not below 0.
	Memory int64
}

// MembersOptions shape a listing. Attributes may be computed ones, whose values are those of
// Now: whoever goes on with a cursor gives the Now of the page before.
type MembersOptions struct {
	Options
	Attributes []string // to return with each member
	OrderBy    string   // an attribute; "" is by ordinal, the order of arrival
	Desc       bool     // descending; absent values come last either way
	Limit      int      // 0: all
	After      string   // a cursor from Members.Next
	AfterKey   string   // instead of After: continue behind this profile
}

// BreakdownOptions shape a breakdown.
type BreakdownOptions struct {
	Options
	Top int // rows to return; 0: 1,000
}
