package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// host is a gateway and a room in one that obey the protocol, on a network
// that drops, repeats and reorders inputs, breaks connections, and turns inputs
// away; and the room is restored from its checkpoint now and then.
type host struct {
	mu     sync.Mutex
	rng    *rand.Rand
	faults bool
	conn   *fakeConn // holds the membership
	handle wire.Handle

	epoch   wire.Epoch
	applied []string // the payloads, in order
	out     []string // reliable messages; out[i] has seq i+1
	saved   struct{ applied, out int }
	asked   time.Time
}

func (h *host) odds(percent int) bool { return h.faults && h.rng.IntN(100) < percent }

// serve answers one connection to its end.
func (h *host) serve(conn *fakeConn) {
	var late []byte // an input that the next one overtakes
	for msg := range conn.in {
		h.mu.Lock()
		switch wire.TypeOf(msg) {
		case wire.TypeJoin:
			f, _ := wire.DecodeJoin(msg)
			h.hold(conn, f.Ref, wire.Attach{Seq: wire.Seq(len(h.out)), Count: uint64(len(h.out))})
			h.tell("state 0")
		case wire.TypeResume:
			f, _ := wire.DecodeResume(msg)
			h.resume(conn, f)
		case wire.TypeInput:
			late = h.lossy(conn, msg, late)
		}
		h.mu.Unlock()
	}
}

// lossy passes an input on as the network pleases.
func (h *host) lossy(conn *fakeConn, msg, late []byte) []byte {
	switch {
	case h.odds(5): // lost
		return late
	case h.odds(5) && late == nil: // overtaken by the next
		return msg
	case h.odds(2):
		conn.ws.Close()
		return nil
	case h.odds(2):
		conn.send(wire.ErrorFrame{Handle: h.handle, Error: wire.Error{Code: wire.CodeBusy, RetryMS: 30}})
		return late
	case h.odds(2):
		h.restore()
		return late
	}
	h.input(conn, msg)
	if h.odds(5) {
		h.input(conn, msg) // twice
	}
	if late != nil {
		h.input(conn, late)
	}
	return nil
}

// input is the host rule: applied + 1 and nothing else.
func (h *host) input(conn *fakeConn, msg []byte) {
	f, err := wire.DecodeInput(msg)
	if err != nil || conn != h.conn || f.Handle != h.handle {
		return
	}
	switch next := wire.Input(len(h.applied) + 1); {
	case f.N == next:
		h.applied = append(h.applied, string(f.Payload))
		h.tell("applied " + string(f.Payload))
	case f.N > next && time.Since(h.asked) > 20*time.Millisecond:
		h.asked = time.Now()
		conn.send(wire.Expect{Handle: h.handle, Next: next})
	}
	if h.rng.IntN(4) == 0 {
		h.ack()
	}
}

// tell sends the member a reliable message.
func (h *host) tell(text string) {
	h.out = append(h.out, text)
	if h.conn != nil {
		h.conn.send(wire.Message{Type: wire.TypeMessage, Handle: h.handle, Seq: wire.Seq(len(h.out)), Payload: []byte(text)})
	}
}

func (h *host) ack() {
	if h.conn != nil {
		h.conn.send(wire.Ack{Handle: h.handle, Applied: wire.Input(len(h.applied)), Durable: wire.Input(h.saved.applied), Count: uint64(len(h.out))})
	}
}

// hold gives the membership to a connection.
func (h *host) hold(conn *fakeConn, ref uint32, a wire.Attach) {
	h.conn = conn
	h.handle++
	conn.send(wire.Joined{
		Ref: ref, Handle: h.handle, Kind: "arena", Name: "lobby", Member: 1,
		Attach: h.facts(a), Token: []byte(strconv.Itoa(int(h.handle))),
	})
}

func (h *host) facts(a wire.Attach) wire.Attach {
	a.Host, a.Epoch, a.Incarnation = "host", h.epoch, 1000
	a.Applied, a.Durable = wire.Input(len(h.applied)), wire.Input(h.saved.applied)
	return a
}

