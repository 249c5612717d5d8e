// Package dict maps the strings of a coded attribute to codes and back. Codes are dense,
// assigned in order of arrival by the one writer, stored one key each, and never change.
//
// A string that nobody has any more can be blanked: its code stays its own, so that what is
// decided does not depend on it, but in place of the string a keyed hash of it is kept, by
// which it is known when it comes again; then it is stored again. What is stored of a code
// is the string, or 0xFF, with which no UTF-8 begins, and the 16 bytes of the hash.
package dict

import (
	"slices"
	"sync"

	"github.com/kantadb/kanta/engine/internal/digest"
)

// Dict is one attribute's dictionary. One goroutine adds; any number look up.
type Dict struct {
	mu      sync.RWMutex
	codes   map[string]uint32
	strings []string
	hashes  []uint64
	bytes   int64

	blanks map[[16]byte]uint32 // codes whose strings are blanked; nil: there are none
	blank  map[uint32][16]byte
	name   func(s []byte) [16]byte // the keyed hash
}

const blankMark = 0xFF

// New makes an empty dictionary; name is the keyed hash of strings that are blanked.
func New(name func(s []byte) [16]byte) *Dict {
	return &Dict{codes: map[string]uint32{}, name: name}
}

// Code returns the code of a string.
func (d *Dict) Code(s string) (uint32, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, ok := d.codes[s]
	if !ok && len(d.blanks) > 0 {
		c, ok = d.blanks[d.name([]byte(s))]
	}
	return c, ok
}

// CodeOf is Code for bytes, without a copy.
func (d *Dict) CodeOf(s []byte) (uint32, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, ok := d.codes[string(s)]
	if !ok && len(d.blanks) > 0 {
		c, ok = d.blanks[d.name(s)]
	}
	return c, ok
}

// Blanked reports whether the string of a code is blanked.
func (d *Dict) Blanked(code uint32) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.blank[code]
	return ok
}

// Stored returns what is stored of a string that is blanked.
func (d *Dict) Stored(s []byte) []byte {
	name := d.name(s)
	return append([]byte{blankMark}, name[:]...)
}

// Blank forgets the strings of some codes, of which nobody has any, but for their hashes.
// The writer's alone.
func (d *Dict) Blank(codes []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strings, d.hashes = slices.Clone(d.strings), slices.Clone(d.hashes) // readers hold the old ones
	for _, c := range codes {
		s := d.strings[c]
		name := d.name([]byte(s))
		delete(d.codes, s)
		d.bytes -= int64(2 * len(s))
		d.strings[c], d.hashes[c] = "", 0
		d.blanked(c, name)
	}
}

func (d *Dict) blanked(code uint32, name [16]byte) {
	if d.blanks == nil {
		d.blanks, d.blank = map[[16]byte]uint32{}, map[uint32][16]byte{}
	}
	d.blanks[name], d.blank[code] = code, name
}

// Revive brings back the string of a code that was blanked. The writer's alone.
func (d *Dict) Revive(code uint32, s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strings, d.hashes = slices.Clone(d.strings), slices.Clone(d.hashes)
	delete(d.blanks, d.blank[code])
	delete(d.blank, code)
	d.codes[s], d.strings[code], d.hashes[code] = code, s, digest.String(s)
	d.bytes += int64(2 * len(s))
}

// Load adds what is stored of the next code.
func (d *Dict) Load(stored []byte) (code uint32) {
	if len(stored) != 17 || stored[0] != blankMark {
		return d.Add(string(stored))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	code = uint32(len(d.strings))
	d.strings, d.hashes = append(d.strings, ""), append(d.hashes, 0)
	d.bytes += 64
	d.blanked(code, [16]byte(stored[1:]))
	return code
}

// Add gives a string that is not there yet the next code. The writer's alone.
func (d *Dict) Add(s string) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := uint32(len(d.strings))
	d.codes[s] = c
	d.strings = append(d.strings, s)
	d.hashes = append(d.hashes, digest.String(s))
	d.bytes += int64(2*len(s)) + 64
	return c
}

// Truncate forgets the codes from n on: what a batch that was refused had added.
func (d *Dict) Truncate(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.strings[n:] {
		delete(d.codes, s)
		d.bytes -= int64(2*len(s)) + 64
	}
	// Readers may hold longer slices of the same memory: the next Add must not write there.
	d.strings, d.hashes = d.strings[:n:n], d.hashes[:n:n]
}

// Len returns the number of codes.
func (d *Dict) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.strings)
}

// Bytes is an estimate of the memory.
func (d *Dict) Bytes() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bytes
}

// String returns the string of a code, "" for one that was never assigned, or is blanked.
func (d *Dict) String(code uint32) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if int(code) < len(d.strings) {
		return d.strings[code]
	}
	return ""
}

// Strings returns all strings by code. The slice must not be changed.
func (d *Dict) Strings() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.strings[:len(d.strings):len(d.strings)]
}

// Hashes returns the hashes of all strings by code. The slice must not be changed.
func (d *Dict) Hashes() []uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.hashes[:len(d.hashes):len(d.hashes)]
}
