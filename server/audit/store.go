package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

// Options shape a store. nil and the zero value are good.
type Options struct {
	// Keep is for how long records are kept at least. Segments whose records are all older are removed
	// when something is appended, so that up to a day more is kept. 0: everything is kept.
	Keep time.Duration
	// ReadOnly opens a store to list and verify it, also while another process writes it: what
	// is there at that moment. Nothing in the directory is changed.
	ReadOnly bool
	// FS is the file system. nil: the machine's.
	FS vfs.FS
	// Clock tells the time of records. nil: the machine's.
	Clock func() time.Time
}

// limits bound a store; tests lower them.
type limits struct {
	segmentBytes int64 // about: a segment is what retention removes and what is read to open the store
	groupBytes   int   // of what is written and synced at once
	queue        int   // records that wait to be written
}

func defaultLimits() limits {
	return limits{segmentBytes: 16 << 20, groupBytes: 1 << 20, queue: 1024}
}

// segment is a file of the store.
type segment struct {
	first  uint64
	made   time.Time
	until  time.Time         // of the record before
	before [sha256.Size]byte // of the record before
}

// Store is an open store. Its methods are safe for concurrent use.
type Store struct {
	*keyed
	d      *dir
	keep   time.Duration
	clock  func() time.Time
	limits limits
	lock   io.Closer // nil: read only
	behind int64     // read only: bytes behind the last record when it was opened
	id     [16]byte

	queue chan *pending
	stop  chan struct{} // closed when no more records are taken
	ended chan struct{} // closed when the writer has ended
	close sync.Once
	w     writer

	reading sync.RWMutex // read: segments are being read; written: some are removed

	mu       sync.Mutex
	segments []segment // with what can be read
	durable  place     // in the last of them
	failure  error     // why nothing is written any more
}

// Open opens the store of a directory, which is made if it is not there. One process at a time
// has it open for writing, and closes it.
//
// What a crash left of records that nobody was told are durable is cut off, and a record says so. Damage
// is an error with query.CodeCorrupt.
func Open(name string, o *Options) (*Store, error) { return open(name, o, defaultLimits()) }

func open(name string, o *Options, l limits) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	if o.Keep < 0 {
		return nil, query.Errorf(query.CodeInvalid, "the audit keeps records for %v: it cannot be negative", o.Keep)
	}
	s := &Store{d: &dir{fs: o.FS, name: name, machine: o.FS == nil}, keep: o.Keep, clock: o.Clock, limits: l, keyed: &keyed{},
		queue: make(chan *pending, l.queue), stop: make(chan struct{}), ended: make(chan struct{})}
	if s.d.machine {
		s.d.fs = vfs.Default
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if o.ReadOnly {
		if err := s.read(); err != nil {
			return nil, s.d.failed("read", err)
		}
		close(s.ended)
		return s, nil
	}
	err := s.d.make()
	if err == nil {
		err = s.takeLock()
	}
	if err == nil {
		if err = s.begin(); err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}
	if err != nil {
		return nil, s.d.failed("open", err)
	}
	go s.run()
	return s, nil
}

// make makes the directory.
func (d *dir) make() error {
	if err := d.fs.MkdirAll(d.name, 0o700); err != nil {
		return err
	}
	return syncDir(d.fs, d.fs.PathDir(d.name))
}

func (s *Store) takeLock() (err error) {
	if s.lock, err = s.d.fs.Lock(s.d.path(lockName)); err != nil {
		return &query.Error{Code: query.CodeInUse, Message: "the audit store " + s.d.name + " cannot be locked: " + err.Error(),
			Hint: "another process has it open", Err: err}
	}
	return nil
}

// begin reads what is there, and makes it what can be written on.
func (s *Store) begin() error {
	firsts, others, err := s.d.list()
	if err != nil {
		return err
	}
	for _, name := range others {
		if name == secretMade || strings.HasSuffix(name, cutSuffix) {
			if err := s.d.fs.Remove(s.d.path(name)); err != nil {
				return err
			}
		}
	}
	if !slices.Contains(others, secretName) {
		if err := s.create(firsts); err != nil {
			return err
		}
	}
	if *s.keyed, err = s.d.secret(); err != nil {
		return err
	}
	if err := s.headers(true); err != nil {
		return err
	}
	cut, err := s.resume()
	if err != nil {
		return err
	}
	var first []*pending
	if cut > 0 {
		first = append(first, newPending(&Record{Call: CallCut, Outcome: Kept, Cut: uint64(cut)}))
	}
	if err := s.commit(first); err != nil {
		return errors.Join(err, s.w.f.Close())
	}
	return nil
}

// create makes the files of a new store, the secret last: without it nothing has been written.
func (s *Store) create(firsts []uint64) error {
	if len(firsts) > 0 {
		info, err := s.d.fs.Stat(s.d.path(segmentName(firsts[0])))
		if err != nil {
			return err
		}
		if len(firsts) > 1 || firsts[0] != 1 || info.Size() > headerBytes {
			return s.d.damaged(secretName, 0, 0, "it is not there")
		}
		if err := s.d.fs.Remove(s.d.path(segmentName(1))); err != nil {
			return err
		}
	}
	h := header{first: 1, made: s.now(), until: time.UnixMilli(0)}
	_, _ = rand.Read(h.store[:]) // it never fails
	f, err := s.d.newSegment(&h)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	_, err = s.d.newSecret()
	return err
}

