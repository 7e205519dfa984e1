package gateway

import (
	"context"
	"encoding/json"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// Bounds on a list.
const (
	listWithin = 2 * time.Second
	listMost   = 200
	listUsual  = 50
	listBytes  = wire.MaxPayload
)

// listed is a room as a list shows it.
type listed struct {
	directory.OpenRoom
	Open bool `json:"open"`
	Gone bool `json:"gone,omitempty"` // it has left the page
}

// handleList asks the hosts for open rooms, one list at a time.
func (c *conn) handleList(msg []byte) error {
	f, err := wire.DecodeList(msg)
	if err != nil {
		return c.misuse(msg, err)
	}
	if e := c.id.mayList(f.Kind); e != nil {
		c.refuseList(f.Ref, e)
		return nil
	}
	if !c.over().lists.allow(time.Now(), c.g.limits.Lists) || !c.beginList() {
		c.refuseList(f.Ref, &wire.Error{Code: wire.CodeRateLimited, RetryMS: 250, Text: "one list at a time, and not too often"})
		return nil
	}
	if !c.g.begin(func() { c.list(f) }) {
		c.endList()
		c.refuseList(f.Ref, errClosing())
	}
	return nil
}

// refuseList answers a list or a browse with an error.
func (c *conn) refuseList(ref uint32, e *wire.Error) {
	c.g.metrics.lists.WithLabelValues(e.Code.String()).Inc()
	c.sendError(ref, 0, e)
}

func errClosing() *wire.Error {
	return &wire.Error{Code: wire.CodeUnavailable, RetryMS: 500, Text: "this gateway closes"}
}

func (c *conn) beginList() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.listing
	c.listing = true
	return first
}

func (c *conn) endList() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listing = false
}

func (c *conn) list(f wire.List) {
	defer c.endList()
	ctx, cancel := context.WithTimeout(c.g.ctx, listWithin)
	defer cancel()
	l, err := c.g.cfg.Directory.List(ctx, directory.Query{Kind: f.Kind, Most: pageSize(f.Most)})
	if err != nil {
		c.refuseList(f.Ref, wire.CodeOf(err))
		return
	}
	c.g.metrics.lists.WithLabelValues("ok").Inc()
	text, _ := listJSON(l.Rooms)
	c.sendNow(encode(wire.Rooms{
		Ref: f.Ref, Asked: uint16(min(l.Asked, 0xffff)), Answered: uint16(min(l.Answered, 0xffff)), JSON: text,
	}))
}

// listJSON is the first n of the rooms: as many as a frame has room for.
func listJSON(rooms []directory.OpenRoom) (out []byte, n int) {
	out = []byte{'['}
	for _, r := range rooms {
		one, err := json.Marshal(listed{OpenRoom: r, Open: true})
		if err != nil || len(out)+len(one)+2 > listBytes {
			break
		}
		if n > 0 {
			out = append(out, ',')
		}
		out = append(out, one...)
		n++
	}
	return append(out, ']'), n
}
