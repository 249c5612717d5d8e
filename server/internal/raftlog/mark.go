package raftlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/halt"
	"github.com/kantadb/kanta/query"
)

const (
	markFile    = "MARK"
	markMagic   = "KNTL"
	markVersion = 1
	markSize    = 68   // of a slot, what it says
	markSlot    = 4096 // of a slot: a disk writes no less, so that writing one cannot damage another
	markSlots   = 3    // one that was synced, one that is being synced, one to write to meanwhile

	// markEvery is the time between two syncs of the mark: more often it would be in the way
	// of the log, and what a power cut can hide is not more than this.
	markEvery = 100 * time.Millisecond
)

// mark is what the log has had, durably.
type mark struct {
	base, last uint64
	sum        uint32 // of the last entry; 0 if there is none
	stable     uint64 // sequence of the stable values
	stableSum  uint32
}

// slot is what a slot says.
type slot struct {
	sequence uint64
	id       [16]byte
	mark
}

// appendSlot appends what slot number n says.
func appendSlot(dst []byte, n int, s *slot) []byte {
	start := len(dst)
	dst = append(append(dst, markMagic...), markVersion, byte(n), 0, 0)
	dst = append(binary.LittleEndian.AppendUint64(dst, s.sequence), s.id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, s.base)
	dst = binary.LittleEndian.AppendUint64(dst, s.last)
	dst = binary.LittleEndian.AppendUint32(dst, s.sum)
	dst = binary.LittleEndian.AppendUint64(dst, s.stable)
	dst = binary.LittleEndian.AppendUint32(dst, s.stableSum)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// readSlot reads slot number n; ok is false if it says nothing: it was torn, or is damaged.
func readSlot(n int, b []byte) (s slot, ok bool, err error) {
	if len(b) < markSize || string(b[:4]) != markMagic || crc32.Checksum(b[:markSize-sumSize], castagnoli) != binary.LittleEndian.Uint32(b[markSize-sumSize:]) {
		return s, false, nil
	}
	if b[4] != markVersion {
		return s, false, &query.Error{Code: query.CodeNewerFormat, Message: "the file MARK of the Raft log is of a newer version", Hint: "use a newer version of Kanta"}
	}
	if b[5] != byte(n) || b[6]|b[7] != 0 { // written to the wrong place
		return s, false, nil
	}
	s.sequence = binary.LittleEndian.Uint64(b[8:])
	copy(s.id[:], b[16:32])
	s.base, s.last = binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
	s.sum, s.stable = binary.LittleEndian.Uint32(b[48:]), binary.LittleEndian.Uint64(b[52:])
	s.stableSum = binary.LittleEndian.Uint32(b[60:])
	return s, true, nil
}

// newestSlot reads the file: the slot with the highest sequence, and which it is.
func newestSlot(b []byte) (newest slot, at int, err error) {
	if len(b) != markSlots*markSlot {
		return newest, 0, damaged("the file MARK of the Raft log has %d bytes, not %d", len(b), markSlots*markSlot)
	}
	found := false
	for i := range markSlots {
		s, ok, err := readSlot(i, b[i*markSlot:][:markSlot])
		if err != nil {
			return newest, 0, err
		}
		if ok && (!found || s.sequence > newest.sequence) {
			newest, at, found = s, i, true
		}
	}
	if !found {
		return newest, 0, damaged("all slots of the file MARK of the Raft log are damaged")
	}
	return newest, at, nil
}

// createMark makes the file of an empty log.
func createMark(files vfs.FS, dir string, id [16]byte) error {
	b := make([]byte, markSlots*markSlot)
	appendSlot(b[:0], 0, &slot{sequence: 1, id: id})
	f, err := files.Create(files.PathJoin(dir, markFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// readMark reads the file.
func readMark(files vfs.FS, dir string) (slot, int, error) {
	name := files.PathJoin(dir, markFile)
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return slot{}, 0, damaged("%s is missing", name)
	}
	if err != nil {
		return slot{}, 0, failed("open "+name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, markSlots*markSlot+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return slot{}, 0, failed("read "+name, err)
	}
	return newestSlot(b)
}

// marks writes the file. Safe for concurrent use.
type marks struct {
	file vfs.File
	halt *halt.Halt

	mu      sync.Mutex
	last    slot // as written
	dirty   bool // it was written since the last sync
	writing int  // the slot that is written to
	synced  int  // the slot that is durable
	buffer  [markSlot]byte

	syncing sync.Mutex // held while the file is synced; taken before mu
	wake    chan struct{}
	stop    chan struct{}
	done    chan struct{}
}

// openMarks begins to write behind a slot that was read, which may not have been synced yet.
func openMarks(files vfs.FS, dir string, newest slot, at int, h *halt.Halt) (*marks, error) {
	name := files.PathJoin(dir, markFile)
	f, err := files.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, failed("open "+name, err)
	}
	k := &marks{file: f, halt: h, last: newest, synced: at, writing: (at + 1) % markSlots,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go k.run()
	return k, nil
}

// set writes a mark. It will be synced within about [markEvery].
func (k *marks) set(m mark) error {
	if err := k.write(m); err != nil {
		return err
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return nil
}

func (k *marks) write(m mark) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.halt.Err(); err != nil {
		return err
	}
	if m == k.last.mark {
		return nil
	}
	next := slot{sequence: k.last.sequence + 1, id: k.last.id, mark: m}
	appendSlot(k.buffer[:0], k.writing, &next)
	if _, err := k.file.WriteAt(k.buffer[:], int64(k.writing)*markSlot); err != nil {
		k.halt.GiveUp("its file MARK: "+err.Error(), err)
		return k.halt.Err()
	}
	k.last, k.dirty = next, true
	return nil
}

// before returns the last mark.
func (k *marks) before() mark {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last.mark
}

// sync makes the last mark durable.
func (k *marks) sync() error {
	k.syncing.Lock()
	defer k.syncing.Unlock()
	k.mu.Lock()
	at, dirty := k.writing, k.dirty
	if dirty {
		k.writing, k.dirty = markSlots-at-k.synced, false // neither of the two
	}
	k.mu.Unlock()
	if err := k.halt.Err(); err != nil || !dirty {
		return err
	}
	if err := k.file.SyncData(); err != nil {
		k.halt.GiveUp("its file MARK: "+err.Error(), err)
		return k.halt.Err()
	}
	k.mu.Lock()
	k.synced = at
	k.mu.Unlock()
	return nil
}

// run syncs what was written, until the end.
func (k *marks) run() {
	defer close(k.done)
	pause := time.NewTimer(markEvery)
	defer pause.Stop()
	for {
		select {
		case <-k.wake:
		case <-k.stop:
			return
		}
		if k.sync() != nil { // whoever writes next is told
			return
		}
		pause.Reset(markEvery)
		select {
		case <-pause.C:
		case <-k.stop:
			return
		}
	}
}

// close syncs the last mark and closes the file.
func (k *marks) close() error {
	close(k.stop)
	<-k.done
	return errors.Join(k.sync(), k.file.Close())
}
