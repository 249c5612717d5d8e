//go:build !linux

package engine

// machineMemory assumes 4 GiB where the machine is not asked.
func machineMemory() int64 { return 4 << 30 }
