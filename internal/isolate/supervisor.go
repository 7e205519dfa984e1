package isolate

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Config says which child to run and how to watch it.
type Config struct {
	Kind    string
	Parent  string   // the host's name
	Command []string // its arguments, from the program's name on; the program is this one
	Env     func() []string
	Output  io.Writer // where its output goes
	Dir     string    // where the files lie that both have open; "": where temporary ones do
	// Link and Ops are the child's listening sockets. The host keeps them open, so
	// that nobody takes a refused connection for a proof before Died has been called.
	Link, Ops net.Listener
	Slots     int           // rooms of which it can be told what they were doing
	Memory    int64         // bytes; a child that uses more is killed; 0: no bound
	Silence   time.Duration // a child that does not answer for so long is killed
	StopIn    time.Duration // how long it may take to end when told to, before it is killed
	// Died is called after each death, before the next start. A child that ends well
	// when it is told to has not died.
	Died func(ctx context.Context, d Death)

	Log     zerolog.Logger
	Metrics *Metrics
}

// The states of a child.
const (
	StateStarting    = "starting"
	StateReady       = "ready"
	StateBusy        = "not ready" // it lives and takes no rooms now
	StateDown        = "down"      // it died and is about to be started again
	StateQuarantined = "quarantined"
	StateStopped     = "stopped" // on purpose
)

// State is how a child does.
type State struct {
	Kind   string    `json:"kind"`
	State  string    `json:"state"`
	Node   string    `json:"node,omitempty"` // NAME#BOOT
	PID    int       `json:"pid,omitempty"`
	Ops    string    `json:"ops"`
	Memory int64     `json:"memory_bytes"`
	Deaths int       `json:"deaths"` // since the host started
	Last   string    `json:"last_death,omitempty"`
	Until  time.Time `json:"until,omitzero"` // when it is started again
}

// Supervisor keeps a child running. Run it once; its other methods may be called
// concurrently.
type Supervisor struct {
	cfg     Config
	strikes strikes
	changed chan struct{} // capacity 1: held or rests has changed

	mu    sync.Mutex
	held  bool          // no child is to run; guarded by mu
	rests bool          // none is to start; guarded by mu
	busy  chan struct{} // closed when once has ended; nil: it does not run; guarded by mu
	state State
	p     *process // nil: none runs; guarded by mu
}

// New makes a supervisor.
func New(cfg Config) *Supervisor {
	s := &Supervisor{cfg: cfg, changed: make(chan struct{}, 1)}
	s.state = State{Kind: cfg.Kind, State: StateStarting, Ops: cfg.Ops.Addr().String()}
	return s
}

// State tells how the child does.
func (s *Supervisor) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	if s.p != nil {
		var ready bool
		st.PID, st.Memory = s.p.cmd.Process.Pid, s.p.memory()
		if st.Node, ready, _ = s.p.state(); ready {
			st.State = StateReady
		} else if st.Node != "" {
			st.State = StateBusy
		}
	}
	return st
}

// Ready is a condition of readiness: the child takes rooms.
func (s *Supervisor) Ready() error {
	if st := s.State(); st.State != StateReady {
		return fmt.Errorf("process of kind %s: %s", st.Kind, st.State)
	}
	return nil
}

// Hold has the child end, and none start, until Release. It returns when the
// child has ended and Died has returned, where it is called.
func (s *Supervisor) Hold(ctx context.Context) error {
	busy := s.hold(true)
	if busy == nil {
		return nil
	}
	select {
	case <-busy:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop process of kind %s: %w", s.cfg.Kind, ctx.Err())
	}
}

// Release undoes Hold.
func (s *Supervisor) Release() { s.hold(false) }

func (s *Supervisor) hold(on bool) (busy <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = on
	s.change()
	return s.busy
}

// Rest has no child start until it is undone; one that runs goes on to its end.
func (s *Supervisor) Rest(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rests = on
	s.change()
}

// change is noticed by who waits for a child. mu is held.
func (s *Supervisor) change() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *Supervisor) isHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// starts reports whether a child may start.
func (s *Supervisor) starts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.held && !s.rests
}

// begin makes a hold wait until end from here on. False: no child may start.
func (s *Supervisor) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || s.rests {
		return false
	}
	s.busy = make(chan struct{})
	return true
}

func (s *Supervisor) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.busy)
	s.busy = nil
}

// Run keeps the child running until ctx is done, and returns when it has ended.
// hurry, once closed, tells a child that takes its time to end at once.
func (s *Supervisor) Run(ctx context.Context, hurry <-chan struct{}) error {
	// The kernel kills the child when the thread that started it ends. Never
	// unlocked, the thread ends with this goroutine.
	runtime.LockOSThread()
	defer s.cfg.Link.Close()
	defer s.cfg.Ops.Close()
	for ctx.Err() == nil {
		if !s.begin() {
			s.set(StateStopped, nil, time.Time{})
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
			continue
		}
		s.once(ctx, hurry)
		s.end()
	}
	s.set(StateStopped, nil, time.Time{})
	return nil
}

