package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
)

// A room moves live in these steps, each of which may be the last that one of
// the two hosts takes:
//
//  1. The source stands still, encodes the room and sends it (callArrive). The
//     target prepares a copy that does not run yet, and names its lease.
//  2. The source hands the claim off in the store, with the checkpoint, to the
//     target's lease under a nonce that both know.
//  3. The source tells the target to begin (callBegin). The target's copy runs.
//  4. The source's copy ends and sends its gateways there.
//
// Before the hand-off the room is the source's: if anything fails it goes on
// there, and a target that hears no more forgets its copy. After it the room is
// the target's: one that is not told to begin finds its nonce in the store and
// begins by itself. The store alone says which of the two it is.
const (
	callArrive uint8 = 0x30 // arriveCall -> arriveReply once all has come
	callBegin  uint8 = 0x31 // beginCall -> nothing: the copy runs
	callForget uint8 = 0x32 // forgetCall -> nothing: the copy will never run
	callSpace  uint8 = 0x33 // nothing -> spaceReply
)

const (
	arrivePart    = 1 << 20  // of a room, in one call
	maxRoomBytes  = 64 << 20 // of a room that moves: state and resume log
	maxArriveBody = arrivePart + 4096
)

// arriveCall is a part of a room that moves. All but Data is the same in all
// parts.
type arriveCall struct {
	Nonce uint64      `cbor:"1,keyasint"` // of the claim that is to come
	Room  wire.RoomID `cbor:"2,keyasint"`
	Claim [2]uint64   `cbor:"3,keyasint"` // that stands: incarnation and epoch
	Saves uint64      `cbor:"4,keyasint"` // of the room so far
	Size  int         `cbor:"5,keyasint"` // of all parts
	Body  int         `cbor:"6,keyasint"` // so much of it is the checkpoint's body; the rest is baggage
	Off   int         `cbor:"7,keyasint"`
	Data  []byte      `cbor:"8,keyasint"`
	// Journal is the number of the last entry that the room has recorded.
	Journal uint64 `cbor:"9,keyasint,omitempty"`
	// State is the version of the room's state; nil, of builds that do not say:
	// the target's own.
	State *uint32 `cbor:"10,keyasint,omitempty"`
}

func (c *arriveCall) check() error {
	if _, err := wire.ParseRoom(string(c.Room)); err != nil {
		return err
	}
	switch {
	case c.Nonce == 0 || c.Claim[0] == 0 || c.Claim[1] == 0:
		return errors.New("numbers must not be 0")
	case c.Size <= 0 || c.Size > maxRoomBytes || c.Body < 0 || c.Body > c.Size:
		return fmt.Errorf("room of %d bytes with a body of %d: want at most %d", c.Size, c.Body, maxRoomBytes)
	case c.Journal > snapshot.MaxFloor:
		return fmt.Errorf("journal entry %d is out of range", c.Journal)
	case c.Off < 0 || len(c.Data) == 0 || c.Off > c.Size-len(c.Data):
		return fmt.Errorf("%d bytes at %d of %d", len(c.Data), c.Off, c.Size)
	}
	return nil
}

func (c *arriveCall) claim() snapshot.Claim {
	return snapshot.Claim{Room: c.Room, Incarnation: wire.Incarnation(c.Claim[0]), Epoch: wire.Epoch(c.Claim[1])}
}

// arriveReply is empty until the last part.
type arriveReply struct {
	Holder snapshot.Holder `cbor:"1,keyasint,omitempty"` // the lease to hand the claim to
}

type beginCall struct {
	Nonce uint64     `cbor:"1,keyasint"`
	Epoch wire.Epoch `cbor:"2,keyasint"`
}

type forgetCall struct {
	Nonce uint64 `cbor:"1,keyasint"`
}

// spaceReply is how many more rooms a host takes.
type spaceReply struct {
	Free     int      `cbor:"1,keyasint"`
	Kinds    []string `cbor:"2,keyasint"`
	Draining bool     `cbor:"3,keyasint"`
}

var (
	movesEncoding = must(cbor.EncOptions{}.EncMode())
	movesDecoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, MaxNestedLevels: 4, MaxArrayElements: 1024, MaxMapPairs: 16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func encodeCall(v any) []byte { return must(movesEncoding.Marshal(v)) }

func decodeCall(body []byte, v any) error {
	if len(body) > maxArriveBody {
		return wire.Refuse(wire.CodeTooBig, fmt.Sprintf("call of %d bytes: want at most %d", len(body), maxArriveBody))
	}
	if err := movesDecoding.Unmarshal(body, v); err != nil {
		return wire.Refuse(wire.CodeBadRequest, fmt.Sprintf("%T: %v", v, err))
	}
	return nil
}

// registerMoves takes the calls of hosts whose rooms move here.
func (h *Host) registerMoves(m *link.Mesh) {
	m.Only(directory.RoleHost.String(), callArrive, callBegin, callForget, callSpace)
	m.OnCall(callArrive, func(ctx context.Context, from *link.Link, body []byte) ([]byte, error) {
		return h.arrive(ctx, from, body)
	})
	m.OnCall(callBegin, func(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
		var c beginCall
		if err := decodeCall(body, &c); err != nil {
			return nil, err
		}
		return nil, h.arrivals.order(ctx, snapshot.Nonce(c.Nonce), order{epoch: c.Epoch})
	})
	m.OnCall(callForget, func(ctx context.Context, _ *link.Link, body []byte) ([]byte, error) {
		var c forgetCall
		if err := decodeCall(body, &c); err != nil {
			return nil, err
		}
		return nil, h.arrivals.order(ctx, snapshot.Nonce(c.Nonce), order{})
	})
	m.OnCall(callSpace, func(context.Context, *link.Link, []byte) ([]byte, error) {
		return encodeCall(h.space()), nil
	})
}

func (h *Host) space() spaceReply {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := spaceReply{Draining: h.closing || h.ctx == nil || h.Draining() || h.restarting.Load()}
	for k := range h.kinds {
		r.Kinds = append(r.Kinds, k)
	}
	if !r.Draining {
		r.Free = max(0, h.cfg.MaxRooms-len(h.live)-len(h.flights))
		if h.pressed() {
			r.Free = 0
		}
	}
	return r
}

// notStarted reports whether a call to begin was answered by the target's own
// word that its copy does not run and never will.
func notStarted(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == codeNotStarted
}

// target is a host that a room moves to.
type target struct {
	node directory.NodeID
	addr string
}
