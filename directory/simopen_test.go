package directory

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/limpet-games/limpet/wire"
)

// The part of a simulated host that searches ask. Who is sent stays.

// simRoom is a room that a search made.
type simRoom struct {
	made Made
	born time.Time
	rev  uint64
	sent map[wire.MemberID]int
}

func (h *simHost) Create(ctx context.Context, room wire.RoomID, floor wire.Epoch, made Made) (Location, error) {
	loc, err := h.Activate(ctx, room, wire.ModeCreate, floor)
	if err == nil {
		h.mu.Lock()
		h.made[room] = &simRoom{made: made, born: time.Now(), sent: map[wire.MemberID]int{}}
		h.mu.Unlock()
	}
	return loc, err
}

func (h *simHost) Open(kind string, f wire.Filter, most int) (all []OpenRoom, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, r := range h.made {
		if o, ok := h.openLocked(id, r); ok && id.Kind() == kind && f.Matches(o.Labels) && o.Free() >= f.Places() {
			all = append(all, o)
		}
	}
	return all[:min(len(all), most)], len(all) > most
}

func (h *simHost) Page(kind string, f wire.Filter, _ string, most int) ([]OpenRoom, bool) {
	return h.Open(kind, f, most)
}

func (h *simHost) Rooms() int { return len(h.copies()) }

func (h *simHost) openLocked(id wire.RoomID, r *simRoom) (OpenRoom, bool) {
	live, ok := h.live[id]
	o := OpenRoom{
		Room: id, Max: seats, Labels: r.made.Labels, By: r.made.By, Epoch: live.loc.Epoch, Incarnation: live.loc.Incarnation,
		Rev: r.rev, AgeMS: time.Since(r.born).Milliseconds(),
	}
	for _, n := range r.sent {
		o.Members += n
	}
	return o, ok
}

func (h *simHost) Reserve(_ context.Context, want Reservation) (OpenRoom, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.made[want.Room]
	if r == nil {
		return OpenRoom{}, wire.Refuse(wire.CodeNoRoom, "the room is not here")
	}
	o, ok := h.openLocked(want.Room, r)
	switch {
	case !ok:
		return OpenRoom{}, wire.Refuse(wire.CodeNoRoom, "the room is not here any more")
	case o.Free() < want.Filter.Places():
		return o, wire.Refuse(wire.CodeRoomFull, "no seat")
	}
	r.sent[want.Member] = want.Filter.Places()
	r.rev++
	o, _ = h.openLocked(want.Room, r)
	return o, nil
}

// While a split lasts, both sides make a room for searches. After it one room
// is filled at a time again, and the surplus one has been counted, once.
func TestSplitMakesOneSurplusRoom(t *testing.T) {
	for name, cutOffOwner := range map[string]bool{"another host is cut off": false, "the owner is cut off": true} {
		t.Run(name, func(t *testing.T) {
			dispute(t, 3, func(s *simulation) { splitSearch(s, cutOffOwner) })
		})
	}
}

func splitSearch(s *simulation, cutOffOwner bool) {
	var who wire.MemberID
	rooms := map[wire.RoomID]int{}
	find := func(n *simNode) {
		who++
		rooms[s.mustAsk(n, Request{Room: "chat/", Mode: wire.ModeAny, Member: who}).Room]++
	}
	surplus := func() (all float64) {
		for _, h := range s.hosts() {
			all += testutil.ToFloat64(h.service.metrics.openSurplus)
		}
		return all
	}
	owner := s.node(s.hosts()[0].View().Ring.Primary("chat/").ID)
	alone := owner
	if !cutOffOwner {
		alone = s.others(owner.Self())[0]
	}
	together := s.others(alone.Self())[1]
	find(together)
	if len(rooms) != 1 || surplus() != 0 {
		s.t.Fatalf("before the split: %v, surplus %v", rooms, surplus())
	}
	s.isolate(alone.proc.ip)
	s.await(time.Minute, func() string {
		if len(alone.View().Hosts) != 1 || len(together.View().Hosts) != 2 {
			return "not split yet"
		}
		return ""
	})
	for range 10 {
		find(alone)
		find(together)
	}
	if len(rooms) != 2 {
		s.t.Errorf("in the split 21 searches were sent to %v, want a room on each side", rooms)
	}
	s.heal()
	for range 2*seats - 21 {
		find(together)
		time.Sleep(20 * time.Millisecond)
	}
	synctest.Wait()
	if len(rooms) != 2 {
		s.t.Errorf("%d searches filled %v, want the two rooms", who, rooms)
	}
	if n := surplus(); n != 1 {
		s.t.Errorf("surplus rooms counted: %v, want 1", n)
	}
	find(alone)
	if n := surplus(); len(rooms) != 3 || n != 1 {
		s.t.Errorf("one more than both hold: %v, surplus %v", rooms, n)
	}
}
