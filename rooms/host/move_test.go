package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/rooms"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

const (
	hostA = "a#0000000000000001"
	hostB = "b#0000000000000002"
)

// moving is a room on a host with a member, and another host.
type moving struct {
	mem  *memStore
	a, b *linked
	gw   *realGateway
	p    *player
	at   wire.Attach
}

func newMoving(t *testing.T, k rooms.Kind) *moving {
	t.Helper()
	w := &moving{mem: newMemStore()}
	w.a, w.b = startLinked(t, w.mem, hostA, k), startLinked(t, w.mem, hostB, k)
	room := wire.Room(k.Name, "x")
	activate(t, w.a.Host, room, wire.ModeCreate, 0)
	w.gw = dialGateway(t, "gateway#0000000000000003", hostA, w.a.addr)
	w.p = newPlayer(w.gw, w.gw.ear, room, 1, 11)
	w.at = w.p.attach(t, peer.WhyJoin, wire.Attach{}).at
	for i, text := range []string{"one", "two", "three"} {
		w.p.input(wire.Input(i+1), text)
	}
	w.gw.wait(t, "three messages", func(heard) bool { return len(w.gw.messages(1)) == 3 })
	w.at.Seq = 1 // what its socket was written
	return w
}

func (w *moving) move(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := w.a.Move(ctx, w.p.room, hostB, w.b.addr, 0)
	return err
}

// resumes attaches the member on a host as its gateway would, and wants it to
// go on as if nothing had been.
func (w *moving) resumes(t *testing.T, node string, addr string) {
	t.Helper()
	w.gw.dial(t, node, addr)
	w.gw.forget()
	h := w.p.attach(t, peer.WhyReattach, w.at)
	if h.kind != peer.KindAttached || h.at.How != wire.HowResumed || h.at.Applied != 3 {
		t.Fatalf("the member did not resume: %v how %v applied %d", h, h.at.How, h.at.Applied)
	}
	w.p.input(4, "four")
	w.gw.wait(t, "what it missed and the next", func(heard) bool {
		return slices.Equal(w.gw.messages(1), []string{"two", "three", "four"})
	})
}

// oneCopy wants the room live on one host, and its claim to stand.
func (w *moving) oneCopy(t *testing.T, hosts ...*linked) *room {
	t.Helper()
	var live *room
	until(t, "one live copy whose claim stands", func() bool {
		n := 0
		for _, h := range hosts {
			if r := h.find(w.p.room); r != nil && !r.over.Load() {
				live = r
				n++
			}
		}
		w.mem.mu.Lock()
		defer w.mem.mu.Unlock()
		return n == 1 && w.mem.check(live.claim, false) == nil
	})
	return live
}

func TestMoveKeepsMembersInputsAndOutputs(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), tickingKind(), fleetingKind(), journaled(tallyKind()), journaled(tickingKind())} {
		t.Run(fmt.Sprint(k.Name, k.Durability.Journaled()), func(t *testing.T) {
			w := newMoving(t, k)
			if err := w.move(t); err != nil {
				t.Fatal(err)
			}
			told := w.gw.wait(t, "where the room went", func(h heard) bool { return h.kind == peer.KindMoved })
			w.gw.wait(t, "gone", isGone(1, wire.CodeNone))
			if r := w.oneCopy(t, w.a, w.b); r.host != w.b.Host || r.claim.Epoch != told.moved.Next || told.moved.Node != hostB || told.moved.Addr != w.b.addr {
				t.Errorf("the room is on %s in epoch %d; gateways were told %+v", r.host.cfg.Node, r.claim.Epoch, told.moved)
			}
			// A gateway that comes late to the old host is sent on.
			w.gw.forget()
			if h := w.p.attach(t, peer.WhyReattach, w.at); h.kind != peer.KindRefused || h.code != wire.CodeNone {
				t.Errorf("the old host answered %v", h)
			}
			w.gw.wait(t, "where the room went", func(h heard) bool { return h.kind == peer.KindMoved && h.moved.Node == hostB })
			w.resumes(t, hostB, w.b.addr)
			// And back again.
			w.gw.forget()
			if _, err := w.b.Move(t.Context(), w.p.room, hostA, w.a.addr, 0); err != nil {
				t.Fatal(err)
			}
			w.oneCopy(t, w.a, w.b)
		})
	}
}

