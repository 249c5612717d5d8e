package raftlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// Limits.
const (
	// MaxEntry is how many bytes data and extensions of an entry have at most: twice a
	// batch, which must fit between two heartbeats.
	MaxEntry = 1 << 20

	entryVersion = 1
	entryHead    = 1 + 1 + 8 + 8 + 4 + 4 + 4
	sumSize      = 4
)

// StandIn is the type of what [Log.GetLog] answers where there is no entry, but a term is
// known: at the end of a snapshot, or where raft believes in entries that are deleted. Nobody
// may store or apply it.
const StandIn raft.LogType = 255

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //tidy:constant

// entrySize returns the bytes of an entry as it is stored.
func entrySize(l *raft.Log) int { return entryHead + len(l.Extensions) + len(l.Data) + sumSize }

// appendEntry appends an entry, and returns its sum besides.
func appendEntry(dst []byte, l *raft.Log, previous uint32) ([]byte, uint32) {
	start := len(dst)
	dst = append(dst, entryVersion, byte(l.Type))
	dst = binary.LittleEndian.AppendUint64(dst, l.Term)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(l.AppendedAt.Unix())) //tidy:clock only kept
	dst = binary.LittleEndian.AppendUint32(dst, uint32(l.AppendedAt.Nanosecond()))
	dst = binary.LittleEndian.AppendUint32(dst, previous)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(l.Extensions)))
	dst = append(append(dst, l.Extensions...), l.Data...)
	sum := entrySum(l.Index, dst[start:])
	return binary.LittleEndian.AppendUint32(dst, sum), sum
}

func entrySum(index uint64, body []byte) uint32 {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], index)
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, body)
}

// link is how an entry hangs together with the one before.
type link struct{ sum, previous uint32 }

// decodeEntry reads the entry of an index. What it has of it aliases b.
func decodeEntry(index uint64, b []byte) (l raft.Log, at link, err error) {
	if len(b) < entryHead+sumSize {
		return l, at, damagedEntry(index, "it has %d bytes", len(b))
	}
	body := b[:len(b)-sumSize]
	at.sum = binary.LittleEndian.Uint32(b[len(body):])
	if entrySum(index, body) != at.sum {
		return l, at, damagedEntry(index, "it fails its checksum")
	}
	if body[0] != entryVersion {
		return l, at, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("entry %d of the Raft log has version %d, this is a reader of version %d", index, body[0], entryVersion),
			Hint: "use a newer version of Kanta"}
	}
	nanoseconds, extensions := binary.LittleEndian.Uint32(body[18:]), binary.LittleEndian.Uint32(body[26:])
	rest := body[entryHead:]
	if nanoseconds >= 1e9 || uint64(extensions) > uint64(len(rest)) {
		return l, at, damagedEntry(index, "its head cannot be")
	}
	at.previous = binary.LittleEndian.Uint32(body[22:])
	l = raft.Log{Index: index, Type: raft.LogType(body[1]), Term: binary.LittleEndian.Uint64(body[2:])}
	l.AppendedAt = time.Unix(int64(binary.LittleEndian.Uint64(body[10:])), int64(nanoseconds)).UTC()
	if extensions > 0 {
		l.Extensions = rest[:extensions:extensions]
	}
	if data := rest[extensions:]; len(data) > 0 {
		l.Data = data
	}
	return l, at, nil
}

// checkEntries refuses what cannot be appended together.
func checkEntries(logs []*raft.Log) error {
	for i, l := range logs {
		switch size := len(l.Data) + len(l.Extensions); {
		case l.Index == 0 || l.Index != logs[0].Index+uint64(i):
			return query.Errorf(query.CodeInvalid, "Raft log: entries are appended from one index on without a gap, not %d at place %d behind %d", l.Index, i, logs[0].Index)
		case l.Type == StandIn:
			return query.Errorf(query.CodeInvalid, "Raft log: entry %d is a stand-in for one that somebody does not have", l.Index)
		case size > MaxEntry:
			return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("Raft log: entry %d has %d bytes, at most %d are allowed", l.Index, size, MaxEntry),
				Hint: "write smaller batches"}
		}
	}
	return nil
}
