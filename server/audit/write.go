package audit

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// ErrFull is matched by the error of a store whose disk is full.
var ErrFull = errors.New("audit: the disk is full")

// pending is a record that waits to be durable.
type pending struct {
	payload []byte
	err     error
	done    chan struct{} // closed when err is final
}

func newPending(r *Record) *pending {
	return &pending{payload: r.encode(), done: make(chan struct{})}
}

// writer is what only the goroutine that writes touches.
type writer struct {
	f         vfs.File // the last segment
	place              // its end
	buf       []byte
	announced uint64 // a record says that those up to this one are removed
}

// run writes what is submitted, all that waits at once: while one group is synced, the next one
// gathers.
func (s *Store) run() {
	defer close(s.ended)
	for {
		select {
		case p := <-s.queue:
			s.group(p)
		case <-s.stop:
			for {
				select {
				case p := <-s.queue:
					s.group(p)
				default:
					return
				}
			}
		}
	}
}

// group writes a record and those that wait behind it.
func (s *Store) group(first *pending) {
	list, bytes := []*pending{first}, frameBytes+len(first.payload)
gather:
	for bytes < s.limits.groupBytes {
		select {
		case p := <-s.queue:
			list, bytes = append(list, p), bytes+frameBytes+len(p.payload)
		default:
			break gather
		}
	}
	err := s.Err()
	if err == nil {
		err = s.commit(list)
	}
	for _, p := range list {
		p.err = err
		close(p.done)
	}
}

// now returns the time in ms, never before that of the last record.
func (s *Store) now() time.Time {
	now := time.UnixMilli(min(max(s.clock().UnixMilli(), 0), maxTime)).UTC()
	if now.Before(s.w.time) {
		return s.w.time
	}
	return now
}

// commit makes records durable. After an error nothing is written any more.
func (s *Store) commit(list []*pending) error {
	now := s.now()
	err := s.roll(now, list)
	var removed Removed
	if err == nil {
		if removed = s.expired(now); removed.Number > s.w.announced {
			list = append([]*pending{newPending(&Record{Call: CallRemoved, Outcome: Kept, Removed: removed})}, list...)
		}
		err = s.write(now, list)
	}
	if err == nil && removed.Number > 0 {
		s.w.announced = removed.Number
		if failed := s.remove(removed.Number); failed != nil {
			s.fail(failed) // the records are durable, and the last ones
		}
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// fail ends writing.
func (s *Store) fail(err error) error {
	const until = " and takes no records until it is opened again"
	failure := query.Errorf(query.CodeFailed, "the audit store %s could not be written%s: %w", s.d.name, until, err)
	if vfs.IsNoSpaceError(err) {
		failure = query.Errorf(query.CodeFailed, "the disk of the audit store %s is full: it could not be written%s: %w", s.d.name, until, errors.Join(ErrFull, err))
		failure.Hint = "make room, and start the server again"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = failure
	return failure
}

// roll seals the last segment if it is large or of another day, and makes the next one.
func (s *Store) roll(now time.Time, list []*pending) error {
	last := s.segments[len(s.segments)-1]
	size := s.w.at
	for _, p := range list {
		size += int64(frameBytes + len(p.payload))
	}
	const day = 24 * time.Hour
	if s.w.number < last.first || size <= s.limits.segmentBytes && now.Truncate(day).Equal(last.made.Truncate(day)) {
		return nil
	}
	h := header{store: s.id, first: s.w.number + 1, made: now, until: s.w.time, before: s.w.hash}
	f, err := s.d.newSegment(&h)
	if err != nil {
		return err
	}
	sealed := s.w.f
	s.w.f, s.w.at = f, headerBytes
	if err := sealed.Close(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, segment{first: h.first, made: h.made, until: h.until, before: h.before})
	s.durable.at = headerBytes
	return nil
}

// write appends a group and syncs it.
func (s *Store) write(now time.Time, list []*pending) error {
	if len(list) == 0 {
		return nil
	}
	next := s.w.place
	b, group := s.w.buf[:0], next.number+1
	for _, p := range list {
		next.number++
		stamp(p.payload, next.number, group, uint64(now.UnixMilli()))
		b, next.hash = appendFrame(b, p.payload, next.hash)
	}
	size := int64(len(b))
	s.w.buf = b
	if _, err := s.w.f.WriteAt(b, next.at); err != nil {
		return err
	}
	if err := s.w.f.SyncData(); err != nil {
		return err
	}
	next.at, next.time = next.at+size, now
	s.w.place = next
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = next
	return nil
}

// expired returns up to where retention removes segments, 0 if nowhere.
func (s *Store) expired(now time.Time) (r Removed) {
	if s.keep == 0 {
		return r
	}
	for _, next := range s.segments[1:] {
		if !next.until.Before(now.Add(-s.keep)) {
			break
		}
		r = Removed{Number: next.first - 1, Hash: next.before}
	}
	return r
}

// remove removes segments, the oldest first, so that what is left is whole at any moment. While
// somebody reads it does nothing: the next group tries again.
func (s *Store) remove(until uint64) error {
	if !s.reading.TryLock() {
		return nil
	}
	defer s.reading.Unlock()
	for s.segments[0].first <= until {
		if err := s.d.fs.Remove(s.d.path(segmentName(s.segments[0].first))); err != nil {
			return err
		}
		if err := s.d.sync(); err != nil {
			return err
		}
		s.mu.Lock()
		s.segments = s.segments[1:]
		s.mu.Unlock()
	}
	return nil
}
