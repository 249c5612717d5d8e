package erasure

import (
	"cmp"
	"encoding/binary"

	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// Pending is what a record leaves to the purge.
type Pending struct {
	Received    int64    // of the record, in ms
	Names       []Hash   // of the people whom it erases
	Ordinals    []uint32 // that they had, ascending
	Quarantined uint64   // rows of the quarantine that it deleted
	Refused     uint64   // rows of erased people that it refused: their content is in the log
	Traces      []Trace
}

// Empty reports whether there is nothing to purge.
func (p *Pending) Empty() bool { return len(p.Names) == 0 && p.Refused == 0 }

// Append encodes what is pending, sealed.
func (p *Pending) Append() []byte {
	b := binary.AppendUvarint([]byte{version}, uint64(p.Received))
	b = appendHashes(b, p.Names)
	b = binary.AppendUvarint(b, uint64(len(p.Ordinals)))
	before := uint32(0)
	for _, o := range p.Ordinals {
		b = binary.AppendUvarint(b, uint64(o-before))
		before = o
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, p.Quarantined), p.Refused)
	return kv.Seal(nil, appendTraces(b, p.Traces))
}

// ReadPending decodes what is pending.
func ReadPending(sealed []byte) (*Pending, error) {
	const name = "what an erasure leaves to the purge"
	r, err := kv.NewReader(sealed, version)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	p := &Pending{Received: int64(r.Uvarint()), Names: takeHashes(&r)}
	before := uint32(0)
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		before += uint32(r.Uvarint())
		p.Ordinals = append(p.Ordinals, before)
	}
	p.Quarantined, p.Refused = r.Uvarint(), r.Uvarint()
	p.Traces = takeTraces(&r)
	r.Bad = r.Bad || len(r.B) > 0
	return p, damaged(&r, name)
}

// Code is a string of a dictionary.
type Code struct{ Attr, Code uint32 }

// Compare orders codes by attribute.
func (c Code) Compare(o Code) int {
	return cmp.Or(cmp.Compare(c.Attr, o.Attr), cmp.Compare(c.Code, o.Code))
}

// State is a purge under way, once it has found what it will remove.
type State struct {
	Started int64  // ms
	UpTo    uint64 // records up to this one are purged
	Events  uint64 // to be removed
	Strings uint64 // of dictionaries, removed so far
	Traces  []Trace
	Codes   []Code // of strings that may be nobody's any more
}

// Append encodes a state, sealed.
func (s *State) Append() []byte {
	b := []byte{version}
	for _, v := range []uint64{uint64(s.Started), s.UpTo, s.Events, s.Strings} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendTraces(b, s.Traces)
	b = binary.AppendUvarint(b, uint64(len(s.Codes)))
	for _, c := range s.Codes {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Attr)), uint64(c.Code))
	}
	return kv.Seal(nil, b)
}

// ReadState decodes a state.
func ReadState(sealed []byte) (*State, error) {
	const name = "the state of a purge"
	r, err := kv.NewReader(sealed, version)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	s := &State{Started: int64(r.Uvarint()), UpTo: r.Uvarint(), Events: r.Uvarint(), Strings: r.Uvarint(), Traces: takeTraces(&r)}
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		s.Codes = append(s.Codes, Code{uint32(r.Uvarint()), uint32(r.Uvarint())})
	}
	r.Bad = r.Bad || len(r.B) > 0
	return s, damaged(&r, name)
}

// Receipt says what a purge has removed.
type Receipt struct {
	Position          query.Position // records up to this one are purged
	Started, Finished int64          // ms
	People            uint64
	Ordinals          uint64
	Events            uint64
	Quarantined       uint64
	Refused           uint64
	Strings           uint64 // of dictionaries
	Files, Bytes      uint64 // looked through
	Values            uint64 // looked for
	Shared            uint64 // that others have too: they were not looked for
	Hits              uint64
	Where             []string // files with hits
	Names             []Hash
}

func (x *Receipt) numbers() []*uint64 {
	return []*uint64{&x.People, &x.Ordinals, &x.Events, &x.Quarantined, &x.Refused, &x.Strings, &x.Files, &x.Bytes, &x.Values, &x.Shared, &x.Hits}
}

// Append encodes a receipt, sealed.
func (x *Receipt) Append() []byte {
	b := []byte{version}
	for _, v := range []uint64{x.Position.Epoch, x.Position.Applied, uint64(x.Started), uint64(x.Finished)} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range x.numbers() {
		b = binary.AppendUvarint(b, *v)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Where)))
	for _, s := range x.Where {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return kv.Seal(nil, appendHashes(b, x.Names))
}

// ReadReceipt decodes a receipt.
func ReadReceipt(sealed []byte) (*Receipt, error) {
	const name = "a receipt of a purge"
	r, err := kv.NewReader(sealed, version)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	x := &Receipt{Position: query.Position{Epoch: r.Uvarint(), Applied: r.Uvarint()}, Started: int64(r.Uvarint()), Finished: int64(r.Uvarint())}
	for _, v := range x.numbers() {
		*v = r.Uvarint()
	}
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		x.Where = append(x.Where, r.Text())
	}
	x.Names = takeHashes(&r)
	r.Bad = r.Bad || len(r.B) > 0
	return x, damaged(&r, name)
}

func appendHashes(b []byte, hashes []Hash) []byte {
	b = binary.AppendUvarint(b, uint64(len(hashes)))
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func takeHashes(r *kv.Reader) (out []Hash) {
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		out = append(out, takeHash(r))
	}
	return out
}

func takeHash(r *kv.Reader) (h Hash) {
	copy(h[:], r.Take(uint64(len(h))))
	return h
}

func appendTraces(b []byte, traces []Trace) []byte {
	b = binary.AppendUvarint(b, uint64(len(traces)))
	for i := range traces {
		t := &traces[i]
		b = binary.LittleEndian.AppendUint32(append(b, t.Len), t.Hint)
		b = append(binary.LittleEndian.AppendUint32(b, t.Rest), t.Hash[:]...)
	}
	return b
}

func takeTraces(r *kv.Reader) (out []Trace) {
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		t := Trace{Len: r.Byte()}
		if b := r.Take(8); b != nil {
			t.Hint, t.Rest = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		}
		t.Hash = takeHash(r)
		r.Bad = r.Bad || t.Len < MinTrace || t.Len > maxTrace
		out = append(out, t)
	}
	return out
}
