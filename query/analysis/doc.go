// Package analysis is the table of all analyses. Each is a package of its own, which says in
// its doc.go what it means; none knows another. Flags, JSON and the wire form of an analysis
// are made of what the table says of it.
package analysis
