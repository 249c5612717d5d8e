package server

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
)

// from is a connection from an address.
type from struct {
	net.Conn
	addr string
}

func (f *from) RemoteAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", f.addr) // it is one
	return a
}

// TestStrangers fills the hall: who has been there for longest goes, of the address that has most
// there, and who is not known in time goes too.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := defaultLimits()
		l.strangers = 4
		h := newHall(&l)
		all, names := map[string]*visitor{}, []string{}
		come := func(name, host string) {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = near.Close() })
			h.places <- struct{}{}
			all[name] = h.enter(&from{far, host + ":1"})
			names = append(names, name)
		}
		there := func(want ...string) {
			t.Helper()
			var got []string
			h.mu.Lock()
			for _, name := range names {
				if !all[name].gone {
					got = append(got, name)
				}
			}
			h.mu.Unlock()
			if !slices.Equal(got, want) || len(h.places) != len(want) {
				t.Errorf("there are %v with %d places, want %v", got, len(h.places), want)
			}
		}
		come("a", "10.0.0.1")
		come("x", "10.0.0.9")
		come("b", "10.0.0.1")
		come("c", "10.0.0.1")
		there("a", "x", "b", "c")
		come("d", "10.0.0.1")
		there("x", "b", "c", "d")
		if err := h.settle(all["b"], "anna"); err != nil {
			t.Fatal(err)
		}
		come("e", "10.0.0.1") // one who is known is no stranger
		there("x", "b", "c", "d", "e")
		come("f", "10.0.0.2")
		there("x", "b", "d", "e", "f")
		pass(l.stranger)
		synctest.Wait()
		there("b")
		if err := all["b"].Close(); err != nil {
			t.Fatal(err)
		}
		_ = all["b"].Close() // again
		there()
		come("g", "10.0.0.1")
		h.close()
		there()
		come("h", "10.0.0.1")
		there()
		if len(h.callers) != 0 {
			t.Errorf("callers are left: %v", h.callers)
		}
	})
}
