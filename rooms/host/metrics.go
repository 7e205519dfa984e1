package host

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/limpet-games/limpet/directory"
	"github.com/limpet-games/limpet/wire"
	"github.com/limpet-games/limpet/wire/peer"
)

type metrics struct {
	kinds map[string]*kindMetrics

	in          [peer.KindRelease + 1]prometheus.Counter // messages, by link kind
	inBytes     prometheus.Counter
	out         prometheus.Counter
	outBytes    prometheus.Counter
	outputs     prometheus.Counter
	strays      prometheus.Counter
	broken      prometheus.Counter
	refused     *prometheus.CounterVec
	activations *prometheus.CounterVec
	seats       *prometheus.CounterVec // result
	holds       prometheus.Counter
	lease       prometheus.Gauge
	leasesLost  prometheus.Counter
	superseded  prometheus.Counter
	storeLosses *prometheus.CounterVec

	appendTook  prometheus.Observer
	appendRooms prometheus.Observer
	appendFails prometheus.Counter
	aside       *prometheus.CounterVec
	moves       *prometheus.CounterVec
	moveSteps   map[string]prometheus.Observer // by moveSteps; static
	arrived     *prometheus.CounterVec
	adopted     *prometheus.CounterVec
}

// kindMetrics are one kind's, looked up once a room.
type kindMetrics struct {
	events            [eventKinds]prometheus.Counter
	payload           prometheus.Counter
	drops             prometheus.Counter
	batch             prometheus.Observer
	lateness          prometheus.Observer
	checkpointBytes   prometheus.Observer
	checkpointAge     prometheus.Observer
	checkpointRefused prometheus.Counter
	stuck             prometheus.Counter
	ticks             prometheus.Counter
	ticksSkipped      prometheus.Counter
	frozen            prometheus.Gauge
	degraded          prometheus.Counter
	diverged          prometheus.Counter
	endings           *prometheus.CounterVec
	movePause         prometheus.Observer
	moveBytes         prometheus.Observer
}

// newMetrics registers what the host counts; a nil registerer takes nothing.
func newMetrics(reg prometheus.Registerer, h *Host) *metrics {
	f := factory{reg}
	m := &metrics{
		kinds:       map[string]*kindMetrics{},
		inBytes:     f.counter("limpet_host_received_bytes_total", "Bytes of messages from gateways."),
		out:         f.counter("limpet_host_sent_total", "Messages to gateways."),
		outBytes:    f.counter("limpet_host_sent_bytes_total", "Bytes of messages to gateways."),
		outputs:     f.counter("limpet_host_outputs_total", "Rooms' messages as links carry them: one for each gateway with members in the audience."),
		strays:      f.counter("limpet_host_strays_total", "Messages from gateways for rooms that are not here (any more)."),
		broken:      f.counter("limpet_host_links_broken_total", "Links closed because they could not take a room's output."),
		refused:     f.counters("limpet_host_attaches_refused_total", "Attaches that no room saw, by code.", "code"),
		activations: f.counters("limpet_host_activations_total", "Requests to make a room live here, by result.", "result"),
		seats:       f.counters("limpet_host_reservations_total", "Seats that searches asked rooms to keep, by result.", "result"),
		holds:       f.counter("limpet_host_holds_total", "Times a room waited for the lease."),
		lease:       f.gauge("limpet_host_lease", "1 with a lease, 0 without, -1 while rooms go on without one."),
		leasesLost:  f.counter("limpet_host_leases_lost_total", "Leases that ended under this process."),
		superseded:  f.counter("limpet_host_superseded_total", "Copies ended because the directory knew another at a higher epoch."),
		storeLosses: f.counters("limpet_host_store_losses_total", "Times the store was found to have lost data, by what it lost.", "lost"),
		appendTook:  f.single("limpet_journal_append_seconds", "Time of a call that appends to journals.", prometheus.ExponentialBuckets(0.0001, 2, 15)),
		appendRooms: f.single("limpet_journal_append_rooms", "Rooms in a call that appends to journals.", prometheus.ExponentialBuckets(1, 2, 10)),
		appendFails: f.counter("limpet_journal_append_failures_total", "Calls that append to journals that the store did not answer."),
		aside:       f.counters("limpet_store_set_aside_total", "Damaged checkpoints and journals of rooms that started here, set aside for what was before them.", "what"),
		moves:       f.counters("limpet_host_moves_total", "Rooms asked to move away, by result and cause.", "result", "cause"),
		adopted: f.counters("limpet_host_adopted_total",
			"Rooms that a predecessor of this process left in shared memory, by what became of them.", "result"),
		arrived: f.counters("limpet_host_arrivals_total", "Rooms announced to move here, by result.", "result"),
	}
	in := f.counters("limpet_host_received_total", "Messages from gateways, by type.", "type")
	for k, name := range map[peer.Kind]string{
		peer.KindAttach: "attach", peer.KindInput: "input", peer.KindSkip: "skip",
		peer.KindLeave: "leave", peer.KindDetach: "detach", peer.KindRelease: "release",
	} {
		m.in[k] = in.WithLabelValues(name)
	}
	m.moveSteps = map[string]prometheus.Observer{}
	steps := f.labelled("limpet_host_move_step_seconds", "How long each step of a move took, during which its room stood still.",
		prometheus.ExponentialBuckets(0.0001, 2, 16), "step")
	for _, name := range []string{stepPack, stepSend, stepHandOff, stepBegin} {
		m.moveSteps[name] = steps.WithLabelValues(name)
	}
	f.add(&liveCollector{h})
	m.addKinds(f, h)
	return m
}