// newSegment makes a segment, durably.
func (d *dir) newSegment(h *header) (vfs.File, error) {
	f, err := d.fs.OpenReadWrite(d.path(segmentName(h.first)), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// headers reads the headers of all segments. A last one that was being made when the power
// failed is removed, or, if nothing may be changed, left out.
func (s *Store) headers(mayRemove bool) error {
	firsts, _, err := s.d.list()
	if err != nil {
		return err
	}
	for i, first := range firsts {
		h, err := s.d.header(first)
		if errors.Is(err, errTorn) && i > 0 && i == len(firsts)-1 {
			unused, err := s.d.unused(first, mayRemove)
			if err != nil {
				return err
			}
			if unused {
				break
			}
		}
		switch {
		case errors.Is(err, errTorn):
			return s.d.damaged(segmentName(first), 0, 0, err.Error())
		case err != nil:
			return err
		case i > 0 && h.store != s.id:
			return s.d.damaged(segmentName(first), 0, 0, "it is of another store")
		}
		s.id = h.store
		s.segments = append(s.segments, segment{first: h.first, made: h.made, until: h.until, before: h.before})
	}
	if len(s.segments) == 0 {
		return s.d.damaged("*"+segmentSuffix, 0, 0, "all segments are gone")
	}
	return nil
}

func (d *dir) header(first uint64) (h header, err error) {
	s, err := d.open(first, -1)
	if err != nil {
		return h, err
	}
	return s.header, s.close()
}

// unused reports whether a segment without a header has no records either, and removes it.
func (d *dir) unused(first uint64, remove bool) (bool, error) {
	path := d.path(segmentName(first))
	info, err := d.fs.Stat(path)
	if err != nil || info.Size() > headerBytes {
		return false, err
	}
	if !remove {
		return true, nil
	}
	if err := d.fs.Remove(path); err != nil {
		return false, err
	}
	return true, d.sync()
}

// Head is the end of the chain: who notes it elsewhere and gives it to a later [Store.Verify]
// knows that nothing before it was changed since.
type Head struct {
	First  uint64            // number of the first record that is kept
	Number uint64            // of the last record, 0 without one
	Hash   [sha256.Size]byte // of the last record
	Behind int64             // told by Verify of a store opened ReadOnly: bytes behind the last record that are none. One was being written, or a crash or somebody cut it
}

// Head returns the end of the chain, as far as it is durable.
func (s *Store) Head() Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Head{First: s.segments[0].first, Number: s.durable.number, Hash: s.durable.hash}
}

// Err returns why the store takes no more records, nil if it does.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Close waits for the records that are being written and closes the store. Appends after it,
// and those that had no place yet, fail with query.CodeClosed. It returns what ended writing before, too.
func (s *Store) Close() (err error) {
	s.close.Do(func() {
		close(s.stop)
		<-s.ended
		if s.lock == nil {
			return
		}
		err = errors.Join(s.Err(), s.d.failed("close", errors.Join(s.w.f.Close(), s.lock.Close())))
	})
	return err
}

// closed is what an append after Close is told.
func (s *Store) closed() error {
	return query.Errorf(query.CodeClosed, "the audit store %s is closed", s.d.name)
}

// Append writes a record and returns when it is durable. Its number and time are given by the store. What is
// too long is cut and counted, see the limits.
//
// An error means that it is not durable, or that ctx ended first. If the store could not write it is
// query.CodeFailed, as for all later ones until the store is opened again; one that matches
// [ErrFull] says that the disk is full.
func (s *Store) Append(ctx context.Context, r Record) error {
	wait, err := s.Submit(ctx, r)
	if err != nil {
		return err
	}
	return wait(ctx)
}

// Submit gives a record its place behind those that were submitted before, and returns what waits
// until it is durable, with the errors of [Store.Append]. It blocks while very many are ahead of it.
func (s *Store) Submit(ctx context.Context, r Record) (wait func(context.Context) error, err error) {
	switch {
	case s.lock == nil:
		return nil, query.Errorf(query.CodeReadOnly, "the audit store %s is open for reading", s.d.name)
	case r.Outcome.String() == "" || r.Outcome == Kept:
		return nil, query.Errorf(query.CodeInvalid, "a record has no outcome")
	}
	r.Removed, r.Cut = Removed{}, 0 // only the store says these of itself
	p := newPending(&r)
	select {
	case <-s.stop:
		return nil, s.closed()
	default:
	}
	select {
	case s.queue <- p:
	case <-s.stop:
		return nil, s.closed()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return func(ctx context.Context) error { return s.wait(ctx, p) }, nil
}

func (s *Store) wait(ctx context.Context, p *pending) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
	}
	select {
	case <-p.done:
		return p.err
	default:
		return s.closed()
	}
}
