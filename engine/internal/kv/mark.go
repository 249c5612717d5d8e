package kv

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/query"
)

const (
	markFile    = "MARK"
	markMagic   = "KNTM"
	markVersion = 1
	markSize    = 84   // of a slot, what it says
	markSlot    = 4096 // of a slot: a disk writes no less, so that writing one cannot damage the other
	markSlots   = 2
)

// Mark is a position that is known to be durable. A store that is below it has lost
// acknowledged writes.
type Mark struct {
	Epoch, Applied uint64
	Chain          [16]byte // the chain hash of the log at the position
}

// Above reports whether the mark is of a later position.
func (m Mark) Above(o Mark) bool {
	return m.Epoch > o.Epoch || m.Epoch == o.Epoch && m.Applied > o.Applied
}

// appendMark appends what a slot says.
func appendMark(dst []byte, sequence uint64, id [16]byte, m Mark, list fileList) []byte {
	start := len(dst)
	dst = append(append(dst, markMagic...), markVersion, 0, 0, 0)
	for _, v := range []uint64{sequence, m.Epoch, m.Applied} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	dst = append(append(dst, m.Chain[:]...), id[:]...)
	dst = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, list.number), list.size)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// errNoMark is a slot that says nothing: it was torn, or is damaged.
var errNoMark = errors.New("the slot is damaged")

// slot is what a slot says.
type slot struct {
	sequence uint64
	id       [16]byte
	mark     Mark
	list     fileList
}

// readSlot reads a slot.
func readSlot(b []byte) (s slot, err error) {
	if len(b) < markSize || string(b[:4]) != markMagic || crc32.Checksum(b[:markSize-4], castagnoli) != binary.LittleEndian.Uint32(b[markSize-4:]) {
		return s, errNoMark
	}
	if b[4] != markVersion {
		return s, query.Errorf(query.CodeNewerFormat, "it has version %d, this is a reader of version %d", b[4], markVersion)
	}
	if b[5]|b[6]|b[7] != 0 {
		return s, errNoMark
	}
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	s.sequence, s.mark.Epoch, s.mark.Applied, s.list = number(8), number(16), number(24), fileList{number(64), number(72)}
	copy(s.mark.Chain[:], b[32:48])
	copy(s.id[:], b[48:64])
	return s, nil
}

// newestSlot reads the file: of the slots that say something the one with the highest
// sequence number. store is its id, in hexadecimal digits.
func newestSlot(b []byte, store string) (newest slot, err error) {
	if len(b) != markSlots*markSlot {
		return newest, query.Errorf(query.CodeCorrupt, "it has %d bytes, not %d", len(b), markSlots*markSlot)
	}
	found := false
	for i := range markSlots {
		s, err := readSlot(b[i*markSlot:][:markSlot])
		switch {
		case errors.Is(err, errNoMark):
			continue
		case err != nil:
			return newest, err
		case s.sequence%markSlots != uint64(i):
			continue // written to the wrong place
		case hex.EncodeToString(s.id[:]) != store:
			return newest, query.Errorf(query.CodeCorrupt, "it is of store %x, the file %s says %s: one of the two is damaged, or of another store", s.id, identityFile, store)
		}
		if !found || s.sequence > newest.sequence {
			newest, found = s, true
		}
	}
	if !found {
		return newest, query.Errorf(query.CodeCorrupt, "both of its slots are damaged")
	}
	return newest, nil
}

// CreateMark makes the file in the directory of a store, in place of one that is there.
func CreateMark(files vfs.FS, dir, store string, m Mark) error {
	text, err := hex.DecodeString(store)
	if err != nil || len(text) != 16 {
		return fmt.Errorf("the id of a store is 32 hexadecimal digits, not %q", store)
	}
	b := make([]byte, markSlots*markSlot)
	for i := range markSlots {
		appendMark(b[i*markSlot:i*markSlot], uint64(i), [16]byte(text), m, fileList{})
	}
	name := files.PathJoin(dir, markFile)
	if err := writeFile(files, name+".new", string(b)); err != nil {
		return err
	}
	return errors.Join(files.Rename(name+".new", name), SyncDir(files, dir))
}

// marks writes the file. Safe for concurrent use.
type marks struct {
	mu       sync.Mutex
	file     vfs.File // nil: the store was opened for reading
	id       [16]byte
	sequence uint64
	last     Mark
	list     fileList
	unknown  error // why there is no last one; only with Config.AcceptLoss
	failed   error // of the first write that did
	slot     [markSlot]byte
}

