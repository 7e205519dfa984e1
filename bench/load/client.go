//go:build linux

package load

import "github.com/limpet-games/limpet/wire"

// Client is one connection.
type Client struct {
	id       int
	fd       int // -1: none
	in       []byte
	out      []byte // what the socket did not take
	seats    []Seat
	instance wire.Instance
	began    int64 // of the connect, ns
	waiting  int   // seats that are not joined yet
	reserved bool  // of Colyseus: the seat
	upgraded bool
	deaf     bool // does not read any more
}

// Seat is one membership.
type Seat struct {
	Room   int
	slot   uint32 // in the room
	handle uint32
	next   uint64 // number of the last input, as the protocol counts
	number uint32 // of the last input, as its payload counts
	answer uint32 // number of the last input that was answered, in an echo room
	due    int64  // of the last input, ns
	last   uint64 // number of the last state
	joined bool
}

func (c *Client) seat(handle uint32) *Seat {
	for i := range c.seats {
		if s := &c.seats[i]; s.handle == handle && s.joined {
			return s
		}
	}
	return nil
}
