//go:build !unix

package backup

import "os"

// syncFolder does nothing: these systems sync no folders.
func syncFolder(*os.File) error { return nil }
