//go:build linux

package gateway

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/wire"
)

// watched is how many connections loops watch.
func (n *node) watched() (sum int) {
	for _, l := range n.loops {
		sum += l.Len()
	}
	return sum
}

// readers is how many goroutines read connections.
func readers() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "(*conn).run(")
}

func TestQuietConnectionsHaveNoGoroutine(t *testing.T) {
	n := start(t)
	const clients = 50
	var all []*rawClient
	for range clients {
		all = append(all, n.greeted())
	}
	until(t, "loops watch all", func() bool { return n.watched() == clients })
	until(t, "no goroutine reads", func() bool { return readers() == 0 })
	for i, c := range all {
		c.write(clientFrame(0x82, echo(uint64(i))), 0)
	}
	for i, c := range all {
		if got, want := c.next(), fmt.Sprint("echo ", i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got := readers(); got != 0 {
		t.Errorf("%d goroutines read whole messages", got)
	}
}

// A loop waits for nobody: a goroutine takes the rest of a message, and the loop
// the connection when that is done.
func TestHalfAMessageIsWaitedForByAGoroutine(t *testing.T) {
	n := start(t)
	c := n.greeted()
	until(t, "a loop watches it", func() bool { return n.watched() == 1 })
	frame := clientFrame(0x82, echo(7))
	c.write(frame[:5], 0)
	until(t, "a goroutine waits", func() bool { return n.watched() == 0 && readers() == 1 })
	c.write(frame[5:], 0)
	if got := c.next(); got != "echo 7" {
		t.Fatal(got)
	}
	until(t, "a loop watches it again", func() bool { return n.watched() == 1 && readers() == 0 })
}

// Those who send too fast wait for themselves.
func TestAFloodDoesNotHoldUpTheLoop(t *testing.T) {
	n := start(t, limits(func(l *Limits) { l.Frames = 5 }))
	loud, quiet := n.greeted(), n.greeted()
	until(t, "loops watch both", func() bool { return n.watched() == 2 })
	for i := range 14 {
		loud.write(clientFrame(0x82, echo(uint64(i))), 0)
	}
	until(t, "the loud one pays its debt", func() bool { return readers() == 1 })
	quiet.write(clientFrame(0x82, echo(99)), 0)
	if got := quiet.next(); got != "echo 99" {
		t.Error(got)
	}
	for i := 0; i < 14; {
		switch got := loud.next(); got {
		case fmt.Sprint("echo ", i):
			i++
		case fmt.Sprintf("frame %#x", byte(wire.TypeError)): // told that it is too fast
		default:
			t.Fatalf("echo %d: %s", i, got)
		}
	}
}
