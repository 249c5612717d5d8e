// Package enginetest holds what is checked of the project as a whole rather than of one
// package.
//
// The tidy test reads every Go file of the repository and enforces the rules that keep
// the code narrow: which package may import which, what the client of a server may
// link, names, sizes, no package-level state, no unfinished marks, what stands at the
// top level. Each rule proves on a small made-up project that it fires.
//
// Three comments are exceptions, made on the line itself or alone on the line above, and
// followed by a reason where it is not obvious:
//
//	//tidy:constant   a package-level variable that is never written after it is initialised
//	//tidy:invariant  a panic that only a bug of this project can reach
//	//tidy:same       what makes no difference between replicas, though it looks like it
package enginetest
