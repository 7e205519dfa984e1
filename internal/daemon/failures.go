package daemon

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds on wrong tokens of one address, or IPv6 /64.
const (
	maxFailures  = 10              // at once
	failureEvery = 6 * time.Second // and one more in each
	maxFailing   = 1024            // addresses remembered
	failingFor   = maxFailures * failureEvery
)

// failures counts wrong tokens by where they came from. The zero value is
// ready to use.
type failures struct {
	mu sync.Mutex
	// until is, by address, when all that was tried will be forgotten: each
	// failure adds failureEvery. Guarded by mu.
	until map[netip.Addr]time.Time
}

// wait is how long an address has to wait before it may try again.
func (f *failures) wait(from netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, failing := f.until[subnet(from)]
	if !failing {
		return 0
	}
	return max(0, until.Sub(now)-failingFor+failureEvery)
}

// failed counts a wrong token. Where too many addresses fail, one that has
// waited longest is forgotten.
func (f *failures) failed(from netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil {
		f.until = map[netip.Addr]time.Time{}
	}
	from = subnet(from)
	if _, known := f.until[from]; !known && len(f.until) >= maxFailing {
		f.forget(now)
	}
	at := f.until[from]
	if at.Before(now) {
		at = now
	}
	f.until[from] = at.Add(failureEvery)
}

// forget drops the addresses whose failures are over, or else the one whose
// will be first. mu is held.
func (f *failures) forget(now time.Time) {
	var first netip.Addr
	for a, at := range f.until {
		if at.Before(now) {
			delete(f.until, a)
		} else if !first.IsValid() || at.Before(f.until[first]) {
			first = a
		}
	}
	if len(f.until) >= maxFailing {
		delete(f.until, first)
	}
}

// subnet is an IPv6 address's /64; an IPv4 address stands for itself.
func subnet(a netip.Addr) netip.Addr {
	if !a.Is6() || a.Is4In6() {
		return a.Unmap()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
