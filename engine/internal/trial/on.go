//go:build trial

package trial

// Version reports whether the version of the trial is known.
const Version = true