// once runs one child to its end, and waits until the next may start.
func (s *Supervisor) once(ctx context.Context, hurry <-chan struct{}) {
	began := time.Now()
	p, err := s.start()
	var d Death
	asked, well := false, false
	if err != nil {
		d = Death{Why: "start", Detail: err.Error()}
	} else {
		s.set(StateStarting, p, time.Time{})
		s.cfg.Log.Info().Str("kind", s.cfg.Kind).Int("child", p.cmd.Process.Pid).Msg("process of an isolated kind started")
		var killed string
		killed, asked = s.watch(ctx, p, hurry)
		if well = asked && killed == "" && p.endedWell(); !well {
			d = p.death(killed)
		}
		s.set(StateDown, nil, time.Time{})
		p.close()
	}
	if well {
		s.cfg.Log.Info().Str("kind", s.cfg.Kind).Msg("process of an isolated kind has ended as asked")
		return
	}
	now := time.Now()
	s.cfg.Metrics.died(s.cfg.Kind, d)
	s.cfg.Died(ctx, d)
	until, quarantined := s.strikes.died(now, now.Sub(began), d.verdict())
	s.mu.Lock()
	s.state.Deaths++
	s.state.Last = d.Why
	if d.Detail != "" {
		s.state.Last += ": " + d.Detail
	}
	s.mu.Unlock()
	state := StateDown
	switch {
	case asked: // whoever asked says when the next one starts
		until = now
	case quarantined:
		state = StateQuarantined
	}
	s.set(state, nil, until)
	s.cfg.Log.Error().Str("kind", s.cfg.Kind).Str("why", d.Why).Str("detail", d.Detail).Interface("at_fault", rooms(d.Guilty)).
		Dur("again_in_ms", time.Until(until)).Bool("quarantined", quarantined).Bool("while_ending", asked).Msg("process of an isolated kind died")
	if !asked {
		s.sleep(ctx, until)
	}
}

func rooms(guilty []Guilty) []string {
	names := []string{}
	for _, g := range guilty {
		names = append(names, g.Room)
	}
	return names
}

func (s *Supervisor) set(state string, p *process, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.State, s.state.Until, s.p = state, until, p
	s.cfg.Metrics.up(s.cfg.Kind, p != nil)
}

func (s *Supervisor) sleep(ctx context.Context, until time.Time) {
	wait := time.NewTimer(time.Until(until))
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
			return
		case <-ctx.Done():
			return
		case <-s.changed:
			if !s.starts() {
				return
			}
		}
	}
}

// watch waits for a child's end. killed is why this host killed it, "" where it
// did not; asked: it was told to end.
func (s *Supervisor) watch(ctx context.Context, p *process, hurry <-chan struct{}) (killed string, asked bool) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return killed, false
		case <-ctx.Done():
			return cmp.Or(killed, s.stop(p, hurry)), true
		case <-s.changed:
			if s.isHeld() {
				return cmp.Or(killed, s.stop(p, hurry)), true
			}
		case <-tick.C:
			if killed == "" {
				killed = s.check(p)
			}
		}
	}
}

// textSlack is what a child may have resident beside its data: its program.
const textSlack = 64 << 20

// check kills a child that has to be.
func (s *Supervisor) check(p *process) (killed string) {
	memory := p.memory()
	s.cfg.Metrics.uses(s.cfg.Kind, memory)
	now := time.Now()
	p.look(now)
	switch silent := p.silence(now); {
	case silent > s.cfg.Silence:
		s.cfg.Log.Error().Str("kind", s.cfg.Kind).Dur("silent_ms", silent).Msg("process of an isolated kind does not answer: killing it")
		killed = "silence"
	case s.cfg.Memory > 0 && memory > s.cfg.Memory+textSlack && !p.dies():
		if !p.over { // one look more, to see whose call it is
			p.over = true
			return ""
		}
		s.cfg.Log.Error().Str("kind", s.cfg.Kind).Int64("bytes", memory).Msg("process of an isolated kind is above its memory: killing it")
		killed = "memory"
	default:
		p.over = false
		return ""
	}
	p.kill()
	return killed
}

// stop tells a child to end, and kills it if it takes too long.
func (s *Supervisor) stop(p *process, hurry <-chan struct{}) (killed string) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	late := time.NewTimer(s.cfg.StopIn)
	defer late.Stop()
	for {
		select {
		case <-p.done:
			return ""
		case <-tick.C:
			p.look(time.Now())
		case <-hurry:
			p.cmd.Process.Signal(syscall.SIGTERM)
			hurry = nil
		case <-late.C:
			s.cfg.Log.Error().Str("kind", s.cfg.Kind).Msg("process of an isolated kind does not end: killing it")
			p.kill()
			<-p.done
			return "overrun"
		}
	}
}

// Metrics count children's lives. Nil counts nothing.
type Metrics struct {
	running, memory *prometheus.GaugeVec
	deaths          *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "limpet_isolated_running", Help: "1 while the process of an isolated kind runs."}, []string{"kind"}),
		memory:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "limpet_isolated_memory_bytes", Help: "Resident memory of the process of an isolated kind."}, []string{"kind"}),
		deaths: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_isolated_deaths_total",
			Help: "Deaths of processes of isolated kinds, by why and whether a room's code is known to be at fault."}, []string{"kind", "why", "blamed"}),
	}
	reg.MustRegister(m.running, m.memory, m.deaths)
	return m
}

func (m *Metrics) up(kind string, yes bool) {
	if m != nil {
		v := 0.0
		if yes {
			v = 1
		}
		m.running.WithLabelValues(kind).Set(v)
	}
}

func (m *Metrics) uses(kind string, bytes int64) {
	if m != nil {
		m.memory.WithLabelValues(kind).Set(float64(bytes))
	}
}

func (m *Metrics) died(kind string, d Death) {
	if m != nil {
		m.deaths.WithLabelValues(kind, d.Why, fmt.Sprint(len(d.Guilty) > 0)).Inc()
	}
}
