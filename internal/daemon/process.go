package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/limpet-games/limpet/internal/alarm"
)

// Process is what a program's main says of itself.
type Process struct {
	Program, Node string
	Log           LogFlags
	Ops           OpsFlags
	// OpsListener is where operations come in, instead of Ops.Addr; nil: that is.
	OpsListener func() (net.Listener, error)
	// Wire makes the process's parts. A BadSetting error is reported as one.
	Wire func(*Wiring) error
}

// Wiring is what a process's parts are put together with.
type Wiring struct {
	Log     zerolog.Logger
	Metrics *prometheus.Registry
	Ops     *Ops
	Parts   Parts
	Alarms  *alarm.Clock // they ring from before any part runs until all have ended

	// Inherited is what a process left that became this one, nil at a fresh start.
	Inherited *Inheritance

	opsListener net.Listener
	opsAddr     string
	closers     []func() error
	hurry       chan struct{} // nil: no part heeds it
	hurried     bool
	restarts    chan struct{} // capacity 1
}

// Restarts gets a value at each SIGUSR2: the process is to restart in place.
// Where no part heeds it, it is a line in the log.
func (w *Wiring) Restarts() <-chan struct{} { return w.restarts }

// Hurry is closed at the second signal to stop, for a part that takes its time
// to end; without such a part the second signal ends the process, with one the
// third. Call it while wiring.
func (w *Wiring) Hurry() <-chan struct{} {
	if w.hurry == nil {
		w.hurry = make(chan struct{})
	}
	return w.hurry
}

// again is a further signal to stop.
func (w *Wiring) again() {
	if w.hurry == nil || w.hurried {
		os.Exit(1)
	}
	w.hurried = true
	close(w.hurry)
}

// Defer has close called when all parts have ended, the last one first.
func (w *Wiring) Defer(close func() error) { w.closers = append(w.closers, close) }

// OpenCluster is OpenCluster for this process.
func (w *Wiring) OpenCluster(flags ClusterFlags, self Self) (*Cluster, error) {
	self.Ops, self.Inherited, self.Log, self.Metrics, self.Alarms = w.opsAddr, w.Inherited, w.Log, w.Metrics, w.Alarms
	return OpenCluster(flags, self)
}

type badSetting struct{ error }

func (b badSetting) Unwrap() error { return b.error }

// BadSetting marks an error as the fault of a setting, for the exit status.
func BadSetting(err error) error { return badSetting{err} }

// Run runs a process until a signal or a failure ends it, and returns its exit
// status.
func Run(f *Flags, p Process) int {
	w := &Wiring{Log: p.Log.New(f.Err, p.Program, p.Node), Metrics: NewRegistry(p.Program), restarts: make(chan struct{}, 1)}
	ctx, stop := Signals(context.Background(), w.again)
	defer stop()
	defer w.hearRestarts()()
	err := w.prepare(p)
	if err == nil {
		w.Log.Info().Str("version", Version()).Str("go", runtime.Version()).Int("pid", os.Getpid()).
			Str("ops", w.opsAddr).Interface("settings", f.Given()).Msg("starting")
		err = w.Parts.Run(ctx)
	}
	for _, close := range slices.Backward(w.closers) {
		err = errors.Join(err, close())
	}
	var bad badSetting
	switch {
	case errors.As(err, &bad):
		return f.Bad(bad)
	case err != nil:
		w.Log.Error().Err(err).Msg("ended by a failure")
		return 1
	}
	w.Log.Info().Msg("ended")
	return 0
}

func (w *Wiring) prepare(p Process) (err error) {
	if w.Ops, err = NewOps(p.Ops, w.Log, w.Metrics); err != nil {
		return BadSetting(err)
	}
	if w.Inherited, err = inherit(); err != nil {
		return err
	}
	var ln net.Listener
	switch {
	case w.Inherited != nil:
		ln, err = inherited(w.Inherited.Ops)
	case p.OpsListener != nil:
		ln, err = p.OpsListener()
	default:
		ln, err = net.Listen("tcp", p.Ops.Addr)
	}
	if err != nil {
		return fmt.Errorf("listen for operations: %w", err)
	}
	w.opsListener, w.opsAddr = ln, ln.Addr().String()
	limitMemory(w.Log, os.DirFS("/"))
	if w.Alarms, err = alarm.NewClock(); err != nil {
		ln.Close()
		return err
	}
	w.Parts.Add("alarms", w.Alarms.Run)
	w.Parts.Add("tidying of memory", tidy)
	w.Parts.Add("operations", func(ctx context.Context) error { return w.Ops.Run(ctx, ln) })
	if err := p.Wire(w); err != nil {
		ln.Close()
		return err
	}
	w.Parts.Add("service manager", w.tellManager)
	return nil
}

// hearRestarts takes SIGUSR2, which would end the process otherwise.
func (w *Wiring) hearRestarts() (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGUSR2)
	go func() {
		defer close(done)
		for range signals {
			select {
			case w.restarts <- struct{}{}:
			default:
				w.Log.Warn().Msg("told to restart in place, which is under way already or not for this program")
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// tellManager tells the service manager when the process gets ready, and that
// it stops: as the last part it is the first to hear.
func (w *Wiring) tellManager(ctx context.Context) error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for told := false; ; {
		if !told && len(w.Ops.ready.Reasons()) == 0 {
			told = true
			w.tell(NotifyReady)
			w.Log.Info().Msg("ready")
			poll.Stop()
		}
		select {
		case <-ctx.Done():
			w.Log.Info().Msg("stopping")
			w.tell(NotifyStopping)
			return nil
		case <-poll.C:
		}
	}
}

func (w *Wiring) tell(state string) {
	if err := Notify(state); err != nil {
		w.Log.Warn().Err(err).Msg("service manager not told")
	}
}
