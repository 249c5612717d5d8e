package engine

// DefaultMemory returns the budget in bytes of a store whose Options name none: a
// quarter of the machine's memory, at least 64 MiB. The library sets no limits of the
// Go runtime; a program that does wants to know.
func DefaultMemory() int64 { return max(machineMemory()/4, minMemory) }
