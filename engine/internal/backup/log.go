package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

const (
	logPrefix  = "log/"
	logMagic   = "kanta log\nformat "
	logFormat  = 1
	logDay     = ".day"  // the end of the name of a sealed piece
	logOpen    = ".open" // of one that is put together with others when its day is over
	logDayTime = 24 * time.Hour

	// LogHeader is the most that a piece has beside its records, without their lengths.
	LogHeader = 1024
	// LogLength is what stands before each record.
	LogLength = 4
)

// Break says why a record is not followed by the next one.
type Break string

// The reasons. They are a format.
const (
	Unbroken    Break = ""
	BrokenOff   Break = "off"   // the log was not kept
	BrokenLimit Break = "limit" // there was more of it than is kept
	BrokenRoom  Break = "room"  // the disk of the store got full
	BrokenPurge Break = "purge" // of erased people
	BrokenMoved Break = "moved" // it went to another target
	BrokenEpoch Break = "epoch" // the store began another epoch
)

// reasons are what a reason may look like: a newer version may know more of them.
var reasons = regexp.MustCompile(`^[a-z]{0,20}$`) //tidy:constant

// LogPiece is what the name of a piece of a log says of it.
type LogPiece struct {
	Store               string // whose log it is
	Epoch               uint64
	First, Last         uint64    // positions
	FirstTime, LastTime time.Time // received; of one UTC day
	Hash                Hash
	Sealed              bool
	Size                int64 // of the object; not part of the name
}

// Log is a piece of a log.
type Log struct {
	Store         string
	Epoch         uint64
	First         uint64   // position of the first record
	Before, After [16]byte // chain hashes before the first record and at the last
	Broken        Break    // why what is before the first record may not be at the target
	Records       [][]byte // in the form of package record
}

// Name is the name of the piece at the target.
func (p *LogPiece) Name() string {
	end := logOpen
	if p.Sealed {
		end = logDay
	}
	return fmt.Sprintf("%s%s/%s-%s-%d.%d-%d.%d-%s%s", logPrefix, p.Store, p.FirstTime.UTC().Format(nameMillis), p.LastTime.UTC().Format(nameMillis),
		p.Epoch, p.First, p.Epoch, p.Last, p.Hash, end)
}

// parseLogName is the inverse of [LogPiece.Name].
func parseLogName(name string) (p LogPiece, ok bool) {
	store, rest, _ := strings.Cut(strings.TrimPrefix(name, logPrefix), "/")
	text, sealed := strings.CutSuffix(rest, logDay)
	if !sealed {
		text, _ = strings.CutSuffix(rest, logOpen)
	}
	fields := strings.Split(text, "-")
	if len(fields) != 5 || !validID(store) {
		return p, false
	}
	first, ok1 := query.ParsePosition(fields[2])
	last, ok2 := query.ParsePosition(fields[3])
	h, ok3 := parseHash(fields[4])
	p = LogPiece{Store: store, Epoch: first.Epoch, First: first.Applied, Last: last.Applied, Hash: h, Sealed: sealed}
	var err1, err2 error
	p.FirstTime, err1 = time.Parse(nameMillis, fields[0])
	p.LastTime, err2 = time.Parse(nameMillis, fields[1])
	valid := ok1 && ok2 && ok3 && err1 == nil && err2 == nil && first.Epoch == last.Epoch && first.Applied > 0 && first.Applied <= last.Applied && !p.LastTime.Before(p.FirstTime)
	return p, valid && day(p.FirstTime).Equal(day(p.LastTime)) && p.Name() == name
}

// day is the UTC day of a time.
func day(t time.Time) time.Time { return t.UTC().Truncate(logDayTime) }

// received is when a record was received.
func received(rec []byte) (time.Time, error) {
	r, err := record.Decode(rec)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(r.Received).UTC(), nil
}

// piece returns what the name of a log says, whose text is given. The records are verified,
// and that they are of one day.
func (l *Log) piece(text []byte) (LogPiece, error) {
	p := LogPiece{Store: l.Store, Epoch: l.Epoch, First: l.First, Last: l.First + uint64(len(l.Records)) - 1, Hash: sha256.Sum256(text)}
	if len(l.Records) == 0 {
		return p, query.Errorf(query.CodeCorrupt, "it has no records")
	}
	before := time.Time{}
	for i, rec := range l.Records {
		at, err := received(rec)
		if err != nil {
			return p, fmt.Errorf("record %d: %w", l.First+uint64(i), err)
		}
		if i == 0 {
			p.FirstTime, before = at, at
		}
		if at.Before(before) || !day(at).Equal(day(p.FirstTime)) {
			return p, query.Errorf(query.CodeCorrupt, "record %d is not of its time: %s", l.First+uint64(i), at.Format(millis))
		}
		before = at
	}
	p.LastTime = before
	return p, nil
}

