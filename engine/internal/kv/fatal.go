package kv

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"github.com/kantadb/kanta/query"
)

// fatal is the logger that Pebble gets. Pebble has no error to return when its MANIFEST
// or its log cannot be written: it calls Fatalf, on one of its goroutines or on ours,
// and expects the process to end. A library must not end a process. So Fatalf keeps the
// cause and ends the goroutine that called it, and guard lets nobody wait for what will
// never come. Pebble is of no use for writing from then on; what it reads is right.
type fatal struct {
	once   sync.Once
	failed chan struct{} // closed when Pebble has given up
	cause  error         // set before that
}

func newFatal() *fatal { return &fatal{failed: make(chan struct{})} }

// Infof and Errorf drop what they get: a library does not log.
func (f *fatal) Infof(string, ...any)  {}
func (f *fatal) Errorf(string, ...any) {}

// Fatalf does not return.
func (f *fatal) Fatalf(format string, args ...any) {
	var cause error
	for _, a := range args {
		if err, ok := a.(error); ok {
			cause = err
		}
	}
	f.giveUp(fmt.Sprintf(format, args...), cause)
	runtime.Goexit()
}

// background hears how flushes and compactions end. Pebble tries failed ones again for
// ever: nobody would learn of it, opening would not end, and at last every commit would
// wait. What the system refuses once it may grant the second time, but nobody knows what a
// disk has lost that has failed to sync.
func (f *fatal) background(err error) {
	var refused syscall.Errno // not a damaged block: whoever reads it is told, and others may write
	if errors.As(err, &refused) {
		f.giveUp(err.Error(), err)
	}
}

func (f *fatal) giveUp(why string, cause error) {
	f.once.Do(func() {
		f.cause = &query.Error{Code: query.CodeFailed, Message: "the key-value store gave up: " + why,
			Hint: "see to the disk, then start the program again", Err: cause}
		close(f.failed)
	})
}

// err returns why Pebble has given up, nil while it has not.
func (f *fatal) err() error {
	select {
	case <-f.failed:
		return f.cause
	default:
		return nil
	}
}

// Failed returns why the store takes no more writes, nil while it does.
func (s *Store) Failed() error { return s.fatal.err() }

// guard runs something of Pebble's that may be fatal. If Pebble gives up meanwhile, it
// returns at once, and do may be stuck for ever.
func (f *fatal) guard(do func() error) error {
	if err := f.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-f.failed:
		return f.cause
	}
}
