//go:build unix

package backup

import "os"

// syncFolder makes the names in an open folder durable.
func syncFolder(f *os.File) error { return f.Sync() }
