package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/limpet-games/limpet/snapshot"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

// Why a copy is over. Each ends in one call of end, which is the only way out
// of the host's table.
var (
	errShutdown = errors.New("host shuts down")
	errFenced   = errors.New("another claim holds the room")
	errIdle     = errors.New("nobody is in the room")
)

// over: the room has ended for good, in the store too.
type over struct {
	code wire.Code
	text string
}

// Error names the code.
func (e *over) Error() string { return "room ended: " + e.code.String() }

// succession: the room goes on here under another claim.
type succession struct{ grant }

// Error names the claim.
func (e *succession) Error() string {
	return fmt.Sprintf("claimed again at epoch %d", e.Claim.Epoch)
}

// failure: the room's code panicked.
type failure struct{ err error }

// Error is the panic.
func (e *failure) Error() string { return e.err.Error() }

// live is the room's goroutine.
func (r *room) live(ctx context.Context) {
	r.ctx = ctx
	r.end(r.run(ctx))
}

// end takes a copy out. Its mailbox refuses everything from here on, so that
// gateways look the room up again.
func (r *room) end(why error) {
	r.over.Store(true)
	left := r.box.close()
	r.refuseAll(r.taken)
	r.refuseAll(left)
	r.metrics.ended(why)
	var fail *failure
	var next *succession
	var done *over
	switch {
	case errors.As(why, &fail):
		r.fail(fail)
	case errors.As(why, &next):
		r.succeed(next.grant)
	case errors.As(why, &done):
		r.leave(done.code, done.text, nil)
	case errors.Is(why, errIdle):
		r.park()
		r.leave(wire.CodeNone, "", nil)
	case errors.Is(why, errShutdown):
		r.park()
		r.host.unsaved.Done()
		<-r.host.released
		r.goneAll(wire.CodeNone, why.Error())
		r.drop(nil)
		return
	default:
		r.log.Warn().AnErr("cause", why).Msg("room stopped: it lives elsewhere")
		r.stop()
		r.leave(wire.CodeNone, why.Error(), nil)
	}
	r.host.unsaved.Done()
}
