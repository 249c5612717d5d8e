package bench

import (
	"os"
	"strconv"
	"strings"
)

// peakMemory returns the largest resident memory of this process so far in bytes, 0
// where the system does not tell in /proc.
func peakMemory() int64 { return processMemory("VmHWM") }

// processMemory returns what the system counts under a name for this process in bytes, 0
// where it does not tell in /proc.
func processMemory(name string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

// descriptors returns how many files this process has open, 0 where the system does not
// tell in /proc.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries) - 1 // but for that of the folder
}
