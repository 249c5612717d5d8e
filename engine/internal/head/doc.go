// Package head holds what has been written and is not yet in the base, in memory.
//
// It has two tiers. Writes are appended to an [L0]: per attribute and chunk a list of
// (stamp, ordinal, value), one writer, readers without locks. A stamp numbers the
// commit groups of the L0; a reader sees the entries up to its snapshot's cut, which
// are a prefix because stamps ascend. A full L0 is frozen, and the compactor settles it
// into one immutable [Settled] object per attribute and chunk: distinct ordinals in
// order, the last value of each. A value is read from the active L0, the frozen ones
// from new to old, the settled tier, the base: the first that has one.
//
// So a write reads no old value, and publishing a group is one store of a number.
package head