func (h *host) resume(conn *fakeConn, f wire.Resume) {
	if f.At.Epoch == h.epoch {
		h.hold(conn, f.Ref, wire.Attach{How: wire.HowResumed, Seq: f.At.Seq, Count: uint64(f.At.Seq)})
		for i := int(f.At.Seq); i < len(h.out); i++ {
			conn.send(wire.Message{Type: wire.TypeMessage, Handle: h.handle, Seq: wire.Seq(i + 1), Payload: []byte(h.out[i])})
		}
		return
	}
	h.hold(conn, f.Ref, wire.Attach{How: wire.HowRewound, Seq: wire.Seq(len(h.out)), Count: uint64(len(h.out))})
	h.tell(fmt.Sprintf("state %d", len(h.applied)))
}

// restore is the crash of the room's host: what was not saved is undone.
func (h *host) restore() {
	h.epoch++
	h.applied, h.out = h.applied[:h.saved.applied], h.out[:h.saved.out]
	if h.conn == nil {
		return
	}
	a := wire.Attach{How: wire.HowRewound, Seq: wire.Seq(len(h.out)), Count: uint64(len(h.out))}
	h.conn.send(wire.Attached{Handle: h.handle, Attach: h.facts(a)})
	h.tell(fmt.Sprintf("state %d", len(h.applied)))
}

// checkpoint saves the room every 50 ms.
func (h *host) checkpoint(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		h.mu.Lock()
		h.saved.applied, h.saved.out = len(h.applied), len(h.out)
		h.ack()
		h.mu.Unlock()
	}
}

// view is what a client makes of the room's messages.
type view struct {
	mu     sync.Mutex
	sent   []string
	inputs []string
	faults []string
	tally  map[string]int
}

func (v *view) add(_ *Room, e Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tally[strings.TrimPrefix(fmt.Sprintf("%T", e), "*client.")]++
	switch e := e.(type) {
	case *Violation:
		v.faults = append(v.faults, e.Text)
	case *Rewound:
		v.inputs = nil // derived state is void; full state follows
	case *Message:
		what, text, _ := strings.Cut(string(e.Payload), " ")
		if what == "applied" {
			v.inputs = append(v.inputs, text)
			return
		}
		n, _ := strconv.Atoi(text)
		v.inputs = slices.Clone(v.sent[:n])
	}
}

func TestNoFaultLosesRepeatsOrReorders(t *testing.T) {
	tally := map[string]int{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { playWithFaults(t, seed, tally) })
	}
	for _, what := range []string{"Dropped", "Resumed", "Rewound", "Error", "Attached"} {
		if tally[what] == 0 {
			t.Errorf("no %s event: the faults were not made", what)
		}
	}
	t.Logf("events: %v", tally)
}

func playWithFaults(t *testing.T, seed uint64, tally map[string]int) {
	p := newPipes()
	f := newFakeOn(t, p)
	h := &host{rng: rand.New(rand.NewPCG(seed, 1)), faults: true, epoch: 1000}
	v := &view{tally: tally}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.checkpoint(ctx) })
	wg.Go(func() {
		for {
			select {
			case conn := <-f.accepted:
				wg.Go(func() { h.serve(conn) })
			case <-ctx.Done():
				return
			}
		}
	})
	c := dial(t, Config{URLs: []string{f.url}, OnEvent: v.add, NetDial: p.dial})
	r, err := c.Join(context.Background(), wire.ModeJoinOrCreate, "arena", "lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range 300 {
		payload := fmt.Sprintf("input-%d", i)
		v.mu.Lock()
		v.sent = append(v.sent, payload)
		v.mu.Unlock()
		if _, err := r.Send([]byte(payload)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
	h.mu.Lock()
	h.faults = false
	h.mu.Unlock()
	settle, done := context.WithTimeout(context.Background(), 5*time.Minute)
	defer done()
	if err := r.Settle(settle); err != nil {
		t.Errorf("seed %d: %v (%+v)", seed, err, r.Status())
	}
	c.Close()
	cancel()
	f.close()
	wg.Wait()
	if !slices.Equal(h.applied, v.sent) {
		t.Errorf("seed %d: the room has %d inputs, want the %d sent, in order", seed, len(h.applied), len(v.sent))
	}
	if !slices.Equal(v.inputs, v.sent) {
		t.Errorf("seed %d: the client saw %d inputs applied, want all %d, in order", seed, len(v.inputs), len(v.sent))
	}
	for _, fault := range v.faults {
		t.Errorf("seed %d: violation: %s", seed, fault)
	}
}
