package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// ErrSignal is the cause of a context that ended by SIGINT or SIGTERM.
var ErrSignal = errors.New("asked to stop by a signal")

// Signals returns a context that ends at the first SIGINT or SIGTERM; at the
// second, now is called: a process that must be able to die at any moment needs
// no more ceremony. stop gives the signals back.
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
		select {
		case <-signals:
			now()
		case <-stopped:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-done
		cancel(nil)
	}
}
