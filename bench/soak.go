package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/query"
)

// SoakStore is what a soak needs of a database.
type SoakStore interface {
	Store
	Snapshot(ctx context.Context) (query.Snapshot, error)
	Segments(ctx context.Context) ([]query.SavedSegment, error)
	Lists(ctx context.Context) ([]query.SavedList, error)
	Export(ctx context.Context, key string, w io.Writer) error
	Erase(ctx context.Context, reference string, keys ...string) (query.Erasure, error)
	Erased(ctx context.Context, f func(query.ErasedPerson) error) error
	Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error)
	Backup(ctx context.Context, target query.BackupTarget, o *query.BackupOptions) (query.BackupReport, error)
	Check(ctx context.Context, progress func(done, total uint64, what string)) (query.CheckReport, error)
}

// DefaultSoak is how long a soak lasts: two hours of a day.
const DefaultSoak = 10 * time.Minute

// SoakOptions say what is soaked.
type SoakOptions struct {
	Data     Options // Profiles, Events and Seed of what is loaded first; WithAbsent as they say
	Dir      string  // an empty directory; its folder "store" is the store
	Open     func(dir string) (SoakStore, error)
	Target   query.BackupTarget              // of the backups
	Prune    func(ctx context.Context) error // deletes old backups of the target; may be nil
	Duration time.Duration                   // 0: DefaultSoak
	Progress func(what string)               // what begins now; may be nil

	leak func() // of the tests: called in each quiet moment, by one goroutine
}

// SoakBackupSum adds up backups.
type SoakBackupSum struct {
	Bytes, Sent int64         // of the store's files, and those of them that were sent
	Paused      time.Duration // the longest that writers waited
}

func (s *SoakBackupSum) add(r *query.BackupReport) {
	s.Bytes += r.Bytes
	s.Sent += r.SentRaw
	s.Paused = max(s.Paused, r.Paused)
}

// SoakPurgeSum adds up purges.
type SoakPurgeSum struct{ People, Events, Bytes uint64 }

func (s *SoakPurgeSum) add(r *query.Receipt) {
	s.People += r.People
	s.Events += r.Events
	s.Bytes += r.Bytes
}

// SoakReport is what a soak has found.
type SoakReport struct {
	Load       LoadFigure // profiles and events together
	Took       time.Duration
	Deeds      []SoakDeed // in the order of their numbers
	Rows       SoakRows   // what became of what was written, as the books have it and the store said
	GivenUp    uint64     // questions that ended because the caller had gone
	Backups    SoakBackupSum
	Purges     SoakPurgeSum
	Measures   []SoakMeasure // their least, median and largest by tenths
	Latencies  []SoakLatency
	Check      query.CheckReport
	Stats      query.Stats // in the end, folded
	Goroutines [2]int      // before the store was opened, and after it was closed
	Files      [2]int      // descriptors, likewise; 0 where the system does not tell
	Void       []string    // why the run says nothing; none: it does
	Verdicts   []SoakVerdict
}

// SoakDeed is how often something was done.
type SoakDeed struct {
	Deed      Deed
	Done, Due uint64
}

// ErrSoak is the error of a soak that has broken a bound, or says nothing because too little
// was done; the report says which.
var ErrSoak = errors.New("the soak has failed")

// soak is one Soak.
type soak struct {
	SoakOptions
	g       *Generator
	store   SoakStore
	start   time.Time
	actors  []*actor
	gate    sync.RWMutex // held for reading by who does something, for writing in quiet moments
	writers []*soakWriter
	eraser  *soakWriter
	due     [NumDeeds]uint64
	done    deeds
	givenUp atomic.Uint64
	clocks  [numClocks][tenths]latencies
	samples []sample
	backups SoakBackupSum // of the one goroutine that makes them
	purged  SoakPurgeSum  // likewise
	report  *SoakReport
}

