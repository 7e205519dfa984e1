package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
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
	ln = paced{ln, g, sweeping.Done()}
	if g.cfg.TLS != nil {
		ln = secured{ln, g.cfg.TLS, newOpening()}
	}
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

// close ends what is left and waits for it.
func (g *Gateway) close() {
	g.mu.Lock()
	g.closed, g.draining = true, true
	g.mu.Unlock()
	g.farewell() // those that came in between
	g.cancel()
	g.wg.Wait()
}

// countHTTP bounds the connections that are not WebSockets (yet), all together
// and of one peer, unless that is a proxy.
func (g *Gateway) countHTTP(nc net.Conn, state http.ConnState) {
	from := g.peerOf(nc)
	switch state {
	case http.StateNew:
		if full := g.addHTTP(1) > g.limits.HTTP; full {
			g.metrics.handshakes.WithLabelValues("http_full").Inc()
			nc.Close()
		}
		if !g.addresses.arrive(from) {
			nc.Close()
		}
	case http.StateHijacked, http.StateClosed:
		g.addHTTP(-1)
		g.addresses.depart(from)
	}
}

func (g *Gateway) addHTTP(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.http += n
	return g.http
}
