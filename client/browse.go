package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/limpet-games/limpet/wire"
)

// Query says which rooms of a kind a page is to hold.
type Query struct {
	Filter wire.Filter // without a pool: rooms of all pools
	After  string      // the page begins behind this name; "": at the first
	Most   uint16      // rooms; 0: 50, and 200 at most
}

// Page holds rooms that take members, by name.
type Page struct {
	Rooms           []RoomInfo
	Next            string  // After of the next page; "": this is the last
	Asked, Answered int     // hosts of the kind; where they differ, rooms may be missing
	Covered         float64 // 0 to 1: the part of those hosts' rooms that the page speaks for
}

// RoomInfo is a room as a list shows it.
type RoomInfo struct {
	Room     wire.RoomID       `json:"room"`
	Members  int               `json:"members"`
	Max      int               `json:"max"`
	Reserved int               `json:"reserved,omitempty"` // seats kept for players on their way
	Labels   map[string]string `json:"labels,omitempty"`
}

// change is a room in a page, or that it has left the page.
type change struct {
	RoomInfo
	Gone bool `json:"gone"`
}

// browse is a page that is wanted. Its fields but query and news are under
// Client.mu.
type browse struct {
	query wire.Browse // Ref is drawn anew for each connection
	page  Page
	err   error
	news  chan struct{} // capacity 1: page or err has changed
}

// Browse asks for one page.
func (c *Client) Browse(ctx context.Context, kind string, q Query) (Page, error) {
	b, err := c.startBrowse(kind, q, false)
	if err != nil {
		return Page{}, err
	}
	defer c.endBrowse(b)
	return c.nextPage(ctx, b)
}

// Watch shows a page, and shows it again whenever it has changed, about once a
// second at most, until ctx is done or a gateway refuses it. show runs in the
// caller's goroutine; pages that come while it runs are left out but for the
// newest. The error is never nil.
func (c *Client) Watch(ctx context.Context, kind string, q Query, show func(Page)) error {
	shown := false
	for {
		err := c.watch(ctx, kind, q, func(p Page) { shown = true; show(p) })
		var e *wire.Error
		if !shown || !errors.As(err, &e) || !retryable(e.Code) {
			return err
		}
		select { // another gateway, after a break, was busy
		case <-time.After(max(millis(e.RetryMS), backoffBase)):
		case <-ctx.Done():
			return fmt.Errorf("browse rooms of kind %s: %w", kind, ctx.Err())
		}
	}
}

func (c *Client) watch(ctx context.Context, kind string, q Query, show func(Page)) error {
	b, err := c.startBrowse(kind, q, true)
	if err != nil {
		return err
	}
	defer c.endBrowse(b)
	for {
		p, err := c.nextPage(ctx, b)
		if err != nil {
			return err
		}
		show(p)
	}
}

func (c *Client) startBrowse(kind string, q Query, watch bool) (*browse, error) {
	b := &browse{news: make(chan struct{}, 1)}
	q.Filter.Labels = maps.Clone(q.Filter.Labels)
	b.query = wire.Browse{Ref: 1, Watch: watch, Most: q.Most, Kind: kind, After: q.After, Filter: q.Filter}
	if _, err := wire.DecodeBrowse(b.query.Append(nil)); err != nil {
		return nil, fmt.Errorf("browse rooms of kind %s: %w", kind, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endCause != nil {
		return nil, fmt.Errorf("browse rooms of kind %s: %w", kind, c.endCause)
	}
	c.browses = append(c.browses, b)
	b.ask(c)
	return b, nil
}

// ask sends the request on the current connection, if there is one. Under mu.
func (b *browse) ask(c *Client) {
	n := c.conn
	switch {
	case n == nil:
	case n.welcome.Minor < 1:
		b.fail(wire.Refuse(wire.CodeUnavailable, "gateway "+n.welcome.Gateway+" is of an older version, without pages of rooms"))
	default:
		c.lastRef = max(c.lastRef+1, 1)
		b.query.Ref = c.lastRef
		n.out = append(n.out, b.query.Append(nil))
		n.poke()
	}
}

func (c *Client) endBrowse(b *browse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.browses = slices.DeleteFunc(c.browses, func(x *browse) bool { return x == b })
	if n := c.conn; n != nil && b.query.Watch && b.err == nil {
		n.out = append(n.out, wire.Quit{Ref: b.query.Ref}.Append(nil))
		n.poke()
	}
}

// nextPage waits for news of a page.
func (c *Client) nextPage(ctx context.Context, b *browse) (Page, error) {
	select {
	case <-b.news:
	case <-ctx.Done():
		return Page{}, fmt.Errorf("browse rooms of kind %s: %w", b.query.Kind, ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.err != nil {
		return Page{}, fmt.Errorf("browse rooms of kind %s: %w", b.query.Kind, b.err)
	}
	p := b.page
	p.Rooms = slices.Clone(p.Rooms)
	return p, nil
}

func (b *browse) fail(err error) {
	b.err = err
	b.tell()
}

func (b *browse) tell() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// browsing is who asked with a ref. Under mu.
func (c *Client) browsing(ref uint32) *browse {
	for _, b := range c.browses {
		if b.query.Ref == ref {
			return b
		}
	}
	return nil
}

// paged takes a page in. Under mu.
func (c *Client) paged(f *wire.Page) error {
	b := c.browsing(f.Ref)
	if b == nil {
		return nil // it was quit
	}
	var rooms []change
	if err := json.Unmarshal(f.JSON, &rooms); err != nil {
		return fmt.Errorf("page frame: rooms: %w", err)
	}
	if !f.Update {
		b.page.Rooms = nil
	}
	for _, r := range rooms {
		b.page.set(r)
	}
	b.page.Asked, b.page.Answered, b.page.Next = int(f.Asked), int(f.Answered), f.Next
	b.page.Covered = float64(f.Covered) / 1000
	b.tell()
	return nil
}

func (p *Page) set(r change) {
	i, there := slices.BinarySearchFunc(p.Rooms, r.Room, func(a RoomInfo, id wire.RoomID) int { return cmp.Compare(a.Room, id) })
	switch {
	case r.Gone && there:
		p.Rooms = slices.Delete(p.Rooms, i, i+1)
	case r.Gone:
	case there:
		p.Rooms[i] = r.RoomInfo
	default:
		p.Rooms = slices.Insert(p.Rooms, i, r.RoomInfo)
	}
}