// Soak loads a store and then lives a part of a company's day with it, twelve times as fast:
// see [Deed]. It measures what such a store takes, and says whether that stays within bounds.
// What the store says of every batch, and what it holds in the end, is compared with the
// books that the writers keep; a difference is an error. With [ErrSoak] the report is whole;
// with another error it holds what there was until then.
func Soak(ctx context.Context, o SoakOptions) (report SoakReport, err error) {
	if o.Duration <= 0 {
		o.Duration = DefaultSoak
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &soak{SoakOptions: o, g: New(o.Data), report: &report}
	if s.Dir, err = realPath(o.Dir); err != nil {
		return report, err
	}
	report.Goroutines[0] = runtime.NumGoroutine()
	report.Files[0], _ = descriptors(s.Dir)
	if s.store, err = o.Open(filepath.Join(s.Dir, "store")); err != nil {
		return report, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, s.store.Close())
		}
	}()
	if err := s.load(ctx); err != nil {
		return report, fmt.Errorf("load: %w", err)
	}
	o.Progress(fmt.Sprintf("living %v of a day in %v", (compression * o.Duration).Round(time.Second), o.Duration))
	if err := s.live(ctx); err != nil {
		return report, err
	}
	if err := s.settleUp(ctx); err != nil {
		return report, err
	}
	closed = true
	if err := s.store.Close(); err != nil {
		return report, err
	}
	s.left(ctx)
	return report, s.judge()
}

// realPath returns the absolute path of a directory, without links, as the system names what is open.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// load makes the store that the day begins with, and the books about it.
func (s *soak) load(ctx context.Context) error {
	s.Progress("loading")
	if err := s.g.AddSchema(ctx, s.store); err != nil {
		return err
	}
	for class := range uint64(soakWriters) {
		s.writers = append(s.writers, s.newWriter(class, soakWriters+1))
	}
	s.eraser = s.newWriter(soakWriters, soakWriters+1)
	r := &runner{RunOptions: RunOptions{Data: s.Data, Progress: s.Progress}, g: s.g, report: &Report{}}
	err := r.load(ctx, s.store, "batches", s.Data.Profiles+s.Data.Events, func() error {
		if err := r.applyAll(ctx, s.store, 0, s.Data.Profiles, batchRows, s.g.profiles); err != nil {
			return err
		}
		return r.applyAll(ctx, s.store, 0, s.Data.Events, batchRows, s.g.eventFiller(false))
	})
	if err != nil {
		return err
	}
	s.report.Load = r.report.Loads[0]
	all := s.everyWriter()
	var e Event
	for n := range s.Data.Events {
		s.g.Event(n, &e)
		all[e.Profile%uint64(len(all))].b.acts[e.Profile/uint64(len(all))]++
	}
	for _, w := range s.writers {
		for n := range listsOfWriter {
			if err := w.changeList(ctx, w.listName(n)); err != nil {
				return err
			}
		}
	}
	return s.g.SaveSegments(ctx, s.store, savedSegments)
}

func (s *soak) everyWriter() []*soakWriter {
	return append(s.writers[:len(s.writers):len(s.writers)], s.eraser)
}

