package query

import (
	"context"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// Asker answers questions about people: a store as it is, a snapshot of it, a server's. It is
// safe for concurrent use.
type Asker interface {
	Schema(ctx context.Context) (*schema.Schema, error)
	Count(ctx context.Context, expr string, o *Options) (Count, error)
	Bitmap(ctx context.Context, expr string, o *Options) (Bitmap, error)
	Members(ctx context.Context, expr string, o *MembersOptions) (Members, error)
	Breakdown(ctx context.Context, expr, attribute string, o *BreakdownOptions) (Breakdown, error)
	Profile(ctx context.Context, key string, o *ProfileOptions) (Profile, error)
	ProfileBy(ctx context.Context, attribute, value string, o *ProfileOptions) (Profile, error)
	Timeline(ctx context.Context, key string, o *TimelineOptions) (Timeline, error)
	Values(ctx context.Context, attribute, prefix string, limit int) ([]ValueCount, error)
	Plan(ctx context.Context, expr string, o *Options) (Plan, error)
	Explain(ctx context.Context, expr string, o *Options) (Explanation, error)
	Why(ctx context.Context, key, expr string, o *WhyOptions) (Why, error)
	Analyze(ctx context.Context, name, who string, args Arguments, o *Options) (Report, error)
	AnalysisMembers(ctx context.Context, name, who string, args Arguments, cell string, o *MembersOptions) (Members, error)
	Segments(ctx context.Context) ([]SavedSegment, error)
	Lists(ctx context.Context) ([]SavedList, error)
	Definitions(ctx context.Context) ([]SavedDefinition, error)
}

// Snapshot is one state of a store, for questions that must agree with each other.
// It is safe for concurrent use. Close it: it keeps old data alive. After its maximum
// age every method returns an error with [CodeSnapshotGone].
type Snapshot interface {
	Asker
	Position() Position
	Close() error
}

// PlanNode is one node of a plan or an explanation, in order of evaluation.
type PlanNode struct {
	Label    string     // "country == \"DE\"", "and", ...
	Method   string     // how it is read: "rows", "range", "find", "dictionary", "per profile", ...
	Estimate uint64     // profiles expected to satisfy it
	Chunks   uint64     // chunks evaluated
	Skipped  uint64     // chunks that an earlier operand or a zone map made unnecessary
	True     uint64     // Explain: exact, of the node alone over everybody
	Unknown  uint64     // Explain: exact
	Bytes    uint64     // Plan: stored or cached bytes the node itself looked at
	Events   EventReads // Plan: how the node itself found events

	UnknownEvents uint64   // Explain: events in its windows that did not count, because a condition or what is folded was unknown
	Span          Span     // the place in the source text; of merged nodes, what spans them all
	Computed      []string // the computed attributes whose expressions it is made of
	Of            []PlanNode
}

// Plan is a question's plan with what its normal run read and skipped.
type Plan struct {
	Root  PlanNode
	Count uint64
	Lent  []LentCost // what analyses lend to it, and were run for
	Answer
}

// Explanation is a plan with every node evaluated by itself over the whole base.
type Explanation struct {
	Root  PlanNode
	Count uint64
	Answer
}

// SavedSegment is a named expression.
type SavedSegment struct {
	Name, Text string
	Saved      Position
	Uses       []string // the segments its text names
	UsedBy     []string // the segments whose text names it

	// Shared: its owner lets everybody use it. Under a policy it is there though it reads what
	// is hidden or masked; then it is Withheld: Text is "", and Uses are not told.
	Shared, Withheld bool

	// Owner is who saved it last, through a server; zero: nobody, as of what an embedding
	// program saved. He alone may share it, and who may share all.
	Owner Author

	Classes []schema.DataClass // of what it reads, be it through other segments, computed attributes and definitions, ascending; without ClassNone
	PII     bool               // it reads what is marked as personal
}

// Author is who writes a batch, as a server knows him.
type Author struct {
	ID   string // what he is known by for good, such as "key 7f3a"; "": nobody is known
	Name string // of the key or the certificate
	Role string

	SharesAll bool // he may share segments that others have saved
}

// String says who it is: the name, and what it is the name of.
func (a *Author) String() string {
	switch {
	case a.ID == "":
		return "nobody who is known"
	case a.Name == "" || strings.HasSuffix(a.ID, " "+a.Name):
		return a.ID
	}
	return a.Name + " (" + a.ID + ")"
}

// SavedDefinition is an analysis with its arguments under a name that expressions may use.
type SavedDefinition struct {
	Analysis, Name string
	Who            string // of whom it is; "": of everybody
	Arguments      Arguments
	Saved          Position
	Fields         []string // what an expression has of it, such as rfm("orders").segment
	UsedBy         []string // what names it: segments, computed attributes, other definitions
}

// SavedDocument is a small setting that stands in a store, goes through its log and is in its
// backups, and says nothing of customers: no expression, no policy and no export knows it.
type SavedDocument struct {
	Name  string // by convention kind/name
	Value []byte // the caller's
	Saved Position
}

// SavedList is a named set of profiles.
type SavedList struct {
	Name   string
	Code   uint32
	People uint64
	Saved  Position
	Note   string // where it comes from, such as a cell of an analysis; "" if nobody said, and under a policy of names, for it may name anything

	Withheld bool // under a policy: People is not told, for they are too few, or all but too few
}

// QuarantinedRow is a row that was received and not applied, with the reason.
type QuarantinedRow struct {
	Seq      uint64 // ascending; the cursor of a listing
	Source   string // where it came from: a file, a source id, or ""
	Line     uint64 // line of the file, or row of the batch
	Reason   string
	Detail   string
	Raw      string // the row as it came, shortened to MaxQuarantineRaw
	Received time.Time
}

// Digests identify a state. Content is equal for stores that hold the same keys,
// attributes and values, however they came about; Replica also for equal ordinals and
// codes; Chain is the hash over the log records.
type Digests struct {
	Position Position
	Content  [16]byte
	Replica  [16]byte
	Chain    [16]byte
}

// Recorded counts what happened to living profiles and, until their parts are written
// again, to deleted ones.
type Recorded struct {
	Events        uint64
	EventsPast    uint64 // of these, past the retention of their type: no question sees them
	EventsDropped uint64 // that were past it, and are stored no more
	Changes       uint64 // of attributes with history
}

// Stats is what an operator wants to know of a store.
type Stats struct {
	Position   Position
	Store      string // the store's id
	Format     int
	Profiles   uint64 // living
	Ordinals   uint64 // ever assigned
	Attributes int
	Recorded
	SchemaVersion uint64
	Segments      int
	Lists         int
	Quarantined   uint64
	HeadRows      uint64 // values not yet in the base
	HeadBytes     int64
	Logged
	BaseBytes     map[string]int64 // stored bytes by kind of data, before Pebble's compression
	DiskBytes     int64            // of all files, the log's included
	CacheBytes    int64
	MemoryBudget  int64
	MemoryUsed    int64
	Written       map[string]int64 // bytes written since open: "batches", "wal", "flush", "compact", "ingest"
	Amplification float64          // bytes written to disk per byte of batch, since open
}

// Logged is what a store's log takes.
type Logged struct {
	LogRecords uint64  // records not yet folded
	LogBytes   int64   // of the log's files, also of those that are kept to be used again
	KeptLog    KeptLog // what waits to be shipped to a target of backups
}

// Loss is what a store has lost of what was acknowledged. Zero: nothing.
type Loss struct {
	From, To Position // the first and the last missing batch; zero if that is not known
	Unknown  bool     // whether batches are missing is not known: what says so is damaged
	Now      Position // where the store is, in its new epoch
}

// RepairReport is the outcome of a repair.
type RepairReport struct {
	Mended []string // what was wrong and is right now; at most 100
	Beyond []string // what is wrong still, for it does not derive from anything; at most 100
}

// CheckReport is the outcome of a check.
type CheckReport struct {
	Values   uint64   // stored values whose checksum was verified
	Derived  uint64   // derived structures recomputed
	Problems []string // at most 100; none: all is well
}
