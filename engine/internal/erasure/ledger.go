package erasure

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// What is hashed begins with one of these, so that no hash stands for two things.
const (
	labelName  = 0x0C
	labelTrace = 0x0D
	labelHint  = 0x0E
	labelText  = 0x0F
)

const version = 1

// Secret is the key of the hashes: the store's id.
type Secret struct {
	id   [16]byte
	hint uint64
}

// NewSecret makes the secret of a store; its id is 32 hexadecimal digits.
func NewSecret(id string) (s Secret) {
	_, _ = hex.Decode(s.id[:], []byte(id[:min(len(id), 32)])) // an id that is none was refused at opening
	h := sha256.Sum256(append([]byte{labelHint}, s.id[:]...))
	s.hint = binary.LittleEndian.Uint64(h[:])
	return s
}

// Hash is a keyed hash of a person's key, or of a value.
type Hash [16]byte

// String returns the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Compare orders hashes.
func (h Hash) Compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// ParseHash is the inverse of String.
func ParseHash(s string) (h Hash, ok bool) {
	n, err := hex.Decode(h[:], []byte(s[:min(len(s), 2*len(h))]))
	return h, err == nil && n == len(h) && len(s) == 2*len(h)
}

func (s *Secret) hash(label byte, b []byte) (h Hash) {
	var buf [128]byte // on the stack, for most
	d := sha256.Sum256(append(append(append(buf[:0], label), s.id[:]...), b...))
	copy(h[:], d[:])
	return h
}

// Name returns the name of a person under which the ledger has them.
func (s *Secret) Name(key []byte) Hash { return s.hash(labelName, key) }

// Text returns the hash by which a string of a dictionary is known that is blanked.
func (s *Secret) Text(b []byte) [16]byte { return s.hash(labelText, b) }

// KeyHint returns what tells most keys that are not in the ledger, at a tenth of what a name costs.
func (s *Secret) KeyHint(key []byte) uint32 {
	var d xxhash.Digest
	d.ResetWithSeed(s.hint)
	_, _ = d.Write(key)
	return uint32(d.Sum64() >> 32)
}

// Entry is what the ledger says of a person.
type Entry struct {
	Hint       uint32 // of the key
	Erased     int64  // received time of the record, in ms
	Position   query.Position
	Readmitted int64 // received time, 0: not readmitted
	Reference  string
}

// Refuses reports whether a row of the person is refused; of an event it is asked with its
// time, of anything else with [math.MaxInt64].
func (e *Entry) Refuses(time int64) bool { return e.Readmitted == 0 || time <= e.Erased }

// NewerThan reports whether an entry of the same person tells of more than another one.
func (e *Entry) NewerThan(o *Entry) bool {
	return e.Erased > o.Erased || e.Erased == o.Erased && e.Readmitted > o.Readmitted
}

// Append encodes an entry, sealed.
func (e *Entry) Append() []byte {
	b := binary.LittleEndian.AppendUint32([]byte{version}, e.Hint)
	b = binary.AppendUvarint(b, uint64(e.Erased))
	for _, v := range []uint64{e.Position.Epoch, e.Position.Applied, uint64(e.Readmitted)} {
		b = binary.AppendUvarint(b, v)
	}
	return kv.Seal(nil, append(b, e.Reference...))
}

// ReadEntry decodes an entry.
func ReadEntry(sealed []byte) (*Entry, error) {
	const name = "an entry of the ledger of erased people"
	r, err := kv.NewReader(sealed, version)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	e := &Entry{}
	if b := r.Take(4); b != nil {
		e.Hint = binary.LittleEndian.Uint32(b)
	}
	e.Erased, e.Position, e.Readmitted = int64(r.Uvarint()), query.Position{Epoch: r.Uvarint(), Applied: r.Uvarint()}, int64(r.Uvarint())
	e.Reference = string(r.B)
	return e, damaged(&r, name)
}

func damaged(r *kv.Reader, name string) error {
	if r.Bad {
		return query.Errorf(query.CodeCorrupt, "%s is damaged", name)
	}
	return nil
}
