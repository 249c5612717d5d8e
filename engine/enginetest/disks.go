package enginetest

import "github.com/kantadb/kanta/engine/internal/faultfs"

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
