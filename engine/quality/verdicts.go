package quality

import (
	"encoding/binary"
	"fmt"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// MaxVerdictBytes bounds the verdicts of one batch: they travel beside it in the log,
// and a batch with so many bad rows is a mistake of its maker.
const MaxVerdictBytes = 64 << 10

// AppendVerdicts appends the form in which verdicts travel beside their batch. No
// verdicts take no bytes; else
//
//	uvarint  count
//	count times:
//	  uvarint  rows skipped since the verdict before (the first: since row 0)
//	  1 byte   reason
//	  uvarint  length of the detail, and its bytes
//
// It fails with CodeLimit when that is more than [MaxVerdictBytes], in which case the
// batch is to be refused, and with CodeInvalid when the rows do not ascend.
func AppendVerdicts(dst []byte, verdicts []Verdict) ([]byte, error) {
	if len(verdicts) == 0 {
		return dst, nil
	}
	start, next := len(dst), 0
	dst = binary.AppendUvarint(dst, uint64(len(verdicts)))
	for i := range verdicts {
		v := &verdicts[i]
		if v.Row < next || v.Reason == batch.ReasonNone || len(v.Detail) > batch.MaxDetail {
			return dst[:start], query.Errorf(query.CodeInvalid, "verdict %d on row %d has no place, no reason or a long detail", i, v.Row)
		}
		dst = binary.AppendUvarint(dst, uint64(v.Row-next))
		dst = append(dst, byte(v.Reason))
		dst = binary.AppendUvarint(dst, uint64(len(v.Detail)))
		dst = append(dst, v.Detail...)
		next = v.Row + 1
		if len(dst)-start > MaxVerdictBytes {
			err := query.Errorf(query.CodeLimit, "too many bad rows in one batch: what is wrong with the first %d of %d takes over %d bytes; row %d: %s, %s",
				i, len(verdicts), MaxVerdictBytes, verdicts[0].Row, verdicts[0].Reason, verdicts[0].Detail)
			err.Hint = "correct the rows, or make smaller batches"
			return dst[:start], err
		}
	}
	return dst, nil
}

// DecodeVerdicts is the inverse of [AppendVerdicts] for a batch of rows rows. It copies
// what it keeps. It fails with CodeCorrupt.
func DecodeVerdicts(b []byte, rows int) ([]Verdict, error) {
	if len(b) == 0 {
		return nil, nil
	}
	corrupt := func(format string, args ...any) ([]Verdict, error) {
		return nil, query.Errorf(query.CodeCorrupt, "corrupt verdicts: %s", fmt.Sprintf(format, args...))
	}
	if len(b) > MaxVerdictBytes {
		return corrupt("%d bytes", len(b))
	}
	count, n := binary.Uvarint(b)
	const least = 3 // bytes of a verdict
	if n <= 0 || count == 0 || count > uint64(len(b)/least) {
		return corrupt("%d of them in %d bytes", count, len(b))
	}
	b = b[n:]
	out := make([]Verdict, count)
	next := 0
	for i := range out {
		skipped, n := binary.Uvarint(b)
		if n <= 0 || skipped >= uint64(max(0, rows-next)) || n == len(b) || b[n] == byte(batch.ReasonNone) {
			return corrupt("verdict %d has no row or no reason", i)
		}
		reason := batch.Reason(b[n])
		b = b[n+1:]
		length, n := binary.Uvarint(b)
		if n <= 0 || length > batch.MaxDetail || length > uint64(len(b)-n) {
			return corrupt("verdict %d ends too early", i)
		}
		row := next + int(skipped)
		out[i] = Verdict{row, reason, string(b[n : n+int(length)])}
		b, next = b[n+int(length):], row+1
	}
	if len(b) > 0 {
		return corrupt("%d bytes behind the last", len(b))
	}
	return out, nil
}