// live lives the day.
func (s *soak) live(ctx context.Context) error {
	s.assign()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.start = time.Now()
	var wg sync.WaitGroup
	for _, a := range s.actors {
		wg.Go(func() {
			if err := a.live(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() {
		if err := s.watch(ctx); err != nil {
			cancel(err)
		}
	})
	wg.Wait()
	s.report.Took = time.Since(s.start)
	return context.Cause(ctx)
}

// assign says who does what.
func (s *soak) assign() {
	for n, w := range s.writers {
		a := s.newActor()
		a.has(SoakEvents, n, soakWriters, w.sendEvents)
		a.has(SoakChanges, n, soakWriters, w.sendChanges)
		a.has(SoakSignups, n, soakWriters, w.sendSignups)
		a.has(SoakDeletes, n, soakWriters, w.sendDelete)
		a.has(SoakLists, n, soakWriters, w.sendList)
		a.has(SoakSegments, n, soakWriters, w.sendSegment)
	}
	for n := range soakAskers {
		q, a := s.newAsker(uint64(n)), s.newActor()
		a.has(SoakQuestions, n, soakAskers, q.ask)
		a.has(SoakViews, n, soakAskers, q.view)
		a.has(SoakCancelled, n, soakAskers, q.giveUp)
		a.has(SoakRefused, n, soakAskers, q.refused)
		a.has(SoakExports, n, soakAskers, q.export)
	}
	holder, holding := &soakHolder{soakAsker: s.newAsker(soakAskers)}, s.newActor()
	holding.has(SoakSnapshots, 0, 1, holder.hold)
	holding.end = holder.releaseAll
	s.newActor().has(SoakErasures, 0, 1, s.eraser.erase).long = true
	s.newActor().has(SoakBackups, 0, 1, s.backup).long = true
}

// settleUp compares what the store holds in the end with the books, and checks it.
func (s *soak) settleUp(ctx context.Context) (err error) {
	s.Progress("comparing the store with the books")
	for d := range NumDeeds {
		s.report.Deeds = append(s.report.Deeds, SoakDeed{Deed(d), s.done[d].Load(), s.due[d]})
	}
	s.report.GivenUp, s.report.Backups, s.report.Purges = s.givenUp.Load(), s.backups, s.purged
	var people, events uint64
	for _, w := range s.everyWriter() {
		s.report.Rows.add(w.b.sum)
		p, e := w.b.totals()
		people, events = people+p, events+e
	}
	if err := s.store.Compact(ctx); err != nil {
		return err
	}
	if s.report.Stats, err = s.store.Stats(ctx); err != nil {
		return err
	}
	have, err := s.countEvents(ctx)
	if err != nil {
		return err
	}
	if s.report.Stats.Profiles != people || have != events {
		return fmt.Errorf("the store has %d people with %d events; right are %d and %d", s.report.Stats.Profiles, have, people, events)
	}
	if err := errors.Join(s.compareLists(ctx), s.compareSegments(ctx), s.compareErased(ctx)); err != nil {
		return err
	}
	s.Progress("checking the store")
	s.report.Check, err = s.store.Check(ctx, nil)
	return err
}

// countEvents returns how many events there are of all types, of those who live.
func (s *soak) countEvents(ctx context.Context) (n uint64, err error) {
	for _, name := range s.g.events.names {
		r, err := s.store.Analyze(ctx, "trend", "", query.Arguments{"event": {name}, "per": {"month"}, "from": {"2025-01-01"}}, &query.Options{Now: s.clock().AddDate(0, 1, 0)})
		if err != nil {
			return 0, err
		}
		for _, t := range r.Tables {
			if t.Name != "periods" {
				continue
			}
			for _, row := range t.Rows {
				n += uint64(row.Values[len(row.Values)-1].Ordered())
			}
		}
	}
	return n, nil
}

func (s *soak) compareLists(ctx context.Context) error {
	lists, err := s.store.Lists(ctx)
	if err != nil {
		return err
	}
	have := map[string]uint64{}
	for _, l := range lists {
		have[l.Name] = l.People
	}
	n := 0
	for _, w := range s.everyWriter() {
		for name, people := range w.b.lists {
			if n++; have[name] != uint64(len(people)) {
				return fmt.Errorf("the list %s has %d people; right are %d", name, have[name], len(people))
			}
		}
	}
	if n != len(have) {
		return fmt.Errorf("there are %d lists; right are %d", len(have), n)
	}
	return nil
}

func (s *soak) compareSegments(ctx context.Context) error {
	saved, err := s.store.Segments(ctx)
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, x := range s.g.Segments(savedSegments) {
		want[x.Name] = x.Text
	}
	for _, w := range s.everyWriter() {
		for name, text := range w.segments {
			want[name] = text
		}
	}
	for _, x := range saved {
		if want[x.Name] != x.Text {
			return fmt.Errorf("the segment %s is %q; right is %q", x.Name, x.Text, want[x.Name])
		}
	}
	if len(saved) != len(want) {
		return fmt.Errorf("there are %d segments; right are %d", len(saved), len(want))
	}
	return nil
}

func (s *soak) compareErased(ctx context.Context) error {
	n := uint64(0)
	if err := s.store.Erased(ctx, func(query.ErasedPerson) error { n++; return nil }); err != nil {
		return err
	}
	if want := s.report.Rows.Erased; n != want {
		return fmt.Errorf("the ledger has %d erased people; right are %d", n, want)
	}
	return nil
}
