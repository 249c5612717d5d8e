package access

import (
	"net/netip"
	"sync"
	"time"
)

// Limits of wrong keys. Secrets cannot be guessed at any speed: what is bounded is what
// guessing costs the server, and the noise in its logs.
const (
	maxTries       = 100 // of one address in a minute: a program that has forgotten its key makes fewer
	tryWindow      = time.Minute
	maxTryingHosts = 4096 // that are counted apart: a few hundred KiB; the others are counted together
)

// tries counts wrong keys by address.
type tries struct {
	mu    sync.Mutex
	began time.Time // of the minute that is counted
	wrong map[netip.Prefix]int
}

// refused returns how long an address is not listened to; 0: it is.
func (t *tries) refused(now time.Time, address string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turn(now); len(t.wrong) == 0 || t.wrong[t.counted(address)] < maxTries {
		return 0
	}
	return tryWindow - now.Sub(t.began)
}

// failed counts a wrong key.
func (t *tries) failed(now time.Time, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(now)
	if t.wrong == nil {
		t.wrong = map[netip.Prefix]int{}
	}
	t.wrong[t.counted(address)]++
}

// turn begins a new minute when the last has passed, or the clock was set back.
func (t *tries) turn(now time.Time) {
	if d := now.Sub(t.began); d < 0 || d >= tryWindow {
		t.began = now
		clear(t.wrong)
	}
}

// counted returns as what an address is counted. What cannot be told apart, and who is one too
// many, is counted as the zero prefix.
func (t *tries) counted(address string) netip.Prefix {
	host := hostOf(address)
	if _, ok := t.wrong[host]; !ok && len(t.wrong) >= maxTryingHosts {
		return netip.Prefix{}
	}
	return host
}

// hostOf returns the host of an address; of IPv6 the network of 64 bits, all of which one
// host may have. The zero prefix: it has none.
func hostOf(address string) netip.Prefix {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	host, _ := ip.Prefix(bits) // it fails for a number of bits that the address does not have
	return host
}

// questions counts what callers ask, so that nobody asks more than his role has in a minute.
type questions struct {
	mu   sync.Mutex
	left map[string]purse
}

// purse is how many questions a caller had left at a time.
type purse struct {
	left float64
	at   time.Time
	most int
}

// manyPurses is from how many callers on those are forgotten who have not asked for a minute.
const manyPurses = 1024

// ask takes one question of perMinute from a caller; wait is how long he has none.
func (q *questions) ask(now time.Time, caller string, perMinute int) (wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left == nil {
		q.left = map[string]purse{}
	}
	p, ok := q.left[caller]
	if !ok {
		if len(q.left) >= manyPurses {
			for name, p := range q.left {
				if p.full(now) {
					delete(q.left, name)
				}
			}
		}
		p = purse{float64(perMinute), now, perMinute}
	}
	p.left = min(p.left+p.since(now)*float64(perMinute), float64(perMinute))
	p.at, p.most = now, perMinute
	if p.left < 1 {
		wait = time.Duration((1 - p.left) / float64(perMinute) * float64(time.Minute))
		wait = max(wait, time.Millisecond)
	} else {
		p.left--
	}
	q.left[caller] = p
	return wait
}

// since is how many minutes have passed; a clock that was set back gives none.
func (p *purse) since(now time.Time) float64 { return max(0, now.Sub(p.at).Minutes()) }

func (p *purse) full(now time.Time) bool {
	return p.left+p.since(now)*float64(p.most) >= float64(p.most)
}
