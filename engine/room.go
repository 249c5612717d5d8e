package engine

import (
	"fmt"

	"github.com/kantadb/kanta/query"
)

// The reserve is what a disk must have left for a write to be taken. A full disk stops
// Pebble in the middle, and only opening again helps; a write that is refused has changed
// nothing, and the next one is taken when there is room again.
const (
	maxReserve   = 256 << 20 // two memtables of 32 MiB, their logs, and the tables they become, twice over
	reserveShare = 10        // of a small disk this part is enough: what it holds cannot be more
)

// room returns an error when the disk is nearly full. It costs a microsecond. Where the
// file system cannot tell, there is room.
func (db *DB) room() error {
	disk, err := db.opt.FS.GetDiskUsage(db.dir)
	if err != nil {
		return nil
	}
	reserve := min(maxReserve, disk.TotalBytes/reserveShare)
	if disk.AvailBytes >= reserve {
		return nil
	}
	return &query.Error{Code: query.CodeIO, Hint: "make room on the disk, then go on: the store need not be opened again",
		Message: fmt.Sprintf("the disk of %s has %d MiB left, and writing needs %d MiB; nothing was written", db.dir, disk.AvailBytes>>20, reserve>>20)}
}