// A journaled room that is told to move while its entries are on their way waits
// for them, and runs what waits to be durable first: a checkpoint holds neither.
func TestJournaledRoomMovesWithItsJournal(t *testing.T) {
	w := newMoving(t, brokerKind(rooms.Journal()))
	r := w.a.find(w.p.room)
	stored := make(chan struct{})
	release := sync.OnceFunc(func() { close(stored) })
	defer release()
	w.a.store.onWrite(func() error { <-stored; return nil }) // a hand-off would pass
	w.p.input(4, "trade")
	until(t, "the trade waits for the store", func() bool { n, _, _ := w.a.appender.lag(r.journal.tail); return n > 0 })
	moved := make(chan error, 1)
	go func() { moved <- w.move(t) }()
	until(t, "the move is under way", func() bool { return r.going.Load() })
	select {
	case err := <-moved:
		t.Fatalf("it did not wait for the store: %v", err)
	case <-time.After(50 * time.Millisecond): // in which the room may not be packed
	}
	release()
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	w.gw.dial(t, hostB, w.b.addr)
	if h := w.p.attach(t, peer.WhyReattach, w.at); h.at.How != wire.HowResumed || h.at.Durable != 4 {
		t.Errorf("%v: %v durable %d", h, h.at.How, h.at.Durable)
	}
	w.gw.wait(t, "that the trade is safe", func(heard) bool { return slices.Contains(w.gw.messages(1), "safe") })
}

func TestMoveSettlesWhatIsNotDurable(t *testing.T) {
	k := tallyKind()
	k.Durability = rooms.Checkpoint(time.Hour)
	w := newMoving(t, k)
	if err := w.move(t); err != nil {
		t.Fatal(err)
	}
	// The hand-off stored the room, so that what was applied is durable.
	w.gw.dial(t, hostB, w.b.addr)
	if h := w.p.attach(t, peer.WhyReattach, w.at); h.at.Durable != 3 {
		t.Errorf("%v: durable %d", h, h.at.Durable)
	}
	w.mem.mu.Lock()
	defer w.mem.mu.Unlock()
	if len(w.mem.rooms[w.p.room].data) == 0 {
		t.Error("nothing was stored")
	}
}

func journaled(k rooms.Kind) rooms.Kind {
	k.Durability = rooms.Journal()
	return k
}

// Refusals leave the room where it was, as it was.
func TestMoveRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, w *moving){
		"target drains":     func(t *testing.T, w *moving) { w.b.drains.on.Store(true) },
		"target is down":    func(t *testing.T, w *moving) { w.b.crash() },
		"store is down":     func(t *testing.T, w *moving) { w.a.store.fail(errDown) },
		"checkpoint is big": func(t *testing.T, w *moving) { w.mem.mu.Lock(); w.mem.limit = 10; w.mem.mu.Unlock() },
		"target is full": func(t *testing.T, w *moving) {
			w.b.mu.Lock()
			w.b.cfg.MaxRooms = 1
			w.b.mu.Unlock()
			activate(t, w.b.Host, "tally/other", wire.ModeCreate, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMoving(t, tallyKind())
			spoil(t, w)
			if name == "store is down" {
				until(t, "the host notices", func() bool { return w.a.storeUp.down.Load() })
			}
			if err := w.move(t); err == nil {
				t.Fatal("moved")
			}
			w.a.store.fail(nil)
			if r := w.a.find(w.p.room); r == nil || r.over.Load() {
				t.Fatal("the room is gone")
			}
			w.resumes(t, hostA, w.a.addr)
		})
	}
}

// moveStep is a point at which a host dies in the middle of a move.
type moveStep string

const (
	afterArrive moveStep = "prepared, not handed off"
	afterHand   moveStep = "handed off, not told to begin"
)

// breakAt has f run once when the source gets to a step.
func (w *moving) breakAt(at moveStep, f func()) {
	w.a.store.onHandOff(func(before bool) {
		if before == (at == afterArrive) {
			f()
		}
	})
}

