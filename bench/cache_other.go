//go:build !linux

package bench

import "errors"

// dropsCache says that there is no dropping of single files from the page cache.
const dropsCache = false

func dropCache(string) error { return errors.ErrUnsupported }