func (m *metrics) addKinds(f factory, h *Host) {
	events := f.counters("limpet_room_events_total", "Events that rooms have handled, by kind and type.", "kind", "type")
	payload := f.counters("limpet_room_input_bytes_total", "Bytes of inputs that rooms have handled.", "kind")
	drops := f.counters("limpet_room_inputs_dropped_total", "Senders asked again because a mailbox was full.", "kind")
	batch := f.histogram("limpet_room_batch_events", "Events that waited in a mailbox when its room took them.",
		prometheus.ExponentialBuckets(1, 4, 8))
	late := f.histogram("limpet_room_lateness_seconds", "How late a room's timer ran: for ticks, acks, checkpoints.",
		prometheus.ExponentialBuckets(0.0001, 2, 16))
	size := f.histogram("limpet_checkpoint_size_bytes", "Sizes of checkpoints as stored.", prometheus.ExponentialBuckets(64, 4, 11))
	age := f.histogram("limpet_checkpoint_age_seconds", "Age of the oldest change in a checkpoint when it was stored.",
		prometheus.ExponentialBuckets(0.01, 2, 14))
	refused := f.counters("limpet_checkpoint_refused_total", "Checkpoints that could not be encoded or stored as they are.", "kind")
	stuck := f.counters("limpet_room_stuck_total", "Calls of rooms' code that lasted longer than a second.", "kind")
	ticks := f.counters("limpet_room_ticks_total", "Ticks that rooms have run.", "kind")
	skipped := f.counters("limpet_room_ticks_skipped_total", "Ticks left out because rooms were too late.", "kind")
	endings := f.counters("limpet_room_endings_total", "Live copies that are over, by kind and reason.", "kind", "reason")
	frozen := f.gauges("limpet_journal_frozen_rooms", "Rooms that stand still because their journals do not reach the store.", "kind")
	degraded := f.counters("limpet_journal_degraded_total", "Times a room went on without its journal.", "kind")
	diverged := f.counters("limpet_journal_diverged_total", "Replays that went another way than their rooms had gone.", "kind")
	pause := f.histogram("limpet_room_move_pause_seconds", "How long rooms stood still here to move, whether they did or not.",
		prometheus.ExponentialBuckets(0.0005, 2, 14))
	luggage := f.histogram("limpet_room_move_size_bytes", "What moving rooms took with them.", prometheus.ExponentialBuckets(256, 4, 11))
	for name := range h.kinds {
		k := &kindMetrics{
			movePause: pause.WithLabelValues(name), moveBytes: luggage.WithLabelValues(name),
			payload: payload.WithLabelValues(name), drops: drops.WithLabelValues(name),
			batch: batch.WithLabelValues(name), lateness: late.WithLabelValues(name),
			checkpointBytes: size.WithLabelValues(name), checkpointAge: age.WithLabelValues(name),
			checkpointRefused: refused.WithLabelValues(name), stuck: stuck.WithLabelValues(name), ticks: ticks.WithLabelValues(name), ticksSkipped: skipped.WithLabelValues(name),
			frozen: frozen.WithLabelValues(name), degraded: degraded.WithLabelValues(name), diverged: diverged.WithLabelValues(name),
			endings: endings.MustCurryWith(prometheus.Labels{"kind": name}),
		}
		for i, t := range eventNames {
			k.events[i] = events.WithLabelValues(name, t)
		}
		m.kinds[name] = k
	}
}

func (m *metrics) received(kind peer.Kind, bytes int) {
	m.in[kind].Inc()
	m.inBytes.Add(float64(bytes))
}

func (m *metrics) sent(messages, outputs, bytes int) {
	m.out.Add(float64(messages))
	m.outputs.Add(float64(outputs))
	m.outBytes.Add(float64(bytes))
}

// appended counts a call of the appender.
func (m *metrics) appended(rooms int, took time.Duration, err error) {
	if err != nil {
		m.appendFails.Inc()
		return
	}
	m.appendTook.Observe(took.Seconds())
	m.appendRooms.Observe(float64(rooms))
}

