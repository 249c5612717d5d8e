//go:build canary

package canary

import "os"

// Is reports whether a bug is planted.
func Is(name string) bool { return os.Getenv("KANTA_CANARY") == name }