func TestSourceDiesInAMove(t *testing.T) {
	t.Parallel()
	for _, k := range []rooms.Kind{tallyKind(), fleetingKind(), journaled(tallyKind())} {
		for _, at := range []moveStep{afterArrive, afterHand} {
			t.Run(fmt.Sprint(k.Name, k.Durability.Journaled(), " ", at), func(t *testing.T) {
				w := newMoving(t, k)
				w.p.waitAck(t, 3, 3)
				w.breakAt(at, func() { w.a.store.fail(errDown); go w.a.crash() })
				t.Cleanup(func() { until(t, "the dead host's copy is over", func() bool { return w.a.find(w.p.room) == nil }) })
				// From this step on the source's calls reach nobody: not even the one
				// that would have the target forget its copy.
				w.depart(t, func(l *link.Link) caller {
					return detour{func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
						if w.a.store.failed() {
							return nil, errDown
						}
						return l.Call(ctx, kind, body)
					}}
				})
				until(t, "the source is dead", func() bool { return w.a.store.failed() })
				w.mem.mu.Lock()
				w.mem.endLease(w.a.lease.current())
				w.mem.mu.Unlock()
				if at == afterHand {
					r := w.oneCopy(t, w.b)
					w.resumes(t, hostB, w.b.addr)
					if r.claim.Epoch <= w.at.Epoch {
						t.Errorf("epoch %d after %d", r.claim.Epoch, w.at.Epoch)
					}
					return
				}
				until(t, "the target has dropped its copy", func() bool {
					w.b.arrivals.mu.Lock()
					defer w.b.arrivals.mu.Unlock()
					return len(w.b.arrivals.all) == 0
				})
				if k.Durability == rooms.None() {
					return // its incarnation died with its host
				}
				activate(t, w.b.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
				w.oneCopy(t, w.b)
			})
		}
	}
}

func TestTargetDiesInAMove(t *testing.T) {
	for name, at := range map[string]moveStep{"tally": afterArrive, "tally too": afterHand, "journal": afterArrive, "journal too": afterHand} {
		k := tallyKind()
		if strings.HasPrefix(name, "journal") {
			k = journaled(k)
		}
		t.Run(fmt.Sprint(name, " ", at), func(t *testing.T) {
			w := newMoving(t, k)
			died := make(chan struct{})
			w.breakAt(at, func() { go func() { w.b.crash(); close(died) }(); <-w.b.dead })
			err := w.move(t)
			<-died
			w.mem.mu.Lock()
			w.mem.endLease(w.b.lease.current())
			w.mem.mu.Unlock()
			if err != nil {
				t.Fatalf("a claim that was handed off came back: %v", err)
			}
			// The claim is a dead host's, with all of the room.
			activate(t, w.a.Host, w.p.room, wire.ModeJoin, w.at.Epoch)
			r := w.oneCopy(t, w.a)
			if r.claim.Epoch <= w.at.Epoch {
				t.Errorf("epoch %d after %d", r.claim.Epoch, w.at.Epoch)
			}
			w.gw.forget()
			if h := w.p.attach(t, peer.WhyReattach, w.at); h.at.Applied != 3 || h.at.Durable != 3 {
				t.Errorf("%v: applied %d durable %d", h, h.at.Applied, h.at.Durable)
			}
		})
	}
}

// The store falls silent at the hand-off: the room goes on at the source, and
// what the store did is undone when it answers.
func TestStoreSilentAtTheHandOff(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		done, k := i%2 == 0, tallyKind()
		if i >= 2 {
			k = journaled(k)
		}
		t.Run(fmt.Sprintf("done %t, journal %t", done, i >= 2), func(t *testing.T) {
			w := newMoving(t, k)
			silence := sync.OnceFunc(func() { w.a.store.fail(errDown) })
			w.a.store.onHandOff(func(before bool) {
				if before == !done {
					silence()
				}
			})
			if err := w.move(t); err == nil {
				t.Fatal("moved")
			}
			if r := w.a.find(w.p.room); r == nil || r.over.Load() {
				t.Fatal("the room stopped")
			}
			w.p.input(4, "four")
			if !k.Durability.Journaled() { // which waits for the store
				w.gw.wait(t, "play going on", func(heard) bool { return len(w.gw.messages(1)) == 4 })
			}
			w.a.store.fail(nil)
			until(t, "the claim is back", func() bool {
				r := w.a.find(w.p.room)
				if r == nil || r.claim.Epoch <= w.at.Epoch {
					return false
				}
				w.mem.mu.Lock()
				defer w.mem.mu.Unlock()
				return w.mem.check(r.claim, false) == nil
			})
			w.oneCopy(t, w.a, w.b)
			w.gw.forget()
			h := w.p.attach(t, peer.WhyReattach, w.at)
			if h.at.Applied < 3 || h.at.How != wire.HowResumed {
				t.Errorf("%v: %v applied %d", h, h.at.How, h.at.Applied)
			}
			w.p.input(4, "four") // again, as a client does with what is not durable
			w.p.waitAck(t, 4, 4)
		})
	}
}