// openMarks reads the mark of a store.
func openMarks(dir, store string, c Config) (*marks, error) {
	k := &marks{}
	id, err := hex.DecodeString(store)
	if err != nil || len(id) != len(k.id) {
		return nil, query.Errorf(query.CodeCorrupt, "the file %s of %s is damaged: an id is 32 hexadecimal digits", identityFile, dir)
	}
	copy(k.id[:], id)
	name := c.FS.PathJoin(dir, markFile)
	f, err := c.FS.Open(name)
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, markSlots*markSlot+1))
		err = errors.Join(err, f.Close())
	}
	switch {
	case isNotExist(err):
		err = query.Errorf(query.CodeCorrupt, "it is missing")
	case err != nil:
		return nil, diskError("read "+name, err)
	default:
		var s slot
		s, err = newestSlot(b, store)
		k.sequence, k.last, k.list = s.sequence, s.mark, s.list
	}
	if err != nil {
		err = markError(name, err)
		if c.AcceptLoss && errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			k.unknown = err
			return k, nil
		}
		return nil, err
	}
	if !c.ReadOnly {
		k.file, err = c.FS.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	}
	return k, err
}

// markError says what a mark that cannot be read means.
func markError(name string, err error) error {
	out := &query.Error{Code: query.CodeCorrupt, Message: fmt.Sprintf("%s cannot be used: %v. Whether acknowledged batches are missing cannot be told without it", name, err), Hint: WayOut, Err: err}
	if errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		out.Code, out.Hint = query.CodeNewerFormat, "use a newer version of Kanta"
	}
	return out
}

// WayOut is what to do with a store that has lost acknowledged writes, or may have.
const WayOut = "restore it from a backup; or have what is there with kanta check --repair --accept-loss, which begins a new epoch and says what was lost"

// Mark returns the last mark that was written. The error says why there is none; only a
// store that was opened with Config.AcceptLoss has one.
func (s *Store) Mark() (Mark, error) {
	s.marks.mu.Lock()
	defer s.marks.mu.Unlock()
	return s.marks.last, s.marks.unknown
}

// WriteMark makes a mark durable, unless there is one as high and nothing else to be marked.
// The caller has made sure that its position is durable: a mark that is ahead of the log
// looks like damage after a crash.
func (s *Store) WriteMark(m Mark) error {
	k := s.marks
	k.mu.Lock()
	defer k.mu.Unlock()
	list := s.lists.durable()
	if list.number == 0 {
		list = k.list
	}
	if !m.Above(k.last) {
		m = k.last
	}
	switch {
	case k.failed != nil: // what is in the slot is not known, and the other one must not be lost too
		return k.failed
	case m == k.last && list == k.list:
		return nil
	case k.file == nil:
		return query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	sequence := k.sequence + 1
	appendMark(k.slot[:0], sequence, k.id, m, list)
	_, err := k.file.WriteAt(k.slot[:], int64(sequence%markSlots)*markSlot)
	if err == nil {
		err = k.file.SyncData()
	}
	if err != nil {
		k.failed = &query.Error{Code: query.CodeFailed, Message: fmt.Sprintf("%s cannot be written: %v", s.fs.PathJoin(s.home, markFile), err), Hint: "see to the disk, then open the store again", Err: err}
		return k.failed
	}
	k.sequence, k.last, k.list = sequence, m, list
	return nil
}

// ReplaceMark makes the file anew, whatever was in it.
func (s *Store) ReplaceMark(m Mark) error {
	k := s.marks
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.close()
	if err == nil {
		err = CreateMark(s.fs, s.home, s.ID, m)
	}
	if err == nil {
		k.file, err = s.fs.OpenReadWrite(s.fs.PathJoin(s.home, markFile), vfs.WriteCategoryUnspecified)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", s.fs.PathJoin(s.home, markFile), err)
	}
	k.sequence, k.last, k.list, k.unknown = markSlots-1, m, fileList{}, nil
	return nil
}

func (k *marks) close() error {
	if k.file == nil {
		return nil
	}
	err := k.file.Close()
	k.file = nil
	return err
}

// logFiles returns the files of Pebble's log and its lists of files: opening replaces them.
func logFiles(files vfs.FS, dir string) ([]string, error) {
	names, err := files.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		if strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST-") {
			out = append(out, files.PathJoin(dir, name))
		}
	}
	return out, nil
}
