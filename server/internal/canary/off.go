//go:build !canary

// Package canary plants a bug in a member of a cluster, to see that a test finds it: one that
// finds nothing in a cluster with a bug tells nothing of a cluster without. Only what is built
// with the tag canary has bugs; there the environment variable KANTA_CANARY names the one, as it
// does for those of the engine. The list is in the Makefile, with what each must have found.
package canary

// Is reports whether a bug is planted. Without the tag nothing of it is in the program.
func Is(string) bool { return false }