// detour is a link whose calls go another way.
type detour struct {
	call func(ctx context.Context, kind uint8, body []byte) ([]byte, error)
}

func (d detour) Call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	return d.call(ctx, kind, body)
}

// depart has the room move by way of a link of its own.
func (w *moving) depart(t *testing.T, by func(*link.Link) caller) *departure {
	t.Helper()
	l, err := w.a.dial(t.Context(), hostB, w.b.addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &departure{to: target{hostB, w.b.addr}, link: by(l), done: make(chan error, 1)}
	w.a.find(w.p.room).post(event{kind: evMove, matter: &matter{move: d}})
	return d
}

// moveBy moves the room with begin in place of the call that has it begin, and
// its link broken before. It returns when the source's copy is over.
func (w *moving) moveBy(t *testing.T, begin func(ctx context.Context, body []byte) ([]byte, error)) error {
	t.Helper()
	r := w.a.find(w.p.room)
	d := w.depart(t, func(l *link.Link) caller {
		return detour{func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
			if kind != callBegin {
				return l.Call(ctx, kind, body)
			}
			l.Close(errDown)
			return begin(ctx, body)
		}}
	})
	err := <-d.done
	<-r.done
	return err
}

// A source that was stopped for a while, or its word, comes late to begin: the
// target has found the room to be its own, and runs it. What it has confirmed
// since must not be taken back.
func TestBeginComesLate(t *testing.T) {
	t.Parallel()
	for _, k := range []rooms.Kind{tallyKind(), journaled(tallyKind()), fleetingKind()} {
		t.Run(fmt.Sprint(k.Name, k.Durability.Journaled()), func(t *testing.T) {
			w := newMoving(t, k)
			err := w.moveBy(t, func(ctx context.Context, body []byte) ([]byte, error) {
				w.oneCopy(t, w.b)
				w.resumes(t, hostB, w.b.addr)
				w.p.waitAck(t, 4, 4)
				l, err := w.a.dial(ctx, hostB, w.b.addr)
				if err != nil {
					return nil, err
				}
				return l.Call(ctx, callBegin, body)
			})
			if err != nil {
				t.Errorf("the room's move: %v", err)
			}
			if r := w.oneCopy(t, w.a, w.b); r.host != w.b.Host {
				t.Error("the room is back where it was")
			}
			w.p.input(5, "five")
			w.p.waitAck(t, 5, 5)
		})
	}
}

// An answer that is not the target's own word on its copy proves nothing of it.
func TestBeginIsNotAnswered(t *testing.T) {
	for name, answer := range map[string]error{
		"too many calls": &wire.Error{Code: wire.CodeBusy, Text: "too many calls on this link"},
		"late":           wire.Refuse(wire.CodeTimeout, context.DeadlineExceeded.Error()),
		"not known":      errNoArrival,
	} {
		t.Run(name, func(t *testing.T) {
			w := newMoving(t, tallyKind())
			if err := w.moveBy(t, func(context.Context, []byte) ([]byte, error) { return nil, answer }); err != nil {
				t.Errorf("the room's move: %v", err)
			}
			if r := w.oneCopy(t, w.a, w.b); r.host != w.b.Host {
				t.Error("the room is back where it was")
			}
			w.resumes(t, hostB, w.b.addr)
		})
	}
}

