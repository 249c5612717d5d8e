//go:build !trial

// Package trial makes a program that knows one cluster version more than there is, to try upgrades with: the
// version behind the newest one, by which records are decided otherwise. Only what is built with the tag trial
// has it. Stores that have come to it are of no use to any other program.
package trial

// Version reports whether the version of the trial is known. Without the tag nothing of it is in the program.
const Version = false
