package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ErrSignal is the cause of a context that ended by SIGINT or SIGTERM.
var ErrSignal = errors.New("asked to stop by a signal")

// sameSignal: one Ctrl-C may come twice, from the terminal and from a parent
// that passes it on.
const sameSignal = 500 * time.Millisecond

// Signals returns a context that ends at the first SIGINT or SIGTERM; at each
// further one, now is called: a process that must be able to die at any moment
// needs no more ceremony. stop gives the signals back.
func Signals(parent context.Context, now func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel(ErrSignal)
		case <-stopped:
			return
		}
		for first := time.Now(); ; {
			select {
			case <-signals:
				if time.Since(first) > sameSignal {
					now()
					first = time.Now()
				}
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-done
		cancel(nil)
	}
}
