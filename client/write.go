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
		for more := true; more; {
			n.net.hold()
			var err error
			more, err = c.fill(n)
			if flushed := n.net.flush(); err == nil {
				err = flushed
			}
			if err != nil {
				println("DBG", err.Error())
				n.end(&ending{err: err})
				return
			}
		}
		if bye := c.goodbye(n); bye != nil {
			text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			n.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(goodbyeWithin))
			n.end(bye)
			return
		}
	}
}

func (c *Client) goodbye(n *conn) *ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return n.goodbye
}

// fill writes frames into the batch: requests first, then inputs. It returns
// whether there are more than go into one batch.
func (c *Client) fill(n *conn) (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, frame := range n.out {
		n.out[i] = nil
		if err := n.say(frame); err != nil {
			return false, err
		}
	}
	n.out = n.out[:0]
	for len(n.queue) > 0 {
		r := n.queue[0]
		for r.sends() {
			if n.net.held() >= batchBytes {
				return true, nil
			}
			c.scratch = r.in.take(r.handle, c.scratch[:0])
			if err := n.say(c.scratch); err != nil {
				return false, err
			}
		}
		r.queued = false
		n.queue = append(n.queue[:0], n.queue[1:]...)
	}
	return false, nil
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
