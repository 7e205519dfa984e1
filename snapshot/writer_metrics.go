package snapshot

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type writerMetrics struct {
	latency, calls prometheus.Histogram
	stored         prometheus.Counter
	storedBytes    prometheus.Counter
	failures       *prometheus.CounterVec
	rooms, bytes   prometheus.Gauge
	running        prometheus.Gauge
}

func newWriterMetrics(r prometheus.Registerer) writerMetrics {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 15) // 0.5 ms to 8 s
	m := writerMetrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "limpet_checkpoint_seconds",
			Help: "From a checkpoint's submission until it was stored.", Buckets: buckets}),
		calls: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "limpet_checkpoint_call_seconds",
			Help: "Calls that store a batch of checkpoints, failed ones too.", Buckets: buckets}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{Name: "limpet_checkpoint_stored_total",
			Help: "Checkpoints stored."}),
		storedBytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "limpet_checkpoint_stored_bytes_total",
			Help: "Bytes of checkpoints stored."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "limpet_checkpoint_failures_total",
			Help: "Answers other than stored, by reason: of saves, of single tries (unknown) and of whole calls (call)."}, []string{"reason"}),
		rooms: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_checkpoint_queue_rooms",
			Help: "Rooms with a checkpoint that is not stored yet."}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_checkpoint_queue_bytes",
			Help: "Bytes of checkpoints that are not stored yet."}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "limpet_checkpoint_store_running",
			Help: "1 while the store answers in time, else 0."}),
	}
	m.running.Set(1)
	if r != nil {
		r.MustRegister(m.latency, m.calls, m.stored, m.storedBytes, m.failures, m.rooms, m.bytes, m.running)
	}
	return m
}

func (m *writerMetrics) call(took time.Duration, err error) {
	m.calls.Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues("call").Inc()
	}
}

func (m *writerMetrics) saved(a answer, now time.Time) {
	if a.err != nil {
		m.answer(a.err)
		return
	}
	m.stored.Inc()
	m.storedBytes.Add(float64(a.save.size()))
	m.latency.Observe(now.Sub(a.save.at).Seconds())
}

// answer counts a save that was not stored.
func (m *writerMetrics) answer(err error) { m.failures.WithLabelValues(reason(err)).Inc() }

func (m *writerMetrics) state(running bool) {
	if running {
		m.running.Set(1)
	} else {
		m.running.Set(0)
	}
}

func reason(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrSuperseded, "superseded"}, {ErrQueueFull, "queue_full"}, {ErrWriterStopped, "stopped"},
		{ErrFenced, "fenced"}, {ErrMissing, "missing"}, {ErrTooBig, "too_big"}, {ErrBadRequest, "bad_request"},
		{ErrUnknown, "unknown"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "other"
}
