package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/limpet-games/limpet/wire"
)

type metrics struct {
	connections prometheus.Gauge
	routes      prometheus.Gauge
	sessions    prometheus.Gauge
	finding     prometheus.Gauge
	outboxBytes prometheus.Gauge
	outboxMost  prometheus.Gauge

	handshakes *prometheus.CounterVec // result
	closes     *prometheus.CounterVec // code
	joins      *prometheus.CounterVec // what, result
	joinTime   *prometheus.HistogramVec
	inDropped  *prometheus.CounterVec // reason
	outDropped *prometheus.CounterVec // reason
	behind     prometheus.Counter
	hostDrops  *prometheus.CounterVec // reason
	found      *prometheus.CounterVec // result
	findTime   prometheus.Histogram
	lists      *prometheus.CounterVec // result
	watches    prometheus.Gauge
	pages      prometheus.Counter
	bytesIn    prometheus.Counter
	bytesOut   prometheus.Counter
	authFailed prometheus.Counter
	perAddress *prometheus.CounterVec // why
	addresses  prometheus.Gauge
	drains     prometheus.Counter
	reads      prometheus.Counter
	readsPaced prometheus.Counter

	acceptsPaced prometheus.Counter
	lateness     prometheus.Histogram
	pace         prometheus.Gauge
	turnedAway   *prometheus.CounterVec // what
	pressed      *prometheus.CounterVec // what

	in, out [256]prometheus.Counter // frames by type
	drops   dropMetrics
	host    hostMetrics
	input   inputMetrics
}

// dropMetrics count frames that a socket was too slow for, and beside them the
// system calls that the others took.
type dropMetrics struct{ latest, ephemeral, slow, closed, writes prometheus.Counter }

// hostMetrics count messages of hosts that were not for anybody.
type hostMetrics struct{ epoch, link, handle, member, bad prometheus.Counter }

