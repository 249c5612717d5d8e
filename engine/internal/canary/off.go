//go:build !canary

// Package canary plants a bug in the store, to see that a test finds it: one that finds
// nothing in a store with a bug tells nothing of a store without. Only what is built with the
// tag canary has bugs; there the environment variable KANTA_CANARY names the one. The list is
// in the Makefile, with the test that each must turn red.
package canary

// Is reports whether a bug is planted. Without the tag nothing of it is in the program.
func Is(string) bool { return false }
