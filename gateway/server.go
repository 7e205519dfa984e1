package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Bounds on HTTP before a connection is a WebSocket, and on the rest.
const (
	headerWithin = 3 * time.Second
	httpIdle     = 30 * time.Second
	maxHeader    = 8 << 10
)

// Run serves ln until ctx is done, then closes every connection, telling its
// client to come back elsewhere, and returns when all goroutines have ended.
func (g *Gateway) Run(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           http.HandlerFunc(g.serveHTTP),
		ReadHeaderTimeout: headerWithin,
		ReadTimeout:       httpIdle,
		WriteTimeout:      httpIdle,
		IdleTimeout:       httpIdle,
		MaxHeaderBytes:    maxHeader,
		ConnState:         g.countHTTP,
		ConnContext:       withRefusal,
		ErrorLog:          log.New(io.Discard, "", 0), // its lines are the clients' to cause
	}
	g.runLoops()
	defer g.closeLoops()
	sweeping, stop := context.WithCancel(g.ctx)
	defer stop()
	g.begin(func() { g.sweep(sweeping) })
	g.begin(func() { g.watchLateness(sweeping) })
	g.begin(func() {
		select {
		case <-ctx.Done():
		case <-sweeping.Done():
		}
		stop() // also an accept that waits
		srv.Close()
	})
	ln = g.doors(paced{ln, g, sweeping.Done()}, srv)
	err := srv.Serve(ln)
	g.farewell() // also when the listener broke
	srv.Close()
	stop()
	g.close()
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve clients: %w", err)
}

// doors is what the server takes clients' connections from.
func (g *Gateway) doors(p paced, srv *http.Server) net.Listener {
	if g.cfg.TLS != nil {
		return secured{p, g.cfg.TLS, newOpening()}
	}
	if len(g.loops) == 0 {
		return p
	}
	l := openLane(p)
	if l == nil {
		return p
	}
	g.begin(func() { srv.Serve(g.handover) })
	return l
}

// close ends what is left and waits for it.
func (g *Gateway) close() {
	g.mu.Lock()
	g.closed, g.draining = true, true
	g.mu.Unlock()
	g.farewell() // those that came in between
	g.callers.close()
	g.cancel()
	g.wg.Wait()
	for _, h := range g.handover.left() {
		h.Close()
	}
}

// countHTTP bounds the connections that are not WebSockets (yet), all together
// and of one peer, unless that is a proxy. Those that come from a loop have been
// counted in there.
func (g *Gateway) countHTTP(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if _, counted := nc.(*handed); !counted && !g.arrive(peerAddr(nc.RemoteAddr())) {
			nc.Close()
		}
	case http.StateHijacked, http.StateClosed:
		g.depart(peerAddr(nc.RemoteAddr()))
	}
}

// arrive counts a connection of peer in, always, and tells whether it may stay.
func (g *Gateway) arrive(peer netip.Addr) bool {
	full := g.addHTTP(1) > g.limits.HTTP
	if full {
		g.metrics.handshakes.WithLabelValues("http_full").Inc()
	}
	return g.addresses.arrive(g.accountOf(peer)) && !full
}

// depart is the end of what arrive counted in, or its becoming a WebSocket.
func (g *Gateway) depart(peer netip.Addr) {
	g.addHTTP(-1)
	g.addresses.depart(g.accountOf(peer))
}

func (g *Gateway) addHTTP(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.http += n
	return g.http
}