// The source hears what became of a copy whenever it asks, but not for ever.
func TestDecidedMovesAreRemembered(t *testing.T) {
	as := newArrivals()
	begin, forget := order{epoch: 1}, order{}
	for n := snapshot.Nonce(1); n <= maxDecided+2; n++ {
		as.end(&arrival{arriveCall: arriveCall{Nonce: uint64(n)}, ran: n%2 == 0})
	}
	if len(as.decided) != maxDecided || len(as.oldest) != maxDecided {
		t.Errorf("%d and %d are remembered, want %d", len(as.decided), len(as.oldest), maxDecided)
	}
	for n, want := range map[snapshot.Nonce][2]bool{ // whether begin and forget are answered well
		1: {false, true}, 2: {false, true}, // forgotten
		3: {false, true},
		4: {true, false}, maxDecided + 2: {true, false},
	} {
		b, f := as.order(t.Context(), n, begin), as.order(t.Context(), n, forget)
		if (b == nil) != want[0] || (f == nil) != want[1] || notStarted(b) != (n == 3) {
			t.Errorf("move %d: begin %v, forget %v", n, b, f)
		}
	}
}

// A source may hand a room off and die before its target looks: what has come
// whole is the store's to decide.
func TestSourceBreaksOffBehindTheLastPart(t *testing.T) {
	w := newMoving(t, tallyKind())
	c := w.a.find(w.p.room).claim
	broken := make(doneLink)
	close(broken)
	for range 32 { // which of two that are ready is looked at first is chance
		a := &arrival{
			arriveCall: arriveCall{Nonce: 1, Room: c.Room, Claim: [2]uint64{uint64(c.Incarnation), uint64(c.Epoch)}},
			from:       broken, whole: make(chan struct{}), orders: make(chan order),
		}
		if got, _ := w.b.decide(t.Context(), a); got != "broken_off" {
			t.Fatalf("in the middle: %s", got)
		}
		close(a.whole)
		if got, _ := w.b.decide(t.Context(), a); got != "not_handed_off" { // as the store says
			t.Fatalf("behind the last part: %s", got)
		}
	}
}

// A target whose lease ends at the wrong moment gives the room back.
func TestTargetCannotBegin(t *testing.T) {
	for _, k := range []rooms.Kind{tallyKind(), fleetingKind(), journaled(tallyKind())} {
		t.Run(fmt.Sprint(k.Name, k.Durability.Journaled()), func(t *testing.T) {
			w := newMoving(t, k)
			w.breakAt(afterHand, func() { w.b.mu.Lock(); w.b.closing = true; w.b.mu.Unlock() })
			if err := w.move(t); err == nil {
				t.Fatal("moved")
			}
			w.b.mu.Lock()
			w.b.closing = false
			w.b.mu.Unlock()
			if r := w.oneCopy(t, w.a, w.b); r.host != w.a.Host {
				t.Error("the room is not where it was")
			}
			w.resumes(t, hostA, w.a.addr)
		})
	}
}

func TestMoveBoundsWhatComes(t *testing.T) {
	b := startLinked(t, newMemStore(), hostB, tallyKind())
	good := arriveCall{Nonce: 1, Room: "tally/x", Claim: [2]uint64{1, 1}, Size: 10, Body: 5, Data: make([]byte, 10)}
	for name, spoil := range map[string]func(c *arriveCall){
		"room":       func(c *arriveCall) { c.Room = "x" },
		"kind":       func(c *arriveCall) { c.Room = "other/x" },
		"nonce":      func(c *arriveCall) { c.Nonce = 0 },
		"size":       func(c *arriveCall) { c.Size = maxRoomBytes + 1 },
		"body":       func(c *arriveCall) { c.Body = 11 },
		"offset":     func(c *arriveCall) { c.Off = 1 << 62 },
		"negative":   func(c *arriveCall) { c.Off = -1 },
		"not first":  func(c *arriveCall) { c.Size, c.Off = 20, 10 },
		"no content": func(c *arriveCall) { c.Data = nil },
		"nonsense":   func(c *arriveCall) {}, // does not load
	} {
		c := good
		spoil(&c)
		link := make(doneLink)
		if _, err := b.arrive(t.Context(), link, encodeCall(c)); err == nil || wire.CodeOf(err).Code == wire.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		close(link)
	}
	if _, err := b.arrive(t.Context(), make(doneLink), []byte("x")); err == nil {
		t.Error("no CBOR: taken")
	}
	until(t, "nothing is kept", func() bool {
		b.arrivals.mu.Lock()
		defer b.arrivals.mu.Unlock()
		return len(b.arrivals.all) == 0 && b.arrivals.bytes == 0
	})
}

type doneLink chan struct{}

func (d doneLink) Done() <-chan struct{} { return d }
