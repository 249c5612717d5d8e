// Package halt ends writing at the first error, for good: nobody knows what a disk has kept that has
// failed to sync. It is for those who keep something in Pebble, which has no error to return then.
// Pebble calls Fatalf and expects the process to end, or panics, on one of its goroutines or on ours,
// or tries again for ever. A library must not end a process, and whoever waits must be told.
//
// So what fails does not return to Pebble ([FS]), Fatalf ends the goroutine that called it, and
// [Halt.Guard] lets nobody wait for what will never come. Of a store that has halted nothing can be
// written, and it cannot be closed, but what is read of it is right.
package halt

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
)

// Halt says whether writing has ended. It is the logger that Pebble gets. Safe for concurrent use.
type Halt struct {
	tell   func(why string, cause error) error
	once   sync.Once
	halted chan struct{} // closed then
	cause  error         // set before that
}

// New returns one that has not. tell makes the error that everybody gets when it has.
func New(tell func(why string, cause error) error) *Halt {
	return &Halt{tell: tell, halted: make(chan struct{})}
}

// Infof drops what it gets: a library does not log.
func (h *Halt) Infof(string, ...any) {}

// Errorf drops what it gets.
func (h *Halt) Errorf(string, ...any) {}

// Fatalf ends writing and the goroutine that calls it.
func (h *Halt) Fatalf(format string, args ...any) {
	var cause error
	for _, a := range args {
		if err, ok := a.(error); ok {
			cause = err
		}
	}
	h.GiveUp(fmt.Sprintf(format, args...), cause)
	runtime.Goexit()
}

// GiveUp ends writing. Of several reasons the first stands.
func (h *Halt) GiveUp(why string, cause error) {
	h.once.Do(func() {
		h.cause = h.tell(why, cause)
		close(h.halted)
	})
}

// Background is told how flushes and compactions end. Pebble tries failed ones again for ever:
// nobody would learn of it, opening would not end, and at last every commit would wait. What the
// system refuses once it may grant the second time, but nobody knows what a disk has lost that has
// failed to sync.
func (h *Halt) Background(err error) {
	var refused syscall.Errno // not a damaged block: whoever reads it is told, and others may write
	if errors.As(err, &refused) {
		h.GiveUp(err.Error(), err)
	}
}

// Err returns why writing has ended, nil while it has not.
func (h *Halt) Err() error {
	select {
	case <-h.halted:
		return h.cause
	default:
		return nil
	}
}

// Halted is closed when writing has ended.
func (h *Halt) Halted() <-chan struct{} { return h.halted }

// Guard runs something of Pebble's. If writing ends meanwhile it returns at once why, and do may be
// stuck for ever; if it has ended, do is not run.
func (h *Halt) Guard(do func() error) error {
	if err := h.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-h.halted:
		return h.cause
	}
}

// check returns if there is no error.
func (h *Halt) check(what string, err error) error {
	if err == nil {
		return nil
	}
	h.GiveUp(what+": "+err.Error(), err)
	select {}
}
