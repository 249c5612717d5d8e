// Package dict maps the strings of a coded attribute to codes and back. Codes are dense,
// assigned in order of arrival by the one writer, stored one key each, and never change.
package dict

import (
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
}

// New makes an empty dictionary.
func New() *Dict { return &Dict{codes: map[string]uint32{}} }

// Code returns the code of a string.
func (d *Dict) Code(s string) (uint32, bool) {
	d.mu.RLock()
	c, ok := d.codes[s]
	d.mu.RUnlock()
	return c, ok
}

// CodeOf is Code for bytes, without a copy.
func (d *Dict) CodeOf(s []byte) (uint32, bool) {
	d.mu.RLock()
	c, ok := d.codes[string(s)]
	d.mu.RUnlock()
	return c, ok
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

// String returns the string of a code, "" for one that was never assigned.
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
