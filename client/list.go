package client

import (
	"context"
	"fmt"

	"github.com/limpet-games/limpet/wire"
)

// listing is a request for a list of rooms.
type listing struct {
	ref   uint32
	frame []byte
	done  chan struct{}
	rooms wire.Rooms
	err   error
}

func (l *listing) answer(f *wire.Rooms, err error) {
	if l.err = err; f != nil {
		l.rooms = *f
		l.rooms.JSON = append([]byte(nil), f.JSON...)
	}
	close(l.done)
}

// List asks for at most most joinable rooms of a kind. The answer's JSON is an
// array of objects with room, members, max, open and labels.
func (c *Client) List(ctx context.Context, kind string, most uint16) (wire.Rooms, error) {
	if err := wire.CheckKind(kind); err != nil {
		return wire.Rooms{}, fmt.Errorf("list rooms: %w", err)
	}
	l := &listing{done: make(chan struct{})}
	c.mu.Lock()
	if err := c.endCause; err != nil {
		c.mu.Unlock()
		return wire.Rooms{}, fmt.Errorf("list rooms: %w", err)
	}
	c.lastRef = max(c.lastRef+1, 1)
	l.ref = c.lastRef
	l.frame = wire.List{Ref: l.ref, Kind: kind, Most: most}.Append(nil)
	c.lists = append(c.lists, l)
	if n := c.conn; n != nil {
		n.out = append(n.out, l.frame)
		n.poke()
	}
	c.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		c.mu.Lock()
		c.listed(l.ref, nil, ctx.Err())
		c.mu.Unlock()
		<-l.done
	}
	if l.err != nil {
		return wire.Rooms{}, fmt.Errorf("list rooms: %w", l.err)
	}
	return l.rooms, nil
}

// listed answers a list that waits. Under mu.
func (c *Client) listed(ref uint32, f *wire.Rooms, err error) {
	for i, l := range c.lists {
		if l.ref == ref {
			c.lists = append(c.lists[:i], c.lists[i+1:]...)
			l.answer(f, err)
			return
		}
	}
}
