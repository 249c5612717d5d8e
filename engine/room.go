package engine

import (
	"errors"
	"fmt"

	"github.com/kantadb/kanta/query"
)

// reserve is how many memtables a disk must have room for when a write is taken: Pebble
// makes room for three files of its log ahead, each a tenth larger than a memtable, writes
// two memtables as tables, and writes some of these again before it deletes them. A full
// disk stops it in the middle, and only opening again helps; a write that is refused has
// changed nothing, and the next one is taken when there is room again.
const reserve = 8

// memTable is the size of a memtable.
func (o *Options) memTable() uint64 { return uint64(min(32<<20, o.Memory/16)) }

// DiskReserve returns how many bytes the disk of a store that is opened with these options
// must have left for anything to be written; nil is as good as the zero value.
func (o *Options) DiskReserve() (uint64, error) {
	opt, err := o.withDefaults()
	return reserve * opt.memTable(), err
}

// errNoRoom is the cause of what is refused because the disk is nearly full.
var errNoRoom = errors.New("there is no room on the disk") //tidy:constant

// NoRoom reports whether an error of [DB.Apply] or [DB.ApplyEntries] says that the disk is nearly full
// (its code is CodeIO). Nothing was changed, and when there is room the same may be done again.
func NoRoom(err error) bool { return errors.Is(err, errNoRoom) }

// room returns an error when the disk is nearly full. It costs a microsecond. Where the
// file system cannot tell, there is room.
func (db *DB) room() error {
	disk, err := db.opt.FS.GetDiskUsage(db.dir)
	if err != nil {
		return nil
	}
	least := reserve * db.opt.memTable()
	if disk.AvailBytes >= least {
		return nil
	}
	return &query.Error{Code: query.CodeIO, Hint: "make room on the disk, then go on: the store need not be opened again", Err: errNoRoom,
		Message: fmt.Sprintf("the disk of %s has %d MiB left, and writing needs %d MiB; nothing was written", db.dir, disk.AvailBytes>>20, least>>20)}
}
