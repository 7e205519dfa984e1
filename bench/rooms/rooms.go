// Package rooms has the kinds of room that the benchmark's room host serves.
package rooms

import (
	"time"

	"github.com/limpet-games/limpet/bench/state"
	api "github.com/limpet-games/limpet/rooms"
)

// Options say how states are sent.
type Options struct {
	Tick     int  // states a second
	Size     int  // of a state, in bytes
	Messages int  // that a tick's state is sent in, each of Size bytes
	Reliable bool // states are reliable messages instead of latest ones
}

// Kinds are a ticking room that broadcasts a state, "state", and one that
// answers each input at once, "echo".
func Kinds(o Options) []api.Kind {
	o.Messages = max(1, o.Messages)
	common := api.Kind{MaxMembers: 100_000, Durability: api.Checkpoint(time.Second), Grace: 5 * time.Second}
	ticking, echo := common, common
	ticking.Name, ticking.TickRate = "state", o.Tick
	ticking.New = func() api.Handler { return &stateRoom{options: o, room: state.NewRoom(o.Size)} }
	echo.Name = "echo"
	echo.New = func() api.Handler { return &echoRoom{} }
	return []api.Kind{ticking, echo}
}

// saved is what a checkpoint of either room holds.
type saved struct{ Seq, Inputs uint64 }

type stateRoom struct {
	options Options
	room    *state.Room
	saved   saved
}

func (h *stateRoom) State() any { return &h.saved }

// Start goes on from the checkpoint. States after it are sent again, and a
// client counts them as duplicated, which is what they are.
func (h *stateRoom) Start(api.Room, api.Start) { h.room.Continue(h.saved.Seq) }

func (h *stateRoom) Join(api.Room, api.Member, []byte) error { return nil }
func (h *stateRoom) Leave(api.Room, api.Member, api.Reason)  {}
func (h *stateRoom) Input(_ api.Room, _ api.Member, data []byte) {
	h.room.Input(data)
	h.saved.Inputs++
}

func (h *stateRoom) Tick(r api.Room, _ time.Duration) {
	if r.Len() == 0 {
		return
	}
	for i := range h.options.Messages {
		p := h.room.Next(r.Now().UnixNano())
		if h.options.Reliable {
			r.All().Send(p)
		} else {
			r.All().Latest(uint32(i), p)
		}
	}
	h.saved.Seq = h.room.Seq()
}

type echoRoom struct{ saved saved }

func (h *echoRoom) State() any { return &h.saved }

func (h *echoRoom) Join(api.Room, api.Member, []byte) error { return nil }
func (h *echoRoom) Leave(api.Room, api.Member, api.Reason)  {}
func (h *echoRoom) Input(_ api.Room, m api.Member, data []byte) {
	h.saved.Inputs++
	m.Ephemeral(data)
}