// inputMetrics count inputs that were not passed on.
type inputMetrics struct{ waiting, full, limited prometheus.Counter }

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{}
	var all []prometheus.Collector
	name := func(s string) string { return "limpet_gateway_" + s }
	gauge := func(n, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name(n), Help: help})
		all = append(all, g)
		return g
	}
	counter := func(n, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
		all = append(all, c)
		return c
	}
	vec := func(n, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, labels)
		all = append(all, v)
		return v
	}
	m.connections = gauge("connections", "WebSocket connections open.")
	m.routes = gauge("routes", "Rooms with members behind this gateway.")
	m.sessions = gauge("sessions", "Memberships held by connections here.")
	m.finding = gauge("routes_finding", "Rooms that are being found or taken up again.")
	m.outboxBytes = gauge("outbox_bytes", "Bytes that wait for sockets, all together.")
	m.outboxMost = gauge("outbox_most_bytes", "Bytes that wait for the socket with the most.")
	m.handshakes = vec("handshakes_total", "WebSocket handshakes, by result.", "result")
	m.closes = vec("closes_total", "Connections ended, by close code.", "code")
	m.joins = vec("joins_total", "Joins and resumes, by result.", "what", "result")
	m.inDropped = vec("inputs_dropped_total", "Inputs not passed on; their clients send them again.", "reason")
	m.outDropped = vec("outbox_dropped_total", "Frames that a slow or closed socket did not get, by reason.", "reason")
	m.behind = counter("behind_total", "Memberships that a room's output passed over, because their client read too slowly.")
	m.hostDrops = vec("host_messages_dropped_total", "Messages of hosts that were for nobody, by reason.", "reason")
	m.found = vec("finds_total", "Rooms that had lost their host, by how that ended.", "result")
	m.lists = vec("lists_total", "Room lists, by result.", "result")
	m.watches = gauge("lobby_watches", "Lists of rooms that clients watch.")
	m.pages = counter("lobby_pages_total", "Pages sent to clients that watch a list of rooms.")
	m.bytesIn = counter("received_bytes_total", "Payload bytes of clients' messages.")
	m.bytesOut = counter("sent_bytes_total", "Bytes queued for sockets.")
	m.drains = counter("socket_waits_total", "Times that a full socket had to be waited for.")
	m.authFailed = counter("auth_failed_total", "Tokens that were not accepted.")
	m.perAddress = vec("address_refused_total", "Connections refused for what their address has open or has done, by reason.", "why")
	m.addresses = gauge("addresses", "Client addresses that are kept account of.")
	m.joinTime = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name("join_seconds"),
		Help: "From a join or resume to its answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11)}, []string{"what"})
	m.findTime = prometheus.NewHistogram(prometheus.HistogramOpts{Name: name("find_seconds"),
		Help: "From the loss of a room's host to its members being attached again.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)})
	m.lateness = prometheus.NewHistogram(prometheus.HistogramOpts{Name: name("lateness_seconds"),
		Help: "How late the gateway was with what was due, looked at 100 times a second.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12)})
	m.pace = gauge("accept_pace", "Share of --accepts at which connections are taken: less than 1 while the gateway is late.")
	m.pace.Set(1)
	frames := vec("frames_total", "Client protocol frames, by direction and type.", "direction", "type")
	writes := counter("socket_writes_total", "Write calls on players' sockets.")
	m.acceptsPaced = counter("accepts_paced_total", "Connections that waited to be taken, since many came at once.")
	m.turnedAway = vec("admission_refused_total", "Joins and resumes that were told to come back, since many came at once.", "what")
	m.pressed = vec("pressure_refused_total", "What was refused or cut because memory or descriptors are short: rooms, handshakes, connections.", "what")
	m.readsPaced = counter("reads_paced_total", "Reads that were put off, for connections whose bytes come in too many pieces.")
	m.reads = counter("socket_reads_total", "Read calls on players' sockets that brought data or found none.")
	m.resolve(frames)
	m.drops.writes = writes
	if r != nil {
		r.MustRegister(append(all, m.joinTime, m.findTime, m.lateness)...)
	}
	return m
}

// resolve looks up once what is counted often.
func (m *metrics) resolve(frames *prometheus.CounterVec) {
	for i := range m.in {
		m.in[i] = frames.WithLabelValues("in", typeLabel(wire.Type(i), clientTypes))
		m.out[i] = frames.WithLabelValues("out", typeLabel(wire.Type(i), gatewayTypes))
	}
	m.drops = dropMetrics{
		latest: m.outDropped.WithLabelValues("replaced"), ephemeral: m.outDropped.WithLabelValues("ephemeral"),
		slow: m.outDropped.WithLabelValues("slow"), closed: m.outDropped.WithLabelValues("closed"),
	}
	m.host = hostMetrics{
		epoch: m.hostDrops.WithLabelValues("epoch"), link: m.hostDrops.WithLabelValues("link"),
		handle: m.hostDrops.WithLabelValues("handle"), member: m.hostDrops.WithLabelValues("member"),
		bad: m.hostDrops.WithLabelValues("bad"),
	}
	m.input = inputMetrics{
		waiting: m.inDropped.WithLabelValues("no_host"), full: m.inDropped.WithLabelValues("link_full"),
		limited: m.inDropped.WithLabelValues("not_member"),
	}
}

var (
	clientTypes = map[wire.Type]string{
		wire.TypeHello: "hello", wire.TypeJoin: "join", wire.TypeResume: "resume", wire.TypeInput: "input",
		wire.TypeSkip: "skip", wire.TypeLeave: "leave", wire.TypePing: "ping", wire.TypeList: "list",
		wire.TypeFind: "find", wire.TypeBrowse: "browse", wire.TypeQuit: "quit",
	}
	gatewayTypes = map[wire.Type]string{
		wire.TypeWelcome: "welcome", wire.TypeJoined: "joined", wire.TypeMessage: "message",
		wire.TypeLatest: "latest", wire.TypeEphemeral: "ephemeral", wire.TypeAck: "ack",
		wire.TypeExpect: "expect", wire.TypeAttached: "attached", wire.TypeWaiting: "waiting",
		wire.TypeFailed: "failed", wire.TypeSkipped: "skipped", wire.TypeStore: "store",
		wire.TypeLeft: "left", wire.TypeError: "error", wire.TypePong: "pong",
		wire.TypeGoAway: "go_away", wire.TypeRooms: "rooms", wire.TypePage: "page",
	}
)

func typeLabel(t wire.Type, names map[wire.Type]string) string {
	if s, ok := names[t]; ok {
		return s
	}
	return "other"
}

// closeLabel is a close code as a label; what a client made up is "other".
func closeLabel(code uint16) string {
	if s := wire.Code(code).String(); code >= 4000 && s != "unknown" {
		return s
	}
	if code >= 1000 && code <= 1014 {
		return fmt.Sprint(code)
	}
	return "other"
}
