package client

import (
	"time"

	"github.com/gorilla/websocket"

	"github.com/limpet-games/limpet/wire"
)

// Limits of patience.
const (
	answerWithin = 20 * time.Second // for a join or a resume
	repeatAfter  = 5 * time.Second  // without an ack: inputs are sent again
	leastPause   = 20 * time.Millisecond
)

// started is what pings count from.
var started = time.Now()

// write sends what is to be sent until the connection ends.
func (c *Client) write(n *conn) {
	beat := time.NewTicker(n.heartbeat() / 2)
	defer beat.Stop()
	for {
		select {
		case <-n.wake:
		case <-n.ended:
			return
		case <-beat.C:
			c.beat(n)
		}
		bye, err := c.flush(n)
		if bye != nil && err == nil {
			text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			n.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(goodbyeWithin))
		}
		if err != nil {
			bye = &ending{err: err}
		}
		if bye != nil {
			n.end(bye)
			return
		}
	}
}

// flush writes all that is to be written, in batches. bye tells that the
// connection is to be closed after it.
func (c *Client) flush(n *conn) (bye *ending, err error) {
	for more := true; more && err == nil; {
		n.net.hold()
		more, bye, err = c.fill(n)
		if flushed := n.net.flush(); err == nil {
			err = flushed
		}
	}
	return bye, err
}

// fill writes frames into the batch: requests first, then inputs. more tells
// that not all went into it; a connection that is to be closed takes no more.
func (c *Client) fill(n *conn) (more bool, bye *ending, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, frame := range n.out {
		n.out[i] = nil
		if err := n.say(frame); err != nil {
			return false, nil, err
		}
	}
	n.out = n.out[:0]
	for len(n.queue) > 0 {
		r := n.queue[0]
		for r.sends() {
			if n.net.held() >= batchBytes {
				return n.goodbye == nil, n.goodbye, nil
			}
			c.scratch = r.in.take(r.handle, c.scratch[:0])
			if err := n.say(c.scratch); err != nil {
				return false, nil, err
			}
		}
		r.queued = false
		n.queue = append(n.queue[:0], n.queue[1:]...)
	}
	return false, n.goodbye, nil
}

func (n *conn) say(frame []byte) error {
	n.spoke = true
	return n.ws.WriteMessage(websocket.BinaryMessage, frame)
}

// beat runs twice a heartbeat: it pings a connection on which one side was
// silent, and looks after what has waited for too long.
func (c *Client) beat(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !n.spoke || !n.heard {
		n.out = append(n.out, wire.AppendPing(nil, wire.TypePing, uint64(now.Sub(started))))
	}
	n.spoke, n.heard = false, false
	for _, r := range c.rooms {
		if r.asked != 0 && now.Sub(r.askedAt) > answerWithin {
			n.end(&ending{err: errLateAnswer})
			return
		}
		if r.bound && r.in.cursor > r.in.applied+1 && now.Sub(r.progress) > repeatAfter {
			r.progress = now
			r.in.rewind(r.in.applied + 1)
			r.enqueue()
		}
	}
}
