//go:build !race

// The race detector has pools give things up at random.

package gateway

import (
	"testing"

	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

func TestPathDoesNotAllocate(t *testing.T) {
	p := newPath(t, 8)
	out := p.output(256)
	acks := peer.AppendAcksHead(nil, p.route.handle, 10)
	for i := range p.conns {
		acks = peer.MemberAck{Member: wire.MemberID(i + 1), Applied: 1}.Append(acks)
	}
	move := wire.InputFrame{Handle: p.route.handle, N: 1, Payload: make([]byte, 32)}.Append(nil)
	for name, f := range map[string]func(){
		"a tick of 8 members": func() {
			p.g.onOutput(p.link, out)
			p.g.onAcks(p.link, acks)
			p.route.host.flush()
		},
		"an input": func() {
			if err := p.conns[0].handle(move); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for range 500 {
			f()
		}
		if got := testing.AllocsPerRun(1000, f); got > 0.5 {
			t.Errorf("%s: %.2f allocations, want 0", name, got)
		}
	}
}
