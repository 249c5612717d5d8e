package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// maxLogPieces bounds the pieces of all logs of a target: those of ten years, and of days
// that are not sealed.
const maxLogPieces = 1_000_000

// LogPieces lists the pieces of the log of a store, or of all stores if it is "": by store,
// epoch and first record; of two with the same first record the longer one comes first.
func (t *Target) LogPieces(ctx context.Context, store string) (out []LogPiece, err error) {
	prefix := logPrefix
	if store != "" {
		prefix += store + "/"
	}
	err = t.List(ctx, prefix, func(name string, size int64) error {
		p, ok := parseLogName(name)
		if !ok {
			return nil // not ours
		}
		if len(out) == maxLogPieces {
			return query.Errorf(query.CodeLimit, "the target has more than %d pieces of logs; prune it", maxLogPieces)
		}
		p.Size = size
		out = append(out, p)
		return nil
	})
	sortLog(out)
	return out, err
}

func sortLog(pieces []LogPiece) {
	slices.SortFunc(pieces, func(a, b LogPiece) int {
		return cmp.Or(strings.Compare(a.Store, b.Store), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last), bytes.Compare(a.Hash[:], b.Hash[:]), strings.Compare(a.Name(), b.Name()))
	})
}

// LogReader reads pieces of logs. It belongs to one goroutine; close it.
type LogReader struct {
	t *Target
	c *codec
}

// NewLogReader makes a reader.
func (t *Target) NewLogReader() (*LogReader, error) {
	c, err := newCodec()
	return &LogReader{t, c}, err
}

// Close frees it.
func (r *LogReader) Close() { r.c.close() }

// Read fetches a piece and verifies it: its checksum, its chain, and that it is what its
// name says. It is valid until the next call. If it is not there, the error wraps [fs.ErrNotExist].
func (r *LogReader) Read(ctx context.Context, p *LogPiece) (*Log, error) {
	object, err := r.t.Get(ctx, p.Name(), maxObject)
	if err != nil {
		return nil, logError(p, err)
	}
	text, err := r.c.decodeAny(p.Hash, object)
	var l *Log
	if err == nil {
		l, err = parseLog(text, r.t.Root)
	}
	if err == nil {
		var is LogPiece
		if is, err = l.piece(text); err == nil {
			if is.Sealed = p.Sealed; is.Name() != p.Name() {
				err = query.Errorf(query.CodeCorrupt, "it is that of %s", is.Name())
			}
		}
	}
	if err != nil {
		return nil, logError(p, err)
	}
	return l, nil
}

// Write keeps a piece and reads it again, so that who deletes what it has may.
func (r *LogReader) Write(ctx context.Context, l *Log, sealed bool) (LogPiece, error) {
	text := l.append(nil, r.t.Root)
	p, err := l.piece(text)
	if err == nil && len(text) > PieceSize {
		err = query.Errorf(query.CodeInternal, "a piece of a log of %d bytes", len(text))
	}
	if err != nil {
		return p, err
	}
	p.Sealed = sealed
	object := bytes.Clone(r.c.encode(text))
	p.Size = int64(len(object))
	if err := r.t.Put(ctx, p.Name(), object); err != nil {
		return p, err
	}
	_, err = r.Read(ctx, &p)
	return p, err
}

// SealLog puts together the open pieces of days that are over, of those of one store: as many as fit
// into a piece. The small ones are deleted when what they have is in a sealed one. size is
// the most that a piece may have, [PieceSize] but in tests. It returns how many it made.
func (r *LogReader) SealLog(ctx context.Context, pieces []LogPiece, today time.Time, size int) (sealed int, err error) {
	sortLog(pieces)
	s := &sealing{r: r, size: size}
	for i := range pieces {
		p := &pieces[i]
		switch {
		case p.Sealed || !day(p.FirstTime).Before(day(today)):
		case s.covered(pieces, p):
			err = r.t.Delete(ctx, p.Name())
		default:
			err = s.add(ctx, p)
		}
		if err != nil {
			return s.made, err
		}
	}
	return s.made, s.end(ctx)
}

// sealing is pieces that are put together.
type sealing struct {
	r    *LogReader
	size int
	log  *Log // or nil
	used int
	day  time.Time
	from []LogPiece
	made int
}

// covered reports whether a sealed piece has all of an open one.
func (s *sealing) covered(pieces []LogPiece, p *LogPiece) bool {
	return slices.ContainsFunc(pieces, func(o LogPiece) bool {
		return o.Sealed && o.Epoch == p.Epoch && o.First <= p.First && p.Last <= o.Last
	})
}

// add adds an open piece to those before it, or begins anew with it.
func (s *sealing) add(ctx context.Context, p *LogPiece) error {
	l, err := s.r.Read(ctx, p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // pruned meanwhile
	}
	if err != nil {
		return err
	}
	used := 0
	for i, rec := range l.Records {
		l.Records[i] = bytes.Clone(rec)
		used += LogLength + len(rec)
	}
	if s.log != nil {
		next := s.log.First + uint64(len(s.log.Records))
		if p.Epoch == s.log.Epoch && p.Last < next { // a piece was sent twice, once with more
			s.from = append(s.from, *p)
			return nil
		}
		if p.Epoch == s.log.Epoch && p.First == next && l.Before == s.log.After && day(p.FirstTime).Equal(s.day) && s.used+used+LogHeader <= s.size {
			s.log.Records, s.log.After = append(s.log.Records, l.Records...), l.After
			s.used, s.from = s.used+used, append(s.from, *p)
			return nil
		}
	}
	if err := s.end(ctx); err != nil {
		return err
	}
	s.log, s.used, s.day, s.from = l, used, day(p.FirstTime), []LogPiece{*p}
	return nil
}

// end seals what there is.
func (s *sealing) end(ctx context.Context) error {
	if s.log == nil {
		return nil
	}
	l := s.log
	s.log = nil
	if _, err := s.r.Write(ctx, l, true); err != nil {
		return err
	}
	s.made++
	for i := range s.from {
		if err := s.r.t.Delete(ctx, s.from[i].Name()); err != nil {
			return err
		}
	}
	return nil
}
