//go:build linux

package load

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/limpet-games/limpet/bench/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rawRoom serves one client of the raw protocol: it confirms the join, then
// sends the states given, cut into pieces, and reads until the client goes.
func rawRoom(t *testing.T, states [][]byte, piece int) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-ended })
	go func() {
		defer close(ended)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := []byte{0, 0}
		for _, s := range states {
			b = append(be.AppendUint16(b, uint16(len(s))), s...)
		}
		for len(b) > 0 {
			n := min(piece, len(b))
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
		io.Copy(io.Discard, c)
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

func TestHolesAndRepeatsAreCounted(t *testing.T) {
	for _, piece := range []int{1 << 20, 7} {
		room := state.NewRoom(64)
		var states [][]byte
		for seq := range uint64(20) {
			p := append([]byte(nil), room.Next(time.Now().UnixNano())...)
			switch seq {
			case 5, 6, 11: // lost
			case 15:
				states = append(states, p, p)
			default:
				states = append(states, p)
			}
		}
		l, err := New(Config{Protocol: Raw{}, Addrs: []netip.AddrPort{rawRoom(t, states, piece)}, Clients: 1, PerRoom: 1, Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := l.Join(ctx); err != nil {
			t.Fatal(err)
		}
		before := l.Joined()
		got, err := l.Play(ctx, 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		lost, twice := before.Lost+got.Lost, before.Duplicated+got.Duplicated
		if d := before.Deliveries + got.Deliveries; d != 18 || lost != 3 || twice != 1 {
			t.Errorf("pieces of %d: %d delivered, %d lost, %d twice, want 18, 3, 1", piece, d, lost, twice)
		}
		if got.Inputs < 1 || got.Inputs > 31 {
			t.Errorf("%d inputs in 0.3 s at 100/s, want some and at most 31", got.Inputs)
		}
		l.Close()
		cancel()
	}
}

// Sends keep their schedule after a stall: none is left out.
func TestPaceKeepsItsSchedule(t *testing.T) {
	now := time.Unix(100, 0)
	p := pace{start: now, every: 50 * time.Millisecond, n: 10}
	for i := range 100 {
		if want := now.Add(time.Duration(i) * 5 * time.Millisecond); !p.at(i).Equal(want) {
			t.Fatalf("send %d at %s, want %s", i, p.at(i), want)
		}
	}
}

func TestFramesAreTakenWhole(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		b := append([]byte{0x82}, byte(n))
		switch {
		case n > 65535:
			b = be.AppendUint64([]byte{0x82, 127}, uint64(n))
		case n >= 126:
			b = be.AppendUint16([]byte{0x82, 126}, uint16(n))
		}
		head := len(b)
		b = append(b, make([]byte, n)...)
		for _, cut := range []int{0, 1, head - 1, len(b) - 1} {
			if _, size, err := message(b[:cut]); size != 0 || err != nil {
				t.Errorf("%d of %d bytes: took %d, %v", cut, len(b), size, err)
			}
		}
		msg, size, err := message(append(b, 1))
		if len(msg) != n || size != len(b) || err != nil {
			t.Errorf("payload of %d: got %d, took %d of %d, %v", n, len(msg), size, len(b), err)
		}
	}
	if _, _, err := message([]byte{0x88, 2, 0x11, 0x92}); err == nil {
		t.Error("a close frame is no message")
	}
}
