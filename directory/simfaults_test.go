package directory

import (
	"fmt"
	"slices"
	"time"
)

// simFaults are what may happen to a cluster. Each is undone by the next heal.
var simFaults = []struct {
	name string
	do   func(*simulation)
}{
	{"two-way split", func(s *simulation) {
		left := s.half()
		s.cut("two-way", func(a, b string) bool { return left[a] != left[b] })
	}},
	{"one-way split", func(s *simulation) {
		left := s.half()
		s.cut("one-way", func(a, b string) bool { return left[a] && !left[b] })
	}},
	{"a bridge", func(s *simulation) {
		left, bridge := s.half(), s.any().proc.ip
		s.cut("bridged by "+bridge, func(a, b string) bool { return left[a] != left[b] && a != bridge && b != bridge })
	}},
	{"cut from the store", func(s *simulation) {
		ip := s.any().proc.ip
		s.cut(ip+" cut from the store", func(a, b string) bool { return a == ip && b == simStoreIP || a == simStoreIP && b == ip })
	}},
	{"cut from all but the store", func(s *simulation) {
		ip := s.any().proc.ip
		s.cut(ip+" cut from all but the store", func(a, b string) bool { return (a == ip) != (b == ip) && a != simStoreIP && b != simStoreIP })
	}},
	{"deaf to one", func(s *simulation) {
		a, b := s.any().proc.ip, s.any().proc.ip
		s.cut(a+" does not reach "+b, func(x, y string) bool { return x == a && y == b && a != b })
	}},
	{"loss", func(s *simulation) {
		loss := 0.05 + 0.3*s.rand.Float64()
		s.note("loss %.2f", loss)
		s.net.set(func() { s.net.loss = loss })
	}},
	{"delay", func(s *simulation) {
		d := time.Duration(1+s.rand.IntN(150)) * time.Millisecond
		s.note("delay %s", d)
		s.net.set(func() { s.net.delay = d })
	}},
	{"a pause", func(s *simulation) {
		n := s.any()
		s.note("pause %s", n.Self())
		s.net.set(func() { s.net.paused[n.proc.ip] = true })
		time.Sleep(time.Duration(100+s.rand.IntN(12_000)) * time.Millisecond)
		s.note("resume %s", n.Self())
		s.net.set(func() { delete(s.net.paused, n.proc.ip) })
	}},
	{"a restart", func(s *simulation) { s.restart(s.any(), false) }},
	{"a restart at once", func(s *simulation) { s.restartAfter(s.any(), false, 0) }},
	{"a lost machine", func(s *simulation) { s.restart(s.any(), true) }},
	{"a leave", func(s *simulation) {
		n := s.any()
		s.leave(n)
		time.Sleep(time.Duration(s.rand.IntN(5000)) * time.Millisecond)
		s.start(n.name, n.role, n.proc.ip, s.clock())
	}},
	{"a newcomer", func(s *simulation) {
		if len(s.running()) >= s.most {
			return
		}
		ip := s.address()
		s.start("new-"+ip, RoleHost, ip, s.clock())
	}},
	{"the store's clock", func(s *simulation) {
		d := time.Duration(s.rand.IntN(7200)-3600) * time.Second
		s.note("the store's clock is off by %s", d)
		s.store.mu.Lock()
		s.store.jump = d
		s.store.mu.Unlock()
	}},
}

// restart kills a process and starts another under its name.
func (s *simulation) restart(n *simNode, machine bool) {
	s.restartAfter(n, machine, time.Duration(s.rand.IntN(8000))*time.Millisecond)
}

func (s *simulation) restartAfter(n *simNode, machine bool, pause time.Duration) {
	s.kill(n, machine)
	time.Sleep(pause)
	ip := n.proc.ip
	if machine && !s.seed1(ip) {
		ip = s.address() // it comes back elsewhere
	} else if machine {
		s.net.set(func() { delete(s.net.paused, ip) })
	}
	s.start(n.name, n.role, ip, s.clock())
}

// seed1 reports whether an address is one of those that all processes know.
func (s *simulation) seed1(ip string) bool { return ip == simIP(1) || ip == simIP(2) }

func (s *simulation) cut(what string, f func(a, b string) bool) {
	s.note("cut: %s", what)
	s.net.split(f)
}

// clock is how far the clock of a process that starts is off: mostly not.
func (s *simulation) clock() time.Duration {
	if s.rand.IntN(3) > 0 {
		return 0
	}
	return time.Duration(s.rand.IntN(7200)-3600) * time.Second
}

func (s *simulation) any() *simNode {
	all := s.running()
	slices.SortFunc(all, func(a, b *simNode) int { return slices.Compare([]byte(a.name), []byte(b.name)) })
	return all[s.rand.IntN(len(all))]
}

// half is a random side of the machines, and of the store.
func (s *simulation) half() map[string]bool {
	left := map[string]bool{}
	for _, n := range s.running() {
		left[n.proc.ip] = s.rand.IntN(2) == 0
	}
	left[simStoreIP] = s.rand.IntN(2) == 0
	return left
}

// trouble breaks things for a while, one after the other, and lets them heal.
func (s *simulation) trouble() {
	for range 1 + s.rand.IntN(4) {
		if s.over() {
			return
		}
		f := simFaults[s.rand.IntN(len(simFaults))]
		s.note("fault: %s", f.name)
		f.do(s)
		time.Sleep(time.Duration(500+s.rand.IntN(40_000)) * time.Millisecond)
	}
	s.heal()
}

// cluster starts hosts and one gateway.
func (s *simulation) cluster(hosts int) {
	for i := range hosts {
		s.start(fmt.Sprint("h", i), RoleHost, s.address(), 0)
	}
	s.start("g", RoleGateway, s.address(), 0)
}
