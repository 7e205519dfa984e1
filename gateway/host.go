package gateway

import (
	"sync"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/internal/link"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// host is one link to a room host.
type host struct {
	link *link.Link
	node directory.NodeID

	// dirty are the connections to flush at the end of the batch that the
	// link's reader is handling. Owned by that reader.
	dirty []*conn
	slow  []*session // that had no room for the output in hand; see fallBehind

	mu     sync.Mutex
	down   bool                // guarded by mu
	routes map[*route]struct{} // guarded by mu
}

func newHost(l *link.Link) *host {
	return &host{link: l, node: directory.NodeID(l.Peer()), routes: map[*route]struct{}{}}
}

// add has h tell r of its end. False: it has ended.
func (h *host) add(r *route) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return false
	}
	h.routes[r] = struct{}{}
	return true
}

func (h *host) remove(r *route) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.routes, r)
}

// end marks h as down and returns the routes it had.
func (h *host) end() []*route {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = true
	all := make([]*route, 0, len(h.routes))
	for r := range h.routes {
		all = append(all, r)
	}
	return all
}

// hostOf is the host of a link, nil where that is down.
func (g *Gateway) hostOf(l *link.Link) *host {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.hosts[l]; h != nil {
		return h
	}
	select {
	case <-l.Done():
		return nil // linkDown may be past
	default:
	}
	h := newHost(l)
	g.hosts[l] = h
	return h
}

// register has the mesh call this gateway.
func (g *Gateway) register(m *link.Mesh) {
	m.OnMessage(peer.KindAttached, g.onAttached)
	m.OnMessage(peer.KindRefused, g.onRefused)
	m.OnMessage(peer.KindOutput, g.onOutput)
	m.OnMessage(peer.KindAcks, g.onAcks)
	m.OnMessage(peer.KindTell, g.onTell)
	m.OnMessage(peer.KindLeft, g.onLeft)
	m.OnMessage(peer.KindGone, g.onGone)
	m.OnMessage(peer.KindMoved, g.onMoved)
	m.Only("host", peer.KindAttached, peer.KindRefused, peer.KindOutput, peer.KindAcks, peer.KindTell, peer.KindLeft, peer.KindGone, peer.KindMoved)
	m.OnBatch(g.onBatch)
	m.OnDown(g.onDown)
}

// onBatch writes to each socket, in one, what the batch brought it.
func (g *Gateway) onBatch(from *link.Link) {
	g.mu.RLock()
	h := g.hosts[from]
	g.mu.RUnlock()
	if h != nil {
		h.flush()
	}
}

// flush ends the batch. Only the link's reader may.
func (h *host) flush() {
	for i, c := range h.dirty {
		c.out.flush()
		h.dirty[i] = nil
	}
	h.dirty = h.dirty[:0]
}

func (g *Gateway) onDown(l *link.Link, cause error) {
	g.onBatch(l)
	g.mu.Lock()
	h := g.hosts[l]
	delete(g.hosts, l)
	g.mu.Unlock()
	if h == nil {
		return
	}
	routes := h.end()
	if len(routes) == 0 {
		return
	}
	g.log.Warn().AnErr("cause", cause).Str("host", string(h.node)).Int("rooms", len(routes)).Msg("host lost: finding its rooms again")
	if !g.restarting(h.node) {
		g.suspect(h.node)
	}
	for _, r := range routes {
		r.mu.Lock()
		if r.host == h {
			r.lose(false)
		}
		r.mu.Unlock()
	}
}

// post queues what a room says for a session's socket, to be flushed with the
// batch. False: there is no room for it.
func (h *host) post(c *conn, f *frame) bool {
	first, over := c.out.offer(f)
	if first {
		h.dirty = append(h.dirty, c)
	}
	return !over
}

// postOwn queues a frame that is for this session alone, in the same way. It gives
// it up.
func (h *host) postOwn(c *conn, f *frame) {
	c.g.countOut(f, 1)
	first, over := c.out.put(f)
	if over {
		c.shut(wire.CloseSlow, slowText)
	} else if first {
		h.dirty = append(h.dirty, c)
	}
	f.release()
}

func (g *Gateway) countOut(f *frame, n int) {
	g.metrics.bytesOut.Add(float64(n * len(f.b)))
	g.metrics.out[f.typ()].Add(float64(n))
}
