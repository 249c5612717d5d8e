package access

import "github.com/kantadb/kanta/engine/batch"

// Right is one thing that a role may allow. A role has a set of them.
type Right uint16

// The rights, each a bit. A caller that is known has Known.
const (
	Known   Right = 1 << iota // to be told what there is: names, and of the caller's own
	Numbers                   // to count, break down and analyze
	Lists                     // to list people, as rows or as a bitmap
	Person                    // to look at one person
	Write                     // to write what is known of people, and what they do
	Define                    // to save segments, lists and definitions of analyses
	Schema                    // to change the schema
	Erase                     // to erase people, and to see who was
	Operate                   // to look after the store: its state, check, repair, backup, everything out
	Access                    // to say who may do what, and to read the audit
	Cluster                   // to say which nodes the cluster has, and which of them leads
	Whole                     // nothing is hidden, masked or too small: no word of a role, but what follows from the others
)

// Audit says what is recorded of a call.
type Audit uint8

// The kinds of calls for the audit.
const (
	None     Audit = iota // neither of these
	Personal              // personal data is read
	Change                // something is changed, or taken away as a whole
)

// Load says how a call stands when there are more of them than the machine can do.
type Load uint8

// What a call is to the machine, the most urgent first.
const (
	Free     Load = iota // costs nothing, and is never refused
	Urgent               // one person, with somebody waiting on the telephone
	Question             // somebody waits
	Ingest               // a program waits, and sends again
	Long                 // nobody waits, or knows that it takes long
)

// Call is what a call needs, and what becomes of it.
type Call struct {
	Needs Right
	Audit Audit
	Load  Load
}

// Calls has every call of the service by its name, and the doors that have no procedure. What
// is not in it is refused, whoever asks.
//
//tidy:constant
var Calls = map[string]Call{
	"Ping":          {Known, None, Free},
	"Whoami":        {Known, None, Free},
	"Schema":        {Known, None, Free},
	"Segments":      {Known, None, Free},
	"Lists":         {Known, None, Free},
	"Definitions":   {Known, None, Free},
	"OpenSnapshot":  {Known, None, Free},
	"RenewSnapshot": {Known, None, Free},
	"CloseSnapshot": {Known, None, Free},

	"Count":     {Numbers, None, Question},
	"Breakdown": {Numbers, None, Question},
	"Values":    {Numbers, None, Question},
	"Plan":      {Numbers, None, Question},
	"Explain":   {Numbers, None, Long},
	"Analyze":   {Numbers, None, Long},

	"Members":         {Lists, Personal, Question},
	"AnalysisMembers": {Lists, Personal, Long},
	"Bitmap":          {Lists, Personal, Question},

	"Profile":  {Person, Personal, Urgent},
	"Timeline": {Person, Personal, Urgent},
	"Why":      {Person, Personal, Urgent},
	"Export":   {Person | Whole, Personal, Long},

	// What a batch needs beside this is in Ops.
	"Apply":  {Known, Change, Ingest},
	"Ingest": {Known, Change, Ingest},
	"DryRun": {Known, None, Ingest},

	"Erase":    {Erase, Change, Ingest},
	"Readmit":  {Erase, Change, Ingest},
	"Erased":   {Erase, Personal, Long},
	"Purge":    {Erase, Change, Long},
	"Receipts": {Erase, None, Free},

	"Quarantine":   {Operate, Personal, Question},
	"Stats":        {Operate, None, Free},
	"Digests":      {Operate, None, Long},
	"Check":        {Operate, None, Long},
	"Repair":       {Operate, Change, Long},
	"Compact":      {Operate, None, Long},
	"ExportAll":    {Operate, Personal, Long},
	"Backup":       {Operate, Change, Long},
	"BackupLedger": {Operate, Change, Long},
	"KeepLog":      {Operate, Change, Free},
	"ShipLog":      {Operate, Change, Long},

	"Running":       {Operate, None, Free},
	"CancelRunning": {Operate, Change, Free},

	"ClusterStatus":   {Cluster, None, Free},
	"ClusterJoin":     {Cluster, Change, Free},
	"ClusterRemove":   {Cluster, Change, Free},
	"ClusterTransfer": {Cluster, Change, Free},
	"ClusterUpgrade":  {Cluster, Change, Free},

	"Keys":        {Access, None, Free},
	"CreateKey":   {Access, Change, Free},
	"RevokeKey":   {Access, Change, Free},
	"Roles":       {Access, None, Free},
	"SaveRole":    {Access, Change, Free},
	"DropRole":    {Access, Change, Free},
	"Audit":       {Access, Personal, Long},
	"VerifyAudit": {Access, None, Long},
}

// AnyOp is what all ops together need.
const AnyOp = Write | Define | Schema | Erase | Operate | Access

// Ops says what an op of a batch needs. What is not in it is refused.
//
//tidy:constant
var Ops = map[batch.OpCode]Right{
	batch.OpUpsert: Write, batch.OpDelete: Write, batch.OpEvents: Write, batch.OpQuarantined: Write, batch.OpOrigin: Write, batch.OpTick: Operate,
	batch.OpSchemaChange: Schema,
	batch.OpSegmentSave:  Define, batch.OpSegmentShare: Define, batch.OpSegmentDrop: Define, batch.OpListPut: Define, batch.OpListAdd: Define, batch.OpListRemove: Define, batch.OpListDrop: Define,
	batch.OpListNote: Define, batch.OpDefinitionSave: Define, batch.OpDefinitionDrop: Define,
	batch.OpErase: Erase, batch.OpReadmit: Erase,
	batch.OpDocumentPut: Access, batch.OpDocumentDrop: Access, // keys and roles are among them
}
