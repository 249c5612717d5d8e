package bench

import (
	"os"
	"path/filepath"
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

// descriptors returns how many files this process has open, and how many of these are not
// the only descriptor of a file that is there in a directory, whose path is absolute and has no
// links in it: sockets, files that were deleted, files that are open twice. It returns 0 where
// the system does not tell in /proc.
func descriptors(dir string) (all, stray int) {
	const each = "/proc/self/fd"
	entries, err := os.ReadDir(each)
	if err != nil {
		return 0, 0
	}
	seen := map[string]bool{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(each, e.Name()))
		if err != nil { // that of the folder, which is closed
			continue
		}
		all++
		if !strings.HasPrefix(to, dir+string(filepath.Separator)) || strings.HasSuffix(to, " (deleted)") || seen[to] {
			stray++
		}
		seen[to] = true
	}
	return all, stray
}
