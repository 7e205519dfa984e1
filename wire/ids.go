package wire

import (
	"fmt"
	"strings"
)

// RoomID names a room in a cluster, as KIND/NAME. A valid one holds no braces,
// spaces or control bytes, so it can stand in a store key or a log as it is.
type RoomID string

// Room joins a kind and a name without checking them.
func Room(kind, name string) RoomID { return RoomID(kind + "/" + name) }

// ParseRoom checks s and returns it as a room's id.
func ParseRoom(s string) (RoomID, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok {
		return "", fmt.Errorf("room %q: want KIND/NAME", s)
	}
	if err := CheckKind(kind); err != nil {
		return "", err
	}
	if err := CheckName(name); err != nil {
		return "", err
	}
	return RoomID(s), nil
}

// Kind is the part before the slash.
func (r RoomID) Kind() string { k, _, _ := strings.Cut(string(r), "/"); return k }

// Name is the part after the slash.
func (r RoomID) Name() string { _, n, _ := strings.Cut(string(r), "/"); return n }

// CheckKind says what is wrong with a kind's name: it takes 1 to MaxKindLen of
// a-z, 0-9, '-', '_' and '.'.
func CheckKind(s string) error {
	return checkID("kind", s, MaxKindLen, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	})
}

// CheckName says what is wrong with a room's name: it takes 1 to
// MaxRoomNameLen of letters, digits, '-', '_', '.' and '~'.
func CheckName(s string) error {
	return checkID("room name", s, MaxRoomNameLen, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~'
	})
}

func checkID(what, s string, limit int, ok func(byte) bool) error {
	if len(s) == 0 || len(s) > limit {
		return fmt.Errorf("%s of %d bytes: want 1 to %d", what, len(s), limit)
	}
	for i := range len(s) {
		if !ok(s[i]) {
			return fmt.Errorf("%s %q: byte %d (%q) is not allowed", what, s, i, s[i])
		}
	}
	return nil
}

// Epoch numbers a room's activations: each takes a higher one from the store.
// It is at least the store's clock in milliseconds at the time of the claim.
type Epoch uint64

// Incarnation is the epoch at which a room was created. A room that was closed
// and created again under the same name has another.
type Incarnation uint64

// Seq numbers a room's reliable messages, from 1.
type Seq uint64

// MemberID names a membership of a room. It is random in [1, 2^53), so that it
// fits a JavaScript number; the gateway that admits the member draws it.
type MemberID uint64

// MaxMemberID bounds MemberID from above.
const MaxMemberID MemberID = 1<<53 - 1

// Generation counts the connections that have held a membership; the highest
// holds it now.
type Generation uint32

// Input numbers what one client instance sends to one room, from 1.
type Input uint64

// Instance is a client instance: one tab, one process. Random, drawn by it.
type Instance [16]byte

// Handle is a gateway's short name for a room, on its sockets and its links.
type Handle uint32

// Position is a place in a room's output. Sequences of different epochs are
// not comparable unless the room says that the one continues the other.
type Position struct {
	Epoch Epoch
	Seq   Seq
}
