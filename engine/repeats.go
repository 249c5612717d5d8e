package engine

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Limits of the memory of batches that came with a source, run and sequence.
const (
	maxSources    = 4096 // sources remembered
	sourceWindow  = 1024 // outcomes remembered of each
	sourceMinDays = 7    // a source is not forgotten within so many days of received time
	dayMillis     = 24 * 3600 * 1000
)

// repeats remembers the outcomes of batches, so that a retry returns the first outcome.
// It belongs to the writer.
type repeats struct{ sources map[string]*source }

// source is the remembered batches of one source, oldest first.
type source struct {
	hash     uint64
	batches  []remembered
	received int64 // of the newest
}

type remembered struct {
	run, sequence uint64
	result        batch.Result
	received      int64
}

func (m *remembered) less(run, sequence uint64) bool {
	return m.run < run || m.run == run && m.sequence < sequence
}

// lowest returns the place of the batch with the lowest run and sequence.
func (s *source) lowest() int {
	low := 0
	for i := range s.batches {
		if m := &s.batches[i]; m.less(s.batches[low].run, s.batches[low].sequence) {
			low = i
		}
	}
	return low
}

// seen returns the first outcome of a batch that was applied before.
func (r *repeats) seen(b *batch.Decoded) (*batch.Result, error) {
	s := r.sources[b.Source]
	if b.Source == "" || s == nil || canary.Is("repeat") { // it is done once more
		return nil, nil
	}
	for i := len(s.batches) - 1; i >= 0; i-- {
		if m := &s.batches[i]; m.run == b.Run && m.sequence == b.Sequence {
			return &m.result, nil
		}
	}
	if len(s.batches) == sourceWindow {
		if !s.batches[s.lowest()].less(b.Run, b.Sequence) {
			return nil, &query.Error{Code: query.CodeStaleSequence,
				Message: fmt.Sprintf("batch %d.%d of source %q is older than the %d that are remembered", b.Run, b.Sequence, b.Source, sourceWindow),
				Hint:    "whether it was applied is no longer known; it is not applied now"}
		}
	}
	return nil, nil
}

// add remembers an outcome and stores it with the batch.
func (r *repeats) add(b *batch.Decoded, result batch.Result, received int64, kb *kv.Batch) {
	if b.Source == "" {
		return
	}
	s := r.sources[b.Source]
	if s == nil {
		s = &source{hash: digest.String(b.Source)}
		r.sources[b.Source] = s
		r.makeRoom(b.Source, kb)
	}
	s.received = received
	if len(s.batches) == sourceWindow {
		// The lowest goes, not the oldest: what is forgotten must be below all that is remembered.
		i := s.lowest()
		kb.Delete(keys.Repeat(s.hash, s.batches[i].run, s.batches[i].sequence))
		s.batches = slices.Delete(s.batches, i, i+1)
	}
	s.batches = append(s.batches, remembered{b.Run, b.Sequence, result, received})
	kb.Set(keys.Repeat(s.hash, b.Run, b.Sequence), kv.Seal(nil, appendRemembered(b.Source, &result, received)))
}

// forgetRejected forgets the details of rows that were not applied, as an opening does:
// they may be of somebody who is erased.
func (r *repeats) forgetRejected() {
	for _, s := range r.sources { //tidy:same all of them
		for i := range s.batches {
			s.batches[i].result.Rejected = nil
		}
	}
}

// full reports that a new source cannot be remembered yet.
func (r *repeats) full(name string, received int64) error {
	if name == "" || r.sources[name] != nil || len(r.sources) < maxSources {
		return nil
	}
	if _, old := r.oldest(""); received-old.received < sourceMinDays*dayMillis {
		return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("%d sources wrote within %d days; no more can be remembered", maxSources, sourceMinDays),
			Hint: "use fewer source names: one per feed, not one per batch"}
	}
	return nil
}

func (r *repeats) oldest(except string) (name string, s *source) {
	for n, c := range r.sources { //tidy:same the oldest, and of two the first by name
		if n != except && (s == nil || c.received < s.received || c.received == s.received && n < name) {
			name, s = n, c
		}
	}
	return name, s
}

func (r *repeats) makeRoom(except string, kb *kv.Batch) {
	if len(r.sources) <= maxSources {
		return
	}
	name, s := r.oldest(except)
	delete(r.sources, name)
	kb.DeleteRange(keys.RepeatsOf(s.hash))
}

// appendRemembered is the stored form: source, received time, position, the counters.
// The rejected rows are not kept: they are in the quarantine.
func appendRemembered(name string, r *batch.Result, received int64) []byte {
	b := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	b = appendPosition(binary.AppendUvarint(b, uint64(received)), r.Position)
	for _, v := range []uint64{r.Received, r.Accepted, r.Quarantined, r.Duplicates, r.Refused, r.Created} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// load takes a stored outcome into memory.
func (r *repeats) load(hash, run, sequence uint64, b []byte) error {
	f := kv.Reader{B: b}
	name, received := f.Text(), int64(f.Uvarint())
	m := remembered{run: run, sequence: sequence, received: received}
	m.result.Position = takePosition(&f)
	for _, p := range []*uint64{&m.result.Received, &m.result.Accepted, &m.result.Quarantined, &m.result.Duplicates, &m.result.Refused, &m.result.Created} {
		*p = f.Uvarint()
	}
	s := r.sources[name]
	if s == nil {
		s = &source{hash: hash}
		r.sources[name] = s
	}
	s.batches = append(s.batches, m)
	s.received = max(s.received, received)
	return damaged(&f, "a remembered batch")
}

// order puts the loaded outcomes of each source into the order of their positions.
func (r *repeats) order() {
	for _, s := range r.sources { //tidy:same each by itself
		slices.SortFunc(s.batches, func(a, b remembered) int {
			if a.result.Position.Applied < b.result.Position.Applied {
				return -1
			}
			return 1
		})
	}
}