// froze counts a room that stands still, or no longer.
func (k *kindMetrics) froze(on bool) {
	if on {
		k.frozen.Inc()
	} else {
		k.frozen.Dec()
	}
}

// moved counts an attempt to move a room away.
func (m *metrics) moved(err error, cause string) {
	result := "moved"
	switch {
	case errors.Is(err, errNotReady):
		result = "not_ready"
	case err != nil:
		result = "failed"
	}
	m.moves.WithLabelValues(result, cause).Inc()
}

// activated counts an answer to Activate.
func (m *metrics) activated(err error) {
	var held *directory.HeldElsewhere
	result := "live"
	switch {
	case errors.As(err, &held):
		result = "held_elsewhere"
	case err != nil:
		result = wire.CodeOf(err).Code.String()
	}
	m.activations.WithLabelValues(result).Inc()
}

// took counts a batch of events and empties counts.
func (k *kindMetrics) took(counts *[eventKinds]int, bytes, lost int) {
	n := 0
	for i, c := range counts {
		if c > 0 {
			k.events[i].Add(float64(c))
			n += c
		}
	}
	if n > 0 {
		k.batch.Observe(float64(n))
		k.payload.Add(float64(bytes))
	}
	if lost > 0 {
		k.drops.Add(float64(lost))
	}
	clear(counts[:])
}

// ended counts the end of a copy.
func (k *kindMetrics) ended(why error) {
	k.endings.WithLabelValues(endReason(why)).Inc()
}

// liveCollector reports the rooms as they are when it is asked.
type liveCollector struct{ host *Host }

var (
	descRooms     = prometheus.NewDesc("limpet_rooms", "Rooms that live here, by kind.", []string{"kind"}, nil)
	descMembers   = prometheus.NewDesc("limpet_members", "Members of the rooms that live here, by kind.", []string{"kind"}, nil)
	descConnected = prometheus.NewDesc("limpet_members_connected", "Members whose connection stands, by kind.", []string{"kind"}, nil)
	descUnsaved   = prometheus.NewDesc("limpet_checkpoint_unsaved_seconds",
		"Age of the oldest change in any room that is not stored, by kind.", []string{"kind"}, nil)
	descHanging = prometheus.NewDesc("limpet_room_calls_hanging", "Calls of rooms' code that have not returned although their rooms were given up.", nil, nil)
	descWaiting = prometheus.NewDesc("limpet_room_mailbox_events", "Events that wait in rooms' mailboxes, by kind.", []string{"kind"}, nil)
)

// Describe is prometheus.Collector's.
func (c *liveCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRooms, descMembers, descConnected, descUnsaved, descWaiting, descHanging} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (c *liveCollector) Collect(ch chan<- prometheus.Metric) {
	type sums struct{ rooms, members, connected, unsaved, waiting float64 }
	by := map[string]*sums{}
	for name := range c.host.kinds {
		by[name] = &sums{}
	}
	ch <- prometheus.MustNewConstMetric(descHanging, prometheus.GaugeValue, float64(c.host.stuck.count()))
	now := time.Now()
	for _, r := range c.host.all() {
		s, i := by[r.kind.Name], r.info(now)
		s.rooms++
		s.members += float64(i.Members)
		s.connected += float64(i.Connected)
		s.unsaved = max(s.unsaved, i.Unsaved)
		s.waiting += float64(r.box.waiting())
	}
	for name, s := range by {
		for d, v := range map[*prometheus.Desc]float64{descRooms: s.rooms, descMembers: s.members,
			descConnected: s.connected, descUnsaved: s.unsaved, descWaiting: s.waiting} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
	}
}

// factory makes collectors and registers them, if there is where.
type factory struct{ reg prometheus.Registerer }

func (f factory) add(c prometheus.Collector) {
	if f.reg != nil {
		f.reg.MustRegister(c)
	}
}

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.add(c)
	return c
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.add(c)
	return c
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	f.add(g)
	return g
}

func (f factory) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.add(g)
	return g
}

func (f factory) single(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	f.add(h)
	return h
}

func (f factory) histogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	return f.labelled(name, help, buckets, "kind")
}

func (f factory) labelled(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{label})
	f.add(h)
	return h
}

// mended counts what was set aside: a checkpoint, or a journal from an entry on.
func (m *metrics) mended(entry uint64) {
	what := "checkpoint"
	if entry > 0 {
		what = "journal"
	}
	m.aside.WithLabelValues(what).Inc()
}

func (m *metrics) reserved(err error) {
	result := "ok"
	if err != nil {
		result = wire.CodeOf(err).Code.String()
	}
	m.seats.WithLabelValues(result).Inc()
}
