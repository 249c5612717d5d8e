package replica

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// What a control entry begins with, and its kinds. The package comment specifies them.
const (
	controlVersion = 1

	controlMark    = 1
	controlVerdict = 2
	controlTerm    = 3
)

// The sizes of control entries and of what they have.
const (
	markSize    = 2 + 4
	bodySize    = 8 + 8 + 16 + 16 // of a holding without its mark
	holdingSize = 8 + bodySize    // with it
	maxHoldings = 64              // in a verdict: more members do not vote
	maxControl  = 64 + maxHoldings*(1+255+bodySize)
)

// holding is what a member has found at a mark.
type holding struct {
	mark     uint64 // the log index of the mark
	position query.Position
	chain    [16]byte
	replica  [16]byte
}

func (c *holding) String() string {
	return fmt.Sprintf("at position %s the chain %x and the digest %x", c.position, c.chain, c.replica)
}

func (c *holding) append(b []byte) []byte {
	return c.appendBody(binary.LittleEndian.AppendUint64(b, c.mark))
}

func (c *holding) appendBody(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, c.position.Epoch)
	b = binary.LittleEndian.AppendUint64(b, c.position.Applied)
	return append(append(b, c.chain[:]...), c.replica[:]...)
}

// decodeHolding reads holdingSize bytes.
func decodeHolding(b []byte) holding {
	c := holding{mark: binary.LittleEndian.Uint64(b)}
	c.body(b[8:])
	return c
}

func (c *holding) body(b []byte) {
	c.position = query.Position{Epoch: binary.LittleEndian.Uint64(b), Applied: binary.LittleEndian.Uint64(b[8:])}
	copy(c.chain[:], b[16:])
	copy(c.replica[:], b[32:])
}

// vote is what one member has found.
type vote struct {
	member  raft.ServerID
	holding holding
}

// verdict is what those who vote have found at a mark.
type verdict struct {
	mark   uint64
	voters int // how many vote in the cluster
	votes  []vote
}

// majority returns what more than half of those who vote have found.
func (v *verdict) majority() (holding, bool) {
	counts := map[holding]int{}
	for _, x := range v.votes {
		if counts[x.holding]++; counts[x.holding] > v.voters/2 {
			return x.holding, true
		}
	}
	return holding{}, false
}

// differ reports whether two have not found the same.
func (v *verdict) differ() bool {
	return slices.ContainsFunc(v.votes, func(x vote) bool { return x.holding != v.votes[0].holding })
}

func (v *verdict) String() string {
	var all []string
	for _, x := range v.votes {
		id, _ := memberOf(x.member)
		all = append(all, id+" has "+x.holding.String())
	}
	return strings.Join(all, ", ")
}

func (v *verdict) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, v.mark)
	b = append(b, byte(min(v.voters, math.MaxUint8)), byte(len(v.votes))) // of so many no maxHoldings are a majority
	for _, x := range v.votes {
		b = append(append(b, byte(len(x.member))), x.member...)
		b = x.holding.appendBody(b)
	}
	return b
}

// decodeVerdict reads what append has made.
func decodeVerdict(b []byte) (*verdict, bool) {
	if len(b) < 10 {
		return nil, false
	}
	v := &verdict{mark: binary.LittleEndian.Uint64(b), voters: int(b[8])}
	count := int(b[9])
	b = b[10:]
	if count == 0 || count > min(v.voters, maxHoldings) {
		return nil, false
	}
	for range count {
		if len(b) < 1 || len(b) < 1+int(b[0])+bodySize {
			return nil, false
		}
		name, rest := b[1:1+int(b[0])], b[1+int(b[0]):]
		x := vote{raft.ServerID(name), holding{mark: v.mark}}
		x.holding.body(rest)
		v.votes, b = append(v.votes, x), rest[bodySize:]
	}
	return v, len(b) == 0
}

// control is a control entry.
type control struct {
	kind    byte
	verdict *verdict // of controlVerdict
}

// encode returns the extensions of the entry.
func (c control) encode() []byte {
	b := []byte{controlVersion, c.kind}
	if c.verdict != nil {
		b = c.verdict.append(b)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeControl reads the extensions of an entry without data.
func decodeControl(b []byte) (c control, err error) {
	damaged := func() error {
		return query.Errorf(query.CodeCorrupt, "a control entry of %d bytes is damaged", len(b))
	}
	if len(b) < markSize || len(b) > maxControl {
		return c, damaged()
	}
	if b[0] != controlVersion {
		return c, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("a control entry is of version %d; this program reads version %d", b[0], controlVersion),
			Hint: "use the version of Kanta that the leader has"}
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return c, damaged()
	}
	switch {
	case (b[1] == controlMark || b[1] == controlTerm) && len(b) == markSize:
		return control{kind: b[1]}, nil
	case b[1] == controlVerdict:
		if v, ok := decodeVerdict(body[2:]); ok {
			return control{kind: b[1], verdict: v}, nil
		}
	}
	return c, damaged()
}