// head is what stands before the records.
func (l *Log) head(root string) string {
	broken := l.Broken
	if broken == Unbroken {
		broken = "-"
	}
	return fmt.Sprintf("%s%d\nroot %s\nstore %s\nfirst %d.%d\nrecords %d\nbefore %x\nafter %x\nbroken %s\n\n",
		logMagic, logFormat, root, l.Store, l.Epoch, l.First, len(l.Records), l.Before, l.After, broken)
}

// append writes a piece of a log behind dst.
func (l *Log) append(dst []byte, root string) []byte {
	dst = append(dst, l.head(root)...)
	for _, rec := range l.Records {
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(rec))), rec...)
	}
	return dst
}

// parseLog is the inverse of append, for one root. It verifies the chain from the first
// record to the last. The records alias text.
func parseLog(text []byte, root string) (*Log, error) {
	damaged := func(why string) (*Log, error) { return nil, query.Errorf(query.CodeCorrupt, "%s", why) }
	rest, ok := strings.CutPrefix(string(text[:min(len(text), LogHeader)]), logMagic)
	if !ok {
		return damaged("it is no piece of a log")
	}
	version, _, _ := strings.Cut(rest, "\n")
	if format, err := strconv.ParseUint(version, 10, 31); err != nil {
		return damaged("it has no format")
	} else if format > logFormat {
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("it is of format %d; this version reads format %d", format, logFormat), Hint: "use a newer version of Kanta"}
	}
	head, _, ok := strings.Cut(rest, "\n\n")
	if !ok {
		return damaged("it has no end of its first lines")
	}
	r := &manifestReader{rest: head + "\n"}
	r.next() // the format
	l := &Log{}
	if of := r.field("root"); !r.bad && of != root {
		return damaged("it is of another line of stores")
	}
	l.Store = r.field("store")
	at, ok := query.ParsePosition(r.field("first"))
	l.Epoch, l.First = at.Epoch, at.Applied
	n := r.number(r.field("records"))
	l.Before, l.After = r.sum(r.field("before")), r.sum(r.field("after"))
	l.Broken = Break(strings.TrimPrefix(r.field("broken"), "-"))
	body := text[len(logMagic)+len(head)+2:]
	if r.bad || !ok || !validID(l.Store) || l.First == 0 || !reasons.MatchString(string(l.Broken)) || n > uint64(len(body)/LogLength) || l.First > 1<<63 {
		return damaged("a line is missing or wrong")
	}
	if err := l.records(body, int(n)); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(text, []byte(l.head(root))) {
		return damaged("its first lines have another form")
	}
	return l, nil
}

// records reads the records, which end the piece.
func (l *Log) records(body []byte, n int) error {
	chain := l.Before
	for range n {
		size := uint32(0)
		if len(body) >= LogLength {
			size = binary.LittleEndian.Uint32(body)
		}
		if size == 0 || uint64(size) > uint64(len(body)-LogLength) {
			return query.Errorf(query.CodeCorrupt, "it is cut off")
		}
		rec := body[LogLength : LogLength+int(size)]
		body = body[LogLength+int(size):]
		l.Records, chain = append(l.Records, rec), record.Chain(chain, rec)
	}
	if len(body) > 0 || chain != l.After {
		return query.Errorf(query.CodeCorrupt, "its records are not those that it says: their chain ends in another hash")
	}
	return nil
}

// logError says of which piece an error tells.
func logError(p *LogPiece, err error) error {
	var q *query.Error
	if !errors.As(err, &q) {
		return err
	}
	hint := q.Hint
	if q.Code == query.CodeCorrupt {
		hint = "restore a backup by its name, kanta restore --backup NAME, or to a point before it; then make another backup"
	}
	return &query.Error{Code: q.Code, Message: fmt.Sprintf("the log of %d.%d to %d.%d, %s: %s", p.Epoch, p.First, p.Epoch, p.Last, p.Name(), q.Message), Hint: hint, Err: err}
}
