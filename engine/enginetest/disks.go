package enginetest

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/faultfs"
)

// Disk is a file system that fails, tears and crashes on demand, for tests of what lies outside the engine
// and writes files of its own. See package faultfs.
type Disk = faultfs.FS

// What a [Disk] is told, and tells.
type (
	DiskOp    = faultfs.Op
	DiskKind  = faultfs.Kind
	DiskFault = faultfs.Fault // its Before is for Disk.Before
	DiskTorn  = faultfs.Torn
	PowerCut  = faultfs.Cut
)

// NewDisk returns an empty disk in memory.
func NewDisk() *Disk { return faultfs.New() }

// DiskOver returns a disk with the files of another file system. How full it is counts what is
// written through it.
func DiskOver(under vfs.FS) *Disk { return faultfs.Over(under) }
