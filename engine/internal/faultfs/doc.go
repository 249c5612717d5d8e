// Package faultfs is a file system for tests that fails, lies, tears and crashes on demand.
//
// An [FS] passes everything on to another file system: one in memory ([New]) or the
// machine's, or any other ([Over]). Before each operation it asks a hook, which may let it
// be done, fail it ([Fault] fails the n-th of a kind, once or from then on), fail a write
// that has begun ([Torn]), or leave it out and say it was done ([ErrSkipped]: a disk that lies
// about a sync). It can have room for so many bytes only, and show flipped bits.
//
// Of an FS in memory it knows, besides, what a power cut would leave. It keeps the changes
// in the order they were made ([Trace]), so that a test can take every moment of a run
// afterwards, on several processors, and not only those it thought of while it ran.
//
// # What a power cut leaves
//
// Of a file: what was synced, and of the writes since, sector by sector, none, some or
// all, a later write to a sector never without the earlier ones to it. So the old bytes of
// a log that is used again show through between new ones, and behind a hole there are zeros.
//
// Of a directory: what was synced, and the first so many of the changes since, in their
// order, as the journals of ext4, XFS, APFS and NTFS have it; a rename is one change.
// Directories are independent of each other and of the files in them: syncing a file does
// not make its name durable, nor the other way round.
//
// # Why not Pebble's
//
// Of errorfs and of the crashing MemFS in Pebble 2.1.7, read and run (see the tests):
// errorfs does not wrap the file that ReuseForWrite returns, so no error ever reaches a
// recycled log. MemFS takes its lock twice in ReuseForWrite, Link and Lock, and so can
// deadlock with CrashClone. CrashClone keeps any subset of the names a directory has got,
// but never a removal: what it leaves at 100 % is not what a killed process leaves, and at
// less it can keep a name whose elder is lost, which no journal does and Pebble's marker
// files do not survive. It tears at 4,096 bytes only, and keeps no intermediate states.
package faultfs
