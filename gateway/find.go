package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
)

// finder looks for a room again that has members here and has lost its host.
type finder struct {
	g     *Gateway
	r     *route
	began time.Time
	// cut is the node that others seem to reach but this gateway does not, ""
	// where there is none.
	cut directory.NodeID
}

// Pauses between the tries of one finder.
const (
	findPause     = 15 * time.Millisecond
	findPauseMost = time.Second
	findWithin    = 6 * time.Second // one try; a host may be waiting for a lease to end
	redialWithin  = 300 * time.Millisecond
)

// find starts a finder. last is the link that the room was behind, nil where it
// is known to have left it.
func (g *Gateway) find(r *route, last *host) bool {
	f := &finder{g: g, r: r, began: time.Now()}
	return g.begin(func() { f.run(last) })
}

// suspect has the directory look into whether a node is gone, once at a time.
func (g *Gateway) suspect(node directory.NodeID) {
	g.mu.Lock()
	asking := g.suspects[node]
	g.suspects[node] = true
	g.mu.Unlock()
	if asking {
		return
	}
	g.begin(func() {
		gone := g.cfg.Directory.Suspect(g.ctx, node)
		g.mu.Lock()
		delete(g.suspects, node)
		g.mu.Unlock()
		if gone {
			g.log.Warn().Str("host", string(node)).Msg("host is gone")
		}
	})
}

func (f *finder) run(last *host) {
	ctx := f.g.ctx
	if last != nil && f.rejoin(ctx, last) {
		f.done("redialled")
		return
	}
	f.began = time.Now()
	for wait := findPause; ; wait = min(2*wait, findPauseMost) {
		err := f.try(ctx)
		var e *wire.Error
		switch {
		case err == nil:
			f.done("found")
			return
		case ctx.Err() != nil:
			f.done("shutdown")
			return
		case errors.As(err, &e) && f.final(e):
			f.done(e.Code.String())
			return
		case f.hopeless():
			f.sendElsewhere(err)
			f.done("cut_off")
			return
		}
		pause(ctx, wait/2+rand.N(wait))
	}
}

// done ends the finder. What was lost again while it ended gets another.
func (f *finder) done(result string) {
	f.g.metrics.found.WithLabelValues(result).Inc()
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.finding = false
	f.r.settle()
	if f.r.host == nil && !f.r.retired && f.g.ctx.Err() == nil && f.r.waited() {
		f.r.finding = f.g.find(f.r, nil)
	}
}

// rejoin tries the process that the room was on, for as long as that restarts
// in place: its next process has the room, and nobody else is to have it.
func (f *finder) rejoin(ctx context.Context, last *host) bool {
	for {
		if f.redial(ctx, last) {
			return true
		}
		if !f.g.restarting(last.node) || ctx.Err() != nil || !f.waits() {
			return false
		}
		pause(ctx, findPause)
	}
}

// waits reports whether the room still has members here and no host.
func (f *finder) waits() bool {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.r.host == nil && !f.r.retired
}

// redial tries the process that the room was on: a link may break although both
// its ends are well.
func (f *finder) redial(ctx context.Context, last *host) bool {
	f.r.mu.Lock()
	at := f.r.at
	over := at.Epoch <= f.r.passed
	f.r.mu.Unlock()
	if over || at.Node != last.node {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, redialWithin)
	defer cancel()
	h, err := f.g.reach(ctx, at)
	return err == nil && f.bind(h, at) == nil
}

// try is one lookup.
func (f *finder) try(ctx context.Context) error {
	select {
	case f.g.finds <- struct{}{}:
		defer func() { <-f.g.finds }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ask, wanted := f.ask()
	if !wanted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.patience())
	defer cancel()
	at, err := f.g.cfg.Directory.Resolve(ctx, ask)
	if err != nil {
		f.cut = ask.Not
		return err
	}
	h, err := f.g.reach(ctx, at)
	if err != nil {
		f.cut = at.Node
		return err
	}
	f.cut = ""
	if err = f.bind(h, at); err != nil {
		f.g.cfg.Directory.Forget(at.Room, at.Epoch)
	}
	return err
}

// ask is the question; not wanted: the room has been found otherwise, or nobody
// waits for it any more.
func (f *finder) ask() (directory.Request, bool) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.host != nil || f.r.retired {
		return directory.Request{}, false
	}
	q := directory.Request{Room: f.r.room, Mode: wire.ModeJoin, After: max(f.r.passed, f.r.at.Epoch)}
	if !f.g.cfg.Mesh.Up(string(f.r.at.Node)) { // else the room may well start there again
		q.Not = f.r.at.Node
	}
	return q, true
}

func (f *finder) bind(h *host, at directory.Location) error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.retired {
		return nil
	}
	return f.r.bind(h, at)
}

// patience is how long the next try may take: the first ones end in time to
// notice that this gateway is cut off.
func (f *finder) patience() time.Duration {
	if left := f.g.limits.CutOff - time.Since(f.began); left > 0 {
		return left
	}
	return findWithin
}

// final acts on an answer that another try won't change.
func (f *finder) final(e *wire.Error) bool {
	code := e.Code
	switch code {
	case wire.CodeNoRoom:
		code = wire.CodeEnded
	case wire.CodeEnded, wire.CodeRoomClosed, wire.CodeStateLost:
	default:
		return false
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.host != nil { // another way led to it
		return true
	}
	f.r.endAll(code, e.Text)
	return true
}

// hopeless reports whether clients are better off elsewhere: the room's host
// seems alive to others and can't be reached from here, or nobody has found the
// room for long.
func (f *finder) hopeless() bool {
	since := time.Since(f.began)
	if since > f.g.limits.FindFor {
		return true
	}
	return since >= f.g.limits.CutOff && f.cut != "" &&
		!f.g.cfg.Mesh.Up(string(f.cut)) && f.g.cfg.Directory.Up(f.cut)
}

// sendElsewhere closes the connections of those who wait. Their memberships
// live on, and their tokens are good at any gateway.
func (f *finder) sendElsewhere(cause error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.host != nil {
		return
	}
	f.g.log.Warn().Err(cause).Str("room", string(f.r.room)).Str("host", string(f.cut)).
		Dur("for_ms", time.Since(f.began)).Msg("room can't be reached: its members are sent elsewhere")
	for _, s := range f.r.seats {
		if s.holder != nil {
			s.holder.conn.shut(wire.CloseCutOff, "this gateway can't reach the room's host")
		}
	}
}
