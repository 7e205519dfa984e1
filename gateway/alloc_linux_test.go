//go:build !race

package gateway

import (
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limpet-games/limpet/wire"
)

// An input goes from its socket to the link without an allocation, in one read.
func TestReadingOnALoopDoesNotAllocate(t *testing.T) {
	p := newPath(t, 1)
	c := p.conns[0]
	c.looped, c.caller = true, nil
	l := &p.g.limits
	l.Reads, l.Bytes, l.Frames = 1e6, 1e9, 1e6
	frame := clientFrame(0x82, wire.InputFrame{Handle: p.route.handle, N: 1, Payload: make([]byte, 32)}.Append(nil))
	one := func() {
		p.far[0].Write(frame)
		w := [1]unix.PollFd{{Fd: int32(c.out.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(w[:], 20_000); n != 1 {
			t.Fatalf("nothing to read: %v", err)
		}
		c.arrived(time.Now(), false)
	}
	for range 500 {
		one()
	}
	least := math.Inf(1) // of what the process allocates meanwhile, not all is the input's
	for range 5 {
		least = min(least, testing.AllocsPerRun(200, one))
	}
	if least > 0.5 {
		t.Errorf("%.2f allocations an input, want 0", least)
	}
	if c.debt() != 0 || c.out.closing() {
		t.Error("the inputs were not taken")
	}
}
