package pressure

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Level says what a process must not do any more. Each holds those before it.
type Level int32

// The levels.
const (
	None          Level = iota
	NoRooms             // take no new room
	NoConnections       // take no new connection
	CutSlowest          // give up the connections that cost the most
)

// String is for logs.
func (l Level) String() string {
	return [...]string{"none", "no new rooms", "no new connections", "cut the slowest"}[min(max(l, 0), 3)]
}

// The watermarks, in percent of what there is.
const (
	noRoomsAt       = 70
	noConnectionsAt = 80
	cutSlowestAt    = 90
	relief          = 3 // so far below a watermark it is over
)

// watchEvery is the time between looks.
const watchEvery = 500 * time.Millisecond

// Config says what there is.
type Config struct {
	Memory int64 // bytes that the process may use; 0: what the machine has
	Log    zerolog.Logger
	// Metrics takes the use of each resource and the level; nil: none.
	Metrics prometheus.Registerer
}

// Monitor watches. Level may be called concurrently; a nil Monitor knows of no
// pressure.
type Monitor struct {
	cfg   Config
	files int64 // 0: not known
	level atomic.Int32

	// Stand-ins of tests.
	memory func() int64
	open   func() int64

	used *prometheus.GaugeVec
	now  prometheus.Gauge
}

// New makes a monitor.
func New(cfg Config) *Monitor {
	if cfg.Memory == 0 {
		cfg.Memory = machineMemory()
	}
	m := &Monitor{
		cfg: cfg, files: filesThereAre(), memory: memoryUsed, open: filesOpen,
		used: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "limpet_pressure_used_ratio",
			Help: "Share of a resource that the process uses, from 0 to 1."}, []string{"resource"}),
		now: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_pressure_level",
			Help: "0: none; 1: no new rooms; 2: no new connections; 3: the slowest are cut."}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(m.used, m.now)
	}
	return m
}

// Run watches until ctx is done.
func (m *Monitor) Run(ctx context.Context) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		m.look()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Level is how bad it is.
func (m *Monitor) Level() Level {
	if m == nil {
		return None
	}
	return Level(m.level.Load())
}

func (m *Monitor) look() {
	memory := share(m.memory(), m.cfg.Memory)
	files := share(m.open(), m.files)
	m.used.WithLabelValues("memory").Set(memory / 100)
	m.used.WithLabelValues("files").Set(files / 100)
	was := m.Level()
	is := next(was, max(memory, files))
	if is == was {
		return
	}
	m.level.Store(int32(is))
	m.now.Set(float64(is))
	line := m.cfg.Log.Warn()
	if is < was {
		line = m.cfg.Log.Info()
	}
	line.Stringer("level", is).Stringer("was", was).Int("memory_percent", int(memory)).Int("files_percent", int(files)).Msg("pressure")
}

// share is in percent; what is not known is never short.
func share(used, all int64) float64 {
	if all <= 0 || used < 0 {
		return 0
	}
	return 100 * float64(used) / float64(all)
}

// next is the level at a use: up at once, down when it is well below.
func next(was Level, used float64) Level {
	at := func(slack float64) Level {
		switch {
		case used >= cutSlowestAt-slack:
			return CutSlowest
		case used >= noConnectionsAt-slack:
			return NoConnections
		case used >= noRoomsAt-slack:
			return NoRooms
		}
		return None
	}
	if up := at(0); up >= was {
		return up
	}
	return min(was, at(relief))
}
